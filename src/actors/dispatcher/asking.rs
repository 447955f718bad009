//! Events whose acks wait for an answer: they go to the handlers that answer before they have a seq, and are recognised when the journal
//! brings them.

use std::sync::Arc;

use actix::prelude::*;

use super::desk::{InHand, Key, Row};
use super::owing::{Pending, Waits};
use super::{Dispatcher, weight};
use crate::actors::asked::{Claim, Ending, UNASKED, may_be_asked};
use crate::actors::handler::End;
use crate::event::{DedupeKey, Event};
use crate::machine::holds::Ended;
use crate::store::{DeliveryChange, DeliveryRow, DeliveryStatus, Lane};

impl Dispatcher {
    /// Asks the handlers that answer, ahead of all that waits for them.
    pub(super) fn ask(&mut self, key: DedupeKey) {
        if !self.has_begun {
            // Who is paused is not known yet; then it comes by the journal.
            return;
        }
        let Some(ask) = self.asks.take(key) else { return };
        let is_shut = ask.event().workspace.is_some_and(|one| self.paused.contains(&one));
        let wanted = self.asks.wanted(ask.event(), &self.routes.get());
        let all = wanted.iter().filter_map(|at| Some((at, self.desks.get(at)?)));
        let (shut, open): (Vec<_>, Vec<_>) = all.partition(|(_, desk)| is_shut || desk.is_paused);
        if open.is_empty() && !shut.is_empty() {
            return ask.paused();
        }
        let open: Vec<_> = open.into_iter().map(|(at, _)| at).collect();
        for (at, asked) in ask.to(open) {
            if let Some(desk) = self.desks.get_mut(at) {
                desk.ask(asked);
            }
        }
    }

    /// Who was asked with an event that has come now.
    pub(super) fn claim(&mut self, event: &Event) -> Claim {
        if !may_be_asked(event.kind) {
            return Claim::default();
        }
        // It may have overtaken the word about it.
        self.ask(event.dedupe);
        self.asks.claim(event)
    }

    /// Does this handler have the event already, or never gets it? `answers`: is it one whose answer the ack waits for?
    pub(super) fn has_been_asked(
        &mut self,
        at: usize,
        event: &Arc<Event>,
        claim: &mut Claim,
        answers: bool,
    ) -> bool {
        let ending = match claim.asked.iter().position(|(asked, _)| *asked == at) {
            Some(place) => claim.asked.swap_remove(place).1,
            None if claim.has_expired && answers => Some(Ending::Expired(UNASKED)),
            None => return false,
        };
        let is_kept = self.marks.is_some();
        let Some(desk) = self.desks.get_mut(at) else { return false };
        if is_kept {
            desk.lanes.enter(Lane::of(event));
        }
        // It has passed its turn in the order.
        desk.hold(InHand { is_late: true, ..InHand::new(Arc::clone(event), None) });
        if let Some(ending) = ending {
            self.on_end(at, (event.seq, 1), End::of(ending));
        }
        true
    }

    /// Nobody waits for what the handler would answer: that is noted, and no more.
    pub(super) fn expire(&mut self, at: usize, key: Key, hand: &InHand, why: &str) {
        let now = self.clock.now();
        let Some(desk) = self.desks.get_mut(at) else { return };
        let lane = Lane::of(&hand.event);
        desk.rule(lane, key, hand.key, hand.is_late, Ended::Over, now);
        let row = DeliveryRow {
            attempts: hand.attempts.saturating_add(1),
            status: DeliveryStatus::Expired,
            last_error: Some(why.into()),
            ..desk.row(&hand.event, key.1, hand.key, now.wall_ms)
        };
        desk.lanes.leave(lane);
        desk.ending.insert(key, lane);
        let settles = (hand.row == Row::None).then(|| (key.0, weight(&hand.event)));
        self.owing.push(Pending { change: DeliveryChange::Tried(row), desk: at, settles, waits: Waits::No });
    }
}

impl StreamHandler<Vec<DedupeKey>> for Dispatcher {
    fn handle(&mut self, keys: Vec<DedupeKey>, _: &mut Self::Context) {
        for key in keys {
            self.ask(key);
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}
