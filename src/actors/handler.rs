//! One handler, on a thread of its own: its plugin, its limits, whose turn it is, and a fence around its panics.

mod answering;
mod fence;
#[cfg(test)]
mod tests;
mod trying;
mod untold;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use self::fence::Fenced;
use self::trying::{Running, Tried, begin};
use self::untold::Untold;
use super::asked::{self, Asked, Asks};
use super::names::Names;
use crate::clock::Clock;
use crate::event::Event;
use crate::handlers::{Context as HandlerContext, Outcome, Plugin};
use crate::ids::{Seq, WorkspaceId};
use crate::machine::aloud::Aloud;
use crate::machine::turns::Turns;
use crate::slack::web::{Outside, WebApi};
use crate::store::{Lane, Workspaces};
use crate::telemetry::{HandlerMetrics, Metrics};

/// One delivery for a handler.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) event: Arc<Event>,
    pub(super) run: u32,
    /// The first is 1.
    pub(super) attempt: u32,
    /// What goes one after the other shares it. None for what is tried again or anew: its turn in the order has passed.
    pub(super) key: Option<i64>,
}

/// What the dispatcher says to a handler, in this order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(super) enum Word {
    /// Deliveries.
    Work(Vec<Item>),
    /// An event whose ack waits for the answer; it goes first.
    Ask(Asked),
    /// One that has failed holds up this key: nothing that shares it may be given.
    Hold(Lane, i64),
    /// It may be given again.
    LetGo(Lane, i64),
    /// Gives back what it has not begun of these workspaces.
    GiveBack(Vec<WorkspaceId>),
    /// Gives back what waits for a key that is held.
    GiveHeldBack,
    /// Gives back all that it has not begun.
    GiveAllBack,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// It is to be tried again: after so long, where the handler knows.
    Again {
        after: Option<Duration>,
        why: Box<str>,
    },
    /// Never again.
    Rejected {
        why: Box<str>,
    },
    /// Nobody waits for it any more.
    Expired {
        why: &'static str,
    },
    /// It was asked back, and not begun.
    GivenBack,
}

impl End {
    /// The end of what a handler was asked.
    pub(super) fn of(ending: asked::Ending) -> Self {
        match ending {
            asked::Ending::Of(Outcome::Done | Outcome::Answer(_)) => Self::Done,
            asked::Ending::Of(Outcome::Retry { after }) => {
                Self::Again { after, why: trying::ASKED_FOR.into() }
            }
            asked::Ending::Of(Outcome::Reject { reason }) => Self::Rejected { why: reason.into() },
            asked::Ending::Expired(why) => Self::Expired { why },
        }
    }
}

/// A delivery and its end.
pub(super) type Told = (Seq, u32, End);

/// All of what a handler finished in one go.
#[derive(Debug)]
pub(super) struct Finished {
    /// Which handler, by its place in the dispatcher's list.
    pub(super) handler: usize,
    /// What and how.
    pub(super) ends: Vec<Told>,
    /// How often it has given back what it was asked for.
    pub(super) gave_back: usize,
}

/// What a handler actor is made of.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) handler: usize,
    pub(super) plugin: Arc<Plugin>,
    pub(super) outside: Arc<Outside>,
    pub(super) workspaces: Arc<dyn Workspaces>,
    /// To the dispatcher. Has a place for every event in memory, so it never fills.
    pub(super) finished: mpsc::Sender<Finished>,
    pub(super) clock: Clock,
    pub(super) metrics: HandlerMetrics,
    /// What whom an event is of is called in the log.
    pub(super) names: Arc<Names>,
    /// Is what failed tried again? Not where nothing is kept; then it holds up nobody.
    pub(super) tries_again: bool,
    /// Where answers are waited for.
    pub(super) asks: Arc<Asks>,
    /// When this process started, milliseconds since 1970.
    pub(super) started_ms: i64,
    /// What is counted of the whole node.
    pub(super) node: Arc<Metrics>,
    /// How much is said of tries that failed.
    pub(super) aloud: Arc<Mutex<Aloud>>,
}

/// The actor of one handler.
pub(super) struct HandlerActor {
    parts: Option<Parts>,
    words: mpsc::Sender<Word>,
    inbox: Option<mpsc::Receiver<Word>>,
}

/// Words that wait in the mailbox while its thread does not come to it; then they wait at the dispatcher's. It keeps fewer events in flight
/// than this, and asks with four times as many: what the runner has not taken up yet has a place for all of them.
const WORDS: usize = super::dispatcher::IN_FLIGHT;

/// How many are begun before it is looked what has come.
const FRESH: usize = 64;

