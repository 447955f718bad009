//! Events that say something of their installations. They hold the mark until that is stored, so they are taken up in their order, and
//! none waits for Slack's word past a time of its own: thousands at once hold it for no longer than it takes to write them down.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::{Dispatcher, weight};
use crate::actors::lifecycle::Lifecycle;
use crate::event::Event;

/// So many are taken up at once.
const AT_ONCE: usize = 32;

/// For so long after it has come Slack is asked before something is noted; later it is believed at once, and Slack asked behind it.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// What is noted, and what waits for it.
pub(super) struct Noting {
    lifecycle: Rc<Lifecycle>,
    /// With the monotonic time at which each is believed.
    waiting: VecDeque<(Arc<Event>, Duration)>,
    under_way: usize,
}

impl Noting {
    pub(super) fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle: Rc::new(lifecycle), waiting: VecDeque::new(), under_way: 0 }
    }

    /// One that came at this monotonic time.
    pub(super) fn push(&mut self, event: Arc<Event>, now: Duration) {
        self.waiting.push_back((event, now.saturating_add(ASK_WITHIN)));
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
            let Some((event, until)) = self.noting.waiting.pop_front() else { return };
            self.noting.under_way += 1;
            let lifecycle = Rc::clone(&self.noting.lifecycle);
            let noting = async move {
                lifecycle.take(&event, until).await;
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
