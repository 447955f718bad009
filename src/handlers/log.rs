//! One line an event.

use std::cell::RefCell;
use std::collections::HashMap;

use async_trait::async_trait;

use super::{Context, Delivery, Handler, Outcome};
use crate::ids::{WorkspaceId, WorkspaceName};

/// Writes who, what and which at *info*, never what was said.
pub struct Log {
    context: Context,
    names: RefCell<HashMap<WorkspaceId, WorkspaceName>>,
}

impl Log {
    /// A log for the thread of `context`.
    pub fn new(context: Context) -> Self {
        Self { context, names: RefCell::default() }
    }

    /// The caller's name of a workspace; its number when the store does not answer.
    async fn name(&self, workspace: WorkspaceId) -> String {
        if let Some(name) = self.names.borrow().get(&workspace) {
            return name.to_string();
        }
        let apps = self.context.workspaces.apps().await.unwrap_or_default();
        let seats = apps.into_iter().flat_map(|app| app.seats);
        self.names.borrow_mut().extend(seats.map(|seat| (seat.workspace, seat.name)));
        self.names.borrow().get(&workspace).map_or_else(|| workspace.to_string(), ToString::to_string)
    }
}

#[async_trait(?Send)]
impl Handler for Log {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = &delivery.event;
        let workspace = match event.workspace {
            Some(workspace) => self.name(workspace).await,
            None => "none".into(),
        };
        tracing::info!(
            workspace,
            kind = event.kind.as_str(),
            r#type = %event.kind_type,
            id = %event.slack_id,
            retry = event.retry,
            seq = %event.seq,
            "event"
        );
        Outcome::Done
    }
}
