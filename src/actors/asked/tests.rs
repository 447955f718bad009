//! What the tests of whole nodes cannot bring about: full tables, dispatchers that are gone, and who comes first.

use std::time::Duration;

use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use serde_json::json;

use super::*;
use crate::handlers::Outcome;
use crate::ids::AppId;
use crate::machine::answer::Way;
use crate::machine::routes::AckMode;
use crate::protocol::dedupe;
use crate::slack::tls;
use crate::slack::web::{Outside, WebApi};

#[actix::test]
async fn a_repeat_gets_the_same_answer_on_its_own_link_and_the_handler_is_asked_once() {
    let (asks, _bell) = asks();
    let ((mut one, first), (mut other, second)) = (wait(&asks, "E1"), wait(&asks, "E1"));
    let mut asked = asks.take(event("E1").dedupe).unwrap().to([3]);
    assert!(asks.take(event("E1").dedupe).is_none());
    first.stored();
    let (_, asked) = asked.pop().unwrap();
    let outcome = Outcome::answer(&json!({ "text": "hi" }));
    assert_eq!(asked.conclude(outcome, &web()).await, (Ending::Of(Outcome::Done), None));
    let frame = r#"{"envelope_id":"E1","payload":{"text":"hi"}}"#;
    assert_eq!(told(&mut one), (first.number(), Some(frame.to_owned())));
    assert_eq!(told(&mut other), (second.number(), Some(frame.to_owned())));
}

#[actix::test]
async fn whichever_comes_first_the_journal_or_the_handlers_end_the_end_is_told_once() {
    let (asks, _bell) = asks();
    let stored = |id: &str, seq| Event { seq: Seq(seq), ..event(id) };
    let (_one, _first) = wait(&asks, "E1");
    let (_, asked) = asks.take(event("E1").dedupe).unwrap().to([0]).pop().unwrap();
    assert_eq!(asks.claim(&stored("E1", 7)).asked, [(0, None)]);
    assert_eq!(asked.conclude(Outcome::Done, &web()).await.1, Some(Seq(7)));

    let (_two, _second) = wait(&asks, "E2");
    let (_, asked) = asks.take(event("E2").dedupe).unwrap().to([0]).pop().unwrap();
    assert_eq!(asked.conclude(Outcome::Done, &web()).await.1, None);
    assert_eq!(asks.claim(&stored("E2", 8)).asked, [(0, Some(Ending::Of(Outcome::Done)))]);

    assert!(asks.claim(&stored("E3", 9)).asked.is_empty(), "nobody was asked");
}

