//! A dispatcher with a real handler's actor, over a [store](super::books) that is let go by hand, in time that passes by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;
use futures_channel::mpsc::unbounded;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::books::{Books, What};
use crate::actors::asked::{Asks, Ticket};
use crate::actors::budget::Budget;
use crate::actors::changes::Changes;
use crate::actors::dispatcher::{Dispatcher, Drain, Limits, Parts};
use crate::actors::handler::HandlerActor;
use crate::actors::journal::{Committed, Marks};
use crate::actors::names::Names;
use crate::actors::routing::InForce;
use crate::clock::{Clock, Skew};
use crate::event::{DedupeKey, Event, Kind};
use crate::handlers::{Delivery, Handler as Plug, Options, Order, Outcome, Registry};
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId, WriterId};
use crate::machine::answer::Way;
use crate::machine::lanes::Bounds;
use crate::machine::routes::{AckMode, HandlerSet, Routes};
use crate::slack::tls;
use crate::slack::web::Outside;
use crate::status::feed::Feed;
use crate::store::{
    Absent, Deliveries, DeliveryId, DeliveryRow, DeliveryStatus, Inbox, Lane, Workspaces, Writer,
};
use crate::telemetry::Metrics;

/// Little enough that few events fill it.
pub(super) const SMALL: Limits = Limits { in_flight: 16, lane: Bounds { plenty: 4, little: 2 }, due: 2 };

/// What a handler is to do with a delivery.
#[derive(Clone, Debug)]
pub(super) enum Do {
    Done,
    /// Again, after so long.
    Again(Duration),
    Reject,
    Panic,
}

/// A delivery that the handler is at work on.
struct Open {
    seq: i64,
    /// What shares it is not to be given beside it.
    key: Option<(Lane, i64)>,
    then: oneshot::Sender<Do>,
}

/// What the handler does, and has done.
#[derive(Default)]
pub(super) struct Told {
    open: Vec<Open>,
    /// What it does at once.
    at_once: Option<Do>,
    /// The tries that began, in order: seq and attempt.
    pub(super) begun: Vec<(i64, u32)>,
    /// The events that have ended, or are at their last try, in order.
    pub(super) ended: Vec<i64>,
    /// The events that were handled, in order.
    pub(super) done: Vec<i64>,
    /// What must not be, as it was seen.
    pub(super) wrong: Vec<String>,
    order: Order,
    attempts: u32,
    /// Which life of the handler counts: those before are dead.
    life: u32,
}

/// Shared with the handler.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<Told>>);

impl Script {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// What it is at work on.
    pub(super) fn open(&self) -> Vec<i64> {
        let mut told = self.told();
        told.open.retain(|open| !open.then.is_closed());
        told.open.iter().map(|open| open.seq).collect()
    }

    /// Ends what it is at work on. False when it is not.
    pub(super) fn end(&self, seq: i64, how: Do) -> bool {
        let mut told = self.told();
        let Some(at) = told.open.iter().position(|open| open.seq == seq) else { return false };
        let open = told.open.remove(at);
        drop(told);
        open.then.send(how).is_ok()
    }

    /// From now on it ends all at once, also what it is at work on.
    pub(super) fn always(&self, how: &Do) {
        self.told().at_once = Some(how.clone());
        for seq in self.open() {
            self.end(seq, how.clone());
        }
    }

    fn begin(&self, life: u32, delivery: &Delivery) -> Option<oneshot::Receiver<Do>> {
        let mut told = self.told();
        if told.life != life {
            return None;
        }
        // What took too long was dropped.
        told.open.retain(|open| !open.then.is_closed());
        let seq = number(&delivery.event);
        let key = told.order.key(&delivery.event).filter(|_| delivery.attempt == 1);
        let key = key.map(|key| (Lane::of(&delivery.event), key));
        for open in &told.open {
            if open.seq == seq || (key.is_some() && open.key == key) {
                let wrong = format!("{seq} is given beside {}", open.seq);
                told.wrong.push(wrong);
                break;
            }
        }
        told.begun.push((seq, delivery.attempt));
        if delivery.attempt >= told.attempts {
            told.ended.push(seq);
        }
        let (then, end) = oneshot::channel();
        match told.at_once.clone() {
            Some(how) => then.send(how).unwrap(),
            None => told.open.push(Open { seq, key, then }),
        }
        Some(end)
    }
}

