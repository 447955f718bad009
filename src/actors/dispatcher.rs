//! Which handlers get an event, and what of it is done. Takes what the journal hands on; what it missed or had no room for
//! it reads back from the store, which is also how a start after a crash works: nothing depends on the memory.
//!
//! One rule: below the mark up to which all is settled every event is done or has a row among what is owed. What is done at once never
//! gets one.

mod asking;
mod beginning;
mod desk;
mod ends;
mod noting;
mod owing;
mod reading;
#[cfg(test)]
mod tests;
mod ticking;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::asked::Asks;
use super::budget::{Budget, OVERHEAD, Share};
use super::changes::Changes;
use super::gulps::Gulps;
use super::handler::Finished;
use super::journal::{Committed, Marks};
use super::lifecycle::{self, Lifecycle};
use super::names::Names;
use super::routing::InForce;
use crate::clock::{Clock, Now, millis};
use crate::event::{DedupeKey, Event};
use crate::handlers::Plugin;
use crate::ids::{Seq, WorkspaceId, WriterId};
use crate::machine::dice::Dice;
use crate::machine::lanes::{Bounds, Place};
use crate::machine::routes::{HandlerSet, Routes};
use crate::machine::seq::SeqMaker;
use crate::machine::wall::Wall;
use crate::machine::window::Window;
use crate::slack::web::Outside;
use crate::status::feed::Feed;
use crate::store::{Deliveries, DeliveryChange, DeliveryId, Inbox, Lane, Workspaces};
use crate::telemetry::Metrics;
use beginning::Look;
use desk::{Desk, InHand};
use noting::Noting;
use owing::{Owing, Pending, Waits};
use reading::Behind;

/// Events between journal and handlers at most; the rest waits on disk.
pub(super) const IN_FLIGHT: usize = 4096;

/// Their bytes at most.
const IN_FLIGHT_BYTES: usize = 32 << 20;

/// How much of what is on its way is in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Events between journal and handlers, and deliveries of one handler.
    in_flight: usize,
    /// Deliveries of one lane.
    lane: Bounds,
    /// Deliveries that have waited for their time, read at once.
    due: u32,
}

impl Limits {
    /// A node's.
    pub(super) const NODE: Self =
        Self { in_flight: IN_FLIGHT, lane: Bounds { plenty: 1024, little: 64 }, due: 256 };

    /// How much of a handler's may be deliveries that have waited for their time.
    const fn late(&self) -> usize {
        self.in_flight / 4
    }
}

/// Groups of the journal's that may wait for the dispatcher; what finds no place is read back.
const GROUPS: usize = 32;

/// How often it is checked whether anything was missed or has come due, or a handler has died.
const TICK: Duration = Duration::from_secs(1);

/// The pause before what was refused by the database is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Events of which nothing is kept. Their bytes stay in the budget until they are handled.
pub(super) struct Unkept {
    pub(super) events: Vec<Event>,
    pub(super) share: Share,
}

impl Message for Committed {
    type Result = ();
}

/// No new work; let what handlers are at work on finish. The answer comes when they have, or never.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Drain;

/// How many deliveries have begun or are not written down, and are not done?
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub(super) struct Left;

/// What the dispatcher is made of.
pub(super) struct Parts {
    /// Where what was missed is read back from.
    pub(super) journal: Arc<dyn Inbox>,
    /// Where it is written down what handlers owe.
    pub(super) store: Arc<dyn Deliveries>,
    pub(super) workspaces: Arc<dyn Workspaces>,
    /// The writer whose events these are; none where nothing is kept.
    pub(super) writer: Option<WriterId>,
    /// What the journal and the dispatcher tell each other; none where nothing is kept.
    pub(super) marks: Option<Arc<Marks>>,
    /// Events of which nothing is kept.
    pub(super) unkept: mpsc::Receiver<Unkept>,
    pub(super) plugins: Vec<Arc<Plugin>>,
    /// Who of them gets what.
    pub(super) routes: Arc<InForce>,
    /// Where answers are waited for, and word of what handlers are to be asked with.
    pub(super) asks: Arc<Asks>,
    pub(super) asked: mpsc::Receiver<DedupeKey>,
    pub(super) outside: Arc<Outside>,
    pub(super) budget: Arc<Budget>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// Where it is told what did not go well at once.
    pub(super) feed: Arc<Feed>,
    /// Where changes of what is stored are told.
    pub(super) changes: Arc<Changes>,
    /// What whom an event is of is called in the log.
    pub(super) names: Arc<Names>,
    pub(super) limits: Limits,
    /// Where handlers run; none: each on a thread of its own.
    pub(super) thread: Option<ArbiterHandle>,
}

