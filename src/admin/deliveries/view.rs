//! A delivery as the API shows it.

use serde::Serialize;

use super::super::events::event_id;
use super::delivery_id;
use crate::event::Kind;
use crate::ids::WorkspaceName;
use crate::moment::rfc3339;
use crate::store::{DeliveryId, DeliveryStatus, StoredDelivery, StoredEvent};

#[derive(Serialize)]
pub(in crate::admin) struct DeliveryOut<'a> {
    id: String,
    event: String,
    pub(in crate::admin) handler: &'a str,
    pub(in crate::admin) run: u32,
    workspace: Option<&'a WorkspaceName>,
    kind: Option<Kind>,
    r#type: Option<&'a str>,
    status: &'static str,
    attempts: u32,
    last_error: Option<&'a str>,
    next_attempt_at: Option<String>,
    holds_until: Option<String>,
    pub(super) replaced_by: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl<'a> DeliveryOut<'a> {
    pub(in crate::admin) fn new(delivery: &'a StoredDelivery) -> Self {
        let row = &delivery.row;
        let is_retrying = row.status == DeliveryStatus::Retrying;
        let (kind, kind_type) =
            delivery.what.as_ref().map(|(kind, kind_type)| (*kind, kind_type.as_str())).unzip();
        Self {
            id: delivery_id(row.id),
            event: event_id(row.id.seq),
            handler: &delivery.handler,
            run: row.id.run,
            workspace: delivery.workspace.as_ref(),
            kind,
            r#type: kind_type,
            status: row.status.as_str(),
            attempts: row.attempts,
            last_error: row.last_error.as_deref(),
            next_attempt_at: is_retrying.then(|| rfc3339(row.next_ms)),
            holds_until: row.hold_until_ms.filter(|_| is_retrying).map(rfc3339),
            replaced_by: delivery.replaced_by.map(|run| delivery_id(DeliveryId { run, ..row.id })),
            created_at: Some(rfc3339(row.created_ms)),
            updated_at: Some(rfc3339(row.updated_ms)),
        }
    }

    /// Of one that has no row: all went well with it, or it is in memory.
    pub(in crate::admin) fn without_row(id: DeliveryId, handler: &'a str, event: &'a StoredEvent) -> Self {
        Self {
            id: delivery_id(id),
            event: event_id(id.seq),
            handler,
            run: id.run,
            workspace: event.workspace.as_ref().map(|(_, name)| name),
            kind: Some(event.kind),
            r#type: Some(&event.kind_type),
            status: if event.is_settled { "done" } else { "pending" },
            attempts: u32::from(event.is_settled),
            last_error: None,
            next_attempt_at: None,
            holds_until: None,
            replaced_by: None,
            created_at: None,
            updated_at: None,
        }
    }
}
