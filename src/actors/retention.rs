//! Old events go, beside the journal, which does not wait for it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::Inbox;
use crate::telemetry::Metrics;

/// Between two looks for what has become old.
const LOOK: Duration = Duration::from_mins(10);

/// A start has other things to do first.
const FIRST_LOOK: Duration = Duration::from_mins(1);

/// Events deleted at once where they go one by one, and the pause after them: some ten times what a node takes in.
const STEP: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(100);

/// Deletes what is older than `keep`, for as long as the node runs.
pub(super) async fn run(store: Arc<dyn Inbox>, keep: Duration, clock: Clock, metrics: Arc<Metrics>) {
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let mut pause = FIRST_LOOK;
    let mut deleted = 0;
    loop {
        tokio::time::sleep(pause).await;
        pause = LOOK;
        match store.delete_events(clock.now().wall_ms.saturating_sub(keep_ms), STEP).await {
            Ok(step) => {
                metrics.expired.inc_by(step);
                deleted += step;
                if step >= u64::from(STEP) {
                    pause = PAUSE;
                } else if deleted > 0 {
                    tracing::info!(events = deleted, "events older than retention_days are deleted");
                    deleted = 0;
                }
            }
            Err(error) => tracing::warn!(%error, "old events stay; they are deleted at the next look"),
        }
    }
}

#[cfg(test)]
mod tests;
