//! Figures that are looked at when somebody reads them, rather than counted: no count of their own that could drift.

use std::fs;
use std::time::Duration;

use prometheus::{Counter, Gauge, GaugeVec, IntGauge, IntGaugeVec, Registry};
use rustix::time::{ClockId, clock_gettime};

use super::metrics::{enter, opts};
use super::names;
use crate::clock::Clock;
use crate::files::OpenFiles;
use crate::status::{Code, LinkState, State, Status};

/// A node at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What every connection publishes.
    pub statuses: Vec<Status>,
    /// The queue before `apps.connections.open`.
    pub opens: Opens,
    /// Does the database take writes?
    pub is_database_up: bool,
    /// Its connections for reading.
    pub pool: Pool,
    /// What envelopes in memory weigh, bytes.
    pub in_memory: usize,
    /// The time, milliseconds since 1970.
    pub now_ms: i64,
}

/// What a handler owes, as last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owes {
    /// Its name.
    pub handler: String,
    /// Deliveries that wait for their turn.
    pub waiting: u64,
    /// Deliveries to be tried again.
    pub retrying: u64,
    /// Deliveries that were given up or expired.
    pub dead: u64,
    /// When the oldest event of those that wait or are to be tried again was received, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
}

/// The queue before `apps.connections.open`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opens {
    /// Who waits for a turn.
    pub waiting: usize,
    /// Who has asked and has no answer.
    pub in_flight: usize,
    /// The share of the set pace in force, at most 1.
    pub pace: f64,
}

impl Default for Opens {
    fn default() -> Self {
        Self { waiting: 0, in_flight: 0, pace: 1.0 }
    }
}

/// Connections to a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Open and in use.
    pub busy: usize,
    /// Open and free.
    pub idle: usize,
    /// So many there may be.
    pub most: usize,
}

/// Warnings of a connection: what is not there is told as zero.
const WARNINGS: [Code; 3] = [Code::ForeignSockets, Code::SlowPong, Code::Quiet];
const LINKS: [(LinkState, &str); 4] = [
    (LinkState::Opening, "opening"),
    (LinkState::Live, "live"),
    (LinkState::Draining, "draining"),
    (LinkState::Closing, "closing"),
];

/// Where they are shown.
pub(super) struct Gauges {
    connections: IntGaugeVec,
    warnings: IntGaugeVec,
    links: IntGaugeVec,
    opens_waiting: IntGauge,
    opens_in_flight: IntGauge,
    opens_pace: Gauge,
    database_up: IntGauge,
    pool: IntGaugeVec,
    pool_max: IntGauge,
    in_memory: IntGauge,
    backlog: IntGaugeVec,
    oldest: GaugeVec,
    dead_letters: IntGaugeVec,
    process: Process,
}

struct Process {
    // Without a value, and so not shown, where the system does not tell.
    open_fds: IntGaugeVec,
    max_fds: IntGaugeVec,
    resident: IntGaugeVec,
    cpu: Counter,
}

