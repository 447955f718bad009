//! A handler that is down for an hour while events come: what it owes waits on disk, others notice nothing, and when it is up again all
//! of it is handled, once and in its order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use tautline::config::Ack;
use tautline::handlers::{Delivery, Handler, Options as Limits, Order, Outcome, Registry, Retry};
use tautline::ids::{Seq, WorkspaceId};
use tautline::simulator::Load;

use super::clocks::settled;
use super::harness::{Node, Seen, Stage, eventually};

/// Events of each customer.
const EACH: usize = 1_000;

/// Longer than any wait of the handlers here, and than any of them holds up others.
const STEP: Duration = Duration::from_mins(5);

#[actix::test]
async fn a_handler_that_is_down_for_an_hour_gets_all_of_it_in_order_when_it_is_up() {
    let stage = Stage::new();
    let well = Seen::default();
    let [kept, passing, loose] = [0; 3].map(|_| Down::default());
    let mut handlers = Registry::default();
    well.register(&mut handlers, "well", Limits::default());
    kept.register(&mut handlers, "kept", Limits { order: Order::Workspace, hold: None, ..limits() });
    passing.register(&mut handlers, "passing", Limits { order: Order::Workspace, ..limits() });
    loose.register(&mut handlers, "loose", limits());
    let node = stage.bare_node(Ack::Stored, handlers).await;
    let customers = ["acme", "globex", "initech", "umbrella"].map(|name| stage.customer(name));
    let all = customers.len() * EACH;
    node.welcome(&customers.each_ref()).await;
    for customer in &customers {
        let burst = Load { window: Some(64), count: Some(EACH as u64), ..Load::default() };
        stage.slack.load(&customer.app_id, burst).unwrap();
    }
    for customer in &customers {
        stage.until_acked(customer, EACH as u64).await;
    }
    // Whoever is well has it all, and what the others owe is written down.
    well.until_count(all).await;
    let last = well.events().iter().map(|event| event.seq).max().unwrap();
    eventually("the mark moves past it", async || (settled(&node).await >= last.0).then_some(())).await;

    for _ in 0..12 {
        let before = [&kept, &passing, &loose].map(Down::failed);
        stage.time.pass(STEP);
        eventually("all that waited has been tried again", async || {
            // What was being tried as the time passed waits from then on.
            stage.time.pass(Duration::from_secs(1));
            let tries = [kept.failed() - before[0], passing.failed() - before[1], loose.failed() - before[2]];
            (tries[0] >= customers.len() && tries[1] >= 2 * customers.len() && tries[2] >= all).then_some(())
        })
        .await;
    }
    for handler in [&kept, &passing, &loose] {
        assert!(handler.done().is_empty());
        handler.up.store(true, Ordering::SeqCst);
    }
    stage.time.pass(STEP);
    for handler in [&kept, &passing, &loose] {
        handler.until_done(&stage, all).await;
        handler.assert_each_once(all);
    }
    assert_in_order(&kept.done(), "held for as long as it takes, nothing passes what has failed");
    let untried: Vec<_> = passing.done().into_iter().filter(|done| done.attempt == 1).collect();
    assert!(untried.len() > all / 2, "most of it has waited behind what failed: {}", untried.len());
    assert_in_order(&untried, "what never failed comes in order");
    let nothing_owed = async || (owed(&node).await == 0).then_some(());
    eventually("nothing is owed", nothing_owed).await;
    let times = well.times();
    assert!(times.len() == all && times.values().all(|times| *times == 1), "who is well has each once");
    node.stop().await;
}

fn limits() -> Limits {
    let retry = Retry { first: Duration::from_secs(1), most: Duration::from_mins(2), attempts: u32::MAX };
    Limits { retry, ..Limits::default() }
}

/// Deliveries that are not over.
async fn owed(node: &Node) -> i64 {
    let mut db = node.reader().await;
    let owed = sqlx::query_scalar("select count(*) from deliveries where status in ('waiting', 'retrying')");
    let owed = owed.fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    owed
}

fn assert_in_order(done: &[Done], why: &str) {
    let mut last = BTreeMap::new();
    for Done { workspace, seq, .. } in done {
        let before = last.insert(*workspace, *seq);
        assert!(before.is_none_or(|before| before < *seq), "{why}: {seq:?} came behind {before:?}");
    }
}

#[derive(Clone, Copy, Debug)]
struct Done {
    workspace: Option<WorkspaceId>,
    seq: Seq,
    attempt: u32,
}

/// A handler that fails on everything until it is up.
#[derive(Clone, Default)]
struct Down {
    up: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    done: Arc<Mutex<Vec<Done>>>,
}

impl Down {
    fn register(&self, handlers: &mut Registry, name: &str, limits: Limits) {
        let plugin = self.clone();
        handlers.register(name, limits, move |_| plugin.clone()).unwrap();
    }

    fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    fn done(&self) -> Vec<Done> {
        self.done.lock().unwrap().clone()
    }

    async fn until_done(&self, stage: &Stage, all: usize) {
        eventually("all of it is handled", async || {
            stage.time.pass(Duration::from_secs(1));
            (self.done.lock().unwrap().len() >= all).then_some(())
        })
        .await;
    }

    fn assert_each_once(&self, all: usize) {
        let mut seqs: Vec<_> = self.done().iter().map(|done| done.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!((seqs.len(), self.done().len()), (all, all), "each is handled once");
    }
}

#[async_trait(?Send)]
impl Handler for Down {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        if !self.up.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Outcome::Retry { after: None };
        }
        let Delivery { event, attempt, .. } = delivery;
        self.done.lock().unwrap().push(Done { workspace: event.workspace, seq: event.seq, attempt });
        Outcome::Done
    }
}
