//! One client, from its start to its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::machine;
use crate::slack::{Served, Slack};

/// Connections of a full client.
pub(crate) const MANY: usize = 100;

/// Envelopes in flight on one connection alone, and on each of many.
pub(crate) const WINDOWS: (usize, usize) = (64, 16);

/// Events a second on all of them together, when the load is steady.
pub(crate) const RATE: u32 = 500;

/// So long after the last ack a node has settled everything, which is a part of the work. An SDK has nothing left to do then.
const SETTLED: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_millis(200));

/// An ack that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a client has to open all connections.
const OPENS: Duration = Duration::from_secs(60);

/// How long each load is.
pub(crate) struct Lengths {
    pub(crate) warm_up: Duration,
    pub(crate) load: Duration,
    /// Seconds.
    pub(crate) steady: u64,
}

/// What one load showed.
pub(crate) struct Load {
    /// Acked a second.
    pub(crate) rate: f64,
    /// Microseconds of CPU time an acked event, of the process and all it has started.
    pub(crate) cpu: f64,
    pub(crate) late: u64,
    pub(crate) unacked: u64,
    /// From an envelope's write to its ack's read, sorted; of a steady load.
    pub(crate) latencies: Vec<Duration>,
}

/// What one client showed in one round. Memory in KiB.
pub(crate) struct Figures {
    pub(crate) one: Load,
    pub(crate) many: Load,
    pub(crate) steady: Load,
    pub(crate) empty: u64,
    pub(crate) idle: u64,
    pub(crate) flooded: u64,
    /// Events acked but not handled.
    pub(crate) unhandled: u64,
}

/// Three processes: with one connection, with many, and with none unless the memory of such a one is known from another round.
pub(crate) async fn measure(client: Client, lengths: &Lengths, empty: Option<u64>) -> Figures {
    let mut with_one = Measured::start(client, 1).await;
    with_one.saturate(WINDOWS.0, lengths.warm_up).await;
    let one = with_one.saturate(WINDOWS.0, lengths.load).await;
    let unhandled_of_one = with_one.stop().await;

    let mut with_many = Measured::start(client, MANY).await;
    let idle = with_many.memory();
    with_many.saturate(WINDOWS.1, lengths.warm_up).await;
    let many = with_many.saturate(WINDOWS.1, lengths.load).await;
    let flooded = with_many.memory();
    let steady = with_many.pace(RATE, lengths.steady).await;
    let unhandled = unhandled_of_one + with_many.stop().await;

    let empty = if let Some(empty) = empty {
        empty
    } else {
        let unconnected = Measured::start(client, 0).await;
        let empty = unconnected.memory();
        unconnected.stop().await;
        empty
    };
    Figures { one, many, steady, empty, idle, flooded, unhandled }
}

/// A process that is measured, with the Slack it is connected to.
struct Measured {
    slack: Slack,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    client: Client,
    acked: u64,
    folder: PathBuf,
}

impl Measured {
    async fn start(client: Client, sockets: usize) -> Self {
        let slack = Slack::listen().await.unwrap();
        slack.be_patient(PATIENCE);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-beside");
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = Command::from(client.command(&slack.address().to_string(), sockets, &folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let up = async {
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("up"), "{} starts", client.name());
            slack.until_open(sockets).await;
        };
        let is_up = timeout(OPENS, up).await.is_ok();
        assert!(is_up, "{} opens {sockets} connections within {OPENS:?}", client.name());
        // What a start leaves to do is no part of the load.
        sleep(SETTLED.1 * 3).await;
        Self { slack, child, lines, client, acked: 0, folder }
    }

    fn process(&self) -> u32 {
        self.child.id().expect("it is not waited for before its end")
    }

    fn memory(&self) -> u64 {
        machine::rss_of_all(self.process())
    }

    async fn saturate(&mut self, window: usize, length: Duration) -> Load {
        let before = machine::cpu_of_all(self.process());
        let served = self.slack.saturate(window, length).await;
        self.seen(before, served).await
    }

    async fn pace(&mut self, rate: u32, seconds: u64) -> Load {
        let before = machine::cpu_of_all(self.process());
        let served = self.slack.pace(rate, Duration::from_secs(seconds)).await;
        self.seen(before, served).await
    }

    async fn seen(&mut self, before: Duration, served: Served) -> Load {
        sleep(if self.client.is_node() { SETTLED.0 } else { SETTLED.1 }).await;
        let cpu = machine::cpu_of_all(self.process()) - before;
        self.acked += served.acked;
        Load {
            rate: served.acked as f64 / served.took.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / served.acked as f64,
            late: served.late,
            unacked: served.unacked as u64,
            latencies: served.latencies,
        }
    }

    /// Ends it. How many events it has acked and not handled.
    async fn stop(mut self) -> u64 {
        drop(self.child.stdin.take());
        let said = self.lines.next_line().await.unwrap();
        let handled: u64 = said.expect("at its end it says how many events it has handled").parse().unwrap();
        self.child.wait().await.unwrap();
        drop(std::fs::remove_dir_all(&self.folder));
        if self.client.is_node() {
            assert_eq!(handled, self.acked, "{}: acked and handled differ", self.client.name());
        }
        self.acked.abs_diff(handled)
    }
}
