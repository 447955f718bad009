//! When a delivery that failed is tried again.

use std::time::Duration;

use super::dice::Dice;

/// A handler's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The wait after the first failure; it doubles with each.
    pub first: Duration,
    /// No wait is longer, but for a fifth.
    pub most: Duration,
    /// Tries in all; then the delivery is dead.
    pub attempts: u32,
}

impl Default for Retry {
    /// For some three and a half hours.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_mins(10), attempts: 30 }
    }
}

impl Retry {
    /// The wait after so many failed tries, at least one; the handler's own wish for one (`after`) counts, up to a day. None: it is dead.
    pub fn wait(&self, failed: u32, after: Option<Duration>, dice: &mut Dice) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        if let Some(after) = after {
            return Some(after.min(LONGEST));
        }
        let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = self.first.saturating_mul(factor).min(self.most);
        Some(dice.between(wait, wait.saturating_add(wait / 5)))
    }
}

/// The longest wait that a handler may ask for.
const LONGEST: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_until_the_last_try() {
        let (retry, mut dice) = (Retry::default(), Dice::new(1));
        let waits: Vec<_> = (1..).map_while(|failed| retry.wait(failed, None, &mut dice)).collect();
        assert_eq!(waits.len(), 29, "the thirtieth failure is its death");
        for (wait, floor) in waits.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]) {
            let floor = Duration::from_secs(floor);
            assert!((floor..=floor * 6 / 5).contains(wait), "{wait:?} for {floor:?}");
        }
        let sum: Duration = waits.iter().sum();
        assert!(sum > Duration::from_hours(3) && sum < Duration::from_hours(5), "{sum:?}");
    }

    #[test]
    fn a_handler_that_knows_better_is_obeyed_within_a_day() {
        let (retry, mut dice) = (Retry::default(), Dice::new(1));
        let mut wait = |failed, after| retry.wait(failed, Some(after), &mut dice);
        assert_eq!(wait(1, Duration::from_secs(90)), Some(Duration::from_secs(90)));
        assert_eq!(wait(1, Duration::MAX), Some(Duration::from_hours(24)));
        assert_eq!(wait(30, Duration::from_secs(90)), None, "and not for ever");
    }

    proptest! {
        #[test]
        fn no_number_of_failures_and_no_schedule_overflows(failed in any::<u32>(), first in any::<u64>(), attempts in any::<u32>()) {
            let retry = Retry { first: Duration::from_secs(first), most: Duration::MAX, attempts };
            prop_assert_eq!(retry.wait(failed, None, &mut Dice::new(1)).is_none(), failed >= attempts);
        }
    }
}
