//! Log lines on stderr, and the filter that says which: it can be changed while the process runs.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, registry};

use super::TelemetryError;
use super::panics::tell_panics;
use crate::config::LogFormat;

/// Libraries that write frames, headers or addresses with tickets at their finer levels. No filter makes them say more than
/// warnings.
const QUIET: &[&str] =
    &["tungstenite", "tokio_tungstenite", "awc", "actix_http", "actix_tls", "h2", "rustls", "sqlx"];

/// Which threads a server starts is nobody's news, unless somebody asks. That somebody sends what is no HTTP is none at all: actix-http
/// says each at ERROR, and whoever reaches the address could fill the log.
const QUIETER: [&str; 2] = ["actix_server=warn", "actix_http::h1=off"];

const MOST_RULES: usize = 32;
const LONGEST_TARGET: usize = 128;
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

static CONTROL: OnceLock<LogControl> = OnceLock::new();

/// The filter of this process's log, to read and to change.
#[derive(Clone, Debug)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    state: Arc<Mutex<State>>,
}

/// What is in force, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// What is in force.
    pub filter: String,
    /// The one that comes back, and when, milliseconds since 1970; none where this one stays.
    pub back: Option<(String, i64)>,
    /// The one that the process was started with.
    pub at_start: String,
}

/// A filter that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

#[derive(Debug)]
struct State {
    now: LogFilter,
    /// Rises with every change, so that a time that is over ends its own filter and no later one.
    change: u64,
}

impl LogControl {
    /// That of this process, once [`start_log`] has run; none where somebody else collects the lines.
    pub fn of_this_process() -> Option<&'static Self> {
        CONTROL.get()
    }

    /// What is in force.
    pub fn filter(&self) -> LogFilter {
        self.lock().now.clone()
    }

    /// Puts a filter in force, until a moment (milliseconds since 1970) or until the next change. Returns what [`back`](Self::back) wants to hear
    /// then. What of dependencies could show payloads stays silent under every filter.
    pub fn set(&self, filter: &str, until_ms: Option<i64>) -> Result<u64, BadFilter> {
        let filter = tidy(filter)?;
        let parsed = directives(&filter)?;
        let mut state = self.lock();
        self.put(parsed)?;
        // Of two for a while, one after the other, what comes back is what was there before both.
        let standing =
            state.now.back.take().map_or_else(|| state.now.filter.clone(), |(standing, _)| standing);
        state.now.filter = filter;
        state.now.back = until_ms.map(|until_ms| (standing, until_ms));
        state.change += 1;
        Ok(state.change)
    }

    /// The time of the change that returned this number is over. Tells which filter is in force again; none where somebody has changed it
    /// since.
    pub fn back(&self, change: u64) -> Option<String> {
        let mut state = self.lock();
        if state.change != change {
            return None;
        }
        let (standing, _) = state.now.back.take()?;
        self.put(directives(&standing).ok()?).ok()?;
        state.now.filter.clone_from(&standing);
        Some(standing)
    }

    fn put(&self, filter: EnvFilter) -> Result<(), BadFilter> {
        self.handle
            .reload(filter)
            .map_err(|error| BadFilter(format!("the log takes no filter any more: {error}")))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends log lines to stderr, panics among them: for a binary, once, at its start. A library's user brings their own subscriber instead.
pub fn start_log(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let colours = io::stderr().is_terminal();
    let (lines, control) = lines(filter, format, colours, io::stderr)?;
    lines.try_init().map_err(|_| TelemetryError::Taken)?;
    CONTROL.set(control).map_err(|_| TelemetryError::Taken)?;
    tell_panics();
    Ok(())
}

type Lines = Box<dyn Subscriber + Send + Sync>;

/// What writes lines to `to`, and what changes its filter.
fn lines<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    to: W,
) -> Result<(Lines, LogControl), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let parsed = directives(filter).map_err(|BadFilter(problem)| TelemetryError::Filter(problem))?;
    let (reloaded, handle) = reload::Layer::new(parsed);
    let now = LogFilter { filter: filter.to_owned(), back: None, at_start: filter.to_owned() };
    let control = LogControl { handle, state: Arc::new(Mutex::new(State { now, change: 0 })) };
    // A cap of its own, since in a filter the longer target wins over any directive of ours; beside the one that changes, so that it stays.
    let filter = reloaded.and(filter_fn(may_be_said));
    let layer = fmt::layer().with_ansi(colours).with_writer(to);
    let lines: Lines = match format {
        LogFormat::Text => Box::new(registry().with(layer.with_target(false).with_filter(filter))),
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
            Box::new(registry().with(layer.with_filter(filter)))
        }
    };
    Ok((lines, control))
}

