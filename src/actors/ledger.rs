//! The envelopes of one link that wait for their verdict.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::asked::Ticket;

/// What of one link may wait for verdicts, by weight: three seconds of some three hundred events a second. What waits longer comes
/// too late for Slack anyway; a limit below that would turn a moment's stall of the disk into repeats.
const LINK_LIMIT: usize = 2 << 20;

/// The most that one envelope weighs.
const HEAVIEST: usize = LINK_LIMIT / 4;

/// What an envelope counts against its link's limit: its bytes, but a large one no more than a quarter of the limit. Else a busy
/// link would never take a large one, nor its neighbours while that one waits. The node's budget counts every byte.
pub(super) fn weight(bytes: usize) -> usize {
    bytes.min(HEAVIEST)
}

/// Batches of one link that may wait for verdicts, which bounds its queue of words too.
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
    weight: usize,
    /// Events in it.
    count: usize,
}

/// An envelope whose ack waits for an answer.
struct Asked {
    ticket: Ticket,
    /// With which it was handed over.
    batch: u64,
    /// When it was read, monotonic.
    read_at: Duration,
}

/// The unacked envelopes of a link.
#[derive(Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    asked: Vec<Asked>,
    weight: usize,
    next: u64,
}

impl Ledger {
    /// May an envelope of this weight wait too, beside those of the turn under way, which weigh `unentered`?
    pub(super) fn has_room(&self, unentered: usize, weight: usize) -> bool {
        self.is_open() && self.weight + unentered + weight <= LINK_LIMIT
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

    /// Envelopes that wait for an answer.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Acks that are still to go out, those that wait for an answer included.
    pub(super) fn unacked(&self) -> usize {
        self.entries.iter().map(|entry| entry.acks.len()).sum::<usize>() + self.asked.len()
    }

    /// Enters an envelope that waits for an answer, of the batch that is entered next.
    pub(super) fn ask(&mut self, ticket: Ticket, read_at: Duration) {
        self.asked.push(Asked { ticket, batch: self.next, read_at });
    }

    /// An envelope waits for an answer no longer: when it was read.
    pub(super) fn answered(&mut self, ticket: u64) -> Option<Duration> {
        let at = self.asked.iter().position(|asked| asked.ticket.number() == ticket)?;
        Some(self.asked.swap_remove(at).read_at)
    }

    /// Enters a batch under [`Self::next_batch`].
    pub(super) fn enter(&mut self, acks: Vec<Utf8Bytes>, read_at: Duration, weight: usize, count: usize) {
        self.weight += weight;
        self.entries.push_back(Entry { batch: self.next, acks, read_at, weight, count });
        self.next += 1;
    }

    /// The verdict on a batch is in: so many of its events were there before.
    pub(super) fn settle(&mut self, batch: u64, duplicates: usize) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.batch == batch)?;
        let entry = self.entries.remove(at)?;
        self.weight -= entry.weight;
        for Asked { ticket, .. } in self.asked.iter().filter(|asked| asked.batch == batch) {
            // Of several it is not said which.
            if duplicates >= entry.count {
                ticket.was_there();
            }
            ticket.stored();
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_frees_its_batch_only_and_a_second_one_nothing() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            ledger.enter(vec!["ack".into()], Duration::ZERO, 1000, 1);
        }
        assert_eq!(ledger.unacked(), 2);
        assert_eq!(ledger.settle(1, 0).map(|entry| entry.batch), Some(1));
        assert_eq!((ledger.weight, ledger.len(), ledger.unacked()), (1000, 1, 1));
        assert!(ledger.settle(1, 0).is_none());
    }

    #[test]
    fn a_link_takes_small_envelopes_beside_a_large_one_and_a_large_one_beside_small_ones() {
        let large = weight(4 << 20);
        let mut ledger = Ledger::default();
        ledger.enter(Vec::new(), Duration::ZERO, large, 1);
        assert!(ledger.has_room(0, weight(2_000)));
        assert!(ledger.has_room(2 * large, large), "four at a time");
        assert!(!ledger.has_room(3 * large, weight(1)), "the turn under way counts");
    }

    #[test]
    fn a_link_with_as_many_batches_as_may_wait_for_verdicts_takes_nothing_more() {
        let mut ledger = Ledger::default();
        for _ in 0..MOST_BATCHES {
            assert!(ledger.is_open());
            ledger.enter(Vec::new(), Duration::ZERO, 0, 1);
        }
        assert!(!ledger.is_open() && !ledger.has_room(0, 1));
    }
}
