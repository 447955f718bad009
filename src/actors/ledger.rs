//! The envelopes of one link that wait for their verdict.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::budget::Share;

/// What of one link may wait for verdicts, in bytes.
pub(super) const LINK_LIMIT: usize = 256 << 10;

/// Batches of one link that may wait for verdicts: fewer than its queue of words has places, so that no verdict is lost.
pub(super) const MOST_BATCHES: usize = 480;

/// Envelopes handed over together, acked together.
#[derive(Debug)]
pub(super) struct Entry {
    /// By what the verdict names it.
    pub(super) batch: u64,
    /// The acks to be sent when it is in; none when they went out already.
    pub(super) acks: Vec<Utf8Bytes>,
    /// When the first of them was read, monotonic.
    pub(super) read_at: Duration,
    /// Their bytes, of the node's budget.
    pub(super) share: Share,
}

/// The unacked envelopes of a link.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    bytes: usize,
    next: u64,
}

impl Ledger {
    /// May `bytes` more wait, beside `unentered` ones of the turn under way? One envelope may, whatever its size, when none
    /// does.
    pub(super) fn has_room(&self, unentered: usize, bytes: usize) -> bool {
        if !self.is_open() {
            return false;
        }
        let waiting = self.bytes + unentered;
        waiting == 0 || waiting + bytes <= LINK_LIMIT
    }

    /// May another batch wait?
    pub(super) fn is_open(&self) -> bool {
        self.entries.len() < MOST_BATCHES
    }

    /// Batches that wait.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of the batch that is entered next.
    pub(super) fn next_batch(&self) -> u64 {
        self.next
    }

    /// Enters a batch under [`Self::next_batch`].
    pub(super) fn enter(&mut self, acks: Vec<Utf8Bytes>, read_at: Duration, share: Share) {
        self.bytes += share.bytes();
        self.entries.push_back(Entry { batch: self.next, acks, read_at, share });
        self.next += 1;
    }

    /// The verdict on a batch is in.
    pub(super) fn settle(&mut self, batch: u64) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.batch == batch)?;
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.share.bytes();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::budget::Budget;

    #[test]
    fn a_verdict_frees_its_batch_only_and_a_second_one_nothing() {
        let budget = Budget::new(1 << 20, 0);
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            let mut share = Share::of(&budget);
            assert!(share.grow(1000, false));
            ledger.enter(vec!["ack".into()], Duration::ZERO, share);
        }
        assert_eq!(ledger.settle(1).map(|entry| entry.batch), Some(1));
        assert_eq!((ledger.bytes, ledger.len(), budget.taken()), (1000, 1, 1000));
        assert!(ledger.settle(1).is_none());
    }

    #[test]
    fn one_envelope_of_any_size_is_admitted_when_none_waits() {
        let budget = Budget::new(usize::MAX / 2, 0);
        let mut ledger = Ledger::default();
        assert!(ledger.has_room(0, LINK_LIMIT * 4));
        assert!(!ledger.has_room(1, LINK_LIMIT), "the turn under way counts");
        let mut share = Share::of(&budget);
        assert!(share.grow(LINK_LIMIT - 10, false));
        ledger.enter(Vec::new(), Duration::ZERO, share);
        assert!(ledger.has_room(0, 10));
        assert!(!ledger.has_room(0, 11));
    }
}