impl Gauges {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |metric| enter(registry, IntGauge::with_opts(opts(metric))?);
        let gauges = |metric, labels: &[&str]| enter(registry, IntGaugeVec::new(opts(metric), labels)?);
        let start = enter(registry, Gauge::with_opts(opts(&names::START))?)?;
        let started_ms = u64::try_from(Clock::start().now().wall_ms).unwrap_or_default();
        start.set(Duration::from_millis(started_ms).as_secs_f64());
        Ok(Self {
            connections: gauges(&names::CONNECTIONS, &["state"])?,
            warnings: gauges(&names::WARNINGS, &["code"])?,
            links: gauges(&names::LINKS, &["state"])?,
            opens_waiting: gauge(&names::OPENS_WAITING)?,
            opens_in_flight: gauge(&names::OPENS_IN_FLIGHT)?,
            opens_pace: enter(registry, Gauge::with_opts(opts(&names::OPENS_PACE))?)?,
            database_up: gauge(&names::DATABASE_UP)?,
            pool: gauges(&names::POOL, &["state"])?,
            pool_max: gauge(&names::POOL_MAX)?,
            in_memory: gauge(&names::IN_MEMORY)?,
            backlog: gauges(&names::HANDLER_BACKLOG, &["handler", "status"])?,
            oldest: enter(registry, GaugeVec::new(opts(&names::HANDLER_OLDEST), &["handler"])?)?,
            dead_letters: gauges(&names::HANDLER_DEAD_LETTERS, &["handler"])?,
            process: Process {
                open_fds: gauges(&names::OPEN_FDS, &[])?,
                max_fds: gauges(&names::MAX_FDS, &[])?,
                resident: gauges(&names::RESIDENT, &[])?,
                cpu: enter(registry, Counter::with_opts(opts(&names::CPU))?)?,
            },
        })
    }

    pub(super) fn show(&self, seen: &Snapshot) {
        let statuses = || seen.statuses.iter();
        for state in State::ALL {
            let count = statuses().filter(|status| status.state == *state).count();
            self.connections.with_label_values(&[state.as_str()]).set(whole(count));
        }
        for code in WARNINGS {
            let count = statuses().filter(|status| status.warnings.contains(&code)).count();
            self.warnings.with_label_values(&[code.as_str()]).set(whole(count));
        }
        for (state, name) in LINKS {
            let links = statuses().flat_map(|status| &status.links);
            self.links
                .with_label_values(&[name])
                .set(whole(links.filter(|link| link.state == state).count()));
        }
        self.opens_waiting.set(whole(seen.opens.waiting));
        self.opens_in_flight.set(whole(seen.opens.in_flight));
        self.opens_pace.set(seen.opens.pace);
        self.database_up.set(i64::from(seen.is_database_up));
        self.pool.with_label_values(&["busy"]).set(whole(seen.pool.busy));
        self.pool.with_label_values(&["idle"]).set(whole(seen.pool.idle));
        self.pool_max.set(whole(seen.pool.most));
        self.in_memory.set(whole(seen.in_memory));
        self.process.show();
    }

    /// How old the oldest is tells the time of the reading: while the database is away it goes on ageing.
    pub(super) fn show_owed(&self, owed: &[Owes], now_ms: i64) {
        for Owes { handler, waiting, retrying, dead, oldest_ms } in owed {
            self.backlog.with_label_values(&[handler.as_str(), "waiting"]).set(many(*waiting));
            self.backlog.with_label_values(&[handler.as_str(), "retrying"]).set(many(*retrying));
            self.dead_letters.with_label_values(&[handler.as_str()]).set(many(*dead));
            let age_ms = oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms).max(0));
            let age = Duration::from_millis(age_ms.unsigned_abs());
            self.oldest.with_label_values(&[handler.as_str()]).set(age.as_secs_f64());
        }
    }
}

impl Process {
    fn show(&self) {
        let none: &[&str] = &[];
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is read.
            self.open_fds.with_label_values(none).set(whole(open.count().saturating_sub(1)));
        }
        if let OpenFiles(Some(limit)) = OpenFiles::limit() {
            self.max_fds.with_label_values(none).set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident) {
            self.resident.with_label_values(none).set(bytes);
        }
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = Duration::from_secs(u64::try_from(spent.tv_sec).unwrap_or_default());
        let spent = seconds + Duration::from_nanos(u64::try_from(spent.tv_nsec).unwrap_or_default());
        let spent = spent.as_secs_f64();
        self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
    }
}

/// Of `/proc/self/status`, the line `VmRSS:     1234 kB`, in bytes.
fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn many(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_told_in_bytes() {
        assert_eq!(resident("Name:\ttautline\nVmRSS:\t   12 kB\nThreads:\t3\n"), Some(12 * 1024));
        assert_eq!(resident("Name:\ttautline\n"), None);
    }
}
