//! Answers in acks: in time, late, too large, missing; repeats, a stalled database, dead sockets, restarts and pauses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tautline::config::Ack;
use tautline::event::{Event, Kind};
use tautline::handlers::{Answer, Delivery, Handler, Options as Limits, Outcome, Registry, Retry};
use tautline::simulator::{Act, Ending, EventRecord, Outcome as Fate, Outgoing, Template, Which};
use tokio::sync::{Semaphore, watch};

use super::harness::{ADMIN_TOKEN, Customer, Node, Seen, Stage, eventually};

/// An ack that waits in vain for an answer goes out after this.
const ACK_AFTER: Duration = Duration::from_millis(2500);

#[actix::test]
async fn what_a_handler_answers_is_in_the_ack() {
    let Play { stage, node, bot, acme } = Play::open(answering).await;
    for (template, field) in [
        (Template::SlashCommand, "text"),
        (Template::ViewSubmission, "response_action"),
        (Template::BlockSuggestion, "options"),
    ] {
        let sent = send(&stage, &acme, template);
        let record = until_over(&stage, &acme, &sent).await;
        assert_eq!(record.outcome, Fate::Acked, "{template:?}");
        assert!(record.ack_payload.unwrap().get(field).is_some(), "{template:?}");
    }
    assert!(
        bot.seen.events().iter().all(|event| event.seq.0 == 0),
        "it is asked before the event has a place"
    );
    for event in bot.seen.events() {
        assert!(node.has_on_disk(&event.slack_id).await);
        node.seen.until(&event.slack_id).await;
    }
    stage.assert_flawless(&acme);
    until_figure(&node, "tautline_answers_total{outcome=\"in_time\"} 3").await;
    // Another of its events has been handled, so these have come by the journal too.
    let last = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    bot.seen.until(&last).await;
    assert_eq!(bot.seen.events().len(), 4, "who was asked does not get it again");
    assert!(rows(&node).await.is_empty());
    node.stop().await;
}

