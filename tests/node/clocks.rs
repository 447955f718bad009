//! Clocks that are set, on and back, under load and over restarts: nothing is lost, nothing comes twice, and what waits for its time
//! waits for no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use sqlx::Connection as _;
use tautline::config::Ack;
use tautline::event::Event;
use tautline::handlers::{Delivery, Handler, Options as Limits, Order, Outcome, Registry, Retry};
use tautline::simulator::{Load, Outgoing};
use tautline::store::Keep;

use super::harness::{Customer, Node, Seen, Stage, eventually};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

#[actix::test]
async fn however_the_clock_is_set_under_load_all_is_handled_once_and_in_its_order() {
    let stage = Stage::new();
    let mut handlers = Registry::default();
    let loose = Wobbly::failing_at_times(7);
    let (workspaces, channels) = (Wobbly::failing_at_times(97), Wobbly::failing_at_times(97));
    loose.register(&mut handlers, "loose", limits(Order::None, None));
    workspaces.register(&mut handlers, "workspaces", limits(Order::Workspace, None));
    channels.register(&mut handlers, "channels", limits(Order::Conversation, Limits::default().hold));
    let node = stage.bare_node(Ack::Stored, handlers).await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    for customer in [&acme, &globex] {
        stage.slack.load(&customer.app_id, Load { rate: Some(100.0), ..Load::default() }).unwrap();
    }
    let all = [&loose, &workspaces, &channels];
    for by in [HOUR, -HOUR, DAY, -DAY, -DAY, DAY, 40 * DAY, -40 * DAY] {
        stage.time.set(by);
        for handler in all {
            let so_far = handler.seen.events().len();
            handler.seen.until_count(so_far + 60).await;
        }
    }
    for customer in [&acme, &globex] {
        stage.slack.stop_load(&customer.app_id).unwrap();
        stage.until_settled(customer).await;
        // The sockets have stayed, and nothing came too late for Slack.
        stage.assert_flawless(customer);
        node.assert_always_ready(&customer.name).await;
        assert_eq!(journalled(&node, customer).await, sent(&stage, customer), "seqs rise as events come");
    }
    for handler in all {
        handler.seen.assert_each_once(&stage, &[&acme, &globex]).await;
        assert!(handler.failed.load(Ordering::SeqCst) > 4, "a handler that never fails shows nothing");
    }
    // Each customer has one channel.
    for handler in [&workspaces, &channels] {
        assert_in_order(&handler.seen);
    }
    node.stop().await;
}

#[actix::test]
async fn a_clock_that_is_set_on_lets_nothing_pass_what_holds_up_its_order() {
    let stage = Stage::new();
    let stuck = Wobbly::failing_on(&["Ev1", "Ev20"]);
    let node = stuck.node(&stage, limits(Order::Workspace, Some(Duration::from_hours(1)))).await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    send(&stage, &acme, 1..=5);
    stuck.until_failed(2).await;
    // While it is paused nothing is tried that would say anew until when it holds up the others.
    assert_eq!(node.post("/api/v1/workspaces/acme/pause", None).await.status, 200);
    send(&stage, &globex, 20..=20);
    stuck.until_failed(10).await;
    stage.time.set(DAY);
    // For longer than it takes the node to look again who holds up whom: while few do, it looks once a second.
    stuck.until_failed(10).await;
    assert_eq!(node.post("/api/v1/workspaces/acme/resume", None).await.status, 200);
    stuck.until_failed(10).await;
    assert_eq!(stuck.order(), [""; 0]);
    stuck.relent();
    stuck.seen.until_count(6).await;
    let order = stuck.order();
    assert_eq!(
        order.iter().filter(|one| **one != id(20)).collect::<Vec<_>>(),
        ["Ev1", "Ev2", "Ev3", "Ev4", "Ev5"]
    );
    node.stop().await;
}

#[actix::test]
async fn a_clock_that_is_set_back_holds_up_nobody_longer_also_over_a_restart() {
    let stage = Stage::new();
    let stuck = Wobbly::failing_on(&["Ev1"]);
    let limits = limits(Order::Workspace, Some(Duration::from_secs(20)));
    let node = stuck.node(&stage, limits).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    send(&stage, &acme, 1..=5);
    stuck.until_failed(2).await;
    stage.time.set(-DAY);
    stage.time.pass(Duration::from_secs(20));
    stuck.seen.until_count(4).await;
    assert_eq!(stuck.order(), (2..=5).map(id).collect::<Vec<_>>());
    node.stop().await;

    // Of one that still holds up its key the store knows until when, by the clock that was.
    let stuck = Wobbly::failing_on(&["Ev6"]);
    stage.time.set(DAY);
    let node = stuck.node(&stage, limits).await;
    send(&stage, &acme, 6..=9);
    stuck.until_failed(2).await;
    node.stop().await;
    stage.time.set(-DAY);
    let node = stuck.node(&stage, limits).await;
    stuck.until_failed(4).await;
    stage.time.pass(Duration::from_secs(20));
    stuck.seen.until("Ev9").await;
    let order = stuck.order();
    assert_eq!(order.iter().filter(|id| **id != *"Ev1").collect::<Vec<_>>(), ["Ev7", "Ev8", "Ev9"]);
    node.stop().await;
}