struct Scripted {
    script: Script,
    life: u32,
}

#[async_trait(?Send)]
impl Plug for Scripted {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let seq = number(&delivery.event);
        let end = self.script.begin(self.life, &delivery);
        let how = match end {
            Some(end) => end.await,
            None => std::future::pending().await,
        };
        match how {
            Ok(Do::Done) => {
                let mut told = self.script.told();
                told.done.push(seq);
                told.ended.push(seq);
                Outcome::Done
            }
            Ok(Do::Again(after)) => Outcome::Retry { after: Some(after) },
            Ok(Do::Reject) => {
                self.script.told().ended.push(seq);
                Outcome::Reject { reason: "as told".into() }
            }
            Ok(Do::Panic) => panic!("as told"),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Something done with the dispatcher itself.
#[derive(Message)]
#[rtype(result = "()")]
struct Look(Deed);

type Deed = Box<dyn FnOnce(&mut Dispatcher, &mut Context<Dispatcher>) + Send>;

impl Handler<Look> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Look(look): Look, ctx: &mut Self::Context) {
        look(self, ctx);
    }
}

/// The handler's actor ends, as by a panic in it.
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for HandlerActor {
    type Result = ();

    fn handle(&mut self, _: Die, ctx: &mut Self::Context) {
        ctx.terminate();
    }
}

pub(super) struct World {
    pub(super) books: Arc<Books>,
    pub(super) script: Script,
    pub(super) options: Options,
    limits: Limits,
    clock: Clock,
    life: Life,
    last: i64,
}

/// From one start to the next crash.
struct Life {
    dispatcher: Addr<Dispatcher>,
    marks: Arc<Marks>,
    asks: Arc<Asks>,
    /// Ends that are never used, and may not close.
    _unkept: mpsc::Sender<crate::actors::dispatcher::Unkept>,
}

static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new().unwrap()));

static OUTSIDE: LazyLock<Arc<Outside>> = LazyLock::new(|| {
    let tls = tls::client_config(None).unwrap();
    Arc::new(Outside { api: "http://127.0.0.1:1/api/".parse().unwrap(), tls })
});

impl World {
    /// To be called on an actix system whose clock is stopped.
    pub(super) async fn new(options: Options, limits: Limits) -> Self {
        let (books, script, clock) =
            (Arc::new(Books::default()), Script::default(), Clock::steered(Skew::new()));
        script.told().order = options.order;
        script.told().attempts = options.retry.attempts;
        let life = Life::begin(&books, &script, options, limits, clock);
        let world = Self { books, script, options, limits, clock, life, last: 0 };
        world.settle().await;
        world
    }

    /// Lets time pass, and all happen that happens in it.
    pub(super) async fn pass(&self, time: Duration) {
        sleep(time).await;
        tokio::task::yield_now().await;
    }

    /// Until nothing happens any more but what waits for a gate or for its time.
    pub(super) async fn settle(&self) {
        self.pass(Duration::from_millis(30)).await;
    }

    /// Puts events of these workspaces and conversations on disk, and hands them to the dispatcher or lets it miss them.
    pub(super) fn commit(&mut self, whose: &[(i64, u8)], hands_over: bool) {
        let after = Seq(self.last);
        let mut events = Vec::new();
        for (workspace, conversation) in whose {
            self.last += 1;
            let event = event(self.last, *workspace, *conversation);
            self.books.pages().events.insert(event.seq, event.clone());
            events.push(Arc::new(event));
        }
        // As the journal does it: with its next group it notes how far all is settled.
        self.note_settled();
        self.life.marks.committed.store(self.last, Ordering::Release);
        if hands_over {
            self.life.dispatcher.try_send(Committed { after, events }).unwrap();
        }
    }

    /// Asks the handler with a command of this workspace, ahead of its turn and before it is on disk.
    pub(super) fn ask(&mut self, workspace: i64) -> (Event, Ticket) {
        self.last += 1;
        let event = Event { kind: Kind::SlashCommands, ..event(self.last, workspace, 1) };
        let (words, _) = unbounded();
        let (asks, read_at) = (&self.life.asks, self.clock.mono());
        let ticket = asks
            .begin(&Event { seq: Seq(0), ..event.clone() }, Way::AckOrUrl, "E1", &words, read_at)
            .unwrap();
        ticket.ring();
        (event, ticket)
    }

