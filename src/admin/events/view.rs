//! An event as the API shows it, without its payload.

use serde::Serialize;

use super::super::deliveries::DeliveryOut;
use super::event_id;
use crate::event::Kind;
use crate::ids::WorkspaceName;
use crate::moment::rfc3339;
use crate::store::{DeliveryStatus, StoredDelivery, StoredEvent};

#[derive(Serialize)]
pub(super) struct EventOut<'a> {
    id: String,
    seq: String,
    workspace: Option<&'a WorkspaceName>,
    app_id: Option<&'a str>,
    kind: Kind,
    r#type: &'a str,
    slack_id: &'a str,
    retry: u32,
    received_at: String,
    bytes: u64,
    payload_kept: bool,
    status: &'static str,
}

#[derive(Serialize)]
pub(super) struct WholeEventOut<'a> {
    #[serde(flatten)]
    pub(super) event: EventOut<'a>,
    pub(super) deliveries: Vec<DeliveryOut<'a>>,
}

impl<'a> EventOut<'a> {
    pub(super) fn new(event: &'a StoredEvent, rows: &[StoredDelivery]) -> Self {
        Self {
            id: event_id(event.seq),
            seq: event.seq.to_string(),
            workspace: event.workspace.as_ref().map(|(_, name)| name),
            app_id: event.slack_app_id.as_deref(),
            kind: event.kind,
            r#type: &event.kind_type,
            slack_id: &event.slack_id,
            retry: event.retry,
            received_at: rfc3339(event.received_ms),
            bytes: event.bytes,
            payload_kept: event.has_payload,
            status: worst(event, rows),
        }
    }
}

/// What of an event's newest deliveries wants somebody's eye most.
fn worst(event: &StoredEvent, rows: &[StoredDelivery]) -> &'static str {
    use DeliveryStatus::{Cancelled, Dead, Done, Expired, Retrying, Waiting};
    let weight = |status: &DeliveryStatus| match status {
        Dead => 6,
        Retrying => 5,
        Waiting => 4,
        Expired => 2,
        Cancelled => 1,
        Done => 0,
    };
    let newest = rows.iter().filter(|row| row.replaced_by.is_none()).map(|row| row.row.status);
    let worst = newest.max_by_key(weight).unwrap_or(Done);
    if !event.is_settled && weight(&worst) < weight(&Waiting) { "pending" } else { worst.as_str() }
}
