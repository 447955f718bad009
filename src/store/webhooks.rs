//! Who is told of changes, what is still to be told, and what was.

use async_trait::async_trait;

use crate::ids::{WebhookId, WorkspaceId};
use crate::machine::notice::{Told, Topic};
use crate::secret::WebhookSecret;
use crate::store::{About, Incident, IncidentFilter, Label, StoreError};

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
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
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

    /// Makes one; its secret is sealed.
    async fn add_webhook(
        &self,
        spec: &WebhookSpec,
        secret: &WebhookSecret,
        now_ms: i64,
    ) -> Result<Webhook, StoreError>;

    /// Replaces all but its secret. None when there is none.
    async fn change_webhook(
        &self,
        id: WebhookId,
        spec: &WebhookSpec,
        now_ms: i64,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Removes one with all that waits for it. False when there is none.
    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError>;

    /// Its secret.
    async fn webhook_secret(&self, id: WebhookId) -> Result<Option<WebhookSecret>, StoreError>;

    /// Notices for every webhook that wants them, and what to remember with them: all or nothing.
    async fn publish(
        &self,
        notices: &[NewNotice],
        remember: &[Remember],
        now_ms: i64,
    ) -> Result<(), StoreError>;

    /// The notice that is due next for a webhook, and when the webhook is paused, none.
    async fn next_notice(&self, webhook: WebhookId) -> Result<Option<Notice>, StoreError>;

    /// What became of a try.
    async fn settle_notice(
        &self,
        webhook: WebhookId,
        notice: i64,
        settled: &Settled,
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
