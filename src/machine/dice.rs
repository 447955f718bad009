//! Randomness that can be played again: the same seed throws the same dice.

use std::time::Duration;

/// A `SplitMix64`. It spreads load and guards no secret.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that start from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A moment between `low` and `high`, each as likely as any other; `low` when they are the wrong way round.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_nanos()).unwrap_or(u64::MAX);
        let throw = (u128::from(self.throw()) * u128::from(span)) >> 64;
        low.saturating_add(Duration::from_nanos(u64::try_from(throw).unwrap_or(u64::MAX)))
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_in_range_and_fill_it() {
        let (low, high) = (Duration::from_secs(3), Duration::from_secs(5));
        let mut dice = Dice::new(7);
        let throws: Vec<_> = (0..1000).map(|_| dice.between(low, high)).collect();
        assert!(throws.iter().all(|t| (low..high).contains(t)));
        assert!(throws.iter().any(|t| *t < Duration::from_millis(3100)));
        assert!(throws.iter().any(|t| *t > Duration::from_millis(4900)));
    }

    #[test]
    fn the_same_seed_throws_the_same() {
        let throw = |seed| Dice::new(seed).between(Duration::ZERO, Duration::from_mins(1));
        assert_eq!(throw(1), throw(1));
        assert_ne!(throw(1), throw(2));
    }

    #[test]
    fn a_range_the_wrong_way_round_is_its_lower_end() {
        let (low, high) = (Duration::from_secs(5), Duration::from_secs(3));
        assert_eq!(Dice::new(1).between(low, high), low);
    }
}
