//! A handler that is down for an hour with everything behind it, and then is up: by the clock, an hour in twelve steps. What must be so is
//! checked, and a law that is broken ends the run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tautline::app::App;
use tautline::clock::{Clock, Skew};
use tautline::config::KeySource;
use tautline::handlers::{Delivery, Handler, Options, Order, Outcome, Registry, Retry};
use tautline::ids::{Seq, WorkspaceId};
use tautline::machine::seq::SeqMaker;
use tautline::store::{self, OpenOptions, Store};
use tokio::time::{interval, timeout};

use super::{GROUP, WORKSPACES, event, machine, options_of};

/// Events in memory at most.
const IN_MEMORY: i64 = 4_096;

/// Longer than any wait of the handlers here, and than any of them holds up others.
const STEP: Duration = Duration::from_mins(5);

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_mins(10);

/// One row of the table.
pub(super) async fn run(name: &str, database: &str, key: KeySource, events: u64) {
    let opened = store::open(OpenOptions { address: database.to_owned(), key: key.clone(), max_pages: None });
    let store = opened.await.unwrap().store;
    stage(&*store, events).await;
    store.close().await;
    drop(store);

    let [well, kept, passing, loose] = [0; 4].map(|_| Down::default());
    well.up.store(true, Ordering::Relaxed);
    let mut handlers = Registry::default();
    let retry = Retry { first: Duration::from_secs(1), most: Duration::from_mins(2), attempts: u32::MAX };
    let none = Options { retry, ..Options::default() };
    well.register(&mut handlers, "well", Options::default());
    kept.register(&mut handlers, "kept", Options { order: Order::Workspace, hold: None, ..none });
    passing.register(&mut handlers, "passing", Options { order: Order::Workspace, ..none });
    loose.register(&mut handlers, "loose", none);
    let (time, real) = (Skew::new(), Clock::start());
    let options = options_of(database, key, handlers);
    let mut watch = Watch { metrics: Arc::clone(&options.metrics), most: 0, goes_on: None };
    let base = machine::rss(std::process::id());
    let app = App::start_by(Clock::steered(time), options).await.unwrap();

    watch.until("a handler that is well has it all", || well.done() >= events).await;
    let metrics = Arc::clone(&watch.metrics);
    watch
        .until("it is written down what the others owe", || {
            loose.failed() >= events && metrics.events_waiting.get() == 0
        })
        .await;
    let taken_in = real.mono();
    let workspaces = u64::try_from(WORKSPACES).unwrap();
    watch.goes_on = Some(time);
    for _ in 0..12 {
        let [kept_before, passing_before, loose_before] = [&kept, &passing, &loose].map(Down::failed);
        time.pass(STEP);
        watch
            .until("all that is due is tried again", || {
                kept.failed() >= kept_before + workspaces
                    && passing.failed() >= passing_before + 2 * workspaces
                    && loose.failed() >= loose_before + events
            })
            .await;
    }
    let hour = real.mono();
    for handler in [&kept, &passing, &loose] {
        assert_eq!(handler.done(), 0);
        handler.up.store(true, Ordering::Relaxed);
    }
    time.pass(STEP);
    let mut drained = Vec::new();
    for handler in [&kept, &passing, &loose] {
        watch.until("all of it is handled", || handler.done() >= events).await;
        drained.push(real.mono().saturating_sub(hour).as_secs_f64());
    }
    let report = app.stop().await;
    assert!(report.is_complete(), "{report:?}");
    for handler in [&well, &kept, &passing, &loose] {
        handler.assert_each_once(events);
    }
    kept.assert_in_order(|_| true);
    passing.assert_in_order(|attempt| attempt == 1);
    println!(
        "| {name} | {:.0} s | {} in {:.0} s | {:.1} s, {:.1} s, {:.1} s | {} MiB, {} MiB |",
        taken_in.as_secs_f64(),
        kept.failed() + passing.failed() + loose.failed(),
        hour.saturating_sub(taken_in).as_secs_f64(),
        drained[0],
        drained[1],
        drained[2],
        base / 1024,
        watch.most / 1024,
    );
}

/// Waits, and minds the memory meanwhile.
struct Watch {
    metrics: Arc<tautline::telemetry::Metrics>,
    most: u64,
    /// The time goes on meanwhile, by so many seconds as looks: what was being tried as it was moved waits from then on.
    goes_on: Option<&'static Skew>,
}

impl Watch {
    async fn until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let mut look = interval(Duration::from_millis(20));
        let waited = timeout(PATIENCE, async {
            while !is_so() {
                look.tick().await;
                if let Some(time) = self.goes_on {
                    time.pass(Duration::from_secs(1));
                }
                self.most = self.most.max(machine::rss(std::process::id()));
                let waiting = self.metrics.events_waiting.get();
                assert!(waiting <= IN_MEMORY, "{waiting} events are in memory");
            }
        });
        assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
    }
}

/// Writes the events, of which nobody has handled any.
async fn stage(store: &dyn Store, events: u64) {
    let now_ms = Clock::start().now().wall_ms;
    let writer = store.begin_writer("bench", now_ms).await.unwrap();
    let mut seqs = SeqMaker::new(writer.number, writer.last);
    let mut left = events;
    while left > 0 {
        let size = left.min(GROUP as u64);
        let group: Vec<_> = (0..size).map(|_| Arc::new(event(seqs.next(now_ms), now_ms))).collect();
        store.append(writer.id, &group, writer.settled_to).await.unwrap();
        left -= size;
    }
}

/// Whose event was handled, which, and at which try.
type Handled = (Option<WorkspaceId>, Seq, u32);

/// A handler that fails on everything until it is up.
#[derive(Clone, Default)]
struct Down {
    up: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    handled: Arc<Mutex<Vec<Handled>>>,
}

impl Down {
    fn register(&self, handlers: &mut Registry, name: &str, options: Options) {
        let plugin = self.clone();
        handlers.register(name, options, move |_| plugin.clone()).unwrap();
    }

    fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn done(&self) -> u64 {
        self.handled.lock().unwrap().len() as u64
    }

    fn assert_each_once(&self, events: u64) {
        let handled = self.handled.lock().unwrap();
        let mut seqs: Vec<_> = handled.iter().map(|(_, seq, _)| *seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!((seqs.len() as u64, handled.len() as u64), (events, events), "each is handled once");
    }

    /// Those of these attempts came in the order of their workspaces.
    fn assert_in_order(&self, is_meant: impl Fn(u32) -> bool) {
        let mut last = HashMap::new();
        for (workspace, seq, _) in
            self.handled.lock().unwrap().iter().filter(|(.., attempt)| is_meant(*attempt))
        {
            let before = last.insert(*workspace, *seq);
            assert!(before.is_none_or(|before| before < *seq), "{seq:?} came behind {before:?}");
        }
    }
}

#[async_trait(?Send)]
impl Handler for Down {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        if !self.up.load(Ordering::Relaxed) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Outcome::Retry { after: None };
        }
        let Delivery { event, attempt, .. } = delivery;
        self.handled.lock().unwrap().push((event.workspace, event.seq, attempt));
        Outcome::Done
    }
}
