//! What handlers owe, counted now and then for the figures: nobody who reads them waits for the database, nor does it count for each.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::machine::seq;
use crate::store::{Archive, Burden, COUNTED, COUNTED_AT_LEISURE, StoreError};
use crate::telemetry::{Metrics, Owes};

/// Between two looks at least.
const LOOK: Duration = Duration::from_secs(5);

/// A start has other things to do first.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// A look takes so little of the time at most: after one that took long the next comes later.
const SHARE: u32 = 100;

/// Keeps the figures for as long as the node runs. Where the database is away they stay as they are.
pub(super) async fn keep(store: Arc<dyn Archive>, clock: Clock, metrics: Arc<Metrics>) {
    let (mut pause, mut most) = (FIRST_LOOK, COUNTED_AT_LEISURE);
    loop {
        tokio::time::sleep(pause).await;
        let begun = clock.mono();
        let looked = look(&*store, &metrics, most).await;
        (pause, most) = next(looked.is_ok(), clock.mono().saturating_sub(begun), most);
        if let Err(error) = looked {
            tracing::debug!(%error, "what handlers owe cannot be counted now");
        }
    }
}

/// When it is looked next, and how far is counted then. A count that the database has cut is one that was too much for it.
fn next(is_ok: bool, took: Duration, most: u32) -> (Duration, u32) {
    if is_ok {
        (LOOK.max(took.saturating_mul(SHARE)), most.saturating_mul(2).min(COUNTED_AT_LEISURE))
    } else {
        (LOOK.max(took.saturating_mul(SHARE)), (most / 4).max(COUNTED))
    }
}

async fn look(store: &dyn Archive, metrics: &Metrics, most: u32) -> Result<(), StoreError> {
    let burdens = store.burdens(most).await?;
    metrics.owe(burdens.into_iter().map(owes).collect());
    Ok(())
}

fn owes(burden: Burden) -> Owes {
    Owes {
        handler: burden.handler.name,
        waiting: burden.waiting,
        retrying: burden.retrying,
        dead: burden.dead,
        oldest_ms: burden.oldest.map(seq::wall_ms_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_takes_a_hundredth_of_the_time_and_goes_less_far_where_that_is_too_much() {
        let second = Duration::from_secs(1);
        assert_eq!(next(true, second / 1000, COUNTED_AT_LEISURE), (LOOK, COUNTED_AT_LEISURE));
        assert_eq!(next(true, second, COUNTED_AT_LEISURE).0, second * 100);
        let (mut most, mut pause) = (COUNTED_AT_LEISURE, second);
        for _ in 0..9 {
            (pause, most) = next(false, second * 2, most);
        }
        assert_eq!((pause, most), (second * 200, COUNTED));
        assert_eq!(next(true, second / 1000, most).1, 2 * COUNTED, "it may have been busy");
    }
}
