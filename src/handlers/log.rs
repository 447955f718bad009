//! One line an event.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use async_trait::async_trait;

use super::{Context, Delivery, Handler, Outcome};
use crate::ids::{WorkspaceId, WorkspaceName};
use crate::store::{Order, Workspace};

/// Workspaces read at once.
const PAGE: u32 = 200;

/// Writes who, what and which at *info*, never what was said.
pub struct Log {
    context: Context,
    /// None for what no living workspace is called: it is not looked up again for every event.
    names: RefCell<HashMap<WorkspaceId, Option<Rc<Known>>>>,
}

/// What is said of whom an event is for.
struct Known {
    name: WorkspaceName,
    app_id: Option<String>,
    team_id: Option<String>,
}

impl Log {
    /// A log for the thread of `context`.
    pub fn new(context: Context) -> Self {
        Self { context, names: RefCell::default() }
    }

    /// A workspace; none when it is gone or the store does not answer.
    async fn known(&self, workspace: WorkspaceId) -> Option<Rc<Known>> {
        let cached = self.names.borrow().get(&workspace).cloned();
        if let Some(known) = cached {
            return known;
        }
        self.look_up().await;
        self.names.borrow_mut().entry(workspace).or_default().clone()
    }

    async fn look_up(&self) {
        let mut after = None;
        let order = Order::default();
        while let Ok(page) = self.context.workspaces.workspaces(order, after.as_ref(), PAGE).await {
            let Some(last) = page.last() else { return };
            after = Some(order.place(last));
            let known = |found: Workspace| Known {
                name: found.name,
                app_id: found.slack_app_id,
                team_id: found.team_id.or(found.enterprise_id),
            };
            let found = page.into_iter().map(|found| (found.id, Some(Rc::new(known(found)))));
            self.names.borrow_mut().extend(found);
        }
    }
}

#[async_trait(?Send)]
impl Handler for Log {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = &delivery.event;
        let known = match event.workspace {
            Some(workspace) => self.known(workspace).await,
            None => None,
        };
        let known = known.as_deref();
        let number = event.workspace.map(|workspace| workspace.to_string());
        tracing::info!(
            workspace = known.map(|known| known.name.as_str()).or(number.as_deref()).unwrap_or("none"),
            app = %event.app,
            app_id = known.and_then(|known| known.app_id.as_deref()),
            team_id = known.and_then(|known| known.team_id.as_deref()),
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
