//! Time as a parameter. Nothing below the shells asks what time it is: it is told.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

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
        Self { mono: self.mono.saturating_add(by), wall_ms: self.wall_ms.saturating_add(millis(by)) }
    }

    /// How far the wall clock is ahead of the monotonic one, milliseconds.
    pub fn ahead_ms(self) -> i64 {
        self.wall_ms.saturating_sub(millis(self.mono))
    }
}

/// The clocks of this process. Copies of one clock agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
    /// What the wall clock said then.
    base_ms: i64,
    skew: Option<&'static Skew>,
}

impl Clock {
    /// A clock whose monotonic zero is now.
    pub fn start() -> Self {
        Self { base: Instant::now(), base_ms: wall_ms(), skew: None }
    }

    /// The same, in somebody's hand: both clocks run as the runtime's does, which a test may hold and move on.
    pub fn steered(skew: &'static Skew) -> Self {
        Self { skew: Some(skew), ..Self::start() }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        let mono = self.mono();
        let wall_ms = self.skew.map_or_else(wall_ms, |skew| skew.wall_ms(self.base_ms, self.base.elapsed()));
        Now { mono, wall_ms }
    }

    /// The monotonic half alone, for who times something.
    pub fn mono(&self) -> Duration {
        self.base.elapsed() + self.skew.map_or(Duration::ZERO, Skew::passed)
    }

    /// The moment of a monotonic reading, for a timer.
    pub fn instant(&self, mono: Duration) -> Instant {
        let passed = self.skew.map_or(Duration::ZERO, Skew::passed);
        self.base + mono.saturating_sub(passed)
    }

    /// Waits for so long, also where the time passes by somebody's hand.
    pub async fn sleep(&self, time: Duration) {
        let Some(skew) = self.skew else { return tokio::time::sleep(time).await };
        let until = self.mono().saturating_add(time);
        let mut moved = skew.moved.subscribe();
        while let Some(left) = until.checked_sub(self.mono()).filter(|left| !left.is_zero()) {
            tokio::select! {
                _ = moved.changed() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// By how much a clock is moved: for whoever tries what a program does when the clock is set, or time passes.
#[derive(Debug, Default)]
pub struct Skew {
    wall_ms: AtomicI64,
    mono_ms: AtomicU64,
    moved: watch::Sender<()>,
}

impl Skew {
    /// A clock's hand; as long-lived as the clocks it moves, which nobody counts.
    pub fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Somebody sets the wall clock by so many milliseconds, on or back. A machine that has slept looks the same.
    pub fn set(&self, by_ms: i64) {
        self.wall_ms.fetch_add(by_ms, Ordering::Relaxed);
        self.moved.send_replace(());
    }

    /// So much time passes, by both clocks. Timers that run already don't notice, but for [`Clock::sleep`].
    pub fn pass(&self, time: Duration) {
        self.mono_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.set(millis(time));
    }

    fn wall_ms(&self, base_ms: i64, elapsed: Duration) -> i64 {
        base_ms.saturating_add(millis(elapsed)).saturating_add(self.wall_ms.load(Ordering::Relaxed))
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.mono_ms.load(Ordering::Relaxed))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the process asks for the time")]
fn wall_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A time in milliseconds, as they are counted here.
pub fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
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
    fn a_clock_that_is_set_moves_by_the_wall_alone_and_time_that_passes_moves_both() {
        let skew = Skew::new();
        let (clock, other) = (Clock::steered(skew), Clock::start());
        let apart = || {
            let (ours, theirs) = (clock.now(), other.now());
            (ours.mono.saturating_sub(theirs.mono).as_secs(), (ours.wall_ms - theirs.wall_ms) / 1_000)
        };
        assert_eq!(apart(), (0, 0));
        skew.set(-3_600_900);
        assert_eq!(apart(), (0, -3_600));
        skew.pass(Duration::from_millis(7_200_900));
        assert_eq!(apart(), (7_200, 3_600));
        let timer = clock.instant(clock.mono() + Duration::from_secs(5));
        assert!(timer <= other.instant(other.mono() + Duration::from_secs(5)), "timers count what is left");
    }

    #[actix::test]
    async fn who_sleeps_by_a_clock_wakes_when_its_time_has_passed() {
        let skew = Skew::new();
        let clock = Clock::steered(skew);
        let sleeper = actix_rt::spawn(async move { clock.sleep(Duration::from_hours(1)).await });
        actix_rt::task::yield_now().await;
        skew.set(7_200_000);
        skew.pass(Duration::from_mins(30));
        actix_rt::task::yield_now().await;
        assert!(!sleeper.is_finished(), "it sleeps by the monotonic clock");
        skew.pass(Duration::from_mins(30));
        sleeper.await.unwrap();
    }

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
