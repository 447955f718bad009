//! Thousands of workspaces on one node, one app each: how long until all are ready, what they take, how they come back after a
//! storm, and what a flood of one does to the others.
//!
//! ```text
//! cargo bench --bench fleet                          1 000 and 9 000 workspaces, as Markdown
//! cargo bench --bench fleet -- --workspaces 1000
//! cargo bench --bench fleet -- --tls                 the same over TLS, with a certificate of the tool openssl
//! ```
//!
//! The node runs in a process of its own, stores every event before its ack and opens at its default pace; this process plays
//! Slack and shares the machine with it. Databases lie in the target folder, on a real disk.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unchecked_time_subtraction,
    reason = "a benchmark that cannot do its work ends, it speaks to its user, and its figures are small"
)]

#[path = "../common/budgets.rs"]
mod budgets;
#[expect(dead_code, reason = "the other benchmarks use more of it")]
#[path = "../common/machine.rs"]
mod machine;
mod node;
#[expect(dead_code, reason = "the other benchmarks use more of it")]
#[path = "../common/slack.rs"]
mod slack;
mod tls;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use tautline::clock::Clock;
use tautline::files::OpenFiles;
use tautline::machine::pace::Limits;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::slack::{Served, Slack};

/// Far longer than anything here should take.
const PATIENCE: Duration = Duration::from_mins(5);

/// What the flooder is sent a second.
const FLOOD: u32 = 2000;

#[derive(Parser)]
struct Args {
    /// Only with so many workspaces.
    #[arg(long)]
    workspaces: Option<usize>,
    /// Seconds of load each.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Addresses asked for in a second.
    #[arg(long, default_value_t = Limits::default().per_second)]
    opens_per_second: u32,
    /// Over TLS.
    #[arg(long)]
    tls: bool,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the node: register or run, Slack's address, workspaces, folder.
    #[arg(long, hide = true, num_args = 4)]
    child: Option<Vec<String>>,
}

