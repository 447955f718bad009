//! A question to the handlers that answer, and what becomes of their answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Entry, Kept, Load, Seq, lock};
use crate::clock::Clock;
use crate::event::{Event, Kind};
use crate::handlers::{Answer, Outcome};
use crate::machine::answer::{self, ANSWER_WITHIN, Fate, Reply, Way};
use crate::protocol::routing;
use crate::slack::web::WebApi;
use crate::telemetry::Metrics;

/// Posts to a `response_url` that Slack does not take at once are tried again after these pauses.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The longest that Slack may ask to wait before the next try.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::actors) enum Ending {
    /// As the handler said. Never an answer: that has found its way or was refused.
    Of(Outcome),
    /// Nobody waits for it any more; why.
    Expired(&'static str),
}

/// An event whose ack waits for an answer, on its way to the handlers. It has no seq yet. Dropped, it was not passed on.
pub(in crate::actors) struct Ask {
    event: Arc<Event>,
    load: Option<Arc<Load>>,
    entry: Arc<Entry>,
    clock: Clock,
}

impl Ask {
    pub(super) fn new(event: Arc<Event>, load: Load, entry: Arc<Entry>, clock: Clock) -> Self {
        Self { event, load: Some(Arc::new(load)), entry, clock }
    }

    /// What it is about.
    pub(in crate::actors) fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// One question a handler, by their places in the dispatcher's list. With none the event is acked when it is stored.
    pub(in crate::actors) fn to(mut self, handlers: impl IntoIterator<Item = usize>) -> Vec<(usize, Asked)> {
        let Some(load) = self.load.take() else { return Vec::new() };
        let asked = |handler| {
            let asked = Asked {
                event: Arc::clone(&self.event),
                _load: Arc::clone(&load),
                entry: Arc::clone(&self.entry),
                slot: Arc::default(),
                clock: self.clock,
                is_over: false,
            };
            (handler, asked)
        };
        let all: Vec<_> = handlers.into_iter().map(asked).collect();
        self.entry.change(|state| {
            state.slots = all.iter().map(|(handler, asked)| (*handler, Arc::clone(&asked.slot))).collect();
            state.exchange.asked(all.len());
        });
        all
    }

    /// Who would answer is paused.
    pub(in crate::actors) fn paused(mut self) {
        self.load = None;
        // The text in the ack of an old kind of message would take the message's place.
        let may_say = self.event.kind == Kind::SlashCommands;
        self.entry.change(|state| state.exchange.paused(may_say));
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if self.load.is_some() {
            self.entry.change(|state| state.exchange.failed());
        }
    }
}

/// What one handler was asked. Dropped, the handler has failed.
pub(in crate::actors) struct Asked {
    pub(in crate::actors) event: Arc<Event>,
    _load: Arc<Load>,
    entry: Arc<Entry>,
    slot: Arc<Slot>,
    clock: Clock,
    is_over: bool,
}

impl Asked {
    /// How long the ack still waits.
    pub(in crate::actors) fn within(&self) -> Duration {
        (self.entry.read_at + ANSWER_WITHIN).saturating_sub(self.clock.mono())
    }

    /// Can nobody be helped by an answer any more?
    pub(in crate::actors) fn has_expired(&self) -> bool {
        lock(&self.entry.state).exchange.has_expired()
    }

    /// It is not begun: see [`Self::has_expired`]. As [`Self::conclude`].
    pub(in crate::actors) fn let_go(mut self) -> (Ending, Option<Seq>) {
        self.reply(Reply::Failed);
        self.is_over = true;
        let ending = Ending::Expired(UNASKED);
        (ending.clone(), self.slot.end(ending))
    }

    /// Takes the handler's outcome to where it belongs. How the delivery ended, and its seq, where the journal has brought it already;
    /// else the dispatcher learns the end when it does.
    pub(in crate::actors) async fn conclude(
        mut self,
        outcome: Outcome,
        web: &WebApi,
    ) -> (Ending, Option<Seq>) {
        let ending = match outcome {
            Outcome::Answer(answer) => self.answer(answer, web).await,
            Outcome::Done if self.reply(Reply::Done) == Some(Fate::Expired) => Ending::Expired(TOO_LATE),
            Outcome::Done => Ending::Of(Outcome::Done),
            Outcome::Retry { after } => match self.reply(Reply::Failed) {
                Some(Fate::Expired) => Ending::Expired(FAILED),
                Some(_) | None => Ending::Of(Outcome::Retry { after }),
            },
            Outcome::Reject { reason } => {
                self.reply(Reply::Failed);
                Ending::Of(Outcome::Reject { reason })
            }
        };
        self.is_over = true;
        let seq = self.slot.end(ending.clone());
        (ending, seq)
    }

