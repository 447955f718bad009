//! What all connections of a node share.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::asked::Asks;
use super::budget::Budget;
use super::exit::Exit;
use super::names::Names;
use super::pacer::Pacer;
use crate::clock::Clock;
use crate::ids::Generations;
use crate::slack::web::Outside;
use crate::store::{StoreError, Transition, Workspaces};
use crate::telemetry::Metrics;

/// What all connections of a node share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Workspaces>,
    pub(super) outside: Arc<Outside>,
    pub(super) generations: Generations,
    pub(super) budget: Arc<Budget>,
    pub(super) exit: Exit,
    /// Where answers are waited for; none where no handler answers.
    pub(super) asks: Option<Arc<Asks>>,
    /// When who may ask Slack for an address.
    pub(super) pacer: Arc<Pacer>,
    /// How many ask Slack at the same time whose a bot token is.
    pub(super) identities: Arc<Semaphore>,
    pub(super) history: mpsc::Sender<Transition>,
    pub(super) metrics: Arc<Metrics>,
    /// Nodes beside this one on its database, each of which has sockets of its own for every app.
    pub(super) other_nodes: AtomicU32,
    /// What they are called in the log.
    pub(super) names: Arc<Names>,
}

impl Shared {
    /// Adds to the history. A history that cannot keep up loses lines rather than holding a connection up.
    pub(super) fn tell_history(&self, transition: Transition) {
        if self.history.try_send(transition).is_err() {
            tracing::debug!("the history lost a line: the database is slow or gone");
        }
    }
}

/// How long the history waits while the database takes no writes.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Writes the history in the order it came, many lines at once.
pub(super) async fn keep_history(workspaces: Arc<dyn Workspaces>, mut lines: mpsc::Receiver<Transition>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, 256).await > 0 {
        while let Err(error) = workspaces.record(&batch).await {
            if !matches!(error, StoreError::Unavailable(_)) {
                tracing::warn!(%error, lines = batch.len(), "the history lost lines");
                break;
            }
            tracing::debug!(%error, "the history waits for the database");
            tokio::time::sleep(TRY_AGAIN).await;
        }
        batch.clear();
    }
}
