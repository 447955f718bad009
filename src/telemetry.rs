//! What the operator sees: log lines on stderr, and figures for Prometheus.

mod histogram;
mod log;
mod metrics;
mod names;
mod panics;
mod seen;

pub use self::histogram::Histogram;
pub use self::log::{BadFilter, LogControl, LogFilter, start_log};
pub use self::metrics::{HandlerMetrics, Metrics, Totals};
pub use self::seen::{Opens, Owes, Pool, Snapshot};

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
