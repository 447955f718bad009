//! What the operator sees: log lines on stderr, and figures for Prometheus.

mod histogram;
mod metrics;
mod names;

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

pub use self::histogram::Histogram;
pub use self::metrics::{HandlerMetrics, Metrics, Totals};
use crate::config::LogFormat;

/// Libraries that write frames, headers or addresses with tickets at their finer levels. No filter makes them say more than
/// warnings.
const QUIET: &[&str] =
    &["tungstenite", "tokio_tungstenite", "awc", "actix_http", "actix_tls", "h2", "rustls", "sqlx"];

/// Why there is no telemetry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("log is no filter: {0}")]
    Filter(String),
    /// Something else in this process collects log lines already.
    #[error("this process has a log already")]
    Taken,
    /// A histogram without buckets: a mistake in the table of names.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(String),
}

/// Sends log lines to stderr: for a binary, once, at its start. A library's user brings their own subscriber instead.
pub fn start_log(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let colours = io::stderr().is_terminal();
    lines(filter, format, colours, io::stderr)?.try_init().map_err(|_| TelemetryError::Taken)
}

/// What writes lines to `to`.
fn lines<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    to: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    // Which threads a server starts is nobody's news, unless somebody asks. That somebody sends what is no HTTP is none at all:
    // actix-http says each at ERROR, and whoever reaches the address could fill the log.
    let filter =
        ["actix_server=warn", "actix_http::h1=off"].into_iter().fold(filter, |filter, quieter| match quieter
            .parse()
        {
            Ok(quieter) => filter.add_directive(quieter),
            Err(_) => filter,
        });
    // A cap of its own, since in a filter the longer target wins over any directive of ours.
    let filter = filter.and(filter_fn(may_be_said));
    let layer = fmt::layer().with_ansi(colours).with_writer(to);
    Ok(match format {
        LogFormat::Text => Box::new(registry().with(layer.with_target(false).with_filter(filter))),
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
            Box::new(registry().with(layer.with_filter(filter)))
        }
    })
}

fn may_be_said(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::WARN || !QUIET.contains(&library)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_filter_that_is_none_is_told_before_anything_starts() {
        assert!(matches!(start_log("info,a=b=c", LogFormat::Json), Err(TelemetryError::Filter(_))));
    }

    #[test]
    fn no_filter_makes_a_library_write_what_went_over_the_wire() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let written = Written::default();
            let to = written.clone();
            let filter = "trace,tungstenite=trace,tungstenite::protocol=trace,awc::client::h1=debug";
            let log = lines(filter, format, false, move || to.clone()).unwrap();
            tracing::subscriber::with_default(log, || {
                tracing::trace!(target: "tungstenite::protocol", "payload");
                tracing::debug!(target: "awc::client::h1", "payload");
                tracing::warn!(target: "tungstenite::protocol", "wanted: a warning");
                tracing::trace!("wanted: our own");
            });
            let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!written.contains("payload"), "{written}");
            assert_eq!(written.matches("wanted").count(), 2, "{written}");
        }
    }

    #[test]
    fn what_is_no_http_makes_nobody_s_log_longer() {
        let written = Written::default();
        let to = written.clone();
        let log = lines("info", LogFormat::Json, false, move || to.clone()).unwrap();
        tracing::subscriber::with_default(log, || {
            tracing::error!(target: "actix_http::h1::dispatcher", "stream error: request parse error");
            tracing::error!("wanted");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(written.contains("wanted") && !written.contains("parse error"), "{written}");
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

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
