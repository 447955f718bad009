//! When a notice that was not taken is posted again.

use std::time::Duration;

use crate::machine::dice::Dice;

/// The first wait; it doubles.
const FIRST: Duration = Duration::from_secs(2);
/// No wait is longer, but for a fifth.
const LONGEST: Duration = Duration::from_hours(2);
/// A notice older than this when it would be posted again is given up.
const LIFE: Duration = Duration::from_hours(24);

/// The wait after `failed` tries, at least one, of a notice of this age; none: it is given up.
pub fn wait(failed: u32, age: Duration, dice: &mut Dice) -> Option<Duration> {
    let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = FIRST.saturating_mul(factor).min(LONGEST);
    let wait = dice.between(wait, wait.saturating_add(wait / 5));
    (age.saturating_add(wait) <= LIFE).then_some(wait)
}

/// What is left to wait for one that is due then. One that is due later than any wait ends was put off by a clock that was ahead: it
/// is due now.
pub fn left(next_ms: i64, now_ms: i64) -> Duration {
    let left = Duration::from_millis(next_ms.saturating_sub(now_ms).max(0).unsigned_abs());
    if left > LONGEST * 6 / 5 { Duration::ZERO } else { left }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_that_was_put_off_by_a_clock_that_was_ahead_is_due() {
        let (now, hour) = (1_800_000_000_000, 3_600_000);
        assert_eq!(left(now + 2 * hour, now), Duration::from_hours(2));
        assert_eq!((left(now, now), left(now - hour, now)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(left(now + 3 * hour, now), Duration::ZERO);
    }

    #[test]
    fn a_notice_is_tried_for_a_day_and_then_given_up() {
        let mut dice = Dice::new(1);
        let (mut age, mut tries) = (Duration::ZERO, 1);
        while let Some(wait) = wait(tries, age, &mut dice) {
            assert!(wait >= FIRST && wait <= LONGEST * 6 / 5);
            age += wait;
            tries += 1;
        }
        assert!(age + LONGEST * 6 / 5 > LIFE && age <= LIFE, "{age:?}");
        assert!((15..40).contains(&tries), "{tries}");
    }

    proptest! {
        #[test]
        fn no_number_of_tries_and_no_age_is_too_much(failed in any::<u32>(), seconds in any::<u64>(), seed in any::<u64>()) {
            let wait = wait(failed, Duration::from_secs(seconds), &mut Dice::new(seed));
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST * 6 / 5));
        }
    }
}
