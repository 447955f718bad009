//! What goes: what is old, what is too much, and what is left of workspaces that were removed.

use std::time::Duration;

use async_trait::async_trait;

use crate::store::StoreError;

/// How long events and their payloads are kept once they are handled; none for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Events, and whatever is about them.
    pub events: Option<Duration>,
    /// Their payloads, which go before them.
    pub payloads: Option<Duration>,
    /// Bytes of payload that are kept at most; what is not handled stays all the same.
    pub payload_bytes: Option<u64>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows that went.
    pub gone: u64,
    /// That was all for now; else the next step goes on behind this one.
    pub is_all: bool,
}

/// What one step did for workspaces that were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Deliveries that were called off.
    pub cancelled: u64,
    /// Payloads that were erased.
    pub erased: u64,
    /// That was all for now; else the next step goes on behind this one.
    pub is_all: bool,
}

/// The side of the store that lets go, beside the journal, which waits for none of it. What is not handled stays: what a writer has not
/// settled, and what has a delivery that is waiting or to be tried again. In SQLite the oldest go first, `limit` at most in a step; in
/// Postgres whole days, none of them younger than [`super::REMEMBER`] by the server's clock, and by one node at a time.
#[async_trait]
pub trait Retention: Send + Sync + 'static {
    /// Deletes events that came in before `before_ms`, with their payloads and ended deliveries, once their keys are forgotten.
    async fn delete_events(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError>;

    /// Deletes the payloads of events that came in before `before_ms`. What else is known of those stays.
    async fn delete_payloads(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError>;

    /// Deletes the oldest payloads while there are more than `max_bytes` of them. What there is, is counted on from where it was counted
    /// last.
    async fn delete_payloads_over(&self, max_bytes: u64, limit: u32) -> Result<Step, StoreError>;

    /// Deletes what was put aside before `before_ms`, at most `limit` rows.
    async fn delete_quarantine(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError>;

    /// Calls off what handlers still owe of workspaces that were removed, and erases the payloads of those that were purged, `limit` rows
    /// at most. Goes on where it was left, also by a node that has died; of several nodes one does it. Rows that come late, since somebody
    /// had taken an event up before the removal was known, are found for [`LATE`].
    async fn clear_removed(&self, limit: u32, now_ms: i64) -> Result<Cleared, StoreError>;
}

/// How long after a removal something of the workspace may still be written down.
pub const LATE: Duration = Duration::from_mins(5);
