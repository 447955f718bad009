//! A queue whose reader takes together what comes together. Waking its thread for every message costs more than the message: a
//! reader that has just been woken lets a moment pass first, in which nobody wakes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep, sleep};

/// Messages given at once at most.
const MOST: usize = 64;

/// A reader is woken no more often than this. What comes after a longer silence is given at once.
const MOMENT: Duration = Duration::from_millis(1);

/// A shorter silence is none: timers come up to a moment late.
const BUSY: Duration = Duration::from_millis(3);

/// The stream of what a queue holds, by the gulp.
pub(super) struct Gulps<T> {
    queue: Receiver<T>,
    rest: Pin<Box<Sleep>>,
    is_resting: bool,
    woken_at: Option<Instant>,
}

impl<T> Gulps<T> {
    /// Of this queue, which must have room for what comes in a moment. To be made on a runtime.
    pub(super) fn of(queue: Receiver<T>) -> Self {
        Self { queue, rest: Box::pin(sleep(Duration::ZERO)), is_resting: false, woken_at: None }
    }
}

impl<T> Stream for Gulps<T> {
    type Item = Vec<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        if self.is_resting {
            ready!(self.rest.as_mut().poll(cx));
            self.is_resting = false;
        }
        let mut all = Vec::new();
        if ready!(self.queue.poll_recv_many(cx, &mut all, MOST)) == 0 {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        let was = self.woken_at.replace(now);
        if self.queue.is_empty() && was.is_some_and(|was| now.duration_since(was) < BUSY) {
            self.rest.as_mut().reset(now + MOMENT);
            self.is_resting = true;
        }
        Poll::Ready(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use tokio::sync::mpsc;
    use tokio::time::{advance, pause};

    use super::*;

    #[tokio::test]
    async fn what_comes_after_a_silence_is_given_at_once_and_what_follows_on_its_heels_together() {
        pause();
        let (sender, queue) = mpsc::channel(1000);
        let mut gulps = Gulps::of(queue);
        let mut next = move || gulps.next().now_or_never();
        let send = |number| sender.try_send(number).unwrap();
        send(1);
        assert_eq!(next(), Some(Some(vec![1])));
        send(2);
        assert_eq!(next(), Some(Some(vec![2])));
        send(3);
        send(4);
        assert_eq!(next(), None, "it rests");
        advance(2 * MOMENT).await;
        assert_eq!(next(), Some(Some(vec![3, 4])));
        advance(10 * MOMENT).await;
        send(5);
        assert_eq!(next(), Some(Some(vec![5])), "after a silence");
    }

    #[tokio::test]
    async fn while_more_waits_than_one_gulp_there_is_no_rest_and_the_end_is_told() {
        pause();
        let (sender, queue) = mpsc::channel(1000);
        let mut gulps = Gulps::of(queue);
        (0..130).for_each(|number| sender.try_send(number).unwrap());
        let gulp = |gulp: Option<Option<Vec<i32>>>| gulp.flatten().map(|all| all.len());
        assert_eq!(gulp(gulps.next().now_or_never()), Some(64));
        assert_eq!(gulp(gulps.next().now_or_never()), Some(64));
        assert_eq!(gulp(gulps.next().now_or_never()), Some(2));
        drop(sender);
        advance(2 * MOMENT).await;
        assert_eq!(gulps.next().await, None);
    }
}
