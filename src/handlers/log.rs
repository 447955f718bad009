//! One line an event.

use async_trait::async_trait;

use super::{Delivery, Handler, Outcome};

/// Writes who, what and which at *info*, never what was said.
#[derive(Clone, Copy, Debug)]
pub struct Log;

#[async_trait(?Send)]
impl Handler for Log {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = &delivery.event;
        let workspace = event.workspace.map_or_else(|| "none".to_owned(), |id| id.to_string());
        tracing::info!(
            seq = %event.seq,
            %workspace,
            kind = event.kind.as_str(),
            r#type = %event.kind_type,
            id = %event.slack_id,
            retry = event.retry,
            "event"
        );
        Outcome::Done
    }
}
