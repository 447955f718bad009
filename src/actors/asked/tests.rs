//! What the tests of whole nodes cannot bring about: full tables, dispatchers that are gone, and who comes first.

use std::time::Duration;

use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use serde_json::json;

use super::*;
use crate::handlers::Outcome;
use crate::ids::AppId;
use crate::machine::answer::Way;
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

fn asks() -> (Arc<Asks>, mpsc::Receiver<DedupeKey>) {
    Asks::new(Clock::start(), Arc::new(Metrics::new().unwrap()))
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