#[actix::test]
async fn a_question_that_is_dropped_anywhere_on_its_way_has_failed() {
    let (asks, _bell) = asks();
    let (mut link, ticket) = wait(&asks, "E1");
    drop(asks.take(event("E1").dedupe).unwrap());
    ticket.stored();
    assert_eq!(told(&mut link).1.as_deref(), Some(r#"{"envelope_id":"E1"}"#));

    let (mut link, ticket) = wait(&asks, "E2");
    drop(asks.take(event("E2").dedupe).unwrap().to([0]));
    ticket.stored();
    assert_eq!(told(&mut link).1.as_deref(), Some(r#"{"envelope_id":"E2"}"#));
    let claim = asks.claim(&event("E2"));
    assert_eq!(claim.asked, [(0, Some(Ending::Of(Outcome::Retry { after: None })))], "it is tried again");

    let (asks, bell) = self::asks();
    drop(bell);
    let (mut link, ticket) = wait(&asks, "E3");
    ticket.ring();
    ticket.stored();
    assert_eq!(told(&mut link).1.as_deref(), Some(r#"{"envelope_id":"E3"}"#), "there is no dispatcher");
}

#[actix::test]
async fn what_handlers_are_asked_with_is_bounded_in_bytes_until_they_are_done() {
    let (asks, _bell) = asks();
    let large = |id: &str| Event { payload: "x".repeat(MOST_BYTES / 2).into(), ..event(id) };
    let (words, _link) = unbounded();
    let begin = |id: &str| asks.begin(&large(id), Way::AckOrUrl, id, &words, Duration::ZERO);
    let first = begin("E1").unwrap();
    assert!(begin("E2").is_none());
    let again = begin("E1");
    assert!(again.is_some(), "a repeat costs nothing more");
    let (_, asked) = asks.take(large("E1").dedupe).unwrap().to([0]).pop().unwrap();
    assert!(begin("E3").is_none());
    asked.conclude(Outcome::Done, &web()).await;
    assert!(begin("E4").is_some());
    drop(first);
}

#[actix::test]
async fn while_who_would_answer_is_paused_a_command_is_told_so_and_no_message_is_overwritten() {
    for (kind, kind_type, says) in
        [(Kind::SlashCommands, "/deploy", true), (Kind::Interactive, "interactive_message", false)]
    {
        let (asks, _bell) = asks();
        let (words, mut link) = unbounded();
        let event = Event { kind, kind_type: kind_type.into(), ..event("E1") };
        let ticket = asks.begin(&event, Way::AckOrUrl, "E1", &words, asks.clock.mono()).unwrap();
        asks.take(event.dedupe).unwrap().paused();
        ticket.stored();
        assert_eq!(told(&mut link).1.unwrap().contains("paused"), says, "{kind_type}");
    }
}

#[actix::test]
async fn what_no_answer_can_help_any_more_is_asked_of_nobody() {
    let (asks, _bell) = asks();
    let (words, _link) = unbounded();
    let begin = |id: &str| asks.begin(&event(id), Way::AckOnly, id, &words, asks.clock.mono()).unwrap();
    let ticket = begin("E1");
    ticket.entry.change(|state| state.exchange.due());
    assert!(asks.take(event("E1").dedupe).is_none());
    assert!(asks.claim(&event("E1")).has_expired && asks.has_expired(&event("E1")));

    let ticket = begin("E2");
    let (_, asked) = asks.take(event("E2").dedupe).unwrap().to([0]).pop().unwrap();
    assert!(!asked.has_expired());
    ticket.entry.change(|state| state.exchange.due());
    assert!(asked.has_expired());
    assert_eq!(asked.let_go(), (Ending::Expired(UNASKED), None));
    asks.claim(&event("E2"));
    drop(ticket);
    sweep(&mut lock(&asks.table), Duration::from_mins(10));
    assert!(
        lock(&asks.table).entries.is_empty() && asks.has_expired(&event("E2")),
        "also when it is long over"
    );
}

#[actix::test]
async fn a_repeat_that_comes_after_minutes_is_acked_bare_and_asks_nobody() {
    let (asks, _bell) = asks();
    let (mut link, ticket) = wait(&asks, "E1");
    let (_, asked) = asks.take(event("E1").dedupe).unwrap().to([0]).pop().unwrap();
    ticket.stored();
    asked.conclude(Outcome::answer(&json!({ "text": "hi" })), &web()).await;
    asks.claim(&Event { seq: Seq(7), ..event("E1") });
    told(&mut link);
    sweep(&mut lock(&asks.table), Duration::from_mins(10));
    assert!(lock(&asks.table).entries.is_empty());

    assert!(asks.is_beaten(&event("E1")), "it has been answered");
    let (mut link, again) = wait(&asks, "E1");
    again.ring();
    assert!(asks.take(event("E1").dedupe).is_none());
    let ended = Some(Ending::Of(Outcome::Done));
    assert_eq!(asks.claim(&event("E1")).asked, [(0, ended)], "where nothing is kept it comes again");
    again.stored();
    assert_eq!(told(&mut link).1.as_deref(), Some(r#"{"envelope_id":"E1"}"#));
}

#[actix::test]
async fn an_exchange_about_what_was_on_disk_before_is_forgotten_unless_another_envelope_brought_it_there() {
    for (repeats, forgotten) in [(0, true), (1, false)] {
        let (asks, _bell) = asks();
        let (_link, ticket) = wait(&asks, "E1");
        let others: Vec<_> = (0..repeats).map(|_| wait(&asks, "E1")).collect();
        asks.take(event("E1").dedupe).unwrap().to([]);
        ticket.was_there();
        ticket.stored();
        drop((ticket, others));
        sweep(&mut lock(&asks.table), Duration::from_mins(10));
        assert_eq!(lock(&asks.table).entries.is_empty(), forgotten);
    }
}

#[actix::test]
async fn who_tries_again_after_anothers_answer_is_refused() {
    let (asks, _bell) = asks();
    let (_link, ticket) = wait(&asks, "E1");
    ticket.stored();
    let mut asked = asks.take(event("E1").dedupe).unwrap().to([0, 1]);
    let ((_, second), (_, first)) = (asked.pop().unwrap(), asked.pop().unwrap());
    first.conclude(Outcome::Retry { after: None }, &web()).await;
    assert_eq!(
        second.conclude(Outcome::answer(&json!({ "text": "hi" })), &web()).await.0,
        Ending::Of(Outcome::Done)
    );
    assert!(asks.is_beaten(&event("E1")));
    assert!(!asks.is_beaten(&event("E2")), "nobody was asked");
}

#[actix::test]
async fn answers_that_are_kept_for_repeats_take_up_room_and_are_not_kept_where_there_is_none() {
    let (asks, _bell) = asks();
    let answer = async |id: &str| {
        let (mut link, ticket) = wait(&asks, id);
        let (_, asked) = asks.take(event(id).dedupe).unwrap().to([0]).pop().unwrap();
        ticket.stored();
        asked.conclude(Outcome::answer(&json!({ "text": "hi" })), &web()).await;
        assert!(told(&mut link).1.unwrap().contains("hi"));
        let (mut link, _repeat) = wait(&asks, id);
        told(&mut link).1.unwrap().contains("hi")
    };
    assert!(answer("E1").await);
    let taken = asks.room.0.load(Ordering::Relaxed);
    assert_eq!(taken, r#"{"text":"hi"}"#.len());
    let event_bytes = "{}".len() + OVERHEAD;
    let _others = asks.room.take(MOST_BYTES - taken - event_bytes).unwrap();
    assert!(!answer("E2").await);
}

fn asks() -> (Arc<Asks>, mpsc::Receiver<DedupeKey>) {
    let routes = InForce::new(Routes::new(&[], &["bot".into()], &[], AckMode::Stored));
    Asks::new(Clock::start(), Arc::new(Metrics::new().unwrap()), routes, HandlerSet::one(0))
}

/// A link on which the envelope came.
fn wait(asks: &Arc<Asks>, id: &str) -> (UnboundedReceiver<Word>, Ticket) {
    let (words, link) = unbounded();
    let ticket = asks.begin(&event(id), Way::AckOrUrl, id, &words, asks.clock.mono()).unwrap();
    (link, ticket)
}

/// The next word about an answer.
fn told(link: &mut UnboundedReceiver<Word>) -> (u64, Option<String>) {
    match link.try_recv() {
        Ok(Word::Answered { ticket, ack }) => (ticket, ack.map(|ack| ack.as_str().to_owned())),
        Ok(Word::Verdict { .. } | Word::Retire(_) | Word::Stop) | Err(_) => panic!("no word about an answer"),
    }
}

fn event(id: &str) -> Event {
    Event {
        seq: Seq(0),
        app: AppId(1),
        workspace: None,
        kind: Kind::SlashCommands,
        kind_type: "/deploy".into(),
        slack_id: id.into(),
        dedupe: dedupe::key(AppId(1), Kind::SlashCommands, id),
        retry: 0,
        received_ms: 0,
        payload: "{}".into(),
    }
}

fn web() -> std::rc::Rc<WebApi> {
    let tls = tls::client_config(None).unwrap();
    WebApi::new(&Outside { api: "http://127.0.0.1:1/api/".parse().unwrap(), tls })
}
