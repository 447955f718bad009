//! What the operator sees: log lines on stderr, and figures for Prometheus.

mod metrics;
mod names;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

pub use self::metrics::{HandlerMetrics, Metrics};
use crate::config::LogFormat;

/// Libraries that would write frames, headers or addresses with tickets at their finer levels, and one that tells of its threads.
/// No filter makes them say more.
const QUIET: &[&str] = &[
    "tungstenite=warn",
    "tokio_tungstenite=warn",
    "awc=warn",
    "actix_http=warn",
    "actix_server=warn",
    "h2=warn",
    "rustls=warn",
    "sqlx=warn",
];

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
    let mut filter = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    for quiet in QUIET {
        let directive = quiet.parse().map_err(|_| TelemetryError::Filter((*quiet).to_owned()))?;
        filter = filter.add_directive(directive);
    }
    let colours = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    started.map_err(|_| TelemetryError::Taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_told_before_anything_starts() {
        assert!(matches!(start_log("info,a=b=c", LogFormat::Json), Err(TelemetryError::Filter(_))));
    }
}
