//! Every figure of a node, as handles for those who count and as one text for those who read.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::TelemetryError;
use super::histogram::{Histogram, Histograms, histograms};
use super::names::{self, Named};
use super::seen::{Gauges, Owes, Snapshot};
use crate::event::Kind;
use crate::status::Code;

/// All figures of one node. Not global: two nodes in one process count apart. The fields are handles for the hot path, where
/// counting is one atomic addition.
pub struct Metrics {
    /// Envelopes that Slack marked as sent again.
    pub retries_received: IntCounter,
    /// Events on disk for the first time.
    pub stored: IntCounter,
    /// Events that were on disk already.
    pub duplicates: IntCounter,
    /// Acks sent.
    pub acks: IntCounter,
    /// Acks sent more than 3 s after the envelope was read.
    pub acks_late: IntCounter,
    /// Acks that never went.
    pub acks_lost: IntCounter,
    /// Envelopes let go unacked.
    pub shed: IntCounter,
    /// Their bytes.
    pub shed_bytes: IntCounter,
    /// Events put aside.
    pub quarantined: IntCounter,
    /// Events that no route gives to anybody.
    pub unrouted: IntCounter,
    /// Events deleted for their age.
    pub expired: IntCounter,
    /// Payloads deleted before their events.
    pub erased: IntCounter,
    /// Acks that carried an answer.
    pub answers_in_time: IntCounter,
    /// Answers posted to a `response_url`.
    pub answers_by_url: IntCounter,
    /// Envelopes that were not acked because no answer came.
    pub answers_expired: IntCounter,
    /// Answers that could not be passed on.
    pub answers_refused: IntCounter,
    /// Answers that came when their ack had gone.
    pub answers_late: IntCounter,
    /// Events in one commit.
    pub group_size: Histogram,
    /// Seconds of one commit.
    pub commit_seconds: Histogram,
    /// Seconds from an envelope to its event's being on disk.
    pub receive_to_stored_seconds: Histogram,
    /// Seconds from an envelope to its ack.
    pub receive_to_ack_seconds: Histogram,
    /// Seconds from dialling a socket to hello.
    pub hello_seconds: Histogram,
    /// Seconds that Slack takes to answer a ping.
    pub pong_seconds: Histogram,
    /// Events in memory that handlers are not done with.
    pub events_waiting: IntGauge,
    /// Notices that webhooks took.
    pub posts_taken: IntCounter,
    /// Notices that were not taken and are posted again.
    pub posts_failed: IntCounter,
    /// Notices that are posted no more.
    pub posts_given_up: IntCounter,
    /// Notices that wait for webhooks.
    pub notices_waiting: IntGauge,
    received: [(Kind, IntCounter); 4],
    handler_seconds: Histograms,
    handler_outcomes: IntCounterVec,
    handler_dead: IntCounterVec,
    owed: Mutex<Vec<Owes>>,
    gauges: Gauges,
    reconnects: IntCounterVec,
    opens: IntCounterVec,
    registry: Registry,
}

/// What has been counted since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Envelopes read from sockets.
    pub received: u64,
    /// Of those, sent again by Slack.
    pub retries_received: u64,
    /// Events on disk for the first time.
    pub stored: u64,
    /// Events that were on disk already.
    pub duplicates: u64,
    /// Acks sent, late ones included.
    pub acks: u64,
    /// Acks sent more than 3 s after the envelope was read.
    pub acks_late: u64,
    /// Envelopes let go unacked because too much waited.
    pub shed: u64,
    /// Events that no database would take.
    pub quarantined: u64,
}

/// The figures of one handler.
#[derive(Clone)]
pub struct HandlerMetrics {
    /// Seconds of one call.
    pub seconds: Histogram,
    /// It did what there was to do.
    pub done: IntCounter,
    /// It asked to be called again.
    pub retry: IntCounter,
    /// It refused the event for good.
    pub reject: IntCounter,
    /// It panicked.
    pub panic: IntCounter,
    /// It took longer than it may.
    pub timeout: IntCounter,
    /// Nobody waited for its answer any more.
    pub expired: IntCounter,
    /// A delivery was given up.
    pub dead: IntCounter,
}

