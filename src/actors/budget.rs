//! How many bytes may wait in memory, all links of the node together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an envelope costs beside its text: its ids, its place in queues.
pub(super) const OVERHEAD: usize = 1 << 10;

/// The node's bytes in flight.
#[derive(Debug)]
pub(super) struct Budget {
    taken: AtomicUsize,
    limit: usize,
    reserve: usize,
}

impl Budget {
    /// A budget of `limit` bytes, and `reserve` on top for what Slack does not send twice.
    pub(super) fn new(limit: usize, reserve: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), limit, reserve })
    }

    /// Bytes in flight.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The most envelopes that can be in flight at once: queues of this length never fill.
    pub(super) fn most_envelopes(&self) -> usize {
        (self.limit + self.reserve) / OVERHEAD
    }

    fn take(&self, bytes: usize, urgent: bool) -> bool {
        let limit = if urgent { self.limit + self.reserve } else { self.limit };
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// An empty share.
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Takes `bytes` more, if they are there. `urgent` may use the reserve.
    pub(super) fn grow(&mut self, bytes: usize, urgent: bool) -> bool {
        let granted = self.budget.take(bytes, urgent);
        if granted {
            self.bytes += bytes;
        }
        granted
    }

    /// Gives `bytes` of it back.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_only_the_urgent_may_use_the_reserve() {
        let budget = Budget::new(100, 20);
        let mut share = Share::of(&budget);
        assert!(share.grow(90, false));
        assert!(!share.grow(11, false));
        assert!(share.grow(11, true));
        assert_eq!((share.bytes(), budget.taken()), (101, 101));
        assert!(!share.grow(20, true));
        share.shrink(11);
        assert_eq!((share.bytes(), budget.taken()), (90, 90));
        drop(share);
        assert_eq!(budget.taken(), 0);
    }
}
