//! Who holds up those that come behind it in its order: one that has failed, until it is over or for so long. Times are milliseconds
//! as this process counts, so that a wall clock that is set holds up nobody longer; rows say it by the wall clock.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::{Now, millis};

/// Until it is over, however long that takes.
const FOR_EVER: i64 = i64::MAX;

/// How one has ended that had a turn, or was tried after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// For good: done, refused or expired. Its handler goes on with its key by itself.
    Over,
    /// For good, and its handler keeps its key until it is told: it has failed for the last time.
    GivenUp,
    /// It has failed and is tried again.
    Failed,
}

/// One of those that come one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<I> {
    /// What they share.
    pub key: i64,
    /// Which.
    pub id: I,
    /// Its turn has passed: it is tried again, or anew.
    pub is_late: bool,
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The handler is to be told that the key may be given again.
    pub tells: bool,
    /// Something of its key may wait in the store that may be read now.
    pub frees: bool,
    /// Until when it holds up its key.
    pub until_ms: Option<i64>,
}

/// One that holds up its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder<I> {
    id: I,
    until_ms: i64,
}

/// Those that hold up their keys, in one lane.
#[derive(Debug)]
pub struct Holds<I>(HashMap<i64, Holder<I>>);

impl<I> Default for Holds<I> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<I: Copy + Eq> Holds<I> {
    /// Does nobody hold up anything?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is this key held?
    pub fn has(&self, key: i64) -> bool {
        self.0.contains_key(&key)
    }

    /// The keys that are held, and by whom.
    pub fn all(&self) -> impl Iterator<Item = (i64, I)> {
        self.0.iter().map(|(key, holder)| (*key, holder.id))
    }

    /// One has ended. Who fails in its turn holds up its key from then on for so long (`hold`; zero: not at all; none: until it is over).
    /// Who fails again later holds it up no longer for that.
    pub fn end(&mut self, turn: Turn<I>, ended: Ended, hold: Option<Duration>, now_ms: i64) -> Ruling {
        let Turn { key, id, is_late } = turn;
        let holds = hold != Some(Duration::ZERO);
        match ended {
            Ended::Failed if !holds => Ruling::default(),
            Ended::Failed => {
                if !is_late {
                    self.0.insert(key, Holder { id, until_ms: ends_at(hold, now_ms) });
                }
                Ruling { until_ms: self.until(key, id), ..Ruling::default() }
            }
            Ended::Over | Ended::GivenUp => {
                let frees = self.let_go(key, id);
                let is_kept = ended == Ended::GivenUp && holds && !is_late;
                Ruling { tells: frees || is_kept, frees, until_ms: None }
            }
        }
    }

    /// One holds up its key by the store's word. Who does so already goes on. By whatever clock that was written: nothing holds up others for
    /// longer than its handler says (`hold`).
    pub fn take_over(&mut self, key: i64, id: I, until_ms: i64, hold: Option<Duration>, now_ms: i64) {
        let until_ms = until_ms.min(ends_at(hold, now_ms));
        if until_ms > now_ms {
            self.0.entry(key).or_insert(Holder { id, until_ms });
        }
    }

    /// It holds up its key no more, if it did.
    pub fn let_go(&mut self, key: i64, id: I) -> bool {
        self.0.get(&key).is_some_and(|holder| holder.id == id) && self.0.remove(&key).is_some()
    }

    /// Those whose time to hold up others is over.
    pub fn overdue(&self, now_ms: i64) -> impl Iterator<Item = (i64, I)> {
        let over = self.0.iter().filter(move |(_, holder)| holder.until_ms <= now_ms);
        over.map(|(key, holder)| (*key, holder.id))
    }

    fn until(&self, key: i64, id: I) -> Option<i64> {
        self.0.get(&key).filter(|holder| holder.id == id).map(|holder| holder.until_ms)
    }
}

/// By the wall clock, what this process counts.
pub fn to_wall(until_ms: i64, now: Now) -> i64 {
    shifted(until_ms, now.ahead_ms())
}

/// As this process counts, what a row says by the wall clock.
pub fn from_wall(until_ms: i64, now: Now) -> i64 {
    shifted(until_ms, now.ahead_ms().saturating_neg())
}

/// When one that begins now to hold up others is to end.
fn ends_at(hold: Option<Duration>, now_ms: i64) -> i64 {
    hold.map_or(FOR_EVER, |hold| now_ms.saturating_add(millis(hold)))
}

