//! One handler, on a thread of its own: its plugin, its limits, and a fence around its panics.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, poll};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::names::{Names, say};
use crate::clock::Clock;
use crate::event::Event;
use crate::handlers::{Context as HandlerContext, Delivery, Handler as Plug, Outcome, Plugin};
use crate::ids::{AppId, Seq, WorkspaceId};
use crate::slack::web::{Outside, WebApi};
use crate::store::Workspaces;
use crate::telemetry::HandlerMetrics;

/// Deliveries for a handler, in order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(super) struct Work(pub(super) Vec<Arc<Event>>);

/// All of what a handler finished in one go.
#[derive(Debug)]
pub(super) struct Finished {
    /// Which handler, by its place in the dispatcher's list.
    pub(super) handler: usize,
    /// Their seqs. Retries and dead letters will need the outcomes too.
    pub(super) done: Vec<Seq>,
}

/// What a handler actor is made of.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) handler: usize,
    pub(super) plugin: Arc<Plugin>,
    pub(super) outside: Arc<Outside>,
    pub(super) workspaces: Arc<dyn Workspaces>,
    /// To the dispatcher. Has a place for every event in the window, so it never fills.
    pub(super) finished: mpsc::Sender<Finished>,
    pub(super) clock: Clock,
    pub(super) metrics: HandlerMetrics,
    /// What whom an event is of is called in the log.
    pub(super) names: Arc<Names>,
}

/// The actor of one handler.
pub(super) struct HandlerActor {
    parts: Option<Parts>,
    work: mpsc::Sender<Vec<Arc<Event>>>,
    inbox: Option<mpsc::Receiver<Vec<Arc<Event>>>>,
}

/// Batches of work that wait in memory; the dispatcher keeps fewer events in flight than this.
const BATCHES: usize = super::dispatcher::IN_FLIGHT;

impl HandlerActor {
    /// The actor of a handler.
    pub(super) fn new(parts: Parts) -> Self {
        let (work, inbox) = mpsc::channel(BATCHES);
        Self { parts: Some(parts), work, inbox: Some(inbox) }
    }
}

impl Actor for HandlerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(BATCHES);
        if let (Some(parts), Some(inbox)) = (self.parts.take(), self.inbox.take()) {
            // The end of the runner is the end of the actor: the dispatcher sees the address close and starts another.
            ctx.spawn(run(parts, inbox).into_actor(self).map(|(), _, ctx| ctx.stop()));
        }
    }
}

impl Handler<Work> for HandlerActor {
    type Result = ();

    fn handle(&mut self, Work(events): Work, ctx: &mut Self::Context) {
        if self.work.try_send(events).is_err() {
            ctx.stop();
        }
    }
}

type Running<'a> = FuturesUnordered<LocalBoxFuture<'a, Seq>>;

