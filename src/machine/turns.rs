//! Whose turn it is at one handler: lanes are served in turn, and what shares a key in a lane goes one after the other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// What waits for a handler, lane by lane.
#[derive(Debug)]
pub struct Turns<L, T> {
    lanes: HashMap<L, VecDeque<(Option<i64>, T)>>,
    /// The lanes in which something waits, the next one first.
    order: VecDeque<L>,
    /// Keys of which one was given and is not done.
    busy: HashSet<(L, i64)>,
    /// Keys of which one was given and has failed.
    held: HashSet<(L, i64)>,
    len: usize,
}

impl<L, T> Default for Turns<L, T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            order: VecDeque::new(),
            busy: HashSet::new(),
            held: HashSet::new(),
            len: 0,
        }
    }
}

impl<L: Copy + Eq + Hash, T> Turns<L, T> {
    /// How many wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Does nothing wait?
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes in what shall be given in its lane's turn, and not beside another of its key.
    pub fn push(&mut self, lane: L, key: Option<i64>, item: T) {
        self.len += 1;
        let waiting = self.lanes.entry(lane).or_default();
        if waiting.is_empty() {
            self.order.push_back(lane);
        }
        waiting.push_back((key, item));
    }

    /// The next one, of the next lane that has one whose key is free. Its key is busy until [`Turns::done`].
    pub fn give(&mut self) -> Option<(L, Option<i64>, T)> {
        for _ in 0..self.order.len() {
            let lane = self.order.pop_front()?;
            let Some(waiting) = self.lanes.get_mut(&lane) else { continue };
            let is_free = |(key, _): &(Option<i64>, T)| {
                key.is_none_or(|key| !self.busy.contains(&(lane, key)) && !self.held.contains(&(lane, key)))
            };
            let found = waiting.iter().position(is_free).and_then(|at| waiting.remove(at));
            if waiting.is_empty() {
                self.lanes.remove(&lane);
            } else {
                self.order.push_back(lane);
            }
            if let Some((key, item)) = found {
                self.len -= 1;
                self.busy.extend(key.map(|key| (lane, key)));
                return Some((lane, key, item));
            }
        }
        None
    }

    /// What had this key is done with; the next of the key may be given.
    pub fn done(&mut self, lane: L, key: Option<i64>) {
        if let Some(key) = key {
            self.busy.remove(&(lane, key));
        }
    }

    /// What shares this key waits until it is [let go](Turns::let_go).
    pub fn hold(&mut self, lane: L, key: i64) {
        self.held.insert((lane, key));
    }

    /// A key that was held is free again, once what was given of it is [done](Turns::done) with.
    pub fn let_go(&mut self, lane: L, key: i64) {
        self.held.remove(&(lane, key));
    }

    /// All that waits for a key that is held comes back, a lane's in its order.
    pub fn take_back_held(&mut self) -> Vec<T> {
        let mut back = Vec::new();
        let lanes: HashSet<L> = self.held.iter().map(|(lane, _)| *lane).collect();
        for lane in lanes {
            let Some(waiting) = self.lanes.remove(&lane) else { continue };
            let is_held =
                |(key, _): &(Option<i64>, T)| key.is_some_and(|key| self.held.contains(&(lane, key)));
            let (held, rest): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(is_held);
            back.extend(held.into_iter().map(|(_, item)| item));
            if rest.is_empty() {
                self.order.retain(|one| *one != lane);
            } else {
                self.lanes.insert(lane, rest);
            }
        }
        self.len -= back.len();
        back
    }

    /// All that waits in such lanes comes back.
    pub fn take_back(&mut self, is_it: impl Fn(L) -> bool) -> Vec<T> {
        let back: Vec<T> = self
            .lanes
            .extract_if(|lane, _| is_it(*lane))
            .flat_map(|(_, waiting)| waiting.into_iter().map(|(_, item)| item))
            .collect();
        self.len -= back.len();
        self.order.retain(|lane| !is_it(*lane));
        back
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(turns: &mut Turns<u8, u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.give()).map(|(_, _, item)| item).collect()
    }

