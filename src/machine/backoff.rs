//! How long to wait before the next try.

use std::time::Duration;

use super::dice::Dice;

/// Waits that double from `first` to `cap` until cleared.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    spread: Spread,
    tries: u32,
}

/// How the dice change a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Anywhere from nothing to the whole wait: many clients that failed at one moment come back evenly spread
    /// ("full jitter").
    Full,
    /// The wait and up to a fifth more, for whom coming back early would be wrong.
    Above,
}

impl Backoff {
    /// Waits that start at `first`; a cap below it is taken as `first`.
    pub fn new(first: Duration, cap: Duration, spread: Spread) -> Self {
        Self { first, cap: cap.max(first), spread, tries: 0 }
    }

    /// The next wait.
    pub fn next(&mut self, dice: &mut Dice) -> Duration {
        let factor = 1_u32.checked_shl(self.tries).unwrap_or(u32::MAX);
        let wait = self.first.saturating_mul(factor).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        match self.spread {
            Spread::Full => dice.between(Duration::ZERO, wait),
            Spread::Above => dice.between(wait, wait.saturating_add(wait / 5)),
        }
    }

    /// How many waits were handed out since it was last cleared.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// Starts again from the first wait.
    pub const fn clear(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_wait_is_within_the_first_and_later_ones_reach_further_up_to_the_cap() {
        let longest = |tries: usize| {
            let draws = (0..200).map(|seed| {
                let mut dice = Dice::new(seed);
                let mut backoff = Backoff::new(SECOND, 12 * SECOND, Spread::Full);
                (0..tries).map(|_| backoff.next(&mut dice)).last().unwrap()
            });
            draws.max().unwrap()
        };
        assert!(longest(1) <= SECOND && longest(1) > SECOND / 2);
        assert!(longest(2) <= 2 * SECOND && longest(2) > SECOND);
        assert!(longest(9) <= 12 * SECOND && longest(9) > 11 * SECOND);
    }

    #[test]
    fn a_wait_spread_above_is_never_shorter_than_said() {
        let mut dice = Dice::new(1);
        let mut backoff = Backoff::new(30 * SECOND, 600 * SECOND, Spread::Above);
        for floor in [30, 60, 120, 240, 480, 600, 600] {
            let wait = backoff.next(&mut dice);
            assert!(wait >= floor * SECOND && wait <= floor * SECOND * 6 / 5, "{floor} s: {wait:?}");
        }
    }

    #[test]
    fn cleared_it_starts_again_from_the_first_wait() {
        let mut dice = Dice::new(1);
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, Spread::Above);
        for _ in 0..5 {
            backoff.next(&mut dice);
        }
        backoff.clear();
        assert!(backoff.next(&mut dice) <= SECOND * 6 / 5);
        assert_eq!(backoff.tries(), 1);
    }

    proptest! {
        #[test]
        fn no_number_of_tries_overflows_or_passes_the_cap(tries in 0_u32..200, first in 0_u64..1000, cap in 0_u64..100_000) {
            let cap = Duration::from_secs(cap.max(first));
            let mut backoff = Backoff::new(Duration::from_secs(first), cap, Spread::Full);
            let mut dice = Dice::new(u64::from(tries));
            for _ in 0..tries {
                prop_assert!(backoff.next(&mut dice) <= cap);
            }
        }
    }
}
