//! Panics, as lines of the log. Rust's own words about one go to stderr beside the log, a piece at a time, into the middle of its lines, and may hold
//! whatever a handler had in its hands.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

/// From now on a panic of any thread is one line of the log. What it costs is told where it is caught.
pub(super) fn tell_panics() {
    panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(tracing::field::display);
    let of = thread::current();
    let thread = of.name();
    let text = literal(panic.payload());
    // Captured only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    tracing::error!(place, thread, text, backtrace, "panicked");
}

/// What was said, if it stands so in the program. What was put together while it ran may hold a payload or a token.
fn literal(said: &(dyn Any + Send)) -> Option<&'static str> {
    said.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(panics: impl FnOnce() + panic::UnwindSafe) -> Option<&'static str> {
        literal(&*panic::catch_unwind(panics).unwrap_err())
    }

    #[test]
    fn of_a_panic_only_what_stands_in_the_program_is_told() {
        assert_eq!(said(|| panic!("no such state")), Some("no such state"));
        let payload = String::from("what was said");
        assert_eq!(said(move || panic!("cannot read {payload}")), None);
        assert_eq!(said(|| panic::panic_any(7)), None);
    }
}
