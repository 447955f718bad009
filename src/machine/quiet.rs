//! Far quieter than its own usual rate: is an app deaf, though its socket lives?
//!
//! Usual is what the app itself never fell below, in the quietest quarter of an hour of each of the last seven days; nights and
//! weekends are in it. Who has no busy quarter of an hour at all times is never called quiet, and nobody is ever reconnected
//! for it: bots that restart because nothing happens are a plague. What stays quiet for a day is the new usual.

use std::time::Duration;

/// Events are counted over so long.
const WINDOW: Duration = Duration::from_mins(15);
const WINDOWS_A_DAY: u8 = 96;

/// An app whose quietest window had fewer events is not busy enough to be called quiet.
const BUSY: u32 = 30;

/// Quiet below a tenth of the usual, no more so from a quarter on.
const FAR_BELOW: u32 = 10;
const BACK: u32 = 4;

/// The event rate of one app.
#[derive(Debug)]
pub struct Quiet {
    /// When the window began and the count then; none while there is none, or while the count is waited for.
    window: Option<(Duration, u64)>,
    is_asked: bool,
    /// The quietest window of each of the last days, the youngest last; `None` where there was no such day yet.
    days: [Option<u32>; 7],
    /// Of today so far.
    lowest: u32,
    windows: u8,
    is_so: bool,
}

impl Default for Quiet {
    fn default() -> Self {
        Self { window: None, is_asked: false, days: [None; 7], lowest: u32::MAX, windows: 0, is_so: false }
    }
}

impl Quiet {
    /// Is the count wanted now? Asked for once.
    pub fn asks(&mut self, now: Duration) -> bool {
        let asks = !self.is_asked && self.window.is_none_or(|(began, _)| now >= began.saturating_add(WINDOW));
        self.is_asked |= asks;
        asks
    }

    /// When the count will be wanted (monotonic).
    pub fn due(&self) -> Option<Duration> {
        self.window.filter(|_| !self.is_asked).map(|(began, _)| began.saturating_add(WINDOW))
    }

    /// So many events have come in all.
    pub fn count(&mut self, now: Duration, total: u64) {
        if !std::mem::take(&mut self.is_asked) {
            return;
        }
        if let Some((began, before)) = self.window.replace((now, total))
            && now.saturating_sub(began) < 2 * WINDOW
        {
            self.judge(u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX));
        }
    }

    /// No events can come: what was counted in this window says nothing.
    pub fn interrupt(&mut self) {
        self.window = None;
        self.is_asked = false;
    }

    /// Far quieter than usual?
    pub fn is_quiet(&self) -> bool {
        self.is_so
    }

    fn judge(&mut self, heard: u32) {
        let usual = self.days.iter().flatten().min().copied().filter(|usual| *usual >= BUSY);
        self.is_so =
            usual.is_some_and(|usual| heard < usual / FAR_BELOW || (self.is_so && heard < usual / BACK));
        self.lowest = self.lowest.min(heard);
        self.windows += 1;
        if self.windows >= WINDOWS_A_DAY {
            self.days.rotate_left(1);
            if let Some(last) = self.days.last_mut() {
                *last = Some(self.lowest);
            }
            (self.lowest, self.windows) = (u32::MAX, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: usize = WINDOWS_A_DAY as usize;

    #[test]
    fn an_app_that_falls_far_below_its_own_quietest_time_is_quiet_until_it_speaks_again() {
        let mut app = App::new();
        app.windows(DAY, 400);
        app.windows(1, 100);
        app.windows(DAY - 1, 400);
        assert!(!app.windows(1, 10), "a tenth of the quietest is not far below");
        assert!(app.windows(1, 9));
        assert!(app.windows(1, 24), "below a quarter it has not come back");
        assert!(!app.windows(1, 25));
    }

    #[test]
    fn quiet_nights_are_usual_for_whoever_has_them() {
        let mut app = App::new();
        for _ in 0..5 {
            assert!(!app.windows(DAY / 2, 10_000));
            assert!(!app.windows(DAY / 2, 40));
        }
        assert!(app.windows(1, 3));
    }

    #[test]
    fn an_app_that_is_rarely_busy_is_never_quiet() {
        let mut app = App::new();
        for _ in 0..7 {
            app.windows(DAY - 1, 10_000);
            app.windows(1, 29);
        }
        assert!(!app.windows(DAY - 1, 0));
    }

    #[test]
    fn nothing_is_judged_before_a_day_is_learnt() {
        let mut app = App::new();
        app.windows(DAY - 1, 10_000);
        assert!(!app.windows(1, 0));
    }

    #[test]
    fn what_stays_quiet_for_a_day_is_the_new_usual() {
        let mut app = App::new();
        app.windows(2 * DAY, 400);
        assert!(app.windows(DAY, 0));
        assert!(!app.windows(1, 0));
    }

    #[test]
    fn a_time_without_a_socket_or_asleep_is_not_held_against_an_app() {
        let mut app = App::new();
        app.windows(DAY, 400);
        app.quiet.interrupt();
        app.now += 10 * WINDOW;
        assert!(!app.windows(1, 0), "this begins a window");
        app.now += 10 * WINDOW;
        assert!(!app.windows(1, 0), "this window was far too long");
        assert!(app.windows(1, 0));
    }

    #[test]
    fn the_count_is_asked_for_once_a_window_and_an_answer_nobody_asked_for_is_ignored() {
        let mut quiet = Quiet::default();
        assert!(quiet.asks(WINDOW) && !quiet.asks(WINDOW) && quiet.due().is_none());
        quiet.count(WINDOW, 5);
        quiet.count(WINDOW, 5_000);
        assert_eq!((quiet.due(), quiet.asks(WINDOW)), (Some(2 * WINDOW), false));
        assert_eq!(quiet.window, Some((WINDOW, 5)));
    }

    struct App {
        quiet: Quiet,
        now: Duration,
        total: u64,
    }

    impl App {
        fn new() -> Self {
            let mut app = Self { quiet: Quiet::default(), now: WINDOW, total: 7 };
            app.windows(1, 0);
            app
        }

        /// So many windows with so many events each; is it quiet after them?
        fn windows(&mut self, count: usize, events: u64) -> bool {
            for _ in 0..count {
                self.now += WINDOW;
                self.total += events;
                if self.quiet.asks(self.now) {
                    self.quiet.count(self.now, self.total);
                }
            }
            self.quiet.is_quiet()
        }
    }
}
