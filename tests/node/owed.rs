//! What handlers owe: failures, order, fair turns and restarts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use sqlx::Connection as _;
use tautline::config::Ack;
use tautline::handlers::{Delivery, Handler, Options as Limits, Order, Outcome, Registry, Retry};
use tautline::simulator::{Load, Outgoing};
use tokio::sync::Semaphore;

use super::harness::{Customer, Node, Seen, Stage, eventually};

#[actix::test]
async fn a_delivery_that_fails_is_tried_again_until_it_is_done() {
    let stage = Stage::new();
    let moody = Moody::failing([("Ev2", 2)]);
    let node = moody.node(&stage, limits(Order::None)).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for number in 1..=3 {
        send(&stage, &acme, number, "C1");
    }
    moody.seen.until("Ev2").await;
    assert_eq!(moody.tries(), [("Ev1", 1), ("Ev2", 3), ("Ev3", 1)].map(|(id, tries)| (id.to_owned(), tries)));
    let rows = until_rows(&node, &[("done", 3)]).await;
    assert_eq!(rows.len(), 1, "what went well at once has no row");
    node.stop().await;
}

#[actix::test]
async fn what_fails_too_often_is_given_up_and_stays_to_be_seen() {
    let stage = Stage::new();
    let moody = Moody::failing([("Ev1", 99)]);
    let twice = Limits { retry: Retry { attempts: 2, ..fast() }, ..limits(Order::None) };
    let node = moody.node(&stage, twice).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    send(&stage, &acme, 1, "C1");
    until_rows(&node, &[("dead", 2)]).await;
    let figures = node.get("/metrics").await.text;
    assert!(figures.contains("tautline_handler_dead_total{handler=\"moody\"} 1"), "{figures}");
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn behind_one_that_fails_its_conversation_waits_and_others_go_on() {
    let stage = Stage::new();
    let moody = Moody::failing([("Ev1", 2)]);
    let node = moody.node(&stage, limits(Order::Conversation)).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for (number, channel) in [(1, "C1"), (2, "C1"), (3, "C2"), (4, "C1"), (5, "C2")] {
        send(&stage, &acme, number, channel);
    }
    moody.seen.until_count(5).await;
    let order = moody.order();
    let place = |id: &str| order.iter().position(|one| one == id).unwrap();
    assert_eq!(
        order.iter().filter(|id| ["Ev1", "Ev2", "Ev4"].contains(&id.as_str())).collect::<Vec<_>>(),
        ["Ev1", "Ev2", "Ev4"]
    );
    assert!(place("Ev3") < place("Ev5") && place("Ev5") < place("Ev1"), "{order:?}");
    node.stop().await;
}

#[actix::test]
async fn what_has_held_up_its_order_for_long_enough_is_passed() {
    let stage = Stage::new();
    let moody = Moody::failing([("Ev1", 99)]);
    let hold = Some(Duration::from_secs(1));
    let node = moody.node(&stage, Limits { hold, ..limits(Order::Workspace) }).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for number in 1..=4 {
        send(&stage, &acme, number, "C1");
    }
    moody.seen.until_count(3).await;
    assert_eq!(moody.order(), ["Ev2", "Ev3", "Ev4"]);
    node.stop().await;
}

#[actix::test]
async fn a_restart_keeps_what_failed_before_what_waits_for_it() {
    let stage = Stage::persistent();
    let moody = Moody::failing([("Ev1", 99)]);
    let limits = Limits { hold: None, ..limits(Order::Workspace) };
    let node = moody.node(&stage, limits).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for number in 1..=20 {
        send(&stage, &acme, number, "C1");
    }
    stage.until_acked(&acme, 20).await;
    until_rows(&node, &[("retrying", 1)]).await;
    node.stop().await;
    assert_eq!(moody.order(), [""; 0]);

    moody.relent();
    let node = moody.node(&stage, limits).await;
    node.ready("acme").await;
    moody.seen.until_count(20).await;
    let expected: Vec<_> = (1..=20).map(|number| format!("Ev{number}")).collect();
    assert_eq!(moody.order(), expected);
    node.stop().await;
}

#[actix::test]
async fn a_workspace_that_floods_leaves_the_others_their_turn() {
    let stage = Stage::new();
    let gate = Arc::new(Semaphore::new(0));
    let moody = Moody { gate: Some(Arc::clone(&gate)), ..Moody::failing([]) };
    let node = moody.node(&stage, Limits { concurrency: 4, ..limits(Order::None) }).await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(64), count: Some(3_000), ..Load::default() }).unwrap();
    stage.until_acked(&acme, 3_000).await;
    send(&stage, &globex, 1, "C1");
    // After a second whatever waits has its row: all of it is where it waits for its turn.
    eventually("all is written down", async || (rows(&node).await.len() == 3_001).then_some(())).await;
    gate.add_permits(1);
    moody.seen.until_count(3_001).await;
    let place = moody.order().iter().position(|id| id == "Ev1").unwrap();
    assert!(place < 200, "it came as number {place}");
    moody.seen.assert_each_once(&stage, &[&acme, &globex]).await;
    node.stop().await;
}

