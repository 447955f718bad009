//! What all connections of a node share.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::budget::Budget;
use super::exit::Exit;
use crate::clock::Clock;
use crate::ids::Generations;
use crate::slack::web::Outside;
use crate::store::{Transition, Workspaces};
use crate::telemetry::Metrics;

/// What all connections of a node share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Workspaces>,
    pub(super) outside: Arc<Outside>,
    pub(super) generations: Generations,
    pub(super) budget: Arc<Budget>,
    pub(super) exit: Exit,
    /// How many ask Slack for an address at the same time.
    pub(super) pace: Arc<Semaphore>,
    pub(super) history: mpsc::Sender<Transition>,
    pub(super) metrics: Arc<Metrics>,
}

impl Shared {
    /// Adds to the history. A history that cannot keep up loses lines rather than holding a connection up.
    pub(super) fn tell_history(&self, transition: Transition) {
        if self.history.try_send(transition).is_err() {
            tracing::debug!("the history lost a line: the database is slow or gone");
        }
    }
}

/// Writes the history in the order it came, many lines at once.
pub(super) async fn keep_history(workspaces: Arc<dyn Workspaces>, mut lines: mpsc::Receiver<Transition>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, 256).await > 0 {
        if let Err(error) = workspaces.record(&batch).await {
            tracing::warn!(%error, lines = batch.len(), "the history lost lines");
        }
        batch.clear();
    }
}