/// The bytes of a batch that is not kept, lent until the last of its events is handled.
struct Loan {
    last: Seq,
    undone: usize,
    share: Option<Share>,
}

/// The dispatcher.
pub(super) struct Dispatcher {
    journal: Arc<dyn Inbox>,
    store: Arc<dyn Deliveries>,
    writer: WriterId,
    marks: Option<Arc<Marks>>,
    clock: Clock,
    desks: Vec<Desk>,
    routes: Arc<InForce>,
    limits: Limits,
    /// Deliveries of which rows tell more than the journal does, from before the start, and the last of their events.
    ruled: (HashSet<DeliveryId>, Seq),
    /// The last event on disk before the start.
    begun_at: Seq,
    /// Does it know what was owed at the start? Nothing is taken in before.
    has_begun: bool,
    paused: HashSet<WorkspaceId>,
    owing: Owing,
    dice: Dice,
    ticks: u32,
    looks: HashSet<Look>,
    /// When it is looked next, before the next tick, what has come due, milliseconds since 1970.
    due_at: Option<i64>,
    /// When it was made.
    made: Now,
    wall: Wall,
    noting: Noting,
    window: Window,
    /// Seqs for events that are not kept.
    seqs: SeqMaker,
    /// Bytes of events in the window.
    bytes: usize,
    /// Batches that are not kept, by the seqs of their last events.
    loans: VecDeque<Loan>,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    names: Arc<Names>,
    feed: Arc<Feed>,
    asks: Arc<Asks>,
    inboxes: Option<(mpsc::Receiver<Finished>, mpsc::Receiver<Unkept>, mpsc::Receiver<DedupeKey>)>,
    behind: Behind,
    /// Who waits for the end, once the end has begun.
    drained: Option<Vec<oneshot::Sender<()>>>,
}

impl Dispatcher {
    /// A dispatcher for these handlers.
    pub(super) fn new(parts: Parts) -> Self {
        let (finished, inbox) = mpsc::channel(2 * IN_FLIGHT * parts.plugins.len().max(1));
        let workspaces = Arc::clone(&parts.workspaces);
        let desk = |(handler, plugin): (usize, &Arc<Plugin>)| {
            let of_handler = super::handler::Parts {
                handler,
                metrics: parts.metrics.handler(&plugin.name),
                plugin: Arc::clone(plugin),
                outside: Arc::clone(&parts.outside),
                workspaces: Arc::clone(&workspaces),
                finished: finished.clone(),
                clock: parts.clock,
                names: Arc::clone(&parts.names),
                tries_again: parts.marks.is_some(),
                asks: Arc::clone(&parts.asks),
                started_ms: parts.clock.now().wall_ms,
                node: Arc::clone(&parts.metrics),
                aloud: Arc::default(),
            };
            Desk::new(of_handler, parts.limits, parts.thread.clone())
        };
        let settled = parts.marks.as_ref().map_or(Seq(0), |marks| Seq(marks.settled.load(Ordering::Acquire)));
        let seed = u64::try_from(parts.clock.now().wall_ms).unwrap_or_default();
        Self {
            desks: parts.plugins.iter().enumerate().map(desk).collect(),
            routes: parts.routes,
            limits: parts.limits,
            ruled: (HashSet::new(), Seq(0)),
            begun_at: parts
                .marks
                .as_ref()
                .map_or(Seq(0), |marks| Seq(marks.committed.load(Ordering::Acquire))),
            has_begun: parts.marks.is_none(),
            paused: HashSet::new(),
            owing: Owing::default(),
            dice: Dice::new(seed),
            ticks: 0,
            looks: HashSet::new(),
            due_at: None,
            made: parts.clock.now(),
            wall: Wall::default(),
            noting: Noting::new(Lifecycle::new(
                Arc::clone(&workspaces),
                parts.outside,
                parts.clock,
                parts.changes,
                Arc::clone(&parts.names),
            )),
            journal: parts.journal,
            store: parts.store,
            writer: parts.writer.unwrap_or_default(),
            marks: parts.marks,
            clock: parts.clock,
            window: Window::new(settled),
            seqs: SeqMaker::new(0, Seq(0)),
            bytes: 0,
            loans: VecDeque::new(),
            budget: parts.budget,
            metrics: parts.metrics,
            names: parts.names,
            feed: parts.feed,
            asks: parts.asks,
            inboxes: Some((inbox, parts.unkept, parts.asked)),
            behind: Behind::Yes,
            drained: None,
        }
    }

