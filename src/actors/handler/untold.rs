//! What a handler is done with and has not told. The dispatcher has no use for each event's end at once, and waking its thread costs
//! more than many an event.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Finished, Parts, Told};

#[derive(Default)]
pub(super) struct Untold {
    ends: Vec<Told>,
    gave_back: usize,
    due: Option<Pin<Box<Sleep>>>,
}

impl Untold {
    /// Told when so many are done,
    const TOGETHER: usize = 64;
    /// or when the first of them has been done for so long.
    const WITHIN: Duration = Duration::from_millis(5);

    pub(super) fn add(&mut self, told: Told) {
        if self.is_empty() {
            self.begin();
        }
        self.ends.push(told);
    }

    /// What was asked back is among what is told, if there was any.
    pub(super) fn all_back(&mut self) {
        if self.is_empty() {
            self.begin();
        }
        self.gave_back += 1;
    }

    fn begin(&mut self) {
        let at = Instant::now() + Self::WITHIN;
        let due = self.due.get_or_insert_with(|| Box::pin(sleep_until(at)));
        due.as_mut().reset(at);
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.gave_back == 0
    }

    /// Resolves when it is time to tell: never while there is nothing.
    pub(super) async fn due(&mut self) {
        match &mut self.due {
            Some(due) if !(self.ends.is_empty() && self.gave_back == 0) => {
                if self.ends.len() < Self::TOGETHER {
                    due.await;
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Tells the dispatcher. False when there is none any more.
    pub(super) fn tell(&mut self, parts: &Parts) -> bool {
        let ends = std::mem::take(&mut self.ends);
        let gave_back = std::mem::take(&mut self.gave_back);
        parts.finished.try_send(Finished { handler: parts.handler, ends, gave_back }).is_ok()
    }
}