#[actix::test]
async fn a_restart_after_the_clock_was_set_back_loses_nothing_and_waits_for_nothing() {
    let stage = Stage::new();
    let stuck = Wobbly::failing();
    let mut slow = limits(Order::Workspace, None);
    slow.retry = Retry { first: Duration::from_millis(100), attempts: u32::MAX, ..slow.retry };
    let node = stuck.node(&stage, slow).await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    stage.time.set(DAY);
    send(&stage, &acme, 1..=10);
    send(&stage, &globex, 11..=20);
    stage.until_acked(&acme, 10).await;
    stage.until_acked(&globex, 10).await;
    stuck.until_failed(4).await;
    node.stop().await;

    stage.time.set(-DAY - HOUR);
    stuck.relent();
    let node = stuck.node(&stage, slow).await;
    node.ready("acme").await;
    send(&stage, &acme, 21..=25);
    stuck.seen.until_count(25).await;
    stuck.seen.assert_each_once(&stage, &[&acme, &globex]).await;
    assert_in_order(&stuck.seen);
    assert_eq!(journalled(&node, &acme).await, sent(&stage, &acme), "seqs rise, whatever the clock says");
    node.stop().await;
}

#[actix::test]
async fn what_comes_again_is_recognised_though_the_clock_was_set_on_by_days() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    send(&stage, &acme, 1..=1);
    node.seen.until("Ev1").await;
    stage.time.set(3 * DAY);
    // The journal forgets once a second, after it has noted what is done.
    for number in 2..=4 {
        send(&stage, &acme, number..=number);
        let event = node.seen.until(&id(number)).await;
        let noted = async || (settled(&node).await >= event.seq.0).then_some(());
        eventually("the journal has noted what is done", noted).await;
    }
    send(&stage, &acme, 1..=1);
    send(&stage, &acme, 5..=5);
    node.seen.until("Ev5").await;
    assert_eq!(node.seen.times()["Ev1"], 1);
    node.stop().await;
}

#[actix::test]
async fn what_is_owed_stays_however_far_the_clock_is_set_on() {
    let mut stage = Stage::new();
    stage.keep = Keep { events: Some(Duration::from_hours(48)), ..Keep::default() };
    // Behind the database's clock, by which a Postgres tells what is too young to go.
    stage.time.set(-45 * DAY);
    let stuck = Wobbly::failing();
    let mut handlers = Registry::default();
    stuck.register(&mut handlers, "stuck", limits(Order::Workspace, None));
    let node = stage.bare_node(Ack::Stored, handlers).await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    route(&node, "acme").await;
    // Nobody wants this one, so it is done.
    send(&stage, &globex, 1..=1);
    eventually("it is stored", async || node.has_on_disk("Ev1").await.then_some(())).await;
    // A day of its own: on Postgres days go as a whole.
    stage.time.set(DAY);
    send(&stage, &acme, 2..=6);
    stage.until_acked(&acme, 5).await;
    stuck.until_failed(2).await;
    stage.time.set(40 * DAY);
    stage.time.pass(Duration::from_mins(1));
    stuck.until_failed(4).await;
    // The keys of what has come are forgotten when their time has passed, and the events may go then.
    stage.time.pass(Duration::from_hours(27));
    eventually("what is done is deleted", async || {
        stage.time.pass(Duration::from_mins(10));
        (!node.has_on_disk("Ev1").await).then_some(())
    })
    .await;
    stuck.relent();
    stuck.seen.until_count(5).await;
    assert_eq!(stuck.order(), (2..=6).map(id).collect::<Vec<_>>());
    assert!(stuck.seen.events().iter().all(|event| event.payload.contains("hello")));
    node.stop().await;
}

fn limits(order: Order, hold: Option<Duration>) -> Limits {
    let retry =
        Retry { first: Duration::from_millis(200), most: Duration::from_millis(400), attempts: u32::MAX };
    Limits { order, hold, retry, ..Limits::default() }
}

fn id(number: usize) -> String {
    format!("Ev{number}")
}

