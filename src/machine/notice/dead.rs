//! When deliveries that were given up are told: the first of a handler and workspace soon, so that a burst is one notice, and then at most one
//! notice in a while, with a count.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{HandlerId, WorkspaceId};
use crate::status::feed::DeadCount;

/// How long a burst is counted before it is told.
const GATHER: Duration = Duration::from_secs(5);
/// Between two notices of one handler and workspace.
const APART: Duration = Duration::from_mins(5);

/// Whose delivery, and to whom.
pub type Key = (HandlerId, Option<WorkspaceId>);

/// What was given up and not told yet.
#[derive(Debug, Default)]
pub struct Dead {
    counts: BTreeMap<Key, (Duration, DeadCount)>,
    /// When each was told last; what is long past is forgotten.
    told: BTreeMap<Key, Duration>,
}

impl Dead {
    /// More was given up.
    pub fn add(&mut self, now: Duration, key: Key, more: DeadCount) {
        let (_, count) = self.counts.entry(key).or_insert((now, DeadCount { count: 0, ..more }));
        count.count = count.count.saturating_add(more.count);
        count.first = count.first.min(more.first);
        count.last = count.last.max(more.last);
    }

    /// What is to be told now.
    pub fn due(&self, now: Duration) -> Vec<(Key, DeadCount)> {
        let is_due = |key: &Key, since: Duration| {
            let rests = self.told.get(key).is_some_and(|told| now < told.saturating_add(APART));
            !rests && now >= since.saturating_add(GATHER)
        };
        let due = self.counts.iter().filter(|(key, (since, _))| is_due(key, *since));
        due.map(|(key, (_, count))| (*key, *count)).collect()
    }

    /// It was told.
    pub fn told(&mut self, now: Duration, key: Key) {
        self.counts.remove(&key);
        self.told.retain(|_, told| now < told.saturating_add(APART));
        self.told.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AppId, Seq};

    const LOG: Key = (HandlerId(1), Some(WorkspaceId(1)));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn dead(seq: i64, count: u64) -> DeadCount {
        DeadCount { app: AppId(1), count, first: Seq(seq), last: Seq(seq) }
    }

    #[test]
    fn a_burst_is_one_notice_with_its_count_and_its_ends() {
        let mut rules = Dead::default();
        rules.add(at(1), LOG, dead(7, 2));
        rules.add(at(3), LOG, dead(5, 1));
        assert_eq!(rules.due(at(5)), []);
        let all = DeadCount { first: Seq(5), last: Seq(7), ..dead(0, 3) };
        assert_eq!(rules.due(at(6)), [(LOG, all)]);
        assert_eq!(rules.due(at(7)), [(LOG, all)], "until it is told");
        rules.told(at(7), LOG);
        assert_eq!(rules.due(at(60)), []);
    }

    #[test]
    fn what_goes_on_dying_is_told_again_after_a_while_and_each_for_itself() {
        let mut rules = Dead::default();
        let other = (HandlerId(1), None);
        rules.told(at(0), LOG);
        rules.add(at(1), LOG, dead(1, 1));
        rules.add(at(1), other, dead(2, 1));
        assert_eq!(rules.due(at(10)), [(other, dead(2, 1))]);
        assert_eq!(rules.due(at(299)).len(), 1);
        assert_eq!(rules.due(at(300)).len(), 2);
    }
}
