//! What outlives the process: workspaces with their sealed tokens, and the journal. One trait, one module a database,
//! one conformance suite.

mod absent;
mod accounts;
mod archive;
#[cfg(test)]
mod conformance;
mod deliveries;
mod fault;
mod inbox;
mod incidents;
mod key;
mod key_check;
mod open;
mod postgres;
mod reseal;
mod retention;
mod routes;
mod sqlite;
mod types;
mod vault;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::event::Event;
use crate::ids::{AppId, Seq, WorkspaceId, WorkspaceName, WriterId};
use crate::secret::{AppToken, BotToken};
use crate::status::{Code, Standing, Trouble};
use crate::telemetry::Pool;

pub use absent::Absent;
pub use accounts::{
    ANSWERS_KEPT_MS, Accounts, Action, AnswerKey, ApiToken, AuditEntry, AuditFilter, Caller, Changes, Deed,
    Label, MAX_TOKENS, NewToken, Place as AnswerPlace, Reserved, Role, TokenDigest, TokenId, UNDER_WAY_MS,
};
pub use archive::{
    Archive, Burden, COUNTED, COUNTED_AT_LEISURE, DeliveryFilter, EXAMINED, EventFilter, Page, Remedy,
    ReplayTo, Replayed, Stepped, StoredDelivery, StoredEvent,
};
pub use deliveries::{
    Backlog, Deliveries, DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, KnownHandler, Lane, Owed,
    Paused, Wanted,
};
pub use incidents::{About, Incident, IncidentFilter};
pub use key::{generate_key_file, generate_key_text};
pub use open::{OpenOptions, Opened, exists, kind, open, open_beside, shown};
pub use reseal::{Resealed, Resealing};
pub use retention::{Cleared, Keep, LATE, Retention, Step};
pub use routes::{MAX_ROUTES, PutRoute, RouteStore, StoredRoute, WrongField, read_route, show_match};
pub use types::{
    App, By, Change, DeliveryMode, Desired, Order, Place, Put, Seat, Secret, Taken, TokenHint, Transition,
    When, Workspace, WorkspaceSpec, Writer,
};
pub use webhooks::{
    KeptNotice, LastPost, MAX_WEBHOOKS, Memory, NewNotice, Notice, Posts, Remember, Settled, Webhook,
    WebhookSpec, Webhooks,
};

/// Why the store could not do it. No variant carries a token or a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database will not take this very row, now or ever.
    #[error("the database refuses the data: {0}")]
    Data(String),
    /// The database cannot be reached, is full, busy or read-only. It may pass.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Another `PUT` or row holds the place.
    #[error("{0}")]
    Conflict(String),
    /// For this caller there is no such thing.
    #[error("{0}")]
    Absent(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// What the change was made to depend on is not so; see [`When`].
    #[error("{0}")]
    Stale(String),
    /// What is sealed cannot be opened with this node's key.
    #[error("cannot open {what} with this node's key: it was sealed with key {key_id}")]
    Sealed {
        /// Table, column and row.
        what: String,
        /// The key it was sealed with.
        key_id: String,
    },
    /// The database cannot be used as it is: wrong place, wrong version, locked by another node, bad key file.
    #[error("{0}")]
    Setup(String),
}