/// Messages in one channel; Slack calls them `Ev` and their numbers.
fn send(stage: &Stage, customer: &Customer, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        let payload = json!({
            "type": "event_callback",
            "team_id": customer.team_id,
            "api_app_id": customer.app_id,
            "event_id": id(number),
            "event": { "type": "message", "channel": "C1", "text": "hello" },
        });
        let what = Outgoing { payload: Some(payload), ..Outgoing::default() };
        stage.slack.send(&customer.app_id, what).unwrap();
    }
}

/// Only this workspace's events are anybody's.
async fn route(node: &Node, workspace: &str) {
    let body = json!({ "handler": "stuck", "match": { "workspaces": [workspace] } });
    let put = node.ask("PUT", "/api/v1/routes/one", Some(super::harness::ADMIN_TOKEN), Some(&body)).await;
    assert_eq!(put.status, 201, "{put:?}");
}

/// Slack's ids of what it sent to a customer, as it did.
fn sent(stage: &Stage, customer: &Customer) -> Vec<String> {
    customer.sent(stage).into_iter().map(|(id, _)| id).collect()
}

/// The same of what the journal holds of them, by seq.
async fn journalled(node: &Node, customer: &Customer) -> Vec<String> {
    let mut db = node.reader().await;
    let all = sqlx::query_scalar(
        "select e.slack_id from events e join workspaces w on w.id = e.workspace_id where w.name = $1 order by e.seq",
    );
    let all = all.bind(&customer.name).fetch_all(&mut db).await.unwrap();
    db.close().await.unwrap();
    all
}

/// Up to where the journal has noted that everything is done.
pub(super) async fn settled(node: &Node) -> i64 {
    let mut db = node.reader().await;
    let settled = sqlx::query_scalar("select min(settled_to) from writers where ended_at is null");
    let settled = settled.fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    settled
}

/// Each workspace's events came in the order of their seqs.
fn assert_in_order(seen: &Seen) {
    let mut last = BTreeMap::new();
    for event in seen.events() {
        let before = last.insert(event.workspace, event.seq);
        assert!(before.is_none_or(|before| before < event.seq), "{} came too late", event.slack_id);
    }
}

/// Does this try of the event fail?
type Fails = dyn Fn(&Event, u32) -> bool + Send + Sync;

/// A handler that cannot handle some events at first, and notes those that it has.
#[derive(Clone)]
struct Wobbly {
    seen: Seen,
    fails: Arc<Fails>,
    /// Tries that went wrong.
    failed: Arc<AtomicUsize>,
    relented: Arc<AtomicBool>,
}

impl Wobbly {
    fn of(fails: impl Fn(&Event, u32) -> bool + Send + Sync + 'static) -> Self {
        Self {
            seen: Seen::default(),
            fails: Arc::new(fails),
            failed: Arc::default(),
            relented: Arc::default(),
        }
    }

    /// Fails twice on one of so many.
    fn failing_at_times(of: u32) -> Self {
        let sum = |event: &Event| {
            event.slack_id.bytes().fold(0_u32, |sum, byte| sum * 31 % 65_521 + u32::from(byte))
        };
        Self::of(move |event, attempt| attempt <= 2 && sum(event).is_multiple_of(of))
    }

    /// Fails on all until it relents.
    fn failing() -> Self {
        Self::of(|_, _| true)
    }

    fn failing_on(ids: &'static [&str]) -> Self {
        Self::of(move |event, _| ids.contains(&&*event.slack_id))
    }

    fn register(&self, handlers: &mut Registry, name: &str, limits: Limits) {
        let plugin = self.clone();
        handlers.register(name, limits, move |_| plugin.clone()).unwrap();
    }

    async fn node(&self, stage: &Stage, limits: Limits) -> Node {
        let mut handlers = Registry::default();
        self.register(&mut handlers, "wobbly", limits);
        stage.bare_node(Ack::Stored, handlers).await
    }

    fn relent(&self) {
        self.relented.store(true, Ordering::SeqCst);
    }

    /// Waits until it has failed so many times more.
    async fn until_failed(&self, times: usize) {
        let wanted = self.failed.load(Ordering::SeqCst) + times;
        let has = async || (self.failed.load(Ordering::SeqCst) >= wanted).then_some(());
        eventually(&format!("it fails {times} times more"), has).await;
    }

    /// What was done, in the order it was done.
    fn order(&self) -> Vec<String> {
        self.seen.events().iter().map(|event| event.slack_id.to_string()).collect()
    }
}

#[async_trait(?Send)]
impl Handler for Wobbly {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        if !self.relented.load(Ordering::SeqCst) && (self.fails)(&delivery.event, delivery.attempt) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Outcome::Retry { after: None };
        }
        self.seen.note(&delivery.event);
        Outcome::Done
    }
}
