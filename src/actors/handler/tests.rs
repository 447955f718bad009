//! Whatever of a delivery panics, and whenever: the handler goes on with others.

use std::pin::Pin;
use std::sync::LazyLock;

use super::*;
use crate::actors::routing::InForce;
use crate::event::{DedupeKey, Kind};
use crate::handlers::{Delivery, Handler as Plug, Options, Registry};
use crate::ids::AppId;
use crate::machine::routes::{AckMode, HandlerSet, Routes};
use crate::slack::tls;
use crate::store::Absent;

#[actix::test]
async fn a_delivery_that_panics_when_its_time_is_over_ends_alone() {
    let (actor, ends) = handle([Bomb { ends: false, at_drop: true }, Bomb::DUD]).await;
    let late = "the handler took longer than 30s".into();
    assert_eq!(ends, [(2, End::Done), (1, End::Again { after: None, why: late })]);
    assert!(actor.connected());
}

#[actix::test]
async fn a_delivery_that_panics_after_its_end_has_ended_and_ends_alone() {
    let (actor, ends) = handle([Bomb { ends: true, at_drop: true }, Bomb::DUD]).await;
    assert_eq!(ends, [(1, End::Done), (2, End::Done)]);
    assert!(actor.connected());
}

#[actix::test]
async fn a_panic_that_throws_what_panics_when_it_is_dropped_ends_alone() {
    let (actor, ends) = handle([Bomb { ends: true, at_drop: false }, Bomb::DUD]).await;
    assert_eq!(ends, [(1, End::Again { after: None, why: "the handler panicked".into() }), (2, End::Done)]);
    assert!(actor.connected());
}

/// What becomes of two deliveries.
async fn handle(bombs: [Bomb; 2]) -> (Addr<HandlerActor>, Vec<(i64, End)>) {
    tokio::time::pause();
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
    let routes = InForce::new(Routes::new(&[], &["bombs".into()], &[], AckMode::Stored));
    let (asks, _bell) = Asks::new(clock, Arc::clone(&metrics), routes, HandlerSet::NONE);
    let mut registry = Registry::default();
    registry.register("bombs", Options::default(), move |_| Bombs(bombs)).unwrap();
    let (finished, mut ended) = mpsc::channel(8);
    let parts = Parts {
        handler: 0,
        plugin: Arc::new(registry.into_plugins().pop().unwrap()),
        outside: Arc::clone(&OUTSIDE),
        workspaces: Arc::new(Absent),
        finished,
        clock,
        metrics: metrics.handler("bombs"),
        names: Arc::new(Names::default()),
        tries_again: true,
        asks,
        started_ms: 0,
        node: metrics,
        aloud: Arc::default(),
    };
    let actor = HandlerActor::new(parts).start();
    actor.send(Word::Work(vec![item(1), item(2)])).await.unwrap();
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let told = ended.recv().await.expect("the handler died");
        ends.extend(told.ends.into_iter().map(|(seq, _, end)| (seq.0, end)));
    }
    (actor, ends)
}

/// One delivery.
#[derive(Clone, Copy)]
struct Bomb {
    ends: bool,
    /// Does it panic when it is dropped, or while it is handled?
    at_drop: bool,
}

impl Bomb {
    /// Nothing is wrong with it.
    const DUD: Self = Self { ends: false, at_drop: false };
}

struct Bombs([Bomb; 2]);

impl Plug for Bombs {
    fn handle<'a, 'b>(&'a self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Outcome> + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(Handling(self.0[usize::try_from(delivery.event.seq.0).unwrap() - 1]))
    }
}

struct Handling(Bomb);

impl Future for Handling {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Outcome> {
        match self.0 {
            Bomb { ends: false, at_drop: true } => std::task::Poll::Pending,
            Bomb { ends: true, at_drop: false } => std::panic::panic_any(Thrown),
            Bomb { .. } => std::task::Poll::Ready(Outcome::Done),
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        assert!(!self.0.at_drop, "as told");
    }
}

struct Thrown;

impl Drop for Thrown {
    fn drop(&mut self) {
        panic!("as told");
    }
}

static OUTSIDE: LazyLock<Arc<Outside>> = LazyLock::new(|| {
    let tls = tls::client_config(None).unwrap();
    Arc::new(Outside { api: "http://127.0.0.1:1/api/".parse().unwrap(), tls })
});

fn item(seq: i64) -> Item {
    let event = Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: "E".into(),
        dedupe: DedupeKey([0; 16]),
        retry: 0,
        received_ms: 0,
        payload: "{}".into(),
    };
    Item { event: Arc::new(event), run: 1, attempt: 1, key: None }
}
