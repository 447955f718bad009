//! How long Slack takes to answer our pings: a late pong is a late ack.

use std::time::Duration;

/// The median of so many is told.
const KEPT: usize = 5;

/// Slack gives up on an ack after three seconds. Nothing is called slow before so many answers are in.
const SLOW: Duration = Duration::from_secs(2);
const ENOUGH: usize = 3;

/// A change by less is no news.
const NOTABLE: Duration = Duration::from_millis(5);

/// How long Slack takes to answer pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Of the last five answers.
    pub median: Duration,
    /// It stays high.
    pub is_slow: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pongs {
    /// When the oldest ping without an answer was sent.
    asked: Option<Duration>,
    /// The youngest last.
    took: Vec<Duration>,
    told: Option<RoundTrip>,
}

impl Pongs {
    pub(super) fn asked(&mut self, now: Duration) {
        self.asked.get_or_insert(now);
    }

    /// What is worth telling, if anything is. One answer is taken for all pings before it: a peer may answer but the last.
    pub(super) fn answered(&mut self, now: Duration) -> Option<RoundTrip> {
        let took = now.saturating_sub(self.asked.take()?);
        if self.took.len() == KEPT {
            self.took.remove(0);
        }
        // Nothing more than these: there may be thousands of links.
        self.took.reserve_exact(KEPT - self.took.len());
        self.took.push(took);
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let median = *sorted.get((sorted.len() - 1) / 2)?;
        let is_slow = sorted.len() >= ENOUGH && median > SLOW;
        let is_news = self.told.is_none_or(|told| {
            let change = told.median.abs_diff(median);
            told.is_slow != is_slow || change > NOTABLE.max(told.median / 4)
        });
        let news = RoundTrip { median, is_slow };
        is_news.then(|| *self.told.insert(news))
    }
}
