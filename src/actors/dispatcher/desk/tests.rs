//! A handler whose thread does not come to read what it is told is not dead.

use std::sync::{Mutex, mpsc as blocking};

use async_trait::async_trait;
use futures_channel::mpsc::unbounded;
use tokio::sync::mpsc;

use super::*;
use crate::actors::asked::Asks;
use crate::actors::names::Names;
use crate::actors::routing::InForce;
use crate::clock::Clock;
use crate::config::KeySource;
use crate::event::{DedupeKey, Kind};
use crate::handlers::{Delivery, Handler, Options, Outcome, Registry};
use crate::ids::AppId;
use crate::machine::answer::Way;
use crate::machine::routes::{AckMode, HandlerSet, Routes};
use crate::slack::tls;
use crate::slack::web::Outside;
use crate::store::{OpenOptions, Workspaces};
use crate::telemetry::Metrics;

#[actix::test]
async fn a_handler_whose_mailbox_is_full_is_not_dead_and_gets_all_later_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("t.db").display().to_string();
    let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
    let workspaces = crate::store::open(options).await.unwrap().store as Arc<dyn Workspaces>;
    let (go_on, gate) = blocking::channel();
    let (begun, mut began) = mpsc::channel(8);
    let stuck = Stuck { gate: Arc::new(Mutex::new(gate)), begun };
    let mut registry = Registry::default();
    registry.register("stuck", Options::default(), move |_| stuck.clone()).unwrap();
    let plugin = Arc::new(registry.into_plugins().pop().unwrap());
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
    let routes = InForce::new(Routes::new(&[], &["stuck".into()], &[], AckMode::Stored));
    let (asks, _bell) = Asks::new(clock, Arc::clone(&metrics), routes, HandlerSet::one(0));
    let (finished, mut ends) = mpsc::channel(64);
    let tls = tls::client_config(None).unwrap();
    let parts = Parts {
        handler: 0,
        metrics: metrics.handler("stuck"),
        plugin,
        outside: Arc::new(Outside { api: "http://127.0.0.1:1/api/".parse().unwrap(), tls }),
        workspaces,
        finished,
        clock,
        names: Arc::new(Names::default()),
        tries_again: true,
        asks: Arc::clone(&asks),
        started_ms: 0,
        node: metrics,
        aloud: Arc::default(),
    };
    let mut desk = Desk::new(parts, Limits::NODE, None);
    desk.give(1, InHand::new(Arc::new(event(1)), None));
    desk.pump();
    assert_eq!(began.recv().await, Some(Seq(1)), "its thread is busy from here on");

    let lane = Lane::of(&event(1));
    while desk.unsaid.is_empty() {
        desk.say(Word::LetGo(lane, 0));
    }
    let (words, mut link) = unbounded();
    let ticket = asks.begin(&event(0), Way::AckOrUrl, "E0", &words, clock.mono()).unwrap();
    ticket.stored();
    let (_, asked) = asks.take(event(0).dedupe).unwrap().to([0]).pop().unwrap();
    desk.ask(asked);
    assert!(link.try_recv().is_ok(), "who asks it has failed");
    for seq in 2..4 {
        desk.give(1, InHand::new(Arc::new(event(seq)), None));
        desk.pump();
    }
    desk.revive();
    assert!(desk.actor.is_some());

    drop(go_on);
    let mut done = Vec::new();
    while done.len() < 3 {
        desk.pump();
        tokio::select! {
            told = ends.recv() => done.extend(told.unwrap().ends.into_iter().map(|(seq, ..)| seq)),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(done, [1, 2, 3].map(Seq), "each once");
    assert!(desk.unsaid.is_empty());
}

/// Blocks its thread until it may go on.
#[derive(Clone)]
struct Stuck {
    gate: Arc<Mutex<blocking::Receiver<()>>>,
    begun: mpsc::Sender<Seq>,
}

#[async_trait(?Send)]
impl Handler for Stuck {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        self.begun.try_send(delivery.event.seq).unwrap();
        // An error once it may.
        self.gate.lock().unwrap().recv().unwrap_err();
        Outcome::Done
    }
}

fn event(seq: i64) -> Event {
    Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: None,
        kind: Kind::SlashCommands,
        kind_type: "/deploy".into(),
        slack_id: "E".into(),
        dedupe: DedupeKey([u8::try_from(seq).unwrap(); 16]),
        retry: 0,
        received_ms: 0,
        payload: "{}".into(),
    }
}
