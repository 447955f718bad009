//! Every metric: its name, what it means and, of a histogram, its buckets. Base units; no label whose values have no bound, so
//! none that names a workspace (prometheus.io, "Metric and label naming").

/// A metric as `/metrics` describes it.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) means: &'static str,
    /// Of a histogram, the upper bounds of its buckets.
    pub(super) buckets: &'static [f64],
}

/// From a commit on a fast disk to a handler at its time limit.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Slack waits three seconds for an ack.
const TO_ACK: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0];
const EVENTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

macro_rules! metrics {
    ($($id:ident $name:literal $buckets:expr, $means:literal;)+) => {
        $(pub(super) const $id: Named =
            Named { name: concat!("tautline_", $name), means: $means, buckets: $buckets };)+

        #[cfg(test)]
        const ALL: &[Named] = &[$($id,)+];
    };
}

metrics! {
    INFO "info" &[], "Always 1; the version as a label.";
    RECEIVED "events_received_total" &[], "Envelopes read from sockets, by kind.";
    RETRIES "retries_received_total" &[], "Envelopes that Slack marked as sent again.";
    STORED "events_stored_total" &[], "Events on disk for the first time.";
    DUPLICATES "duplicates_total" &[], "Events that were on disk already: acked, not handled again.";
    ACKS "acks_total" &[], "Acks sent, late ones included.";
    ACKS_LATE "acks_late_total" &[], "Acks sent more than 3 s after the envelope was read.";
    SHED "shed_total" &[], "Envelopes let go unacked because too much waited: Slack sends them again.";
    SHED_BYTES "shed_bytes_total" &[], "What those envelopes weighed.";
    QUARANTINED "quarantined_total" &[], "Events that no database would take, put aside and acked.";
    EXPIRED "expired_total" &[], "Events deleted because they were older than retention_days.";
    GROUP_SIZE "journal_group_size" EVENTS, "Events in one commit.";
    COMMIT "journal_commit_seconds" SECONDS, "How long one commit took.";
    TO_ACK_SECONDS "receive_to_ack_seconds" TO_ACK, "From reading an envelope to writing its ack.";
    HANDLER_SECONDS "handler_seconds" SECONDS, "How long a handler took, by handler.";
    HANDLER_OUTCOMES "handler_outcomes_total" &[], "What became of deliveries, by handler and outcome.";
    CONNECTIONS "connections" &[], "Connections, by state.";
    RECONNECTS "reconnects_total" &[], "Links that had to be replaced, by the code of the reason.";
    OPENS "opens_total" &[], "Calls of apps.connections.open, by outcome: ok or the code of the reason.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_keeps_to_the_conventions() {
        for Named { name, means, buckets } in ALL {
            assert!(name.starts_with("tautline_") && means.ends_with('.'), "{name}");
            let is_histogram = name.ends_with("_seconds") || name.ends_with("_size");
            assert_eq!(is_histogram, !buckets.is_empty(), "{name}");
            assert!(buckets.is_sorted(), "{name}");
        }
    }
}
