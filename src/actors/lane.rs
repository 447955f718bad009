//! What waits for one handler and what it is at work on. The place where fair turns between workspaces will be kept.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;

use super::handler::{HandlerActor, Parts, Work};
use crate::event::Event;
use crate::ids::Seq;

/// Events a handler is given at once.
const BATCH: usize = 256;

/// Events a handler has in hand at most: enough that it has work while word of what it has done is on its way between threads.
const IN_HAND: usize = 4096;

/// One handler, as the dispatcher sees it.
pub(super) struct Lane {
    parts: Parts,
    arbiter: Arbiter,
    /// None between a handler's death and its next life.
    actor: Option<Addr<HandlerActor>>,
    waiting: VecDeque<Arc<Event>>,
    in_hand: VecDeque<Arc<Event>>,
}

impl Lane {
    /// The lane of a handler, which starts on a thread of its own: whatever it does there, no connection and no other handler
    /// waits for it.
    pub(super) fn new(parts: Parts) -> Self {
        let arbiter = Arbiter::new();
        let actor = Some(start(&parts, &arbiter));
        Self { parts, arbiter, actor, waiting: VecDeque::new(), in_hand: VecDeque::with_capacity(IN_HAND) }
    }

    /// An event for the handler.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.waiting.push_back(event);
    }

    /// Gives the handler what it can take.
    pub(super) fn pump(&mut self) {
        while self.in_hand.len() < IN_HAND && !self.waiting.is_empty() {
            let Some(actor) = &self.actor else { return };
            let take = BATCH.min(IN_HAND - self.in_hand.len()).min(self.waiting.len());
            let events: Vec<_> = self.waiting.drain(..take).collect();
            self.in_hand.extend(events.iter().cloned());
            if actor.try_send(Work(events)).is_err() {
                self.died();
            }
        }
    }

    /// The handler is done with an event; false when it did not have it.
    pub(super) fn done(&mut self, seq: Seq) -> bool {
        // Mostly one of the oldest, so the search is short.
        let at = self.in_hand.iter().position(|event| event.seq == seq);
        at.and_then(|at| self.in_hand.remove(at)).is_some()
    }

    /// Does the handler have nothing in hand, and does nothing wait for it?
    pub(super) fn is_idle(&self) -> bool {
        self.in_hand.is_empty() && self.waiting.is_empty()
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Starts a dead handler again; what it had in hand comes first.
    pub(super) fn revive(&mut self) {
        match &self.actor {
            Some(actor) if actor.connected() => {}
            Some(_) => self.died(),
            None => self.actor = Some(start(&self.parts, &self.arbiter)),
        }
    }

    fn died(&mut self) {
        tracing::error!(
            handler = self.parts.plugin.name,
            "the handler's actor has ended; it is started again"
        );
        self.actor = None;
        let in_hand = std::mem::take(&mut self.in_hand);
        for event in in_hand.into_iter().rev() {
            self.waiting.push_front(event);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

fn start(parts: &Parts, arbiter: &Arbiter) -> Addr<HandlerActor> {
    let parts = parts.clone();
    HandlerActor::start_in_arbiter(&arbiter.handle(), |_| HandlerActor::new(parts))
}
