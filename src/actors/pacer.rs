//! The queue before `apps.connections.open`, for all threads of a node. When whose turn it is is
//! [`machine::pace`](crate::machine::pace)'s business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::ids::AppId;
use crate::machine::pace::{Limits, Pace, Ticket};
use crate::telemetry::Opens;

/// The queue.
pub(super) struct Pacer {
    clock: Clock,
    queue: Mutex<Queue>,
    /// What the timer waits for has changed.
    rearm: Notify,
}

struct Queue {
    pace: Pace,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    armed: Option<Duration>,
}

/// A place in the queue or, once it is one's turn, at Slack's counter. Whoever drops it gives the place to the next.
pub(super) struct Turn {
    pacer: Arc<Pacer>,
    app: AppId,
    ticket: Ticket,
    limited: bool,
}

impl Pacer {
    /// A queue nobody stands in.
    pub(super) fn new(clock: Clock, limits: Limits) -> Arc<Self> {
        let queue = Queue { pace: Pace::new(limits), waiting: HashMap::new(), armed: None };
        Arc::new(Self { clock, queue: Mutex::new(queue), rearm: Notify::new() })
    }

    /// Calls those whose time has come, for ever.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.lock().armed;
            let due = due.map_or(Duration::MAX / 4, |due| due.saturating_sub(self.clock.mono()));
            tokio::select! {
                () = tokio::time::sleep(due) => self.with(Pace::wake),
                () = self.rearm.notified() => {}
            }
        }
    }

    /// Waits for an app's turn.
    pub(super) async fn turn(self: Arc<Self>, app: AppId) -> Turn {
        let (call, called) = oneshot::channel();
        let ticket = {
            let mut queue = self.lock();
            let ticket = queue.pace.queue(self.clock.mono());
            queue.waiting.insert(ticket, call);
            ticket
        };
        let turn = Turn { pacer: Arc::clone(&self), app, ticket, limited: false };
        self.with(|_, _| {});
        // The other end is held until it is called.
        drop(called.await);
        turn
    }

    /// An app's turn without waiting.
    pub(super) fn jump(self: Arc<Self>, app: AppId) -> Turn {
        let ticket = self.with(Pace::jump);
        Turn { pacer: self, app, ticket, limited: false }
    }

    /// Does something, then calls whose turn it is and sees to the timer.
    fn with<R>(&self, change: impl FnOnce(&mut Pace, Duration) -> R) -> R {
        let now = self.clock.mono();
        let mut queue = self.lock();
        let done = change(&mut queue.pace, now);
        while let Some(ticket) = queue.pace.poll_turn() {
            if let Some(call) = queue.waiting.remove(&ticket) {
                // Who does not listen any more is about to drop the turn.
                call.send(()).unwrap_or_default();
            }
        }
        let due = queue.pace.poll_timeout(now);
        if due != queue.armed {
            queue.armed = due;
            self.rearm.notify_one();
        }
        done
    }

    /// The queue now.
    pub(super) fn opens(&self) -> Opens {
        let (waiting, in_flight, pace) = self.lock().pace.figures(self.clock.mono());
        Opens { waiting, in_flight, pace }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Slack has answered; `limited` if by 429.
    pub(super) fn end(mut self, limited: bool) {
        self.limited = limited;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let limited = self.limited.then_some(self.app);
        self.pacer.lock().waiting.remove(&self.ticket);
        if self.pacer.with(|pace, now| pace.leave(now, self.ticket, limited)) {
            tracing::warn!(
                "Slack tells many apps that they ask too often; all addresses are asked for at half the pace for a while"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn turns_are_taken_in_order_and_a_dropped_one_goes_to_the_next() {
        let pacer = pacer(1_000, 1);
        let first = Arc::clone(&pacer).turn(AppId(1)).await;
        let [mut second, mut third] = [2, 3].map(|app| Box::pin(Arc::clone(&pacer).turn(AppId(app))));
        assert!(
            futures_util::poll!(&mut second).is_pending() && futures_util::poll!(&mut third).is_pending()
        );
        assert_eq!(pacer.opens(), Opens { waiting: 2, in_flight: 1, pace: 1.0 });
        drop(second);
        assert!(futures_util::poll!(&mut third).is_pending());
        first.end(false);
        third.await.end(false);
        assert!(pacer.lock().waiting.is_empty());
        assert_eq!(pacer.opens(), Opens::default());
    }

    #[actix::test]
    async fn who_waits_for_time_alone_is_called_when_it_has_passed() {
        let pacer = pacer(20, 64);
        let timer = actix_rt::spawn(Arc::clone(&pacer).keep_time());
        for app in 0..23 {
            Arc::clone(&pacer).turn(AppId(app)).await.end(false);
        }
        timer.abort();
    }

    #[actix::test]
    async fn a_successor_does_not_wait() {
        let pacer = pacer(1, 1);
        let _first = Arc::clone(&pacer).turn(AppId(1)).await;
        let _second = Arc::clone(&pacer).jump(AppId(1));
        let mut waits = Box::pin(Arc::clone(&pacer).turn(AppId(2)));
        assert!(futures_util::poll!(&mut waits).is_pending());
    }

    fn pacer(per_second: u32, at_once: u32) -> Arc<Pacer> {
        Pacer::new(Clock::start(), Limits { per_second, at_once })
    }
}