fn shifted(until_ms: i64, by_ms: i64) -> i64 {
    if until_ms == FOR_EVER { FOR_EVER } else { until_ms.saturating_add(by_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Option<Duration> = Some(Duration::from_mins(1));
    const NOTHING: Ruling = Ruling { tells: false, frees: false, until_ms: None };
    const FREES: Ruling = Ruling { tells: true, frees: true, until_ms: None };

    const fn turn(id: u32) -> Turn<u32> {
        Turn { key: 7, id, is_late: false }
    }

    const fn late(id: u32) -> Turn<u32> {
        Turn { is_late: true, ..turn(id) }
    }

    fn until(until_ms: i64) -> Ruling {
        Ruling { until_ms: Some(until_ms), ..NOTHING }
    }

    #[test]
    fn who_fails_in_its_turn_holds_up_its_key_from_then_on_and_no_longer_for_failing_again() {
        let mut holds = Holds::default();
        assert_eq!(holds.end(turn(1), Ended::Failed, MINUTE, 500), until(60_500));
        assert_eq!(holds.end(late(1), Ended::Failed, MINUTE, 9_000), until(60_500));
        assert_eq!(holds.overdue(60_499).count(), 0);
        assert_eq!(holds.overdue(60_500).collect::<Vec<_>>(), [(7, 1)]);
        assert!(holds.let_go(7, 1));
        assert_eq!(holds.end(late(1), Ended::Failed, MINUTE, 70_000), NOTHING, "its time is over");
        assert!(holds.is_empty());
    }

    #[test]
    fn whoever_holds_up_its_key_lets_it_go_when_it_is_over_however_that_came() {
        for ended in [Ended::Over, Ended::GivenUp] {
            let mut holds = Holds::default();
            assert_eq!(holds.end(turn(1), Ended::Failed, None, 500), until(i64::MAX));
            assert_eq!(holds.end(turn(2), Ended::Over, None, 600), NOTHING, "another lets nothing go");
            assert!(holds.has(7));
            assert_eq!(holds.end(late(1), ended, None, 700), FREES);
            assert!(!holds.has(7));
        }
    }

    #[test]
    fn who_is_given_up_at_the_first_try_has_its_handler_told_and_who_is_done_has_not() {
        let mut holds = Holds::default();
        let told = Ruling { tells: true, ..NOTHING };
        assert_eq!(holds.end(turn(1), Ended::GivenUp, MINUTE, 500), told);
        assert_eq!(holds.end(late(1), Ended::GivenUp, MINUTE, 500), NOTHING);
        assert_eq!(holds.end(turn(1), Ended::Over, MINUTE, 500), NOTHING);
    }

    #[test]
    fn where_nobody_is_held_up_nobody_is_told() {
        let mut holds = Holds::default();
        for ended in [Ended::Failed, Ended::Over, Ended::GivenUp] {
            assert_eq!(holds.end(turn(1), ended, Some(Duration::ZERO), 500), NOTHING);
        }
        assert!(holds.is_empty());
    }

    #[test]
    fn what_the_store_says_does_not_take_the_place_of_who_holds_up_a_key_here() {
        let mut holds = Holds::default();
        holds.end(turn(1), Ended::Failed, MINUTE, 500);
        holds.take_over(7, 2, 99, MINUTE, 50);
        assert_eq!(holds.all().collect::<Vec<_>>(), [(7, 1)]);
        assert!(!holds.let_go(7, 2));
    }

    #[test]
    fn what_the_store_says_holds_up_nobody_for_longer_than_its_handler_does() {
        let mut holds = Holds::default();
        holds.take_over(7, 1, 500, MINUTE, 500);
        assert!(holds.is_empty(), "its time is over");
        holds.take_over(7, 1, 90_000, MINUTE, 500);
        assert_eq!(holds.overdue(60_500).collect::<Vec<_>>(), [(7, 1)]);
        holds.take_over(8, 2, i64::MAX, None, 500);
        assert_eq!(holds.overdue(i64::MAX - 1).collect::<Vec<_>>(), [(7, 1)]);
    }

    #[test]
    fn a_time_is_the_same_by_both_clocks_and_for_ever_is_for_ever() {
        let now = Now { mono: Duration::from_secs(10), wall_ms: 5_000_000 };
        assert_eq!((to_wall(11_000, now), from_wall(5_001_000, now)), (5_001_000, 11_000));
        assert_eq!((to_wall(i64::MAX, now), from_wall(i64::MAX, now)), (i64::MAX, i64::MAX));
    }
}
