//! How fast what is owed is handled, and in how much memory: a handler that was down, with everything of some days behind it.
//!
//! ```console
//! cargo bench --bench backlog -- --events 1000000
//! ```
//!
//! With `--down` it is the other way round: everything comes while handlers fail, for an hour of a clock that is moved, and then is
//! handled; what must be so is checked.
//!
//! Beside Postgres too where `scripts/with-postgres --durable` runs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unchecked_time_subtraction,
    reason = "a benchmark may panic and prints its results"
)]

mod down;
#[path = "../common/machine.rs"]
#[expect(dead_code, reason = "the other benchmarks use more of it")]
mod machine;

use std::path::Path;
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use sqlx::{Connection as _, PgConnection};
use tautline::admin::AdminToken;
use tautline::app::{App, Options};
use tautline::clock::Clock;
use tautline::config::{Ack, KeySource};
use tautline::event::{DedupeKey, Event, Kind};
use tautline::handlers::{self, Delivery, Handler, Order, Outcome, Registry};
use tautline::ids::{AppId, Seq, WorkspaceId};
use tautline::machine::pace::Limits;
use tautline::machine::seq::SeqMaker;
use tautline::store::{
    self, DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Keep, Lane, OpenOptions, Store,
    generate_key_text,
};
use tautline::telemetry::Metrics;
use tokio::time::{interval, sleep};

/// Events of so many workspaces.
const WORKSPACES: i64 = 10;

/// Events written at once.
const GROUP: usize = 500;

#[derive(Parser)]
struct Args {
    /// How many events are owed.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Handlers that are down for an hour with all of it behind them.
    #[arg(long)]
    down: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    println!("{}\n", machine::describe());
    if args.down {
        return an_hour(args.events);
    }
    println!("{} events of {WORKSPACES} workspaces, owed to a handler that does nothing:\n", args.events);
    println!(
        "| store | order | events a second | CPU an event | memory before, most |\n|---|---|---|---|---|"
    );
    for order in [Order::None, Order::Workspace] {
        on_each(&async |name, address, key| drain(name, address, key, order, args.events).await);
    }
}

/// Runs it on each database there is.
fn on_each(run: &impl AsyncFn(&str, &str, KeySource)) {
    actix_rt::System::new().block_on(async {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-backlog");
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        let file = format!("sqlite://{}", folder.join("node.db").display());
        run("SQLite", &file, KeySource::Beside).await;
        drop(std::fs::remove_dir_all(&folder));
        if let Ok(server) = std::env::var("TAUTLINE_TEST_POSTGRES") {
            let address = fresh(&server).await;
            run("Postgres", &address, KeySource::Text(generate_key_text())).await;
        }
    });
}

fn an_hour(events: u64) {
    println!(
        "{events} events of {WORKSPACES} workspaces come while three handlers fail (in an order whatever comes; in one for as long as the \
         hold; in none), for an hour; then they are up:\n"
    );
    println!(
        "| store | taken in | tries in an hour | all handled after | memory before, most |\n|---|---|---|---|---|"
    );
    on_each(&async |name, address, key| down::run(name, address, key, events).await);
}

async fn fresh(server: &str) -> String {
    let mut db = PgConnection::connect(server).await.unwrap();
    for sql in ["drop database if exists tautline_backlog with (force)", "create database tautline_backlog"] {
        sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
    }
    let (address, _) = server.rsplit_once('/').expect("an address ends in a database");
    format!("{address}/tautline_backlog")
}

async fn drain(name: &str, database: &str, key: KeySource, order: Order, events: u64) {
    let options = OpenOptions { address: database.to_owned(), key: key.clone(), max_pages: None };
    let store = store::open(options).await.unwrap().store;
    stage(&*store, order, events).await;
    store.close().await;
    drop(store);

    let handled = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&handled);
    let mut handlers = Registry::default();
    let limits = handlers::Options { order, ..handlers::Options::default() };
    handlers.register("nothing", limits, move |_| Nothing(Arc::clone(&counted))).unwrap();
    let clock = Clock::start();
    let (before, base, began) = (machine::cpu(id()), machine::rss(id()), clock.mono());
    let app = App::start(options_of(database, key, handlers)).await.unwrap();
    let mut most = base;
    let mut look = interval(Duration::from_millis(20));
    while handled.load(Ordering::Relaxed) < events {
        look.tick().await;
        most = most.max(machine::rss(id()));
    }
    let (took, cpu) = (clock.mono() - began, machine::cpu(id()) - before);
    println!(
        "| {name} | {order:?} | {:.0} | {:.1} µs | {} MiB, {} MiB |",
        events as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / events as f64,
        base / 1024,
        most / 1024,
    );
    sleep(Duration::from_millis(100)).await;
    let report = app.stop().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(handled.load(Ordering::Relaxed), events, "each of them once");
}

/// Writes the events, and that they are owed.
async fn stage(store: &dyn Store, order: Order, events: u64) {
    let clock = Clock::start();
    let now_ms = clock.now().wall_ms;
    let writer = store.begin_writer("bench", now_ms).await.unwrap();
    let handler = store.declare_handlers(&["nothing"], now_ms).await.unwrap()[0].id;
    let mut seqs = SeqMaker::new(writer.number, writer.last);
    let mut last = writer.last;
    let mut left = events;
    while left > 0 {
        let size = left.min(GROUP as u64);
        let group: Vec<_> = (0..size).map(|_| Arc::new(event(seqs.next(now_ms), now_ms))).collect();
        store.append(writer.id, &group, last).await.unwrap();
        let key = (order == Order::Workspace).then_some(0);
        let owed: Vec<_> = group
            .iter()
            .map(|event| {
                DeliveryChange::Owed(DeliveryRow {
                    id: DeliveryId { seq: event.seq, handler, run: 1 },
                    lane: Lane::of(event),
                    status: DeliveryStatus::Waiting,
                    attempts: 0,
                    next_ms: now_ms,
                    order_key: key,
                    hold_until_ms: None,
                    last_error: None,
                    created_ms: now_ms,
                    updated_ms: now_ms,
                })
            })
            .collect();
        store.write_deliveries(writer.id, &owed, now_ms).await.unwrap();
        last = group.last().unwrap().seq;
        left -= size;
    }
    store.end_writer(writer.id, last, now_ms).await.unwrap();
}

fn event(seq: Seq, now_ms: i64) -> Event {
    Event {
        seq,
        app: AppId(1),
        workspace: Some(WorkspaceId(seq.0 % WORKSPACES + 1)),
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: format!("Ev{:09X}", seq.0).into(),
        dedupe: DedupeKey(rand::random()),
        retry: 0,
        received_ms: now_ms,
        payload: "x".repeat(1_400).into(),
    }
}

fn options_of(database: &str, key: KeySource, handlers: Registry) -> Options {
    Options {
        database: database.to_owned(),
        key,
        max_pages: None,
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        admin_token: AdminToken::new("bench"),
        slack_api: "http://127.0.0.1:9/api/".parse().unwrap(),
        extra_ca_file: None,
        ack: Ack::Stored,
        handlers,
        routes: Vec::new(),
        links: 1,
        opens: Limits { per_second: 10, at_once: 1 },
        threads: 1,
        workspace: None,
        keep: Keep::default(),
        webhooks_allow_private: true,
        metrics: Arc::new(Metrics::new().unwrap()),
    }
}

struct Nothing(Arc<AtomicU64>);

#[async_trait(?Send)]
impl Handler for Nothing {
    async fn handle(&self, _: Delivery) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::Done
    }
}