    /// Puts it on disk and hands it over.
    pub(super) fn commit_asked(&self, event: Event, ticket: &Ticket) {
        let after = Seq(self.last - 1);
        self.books.pages().events.insert(event.seq, event.clone());
        self.life.marks.committed.store(self.last, Ordering::Release);
        let events = vec![Arc::new(event)];
        self.life.dispatcher.try_send(Committed { after, events }).unwrap();
        ticket.stored();
    }

    pub(super) fn note_settled(&self) {
        let settled = Seq(self.life.marks.settled.load(Ordering::Acquire));
        self.books.pages().settled_to = settled;
    }

    /// The process dies, and another takes over.
    pub(super) async fn crash(&mut self) {
        self.life.dispatcher.try_send(Look(Box::new(|_, ctx| ctx.terminate()))).unwrap();
        self.script.told().life += 1;
        self.script.told().open.clear();
        self.books.forget_calls();
        self.settle().await;
        self.life = Life::begin(&self.books, &self.script, self.options, self.limits, self.clock);
        self.settle().await;
    }

    /// The handler's actor dies.
    pub(super) async fn kill_handler(&self) {
        let script = self.script.clone();
        self.look(move |act, _| {
            let Some(actor) = act.desks[0].actor_of_test().filter(|actor| actor.connected()) else { return };
            let mut told = script.told();
            told.life += 1;
            told.open.clear();
            actor.try_send(Die).unwrap();
        })
        .await;
        self.settle().await;
    }

    /// The node is to stop. Ends when the dispatcher has.
    pub(super) fn stop(&self) -> actix_rt::task::JoinHandle<()> {
        let dispatcher = self.life.dispatcher.clone();
        actix_rt::spawn(async move { dispatcher.send(Drain).await.unwrap() })
    }

    /// Looks into the dispatcher, or does something with it.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Dispatcher, &mut Context<Dispatcher>) -> T + Send + 'static,
    ) -> T {
        let (say, said) = oneshot::channel();
        let look = Look(Box::new(move |act, ctx| drop(say.send(look(act, ctx)))));
        self.life.dispatcher.send(look).await.unwrap();
        said.await.unwrap()
    }

    /// These and no others are paused.
    pub(super) fn pause(&self, workspaces: &[i64], handler: bool) {
        let mut pages = self.books.pages();
        pages.paused.workspaces = workspaces.iter().copied().map(WorkspaceId).collect();
        pages.paused.handlers = handler.then_some(HandlerId(1)).into_iter().collect();
    }

    pub(super) fn row(&self, seq: i64) -> Option<DeliveryRow> {
        let id = DeliveryId { seq: Seq(seq), handler: HandlerId(1), run: 1 };
        self.books.pages().rows.get(&id).cloned()
    }

    /// What the dispatcher says is settled is done or has a row.
    pub(super) fn check_settled(&self) {
        let settled = self.life.marks.settled.load(Ordering::Acquire);
        let done: BTreeSet<i64> = self.script.told().done.iter().copied().collect();
        let events: Vec<i64> = self.books.pages().events.keys().map(|seq| seq.0).collect();
        for seq in events.into_iter().take_while(|seq| *seq <= settled) {
            assert!(
                done.contains(&seq) || self.row(seq).is_some(),
                "{seq} is neither done nor has it a row, and {settled} is settled"
            );
        }
    }

    /// All is done or given up, and nothing waits in the store.
    fn check_ended(&self) {
        let told = self.script.told();
        let done: BTreeSet<i64> = told.done.iter().copied().collect();
        let pages = self.books.pages();
        let dead = |row: &DeliveryRow| matches!(row.status, DeliveryStatus::Dead | DeliveryStatus::Cancelled);
        let rows: BTreeMap<i64, &DeliveryRow> = pages.rows.values().map(|row| (row.id.seq.0, row)).collect();
        for seq in pages.events.keys() {
            let is_dead = rows.get(&seq.0).is_some_and(|row| dead(row));
            // Both, where its handler died before it had told.
            assert!(done.contains(&seq.0) || is_dead, "{seq}: {:?}", rows.get(&seq.0));
        }
        for row in rows.values() {
            assert!(!matches!(row.status, DeliveryStatus::Waiting | DeliveryStatus::Retrying), "{row:?}");
        }
        assert!(told.wrong.is_empty(), "{:?}", told.wrong);
    }

    /// Lets all go, and all end well; then nothing is owed.
    pub(super) async fn end(&mut self) {
        for what in What::ALL {
            self.books.free(what);
        }
        self.pause(&[], false);
        self.script.always(&Do::Done);
        self.pass(Duration::from_secs(120)).await;
        self.check_settled();
        self.check_ended();
        let (last, marks) = (self.last, Arc::clone(&self.life.marks));
        assert_eq!(marks.settled.load(Ordering::Acquire), last, "all is settled");
        self.look(|act, _| {
            assert_eq!((act.window.undone(), act.bytes), (0, 0));
            for desk in &act.desks {
                assert!(desk.is_idle() && desk.ending.is_empty() && desk.put_back.is_empty());
                assert_eq!(desk.lanes.here(), 0);
                assert!(desk.lanes.all_held().is_empty());
                assert!(desk.lanes.is_empty(), "{:?}", desk.lanes);
            }
        })
        .await;
    }
}

