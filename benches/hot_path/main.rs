//! What an event, a connection and an ack cost, as ratios in one run on one machine against a bare tokio-tungstenite loop.
//!
//! ```text
//! cargo bench --bench hot_path -- --table                  everything, as Markdown
//! cargo bench --bench hot_path -- --only stored --sockets 100 --seconds 10
//! scripts/with-postgres --durable cargo bench --bench hot_path -- --table    with Postgres beside SQLite
//! ```
//!
//! What is measured runs in a process of its own; this one plays Slack, so that the load's CPU time is nobody's. CPU time counts from
//! the first envelope until the last event is handled and settled, idle second included. Databases lie in the target folder, on
//! a real disk.

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
mod floor;
#[expect(dead_code, reason = "the other benchmarks use more of it")]
#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/node.rs"]
mod node;
#[expect(dead_code, reason = "the other benchmarks use more of it")]
#[path = "../common/slack.rs"]
mod slack;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use tautline::clock::Clock;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::node::Variant;
use crate::slack::{Served, Slack};

/// Envelopes in flight on a saturated socket, and on all of them together: above it a node lets envelopes go.
const WINDOW: usize = 64;
const IN_FLIGHT: usize = 16_384;

/// So long after the last ack everything is handled and settled.
const SETTLED: Duration = Duration::from_millis(1500);

#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "one a flag")]
struct Args {
    /// Print Markdown.
    #[arg(long)]
    table: bool,
    /// Measure only this one: loop, batched, unkept, received, stored, postgres.
    #[arg(long, value_parser = |name: &str| Variant::parse(name).ok_or("no such variant"))]
    only: Option<Variant>,
    /// Only with so many sockets.
    #[arg(long)]
    sockets: Option<usize>,
    /// How often everything is measured; the medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load each.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Without saturation: steady load, memory and latency.
    #[arg(long)]
    steady: bool,
    /// Only memory.
    #[arg(long)]
    memory: bool,
    /// Only what the store alone takes.
    #[arg(long)]
    floor: bool,
    /// CPU only, without memory and latency.
    #[arg(long)]
    cpu: bool,
    /// Run what is measured under this, `valgrind --tool=callgrind` or `perf record -g`: figures then mean nothing.
    #[arg(long)]
    under: Option<String>,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be what is measured: variant, Slack's address, sockets, folder.
    #[arg(long, hide = true, num_args = 4)]
    child: Option<Vec<String>>,
}

fn main() {
    let args = Args::parse();
    if let Some(child) = &args.child {
        let [variant, slack, sockets, folder] = child.as_slice() else { return };
        let variant = Variant::parse(variant).unwrap();
        return node::run(variant, slack, sockets.parse().unwrap(), Path::new(folder));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        println!("{}\n", machine::describe());
        if args.floor || !(args.memory || args.cpu || args.steady) {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-floor");
            floor::table(&floor::address(&folder), Duration::from_secs(args.seconds)).await;
            drop(std::fs::remove_dir_all(&folder));
        }
        if args.floor {
            return;
        }
        if !args.memory {
            cpu_tables(&args).await;
        }
        if !args.cpu {
            memory_table(&args).await;
        }
        if !args.cpu && !args.memory {
            latency_table(&args).await;
        }
    });
}

/// A process that is measured, with the Slack it is connected to.
struct Measured {
    slack: Slack,
    child: Child,
    variant: Variant,
    folder: PathBuf,
}

