//! From the ack to the handler: what an ack means, and that what was acked is handled, whatever handlers, restarts and the
//! database do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;
use serde_json::json;
use sqlx::Connection as _;
use tautline::config::Ack;
use tautline::handlers::{Delivery, Handler, Options as Limits, Outcome, Registry, Retry};
use tautline::simulator::{Call, Load, NewApp, Outcome as Fate, Outgoing, Team, Template};
use tokio::sync::Semaphore;

use super::harness::{Customer, Node, PATIENCE, Seen, Stage, eventually};

// What an ack means.

#[actix::test]
async fn an_ack_means_that_the_event_is_on_disk() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for _ in 0..20 {
        let id = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
        until_acked(&stage, &acme, &id).await;
        assert!(node.has_on_disk(&id).await, "{id} is acked and not on disk");
    }
    node.stop().await;
}

#[actix::test]
async fn while_the_database_takes_no_writes_nothing_is_acked_and_the_socket_stays() {
    let stage = Stage::persistent();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    exchange(&stage, &node, &acme).await;
    assert_eq!(node.ask("GET", "/readyz", None, None).await.status, 200);

    let mut other = stage.database.hold().await;
    let acked = stage.look(&acme, |app| app.counts.acked);
    stage.slack.load(&acme.app_id, Load { rate: Some(50.0), ..Load::default() }).unwrap();
    let red = async || {
        let answer = node.ask("GET", "/readyz", None, None).await;
        (answer.status == 503).then_some(answer.text)
    };
    let told = eventually("readiness turns red", red).await;
    assert!(told.contains("journal failed: the database takes no writes; nothing is acked"), "{told}");
    // Slack waits three seconds for an ack before it sends again.
    stage.until(&acme, "Slack sends again", |app| app.counts.retried > 20).await;
    assert_eq!(stage.look(&acme, |app| (app.counts.acked, app.counts.late_acks)), (acked, 0));
    assert_eq!(node.ask("GET", "/livez", None, None).await.status, 200);
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();

    let green = async || (node.ask("GET", "/readyz", None, None).await.status == 200).then_some(());
    eventually("readiness turns green", green).await;
    stage.slack.stop_load(&acme.app_id).unwrap();
    stage.until_settled(&acme).await;
    node.seen.assert_each_once(&stage, &[&acme]).await;
    node.assert_always_ready("acme").await;
    assert_eq!(stage.look(&acme, |app| app.counts.sockets), 1);
    node.stop().await;
}

#[actix::test]
async fn received_is_acked_before_it_is_on_disk_and_handled_after() {
    let stage = Stage::new();
    let node = stage.node_with(Ack::Received, |_| {}).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    exchange(&stage, &node, &acme).await;
    let mut other = stage.database.hold().await;
    let id = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    until_acked(&stage, &acme, &id).await;
    assert!(!node.has_on_disk(&id).await);
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    node.seen.until(&id).await;
    assert!(node.has_on_disk(&id).await);
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn with_the_journal_off_events_are_handled_and_nothing_is_kept() {
    let stage = Stage::new();
    let node = stage.node_with(Ack::Unkept, |_| {}).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(32), count: Some(5_000), ..Load::default() }).unwrap();
    node.seen.until_count(5_000).await;
    stage.until_acked(&acme, 5_000).await;
    stage.assert_flawless(&acme);
    node.seen.assert_each_once(&stage, &[&acme]).await;
    let mut db = node.reader().await;
    let kept: i64 = sqlx::query_scalar("select count(*) from events").fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    assert_eq!(kept, 0);
    node.stop().await;
}

// What handlers do.

