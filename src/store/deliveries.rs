//! What handlers owe, as it is stored: a row for each delivery that is not done and does not wait in memory alone.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::event::Event;
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId, WriterId};
use crate::store::StoreError;

/// Which delivery: of an event, to a handler, for the how-manieth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The event.
    pub seq: Seq,
    /// To whom.
    pub handler: HandlerId,
    /// The first is 1; each replay makes the next.
    pub run: u32,
}

/// Whose events wait in one line for a handler: a workspace's, or those of an app that are no workspace's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The app.
    pub app: AppId,
    /// The workspace, if it is one's.
    pub workspace: Option<WorkspaceId>,
}

impl Lane {
    /// The lane of an event.
    pub const fn of(event: &Event) -> Self {
        Self { app: event.app, workspace: event.workspace }
    }
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Not tried yet; given to its handler in its turn.
    Waiting,
    /// To be tried again, or anew, when its time has come.
    Retrying,
    /// Done, after more than one try.
    Done,
    /// Given up.
    Dead,
    /// Its answer is of no use to anybody any more.
    Expired,
    /// Somebody has called it off.
    Cancelled,
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Retrying, Self::Done, Self::Dead, Self::Expired, Self::Cancelled];

    /// Its name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A delivery as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Which.
    pub id: DeliveryId,
    /// Whose event it is.
    pub lane: Lane,
    /// How it stands.
    pub status: DeliveryStatus,
    /// Tries so far.
    pub attempts: u32,
    /// When one that is retrying is due, milliseconds since 1970.
    pub next_ms: i64,
    /// What comes in order shares it; none where the handler wants no order.
    pub order_key: Option<i64>,
    /// Those of the same key wait for it until then, milliseconds since 1970.
    pub hold_until_ms: Option<i64>,
    /// Why the last try failed; no payload and no secret.
    pub last_error: Option<String>,
    /// When it was first written down, milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// A change of what is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryChange {
    /// It is not done yet and gets its row, unless it has one.
    Owed(DeliveryRow),
    /// It was tried in vain, given up, or put off: the row becomes this, unless it has ended.
    Tried(DeliveryRow),
    /// It is done, and its row goes, but for one with more than one try or run, which stays to be seen.
    Done(DeliveryId),
}

impl DeliveryChange {
    /// Of which delivery.
    pub const fn id(&self) -> DeliveryId {
        match self {
            Self::Owed(row) | Self::Tried(row) => row.id,
            Self::Done(id) => *id,
        }
    }
}

/// A delivery that was read back, with its event.
#[derive(Clone, Debug)]
pub struct Owed {
    /// Its row.
    pub row: DeliveryRow,
    /// The event; none where its payload is gone or damaged, which the log was told.
    pub event: Option<Event>,
}

/// A lane in which deliveries wait in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// For which handler.
    pub handler: HandlerId,
    /// Whose.
    pub lane: Lane,
    /// The first of them.
    pub oldest: Seq,
}

/// What of a lane's waiting deliveries is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// For which handler.
    pub handler: HandlerId,
    /// Whose.
    pub lane: Lane,
    /// Not those of these keys: something of theirs has failed and holds them up.
    pub held: &'a [i64],
    /// Not these: they are in memory.
    pub here: &'a [Seq],
    /// At most so many,
    pub limit: u32,
    /// and, but for the first, at most so many bytes of payload.
    pub max_bytes: usize,
}

/// A handler as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHandler {
    /// Its id.
    pub id: HandlerId,
    /// By what routes and figures name it.
    pub name: String,
    /// Since when nothing is given to it, milliseconds since 1970.
    pub paused_ms: Option<i64>,
    /// When it was made known first, milliseconds since 1970: what came before was not for it.
    pub created_ms: i64,
}

/// To whom and of whom nothing is to be delivered now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paused {
    /// Handlers to which nothing is given.
    pub handlers: Vec<HandlerId>,
    /// Workspaces of which nothing is given to any: paused, or removed just now, so that what is pending is being called off.
    pub workspaces: Vec<WorkspaceId>,
}

/// What is owed. Where several nodes share a database each sees what is its own writer's, and one of them what was left by writers that
/// live no more.
#[async_trait]
pub trait Deliveries: Send + Sync + 'static {
    /// Makes these handlers known; what is known of each, in the same order.
    async fn declare_handlers(&self, names: &[&str], now_ms: i64) -> Result<Vec<KnownHandler>, StoreError>;

    /// All handlers that were ever made known, by name.
    async fn handlers(&self) -> Result<Vec<KnownHandler>, StoreError>;

    /// Nothing is to be given to a handler, or it is again. False when there is no such handler.
    async fn pause_handler(&self, name: &str, paused_ms: Option<i64>) -> Result<bool, StoreError>;

    /// What is paused now. Cheap: asked for once a second.
    async fn paused(&self) -> Result<Paused, StoreError>;

    /// Writes changes down, all or none, in order. The same may be given again when the outcome of the first try is unknown.
    async fn write_deliveries(
        &self,
        writer: WriterId,
        changes: &[DeliveryChange],
        now_ms: i64,
    ) -> Result<(), StoreError>;

    /// Deliveries of events above `after` that have a row, whatever became of them, in order, `limit` at most: those rows rule, not the
    /// journal.
    async fn rows_above(&self, after: DeliveryId, limit: u32) -> Result<Vec<DeliveryId>, StoreError>;

    /// The lanes in which deliveries wait, those behind `after`, in an order of their own, `limit` at most.
    async fn backlogs(&self, after: Option<&Backlog>, limit: u32) -> Result<Vec<Backlog>, StoreError>;

    /// Deliveries that wait in a lane, in order of seq.
    async fn read_waiting(&self, wanted: Wanted<'_>) -> Result<Vec<Owed>, StoreError>;

    /// Deliveries to a handler whose time has come, those due first, but for these that are in memory and those of these workspaces. One
    /// that is sealed with a key which is not here is passed over.
    async fn read_due(
        &self,
        handler: HandlerId,
        here: &HashSet<DeliveryId>,
        but: &[WorkspaceId],
        limit: u32,
        now_ms: i64,
    ) -> Result<Vec<Owed>, StoreError>;

    /// What was put off by a clock that was ahead is due now: what was written later than this, of what is this node's to see to.
    async fn hurry(&self, now_ms: i64) -> Result<u64, StoreError>;

    /// Those that hold up their key at this time.
    async fn holders(&self, now_ms: i64) -> Result<Vec<DeliveryRow>, StoreError>;
}
