//! Which handlers get an event, and what of it is done. Takes what the journal hands on; what it missed or had no room for
//! it reads back from the store, which is also how a start after a crash works: nothing depends on the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use super::budget::Share;
use super::handler::Finished;
use super::journal::{Committed, Marks};
use super::lane::Lane;
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
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
}

/// The dispatcher.
pub(super) struct Dispatcher {
    store: Arc<dyn Inbox>,
    marks: Option<Arc<Marks>>,
    clock: Clock,
    lanes: Vec<Lane>,
    window: Window,
    /// Seqs for events that are not kept.
    seqs: SeqMaker,
    /// Bytes of batches that are not kept, each with the seq of its last event.
    shares: VecDeque<(Seq, Share)>,
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
            })
        };
        let settled = parts.marks.as_ref().map_or(Seq(0), |marks| Seq(marks.settled.load(Ordering::Acquire)));
        Self {
            lanes: parts.plugins.iter().enumerate().map(lane).collect(),
            store: parts.store,
            marks: parts.marks,
            clock: parts.clock,
            window: Window::new(settled),
            seqs: SeqMaker::new(0, Seq(0)),
            shares: VecDeque::new(),
            inboxes: Some((inbox, parts.unkept)),
            behind: Behind::Yes,
            drained: None,
        }
    }

    fn has_room(&self) -> bool {
        self.drained.is_none() && self.window.undone() < IN_FLIGHT
    }

    /// Takes an event in; one that was here before is left alone.
    fn admit(&mut self, event: &Arc<Event>) {
        let handlers = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        if self.window.admit(event.seq, handlers) {
            for lane in &mut self.lanes {
                lane.push(Arc::clone(event));
            }
        }
    }

    /// Gives handlers what waits for them and says how far everything is done.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        for lane in &mut self.lanes {
            lane.pump();
        }
        let settled = self.window.settled_to();
        if let Some(marks) = &self.marks {
            marks.settled.store(settled.0, Ordering::Release);
        }
        while self.shares.front().is_some_and(|(seq, _)| *seq <= settled) {
            self.shares.pop_front();
        }
        self.catch_up(ctx);
        self.end_if_drained();
    }

    /// Reads a page from the store when there is more on disk than came here and room for it.
    fn catch_up(&mut self, ctx: &mut Context<Self>) {
        let Some(marks) = &self.marks else { return };
        if self.behind != Behind::Yes || self.drained.is_some() || self.window.undone() > IN_FLIGHT / 2 {
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
                tracing::warn!(%error, "events wait on disk: they cannot be read back");
                // The tick tries again.
                self.behind = Behind::Perhaps(self.window.last());
            }
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
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
        let idle = self.lanes.iter().all(Lane::is_idle);
        if let Some(waiting) = self.drained.as_mut().filter(|_| idle) {
            // The answer is the end of the channel.
            waiting.clear();
        }
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        if let Some((mut finished, mut unkept)) = self.inboxes.take() {
            ctx.add_stream(stream::poll_fn(move |cx| poll_all(&mut finished, cx)));
            ctx.add_stream(stream::poll_fn(move |cx| poll_all(&mut unkept, cx)));
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
            for mut event in events {
                event.seq = self.seqs.next(now);
                self.admit(&Arc::new(event));
            }
            self.shares.push_back((self.window.last(), share));
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
                if self.lanes.get_mut(handler).is_some_and(|lane| lane.done(seq)) {
                    self.window.done(seq);
                }
            }
        }
        self.go_on(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

/// Messages taken from a queue in one go: what came together is passed on together.
const TOGETHER: usize = 64;

/// All that waits in a queue, up to a bound; none when it has ended.
fn poll_all<T>(queue: &mut mpsc::Receiver<T>, cx: &mut task::Context<'_>) -> Poll<Option<Vec<T>>> {
    let mut all = Vec::new();
    queue.poll_recv_many(cx, &mut all, TOGETHER).map(|taken| (taken > 0).then_some(all))
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