async fn run(parts: Parts, mut inbox: mpsc::Receiver<Vec<Arc<Event>>>) {
    let context =
        HandlerContext { slack: WebApi::new(&parts.outside), workspaces: Arc::clone(&parts.workspaces) };
    let Ok(plug) = std::panic::catch_unwind(AssertUnwindSafe(|| parts.plugin.make(&context))) else {
        tracing::error!(
            handler = parts.plugin.name,
            "the handler panicked while it was made; it is tried again"
        );
        return;
    };
    let concurrency = parts.plugin.options.concurrency;
    let mut running = Running::new();
    let mut waiting: VecDeque<Arc<Event>> = VecDeque::new();
    let mut batches = Vec::new();
    let mut untold = Untold::default();
    loop {
        while running.len() < concurrency {
            let Some(event) = waiting.pop_front() else { break };
            begin(&parts, &*plug, event, &running, &mut untold).await;
        }
        let goes_on = tokio::select! {
            biased;
            () = untold.due() => untold.tell(&parts),
            Some(done) = running.next(), if !running.is_empty() => {
                untold.add(done);
                true
            }
            read = inbox.recv_many(&mut batches, BATCHES), if waiting.is_empty() => {
                waiting.extend(batches.drain(..).flatten());
                read > 0
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// What is done and not told yet. The dispatcher has no use for each event's end at once, and waking its thread costs more than
/// many an event.
#[derive(Default)]
struct Untold {
    done: Vec<Seq>,
    due: Option<Pin<Box<Sleep>>>,
}

impl Untold {
    /// Told when so many are done,
    const TOGETHER: usize = 64;
    /// or when the first of them has been done for so long.
    const WITHIN: Duration = Duration::from_millis(5);

    fn add(&mut self, seq: Seq) {
        if self.done.is_empty() {
            let at = Instant::now() + Self::WITHIN;
            let due = self.due.get_or_insert_with(|| Box::pin(sleep_until(at)));
            due.as_mut().reset(at);
        }
        self.done.push(seq);
    }

    /// Resolves when it is time to tell: never while there is nothing.
    async fn due(&mut self) {
        match &mut self.due {
            Some(due) if !self.done.is_empty() => {
                if self.done.len() < Self::TOGETHER {
                    due.await;
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Tells the dispatcher. False when there is none any more.
    fn tell(&mut self, parts: &Parts) -> bool {
        let done = std::mem::take(&mut self.done);
        parts.finished.try_send(Finished { handler: parts.handler, done }).is_ok()
    }
}

/// Starts a delivery. What is done at the first poll is done: no timer and no place among the running for it.
async fn begin<'a>(
    parts: &'a Parts,
    plug: &'a dyn Plug,
    event: Arc<Event>,
    running: &Running<'a>,
    untold: &mut Untold,
) {
    let place = (event.app, event.workspace);
    let judge = Judge { parts, seq: event.seq, place, started: parts.clock.mono() };
    let delivery = Delivery { event, attempt: 1 };
    let Ok(handling) = std::panic::catch_unwind(AssertUnwindSafe(|| plug.handle(delivery))) else {
        untold.add(judge.judge(End::Panicked));
        return;
    };
    let mut handling = AssertUnwindSafe(handling).catch_unwind();
    if let std::task::Poll::Ready(end) = poll!(&mut handling) {
        untold.add(judge.judge(end.map_or(End::Panicked, End::Of)));
        return;
    }
    let within = parts.plugin.options.within;
    running.push(
        async move {
            let end = match tokio::time::timeout(within, handling).await {
                Ok(end) => end.map_or(End::Panicked, End::Of),
                Err(_) => End::TooSlow(within),
            };
            judge.judge(end)
        }
        .boxed_local(),
    );
}

/// How a handling ended.
enum End {
    Of(Outcome),
    Panicked,
    TooSlow(Duration),
}

/// Counts an end, and says it aloud when it is a bad one.
struct Judge<'a> {
    parts: &'a Parts,
    seq: Seq,
    /// Whose the event is.
    place: (AppId, Option<WorkspaceId>),
    started: Duration,
}

impl Judge<'_> {
    fn judge(self, end: End) -> Seq {
        let Self { parts: Parts { plugin, clock, metrics, names, .. }, seq, place, started } = self;
        let handler = &plugin.name;
        metrics.seconds.took(clock.mono().saturating_sub(started));
        match end {
            End::Of(Outcome::Done) => metrics.done.inc(),
            End::Of(Outcome::Retry { .. }) => {
                metrics.retry.inc();
                say!(warn, names.seat(place.0, place.1), handler, %seq, "the handler could not handle the event");
            }
            End::Of(Outcome::Reject { reason }) => {
                metrics.reject.inc();
                say!(warn, names.seat(place.0, place.1), handler, %seq, reason, "the handler refuses the event");
            }
            End::Panicked => {
                metrics.panic.inc();
                say!(error, names.seat(place.0, place.1), handler, %seq, "the handler panicked on the event; it goes on with others");
            }
            End::TooSlow(within) => {
                metrics.timeout.inc();
                say!(warn, names.seat(place.0, place.1), handler, %seq, seconds = within.as_secs(), "the handler took too long and was stopped");
            }
        }
        seq
    }
}