#[actix::test]
async fn a_handler_that_panics_goes_on_with_the_next_event() {
    let calls = Arc::new(AtomicUsize::new(0));
    let stage = Stage::new();
    let counted = Arc::clone(&calls);
    let panicky = move |handlers: &mut Registry| {
        let each = move |delivery: Delivery| {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            assert!(call % 2 == 1, "every other event is too much: {}", delivery.event.slack_id);
        };
        let once = Retry { attempts: 1, ..Retry::default() };
        register(handlers, "panicky", Limits { retry: once, ..Limits::default() }, each);
    };
    let node = stage.node_with(Ack::Stored, panicky).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for _ in 0..10 {
        exchange(&stage, &node, &acme).await;
    }
    let all = async || (calls.load(Ordering::SeqCst) == 10).then_some(());
    eventually("the handler gets every event", all).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn a_handler_that_blocks_its_thread_holds_up_nobody_else() {
    let (blocked, free) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::Barrier::new(2)));
    let stage = Stage::new();
    let (entered, gate) = (Arc::clone(&blocked), Arc::clone(&free));
    let blocking = move |handlers: &mut Registry| {
        let each = move |_| {
            if !entered.swap(true, Ordering::SeqCst) {
                gate.wait();
            }
        };
        register(handlers, "blocking", Limits::default(), each);
    };
    let node = stage.node_with(Ack::Stored, blocking).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { rate: Some(100.0), count: Some(300), ..Load::default() }).unwrap();
    let waits = async || blocked.load(Ordering::SeqCst).then_some(());
    eventually("the handler blocks its thread", waits).await;
    // Three seconds of events: all acked, all with the other handler, the API answers.
    node.seen.until_count(300).await;
    stage.until_acked(&acme, 300).await;
    stage.assert_flawless(&acme);
    assert_eq!(node.workspace("acme").await["state"], json!("ready"));
    free.wait();
    node.seen.assert_each_once(&stage, &[&acme]).await;
    node.stop().await;
}

#[actix::test]
async fn a_handler_that_takes_too_long_is_stopped_and_goes_on_with_the_next_event() {
    let stage = Stage::new();
    let seen = Seen::default();
    let slow = Slow { seen: seen.clone(), first: Arc::new(AtomicBool::new(true)) };
    let once = Retry { attempts: 1, ..Retry::default() };
    let limits =
        Limits { concurrency: 1, within: Duration::from_millis(300), retry: once, ..Limits::default() };
    let register = |handlers: &mut Registry| {
        handlers.register("slow", limits, move |_| slow.clone()).unwrap();
    };
    let node = stage.node_with(Ack::Stored, register).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let never = exchange(&stage, &node, &acme).await;
    let next = exchange(&stage, &node, &acme).await;
    seen.until(&next).await;
    assert!(!seen.times().contains_key(&never));
    node.stop().await;
}

#[actix::test]
async fn an_actor_is_a_handler_by_its_recipient() {
    let stage = Stage::new();
    let seen = Seen::default();
    let recipient = Elsewhere(seen.clone()).start().recipient();
    let register = |handlers: &mut Registry| {
        handlers.register_actor("elsewhere", Limits::default(), recipient).unwrap();
    };
    let node = stage.node_with(Ack::Stored, register).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    for _ in 0..5 {
        let id = exchange(&stage, &node, &acme).await;
        seen.until(&id).await;
    }
    assert_eq!(seen.events().len(), 5);
    node.stop().await;
}

#[actix::test]
async fn more_events_than_memory_holds_wait_on_disk_for_a_slow_handler() {
    let stage = Stage::new();
    let (node, gated) = gated_node(&stage).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(64), count: Some(5_000), ..Load::default() }).unwrap();
    stage.until_acked(&acme, 5_000).await;
    assert_eq!(gated.seen.events().len(), 0, "nothing is handled yet");
    gated.open();
    gated.seen.until_count(5_000).await;
    gated.seen.assert_each_once(&stage, &[&acme]).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

// What a restart does.