impl HandlerActor {
    /// The actor of a handler.
    pub(super) fn new(parts: Parts) -> Self {
        let (words, inbox) = mpsc::channel(8 * WORDS);
        Self { parts: Some(parts), words, inbox: Some(inbox) }
    }
}

impl Actor for HandlerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(WORDS);
        if let (Some(parts), Some(inbox)) = (self.parts.take(), self.inbox.take()) {
            // The end of the runner is the end of the actor: the dispatcher sees the address close and starts another.
            ctx.spawn(run(parts, inbox).into_actor(self).map(|(), _, ctx| ctx.stop()));
        }
    }
}

impl Handler<Word> for HandlerActor {
    type Result = ();

    fn handle(&mut self, word: Word, ctx: &mut Self::Context) {
        if self.words.try_send(word).is_err() {
            ctx.stop();
        }
    }
}

async fn run(parts: Parts, mut inbox: mpsc::Receiver<Word>) {
    let context =
        HandlerContext { slack: WebApi::new(&parts.outside), workspaces: Arc::clone(&parts.workspaces) };
    let Some(plug) = fence::behind(|| parts.plugin.make(&context)) else {
        tracing::error!(
            handler = parts.plugin.name,
            "the handler panicked while it was made; it is tried again"
        );
        return;
    };
    let plug = Fenced::new(plug, &parts.plugin.name);
    let Some(plug) = plug.get() else { return };
    let concurrency = parts.plugin.options.concurrency;
    let mut running = Running::new();
    let mut bench = Bench::new(parts.tries_again && parts.plugin.options.hold != Some(Duration::ZERO));
    let mut words = Vec::new();
    loop {
        let mut begun = 0;
        while running.len() < concurrency {
            // Whoever has come meanwhile has a turn too, also where all is done at once.
            begun += 1;
            if begun % FRESH == 0 {
                while let Ok(word) = inbox.try_recv() {
                    bench.take(word);
                }
            }
            if let Some(asked) = bench.asked.pop_front() {
                answering::begin(&parts, &context.slack, &**plug, asked, &running);
                continue;
            }
            let Some((lane, key, item)) = bench.turns.give() else { break };
            if let Some(tried) = begin(&parts, &context.slack, &**plug, lane, key, item, &running).await {
                bench.ended(tried);
            }
        }
        let goes_on = tokio::select! {
            biased;
            () = bench.untold.due() => bench.untold.tell(&parts),
            read = inbox.recv_many(&mut words, WORDS) => {
                words.drain(..).for_each(|word| bench.take(word));
                read > 0
            }
            Some(tried) = running.next(), if !running.is_empty() => {
                bench.ended(tried);
                true
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// What waits for the handler, and what of its work is not told yet.
struct Bench {
    turns: Turns<Lane, Item>,
    asked: VecDeque<Asked>,
    untold: Untold,
    /// Does one that failed hold up its key?
    holds: bool,
}

impl Bench {
    fn new(holds: bool) -> Self {
        Self { turns: Turns::default(), asked: VecDeque::new(), untold: Untold::default(), holds }
    }

    fn take(&mut self, word: Word) {
        match word {
            Word::Work(items) => {
                for item in items {
                    self.turns.push(Lane::of(&item.event), item.key, item);
                }
            }
            Word::Ask(asked) => self.asked.push_back(asked),
            Word::Hold(lane, key) => self.turns.hold(lane, key),
            Word::LetGo(lane, key) => self.turns.let_go(lane, key),
            Word::GiveBack(workspaces) => {
                let is_theirs = |lane: Lane| lane.workspace.is_some_and(|one| workspaces.contains(&one));
                let back = self.turns.take_back(is_theirs);
                self.give_each_back(&back);
            }
            Word::GiveHeldBack => {
                let back = self.turns.take_back_held();
                self.give_each_back(&back);
            }
            Word::GiveAllBack => {
                let back = self.turns.take_back(|_| true);
                self.give_each_back(&back);
            }
        }
    }

    fn ended(&mut self, tried: Tried) {
        let Tried { lane, key, told } = tried;
        let Some(told) = told else { return };
        // What has failed keeps its key until the dispatcher lets it go.
        if let Some(key) = key.filter(|_| self.holds && matches!(told.2, End::Again { .. })) {
            self.turns.hold(lane, key);
        }
        self.turns.done(lane, key);
        self.untold.add(told);
    }

    fn give_each_back(&mut self, items: &[Item]) {
        for item in items {
            self.untold.add((item.event.seq, item.run, End::GivenBack));
        }
        self.untold.all_back();
    }
}