/// Workspaces, the apps they are seated on, and the history of their connections. Every write says when: the store has no
/// clock.
#[async_trait]
pub trait Workspaces: Send + Sync + 'static {
    /// Living workspaces in this order, those after `after`, at most `limit`.
    async fn workspaces(
        &self,
        order: Order,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError>;

    /// What decides what is shown of each living workspace, and on which app it sits, in no order.
    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError>;

    /// One living workspace.
    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError>;

    /// The living workspaces that sit on an app, by name.
    async fn seated(&self, app: AppId) -> Result<Vec<Workspace>, StoreError>;

    /// Creates or replaces a workspace. A token whose app is known (same token, or same Slack app id in its text) seats the
    /// workspace on that app, where a token other than the one in force becomes the candidate. An unknown token is taken for a
    /// new one of the workspace's own app, unless others sit there too or its text names another Slack app: then, as for a new
    /// workspace, it makes an app of its own. The team a workspace has learnt moves with it. Two living workspaces of one app
    /// with the same team are a [`StoreError::Conflict`].
    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError>;

    /// Removes a workspace and erases its tokens, and the app's when it was the last on it; what handlers still owe of it is called off
    /// ([`Retention::clear_removed`]). None when there is none, whatever
    /// `when` says.
    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError>;

    /// As [`remove_workspace`](Self::remove_workspace), and the payloads of its events are to be erased: [`Retention::clear_removed`] does it.
    async fn purge_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError>;

    /// The bot token of a living workspace.
    async fn bot_token(&self, workspace: WorkspaceId) -> Result<Option<BotToken>, StoreError>;

    /// Apps that have a living workspace.
    async fn apps(&self) -> Result<Vec<App>, StoreError>;

    /// Some of them in order of their ids, those after `after`, at most `limit`.
    async fn apps_after(&self, after: AppId, limit: u32) -> Result<Vec<App>, StoreError>;

    /// The app that has this Slack id by a hello's word; none when it has no living workspace.
    async fn slack_app(&self, slack_app_id: &str) -> Result<Option<App>, StoreError>;

    /// One app; none when it has no living workspace.
    async fn app(&self, id: AppId) -> Result<Option<App>, StoreError>;

    /// Apps whose tokens or workspaces anybody has changed behind this mark, those that are gone included, and the mark to go on from.
    /// Without a mark none, and the one of now. What connections learn does not count.
    async fn changed_apps(&self, after: Option<i64>) -> Result<(Vec<AppId>, i64), StoreError>;

    /// Other nodes that live on this database now: their sockets are no strangers'.
    async fn other_nodes(&self) -> Result<u32, StoreError> {
        Ok(0)
    }

    /// The candidate becomes the token in force, if it is this one: another may have been put in its place while this one was
    /// tried.
    async fn promote_candidate(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), StoreError>;

    /// The candidate is forgotten, if it is this one.
    async fn drop_candidate(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), StoreError>;

    /// Slack's id of the app, learnt from hello. A [`StoreError::Conflict`] when another living app has it.
    async fn learn_slack_app_id(&self, app: AppId, slack_app_id: &str, now_ms: i64)
    -> Result<(), StoreError>;

    /// The workspace's team and organisation, learnt from `auth.test` or its first event, in the place of what was known; an
    /// installation in a whole organisation has no team. A [`StoreError::Conflict`] when another living workspace of the app has the same.
    async fn learn_team(
        &self,
        workspace: WorkspaceId,
        team_id: Option<&str>,
        enterprise_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StoreError>;

    /// Notes what keeps a living workspace down, unless what is noted already says more ([`Trouble::replaces`]) or something that
    /// mends it came later: a new bot token, a change from wanted off to wanted on, another app, or [`Workspaces::forgive`]. False when it was not noted.
    /// The same of a later moment is no news, but that moment is noted: who was told otherwise before it does not [disprove](Self::disprove) it.
    async fn note_trouble(&self, workspace: WorkspaceId, trouble: Trouble) -> Result<bool, StoreError>;

    /// What keeps a living workspace down is over: somebody says so who has looked, and what Slack says later of earlier times is
    /// stale. False when nothing did, or there is no such workspace.
    async fn forgive(&self, name: &WorkspaceName, now_ms: i64) -> Result<bool, StoreError>;

    /// Slack, asked at this moment, says otherwise than what keeps a living workspace down: that is over where it is this, and not of
    /// later. False where it is another, or of later, or there is none.
    async fn disprove(&self, workspace: WorkspaceId, code: Code, asked_ms: i64) -> Result<bool, StoreError>;

    /// Notes until when Slack holds a living workspace's events back. False when as much was known.
    async fn note_limit(&self, workspace: WorkspaceId, until_ms: i64) -> Result<bool, StoreError>;

    /// Adds to the history, keeping the newest thousand rows an app. A line about one workspace that says what its last one says, within half
    /// a minute, is what another node saw as well: it is left out.
    async fn record(&self, transitions: &[Transition]) -> Result<(), StoreError>;

    /// The newest changes of an app's state, newest first, each with its number: those with a number below `before`, or all.
    async fn history(
        &self,
        app: AppId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Transition)>, StoreError>;
}

/// How long what Slack may send again is remembered: its last hourly retry comes after 24 hours.
pub const REMEMBER: Duration = Duration::from_hours(26);

/// The journal's side of the store.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Registers this process as a writer and takes over what writers that never ended left undone, unless they live: where several
    /// nodes share a database, a living one keeps what is its own. A store is one node's, so it has one writer at a time.
    async fn begin_writer(&self, node: &str, now_ms: i64) -> Result<Writer, StoreError>;

    /// One group in one transaction: events, payloads, what has been seen, and how far the writer has settled. The result has
    /// one entry an event, in order. The same group with the same seqs may be given again when the outcome of the first try is
    /// unknown: an event found under its own seq is [`Taken::Fresh`]. Duplicates inside the group are found too.
    async fn append(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, StoreError>;

    /// Everything of this writer up to and including `settled_to` is done.
    async fn settle(&self, writer: WriterId, settled_to: Seq) -> Result<(), StoreError>;

    /// The same, and the writer has ended in order: nothing is taken over from it.
    async fn end_writer(&self, writer: WriterId, settled_to: Seq, now_ms: i64) -> Result<(), StoreError>;

    /// Events above `after` that are for this node to handle (its writer's own and those it took over; all before it has one), in
    /// order of seq, at most `limit` and, but for the first, at most `max_bytes` of payload. One that
    /// cannot be read is skipped with a line in the log; an empty answer means that nothing readable is left. One that is sealed with a key
    /// which is not here is a [`StoreError::Sealed`], after what lies before it, and so is all behind it.
    async fn read_events(&self, after: Seq, limit: u32, max_bytes: usize) -> Result<Vec<Event>, StoreError>;

    /// Puts aside, sealed, an event that no database would take.
    async fn quarantine(&self, event: &Event, error: &str, now_ms: i64) -> Result<(), StoreError>;

    /// Forgets what was received before `before_ms`, which is [`REMEMBER`] ago, at most `limit` rows; how many it forgot. None: that was
    /// all for now, or a page of events that a clock which was wrong has dated ahead: the next call goes on behind it. Events must be
    /// kept for as long as what was seen of them.
    async fn forget_seen(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError>;

    /// What the database wants done before it is needed: to be asked for once a second. Also tells whether it answers.
    async fn keep_house(&self, now_ms: i64) -> Result<(), StoreError>;
}

/// The store.
#[async_trait]
pub trait Store:
    Workspaces + Inbox + Deliveries + Archive + Retention + RouteStore + Accounts + Webhooks
{
    /// The workspaces as this caller sees and changes them: what lies outside of their scope is not there.
    fn on_behalf(self: Arc<Self>, caller: Caller) -> Arc<dyn Workspaces>;

    /// Seals what is sealed with the other key anew with the first, a little at a time: where it was left, or from the start. A run that
    /// was broken off goes on where it was.
    async fn reseal(&self, from: Option<Resealing>) -> Result<Resealed, StoreError>;

    /// Can it be read and written? For readiness.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Its connections for reading.
    fn pool(&self) -> Pool;

    /// Closes it in order.
    async fn close(&self);
}