    fn has_room(&self) -> bool {
        self.has_begun && self.window.undone() < self.limits.in_flight && self.bytes < IN_FLIGHT_BYTES
    }

    /// Takes an event in for those to whom the routes give it; one that was here before is left alone. Is there anything to be done?
    fn admit(&mut self, event: &Arc<Event>, routes: &Routes) -> bool {
        if event.seq <= self.window.last() {
            return false;
        }
        let now = self.clock.now();
        let verdict = routes.ask(event);
        let given_to = verdict.handlers;
        if given_to.is_empty() && !routes.is_empty() {
            self.metrics.unrouted.inc();
        }
        let not_ruled = given_to.iter().filter(|at| !self.is_ruled(*at, event.seq));
        let wanted = not_ruled.fold(HandlerSet::NONE, |set, at| set.and(HandlerSet::one(at)));
        let is_notable = lifecycle::concerns(event);
        let parties = u32::try_from(wanted.len() + usize::from(is_notable)).unwrap_or(u32::MAX);
        self.window.admit(event.seq, parties, now.mono);
        if parties > 0 {
            self.bytes += weight(event);
        }
        let mut claim = self.claim(event);
        for at in wanted.iter() {
            let answers = verdict.answering.contains(at)
                && self.desks.get(at).is_some_and(|desk| desk.plugin().options.answers);
            if !self.has_been_asked(at, event, &mut claim, answers) {
                self.give(at, event, now.wall_ms);
            }
        }
        if is_notable {
            self.noting.push(Arc::clone(event), now.mono);
        }
        parties > 0
    }

    /// Is there a row of before the start for it?
    fn is_ruled(&self, at: usize, seq: Seq) -> bool {
        seq <= self.ruled.1
            && self.desks.get(at).is_some_and(|desk| self.ruled.0.contains(&desk.id_of((seq, 1))))
    }

    /// Gives a handler an event that is new, or leaves it to the store.
    fn give(&mut self, at: usize, event: &Arc<Event>, now_ms: i64) {
        let is_draining = self.drained.is_some() && self.marks.is_some();
        let is_shut = is_draining || event.workspace.is_some_and(|one| self.paused.contains(&one));
        let Some(desk) = self.desks.get_mut(at) else { return };
        if self.marks.is_none() {
            return desk.give(1, InHand::new(Arc::clone(event), None));
        }
        let key = desk.plugin().options.order.key(event);
        // What comes again after a crash may come before what is in the store already: in an order it goes there first.
        let comes_again = key.is_some() && event.seq <= self.begun_at;
        let lane = Lane::of(event);
        match desk.lanes.place(lane, key, is_shut || desk.is_shut() || comes_again) {
            Place::Here => desk.give(1, InHand::new(Arc::clone(event), key)),
            Place::Behind => {
                let change = DeliveryChange::Owed(desk.row(event, 1, key, now_ms));
                let settles = Some((event.seq, weight(event)));
                if comes_again {
                    desk.lanes.is_old(lane);
                }
                let waits = if comes_again { Waits::Old } else { Waits::New };
                self.owing.push(Pending { change, desk: at, settles, waits });
            }
        }
    }