#[actix::test]
async fn what_was_not_handled_before_a_stop_is_handled_after_it() {
    let stage = Stage::new();
    let (node, gated) = gated_node(&stage).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(64), count: Some(1_000), ..Load::default() }).unwrap();
    stage.until_acked(&acme, 1_000).await;
    let report = node.stop_somehow().await;
    assert!(report.links_closed && report.journal_ended && !report.handlers_done, "{report:?}");
    let begun = Limits::default().concurrency;
    assert_eq!((report.links_left, report.events_left), (0, begun), "it says what is left");
    assert_eq!(gated.seen.events().len(), 0);

    gated.open();
    let node = gated.node(&stage).await;
    gated.seen.until_count(1_000).await;
    gated.seen.assert_each_once(&stage, &[&acme]).await;
    node.stop().await;
}

#[actix::test]
async fn a_backlog_that_handlers_had_not_begun_is_handled_once_after_a_stop() {
    let stage = Stage::new();
    let (node, gated) = gated_node(&stage).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(64), count: Some(1_000), ..Load::default() }).unwrap();
    stage.until_acked(&acme, 1_000).await;
    // What is in hand is finished while the node stops.
    gated.open();
    node.stop().await;
    let node = gated.node(&stage).await;
    gated.seen.until_count(1_000).await;
    gated.seen.assert_each_once(&stage, &[&acme]).await;
    node.stop().await;
}

#[actix::test]
async fn a_stop_with_nothing_left_to_do_delivers_nothing_twice() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { window: Some(16), count: Some(200), ..Load::default() }).unwrap();
    node.seen.until_count(200).await;
    stage.until_acked(&acme, 200).await;
    node.stop().await;

    let node = stage.node().await;
    node.ready("acme").await;
    let id = exchange(&stage, &node, &acme).await;
    assert_eq!(node.seen.times(), [(id, 1)].into());
    node.stop().await;
}

#[actix::test]
async fn what_was_acked_before_a_restart_is_recognised_when_it_comes_again() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let id = exchange(&stage, &node, &acme).await;
    node.stop().await;

    let node = stage.node().await;
    node.ready("acme").await;
    let payload = json!({ "event_id": id, "event": { "type": "message" } });
    let again = Outgoing { payload: Some(payload), ..Outgoing::default() };
    stage.slack.send(&acme.app_id, again).unwrap();
    stage.until_settled(&acme).await;
    let next = exchange(&stage, &node, &acme).await;
    assert_eq!(node.seen.times(), [(next, 1)].into());
    let counters = &node.workspace("acme").await["counters"];
    assert_eq!((&counters["events"], &counters["duplicates"]), (&json!(1), &json!(1)));
    node.stop().await;
}

#[actix::test]
async fn a_restart_under_load_loses_nothing_and_handles_nothing_twice() {
    let stage = Stage::persistent();
    let acme = stage.customer("acme");
    let node = stage.node().await;
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { rate: Some(200.0), ..Load::default() }).unwrap();
    let mut times = std::collections::BTreeMap::<String, usize>::new();
    let mut node = Some(node);
    for round in 1..=3_u64 {
        stage.until(&acme, "events flow", |app| app.counts.acked > round * 200).await;
        let old = node.take().unwrap();
        let seen = old.seen.clone();
        old.stop().await;
        seen.times().into_iter().for_each(|(id, count)| *times.entry(id).or_default() += count);
        let new = stage.node().await;
        new.ready("acme").await;
        node = Some(new);
    }
    let node = node.unwrap();
    stage.slack.stop_load(&acme.app_id).unwrap();
    stage.until_settled(&acme).await;
    for (id, fate) in acme.sent(&stage) {
        assert_eq!(fate, Fate::Acked, "{id}");
        if !times.contains_key(&id) {
            node.seen.until(&id).await;
        }
    }
    node.seen.times().into_iter().for_each(|(id, count)| *times.entry(id).or_default() += count);
    let twice: Vec<_> = times.iter().filter(|(_, count)| **count != 1).collect();
    assert_eq!(twice, [], "handled more than once");
    node.stop().await;
}

