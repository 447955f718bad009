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
/// Within a region a few hundredths; from ten on a link is given up.
const HELLO_IN: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];
const EVENTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

macro_rules! metrics {
    ($($id:ident $name:literal $buckets:expr, $means:literal;)+) => {
        $(pub(super) const $id: Named = Named { name: $name, means: $means, buckets: $buckets };)+

        #[cfg(test)]
        const ALL: &[Named] = &[$($id,)+];
    };
}

metrics! {
    INFO "tautline_build_info" &[], "Always 1; the version as a label.";
    RECEIVED "tautline_events_received_total" &[], "Envelopes read from sockets, by kind.";
    RETRIES "tautline_retries_received_total" &[], "Envelopes that Slack marked as sent again.";
    STORED "tautline_events_stored_total" &[], "Events on disk for the first time.";
    DUPLICATES "tautline_duplicates_total" &[], "Events that were on disk already: acked, not handled again.";
    ACKS "tautline_acks_total" &[], "Acks sent, late ones included.";
    ACKS_LATE "tautline_acks_late_total" &[], "Acks sent more than 3 s after the envelope was read.";
    ACKS_LOST "tautline_acks_lost_total" &[], "Acks that never went: the link that their envelopes came on was gone before. Slack sends events again, and they are recognised.";
    SHED "tautline_shed_total" &[], "Envelopes let go unacked because too much waited: Slack sends them again.";
    SHED_BYTES "tautline_shed_bytes_total" &[], "What those envelopes weighed.";
    QUARANTINED "tautline_quarantined_total" &[], "Events that no database would take, put aside and acked.";
    UNROUTED "tautline_events_unrouted_total" &[], "Events that no route gives to any handler: kept and acked all the same.";
    EXPIRED "tautline_expired_total" &[], "Events deleted because they were older than retention_days.";
    ERASED "tautline_erased_total" &[], "Payloads deleted before their events: by age, by size, or with their workspace.";
    ANSWERS "tautline_answers_total" &[], "Answers of handlers, by outcome: in_time (in the ack), response_url (posted), refused, or expired (none came, and there was no ack).";
    ANSWERS_LATE "tautline_answers_late_total" &[], "Answers that came when their ack had to be gone, 2.5 s after the envelope was read.";
    GROUP_SIZE "tautline_journal_group_size" EVENTS, "Events in one commit.";
    COMMIT "tautline_journal_commit_seconds" SECONDS, "How long one commit took.";
    TO_STORED_SECONDS "tautline_receive_to_stored_seconds" TO_ACK, "From reading an envelope to its event's being on disk.";
    TO_ACK_SECONDS "tautline_receive_to_ack_seconds" TO_ACK, "From reading an envelope to writing its ack.";
    HANDLER_SECONDS "tautline_handler_seconds" SECONDS, "How long a handler took, by handler.";
    HANDLER_OUTCOMES "tautline_handler_outcomes_total" &[], "What became of deliveries, by handler and outcome.";
    HANDLER_DEAD "tautline_handler_dead_total" &[], "Deliveries that were given up, by handler.";
    HANDLER_BACKLOG "tautline_handler_backlog" &[], "Deliveries that a handler owes, as they are written down in the database, by handler and whether they wait for their turn (waiting) or are to be tried again (retrying); counted up to a million each, as last looked, and less far where the database cuts that.";
    HANDLER_OLDEST "tautline_handler_oldest_seconds" &[], "Age of the oldest event of those, by handler; 0 where there is none.";
    HANDLER_DEAD_LETTERS "tautline_handler_dead_letters" &[], "Deliveries that are dead or expired and that nobody has retried, replayed or discarded, by handler: among the newest hundred thousand of all handlers.";
    EVENTS_WAITING "tautline_events_waiting" &[], "Events in memory that handlers are not done with yet; what has no room waits on disk.";
    IN_MEMORY "tautline_envelopes_in_memory_bytes" &[], "What envelopes weigh that wait for the disk or, where nothing is kept, for handlers.";
    CONNECTIONS "tautline_connections" &[], "Connections, by state.";
    WARNINGS "tautline_connection_warnings" &[], "Connections with a warning while events flow, by its code.";
    LINKS "tautline_links" &[], "Sockets, by what they are doing.";
    HELLO "tautline_link_hello_seconds" HELLO_IN, "From dialling a socket to Slack's hello.";
    PONG "tautline_link_pong_seconds" HELLO_IN, "How long Slack takes to answer a ping: with each pong, the median of the link's last five.";
    RECONNECTS "tautline_reconnects_total" &[], "Links that had to be replaced, by the code of the reason.";
    OPENS "tautline_opens_total" &[], "Calls of apps.connections.open, by outcome: ok or the code of the reason.";
    OPENS_WAITING "tautline_opens_waiting" &[], "Connections that wait for their turn to call apps.connections.open.";
    OPENS_IN_FLIGHT "tautline_opens_in_flight" &[], "Calls of apps.connections.open that have no answer yet.";
    OPENS_PACE "tautline_opens_pace_ratio" &[], "Share of the set pace of these calls in force: below 1 for a while after 429s of many apps.";
    DATABASE_UP "tautline_database_up" &[], "1 while the database takes writes, else 0.";
    POOL "tautline_database_pool_connections" &[], "Connections to the database for reading, by whether they are in use. The journal has its own.";
    POOL_MAX "tautline_database_pool_connections_max" &[], "So many there may be.";
    WEBHOOK_POSTS "tautline_webhook_posts_total" &[], "Notices posted to webhooks, by outcome: taken, failed (it comes again) or given_up.";
    WEBHOOKS_WAITING "tautline_webhook_notices_waiting" &[], "Notices that wait for webhooks, as last looked, at most five seconds ago; 0 on a node that posts none.";
    OPEN_FDS "process_open_fds" &[], "Files and sockets that the process has open.";
    MAX_FDS "process_max_fds" &[], "So many it may open.";
    RESIDENT "process_resident_memory_bytes" &[], "Memory of the process that is in RAM.";
    CPU "process_cpu_seconds_total" &[], "Time that the process has spent on processors.";
    START "process_start_time_seconds" &[], "When the process started, seconds since 1970.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_metrics_are_these() {
        let documented: Vec<_> = include_str!("../../docs/metrics.md")
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
            .map(|cells| (cells[1].trim_matches('`').to_owned(), cells[3].to_owned()))
            .collect();
        let all: Vec<_> =
            ALL.iter().map(|metric| (metric.name.to_owned(), metric.means.to_owned())).collect();
        assert_eq!(documented, all);
    }

    #[test]
    fn every_name_keeps_to_the_conventions() {
        for Named { name, means, buckets } in ALL {
            let is_ours = name.starts_with("tautline_") || name.starts_with("process_");
            assert!(is_ours && means.ends_with('.'), "{name}");
            let is_time = name.ends_with("_seconds") && ![START.name, HANDLER_OLDEST.name].contains(name);
            let is_histogram = is_time || name.ends_with("_size");
            assert_eq!(is_histogram, !buckets.is_empty(), "{name}");
            assert!(buckets.is_sorted(), "{name}");
        }
    }
}