impl Life {
    fn begin(books: &Arc<Books>, script: &Script, options: Options, limits: Limits, clock: Clock) -> Self {
        let (last, settled_to) = {
            let pages = books.pages();
            (pages.events.keys().last().copied().unwrap_or(Seq(0)), pages.settled_to)
        };
        let marks = Marks::new(&Writer { id: WriterId(1), number: 1, last, settled_to }, clock);
        let mut registry = Registry::default();
        let script = script.clone();
        let make = move |_: &crate::handlers::Context| {
            let life = script.told().life;
            Scripted { script: script.clone(), life }
        };
        registry.register("scripted", options, make).unwrap();
        let metrics = Arc::clone(&METRICS);
        let routes = InForce::new(Routes::new(&[], &["scripted".into()], &[], AckMode::Stored));
        let answering = if options.answers { HandlerSet::one(0) } else { HandlerSet::NONE };
        let (asks, asked) = Asks::new(clock, Arc::clone(&metrics), Arc::clone(&routes), answering);
        let (unkept_sender, unkept) = mpsc::channel(1);
        let dispatcher = Dispatcher::new(Parts {
            journal: Arc::clone(books) as Arc<dyn Inbox>,
            store: Arc::clone(books) as Arc<dyn Deliveries>,
            workspaces: Arc::new(Absent) as Arc<dyn Workspaces>,
            writer: Some(WriterId(1)),
            marks: Some(Arc::clone(&marks)),
            unkept,
            plugins: registry.into_plugins().into_iter().map(Arc::new).collect(),
            routes,
            asks: Arc::clone(&asks),
            asked,
            outside: Arc::clone(&OUTSIDE),
            budget: Budget::new(1 << 20, 0),
            clock,
            metrics,
            feed: Arc::new(Feed::default()),
            changes: Arc::new(Changes::default()),
            names: Arc::new(Names::default()),
            limits,
            thread: Some(Arbiter::current()),
        });
        Self { dispatcher: dispatcher.start(), marks, asks, _unkept: unkept_sender }
    }
}

/// One after the other within a workspace, and no one passes what has failed.
pub(super) fn in_order() -> Options {
    Options { order: Order::Workspace, hold: None, ..Options::default() }
}

/// Its seq, which one that is asked with does not have yet.
fn number(event: &Event) -> i64 {
    event.slack_id.trim_start_matches("Ev").parse().unwrap()
}

fn event(seq: i64, workspace: i64, conversation: u8) -> Event {
    Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: Some(WorkspaceId(workspace)),
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: format!("Ev{seq}").into(),
        dedupe: DedupeKey(u128::from(seq.unsigned_abs()).to_be_bytes()),
        retry: 0,
        received_ms: 0,
        payload: format!(r#"{{"event":{{"type":"message","channel":"C{conversation}"}}}}"#).into(),
    }
}