#[actix::test]
async fn a_stop_while_the_database_takes_no_writes_is_bounded_and_loses_nothing() {
    let stage = Stage::persistent();
    let acme = stage.customer("acme");
    let node = stage.node().await;
    node.welcome(&[&acme]).await;
    exchange(&stage, &node, &acme).await;
    let mut other = stage.database.hold().await;
    let id = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    let read = async || (node.workspace("acme").await["counters"]["events"] == json!(2)).then_some(());
    eventually("the event is read", read).await;
    let report = tokio::time::timeout(PATIENCE, node.stop_somehow()).await.expect("a stop is bounded");
    assert!(report.links_closed && report.handlers_done && !report.journal_ended, "{report:?}");
    assert_ne!(stage.look(&acme, |app| app.event(&id).unwrap().outcome), Fate::Acked);
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();

    let node = stage.node().await;
    node.seen.until(&id).await;
    until_acked(&stage, &acme, &id).await;
    node.stop().await;
}

// Whose it is, and an answer.

#[actix::test]
async fn a_workspace_without_a_bot_token_learns_its_team_from_its_first_event() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    assert_eq!(node.put("acme", &json!({ "app_token": acme.app_token })).await.status, 201);
    node.ready("acme").await;
    assert_eq!(node.workspace("acme").await["team_id"], json!(null));
    let first = exchange(&stage, &node, &acme).await;
    let known = async || (node.workspace("acme").await["team_id"] == json!(acme.team_id)).then_some(());
    eventually("the team is known", known).await;
    let stranger = Outgoing { team_id: Some("T0STRANGER".into()), ..Outgoing::default() };
    let stranger = stage.slack.send(&acme.app_id, stranger).unwrap();
    assert!(node.seen.until(&first).await.workspace.is_some());
    assert_eq!(node.seen.until(&stranger).await.workspace, None, "it is handed to no other tenant");
    until_acked(&stage, &acme, &stranger).await;
    node.stop().await;
}

#[actix::test]
async fn workspaces_that_share_an_app_are_told_apart_by_their_bot_tokens() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let subsidiary = Team {
        team_id: "T0SUBSIDIARY".into(),
        bot_token: Some("xoxb-SUBSIDIARY-0123456789abcdef".into()),
        enterprise_id: None,
    };
    let body = json!({ "app_token": acme.app_token, "bot_token": subsidiary.bot_token });
    let app = NewApp {
        app_token: acme.app_token.clone(),
        slack_app_id: Some(acme.app_id.clone()),
        teams: vec![subsidiary],
    };
    stage.slack.add_app(app).unwrap();
    assert_eq!(node.put("subsidiary", &body).await.status, 201);
    node.welcome(&[&acme]).await;
    for (name, team) in [("acme", acme.team_id.as_str()), ("subsidiary", "T0SUBSIDIARY")] {
        let known = async || (node.workspace(name).await["team_id"] == json!(team)).then_some(());
        eventually("the team is known", known).await;
    }
    let send = |team: &str| Outgoing { team_id: Some(team.into()), ..Outgoing::default() };
    let one = stage.slack.send(&acme.app_id, send(&acme.team_id)).unwrap();
    let other = stage.slack.send(&acme.app_id, send("T0SUBSIDIARY")).unwrap();
    let (one, other) = (node.seen.until(&one).await.workspace, node.seen.until(&other).await.workspace);
    assert!(one.is_some() && other.is_some() && one != other, "{one:?} {other:?}");
    assert_eq!(stage.look(&acme, |app| app.counts.sockets), 1, "one app, one socket");
    node.stop().await;
}

