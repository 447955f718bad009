//! When which connection of a node may ask Slack for an address. Ten thousand sockets that drop at one moment must not become ten
//! thousand calls in the next: so many a second, so many at once, first come first served.
//!
//! What is saved up is one second's worth. A successor jumps the queue, since it must be up before Slack closes its predecessor;
//! what it takes the queue gives back. A 429 is its app's own affair, which waits for its `Retry-After`; 429s of many apps within
//! a short time are about the node, and slow all of it down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::AppId;

/// So many apps that are told 429 within so long are no app's own affair.
const MANY: usize = 10;
const SHORT: Duration = Duration::from_secs(10);

/// The pace in force, in parts of the one that is set. Halved it stays halved for a while, then it grows by a sixteenth at a time.
const FULL: u32 = 64;
const LEAST: u32 = 2;
const GROWTH: u32 = 4;
const CALM: Duration = Duration::from_secs(30);
const GROWS_EVERY: Duration = Duration::from_secs(5);

const SECOND: Duration = Duration::from_secs(1);

/// How fast a node may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Begun in a second, in the long run; at least 1.
    pub per_second: u32,
    /// Begun and not answered; at least 1.
    pub at_once: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_second: 300, at_once: 64 }
    }
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The pace of a node.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    issued: u64,
    waiting: BTreeSet<Ticket>,
    /// Whose turn it is, and since when.
    asking: BTreeMap<Ticket, Duration>,
    /// Of those asking, who has yet to be told.
    turns: VecDeque<Ticket>,
    /// When a full second's worth will be saved up, if nobody asks until then.
    saved_up_at: Duration,
    /// Who was told 429 lately, each app once.
    limited: VecDeque<(Duration, AppId)>,
    slowed: Option<Slowed>,
}

/// The node was too fast.
#[derive(Clone, Copy, Debug)]
struct Slowed {
    at: Duration,
    /// The pace from then on.
    share: u32,
}

impl Pace {
    /// A pace at which nobody has asked yet; limits of zero are taken as one.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { per_second: limits.per_second.max(1), at_once: limits.at_once.max(1) };
        Self {
            limits,
            issued: 0,
            waiting: BTreeSet::new(),
            asking: BTreeMap::new(),
            turns: VecDeque::new(),
            saved_up_at: Duration::ZERO,
            limited: VecDeque::new(),
            slowed: None,
        }
    }

    /// Somebody wants to ask, and waits for its turn.
    pub fn queue(&mut self, now: Duration) -> Ticket {
        let ticket = self.issue();
        self.waiting.insert(ticket);
        self.admit(now);
        ticket
    }

    /// Somebody asks now and does not wait: a successor. At most a second's worth of what it takes is held against the others.
    pub fn jump(&mut self, now: Duration) -> Ticket {
        let ticket = self.issue();
        self.take(now);
        self.saved_up_at = self.saved_up_at.min(now.saturating_add(2 * SECOND));
        self.asking.insert(ticket, now);
        ticket
    }

    /// Whoever held this ticket has its answer, or wants none any more; `limited` names the app that was told 429. Said twice it
    /// changes nothing. True when that was one too many, and the node is slowed down.
    pub fn leave(&mut self, now: Duration, ticket: Ticket, limited: Option<AppId>) -> bool {
        self.waiting.remove(&ticket);
        self.turns.retain(|turn| *turn != ticket);
        let began = self.asking.remove(&ticket);
        let slows = began.zip(limited).is_some_and(|(began, app)| self.was_limited(now, began, app));
        self.admit(now);
        slows
    }

    /// The timer of [`poll_timeout`](Self::poll_timeout) fired.
    pub fn wake(&mut self, now: Duration) {
        self.admit(now);
    }

    /// Whose turn it is. To be polled until `None` after each call.
    pub fn poll_turn(&mut self) -> Option<Ticket> {
        self.turns.pop_front()
    }

    /// Who waits, who asks, and the share of the set pace in force (at most 1).
    pub fn figures(&self, now: Duration) -> (usize, usize, f64) {
        (self.waiting.len(), self.asking.len(), f64::from(self.share(now)) / f64::from(FULL))
    }

    /// When to [`wake`](Self::wake) it (monotonic). To be polled after the turns.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        (!self.waiting.is_empty() && self.has_place()).then(|| self.next_at(now))
    }

    /// When too many were told 429, the pace is halved, and nobody asks for a moment.
    fn was_limited(&mut self, now: Duration, began: Duration, app: AppId) -> bool {
        // What was asked before it was slowed down says nothing of the pace since.
        if self.slowed.is_some_and(|slowed| began < slowed.at) {
            return false;
        }
        self.limited.retain(|(at, other)| *other != app && now.saturating_sub(*at) < SHORT);
        self.limited.push_back((now, app));
        let slows = self.limited.len() >= MANY;
        if slows {
            self.limited.clear();
            self.slowed = Some(Slowed { at: now, share: (self.share(now) / 2).max(LEAST) });
            self.saved_up_at = now.saturating_add(SECOND);
        }
        slows
    }

    fn issue(&mut self) -> Ticket {
        self.issued += 1;
        Ticket(self.issued)
    }

    fn admit(&mut self, now: Duration) {
        while self.has_place() && self.next_at(now) <= now {
            let Some(ticket) = self.waiting.pop_first() else { return };
            self.take(now);
            self.asking.insert(ticket, now);
            self.turns.push_back(ticket);
        }
    }

    fn has_place(&self) -> bool {
        self.asking.len() < usize::try_from(self.limits.at_once).unwrap_or(usize::MAX)
    }

    fn take(&mut self, now: Duration) {
        self.saved_up_at = self.saved_up_at.max(now).saturating_add(self.interval(now));
    }

    /// From when on the second that may be saved up holds one more.
    fn next_at(&self, now: Duration) -> Duration {
        self.saved_up_at.saturating_add(self.interval(now)).saturating_sub(SECOND)
    }

    /// Between two, at the pace in force.
    fn interval(&self, now: Duration) -> Duration {
        // Never slower than one a second: a node must go on.
        (SECOND * FULL / self.share(now) / self.limits.per_second).min(SECOND)
    }

    fn share(&self, now: Duration) -> u32 {
        let Some(Slowed { at, share }) = self.slowed else { return FULL };
        let calm = now.saturating_sub(at).saturating_sub(CALM);
        let steps = u32::try_from(calm.as_secs() / GROWS_EVERY.as_secs()).unwrap_or(FULL);
        share.saturating_add(steps.saturating_mul(GROWTH)).min(FULL)
    }
}

#[cfg(test)]
mod tests;
