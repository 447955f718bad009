use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::TelemetryError;
use super::names::{self, Shape};
use crate::event::Kind;
use crate::status::{Code, State};

/// All figures of one node. Not global: two nodes in one process count apart. The fields are handles for the hot path, where
/// counting is one atomic addition.
pub struct Metrics {
    /// Envelopes that Slack marked as sent again.
    pub retries_received: Counter,
    /// Events on disk for the first time.
    pub stored: Counter,
    /// Events that were on disk already.
    pub duplicates: Counter,
    /// Acks sent.
    pub acks: Counter,
    /// Acks sent more than 3 s after the envelope was read.
    pub acks_late: Counter,
    /// Envelopes let go unacked.
    pub shed: Counter,
    /// Their bytes.
    pub shed_bytes: Counter,
    /// Events put aside.
    pub quarantined: Counter,
    /// Events in one commit.
    pub group_size: Histogram,
    /// Seconds of one commit.
    pub commit_seconds: Histogram,
    /// Seconds from an envelope to its ack.
    pub receive_to_ack_seconds: Histogram,
    received: [(Kind, Counter); 4],
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// The figures of one handler.
#[derive(Clone)]
pub struct HandlerMetrics {
    /// Seconds of one call.
    pub seconds: Histogram,
    /// It did what there was to do.
    pub done: Counter,
    /// It asked to be called again.
    pub retry: Counter,
    /// It refused the event for good.
    pub reject: Counter,
    /// It panicked.
    pub panic: Counter,
    /// It took longer than it may.
    pub timeout: Counter,
}

impl Metrics {
    /// A fresh set, all at zero.
    pub fn new() -> Result<Self, TelemetryError> {
        let mut builder = PrometheusBuilder::new();
        for metric in names::ALL {
            if let Shape::Histogram(buckets) = metric.shape {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
                    .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
            }
        }
        let recorder = builder.build_recorder();
        describe(&recorder);
        gauge(&recorder, names::INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        let kinds = [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown];
        let received =
            kinds.map(|kind| (kind, counter(&recorder, names::RECEIVED, &[("kind", kind.as_str())])));
        Ok(Self {
            retries_received: counter(&recorder, names::RETRIES, &[]),
            stored: counter(&recorder, names::STORED, &[]),
            duplicates: counter(&recorder, names::DUPLICATES, &[]),
            acks: counter(&recorder, names::ACKS, &[]),
            acks_late: counter(&recorder, names::ACKS_LATE, &[]),
            shed: counter(&recorder, names::SHED, &[]),
            shed_bytes: counter(&recorder, names::SHED_BYTES, &[]),
            quarantined: counter(&recorder, names::QUARANTINED, &[]),
            group_size: histogram(&recorder, names::GROUP_SIZE, &[]),
            commit_seconds: histogram(&recorder, names::COMMIT, &[]),
            receive_to_ack_seconds: histogram(&recorder, names::TO_ACK_SECONDS, &[]),
            received,
            handle: recorder.handle(),
            recorder,
        })
    }

    /// An envelope of this kind was read.
    pub fn received(&self, kind: Kind) {
        if let Some((_, counter)) = self.received.iter().find(|(known, _)| *known == kind) {
            counter.increment(1);
        }
    }

    /// The handles of one handler: get them once and keep them.
    pub fn handler(&self, name: &str) -> HandlerMetrics {
        let outcome = |outcome| {
            counter(&self.recorder, names::HANDLER_OUTCOMES, &[("handler", name), ("outcome", outcome)])
        };
        HandlerMetrics {
            seconds: histogram(&self.recorder, names::HANDLER_SECONDS, &[("handler", name)]),
            done: outcome("done"),
            retry: outcome("retry"),
            reject: outcome("reject"),
            panic: outcome("panic"),
            timeout: outcome("timeout"),
        }
    }

    /// So many connections are in each state. Told before rendering, from what they publish: no count of its own that could drift.
    pub fn connections(&self, states: &[State]) {
        for state in State::ALL {
            let count = states.iter().filter(|other| *other == state).count();
            let gauge = gauge(&self.recorder, names::CONNECTIONS, &[("state", state.as_str())]);
            gauge.set(u32::try_from(count).map_or(f64::MAX, f64::from));
        }
    }

    /// A link has to be replaced, and why.
    pub fn reconnect(&self, code: Code) {
        counter(&self.recorder, names::RECONNECTS, &[("code", code.as_str())]).increment(1);
    }

    /// Slack was asked for a socket address: it gave one, or why not.
    pub fn open(&self, refused: Option<Code>) {
        let outcome = refused.map_or("ok", Code::as_str);
        counter(&self.recorder, names::OPENS, &[("outcome", outcome)]).increment(1);
    }

    /// All figures in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// How often [`Self::upkeep`] has to be called.
    pub const UPKEEP: Duration = Duration::from_secs(5);

    /// Sorts observations into their buckets. Without it they pile up in memory until somebody scrapes.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl fmt::Debug for HandlerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerMetrics").finish_non_exhaustive()
    }
}

const METADATA: Metadata<'static> = Metadata::new("tautline", Level::INFO, None);

fn describe(recorder: &PrometheusRecorder) {
    for metric in names::ALL {
        let (name, means) = (metric.name.into(), metric.means.into());
        match metric.shape {
            Shape::Counter => recorder.describe_counter(name, None, means),
            Shape::Gauge => recorder.describe_gauge(name, None, means),
            Shape::Histogram(_) => recorder.describe_histogram(name, None, means),
        }
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<_> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

fn counter(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
    recorder.register_counter(&key(name, labels), &METADATA)
}

fn gauge(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
    recorder.register_gauge(&key(name, labels), &METADATA)
}

fn histogram(
    recorder: &PrometheusRecorder,
    name: &'static str,
    labels: &[(&'static str, &str)],
) -> Histogram {
    recorder.register_histogram(&key(name, labels), &METADATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered_with_its_meaning() {
        let metrics = Metrics::new().unwrap();
        metrics.received(Kind::EventsApi);
        metrics.acks.increment(2);
        metrics.receive_to_ack_seconds.record(0.004);
        metrics.connections(&[State::Ready]);
        metrics.reconnect(Code::RefreshRequested);
        metrics.open(None);
        metrics.open(Some(Code::Ratelimited));
        metrics.handler("log").done.increment(1);
        let text = metrics.render();
        for line in [
            "# HELP tautline_events_received_total Envelopes read from sockets, by kind.",
            "# TYPE tautline_acks_total counter",
            "tautline_events_received_total{kind=\"events_api\"} 1",
            "tautline_events_received_total{kind=\"slash_commands\"} 0",
            "tautline_acks_total 2",
            "tautline_receive_to_ack_seconds_bucket{le=\"0.001\"} 0",
            "tautline_receive_to_ack_seconds_bucket{le=\"0.005\"} 1",
            "tautline_receive_to_ack_seconds_bucket{le=\"3\"} 1",
            "tautline_connections{state=\"connecting\"} 0",
            "tautline_connections{state=\"ready\"} 1",
            "tautline_reconnects_total{code=\"refresh_requested\"} 1",
            "tautline_opens_total{outcome=\"ok\"} 1",
            "tautline_opens_total{outcome=\"ratelimited\"} 1",
            "tautline_handler_outcomes_total{handler=\"log\",outcome=\"done\"} 1",
            "tautline_handler_outcomes_total{handler=\"log\",outcome=\"panic\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn two_sets_count_apart() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.stored.increment(1);
        assert!(one.render().contains("tautline_events_stored_total 1"));
        assert!(other.render().contains("tautline_events_stored_total 0"));
    }

    #[test]
    fn every_name_keeps_to_the_conventions() {
        for metric in names::ALL {
            let name = metric.name;
            assert!(name.starts_with("tautline_") && metric.means.ends_with('.'), "{name}");
            match metric.shape {
                Shape::Counter => assert!(name.ends_with("_total"), "{name}"),
                Shape::Gauge => assert!(!name.ends_with("_total"), "{name}"),
                Shape::Histogram(buckets) => {
                    assert!(name.ends_with("_seconds") || name.ends_with("_size"), "{name}");
                    assert!(buckets.is_sorted(), "{name}");
                }
            }
        }
    }
}
