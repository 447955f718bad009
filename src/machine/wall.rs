//! A wall clock that is set back: what waits for its time would wait for as much longer.

use crate::clock::Now;

/// One that goes back by so much was set, and did not drift, milliseconds.
pub const SET_BACK_MS: i64 = 2_000;

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    /// How far it was ahead of this process's when it was looked last, milliseconds.
    ahead_ms: Option<i64>,
    is_back: bool,
}

impl Wall {
    /// Looks at both clocks. True when the wall clock was set back, until that is [minded](Self::minded).
    pub fn is_back(&mut self, now: Now) -> bool {
        let ahead_ms = now.ahead_ms();
        let was_ms = self.ahead_ms.replace(ahead_ms);
        self.is_back |= was_ms.is_some_and(|was_ms| was_ms.saturating_sub(ahead_ms) >= SET_BACK_MS);
        self.is_back
    }

    /// It may have been set back, for all that is known.
    pub const fn doubt(&mut self) {
        self.is_back = true;
    }

    /// Nothing waits for the time that was any more.
    pub const fn minded(&mut self) {
        self.is_back = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_told_until_it_is_minded_and_others_are_not() {
        let mut wall = Wall::default();
        let look =
            |wall: &mut Wall, mono, wall_ms| wall.is_back(Now { mono: Duration::from_secs(mono), wall_ms });
        assert!(!look(&mut wall, 1, 1_001_000));
        assert!(!look(&mut wall, 2, 1_001_500), "it drifts");
        assert!(!look(&mut wall, 3, 9_000_000), "it was set ahead, or the machine slept");
        assert!(look(&mut wall, 4, 1_004_000));
        assert!(look(&mut wall, 5, 1_005_000));
        wall.minded();
        assert!(!look(&mut wall, 6, 1_006_000));
        assert!(look(&mut wall, 7, 1_005_000));
        wall.minded();
        wall.doubt();
        assert!(look(&mut wall, 8, 1_006_000));
    }
}