fn main() {
    let args = Args::parse();
    OpenFiles::raise();
    if let Some(child) = &args.child {
        let [what, slack, workspaces, folder] = child.as_slice() else { return };
        let (workspaces, folder) = (workspaces.parse().unwrap(), Path::new(folder));
        let opens = Limits { per_second: args.opens_per_second, ..Limits::default() };
        return actix_rt::System::new().block_on(async {
            match what.as_str() {
                "register" => node::register(slack, workspaces, folder).await,
                _ => node::run(slack, workspaces, opens, folder).await,
            }
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        println!("{}; {} opens a second\n", machine::describe(), args.opens_per_second);
        let sizes = args.workspaces.map_or_else(|| vec![1000, 9000], |workspaces| vec![workspaces]);
        let mut rows = Vec::new();
        for workspaces in sizes {
            rows.push(measure(&args, workspaces).await);
        }
        print_tables(&rows);
        for row in &rows {
            note_budgets(row, args.tls);
        }
        let folder = folder();
        std::fs::create_dir_all(&folder).unwrap();
        let syncs = machine::syncs(&folder, Clock::start());
        println!(
            "\n4 KiB appended and synced, same disk: p50 {} ms, p99 {} ms",
            ms(&syncs, 0.5),
            ms(&syncs, 0.99)
        );
        drop(std::fs::remove_dir_all(&folder));
    });
}

/// What one size of fleet showed.
struct Row {
    workspaces: usize,
    ready: Duration,
    idle_kib: f64,
    loaded_kib: f64,
    /// Of one core, in percent, at one event a second each.
    cpu: f64,
    alone: Served,
    beside_flood: Served,
    storm: Duration,
    /// How often it was seen not ready outside of the storm.
    lapses: usize,
}

async fn measure(args: &Args, workspaces: usize) -> Row {
    let slack = Slack::listen().await.unwrap();
    let folder = folder();
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    let api = if args.tls {
        let front = tls::front(slack.address(), &folder).await;
        slack.send_links_to(format!("wss://localhost:{}", front.port()));
        format!("https://localhost:{}", front.port())
    } else {
        format!("http://{}", slack.address())
    };
    let api = api.as_str();
    let empty = Node::start(args, api, 0, &folder);
    sleep(Duration::from_secs(1)).await;
    let base = machine::rss(empty.process());
    empty.stop().await;
    let registered = command(args, "register", api, workspaces, &folder).status().await.unwrap();
    assert!(registered.success());
    timeout(PATIENCE, slack.until_open(0)).await.expect("every socket of the first process goes");

    let mut node = Node::start(args, api, workspaces, &folder);
    let started = node.until("start").await;
    let ready = Duration::from_millis(node.until("ready").await.abs_diff(started));
    sleep(Duration::from_secs(2)).await;
    let each = |rss: u64| rss.saturating_sub(base) as f64 / workspaces as f64;
    let idle_kib = each(machine::rss(node.process()));

    let (length, rate) = (Duration::from_secs(args.seconds), u32::try_from(workspaces).unwrap());
    let before = machine::cpu(node.process());
    let mut alone = slack.pace(rate, length).await;
    let cpu = (machine::cpu(node.process()) - before).as_secs_f64() / length.as_secs_f64() * 100.0;
    let loaded_kib = each(machine::rss(node.process()));
    let beside_flood = slack.pace_beside_flood(rate, FLOOD, length).await;
    // Before and after it: on a machine with other things to do one stretch is hardly like the next.
    let after = slack.pace(rate, length).await;
    alone.unacked += after.unacked;
    alone.latencies.extend(after.latencies);
    alone.latencies.sort_unstable();
    sleep(Duration::from_secs(2)).await;
    let lapses = node.unread().await;

    let cut = u64::try_from(Clock::start().now().wall_ms).unwrap();
    slack.cut_all();
    let storm = Duration::from_millis(node.until("ready").await.abs_diff(cut));
    node.stop().await;
    drop(std::fs::remove_dir_all(&folder));
    Row { workspaces, ready, idle_kib, loaded_kib, cpu, alone, beside_flood, storm, lapses }
}

fn print_tables(rows: &[Row]) {
    println!(
        "| workspaces | all ready after | idle, KiB each | under load, KiB each | all dropped: ready again after |"
    );
    println!("|---|---|---|---|---|");
    for row in rows {
        let (ready, storm) = (row.ready.as_secs_f64(), row.storm.as_secs_f64());
        println!(
            "| {} | {ready:.1} s | {:.1} | {:.1} | {storm:.1} s |",
            row.workspaces, row.idle_kib, row.loaded_kib
        );
    }
    println!(
        "\nOne event a second each, stored; and the same beside one workspace more that is sent {FLOOD} a second:\n"
    );
    println!(
        "| workspaces | CPU of one core | ack p50 / p99, ms | beside the flood, ms | p50 ratio | let go, alone / beside it | not ready |"
    );
    println!("|---|---|---|---|---|---|---|");
    for Row { workspaces, cpu, alone, beside_flood, lapses, .. } in rows {
        let [quiet, flooded] = [&alone.latencies, &beside_flood.latencies];
        let ratio = at(flooded, 0.5).as_secs_f64() / at(quiet, 0.5).as_secs_f64();
        println!(
            "| {workspaces} | {cpu:.0} % | {} / {} | {} / {} | {ratio:.2} | {} / {} | {lapses} × |",
            ms(quiet, 0.5),
            ms(quiet, 0.99),
            ms(flooded, 0.5),
            ms(flooded, 0.99),
            alone.unacked,
            beside_flood.unacked,
        );
    }
}

fn note_budgets(row: &Row, tls: bool) {
    let how = if tls { ", TLS" } else { "" };
    let note = |what: &str, budget: f64, here: f64, unit: &str| {
        budgets::at_most(&format!("{what}, {} workspaces{how}", row.workspaces), budget, here, unit);
    };
    let ms = |sorted: &[Duration], part: f64| at(sorted, part).as_secs_f64() * 1e3;
    let [quiet, flooded] = [&row.alone.latencies, &row.beside_flood.latencies];
    note("all ready", 30.0, row.ready.as_secs_f64(), "s");
    note(
        "every socket dropped, ready again",
        if row.workspaces > 1000 { 30.0 } else { 5.0 },
        row.storm.as_secs_f64(),
        "s",
    );
    note("memory of an idle connection", if tls { 24.0 } else { 14.0 }, row.idle_kib, "KiB");
    note("one event a second each: not acked", 0.0, row.alone.unacked as f64, "");
    note("beside a flood: state changes", 0.0, row.lapses as f64, "");
    note("beside a flood: p50, to that without", 1.5, ms(flooded, 0.5) / ms(quiet, 0.5), "×");
    note("beside a flood: p99", 2.0 * ms(quiet, 0.99) + 20.0, ms(flooded, 0.99), "ms");
}

/// The process that is measured.
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn start(args: &Args, slack: &str, workspaces: usize, folder: &Path) -> Self {
        let mut child =
            command(args, "run", slack, workspaces, folder).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn process(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// When it next says this, milliseconds since 1970.
    async fn until(&mut self, wanted: &str) -> u64 {
        let said = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it goes on");
                if let Some((what, at)) = line.split_once(' ')
                    && what == wanted
                {
                    return at.parse().unwrap();
                }
            }
        };
        timeout(PATIENCE, said).await.expect("it comes to be")
    }

    /// How many lines it has said that nobody has read.
    async fn unread(&mut self) -> usize {
        let mut count = 0;
        while let Ok(Ok(Some(_))) = timeout(Duration::from_millis(100), self.lines.next_line()).await {
            count += 1;
        }
        count
    }

    async fn stop(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().await.unwrap();
    }
}

fn command(args: &Args, what: &str, slack: &str, workspaces: usize, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--opens-per-second", &args.opens_per_second.to_string(), "--child", what])
        .args([slack, &workspaces.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-fleet")
}

fn at(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn ms(sorted: &[Duration], part: f64) -> String {
    format!("{:.2}", at(sorted, part).as_secs_f64() * 1e3)
}
