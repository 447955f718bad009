//! Who is told of changes, what is still to be told, and what was.

use async_trait::async_trait;

use crate::ids::{WebhookId, WorkspaceId};
use crate::machine::notice::{Told, Topic};
use crate::secret::WebhookSecret;
use crate::store::{About, Caller, Incident, IncidentFilter, Label, StoreError};

/// What a webhook is asked to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSpec {
    /// Where notices are posted.
    pub url: String,
    /// What it is told of; empty: everything.
    pub topics: Vec<Topic>,
    /// Only workspaces with this label, key and value; none: all. Incidents are nobody's, so they pass.
    pub label: Option<(String, String)>,
    /// Notices wait meanwhile.
    pub is_paused: bool,
}

impl WebhookSpec {
    /// Is it for workspaces with this label?
    pub fn is_for(&self, scope: &Label) -> bool {
        self.label.as_ref().is_some_and(|(key, value)| *key == scope.key && *value == scope.value)
    }

    /// May who sees this label alone have it? It is told of workspaces with the label, and of nothing that is about more.
    pub fn is_within(&self, scope: &Label) -> bool {
        self.is_for(scope)
            && !self.topics.is_empty()
            && !self.topics.iter().any(|topic| topic.is_about_many())
    }

    /// Is a notice for it? Its labels are those of its workspace; none where it is about no workspace.
    pub fn wants(&self, topic: Topic, labels: Option<&[(String, String)]>) -> bool {
        let by_topic = self.topics.is_empty() || self.topics.contains(&topic);
        let by_label = match (&self.label, labels) {
            (None, _) | (_, None) => true,
            (Some(label), Some(labels)) => labels.contains(label),
        };
        by_topic && by_label
    }
}

/// A webhook as stored, but for its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Which.
    pub id: WebhookId,
    /// What it is.
    pub spec: WebhookSpec,
    /// Notices that wait for it.
    pub waiting: u64,
    /// Notices that were given up lately: a hundred at most are kept.
    pub dead: u64,
    /// Why the last one that failed did, and when: milliseconds since 1970.
    pub last_error: Option<(String, i64)>,
    /// When one was taken last.
    pub last_success_ms: Option<i64>,
    /// What has been counted since it was made.
    pub posts: Posts,
    /// The last post; none before the first.
    pub last_post: Option<LastPost>,
    /// The secret before this one signs as well, until then; none when there is none. Milliseconds since 1970.
    pub old_secret_until_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What has been counted of a webhook since it was made, on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posts {
    /// Posts that were taken.
    pub taken: u64,
    /// Posts that were not.
    pub refused: u64,
    /// Notices that were given up.
    pub given_up: u64,
}

/// How the last post to a webhook went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPost {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The answer's status; none where there was no answer.
    pub status: Option<u16>,
}

/// A notice as it is shown: one that waits, or was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptNotice {
    /// Its row.
    pub id: i64,
    /// By what a receiver knows it.
    pub message_id: String,
    /// What about.
    pub topic: String,
    /// Was it given up?
    pub is_dead: bool,
    /// Tries that failed.
    pub attempts: u64,
    /// When it is due, milliseconds since 1970.
    pub next_ms: i64,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// A notice on its way to whoever wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotice {
    /// By what a receiver knows one that comes twice.
    pub message_id: String,
    /// What about.
    pub topic: Topic,
    /// What is posted.
    pub body: String,
    /// The labels of its workspace; none where it is about none.
    pub labels: Option<Vec<(String, String)>>,
    /// What it says to the memory; none: nothing.
    pub about: Option<About>,
}

/// A notice that waits for its webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its row.
    pub id: i64,
    /// By what a receiver knows one that comes twice.
    pub message_id: String,
    /// What is posted.
    pub body: String,
    /// Tries that failed.
    pub attempts: u32,
    /// When it is due, milliseconds since 1970.
    pub next_ms: i64,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
}

/// What to remember beside what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remember {
    /// This was last told of the workspace.
    Told(WorkspaceId, Told),
    /// Nothing is told of it any more.
    Forget(WorkspaceId),
    /// An incident is open since then, milliseconds since 1970, with so many workspaces.
    Incident(i64, usize),
    /// None is.
    NoIncident,
}

