//! The order of the journal: seqs, made before the insert, always rising.

use crate::ids::Seq;

/// 2020-01-01T00:00:00Z in milliseconds since 1970. Seqs count from here, so that 41 bits of milliseconds last until 2089.
const EPOCH_MS: i64 = 1_577_836_800_000;

/// Bits below the milliseconds: ten of the node, twelve of the counter.
const NODE_SHIFT: u32 = 12;
const MS_SHIFT: u32 = 22;

/// The first seq of a moment, in milliseconds since 1970; of one before 2020, the first of all.
pub fn first_at(wall_ms: i64) -> Seq {
    first_of_ms(wall_ms.saturating_sub(EPOCH_MS).max(0)).unwrap_or(Seq(i64::MAX))
}

/// The first seq of a millisecond counted from 2020; none beyond the last.
pub fn first_of_ms(ms: i64) -> Option<Seq> {
    ms.checked_mul(1 << MS_SHIFT).map(Seq)
}

/// The millisecond of a seq, counted from 2020.
pub fn ms_of(seq: Seq) -> i64 {
    seq.0 >> MS_SHIFT
}

/// The moment of a seq, in milliseconds since 1970.
pub fn wall_ms_of(seq: Seq) -> i64 {
    ms_of(seq).saturating_add(EPOCH_MS)
}

/// Makes the seqs of one writer.
#[derive(Clone, Copy, Debug)]
pub struct SeqMaker {
    node: i64,
    last: i64,
}

impl SeqMaker {
    /// A maker for `node` (0 to 1023) whose seqs lie above `last`, the highest in the journal.
    pub fn new(node: u16, last: Seq) -> Self {
        Self { node: i64::from(node & 0x3ff), last: last.0 }
    }

    /// The next seq. Rises even when the wall clock goes back; a full counter carries into the milliseconds.
    pub fn next(&mut self, wall_ms: i64) -> Seq {
        let at = |ms: i64| (ms << MS_SHIFT) | (self.node << NODE_SHIFT);
        let now = at((wall_ms - EPOCH_MS).max(0));
        let next = self.last + 1;
        // A counter that overflows would run into the node's bits: the next millisecond has room.
        let same_node = (next >> NODE_SHIFT) & 0x3ff == self.node;
        let carried = if same_node { next } else { at((self.last >> MS_SHIFT) + 1) };
        self.last = now.max(carried);
        Seq(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    #[test]
    fn a_seq_holds_its_millisecond_and_its_node() {
        let seq = SeqMaker::new(5, Seq(0)).next(NOW).0;
        assert_eq!(ms_of(Seq(seq)), NOW - EPOCH_MS);
        assert_eq!(ms_of(first_at(NOW)), NOW - EPOCH_MS);
        assert_eq!((first_at(0), first_of_ms(i64::MAX)), (Seq(0), None));
        assert_eq!((seq >> 12) & 0x3ff, 5);
        assert_eq!(seq & 0xfff, 0);
    }

    #[test]
    fn a_full_counter_carries_into_the_next_millisecond_and_keeps_the_node() {
        let mut maker = SeqMaker::new(1023, Seq(0));
        let first = maker.next(NOW).0;
        let later = (0..4096).map(|_| maker.next(NOW).0).last().unwrap();
        assert_eq!(later >> 22, (first >> 22) + 1);
        assert_eq!((later >> 12) & 0x3ff, 1023);
    }

    #[test]
    fn seqs_lie_above_the_last_of_the_journal_even_when_the_clock_was_set_back() {
        let last = SeqMaker::new(0, Seq(0)).next(NOW + 3_600_000);
        assert!(SeqMaker::new(0, last).next(NOW) > last);
    }

    proptest! {
        #[test]
        fn seqs_always_rise_whatever_the_clock_does(times in proptest::collection::vec(0i64..NOW * 2, 1..300), node in 0u16..1024) {
            let mut maker = SeqMaker::new(node, Seq(0));
            let mut last = Seq(0);
            for time in times {
                let next = maker.next(time);
                prop_assert!(next > last);
                prop_assert_eq!((next.0 >> 12) & 0x3ff, i64::from(node));
                last = next;
            }
        }
    }
}