    /// One party is done with an event, or it is written down what is left to do.
    fn settle(&mut self, seq: Seq, weight: usize) {
        if !self.window.done(seq) {
            return;
        }
        self.bytes = self.bytes.saturating_sub(weight);
        let at = self.loans.partition_point(|loan| loan.last < seq);
        if let Some(loan) = self.loans.get_mut(at) {
            loan.undone = loan.undone.saturating_sub(1);
            if loan.undone == 0 {
                loan.share = None;
            }
        }
        while self.loans.front().is_some_and(|loan| loan.share.is_none()) {
            self.loans.pop_front();
        }
    }

    /// Gives handlers what waits for them, writes down what is to be written, and says how far everything is settled.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.desks.iter_mut().for_each(Desk::pump);
        self.note(ctx);
        self.write(ctx);
        let settled = self.window.settled_to();
        if let Some(marks) = &self.marks {
            marks.settled.store(settled.0, Ordering::Release);
        }
        self.catch_up(ctx);
        self.read_lanes(ctx);
        self.read_more_due(ctx);
        self.end_if_drained();
    }

    fn end_if_drained(&mut self) {
        // Where nothing is kept, what is still on its way here counts too.
        let idle = self.noting.is_idle()
            && self.desks.iter().all(Desk::is_idle)
            && self.owing.is_idle()
            && (self.marks.is_some() || self.budget.taken() == 0);
        if let Some(waiting) = self.drained.as_mut().filter(|_| idle) {
            // The answer is the end of the channel.
            waiting.clear();
        }
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(GROUPS);
        if let Some((finished, unkept, asked)) = self.inboxes.take() {
            ctx.add_stream(Gulps::of(finished));
            ctx.add_stream(Gulps::of(unkept));
            ctx.add_stream(Gulps::of(asked));
        }
        ctx.run_interval(TICK, Self::tick);
        if !self.has_begun {
            self.begin(ctx);
        }
        self.go_on(ctx);
    }
}

impl Handler<Committed> for Dispatcher {
    type Result = ();

    fn handle(&mut self, committed: Committed, ctx: &mut Self::Context) {
        let nothing_missed = committed.after <= self.window.last();
        if nothing_missed && self.has_room() {
            let routes = self.routes.get();
            for event in &committed.events {
                self.admit(event, &routes);
            }
        } else if self.behind != Behind::Reading {
            self.behind = Behind::Yes;
        }
        self.go_on(ctx);
    }
}

impl StreamHandler<Vec<Unkept>> for Dispatcher {
    fn handle(&mut self, batches: Vec<Unkept>, ctx: &mut Self::Context) {
        let now = self.clock.now().wall_ms;
        let routes = self.routes.get();
        for Unkept { events, share } in batches {
            let mut undone = 0;
            for mut event in events {
                event.seq = self.seqs.next(now);
                undone += usize::from(self.admit(&Arc::new(event), &routes));
            }
            if undone > 0 {
                self.loans.push_back(Loan { last: self.window.last(), undone, share: Some(share) });
            }
        }
        self.go_on(ctx);
    }

    /// The links are gone; the dispatcher stays for what is in flight.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl StreamHandler<Vec<Finished>> for Dispatcher {
    fn handle(&mut self, all: Vec<Finished>, ctx: &mut Self::Context) {
        for Finished { handler, ends, gave_back } in all {
            for (seq, run, end) in ends {
                self.on_end(handler, (seq, run), end);
            }
            if let Some(desk) = self.desks.get_mut(handler) {
                desk.asked_back = desk.asked_back.saturating_sub(gave_back);
            }
        }
        self.go_on(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

/// What an event counts while it is in memory.
fn weight(event: &Event) -> usize {
    event.payload.len() + OVERHEAD
}

impl Handler<Left> for Dispatcher {
    type Result = usize;

    fn handle(&mut self, _: Left, _: &mut Self::Context) -> usize {
        let in_hand = self.desks.iter().map(|desk| desk.in_hand.len()).sum::<usize>();
        in_hand.max(self.window.undone())
    }
}

impl Handler<Drain> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (sender, done) = oneshot::channel();
        if self.marks.is_some() {
            // What no handler has begun is written down for the next start.
            self.desks.iter_mut().for_each(Desk::ask_all_back);
        }
        self.drained.get_or_insert_default().push(sender);
        self.go_on(ctx);
        Box::pin(async move { done.await.unwrap_or_default() })
    }
}
