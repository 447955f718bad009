//! Time as a parameter. Nothing below the shells asks what time it is: it is told.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment of this process; never goes back, stands still while the machine sleeps.
    pub mono: Duration,
    /// Milliseconds since 1970 by the wall clock; jumps when somebody sets it and runs on while the machine sleeps.
    pub wall_ms: i64,
}

impl Now {
    /// Both clocks `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self { mono: self.mono.saturating_add(by), wall_ms: self.wall_ms.saturating_add(ms) }
    }
}

/// The clocks of this process. Copies of one clock agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
}

impl Clock {
    /// A clock whose monotonic zero is now.
    #[expect(clippy::disallowed_methods, reason = "the one place where the process asks for the time")]
    pub fn start() -> Self {
        Self { base: Instant::now() }
    }

    /// What time it is.
    #[expect(clippy::disallowed_methods, reason = "the one place where the process asks for the time")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The monotonic half alone, for who times something.
    pub fn mono(&self) -> Duration {
        self.base.elapsed()
    }

    /// The moment of a monotonic reading, for a timer.
    pub fn instant(&self, mono: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.base + mono)
    }
}

/// A length of time as people write it: `500ms`, `10s`, `5m`, `2h`; a bare number is seconds. An error says how.
pub fn span(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("", 1_000)];
    let mut found = units.into_iter().filter_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)));
    let ms = found.next().and_then(|(number, ms)| {
        let number =
            number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse::<u64>().ok()).flatten()?;
        number.checked_mul(ms)
    });
    ms.map(Duration::from_millis).ok_or_else(|| "a time is like 500ms, 10s, 5m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        let spans =
            [("500ms", 500), ("10s", 10_000), ("10", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("0", 0)];
        for (text, ms) in spans {
            assert_eq!(span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "s", "-1s", "+1s", "1.5s", "10 s", "1d", "99999999999999999999h", "9999999999999999999m"]
        {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
