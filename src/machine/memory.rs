//! How far back what was seen is remembered, whatever the wall clock does.

use std::time::Duration;

use crate::clock::{Now, millis};

/// A wall clock that went so much further than the time is one that was set.
const SET_ON_MS: i64 = 2_000;

/// A memory of things that are noted by the wall clock. What it holds when the clock is set on stays for its whole time: else a
/// jump of a day would have the node take for new what Slack sends again a minute later.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    keeps: Duration,
    /// How far the wall clock is ahead of the monotonic one, as the memory goes by it.
    ahead_ms: i64,
    /// When it was seen that the wall clock is further ahead.
    set_on_at: Option<Duration>,
}

impl Memory {
    /// A memory that keeps everything for so long.
    pub fn new(keeps: Duration, now: Now) -> Self {
        Self { keeps, ahead_ms: now.ahead_ms(), set_on_at: None }
    }

    /// What was noted before this moment may be forgotten, milliseconds since 1970. To be asked often.
    pub fn reaches_back_to(&mut self, now: Now) -> i64 {
        let ahead_ms = now.ahead_ms();
        if ahead_ms.saturating_sub(self.ahead_ms) < SET_ON_MS {
            (self.ahead_ms, self.set_on_at) = (ahead_ms, None);
        } else {
            let since = *self.set_on_at.get_or_insert(now.mono);
            if now.mono.saturating_sub(since) >= self.keeps {
                // What was noted by the clock that was is old enough.
                (self.ahead_ms, self.set_on_at) = (ahead_ms, None);
            }
        }
        millis(now.mono).saturating_add(self.ahead_ms).saturating_sub(millis(self.keeps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPS: Duration = Duration::from_hours(26);
    const DAY_MS: i64 = 86_400_000;

    fn start() -> Now {
        Now { mono: Duration::from_secs(5), wall_ms: 1_800_000_000_000 }
    }

    fn set(now: Now, by_ms: i64) -> Now {
        Now { wall_ms: now.wall_ms + by_ms, ..now }
    }

    #[test]
    fn what_was_noted_is_forgotten_when_its_time_is_over() {
        let mut memory = Memory::new(KEEPS, start());
        let later = start().after(KEEPS);
        assert_eq!(memory.reaches_back_to(later), start().wall_ms);
        // Clocks drift apart by a second in an hour at worst; that is followed.
        let drifted = set(later, 1_900);
        assert_eq!(memory.reaches_back_to(drifted), start().wall_ms + 1_900);
        assert_eq!(memory.reaches_back_to(set(drifted, 1_900)), start().wall_ms + 3_800);
    }

    #[test]
    fn a_clock_that_is_set_on_makes_nothing_forgotten_before_its_time() {
        let mut memory = Memory::new(KEEPS, start());
        let on = set(start(), 3 * DAY_MS);
        assert!(memory.reaches_back_to(on) < start().wall_ms);
        let almost = on.after(KEEPS.saturating_sub(Duration::from_secs(1)));
        assert!(memory.reaches_back_to(almost) < start().wall_ms);
        // What has come since is noted by the new clock.
        assert_eq!(memory.reaches_back_to(on.after(KEEPS)), on.wall_ms);
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_at_once() {
        let mut memory = Memory::new(KEEPS, start());
        let on = set(start(), 3 * DAY_MS);
        memory.reaches_back_to(on);
        let back = set(on, -4 * DAY_MS).after(Duration::from_secs(1));
        assert_eq!(memory.reaches_back_to(back), back.wall_ms - millis(KEEPS));
        // And set right again, what was noted meanwhile stays for its time.
        let right = set(back, DAY_MS);
        assert!(memory.reaches_back_to(right) < back.wall_ms);
    }
}