/// What was told before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of each workspace.
    pub told: Vec<(WorkspaceId, Told)>,
    /// An incident that is open: since when, milliseconds since 1970, and with how many workspaces.
    pub incident: Option<(i64, usize)>,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was taken.
    Taken,
    /// It failed for this reason and is tried again then, milliseconds since 1970.
    Again(String, i64),
    /// It failed for this reason and is given up.
    Dead(String),
}

/// Webhooks there can be: each has a task of its own and a row of every notice.
pub const MAX_WEBHOOKS: i64 = 50;

/// Of these, the last that are kept for who sees everything: no tenants fill the table.
pub(super) const KEPT_FOR_ADMINS: i64 = 10;

/// Webhooks with one label that who sees that label alone can bring it to.
pub(super) const MAX_OF_LABEL: i64 = 10;

/// Notices that may wait for one webhook; of more, the oldest are given up.
pub(super) const MOST_WAITING: i64 = 10_000;

/// Notices given up that are kept for each webhook.
pub(super) const MOST_DEAD: i64 = 100;

/// The side of the store that tells others.
#[async_trait]
pub trait Webhooks: Send + Sync + 'static {
    /// All of them, in the order they were made.
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError>;

    /// One.
    async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError>;

    /// Makes one; its secret is sealed. A [`StoreError::Conflict`] where there are [`MAX_WEBHOOKS`]; who sees one label alone makes those
    /// that are told of workspaces with that label and of nothing else, ten of them, and none of the last ten there can be.
    async fn add_webhook(
        &self,
        spec: &WebhookSpec,
        secret: &WebhookSecret,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Webhook, StoreError>;

    /// Replaces all but its secret. None when there is none, for this caller.
    async fn change_webhook(
        &self,
        id: WebhookId,
        spec: &WebhookSpec,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Removes one with all that waits for it. False when there is none, for this caller.
    async fn remove_webhook(&self, id: WebhookId, by: &Caller, now_ms: i64) -> Result<bool, StoreError>;

    /// Puts another secret in place; the one before signs as well until `old_until_ms`, and one before that no more. None when there
    /// is none, for this caller.
    async fn rotate_webhook_secret(
        &self,
        id: WebhookId,
        secret: &WebhookSecret,
        old_until_ms: i64,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Webhook>, StoreError>;

    /// The secrets that sign now, the newest first; none where there is no such webhook.
    async fn webhook_secrets(&self, id: WebhookId, now_ms: i64) -> Result<Vec<WebhookSecret>, StoreError>;

    /// Notices of a webhook that wait or were given up, newest first, before `before`, at most `limit`.
    async fn notices(
        &self,
        webhook: WebhookId,
        is_dead: Option<bool>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<KeptNotice>, StoreError>;

    /// A notice that waits or was given up is due now. Given up once it is tried once: its day is over. None when there is none.
    async fn resend_notice(
        &self,
        webhook: WebhookId,
        message_id: &str,
        now_ms: i64,
    ) -> Result<Option<KeptNotice>, StoreError>;

    /// Is posting this node's? Of several on one database one posts at a time, and another takes over when that one is gone.
    async fn may_post(&self) -> Result<bool, StoreError>;

    /// Notices for every webhook that wants them, and what to remember with them: all or nothing.
    async fn publish(
        &self,
        notices: &[NewNotice],
        remember: &[Remember],
        now_ms: i64,
    ) -> Result<(), StoreError>;

    /// The notice that is due next for a webhook, and when the webhook is paused, none.
    async fn next_notice(&self, webhook: WebhookId) -> Result<Option<Notice>, StoreError>;

    /// What became of a try, and the status of its answer, if there was one.
    async fn settle_notice(
        &self,
        webhook: WebhookId,
        notice: i64,
        settled: &Settled,
        status: Option<u16>,
        now_ms: i64,
    ) -> Result<(), StoreError>;

    /// Troubles that were told, newest first, before `before`, at most `limit`; of who sees one label alone those of workspaces that
    /// bear it.
    async fn incidents(
        &self,
        filter: &IncidentFilter,
        scope: Option<&Label>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError>;

    /// What was told before.
    async fn memory(&self) -> Result<Memory, StoreError>;
}
