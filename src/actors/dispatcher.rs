//! Which handlers get an event, and what of it is done. Takes what the journal hands on; what it missed or had no room for
//! it reads back from the store, which is also how a start after a crash works: nothing depends on the memory.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::budget::{Budget, OVERHEAD, Share};
use super::changes::Changes;
use super::gulps::Gulps;
use super::handler::Finished;
use super::journal::{Committed, Marks};
use super::lane::Lane;
use super::lifecycle::{self, Lifecycle};
use super::names::Names;
use crate::clock::Clock;
use crate::event::Event;
use crate::handlers::Plugin;
use crate::ids::Seq;
use crate::machine::seq::SeqMaker;
use crate::machine::window::Window;
use crate::slack::web::Outside;
use crate::store::{Inbox, StoreError, Workspaces};
use crate::telemetry::Metrics;

/// Events between journal and handlers at most; the rest waits on disk.
pub(super) const IN_FLIGHT: usize = 4096;

/// Their bytes at most.
const IN_FLIGHT_BYTES: usize = 32 << 20;

/// Groups of the journal's that may wait for the dispatcher; what finds no place is read back.
const GROUPS: usize = 32;

/// A page read back from the store: events, bytes.
const PAGE: (u32, usize) = (512, 4 << 20);

/// How often it is checked whether anything was missed or a handler has died.
const TICK: Duration = Duration::from_secs(1);

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

/// How many events are not done?
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub(super) struct Left;

/// What the dispatcher is made of.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Inbox>,
    /// Where handlers find bot tokens.
    pub(super) workspaces: Arc<dyn Workspaces>,
    /// What the journal and the dispatcher tell each other; none where nothing is kept.
    pub(super) marks: Option<Arc<Marks>>,
    /// Events of which nothing is kept.
    pub(super) unkept: mpsc::Receiver<Unkept>,
    pub(super) plugins: Vec<Arc<Plugin>>,
    pub(super) outside: Arc<Outside>,
    pub(super) budget: Arc<Budget>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// Where changes of what is stored are told.
    pub(super) changes: Arc<Changes>,
    /// What whom an event is of is called in the log.
    pub(super) names: Arc<Names>,
}

/// The bytes of a batch that is not kept, lent until the last of its events is handled.
struct Loan {
    last: Seq,
    undone: usize,
    share: Option<Share>,
}

/// The dispatcher.
pub(super) struct Dispatcher {
    store: Arc<dyn Inbox>,
    marks: Option<Arc<Marks>>,
    clock: Clock,
    lanes: Vec<Lane>,
    lifecycle: Rc<Lifecycle>,
    /// Events that say something of their installation, not yet taken up, and how many are being.
    notable: Vec<Arc<Event>>,
    noting: usize,
    window: Window,
    /// Seqs for events that are not kept.
    seqs: SeqMaker,
    /// Bytes of events in the window.
    bytes: usize,
    /// Batches that are not kept, by the seqs of their last events.
    loans: VecDeque<Loan>,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    inboxes: Option<(mpsc::Receiver<Finished>, mpsc::Receiver<Unkept>)>,
    behind: Behind,
    /// Who waits for the end, once the end has begun.
    drained: Option<Vec<oneshot::Sender<()>>>,
}

/// Is there more on disk than was handed on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    No,
    /// More was on disk at the last tick: either it is still on its way here or it was missed.
    Perhaps(Seq),
    Yes,
    Reading,
}

impl Dispatcher {
    /// A dispatcher for these handlers.
    pub(super) fn new(parts: Parts) -> Self {
        let (finished, inbox) = mpsc::channel(IN_FLIGHT * parts.plugins.len().max(1));
        let lane = |(handler, plugin): (usize, &Arc<Plugin>)| {
            Lane::new(super::handler::Parts {
                handler,
                metrics: parts.metrics.handler(&plugin.name),
                plugin: Arc::clone(plugin),
                outside: Arc::clone(&parts.outside),
                workspaces: Arc::clone(&parts.workspaces),
                finished: finished.clone(),
                clock: parts.clock,
                names: Arc::clone(&parts.names),
            })
        };
        let settled = parts.marks.as_ref().map_or(Seq(0), |marks| Seq(marks.settled.load(Ordering::Acquire)));
        Self {
            lanes: parts.plugins.iter().enumerate().map(lane).collect(),
            lifecycle: Rc::new(Lifecycle::new(
                parts.workspaces,
                parts.outside,
                parts.clock,
                parts.changes,
                parts.names,
            )),
            notable: Vec::new(),
            noting: 0,
            store: parts.store,
            marks: parts.marks,
            clock: parts.clock,
            window: Window::new(settled),
            seqs: SeqMaker::new(0, Seq(0)),
            bytes: 0,
            loans: VecDeque::new(),
            budget: parts.budget,
            metrics: parts.metrics,
            inboxes: Some((inbox, parts.unkept)),
            behind: Behind::Yes,
            drained: None,
        }
    }

    fn has_room(&self) -> bool {
        self.drained.is_none() && self.window.undone() < IN_FLIGHT && self.bytes < IN_FLIGHT_BYTES
    }

    /// Takes an event in; one that was here before is left alone.
    fn admit(&mut self, event: &Arc<Event>) {
        let is_notable = lifecycle::concerns(event);
        let handlers = u32::try_from(self.lanes.len() + usize::from(is_notable)).unwrap_or(u32::MAX);
        if self.window.admit(event.seq, handlers) && handlers > 0 {
            self.bytes += weight(event);
            for lane in &mut self.lanes {
                lane.push(Arc::clone(event));
            }
            if is_notable {
                self.notable.push(Arc::clone(event));
            }
        }
    }