#[actix::test]
async fn echo_answers_commands_and_mentions_as_the_workspaces_bot() {
    let stage = Stage::new();
    let node = stage.node_with(Ack::Stored, |handlers| handlers.register_builtin("echo").unwrap()).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let command = Outgoing { text: Some("hello there".into()), ..Outgoing::template(Template::SlashCommand) };
    let command = stage.slack.send(&acme.app_id, command).unwrap();
    until_acked(&stage, &acme, &command).await;
    let answer = stage.look(&acme, |app| app.event(&command).unwrap().ack_payload.clone()).unwrap();
    assert!(answer["text"].as_str().unwrap().ends_with("hello there"), "{answer}");
    let mention = Outgoing { text: Some("good morning".into()), ..Outgoing::template(Template::AppMention) };
    stage.slack.send(&acme.app_id, mention).unwrap();
    let is_answer = |call: &&Call| call.method == "chat.postMessage";
    stage.until(&acme, "the mention is answered", |app| app.calls.iter().any(|call| is_answer(&call))).await;
    stage.look(&acme, |app| {
        let call = app.calls.iter().find(is_answer).unwrap();
        assert_eq!(call.result, "ok");
        assert_eq!(call.team_id.as_deref(), Some(acme.team_id.as_str()));
        assert!(call.args["text"].as_str().unwrap().contains("good morning"), "{call:?}");
    });
    stage.until_settled(&acme).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

/// One event there and its ack back.
async fn exchange(stage: &Stage, node: &Node, customer: &Customer) -> String {
    let id = stage.slack.send(&customer.app_id, Outgoing::default()).unwrap();
    node.seen.until(&id).await;
    until_acked(stage, customer, &id).await;
    id
}

async fn until_acked(stage: &Stage, customer: &Customer, id: &str) {
    let acked = |app: &tautline::simulator::AppRecord| {
        app.event(id).is_some_and(|event| event.outcome == Fate::Acked)
    };
    stage.until(customer, "the event is acked", acked).await;
}

/// Registers a function.
fn register(
    handlers: &mut Registry,
    name: &str,
    limits: Limits,
    each: impl Fn(Delivery) + Clone + Send + Sync + 'static,
) {
    handlers.register(name, limits, move |_| Each(each.clone())).unwrap();
}

struct Each<F>(F);

#[async_trait(?Send)]
impl<F: Fn(Delivery) + 'static> Handler for Each<F> {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        (self.0)(delivery);
        Outcome::Done
    }
}

/// A node whose only handler begins nothing until it may.
async fn gated_node(stage: &Stage) -> (Node, Gated) {
    let gated = Gated { seen: Seen::default(), gate: Arc::new(Semaphore::new(0)) };
    (gated.node(stage).await, gated)
}

#[derive(Clone)]
struct Gated {
    seen: Seen,
    gate: Arc<Semaphore>,
}

impl Gated {
    async fn node(&self, stage: &Stage) -> Node {
        let mut handlers = Registry::default();
        let plugin = self.clone();
        handlers.register("gated", Limits::default(), move |_| plugin.clone()).unwrap();
        stage.bare_node(Ack::Stored, handlers).await
    }

    fn open(&self) {
        self.gate.add_permits(1);
    }
}

#[async_trait(?Send)]
impl Handler for Gated {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        // The permit is given back at once: open is open for all.
        drop(self.gate.acquire().await.unwrap());
        self.seen.note(&delivery.event);
        Outcome::Done
    }
}

/// Never done with the first event.
#[derive(Clone)]
struct Slow {
    seen: Seen,
    first: Arc<AtomicBool>,
}

#[async_trait(?Send)]
impl Handler for Slow {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        if self.first.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.seen.note(&delivery.event);
        Outcome::Done
    }
}

/// An actor of somebody else's.
struct Elsewhere(Seen);

impl Actor for Elsewhere {
    type Context = Context<Self>;
}

impl actix::Handler<Delivery> for Elsewhere {
    type Result = MessageResult<Delivery>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        self.0.note(&delivery.event);
        MessageResult(Outcome::Done)
    }
}