impl Metrics {
    /// A fresh set, all at zero.
    pub fn new() -> Result<Self, TelemetryError> {
        Self::registered().map_err(|error| TelemetryError::Metrics(error.to_string()))
    }

    fn registered() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |metric: &Named| enter(&registry, IntCounter::with_opts(opts(metric))?);
        let counters =
            |metric: &Named, labels: &[&str]| enter(&registry, IntCounterVec::new(opts(metric), labels)?);
        let gauge = |metric: &Named| enter(&registry, IntGauge::with_opts(opts(metric))?);
        let alone = |metric: &Named| {
            enter(&registry, histograms(opts(metric), metric.buckets)?)?
                .get_metric_with_label_values::<&str>(&[])
        };
        let received = counters(&names::RECEIVED, &["kind"])?;
        let kinds = [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown];
        let info = enter(&registry, IntGaugeVec::new(opts(&names::INFO), &["version"])?)?;
        let posts = counters(&names::WEBHOOK_POSTS, &["outcome"])?;
        let answers = counters(&names::ANSWERS, &["outcome"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            retries_received: counter(&names::RETRIES)?,
            stored: counter(&names::STORED)?,
            duplicates: counter(&names::DUPLICATES)?,
            acks: counter(&names::ACKS)?,
            acks_late: counter(&names::ACKS_LATE)?,
            acks_lost: counter(&names::ACKS_LOST)?,
            shed: counter(&names::SHED)?,
            shed_bytes: counter(&names::SHED_BYTES)?,
            quarantined: counter(&names::QUARANTINED)?,
            unrouted: counter(&names::UNROUTED)?,
            expired: counter(&names::EXPIRED)?,
            erased: counter(&names::ERASED)?,
            answers_in_time: answers.with_label_values(&["in_time"]),
            answers_by_url: answers.with_label_values(&["response_url"]),
            answers_expired: answers.with_label_values(&["expired"]),
            answers_refused: answers.with_label_values(&["refused"]),
            answers_late: counter(&names::ANSWERS_LATE)?,
            group_size: alone(&names::GROUP_SIZE)?,
            commit_seconds: alone(&names::COMMIT)?,
            receive_to_stored_seconds: alone(&names::TO_STORED_SECONDS)?,
            receive_to_ack_seconds: alone(&names::TO_ACK_SECONDS)?,
            received: kinds.map(|kind| (kind, received.with_label_values(&[kind.as_str()]))),
            handler_seconds: enter(
                &registry,
                histograms(
                    opts(&names::HANDLER_SECONDS).variable_label("handler"),
                    names::HANDLER_SECONDS.buckets,
                )?,
            )?,
            handler_outcomes: counters(&names::HANDLER_OUTCOMES, &["handler", "outcome"])?,
            handler_dead: counters(&names::HANDLER_DEAD, &["handler"])?,
            owed: Mutex::default(),
            gauges: Gauges::registered(&registry)?,
            hello_seconds: alone(&names::HELLO)?,
            pong_seconds: alone(&names::PONG)?,
            events_waiting: gauge(&names::EVENTS_WAITING)?,
            posts_taken: posts.with_label_values(&["taken"]),
            posts_failed: posts.with_label_values(&["failed"]),
            posts_given_up: posts.with_label_values(&["given_up"]),
            notices_waiting: gauge(&names::WEBHOOKS_WAITING)?,
            reconnects: counters(&names::RECONNECTS, &["code"])?,
            opens: counters(&names::OPENS, &["outcome"])?,
            registry,
        })
    }

    /// An envelope of this kind was read.
    pub fn received(&self, kind: Kind) {
        if let Some((_, counter)) = self.received.iter().find(|(known, _)| *known == kind) {
            counter.inc();
        }
    }

    /// The counters, as they stand.
    pub fn totals(&self) -> Totals {
        Totals {
            received: self.received.iter().map(|(_, counter)| counter.get()).sum(),
            retries_received: self.retries_received.get(),
            stored: self.stored.get(),
            duplicates: self.duplicates.get(),
            acks: self.acks.get(),
            acks_late: self.acks_late.get(),
            shed: self.shed.get(),
            quarantined: self.quarantined.get(),
        }
    }

    /// The handles of one handler: get them once and keep them.
    pub fn handler(&self, name: &str) -> HandlerMetrics {
        let outcome = |outcome| self.handler_outcomes.with_label_values(&[name, outcome]);
        HandlerMetrics {
            seconds: self.handler_seconds.with_label_values(&[name]),
            done: outcome("done"),
            retry: outcome("retry"),
            reject: outcome("reject"),
            panic: outcome("panic"),
            timeout: outcome("timeout"),
            expired: outcome("expired"),
            dead: self.handler_dead.with_label_values(&[name]),
        }
    }

    /// How the node is now. Told before rendering.
    pub fn show(&self, seen: &Snapshot) {
        self.gauges.show(seen);
        self.gauges.show_owed(&self.owed.lock().unwrap_or_else(PoisonError::into_inner), seen.now_ms);
    }

    /// What handlers owe, as somebody has just looked.
    pub fn owe(&self, owed: Vec<Owes>) {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = owed;
    }

    /// A link has to be replaced, and why.
    pub fn reconnect(&self, code: Code) {
        self.reconnects.with_label_values(&[code.as_str()]).inc();
    }

    /// Slack was asked for a socket address: it gave one, or why not.
    pub fn open(&self, refused: Option<Code>) {
        self.opens.with_label_values(&[refused.map_or("ok", Code::as_str)]).inc();
    }

    /// All figures in Prometheus' text format.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "the figures cannot be shown");
            String::new()
        })
    }
}

