//! One event whose ack waits for the handler's answer.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::Parts;
use super::trying::{Ending, Judge, Running, Tried, handle, in_time};
use crate::actors::asked::{self, Asked, UNASKED};
use crate::handlers::{Delivery, Handler as Plug, Outcome};
use crate::ids::Seq;
use crate::slack::web::WebApi;
use crate::store::Lane;

/// Asks the handler. What becomes of it is told when the journal has brought the event, now or later.
pub(super) fn begin<'a>(
    parts: &'a Parts,
    web: &'a WebApi,
    plug: &'a dyn Plug,
    asked: Asked,
    running: &Running<'a>,
) {
    running.push(ask(parts, web, plug, asked).boxed_local());
}

async fn ask(parts: &Parts, web: &WebApi, plug: &dyn Plug, asked: Asked) -> Tried {
    let event = Arc::clone(&asked.event);
    let lane = Lane::of(&event);
    if asked.has_expired() {
        let (_, seq) = asked.let_go();
        let judge = Judge {
            parts,
            lane,
            key: None,
            seq: seq.unwrap_or(Seq(0)),
            run: 1,
            attempt: 1,
            started: parts.clock.mono(),
        };
        let tried = judge.judge(Ending::Expired(UNASKED));
        return Tried { told: tried.told.filter(|_| seq.is_some()), ..tried };
    }
    let started = parts.clock.mono();
    let delivery = Delivery { event, attempt: 1, answer_within: Some(asked.within()) };
    let end = match handle(parts, plug, delivery) {
        Some(handling) => in_time(parts, handling).await,
        None => Ending::Panicked,
    };
    let took = parts.clock.mono().saturating_sub(started);
    // What the answer waits for after it was given is not the handler's time.
    let judge = |seq| {
        let started = parts.clock.mono().saturating_sub(took);
        Judge { parts, lane, key: None, seq, run: 1, attempt: 1, started }
    };
    let (outcome, fault) = match end {
        Ending::Of(outcome) => (outcome, None),
        fault @ (Ending::Panicked | Ending::TooSlow(_) | Ending::Expired(_)) => {
            (Outcome::Retry { after: None }, Some(fault))
        }
    };
    let (ending, seq) = asked.conclude(outcome, web).await;
    let tried = match (ending, fault) {
        (asked::Ending::Expired(why), fault) => {
            if let Some(fault) = fault {
                judge(seq.unwrap_or(Seq(0))).judge(fault);
            }
            judge(seq.unwrap_or(Seq(0))).judge(Ending::Expired(why))
        }
        (asked::Ending::Of(_), Some(fault)) => judge(seq.unwrap_or(Seq(0))).judge(fault),
        (asked::Ending::Of(outcome), None) => judge(seq.unwrap_or(Seq(0))).judge(Ending::Of(outcome)),
    };
    Tried { told: tried.told.filter(|_| seq.is_some()), ..tried }
}
