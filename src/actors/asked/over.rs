//! What is remembered of exchanges that are over: enough for a repeat that comes late, at little cost.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::event::DedupeKey;
use crate::machine::routes::HandlerSet;

/// So many at most; above it the oldest are forgotten.
const MOST: usize = 32_768;

/// For so long: as long as an answer can be given by a `response_url`.
const REMEMBERED: Duration = Duration::from_mins(30);

/// What a repeat needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) was_acked: bool,
    pub(super) is_answered: bool,
    /// Who had it.
    pub(super) asked: HandlerSet,
}

/// By key, the oldest first in the queue.
#[derive(Default)]
pub(super) struct Over {
    past: HashMap<DedupeKey, (Duration, Past)>,
    queue: VecDeque<(Duration, DedupeKey)>,
}

impl Over {
    pub(super) fn get(&mut self, key: DedupeKey) -> Option<&mut Past> {
        self.past.get_mut(&key).map(|(_, past)| past)
    }

    pub(super) fn add(&mut self, key: DedupeKey, past: Past, now: Duration) {
        self.past.insert(key, (now, past));
        self.queue.push_back((now, key));
    }

    pub(super) fn sweep(&mut self, now: Duration) {
        while let Some((since, key)) = self.queue.front().copied() {
            if self.queue.len() <= MOST && now.saturating_sub(since) < REMEMBERED {
                return;
            }
            self.queue.pop_front();
            // One that was added again stays for as long.
            if self.past.get(&key).is_some_and(|(added, _)| *added == since) {
                self.past.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAST: Past = Past { was_acked: true, is_answered: false, asked: HandlerSet::NONE };

    #[test]
    fn what_is_over_is_remembered_for_half_an_hour_since_it_was_last_added() {
        let (key, mut over) = (DedupeKey([1; 16]), Over::default());
        over.add(key, PAST, Duration::ZERO);
        over.add(key, PAST, Duration::from_mins(10));
        over.sweep(Duration::from_mins(30));
        assert!(over.get(key).is_some());
        over.sweep(Duration::from_mins(40));
        assert!(over.get(key).is_none() && over.queue.is_empty());
    }

    #[test]
    fn above_the_limit_the_oldest_are_forgotten() {
        let mut over = Over::default();
        let key = |number: usize| DedupeKey((number as u128).to_be_bytes());
        for number in 0..=MOST {
            over.add(key(number), PAST, Duration::ZERO);
        }
        over.sweep(Duration::ZERO);
        assert!(over.get(key(0)).is_none() && over.get(key(1)).is_some());
    }
}