/// A filter as it is put at run time: levels, and levels of targets. The library would take any word that is no level for a target, and silence
/// all others.
fn tidy(filter: &str) -> Result<String, BadFilter> {
    let rules: Vec<_> = filter.split(',').map(str::trim).collect();
    if rules.len() > MOST_RULES {
        return Err(BadFilter(format!("at most {MOST_RULES} rules, parted by commas")));
    }
    for (number, rule) in (1..).zip(&rules) {
        let (target, level) =
            rule.split_once('=').map_or((None, *rule), |(target, level)| (Some(target), level));
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let levels = LEVELS.join(", ");
            return Err(BadFilter(format!(
                "rule {number} is no level and no target=level; levels are {levels}"
            )));
        }
        let plain = |target: &str| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b":_-.".contains(&b);
            (1..=LONGEST_TARGET).contains(&target.len()) && target.bytes().all(inner)
        };
        if !target.is_none_or(plain) {
            return Err(BadFilter(format!("rule {number} names no target; one is like tautline::actors")));
        }
    }
    Ok(rules.join(","))
}

fn directives(filter: &str) -> Result<EnvFilter, BadFilter> {
    let filter = EnvFilter::try_new(filter).map_err(|error| BadFilter(error.to_string()))?;
    Ok(QUIETER.into_iter().fold(filter, |filter, quieter| match quieter.parse() {
        Ok(quieter) => filter.add_directive(quieter),
        Err(_) => filter,
    }))
}

fn may_be_said(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::WARN || !QUIET.contains(&library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_told_before_anything_starts() {
        assert!(matches!(start_log("info,a=b=c", LogFormat::Json), Err(TelemetryError::Filter(_))));
    }

    #[test]
    fn no_filter_makes_a_library_write_what_went_over_the_wire_whenever_it_is_put() {
        let finest = "trace,tungstenite=trace,tungstenite::protocol=trace,awc::client::h1=debug";
        for format in [LogFormat::Text, LogFormat::Json] {
            for at_start in [finest, "off"] {
                let written = Written::default();
                let to = written.clone();
                let (log, control) = lines(at_start, format, false, move || to.clone()).unwrap();
                tracing::subscriber::with_default(log, || {
                    control.set(finest, None).unwrap();
                    tracing::trace!(target: "tungstenite::protocol", "payload");
                    tracing::debug!(target: "awc::client::h1", "payload");
                    tracing::warn!(target: "tungstenite::protocol", "wanted: a warning");
                    tracing::trace!("wanted: our own");
                });
                let written = written.text();
                assert!(!written.contains("payload"), "{written}");
                assert_eq!(written.matches("wanted").count(), 2, "{written}");
            }
        }
    }

    #[test]
    fn a_filter_for_a_while_goes_and_what_was_before_it_comes_back() {
        let written = Written::default();
        let to = written.clone();
        let (log, control) = lines("warn", LogFormat::Text, false, move || to.clone()).unwrap();
        tracing::subscriber::with_default(log, || {
            let say = |text: &str| tracing::debug!("{text}");
            say("one");
            let first = control.set("debug", Some(7)).unwrap();
            say("two");
            let second = control.set("info,tautline=debug", Some(8)).unwrap();
            assert_eq!(control.filter().back, Some(("warn".into(), 8)));
            assert_eq!(control.back(first), None, "another has taken its place");
            say("three");
            assert_eq!(control.back(second).as_deref(), Some("warn"));
            say("four");
            let before = control.set("debug", Some(9)).unwrap();
            control.set("debug", None).unwrap();
            assert_eq!(control.back(before), None, "somebody wants it to stay");
            say("five");
        });
        let now = LogFilter { filter: "debug".into(), back: None, at_start: "warn".into() };
        assert_eq!(control.filter(), now);
        let written = written.text();
        let said: Vec<_> = written.lines().filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!(said, ["two", "three", "five"]);
    }

    #[test]
    fn what_is_no_filter_changes_nothing() {
        let (log, control) = lines("info", LogFormat::Text, false, io::sink).unwrap();
        let many = vec!["info"; 33].join(",");
        let wrong = [
            "",
            "verbose",
            "info,",
            "info,tautline",
            "tautline=loud",
            "=info",
            "a=b=c",
            "[span]=info",
            &many,
        ];
        tracing::subscriber::with_default(log, || {
            for filter in wrong {
                assert!(control.set(filter, Some(1)).is_err(), "{filter}");
                assert_eq!(control.filter().filter, "info");
            }
            for filter in ["off", "TRACE", "info, tautline::actors=debug", "tautline=off"] {
                control.set(filter, None).unwrap();
            }
        });
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
