//! What operators ask of the journal and of what is owed: what became of an event, what is stuck and why; and what they do about it.
//!
//! A page looks at a bounded number of rows and may come short: [`Page::next`] says where to go on. Of deliveries that were replayed a list
//! has the newest run alone; the earlier ones are shown with their event.

use async_trait::async_trait;

use crate::event::Kind;
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId, WorkspaceName};
use crate::machine::answer::URL_LIVES;
use crate::store::{Caller, DeliveryId, DeliveryRow, DeliveryStatus, KnownHandler, Label, StoreError};

/// Rows that one page, or one step of a count, looks at.
pub const EXAMINED: u32 = 5000;
/// Rows that one step of a job looks at while it changes them: no other write waits for more.
pub(in crate::store) const STEPPED: u32 = 1000;
/// As far as the deliveries of a handler are counted for who asks,
pub const COUNTED: u32 = 10_000;
/// and now and then for all.
pub const COUNTED_AT_LEISURE: u32 = 1_000_000;
/// As far as those are counted that were given up: each is looked at.
pub(in crate::store) const COUNTED_DEAD: u32 = 100_000;

/// Which events are meant: those that meet all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this workspace, also when it is long gone.
    pub workspace: Option<WorkspaceName>,
    /// Of this Slack app.
    pub app_id: Option<String>,
    /// What their envelopes carried.
    pub kind: Option<Kind>,
    /// Their type.
    pub kind_type: Option<String>,
    /// Above this place, the place itself left out.
    pub after: Option<Seq>,
    /// At this place or above.
    pub from: Option<Seq>,
    /// Below this place.
    pub below: Option<Seq>,
}

/// Which deliveries are meant: those that meet all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of these statuses; of none: of any.
    pub statuses: Vec<DeliveryStatus>,
    /// To this handler.
    pub handler: Option<String>,
    /// Of this workspace, also when it is long gone.
    pub workspace: Option<WorkspaceName>,
    /// Of events at this place or above.
    pub from: Option<Seq>,
    /// Of events below this place.
    pub below: Option<Seq>,
    /// To one of these handlers; none: to any.
    pub among: Option<Vec<String>>,
}

/// Since when a command must have come to be answered, milliseconds since 1970. All else that has expired can but expire again.
pub(in crate::store) fn answered_since(now_ms: i64) -> i64 {
    now_ms.saturating_sub(i64::try_from(URL_LIVES.as_millis()).unwrap_or(i64::MAX))
}

/// The place before all deliveries of events from this one on.
pub(in crate::store) const fn below(seq: Option<Seq>) -> DeliveryId {
    let seq = match seq {
        Some(seq) => seq,
        None => Seq(i64::MAX),
    };
    DeliveryId { seq, handler: HandlerId(0), run: 0 }
}

impl EventFilter {
    /// The least place that is meant, and the least above that is not.
    pub(in crate::store) fn bounds(&self, before: Option<Seq>) -> (i64, i64) {
        let after = self.after.map_or(0, |after| after.0.saturating_add(1));
        let least = after.max(self.from.map_or(0, |from| from.0));
        let most = before.map_or(i64::MAX, |before| before.0);
        (least, most.min(self.below.map_or(i64::MAX, |below| below.0)))
    }
}

impl DeliveryFilter {
    /// The least event that is meant, and the place below which.
    pub(in crate::store) fn bounds(&self, before: DeliveryId) -> (i64, DeliveryId) {
        let least = self.from.map_or(0, |from| from.0);
        let most = self.below.filter(|place| *place <= before.seq).map_or(before, |place| below(Some(place)));
        (least, most)
    }

    /// Are those alone meant that the index of what was given up has?
    pub(in crate::store) fn is_of_the_dead(&self) -> bool {
        let is_dead = |status: &DeliveryStatus| {
            use DeliveryStatus::{Cancelled, Dead, Done, Expired, Retrying, Waiting};
            match status {
                Dead | Expired => true,
                Waiting | Retrying | Done | Cancelled => false,
            }
        };
        !self.statuses.is_empty() && self.statuses.iter().all(is_dead)
    }

    /// The statuses, each between commas.
    pub(in crate::store) fn status_list(&self) -> Option<String> {
        let names: Vec<_> = self.statuses.iter().map(|status| status.as_str()).collect();
        (!names.is_empty()).then(|| format!(",{},", names.join(",")))
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, P> {
    /// What was found, newest first.
    pub found: Vec<T>,
    /// What follows lies below this; none when that was all.
    pub next: Option<P>,
}

/// An event as it is shown: without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place.
    pub seq: Seq,
    /// The app it came by.
    pub app: AppId,
    /// Slack's id of that app, where it is known.
    pub slack_app_id: Option<String>,
    /// Whose it is; none when its team matched no workspace of the app.
    pub workspace: Option<(WorkspaceId, WorkspaceName)>,
    /// What its envelope carried.
    pub kind: Kind,
    /// Its type.
    pub kind_type: String,
    /// Slack's id of it, else the envelope's.
    pub slack_id: String,
    /// Slack's count of earlier attempts.
    pub retry: u32,
    /// When it was read from the socket, milliseconds since 1970.
    pub received_ms: i64,
    /// Bytes of its payload.
    pub bytes: u64,
    /// Is its payload still there?
    pub has_payload: bool,
    /// Is a delivery of it that has no row done? Else it is in hand, or about to be.
    pub is_settled: bool,
}

impl StoredEvent {
    /// Was a handler there when it came, so that it was for it?
    pub const fn is_for(&self, handler: &KnownHandler) -> bool {
        handler.created_ms <= self.received_ms
    }
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// Its row.
    pub row: DeliveryRow,
    /// To whom.
    pub handler: String,
    /// Whose event it is.
    pub workspace: Option<WorkspaceName>,
    /// The event's kind and type; none where the event is kept no more.
    pub what: Option<(Kind, String)>,
    /// The newest run of its event and handler, where that is another one.
    pub replaced_by: Option<u32>,
}

/// What is done to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Tried at once: what has ended undone has all its tries before it again, what is to be tried again needs not wait.
    Retry,
    /// Given up: nobody is given it any more, but for who has it in hand.
    Discard,
}