#[actix::test]
async fn a_stop_with_much_undone_leaves_it_to_the_next_start_and_nothing_comes_twice() {
    let stage = Stage::persistent();
    let gate = Arc::new(Semaphore::new(0));
    let moody = Moody { gate: Some(Arc::clone(&gate)), ..Moody::failing([]) };
    let limits = Limits { concurrency: 1, ..limits(Order::Workspace) };
    let node = moody.node(&stage, limits).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(64), count: Some(3_000), ..Load::default() }).unwrap();
    stage.until_acked(&acme, 3_000).await;
    gate.add_permits(1);
    moody.seen.until_count(10).await;
    node.stop().await;
    let node = moody.node(&stage, limits).await;
    moody.seen.until_count(3_000).await;
    moody.seen.assert_each_once(&stage, &[&acme]).await;
    let seqs: Vec<_> = moody.seen.events().iter().map(|event| event.seq).collect();
    assert!(seqs.is_sorted(), "in their order");
    node.stop().await;
}

#[actix::test]
async fn what_comes_for_a_paused_handler_waits_and_comes_in_order_when_it_goes_on() {
    let stage = Stage::new();
    let moody = Moody::failing([]);
    let node = moody.node(&stage, limits(Order::Workspace)).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let mut db = node.reader().await;
    sqlx::query("update handlers set paused_at = 1").execute(&mut db).await.unwrap();
    // The node looks each second; until then what comes is handled.
    let sent = std::cell::Cell::new(0);
    eventually("something waits", async || {
        sent.set(sent.get() + 1);
        send(&stage, &acme, sent.get(), "C1");
        (rows(&node).await.len() >= 3).then_some(())
    })
    .await;
    let sent = sent.get();
    let before = moody.seen.events().len();
    assert!(before < sent);
    sqlx::query("update handlers set paused_at = null").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    moody.seen.until_count(sent).await;
    let expected: Vec<_> = (1..=sent).map(|number| format!("Ev{number}")).collect();
    assert_eq!(moody.order(), expected);
    node.stop().await;
}

fn fast() -> Retry {
    Retry { first: Duration::from_millis(10), most: Duration::from_millis(100), attempts: 50 }
}

fn limits(order: Order) -> Limits {
    Limits { order, retry: fast(), ..Limits::default() }
}

/// A message in a channel; Slack calls it `Ev` and its number.
fn send(stage: &Stage, customer: &Customer, number: usize, channel: &str) {
    let payload = json!({
        "type": "event_callback",
        "team_id": customer.team_id,
        "api_app_id": customer.app_id,
        "event_id": format!("Ev{number}"),
        "event": { "type": "message", "channel": channel, "text": "hello" },
    });
    stage.slack.send(&customer.app_id, Outgoing { payload: Some(payload), ..Outgoing::default() }).unwrap();
}

/// Status and attempts of every row of what is owed.
async fn rows(node: &Node) -> Vec<(String, i64)> {
    let mut db = node.reader().await;
    let rows = sqlx::query_as("select status, cast(attempts as bigint) from deliveries order by seq")
        .fetch_all(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    rows
}

/// Waits until these are the rows with at least so many attempts, others that wait for them aside.
async fn until_rows(node: &Node, wanted: &[(&str, i64)]) -> Vec<(String, i64)> {
    eventually("the rows are as they should be", async || {
        let rows = rows(node).await;
        let is_there =
            |(status, attempts): &(&str, i64)| rows.iter().any(|row| row.0 == *status && row.1 >= *attempts);
        wanted.iter().all(is_there).then_some(rows)
    })
    .await
}

/// A handler that fails as often as it was told to, and notes what it does.
#[derive(Clone)]
struct Moody {
    seen: Seen,
    fails: Arc<Mutex<HashMap<String, usize>>>,
    tries: Arc<Mutex<HashMap<String, usize>>>,
    gate: Option<Arc<Semaphore>>,
}

impl Moody {
    fn failing<const N: usize>(fails: [(&str, usize); N]) -> Self {
        let fails = fails.map(|(id, times)| (id.to_owned(), times));
        Self {
            seen: Seen::default(),
            fails: Arc::new(Mutex::new(HashMap::from(fails))),
            tries: Arc::default(),
            gate: None,
        }
    }

    async fn node(&self, stage: &Stage, limits: Limits) -> Node {
        let mut handlers = Registry::default();
        let plugin = self.clone();
        handlers.register("moody", limits, move |_| plugin.clone()).unwrap();
        stage.bare_node(Ack::Stored, handlers).await
    }

    /// Fails no more.
    fn relent(&self) {
        self.fails.lock().unwrap().clear();
    }

    fn tries(&self) -> Vec<(String, usize)> {
        let mut tries: Vec<_> = self.tries.lock().unwrap().clone().into_iter().collect();
        tries.sort();
        tries
    }

    /// What was done, in the order it was done.
    fn order(&self) -> Vec<String> {
        self.seen.events().iter().map(|event| event.slack_id.to_string()).collect()
    }
}

#[async_trait(?Send)]
impl Handler for Moody {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        if let Some(gate) = &self.gate {
            drop(gate.acquire().await.unwrap());
        }
        let id = delivery.event.slack_id.to_string();
        *self.tries.lock().unwrap().entry(id.clone()).or_default() += 1;
        if let Some(left) = self.fails.lock().unwrap().get_mut(&id).filter(|left| **left > 0) {
            *left -= 1;
            return Outcome::Retry { after: None };
        }
        self.seen.note(&delivery.event);
        Outcome::Done
    }
}