    #[test]
    fn a_lane_with_much_waits_for_one_with_little() {
        let mut turns = Turns::default();
        for item in 0..5 {
            turns.push(1, None, item);
        }
        turns.push(2, None, 100);
        turns.push(3, None, 200);
        assert_eq!(all(&mut turns), [0, 100, 200, 1, 2, 3, 4]);
        assert!(turns.is_empty());
    }

    #[test]
    fn what_shares_a_key_goes_one_after_the_other_and_others_pass_it() {
        let mut turns = Turns::default();
        turns.push(1, Some(7), 0);
        turns.push(1, Some(7), 1);
        turns.push(1, Some(8), 2);
        turns.push(1, None, 3);
        turns.push(2, Some(7), 4);
        assert_eq!(all(&mut turns), [0, 4, 2, 3], "the key of another lane is another key");
        assert_eq!(turns.len(), 1);
        turns.done(1, Some(7));
        assert_eq!(all(&mut turns), [1]);
    }

    #[test]
    fn what_waits_for_a_held_key_can_be_taken_back_and_the_rest_keeps_its_turn() {
        let mut turns = Turns::default();
        for (lane, key, item) in [
            (1, Some(7), 0),
            (2, Some(7), 1),
            (1, Some(7), 2),
            (1, Some(8), 3),
            (1, None, 4),
            (3, Some(7), 5),
            (1, Some(7), 6),
        ] {
            turns.push(lane, key, item);
        }
        assert_eq!(turns.give(), Some((1, Some(7), 0)));
        turns.hold(1, 7);
        turns.done(1, Some(7));
        turns.hold(3, 7);
        let mut back = turns.take_back_held();
        back.sort_unstable();
        assert_eq!(back, [2, 5, 6]);
        assert_eq!(turns.len(), 3);
        turns.let_go(3, 7);
        assert_eq!(all(&mut turns), [1, 3, 4]);
    }

    #[test]
    fn what_is_taken_back_is_not_given_and_what_is_left_keeps_its_turn() {
        let mut turns = Turns::default();
        for (lane, item) in [(1, 0), (2, 1), (1, 2), (3, 3)] {
            turns.push(lane, None, item);
        }
        assert_eq!(turns.take_back(|lane| lane == 1), [0, 2]);
        assert_eq!(all(&mut turns), [1, 3]);
    }

    #[test]
    fn what_shares_a_key_that_is_held_waits_until_it_is_let_go_and_for_what_is_under_way() {
        let mut turns = Turns::default();
        turns.hold(1, 7);
        turns.push(1, Some(7), 0);
        turns.push(1, Some(7), 1);
        turns.push(1, Some(8), 2);
        assert_eq!(all(&mut turns), [2]);
        turns.done(1, Some(7));
        assert_eq!(all(&mut turns), [0; 0]);
        turns.let_go(1, 7);
        assert_eq!(all(&mut turns), [0]);
        turns.let_go(1, 7);
        assert_eq!(all(&mut turns), [0; 0], "the one before it is not done");
        turns.done(1, Some(7));
        assert_eq!(all(&mut turns), [1]);
    }

    proptest! {
        #[test]
        fn all_is_given_once_and_each_key_in_its_order(pushes in proptest::collection::vec((0_u8..4, proptest::option::of(0_i64..3)), 0..60)) {
            let mut turns = Turns::default();
            for (number, (lane, key)) in pushes.iter().enumerate() {
                turns.push(*lane, *key, number);
            }
            let (mut given, mut last) = (HashSet::new(), HashMap::new());
            let mut running = VecDeque::new();
            loop {
                match turns.give() {
                    Some((lane, key, number)) => {
                        prop_assert!(given.insert(number));
                        if let Some(key) = key {
                            prop_assert!(!running.contains(&(lane, Some(key))));
                            prop_assert!(last.insert((lane, key), number).is_none_or(|before| before < number));
                        }
                        running.push_back((lane, key));
                    }
                    None => match running.pop_front() {
                        Some((lane, key)) => turns.done(lane, key),
                        None => break,
                    },
                }
            }
            prop_assert_eq!(given.len(), pushes.len());
            prop_assert!(turns.is_empty() && turns.lanes.is_empty() && turns.order.is_empty() && turns.busy.is_empty());
        }
    }
}