pub(super) fn opts(metric: &Named) -> Opts {
    Opts::new(metric.name, metric.means)
}

pub(super) fn enter<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::seen::Opens;
    use super::*;
    use crate::status::{State, Status};

    #[test]
    fn what_was_counted_is_rendered_with_its_meaning() {
        let metrics = Metrics::new().unwrap();
        metrics.received(Kind::EventsApi);
        metrics.acks.inc_by(2);
        metrics.receive_to_ack_seconds.took(Duration::from_millis(4));
        let ready = Status { state: State::Ready, warnings: vec![Code::Quiet], ..Status::off(0) };
        let opens = Opens { waiting: 3, in_flight: 2, pace: 0.5 };
        metrics.show(&Snapshot { statuses: vec![ready], opens, is_database_up: true, ..Snapshot::default() });
        metrics.reconnect(Code::RefreshRequested);
        metrics.open(None);
        metrics.open(Some(Code::Ratelimited));
        metrics.handler("log").done.inc();
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
            "tautline_connection_warnings{code=\"quiet\"} 1",
            "tautline_connection_warnings{code=\"slow_pong\"} 0",
            "tautline_links{state=\"live\"} 0",
            "tautline_opens_waiting 3",
            "tautline_opens_in_flight 2",
            "tautline_opens_pace_ratio 0.5",
            "tautline_database_up 1",
            "tautline_webhook_posts_total{outcome=\"given_up\"} 0",
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
    fn many_observations_at_once_count_each() {
        let metrics = Metrics::new().unwrap();
        metrics.receive_to_ack_seconds.took_each(Duration::from_millis(4), 3);
        metrics.receive_to_ack_seconds.took(Duration::from_secs(7));
        let text = metrics.render();
        for line in [
            "bucket{le=\"0.001\"} 0",
            "bucket{le=\"0.005\"} 3",
            "bucket{le=\"+Inf\"} 4",
            "sum 7.012",
            "count 4",
        ] {
            assert!(text.contains(&format!("tautline_receive_to_ack_seconds_{line}\n")), "{line}\n{text}");
        }
    }

    #[test]
    fn two_sets_count_apart() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.stored.inc();
        assert!(one.render().contains("tautline_events_stored_total 1"));
        assert!(other.render().contains("tautline_events_stored_total 0"));
    }
}
