//! What is old goes, what is too much, and what is left of workspaces that were removed: beside the journal, which does not wait for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;

use crate::clock::Clock;
use crate::store::{Keep, Retention, Step, StoreError};
use crate::telemetry::Metrics;

/// Between two looks for what has become old.
const LOOK: Duration = Duration::from_mins(10);

/// The same, where there is a bound on bytes: so much may come in beyond it meanwhile.
const SHORT_LOOK: Duration = Duration::from_mins(1);

/// A start has other things to do first.
const FIRST_LOOK: Duration = Duration::from_mins(1);

/// Rows deleted at once where they go one by one, and the pause after them: some ten times what a node takes in.
const STEP: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(100);

/// Between two looks for workspaces that were removed.
const REMOVED: Duration = Duration::from_secs(1);

/// Lets all of it go, for as long as the node runs.
pub(super) async fn let_go(store: Arc<dyn Retention>, keep: Keep, clock: Clock, metrics: Arc<Metrics>) {
    let old = async {
        if keep != Keep::default() {
            run(Arc::clone(&store), keep, clock, Arc::clone(&metrics)).await;
        }
    };
    join(old, clear_removed(Arc::clone(&store), clock, Arc::clone(&metrics))).await;
}

/// Deletes what is not to be kept.
async fn run(store: Arc<dyn Retention>, keep: Keep, clock: Clock, metrics: Arc<Metrics>) {
    let before = |keep: Duration| {
        clock.now().wall_ms.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))
    };
    let look = if keep.payload_bytes.is_some() { SHORT_LOOK } else { LOOK };
    let mut pause = FIRST_LOOK;
    loop {
        clock.sleep(pause).await;
        pause = look;
        if let Some(keep) = keep.payloads {
            let gone = drain("payloads", || store.delete_payloads(before(keep), STEP)).await;
            metrics.erased.inc_by(gone);
        }
        if let Some(most) = keep.payload_bytes {
            let gone =
                drain("payloads beyond retention_max_bytes", || store.delete_payloads_over(most, STEP)).await;
            metrics.erased.inc_by(gone);
        }
        if let Some(keep) = keep.events {
            metrics.expired.inc_by(drain("events", || store.delete_events(before(keep), STEP)).await);
            drain("events put aside", || store.delete_quarantine(before(keep), STEP)).await;
        }
    }
}

/// Step by step, until all that may go has gone. How much went.
async fn drain<F: Future<Output = Result<Step, StoreError>>>(what: &str, step: impl Fn() -> F) -> u64 {
    let mut deleted = 0;
    loop {
        match step().await {
            Ok(Step { gone, is_all }) => {
                deleted += gone;
                if is_all {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(%error, what, "what is old stays; it is deleted at the next look");
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if deleted > 0 {
        tracing::info!(what, rows = deleted, "old rows are deleted");
    }
    deleted
}

/// Does what is left to do for workspaces that were removed.
async fn clear_removed(store: Arc<dyn Retention>, clock: Clock, metrics: Arc<Metrics>) {
    let (mut pause, mut is_away) = (REMOVED, false);
    let (mut cancelled, mut erased) = (0, 0);
    loop {
        tokio::time::sleep(pause).await;
        pause = REMOVED;
        match store.clear_removed(STEP, clock.now().wall_ms).await {
            Ok(cleared) => {
                is_away = false;
                cancelled += cleared.cancelled;
                erased += cleared.erased;
                metrics.erased.inc_by(cleared.erased);
                if !cleared.is_all {
                    pause = PAUSE;
                } else if cancelled + erased > 0 {
                    tracing::info!(
                        cancelled,
                        erased,
                        "deliveries and payloads of removed workspaces are gone"
                    );
                    (cancelled, erased) = (0, 0);
                }
            }
            Err(error) => {
                // Said once: the database's being away is said elsewhere.
                if !is_away {
                    tracing::warn!(%error, "what is left of removed workspaces stays for now");
                }
                is_away = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
