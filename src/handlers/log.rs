//! One line an event.

use std::cell::RefCell;
use std::collections::HashMap;

use async_trait::async_trait;

use super::{Context, Delivery, Handler, Outcome};
use crate::ids::{WorkspaceId, WorkspaceName};
use crate::store::Order;

/// Workspaces read at once.
const PAGE: u32 = 200;

/// Writes who, what and which at *info*, never what was said.
pub struct Log {
    context: Context,
    /// None for what no living workspace is called: it is not looked up again for every event.
    names: RefCell<HashMap<WorkspaceId, Option<WorkspaceName>>>,
}

impl Log {
    /// A log for the thread of `context`.
    pub fn new(context: Context) -> Self {
        Self { context, names: RefCell::default() }
    }

    /// The caller's name of a workspace; its number when it is gone or the store does not answer.
    async fn name(&self, workspace: WorkspaceId) -> String {
        if !self.names.borrow().contains_key(&workspace) {
            self.look_up().await;
            self.names.borrow_mut().entry(workspace).or_default();
        }
        let names = self.names.borrow();
        names
            .get(&workspace)
            .and_then(Option::as_ref)
            .map_or_else(|| workspace.to_string(), ToString::to_string)
    }

    async fn look_up(&self) {
        let mut after = None;
        let order = Order::default();
        while let Ok(page) = self.context.workspaces.workspaces(order, after.as_ref(), PAGE).await {
            let Some(last) = page.last() else { return };
            after = Some(order.place(last));
            self.names.borrow_mut().extend(page.into_iter().map(|found| (found.id, Some(found.name))));
        }
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
