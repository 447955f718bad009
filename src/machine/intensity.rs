//! How often a crashed child is started again before it is given up.

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::{Backoff, Spread};
use super::dice::Dice;
use crate::clock::Now;

/// A child that crashes this often within this time is given up.
const CRASHES: usize = 5;
const WINDOW: Duration = Duration::from_mins(10);

/// The crashes of one child.
#[derive(Clone, Debug)]
pub struct Intensity {
    crashes: VecDeque<Duration>,
    backoff: Backoff,
    dice: Dice,
}

/// What to do with a child that crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after so long.
    Restart(Duration),
    /// It is broken: leave it down and say so.
    GiveUp,
}

impl Intensity {
    /// Of a child that has not crashed yet.
    pub fn new(seed: u64) -> Self {
        Self {
            crashes: VecDeque::new(),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_mins(1), Spread::Above),
            dice: Dice::new(seed),
        }
    }

    /// It crashed. What lies outside the window is forgotten, and the back-off once nothing is left in it.
    pub fn crashed(&mut self, now: Now) -> Verdict {
        while self.crashes.front().is_some_and(|at| now.mono.saturating_sub(*at) >= WINDOW) {
            self.crashes.pop_front();
        }
        if self.crashes.is_empty() {
            self.backoff.clear();
        }
        self.crashes.push_back(now.mono);
        if self.crashes.len() >= CRASHES {
            return Verdict::GiveUp;
        }
        Verdict::Restart(self.backoff.next(&mut self.dice))
    }

    /// Somebody wants it tried again: what was is forgotten.
    pub fn forgive(&mut self) {
        self.crashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn the_fifth_crash_within_ten_minutes_gives_the_child_up() {
        let mut intensity = Intensity::new(1);
        for n in 0..4 {
            assert!(matches!(intensity.crashed(at(n * MINUTE)), Verdict::Restart(_)), "crash {n}");
        }
        assert_eq!(intensity.crashed(at(9 * MINUTE)), Verdict::GiveUp);
    }

    #[test]
    fn five_crashes_over_a_longer_time_do_not() {
        let mut intensity = Intensity::new(1);
        for n in 0..40 {
            assert!(matches!(intensity.crashed(at(n * 3 * MINUTE)), Verdict::Restart(_)), "crash {n}");
        }
    }

    #[test]
    fn each_crash_waits_longer_than_the_last_from_one_second_on() {
        let mut intensity = Intensity::new(1);
        for floor in [1, 2, 4, 8] {
            let floor = Duration::from_secs(floor);
            let Verdict::Restart(wait) = intensity.crashed(at(MINUTE)) else { panic!("given up too early") };
            assert!(wait >= floor && wait <= floor * 6 / 5, "{floor:?}: {wait:?}");
        }
    }

    #[test]
    fn after_ten_quiet_minutes_the_wait_is_short_again() {
        let mut intensity = Intensity::new(1);
        for _ in 0..3 {
            intensity.crashed(at(MINUTE));
        }
        let Verdict::Restart(wait) = intensity.crashed(at(11 * MINUTE)) else { panic!("given up") };
        assert!(wait < Duration::from_secs(2), "{wait:?}");
    }

    #[test]
    fn a_forgiven_child_starts_with_a_clean_slate() {
        let mut intensity = Intensity::new(1);
        for _ in 0..5 {
            intensity.crashed(at(MINUTE));
        }
        intensity.forgive();
        assert!(matches!(intensity.crashed(at(MINUTE)), Verdict::Restart(_)));
    }

    fn at(since_start: Duration) -> Now {
        Now::default().after(since_start)
    }
}
