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
