//! How much is said of what happens again and again: a handler whose other side is down fails thousands of times a second, and each line says the same.

use std::time::Duration;

/// Lines a second at most.
const MOST: u32 = 10;

/// What was said in this second, and left out since the last line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aloud {
    second: u64,
    said: u32,
    left_out: u64,
}

impl Aloud {
    /// May one more be said? If so, how many before it were not.
    pub fn say(&mut self, now: Duration) -> Option<u64> {
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.said = 0;
        }
        if self.said >= MOST {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ten_of_a_second_are_said_and_the_next_line_says_how_many_were_not() {
        let mut aloud = Aloud::default();
        let at = |ms| Duration::from_millis(ms);
        let said: Vec<_> = (0..15).map(|number| aloud.say(at(5_000 + number))).collect();
        assert_eq!(said, [vec![Some(0); 10], vec![None; 5]].concat());
        assert_eq!((aloud.say(at(6_000)), aloud.say(at(6_001))), (Some(5), Some(0)));
    }
}
