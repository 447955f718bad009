//! What is looked after once a second: what was missed, what takes long, what has come due, who has died, and the clock.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;

use super::Dispatcher;
use super::beginning::Look;
use crate::actors::handler::End;
use crate::ids::Seq;

impl Dispatcher {
    pub(super) fn tick(&mut self, ctx: &mut Context<Self>) {
        self.metrics.events_waiting.set(i64::try_from(self.window.undone()).unwrap_or(i64::MAX));
        self.revive();
        if let Some(marks) = &self.marks {
            let missing = Seq(marks.committed.load(Ordering::Acquire)) > self.window.last();
            self.behind = self.behind.tick(self.window.last(), missing);
        }
        if self.marks.is_some() && self.has_begun {
            if self.window.last() >= self.ruled.1 {
                self.ruled.0 = HashSet::new();
            }
            self.mind_the_clock(ctx);
            self.write_down_what_takes_long();
            self.let_overdue_go();
            for desk in &mut self.desks {
                desk.ask_held_back();
                desk.lanes.look_at_all();
            }
            self.read_due(ctx);
            self.look_around(ctx);
        }
        self.go_on(ctx);
    }

    /// Starts handlers that died again. What is paused does not get what it had in hand, and at a stop nobody does.
    fn revive(&mut self) {
        let is_all = self.drained.is_some() && self.marks.is_some();
        for at in 0..self.desks.len() {
            let Some(desk) = self.desks.get_mut(at) else { return };
            if !desk.revive() {
                continue;
            }
            for key in desk.unsent(&self.paused, is_all) {
                self.on_end(at, key, End::GivenBack);
            }
        }
    }

    /// Where the wall clock was set back, what waits for its time would wait for as much longer.
    fn mind_the_clock(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        if !self.wall.is_back(now) {
            return;
        }
        if !self.looks.contains(&Look::PutOff) {
            tracing::warn!("the clock was set back: what waits to be tried again is tried now");
        }
        self.hurry(now.wall_ms, ctx);
    }

    /// What was put off by a clock that was ahead of this is due now.
    pub(super) fn hurry(&mut self, now_ms: i64, ctx: &mut Context<Self>) {
        if !self.looks.insert(Look::PutOff) {
            return;
        }
        let store = Arc::clone(&self.store);
        let hurry = async move { store.hurry(now_ms).await };
        ctx.spawn(hurry.into_actor(self).map(|hurried, act, _| {
            act.looks.remove(&Look::PutOff);
            match hurried {
                Ok(_) => act.wall.minded(),
                Err(error) => {
                    act.wall.doubt();
                    tracing::debug!(%error, "it is tried again with the next tick");
                }
            }
        }));
    }
}