    fn reply(&self, reply: Reply) -> Option<Fate> {
        self.entry.change(|state| state.exchange.reply(reply))
    }

    async fn answer(&self, answer: Answer, web: &WebApi) -> Ending {
        let (teller, told) = oneshot::channel();
        let metrics = &self.entry.metrics;
        let fate = self.entry.change(|state| {
            if state.exchange.is_late() {
                metrics.answers_late.inc();
            }
            let fits = state.fits(&answer);
            let fate = state.exchange.reply(Reply::Answer { fits });
            if fate.is_none() {
                let load = self.entry.room.take(answer.bytes());
                state.answer = Some(Kept { answer: answer.clone(), load });
                state.answerer = Some(teller);
            }
            fate
        });
        let fate = match fate {
            Some(fate) => fate,
            None => told.await.unwrap_or(Fate::Expired),
        };
        match fate {
            Fate::Acked | Fate::Nothing => Ending::Of(Outcome::Done),
            Fate::ByUrl => Ending::Of(late(&self.event, &answer, web, metrics).await),
            Fate::Expired => Ending::Expired(TOO_LATE),
            Fate::Beaten => Ending::Of(beaten(metrics)),
            Fate::TooLarge => Ending::Of(refuse(
                metrics,
                format!(
                    "the answer of {} bytes is too large: Slack takes an ack of less than {} bytes, and a {} has no other way",
                    answer.bytes(),
                    crate::protocol::ack::MAX_FRAME,
                    self.event.kind_type
                ),
            )),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_over {
            self.reply(Reply::Failed);
            self.slot.end(Ending::Of(Outcome::Retry { after: None }));
        }
    }
}

const TOO_LATE: &str = "the answer came too late: Slack waits 3 s for it and has shown the user an error";
const FAILED: &str =
    "the handler failed and only its answer would have helped: Slack has shown the user an error";

/// Why an event is not given to a handler that would answer it.
pub(in crate::actors) const UNASKED: &str = "no handler could be asked in time";

/// Why an event from before is not handled any more.
pub(in crate::actors) const STALE: &str = "too old to be answered";

/// Posts an answer that no ack carries to the event's `response_url`.
pub(in crate::actors) async fn late(
    event: &Event,
    answer: &Answer,
    web: &WebApi,
    metrics: &Metrics,
) -> Outcome {
    let url = routing::read(event.kind, &event.payload).response_url;
    let way = answer::way(event.kind, &event.kind_type, url.is_some());
    let Some(url) = url.filter(|_| way != Some(Way::AckOnly)) else {
        return refuse(
            metrics,
            format!("no ack waits for the answer, and a {} has no other way", event.kind_type),
        );
    };
    let mut pauses = AGAIN.into_iter();
    loop {
        let Err(error) = web.respond(&url, answer.json()).await else {
            metrics.answers_by_url.inc();
            return Outcome::Done;
        };
        let pause = error.again_after().zip(pauses.next()).map(|(wanted, pause)| pause.max(wanted));
        match pause.filter(|pause| *pause <= LONGEST_WAIT) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return refuse(metrics, format!("the answer could not be posted: {error}")),
        }
    }
}

/// Refuses an answer because there is one.
pub(in crate::actors) fn beaten(metrics: &Metrics) -> Outcome {
    refuse(metrics, "another handler has answered before".to_owned())
}

fn refuse(metrics: &Metrics, reason: String) -> Outcome {
    metrics.answers_refused.inc();
    Outcome::Reject { reason }
}

/// Where the end of an asked handler's work and its event's seq meet.
#[derive(Default)]
pub(super) struct Slot(Mutex<Half>);

#[derive(Default)]
enum Half {
    #[default]
    None,
    Seq(Seq),
    Ending(Ending),
}

impl Slot {
    /// Of one that has done it.
    pub(super) fn done() -> Self {
        Self(Mutex::new(Half::Ending(Ending::Of(Outcome::Done))))
    }

    /// The journal has brought the event. How it ended, if it has.
    pub(super) fn claim(&self, seq: Seq) -> Option<Ending> {
        let mut half = lock(&self.0);
        match &*half {
            Half::Ending(ending) => Some(ending.clone()),
            Half::None | Half::Seq(_) => {
                *half = Half::Seq(seq);
                None
            }
        }
    }

    /// The handler is done. The event's seq, if the journal has brought it.
    fn end(&self, ending: Ending) -> Option<Seq> {
        match std::mem::replace(&mut *lock(&self.0), Half::Ending(ending)) {
            Half::Seq(seq) => Some(seq),
            Half::None | Half::Ending(_) => None,
        }
    }
}

/// Shows what it is, never what it says.
impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("event", &self.event).finish_non_exhaustive()
    }
}
