//! One try of one delivery: within its time, behind a fence, and judged.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, poll};

use super::{End, Item, Parts, Told};
use crate::actors::names::say;
use crate::handlers::{Delivery, Handler as Plug, Outcome};
use crate::ids::Seq;
use crate::store::Lane;

/// The tries under way.
pub(super) type Running<'a> = FuturesUnordered<LocalBoxFuture<'a, Tried>>;

/// A try that is over.
pub(super) struct Tried {
    pub(super) lane: Lane,
    /// The key it had for itself.
    pub(super) key: Option<i64>,
    pub(super) told: Told,
}

/// Starts a try. What is done at the first poll is done: no timer and no place among the running for it.
pub(super) async fn begin<'a>(
    parts: &'a Parts,
    plug: &'a dyn Plug,
    lane: Lane,
    key: Option<i64>,
    item: Item,
    running: &Running<'a>,
) -> Option<Tried> {
    let Item { event, run, attempt, .. } = item;
    let judge = Judge { parts, lane, key, seq: event.seq, run, attempt, started: parts.clock.mono() };
    let delivery = Delivery { event, attempt, answer_within: None };
    let Ok(handling) = std::panic::catch_unwind(AssertUnwindSafe(|| plug.handle(delivery))) else {
        return Some(judge.judge(Ending::Panicked));
    };
    let mut handling = AssertUnwindSafe(handling).catch_unwind();
    if let std::task::Poll::Ready(end) = poll!(&mut handling) {
        return Some(judge.judge(end.map_or(Ending::Panicked, Ending::Of)));
    }
    let within = parts.plugin.options.within;
    running.push(
        async move {
            let end = match tokio::time::timeout(within, handling).await {
                Ok(end) => end.map_or(Ending::Panicked, Ending::Of),
                Err(_) => Ending::TooSlow(within),
            };
            judge.judge(end)
        }
        .boxed_local(),
    );
    None
}

/// How a try ended.
enum Ending {
    Of(Outcome),
    Panicked,
    TooSlow(Duration),
}

/// Counts an end, and says it aloud when it is a bad one.
struct Judge<'a> {
    parts: &'a Parts,
    lane: Lane,
    key: Option<i64>,
    seq: Seq,
    run: u32,
    attempt: u32,
    started: Duration,
}

impl Judge<'_> {
    fn judge(self, ending: Ending) -> Tried {
        let Self {
            parts: Parts { plugin, clock, metrics, names, .. },
            lane,
            key,
            seq,
            run,
            attempt,
            started,
        } = self;
        let handler = &plugin.name;
        let who = || names.seat(lane.app, lane.workspace);
        metrics.seconds.took(clock.mono().saturating_sub(started));
        let end = match ending {
            Ending::Of(Outcome::Done | Outcome::Answer(_)) => {
                metrics.done.inc();
                End::Done
            }
            Ending::Of(Outcome::Retry { after }) => {
                metrics.retry.inc();
                say!(warn, who(), handler, %seq, attempt, "the handler could not handle the event");
                End::Again { after, why: "the handler asked for another try".into() }
            }
            Ending::Of(Outcome::Reject { reason }) => {
                metrics.reject.inc();
                say!(warn, who(), handler, %seq, reason, "the handler refuses the event");
                End::Rejected { why: reason.into() }
            }
            Ending::Panicked => {
                metrics.panic.inc();
                say!(error, who(), handler, %seq, attempt, "the handler panicked on the event; it goes on with others");
                End::Again { after: None, why: "the handler panicked".into() }
            }
            Ending::TooSlow(within) => {
                metrics.timeout.inc();
                let seconds = within.as_secs();
                say!(warn, who(), handler, %seq, attempt, seconds, "the handler took too long and was stopped");
                End::Again { after: None, why: format!("the handler took longer than {within:?}").into() }
            }
        };
        Tried { lane, key, told: (seq, run, end) }
    }
}
