//! Events that say something of their installations. They hold the mark until that is stored, so they are taken up in their order,
//! so many at once.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::{Dispatcher, weight};
use crate::actors::lifecycle::Lifecycle;
use crate::event::Event;

/// So many are taken up at once.
const AT_ONCE: usize = 32;

/// What is noted, and what waits for it.
pub(super) struct Noting {
    lifecycle: Rc<Lifecycle>,
    waiting: VecDeque<Arc<Event>>,
    under_way: usize,
}

impl Noting {
    pub(super) fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle: Rc::new(lifecycle), waiting: VecDeque::new(), under_way: 0 }
    }

    /// One that has come.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.waiting.push_back(event);
    }

    /// Is all noted?
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }
}

impl Dispatcher {
    /// Takes up what events say of their installations. Until that is stored they are not done.
    pub(super) fn note(&mut self, ctx: &mut Context<Self>) {
        while self.noting.under_way < AT_ONCE {
            let Some(event) = self.noting.waiting.pop_front() else { return };
            self.noting.under_way += 1;
            let lifecycle = Rc::clone(&self.noting.lifecycle);
            let noting = async move {
                lifecycle.take(&event).await;
                event
            };
            ctx.spawn(noting.into_actor(self).map(|event, act, ctx| {
                act.noting.under_way -= 1;
                act.settle(event.seq, weight(&event));
                act.go_on(ctx);
            }));
        }
    }
}