    /// One handler is done with an event.
    fn done(&mut self, event: &Event) {
        if !self.window.done(event.seq) {
            return;
        }
        self.bytes = self.bytes.saturating_sub(weight(event));
        let at = self.loans.partition_point(|loan| loan.last < event.seq);
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

    /// Gives handlers what waits for them and says how far everything is done.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        for lane in &mut self.lanes {
            lane.pump();
        }
        self.note(ctx);
        let settled = self.window.settled_to();
        if let Some(marks) = &self.marks {
            marks.settled.store(settled.0, Ordering::Release);
        }
        self.catch_up(ctx);
        self.end_if_drained();
    }

    /// Takes up what events say of their installations. Until that is stored they are not done.
    fn note(&mut self, ctx: &mut Context<Self>) {
        for event in std::mem::take(&mut self.notable) {
            self.noting += 1;
            let lifecycle = Rc::clone(&self.lifecycle);
            let noting = async move {
                lifecycle.take(&event).await;
                event
            };
            ctx.spawn(noting.into_actor(self).map(|event, act, ctx| {
                act.noting -= 1;
                act.done(&event);
                act.go_on(ctx);
            }));
        }
    }

    /// Reads a page from the store when there is more on disk than came here and room for it.
    fn catch_up(&mut self, ctx: &mut Context<Self>) {
        let Some(marks) = &self.marks else { return };
        let half_full = self.window.undone() > IN_FLIGHT / 2 || self.bytes > IN_FLIGHT_BYTES / 2;
        if self.behind != Behind::Yes || self.drained.is_some() || half_full {
            return;
        }
        let committed = Seq(marks.committed.load(Ordering::Acquire));
        if committed <= self.window.last() {
            self.behind = Behind::No;
            return;
        }
        self.behind = Behind::Reading;
        let (store, after) = (Arc::clone(&self.store), self.window.last());
        let page = async move { store.read_events(after, PAGE.0, PAGE.1).await };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| act.on_page(page, committed, ctx)));
    }

    fn on_page(&mut self, page: Result<Vec<Event>, StoreError>, committed: Seq, ctx: &mut Context<Self>) {
        match page {
            Ok(events) => {
                self.note_key(None);
                self.behind = Behind::Yes;
                if events.is_empty() {
                    // What was committed up to then cannot be read any more; the store has said so.
                    self.window.skip_to(committed);
                }
                for event in events {
                    self.admit(&Arc::new(event));
                }
                self.go_on(ctx);
            }
            Err(error) => {
                if let StoreError::Sealed { .. } = error {
                    self.note_key(Some(&error));
                } else {
                    tracing::warn!(%error, "events wait on disk: they cannot be read back");
                }
                // The tick tries again.
                self.behind = Behind::Perhaps(self.window.last());
            }
        }
    }

    /// Notes whether the next event on disk wants a key that is not here. The log is told once.
    fn note_key(&self, missing: Option<&StoreError>) {
        let Some(marks) = &self.marks else { return };
        let was_missing = marks.lacks_key.swap(missing.is_some(), Ordering::Relaxed);
        if let Some(error) = missing.filter(|_| !was_missing) {
            tracing::error!(
                %error,
                "an event is sealed with a key that this node does not have; it waits, and all behind it: start the node with that key as \
                 other_key"
            );
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.metrics.events_waiting.set(i64::try_from(self.window.undone()).unwrap_or(i64::MAX));
        for lane in &mut self.lanes {
            lane.revive();
        }
        if let Some(marks) = &self.marks {
            let missing = Seq(marks.committed.load(Ordering::Acquire)) > self.window.last();
            self.behind = match self.behind {
                Behind::No if missing => Behind::Perhaps(self.window.last()),
                Behind::Perhaps(_) if !missing => Behind::No,
                Behind::Perhaps(last) if last == self.window.last() => Behind::Yes,
                Behind::Perhaps(_) => Behind::Perhaps(self.window.last()),
                same @ (Behind::No | Behind::Yes | Behind::Reading) => same,
            };
        }
        self.go_on(ctx);
    }

    fn end_if_drained(&mut self) {
        // Where nothing is kept, what is still on its way here counts too.
        let idle = self.noting == 0
            && self.lanes.iter().all(Lane::is_idle)
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
        if let Some((finished, unkept)) = self.inboxes.take() {
            ctx.add_stream(Gulps::of(finished));
            ctx.add_stream(Gulps::of(unkept));
        }
        ctx.run_interval(TICK, Self::tick);
        self.go_on(ctx);
    }
}

impl Handler<Committed> for Dispatcher {
    type Result = ();

    fn handle(&mut self, committed: Committed, ctx: &mut Self::Context) {
        let nothing_missed = committed.after <= self.window.last();
        if nothing_missed && self.has_room() {
            for event in &committed.events {
                self.admit(event);
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
        for Unkept { events, share } in batches {
            let undone = events.len();
            for mut event in events {
                event.seq = self.seqs.next(now);
                self.admit(&Arc::new(event));
            }
            if !self.lanes.is_empty() {
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
        for Finished { handler, done } in all {
            for seq in done {
                if let Some(event) = self.lanes.get_mut(handler).and_then(|lane| lane.done(seq)) {
                    self.done(&event);
                }
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
        self.window.undone()
    }
}

impl Handler<Drain> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (sender, done) = oneshot::channel();
        if self.marks.is_some() {
            // What no handler has begun stays on disk for the next start.
            for lane in &mut self.lanes {
                lane.clear();
            }
        }
        self.drained.get_or_insert_default().push(sender);
        self.go_on(ctx);
        Box::pin(async move { done.await.unwrap_or_default() })
    }
}
