//! One try of one delivery: within its time, behind a fence, and judged.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, poll};

use super::fence::{Fenced, behind};
use super::{End, Item, Parts, Told};
use crate::actors::asked::{STALE, beaten, late, may_be_asked};
use crate::actors::names::say;
use crate::event::Event;
use crate::handlers::{Delivery, Handler as Plug, Outcome};
use crate::ids::Seq;
use crate::machine::answer;
use crate::slack::web::WebApi;
use crate::store::Lane;

/// The tries under way.
pub(super) type Running<'a> = FuturesUnordered<LocalBoxFuture<'a, Tried>>;

/// A plugin at work on a delivery.
pub(super) type Handling<'a> = Fenced<'a, LocalBoxFuture<'a, Outcome>>;

/// A try that is over.
pub(super) struct Tried {
    pub(super) lane: Lane,
    /// The key it had for itself.
    pub(super) key: Option<i64>,
    /// None where nobody wants to know yet.
    pub(super) told: Option<Told>,
}

/// Starts a try. What is done at the first poll is done: no timer and no place among the running for it.
pub(super) async fn begin<'a>(
    parts: &'a Parts,
    web: &'a WebApi,
    plug: &'a dyn Plug,
    lane: Lane,
    key: Option<i64>,
    item: Item,
    running: &Running<'a>,
) -> Option<Tried> {
    let Item { event, run, attempt, .. } = item;
    let judge = Judge { parts, lane, key, seq: event.seq, run, attempt, started: parts.clock.mono() };
    if parts.is_stale(&event) {
        return Some(judge.judge(Ending::Expired(STALE)));
    }
    let of = Arc::clone(&event);
    let delivery = Delivery { event, attempt, answer_within: None };
    let Some(mut handling) = handle(parts, plug, delivery) else {
        return Some(judge.judge(Ending::Panicked));
    };
    if let std::task::Poll::Ready(end) = poll!(&mut handling) {
        let end = end.map_or(Ending::Panicked, Ending::Of);
        if !matches!(end, Ending::Of(Outcome::Answer(_))) {
            return Some(judge.judge(end));
        }
        running.push(async move { judge.judge(passed_on(parts, web, &of, run, end).await) }.boxed_local());
        return None;
    }
    running.push(
        async move {
            let end = in_time(parts, handling).await;
            judge.judge(passed_on(parts, web, &of, run, end).await)
        }
        .boxed_local(),
    );
    None
}

/// Has the plugin handle a delivery; none when it panicked at once.
pub(super) fn handle<'a>(parts: &'a Parts, plug: &'a dyn Plug, delivery: Delivery) -> Option<Handling<'a>> {
    let handling = behind(|| plug.handle(delivery))?;
    Some(Fenced::new(handling, &parts.plugin.name))
}

/// How it ends, within its time.
pub(super) async fn in_time(parts: &Parts, handling: Handling<'_>) -> Ending {
    let within = parts.plugin.options.within;
    match tokio::time::timeout(within, handling).await {
        Ok(end) => end.map_or(Ending::Panicked, Ending::Of),
        Err(_) => Ending::TooSlow(within),
    }
}

/// An answer that no ack waits for finds its way.
async fn passed_on(parts: &Parts, web: &WebApi, event: &Event, run: u32, end: Ending) -> Ending {
    match end {
        // What is replayed may be answered anew.
        Ending::Of(Outcome::Answer(_)) if run == 1 && parts.asks.is_beaten(event) => {
            Ending::Of(beaten(&parts.node))
        }
        // Boxed: hardly any event is answered so, and each would carry its room.
        Ending::Of(Outcome::Answer(answer)) => {
            Ending::Of(Box::pin(late(event, &answer, web, &parts.node)).await)
        }
        end @ (Ending::Of(_) | Ending::Panicked | Ending::TooSlow(_) | Ending::Expired(_)) => end,
    }
}

impl Parts {
    /// Would the handler answer an event to which no answer can come any more?
    fn is_stale(&self, event: &Event) -> bool {
        self.plugin.options.answers
            && may_be_asked(event.kind)
            && (self.asks.has_expired(event)
                || answer::is_stale(
                    event.kind,
                    &event.kind_type,
                    event.received_ms,
                    self.started_ms,
                    self.clock.now().wall_ms,
                ))
            // Last, since it may look into the payload: by routes that want no answer of it it is an event like any other.
            && self.asks.wanted(event, &self.asks.routes()).contains(self.handler)
    }
}

/// What an operator reads of one that a handler wants again.
pub(super) const ASKED_FOR: &str = "the handler asked for another try";

/// How a try ended.
pub(super) enum Ending {
    Of(Outcome),
    Panicked,
    TooSlow(Duration),
    /// It was too late to begin it, or for its answer.
    Expired(&'static str),
}

/// Counts an end, and says it aloud when it is a bad one.
pub(super) struct Judge<'a> {
    pub(super) parts: &'a Parts,
    pub(super) lane: Lane,
    pub(super) key: Option<i64>,
    pub(super) seq: Seq,
    pub(super) run: u32,
    pub(super) attempt: u32,
    pub(super) started: Duration,
}

impl Judge<'_> {
    pub(super) fn judge(self, ending: Ending) -> Tried {
        let Self {
            parts: Parts { plugin, clock, metrics, names, aloud, .. },
            lane,
            key,
            seq,
            run,
            attempt,
            started,
        } = self;
        let handler = &plugin.name;
        let who = || names.seat(lane.app, lane.workspace);
        let now = clock.mono();
        metrics.seconds.took(now.saturating_sub(started));
        // What is tried again may be much, and each says the same.
        macro_rules! say_of_many {
            ($level:ident, $($said:tt)+) => {
                match aloud.lock().unwrap_or_else(PoisonError::into_inner).say(now) {
                    Some(0) => say!($level, who(), handler, %seq, attempt, $($said)+),
                    Some(left_out) => say!($level, who(), handler, %seq, attempt, left_out, $($said)+),
                    None => say!(debug, who(), handler, %seq, attempt, $($said)+),
                }
            };
        }
        let end = match ending {
            Ending::Of(Outcome::Done | Outcome::Answer(_)) => {
                metrics.done.inc();
                End::Done
            }
            Ending::Of(Outcome::Retry { after }) => {
                metrics.retry.inc();
                say_of_many!(warn, "the handler could not handle the event");
                End::Again { after, why: ASKED_FOR.into() }
            }
            Ending::Of(Outcome::Reject { reason }) => {
                metrics.reject.inc();
                say!(warn, who(), handler, %seq, reason, "the handler refuses the event");
                End::Rejected { why: reason.into() }
            }
            Ending::Expired(why) => {
                metrics.expired.inc();
                say!(warn, who(), handler, %seq, why, "the event has expired");
                End::Expired { why }
            }
            Ending::Panicked => {
                metrics.panic.inc();
                say_of_many!(error, "the handler panicked on the event; it goes on with others");
                End::Again { after: None, why: "the handler panicked".into() }
            }
            Ending::TooSlow(within) => {
                metrics.timeout.inc();
                let seconds = within.as_secs();
                say_of_many!(warn, seconds, "the handler took too long and was stopped");
                End::Again { after: None, why: format!("the handler took longer than {within:?}").into() }
            }
        };
        Tried { lane, key, told: Some((seq, run, end)) }
    }
}