impl Measured {
    async fn start(args: &Args, variant: Variant, sockets: usize) -> Self {
        let slack = Slack::listen().await.unwrap();
        if args.under.is_some() {
            slack.be_patient(Duration::from_secs(120));
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", variant.name()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        let program = std::env::current_exe().unwrap();
        let command = args.under.iter().flat_map(|under| under.split_whitespace()).map(OsStr::new);
        let command = command.chain([program.as_os_str()]).collect::<Vec<_>>();
        let child = Command::new(command[0])
            .args(&command[1..])
            .args(["--child", variant.name(), &slack.address().to_string(), &sockets.to_string()])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        timeout(Duration::from_secs(if args.under.is_some() { 600 } else { 60 }), slack.until_open(sockets))
            .await
            .expect("every socket opens in its time");
        sleep(SETTLED).await;
        Self { slack, child, variant, folder }
    }

    fn process(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Microseconds of CPU time an acked event.
    async fn load(&self, load: Load, seconds: u64) -> (f64, Served) {
        let before = machine::cpu(self.process());
        let length = Duration::from_secs(seconds);
        let served = match load {
            Load::Window(window) => self.slack.saturate(window, length).await,
            Load::Rate(rate) => self.slack.pace(rate, length).await,
        };
        sleep(SETTLED).await;
        let cpu = machine::cpu(self.process()) - before;
        (cpu.as_secs_f64() * 1e6 / served.acked as f64, served)
    }

    /// Ends it; `acked` envelopes must have been handled, not one more or less.
    async fn stop(mut self, acked: u64) {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
        let handled: u64 = said.lines().last().unwrap().parse().unwrap();
        assert_eq!(handled, acked, "{}: acked and handled differ", self.variant.name());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// How a node is loaded.
#[derive(Clone, Copy)]
enum Load {
    /// So many envelopes in flight on every socket.
    Window(usize),
    /// So many a second, over all sockets.
    Rate(u32),
}

/// What acks at once has no saturation on a window: it lets go what its disk does not keep up with.
const SATURATED: &[Variant] =
    &[Variant::Loop, Variant::Batched, Variant::Unkept, Variant::Stored, Variant::Postgres];

async fn cpu_tables(args: &Args) {
    println!("CPU time an event, and as a ratio to the loop's (median of {} rounds).\n", args.rounds);
    let all = if args.steady { Vec::new() } else { vec![1, 100, 1000] };
    for sockets in args.sockets.map_or(all, |sockets| vec![sockets]) {
        let full = WINDOW.min(IN_FLIGHT / sockets);
        println!("{sockets} sockets, {full} in flight on each, and one:\n");
        cpu_table(args, sockets, SATURATED, &[Load::Window(full), Load::Window(1)]).await;
    }
    if args.sockets.is_none() {
        println!("100 sockets, 2 000 events/s together:\n");
        cpu_table(args, 100, &Variant::ALL, &[Load::Rate(2000)]).await;
    }
}

async fn cpu_table(args: &Args, sockets: usize, variants: &[Variant], loads: &[Load]) {
    let of_interest =
        |variant: &&Variant| variant.is_there() && args.only.is_none_or(|only| only == **variant);
    let variants: Vec<_> = variants.iter().filter(of_interest).collect();
    let names: Vec<_> = variants.iter().map(|variant| variant.name()).collect();
    // By round, load, variant.
    let mut rounds = vec![vec![Vec::new(); loads.len()]; args.rounds];
    let mut let_go = vec![0; loads.len()];
    for costs in &mut rounds {
        for variant in &variants {
            let measured = Measured::start(args, **variant, sockets).await;
            let mut acked = 0;
            for (at, load) in loads.iter().enumerate() {
                let (cost, served) = measured.load(*load, args.seconds).await;
                acked += served.acked;
                let_go[at] += served.unacked;
                costs[at].push(cost);
                if !args.table {
                    let rate = served.acked / args.seconds;
                    println!(
                        "{} {sockets}: {cost:.2} µs, {rate}/s, {} let go",
                        variant.name(),
                        served.unacked
                    );
                }
            }
            measured.stop(acked).await;
        }
    }
    println!("| | {} | let go |\n|---|{}---|", names.join(" | "), "---|".repeat(names.len()));
    for (at, load) in loads.iter().enumerate() {
        let name = match load {
            Load::Window(window) => format!("{window} in flight"),
            Load::Rate(rate) => format!("{rate}/s"),
        };
        let cells = variants.iter().enumerate().map(|(place, variant)| {
            let cost = median(rounds.iter().map(|costs| costs[at][place]));
            let ratio = median(rounds.iter().map(|costs| costs[at][place] / costs[at][0]));
            if let Some(budget) = budget(**variant, *load) {
                let what = format!("CPU an event, {}, {sockets} sockets, {name}", variant.name());
                budgets::at_most(&what, budget, ratio, "×");
            }
            format!("{cost:.1} µs ({ratio:.2} ×)")
        });
        println!("| {name} | {} | {} |", cells.collect::<Vec<_>>().join(" | "), let_go[at]);
    }
    println!();
}

/// What it may cost, to the loop.
const fn budget(variant: Variant, load: Load) -> Option<f64> {
    match (variant, load) {
        (Variant::Unkept, Load::Window(1)) => Some(1.5),
        (Variant::Unkept, Load::Window(_)) => Some(1.0),
        // With one in flight it is the disk that counts.
        (Variant::Stored | Variant::Postgres, Load::Window(1)) => None,
        (Variant::Stored, Load::Window(_)) => Some(4.0),
        (Variant::Postgres, Load::Window(_)) => Some(2.0),
        (Variant::Loop | Variant::Batched | Variant::Received, _) | (_, Load::Rate(_)) => None,
    }
}

async fn memory_table(args: &Args) {
    const SOCKETS: usize = 1000;
    println!("\nResident memory, KiB a connection, of {SOCKETS}:\n");
    println!("| | process without connections | idle | after a flood |\n|---|---|---|---|");
    let of_interest = |variant: &Variant| variant.is_there() && args.only.is_none_or(|only| only == *variant);
    for variant in Variant::ALL.into_iter().filter(of_interest) {
        let empty = Measured::start(args, variant, 0).await;
        let base = machine::rss(empty.process());
        empty.stop(0).await;
        let measured = Measured::start(args, variant, SOCKETS).await;
        let each = |rss: u64| rss.saturating_sub(base) as f64 / SOCKETS as f64;
        let idle = each(machine::rss(measured.process()));
        let (_, served) = measured.load(Load::Window(IN_FLIGHT / SOCKETS), 4).await;
        let flooded = each(machine::rss(measured.process()));
        measured.stop(served.acked).await;
        println!("| {} | {base} | {idle:.1} | {flooded:.1} |", variant.name());
        if !matches!(variant, Variant::Loop | Variant::Batched) {
            budgets::at_most(&format!("memory of an idle connection, {}", variant.name()), 14.0, idle, "KiB");
            budgets::at_most(
                &format!("memory of a connection after a flood, {}", variant.name()),
                64.0,
                flooded,
                "KiB",
            );
        }
    }
}

async fn latency_table(args: &Args) {
    println!("\nFrom an envelope's write to its ack's read, 500 events/s on 100 sockets:\n");
    println!("| | p50 ms | p99 ms | max ms |\n|---|---|---|---|");
    let at = |sorted: &[Duration], part: f64| {
        sorted[((sorted.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
    };
    let show = |name: &str, sorted: &[Duration]| {
        println!("| {name} | {:.2} | {:.2} | {:.2} |", at(sorted, 0.5), at(sorted, 0.99), at(sorted, 1.0));
    };
    let syncs = machine::syncs(Path::new(env!("CARGO_TARGET_TMPDIR")), Clock::start());
    let variants = [Variant::Loop, Variant::Unkept, Variant::Received, Variant::Stored, Variant::Postgres];
    for variant in variants.into_iter().filter(|variant| variant.is_there()) {
        let measured = Measured::start(args, variant, 100).await;
        let served = measured.slack.pace(500, Duration::from_secs(args.seconds * 4)).await;
        sleep(SETTLED).await;
        show(variant.name(), &served.latencies);
        let (p50, p99) = (at(&served.latencies, 0.5), at(&served.latencies, 0.99));
        match variant {
            Variant::Unkept => budgets::at_most("ack latency, unkept, p50", 0.2, p50, "ms"),
            Variant::Stored | Variant::Postgres => {
                budgets::at_most(&format!("ack latency, {}, p50", variant.name()), 1.0, p50, "ms");
                let most = 20.0 + at(&syncs, 0.99);
                budgets::at_most(&format!("ack latency, {}, p99", variant.name()), most, p99, "ms");
            }
            Variant::Loop | Variant::Batched | Variant::Received => {}
        }
        measured.stop(served.acked).await;
    }
    show("4 KiB appended and synced, same disk", &syncs);
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