impl Remedy {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Retry, Self::Discard];

    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    /// What it is for.
    pub const fn takes(self, status: DeliveryStatus) -> bool {
        use DeliveryStatus::{Cancelled, Dead, Done, Expired, Retrying, Waiting};
        match (self, status) {
            (Self::Retry, Retrying | Dead | Expired | Cancelled)
            | (Self::Discard, Waiting | Retrying | Dead | Expired) => true,
            (Self::Retry, Waiting | Done) | (Self::Discard, Done | Cancelled) => false,
        }
    }
}

/// What a replay of one event made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// New deliveries, with their handlers' names.
    pub made: Vec<(DeliveryId, String)>,
    /// Handlers that are still owed the event, or are being given it, and get it anyway.
    pub under_way: Vec<String>,
}

/// To whom events are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayTo {
    /// To those of these handlers with which they ended undone. Of many events, what was called off stays so.
    Undone(Vec<String>),
    /// To these, whatever became of them before.
    Named(Vec<String>),
}

/// What became of a step of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Deliveries it was about.
    pub matched: u64,
    /// What follows lies below this; none when that was all.
    pub next: Option<Seq>,
}

/// What weighs on a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burden {
    /// Whose.
    pub handler: KnownHandler,
    /// Deliveries that wait for their turn in the store.
    pub waiting: u64,
    /// Deliveries to be tried again.
    pub retrying: u64,
    /// Deliveries that were given up or expired, among the newest of all handlers.
    pub dead: u64,
    /// The oldest event that waits or is to be tried again; where those of more than two thousand workspaces do, the oldest of so many.
    pub oldest: Option<Seq>,
}

/// The journal and what is owed, as operators see and steer them. `scope` is what the caller sees: what lies outside of it is not there.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Events below `before`, newest first, at most `limit`.
    async fn events(
        &self,
        filter: &EventFilter,
        scope: Option<&Label>,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Page<StoredEvent, Seq>, StoreError>;

    /// One event.
    async fn event(&self, seq: Seq, scope: Option<&Label>) -> Result<Option<StoredEvent>, StoreError>;

    /// The rows of deliveries of these events, all runs, by event, handler and run.
    async fn deliveries_of(&self, seqs: &[Seq]) -> Result<Vec<StoredDelivery>, StoreError>;

    /// Deliveries that have a row, those below `before`, newest event first, at most `limit`.
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        scope: Option<&Label>,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Page<StoredDelivery, DeliveryId>, StoreError>;

    /// Does this to one delivery, and writes down who did: the delivery as it is then. A [`StoreError::Conflict`] where the remedy is not for
    /// its status, it has expired for good, it was replayed or changed since, or its payload is gone; none when there is no such row.
    async fn remedy_delivery(
        &self,
        id: DeliveryId,
        remedy: Remedy,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<StoredDelivery>, StoreError>;

    /// Makes new deliveries of an event, due now, and writes down who did; none when there is no such event. What has expired for good, and
    /// what is not settled and has no row, is not made anew. A [`StoreError::Conflict`] where
    /// its payload is gone, a [`StoreError::Data`] where a handler is not known.
    async fn replay_event(
        &self,
        seq: Seq,
        to: &ReplayTo,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Replayed>, StoreError>;

    /// How many deliveries of events below `before` a remedy is for, a step at a time. A retry is not for what has expired for good or is a
    /// removed workspace's, and for what was called off only where the filter says so.
    async fn count_remedies(
        &self,
        remedy: Remedy,
        filter: &DeliveryFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError>;

    /// Does this to deliveries of events below `before`, a step at a time, from the newest on.
    async fn remedy_some(
        &self,
        remedy: Remedy,
        filter: &DeliveryFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError>;

    /// How many deliveries a replay of events below `before` would make, a step at a time: none of a removed workspace's, nor to who is owed
    /// one or is being given it.
    async fn count_replays(
        &self,
        to: &ReplayTo,
        filter: &EventFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError>;

    /// Replays events below `before`, a step at a time, from the newest on.
    async fn replay_some(
        &self,
        to: &ReplayTo,
        filter: &EventFilter,
        before: Option<Seq>,
        now_ms: i64,
    ) -> Result<Stepped, StoreError>;

    /// All handlers that were ever made known, by name.
    async fn known_handlers(&self) -> Result<Vec<KnownHandler>, StoreError>;

    /// The same, with what weighs on each, counted up to `most`, and up to a hundred thousand of what was given up.
    async fn burdens(&self, most: u32) -> Result<Vec<Burden>, StoreError>;

    /// Nothing is to be given to a handler from now on, or it is again, and who said so is written down; none when there is no such handler.
    async fn steer_handler(
        &self,
        name: &str,
        is_paused: bool,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<KnownHandler>, StoreError>;
}