#[actix::test]
async fn what_takes_no_answer_is_acked_at_once_and_may_be_answered_by_its_url() {
    let Play { stage, node, bot, acme } = Play::gated(|_| Outcome::answer(&json!({ "text": "done" }))).await;
    for template in
        [Template::BlockActions, Template::Shortcut, Template::MessageAction, Template::ViewClosed]
    {
        let sent = send(&stage, &acme, template);
        let record = until_over(&stage, &acme, &sent).await;
        assert_eq!((record.outcome, record.ack_payload), (Fate::Acked, None), "{template:?}");
    }
    bot.open();
    stage.until(&acme, "those with an address are answered", |app| app.responses.len() == 2).await;
    until_rows(&node, &["dead", "dead"]).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn a_late_answer_to_a_command_goes_by_url_and_what_only_an_ack_could_answer_expires() {
    let Play { stage, node, bot, acme } = Play::gated(answering).await;
    let command = send(&stage, &acme, Template::SlashCommand);
    let view = send(&stage, &acme, Template::ViewSubmission);
    let menu = send(&stage, &acme, Template::BlockSuggestion);
    let record = until_over(&stage, &acme, &command).await;
    assert_eq!((record.outcome, record.ack_payload), (Fate::Acked, None));
    assert!(record.acked_at.unwrap().since(record.sent_at) >= ACK_AFTER);
    for sent in [&view, &menu] {
        let record = until_over(&stage, &acme, sent).await;
        assert_eq!((record.outcome, record.user_error), (Fate::TimedOut, Some("trouble_connecting")));
    }
    assert_eq!(stage.look(&acme, |app| app.responses.len()), 0);
    bot.open();
    stage.until(&acme, "the command is answered", |app| app.responses.len() == 1).await;
    stage.look(&acme, |app| {
        let response = &app.responses[0];
        assert_eq!((response.event_id.as_str(), response.status), (command.as_str(), 200));
        assert_eq!(response.body, json!({ "text": "done" }));
    });
    until_rows(&node, &["expired", "expired"]).await;
    until_figure(&node, "tautline_answers_total{outcome=\"response_url\"} 1").await;
    until_figure(&node, "tautline_answers_total{outcome=\"expired\"} 2").await;
    until_figure(&node, "tautline_answers_late_total 3").await;
    assert_eq!(bot.seen.events().len(), 3);
    assert!(stage.look(&acme, |app| app.anomalies.is_empty()));
    node.stop().await;
}

#[actix::test]
async fn a_handler_that_is_done_without_an_answer_has_its_ack_at_once() {
    let Play { stage, node, acme, .. } = Play::open(|_| Outcome::Done).await;
    for template in [Template::SlashCommand, Template::ViewSubmission] {
        let sent = send(&stage, &acme, template);
        let record = until_over(&stage, &acme, &sent).await;
        assert_eq!((record.outcome, record.ack_payload), (Fate::Acked, None), "{template:?}");
        assert!(record.acked_at.unwrap().since(record.sent_at) < Duration::from_secs(2));
    }
    node.stop().await;
}

#[actix::test]
async fn a_handler_that_fails_has_a_command_again_and_nothing_else() {
    let Play { stage, node, bot, acme } = Play::open(|event| match event.seq.0 {
        0 => Outcome::Retry { after: None },
        _ => Outcome::answer(&answer_to(event)),
    })
    .await;
    let view = send(&stage, &acme, Template::ViewSubmission);
    let command = send(&stage, &acme, Template::SlashCommand);
    assert_eq!(until_over(&stage, &acme, &command).await.outcome, Fate::Acked);
    assert_eq!(until_over(&stage, &acme, &view).await.user_error, Some("trouble_connecting"));
    stage.until(&acme, "the next try answers", |app| app.responses.len() == 1).await;
    until_rows(&node, &["expired", "done"]).await;
    assert_eq!(bot.seen.events().len(), 3);
    node.stop().await;
}

#[actix::test]
async fn an_answer_too_large_for_an_ack_goes_by_url_or_is_refused_with_its_reason() {
    let text = "x".repeat(20_480);
    let Play { stage, node, acme, .. } = Play::open(move |_| Outcome::Answer(Answer::text(&text))).await;
    let command = send(&stage, &acme, Template::SlashCommand);
    let view = send(&stage, &acme, Template::ViewSubmission);
    let record = until_over(&stage, &acme, &command).await;
    assert_eq!((record.outcome, record.ack_payload), (Fate::Acked, None));
    stage.until(&acme, "the command is answered", |app| app.responses.len() == 1).await;
    assert_eq!(until_over(&stage, &acme, &view).await.outcome, Fate::TimedOut);
    until_rows(&node, &["dead"]).await;
    let mut db = node.reader().await;
    let why: String =
        sqlx::query_scalar("select last_error from deliveries").fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    assert!(why.contains("too large") && why.contains("view_submission"), "{why}");
    assert!(stage.look(&acme, |app| app.anomalies.is_empty() && app.counts.sockets == 1));
    node.stop().await;
}

#[actix::test]
async fn a_repeat_on_another_socket_waits_for_the_same_answer() {
    let Play { stage, node, bot, acme } = Play::gated(answering).await;
    assert_eq!(node.patch("acme", &json!({ "links": 2 })).await.status, 200);
    stage.until(&acme, "two sockets are live", |app| app.live_sockets() == 2).await;
    let what =
        Outgoing { envelope_id: Some("one-and-only".into()), ..Outgoing::template(Template::SlashCommand) };
    let sent = stage.slack.send(&acme.app_id, what).unwrap();
    bot.until_asked(1).await;
    let payload = bot.seen_payload();
    let again = json!({
        "envelope_id": "one-and-only", "type": "slash_commands", "accepts_response_payload": true, "payload": payload,
    });
    stage.slack.send(&acme.app_id, Outgoing::frame(again.to_string())).unwrap();
    until_figure(&node, "tautline_events_received_total{kind=\"slash_commands\"} 2").await;
    bot.open();
    let record = until_over(&stage, &acme, &sent).await;
    assert_eq!(record.ack_payload, Some(json!({ "text": "done" })));
    // The second ack of one envelope id is odd to Slack; here it shows that the repeat was acked.
    stage.until(&acme, "the repeat is acked", |app| app.counts.anomalies.get("double_ack") == Some(&1)).await;
    let acked = stage.look(&acme, |app| app.sockets.iter().filter(|socket| socket.delivered > 0).count());
    assert_eq!((acked, bot.seen.events().len()), (1, 1));
    node.stop().await;
}

#[actix::test]
async fn an_answer_goes_out_while_the_database_takes_nothing() {
    let Play { stage, node, bot, acme } = Play::open(answering).await;
    let mut other = stage.database.hold().await;
    let command = send(&stage, &acme, Template::SlashCommand);
    let view = send(&stage, &acme, Template::ViewSubmission);
    for sent in [&command, &view] {
        let record = until_over(&stage, &acme, sent).await;
        assert_eq!(record.outcome, Fate::Acked);
        assert!(record.ack_payload.is_some());
        assert!(!node.has_on_disk(&record.attempts[0].envelope_id).await);
    }
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let last = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    bot.seen.until(&last).await;
    node.seen.until_count(3).await;
    assert_eq!(bot.seen.events().len(), 3, "who was asked does not get it again");
    // Its handlers may have it before Slack has its ack.
    stage.until_settled(&acme).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn an_answer_whose_socket_is_gone_goes_by_url() {
    let Play { stage, node, bot, acme } = Play::gated(answering).await;
    let command = send(&stage, &acme, Template::SlashCommand);
    let view = send(&stage, &acme, Template::ViewSubmission);
    bot.until_asked(2).await;
    stage.slack.act(Some(&acme.app_id), Which::All, &Act::End { how: Ending::Reset }).unwrap();
    stage
        .until(&acme, "another socket is live", |app| app.counts.sockets == 2 && app.live_sockets() == 1)
        .await;
    bot.open();
    stage.until(&acme, "the command is answered", |app| app.responses.len() == 1).await;
    assert_eq!(stage.look(&acme, |app| app.responses[0].event_id.clone()), command);
    assert_eq!(until_over(&stage, &acme, &view).await.outcome, Fate::TimedOut);
    until_rows(&node, &["expired"]).await;
    node.stop().await;
}

#[actix::test]
async fn a_clock_that_is_set_moves_no_deadline_of_an_ack() {
    let Play { stage, node, bot, acme } = Play::gated(answering).await;
    let hour = 3_600_000;
    for (round, by) in [hour, -25 * hour, 48 * hour, -24 * hour].into_iter().enumerate() {
        let answered = stage.look(&acme, |app| app.responses.len());
        let command = send(&stage, &acme, Template::SlashCommand);
        let view = send(&stage, &acme, Template::ViewSubmission);
        bot.until_asked(3 * round + 2).await;
        stage.time.set(by);
        let record = until_over(&stage, &acme, &command).await;
        assert_eq!((record.outcome, record.ack_payload), (Fate::Acked, None), "{by}");
        assert!(record.acked_at.unwrap().since(record.sent_at) >= ACK_AFTER, "{by}");
        assert_eq!(until_over(&stage, &acme, &view).await.outcome, Fate::TimedOut, "{by}");
        bot.open();
        // Late by the clock that everybody has.
        stage
            .until(&acme, "the command is answered by its address", |app| app.responses.len() == answered + 1)
            .await;
        let menu = send(&stage, &acme, Template::BlockSuggestion);
        let record = until_over(&stage, &acme, &menu).await;
        assert!(record.ack_payload.is_some(), "{by}: an answer in time is in the ack");
        bot.close().await;
    }
    stage.look(&acme, |app| assert_eq!((app.counts.sockets, app.live_sockets()), (1, 1)));
    node.stop().await;
}

#[actix::test]
async fn after_a_restart_commands_run_again_and_answer_by_url_and_nothing_else_does() {
    let Play { stage, node, bot, acme } = Play::gated(answering).await;
    let command = send(&stage, &acme, Template::SlashCommand);
    let view = send(&stage, &acme, Template::ViewSubmission);
    bot.until_asked(2).await;
    until_over(&stage, &acme, &command).await;
    assert_eq!(until_over(&stage, &acme, &view).await.outcome, Fate::TimedOut);
    node.stop_somehow().await;
    assert_eq!(stage.look(&acme, |app| app.responses.len()), 0);

    let (node, again) = Bot::node(&stage, answering).await;
    stage.until(&acme, "the command is answered", |app| app.responses.len() == 1).await;
    assert_eq!(stage.look(&acme, |app| app.responses[0].event_id.clone()), command);
    let expired = async || rows(&node).await.contains(&"expired".to_owned()).then_some(());
    eventually("the view has expired", expired).await;
    assert!(again.seen.events().iter().all(|event| event.kind == Kind::SlashCommands));
    node.stop().await;
}

#[actix::test]
async fn while_its_handler_is_paused_a_command_is_told_so_and_runs_later_and_the_rest_expires() {
    let Play { stage, node, bot, acme } = Play::open(answering).await;
    pause(&node, Some(1)).await;
    let told = async || {
        let sent = send(&stage, &acme, Template::SlashCommand);
        let record = until_over(&stage, &acme, &sent).await;
        let text = record.ack_payload.unwrap()["text"].as_str().unwrap().to_owned();
        text.contains("paused").then_some(sent)
    };
    let command = eventually("the dispatcher knows", told).await;
    let view = send(&stage, &acme, Template::ViewSubmission);
    assert_eq!(until_over(&stage, &acme, &view).await.user_error, Some("trouble_connecting"));
    let answered = stage.look(&acme, |app| app.responses.len());
    assert_eq!(answered, 0);
    pause(&node, None).await;
    stage.until(&acme, "the command is answered", |app| app.responses.len() == 1).await;
    assert_eq!(stage.look(&acme, |app| app.responses[0].event_id.clone()), command);
    assert!(bot.seen.events().iter().all(|event| event.kind == Kind::SlashCommands));
    node.stop().await;
}

#[actix::test]
async fn with_the_journal_off_answers_go_in_acks_too() {
    let Play { stage, node, bot, acme } = Play::with(Ack::Unkept, None, answering).await;
    for template in [Template::SlashCommand, Template::ViewSubmission] {
        let sent = send(&stage, &acme, template);
        assert!(until_over(&stage, &acme, &sent).await.ack_payload.is_some(), "{template:?}");
    }
    node.seen.until_count(2).await;
    let last = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    bot.seen.until(&last).await;
    assert_eq!(bot.seen.events().len(), 3);
    // Where nothing is kept, handler and ack don't wait for each other.
    stage.until_acked(&acme, 3).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn an_ack_waits_for_the_answers_of_those_alone_whose_routes_want_them() {
    let Play { stage, node, bot, acme } = Play::gated(answering).await;
    let route = async |body: Value| {
        let put = node.ask("PUT", "/api/v1/routes/all", Some(ADMIN_TOKEN), Some(&body)).await;
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    };
    // Its answer is not waited for, and it gets the event as any other.
    route(json!({ "handler": "bot", "ack": "stored" })).await;
    let view = send(&stage, &acme, Template::ViewSubmission);
    let record = until_over(&stage, &acme, &view).await;
    assert_eq!((record.outcome, record.ack_payload), (Fate::Acked, None));
    assert!(record.acked_at.unwrap().since(record.sent_at) < Duration::from_secs(2));
    bot.until_asked(1).await;
    assert!(bot.last.borrow().as_ref().unwrap().seq.0 > 0);
    // It is not given the event.
    route(json!({ "handler": "recorder", "ack": "received" })).await;
    let other = send(&stage, &acme, Template::ViewSubmission);
    let record = until_over(&stage, &acme, &other).await;
    assert!(record.acked_at.unwrap().since(record.sent_at) < Duration::from_secs(2));
    node.seen.until(&record.attempts[0].envelope_id).await;
    // What says nothing of acks wants the answer of who answers.
    bot.open();
    route(json!({ "handler": "bot" })).await;
    let answered = send(&stage, &acme, Template::ViewSubmission);
    assert!(until_over(&stage, &acme, &answered).await.ack_payload.is_some());
    stage.assert_flawless(&acme);
    node.stop().await;
}

fn send(stage: &Stage, customer: &Customer, template: Template) -> String {
    stage.slack.send(&customer.app_id, Outgoing::template(template)).unwrap()
}

/// Waits until it is acked or its user has seen an error.
async fn until_over(stage: &Stage, customer: &Customer, id: &str) -> EventRecord {
    let is_over = |record: &EventRecord| record.outcome != Fate::Pending;
    stage.until(customer, "it is acked or given up", |app| app.event(id).is_some_and(is_over)).await;
    stage.look(customer, |app| app.event(id).unwrap().clone())
}

async fn until_figure(node: &Node, line: &str) {
    let shown = async || node.get("/metrics").await.text.lines().any(|found| found == line).then_some(());
    eventually(line, shown).await;
}

/// What of its deliveries is written down, in the order of the events.
async fn rows(node: &Node) -> Vec<String> {
    let mut db = node.reader().await;
    let rows =
        sqlx::query_scalar("select status from deliveries order by seq").fetch_all(&mut db).await.unwrap();
    db.close().await.unwrap();
    rows
}

async fn until_rows(node: &Node, wanted: &[&str]) {
    let there = async || (rows(node).await == wanted).then_some(());
    eventually(&format!("the rows are {wanted:?}"), there).await;
}

/// Pauses the bot, or lets it go on.
async fn pause(node: &Node, since: Option<i64>) {
    let mut db = node.reader().await;
    let paused = sqlx::query("update handlers set paused_at = $1 where name = 'bot'").bind(since);
    assert_eq!(paused.execute(&mut db).await.unwrap().rows_affected(), 1);
    db.close().await.unwrap();
}

/// Answers what suits the event.
fn answering(event: &Event) -> Outcome {
    Outcome::answer(&answer_to(event))
}

fn answer_to(event: &Event) -> Value {
    match &*event.kind_type {
        "view_submission" => json!({ "response_action": "errors", "errors": { "b1": "no" } }),
        "block_suggestion" => json!({ "options": [] }),
        _ => json!({ "text": "done" }),
    }
}

/// A customer who is online, at a node with a bot.
struct Play {
    stage: Stage,
    node: Node,
    bot: Bot,
    acme: Customer,
}

impl Play {
    async fn open(script: impl Fn(&Event) -> Outcome + Send + Sync + 'static) -> Self {
        Self::with(Ack::Stored, None, script).await
    }

    /// With a bot that waits until the gate is open.
    async fn gated(script: impl Fn(&Event) -> Outcome + Send + Sync + 'static) -> Self {
        Self::with(Ack::Stored, Some(Arc::new(Semaphore::new(0))), script).await
    }

    async fn with(
        ack: Ack,
        gate: Option<Arc<Semaphore>>,
        script: impl Fn(&Event) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        let stage = Stage::new();
        let (node, bot) = Bot::node_with(&stage, ack, gate, script).await;
        let acme = stage.customer("acme");
        node.welcome(&[&acme]).await;
        Self { stage, node, bot, acme }
    }
}

type Script = Arc<dyn Fn(&Event) -> Outcome + Send + Sync>;

/// A handler that answers what it is told to, once it may. It minds commands and interactions.
#[derive(Clone)]
struct Bot {
    seen: Seen,
    asked: watch::Sender<usize>,
    gate: Option<Arc<Semaphore>>,
    script: Script,
    last: watch::Sender<Option<Arc<Event>>>,
}

impl Bot {
    async fn node(stage: &Stage, script: impl Fn(&Event) -> Outcome + Send + Sync + 'static) -> (Node, Self) {
        Self::node_with(stage, Ack::Stored, None, script).await
    }

    async fn node_with(
        stage: &Stage,
        ack: Ack,
        gate: Option<Arc<Semaphore>>,
        script: impl Fn(&Event) -> Outcome + Send + Sync + 'static,
    ) -> (Node, Self) {
        let bot = Self {
            seen: Seen::default(),
            asked: watch::Sender::new(0),
            gate,
            script: Arc::new(script),
            last: watch::Sender::new(None),
        };
        let plugin = bot.clone();
        let retry = Retry { first: Duration::from_millis(10), ..Retry::default() };
        let limits = Limits { answers: true, retry, ..Limits::default() };
        let register = |handlers: &mut Registry| {
            handlers.register("bot", limits, move |_| plugin.clone()).unwrap();
        };
        (stage.node_with(ack, register).await, bot)
    }

    /// Open is open for all.
    fn open(&self) {
        self.gate.as_ref().unwrap().add_permits(1);
    }

    /// Closed again for whoever comes.
    async fn close(&self) {
        self.gate.as_ref().unwrap().acquire().await.unwrap().forget();
    }

    async fn until_asked(&self, count: usize) {
        self.asked.subscribe().wait_for(|asked| *asked >= count).await.unwrap();
    }

    fn seen_payload(&self) -> Value {
        serde_json::from_str(&self.last.borrow().as_ref().unwrap().payload).unwrap()
    }
}

#[async_trait(?Send)]
impl Handler for Bot {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = delivery.event;
        self.last.send_replace(Some(Arc::clone(&event)));
        self.asked.send_modify(|asked| *asked += 1);
        let takes_part = matches!(event.kind, Kind::SlashCommands | Kind::Interactive);
        if let Some(gate) = self.gate.as_ref().filter(|_| takes_part) {
            drop(gate.acquire().await.unwrap());
        }
        self.seen.note(&event);
        if takes_part { (self.script)(&event) } else { Outcome::Done }
    }
}
