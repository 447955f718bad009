//! The failed attempts with one token, and when the next may begin.

use std::time::Duration;

use super::Timing;
use crate::machine::backoff::{Backoff, Spread};
use crate::machine::dice::Dice;
use crate::protocol::class::Class;
use crate::status::Code;

/// The kinds of failure that time heals; each has its own pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1 s doubling to 12 s, full jitter.
    Transient,
    /// The workspace moves into an organisation: 1, 3, 10, 30, 60 s.
    Slow,
    /// An error code this version does not know: 1 min doubling to 15 min.
    Unknown,
    /// `too_many_websockets`: 30 s doubling to 10 min.
    Crowded,
}

/// A failed attempt, or a lost link. Moments are monotonic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) now: Duration,
    /// When the attempt began; now for a link that was up.
    pub(super) began: Duration,
    pub(super) kind: Kind,
    /// Slack's own word, from now.
    pub(super) retry_after: Option<Duration>,
}

/// How a failure is to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Time.
    Wait(Kind),
    /// A person; `probe` when they may act where this node doesn't see it.
    Person { probe: bool },
}

impl Remedy {
    pub(super) fn of_open(code: Code, class: Class) -> Self {
        match class {
            Class::Fatal => Self::Person { probe: true },
            Class::FatalForever => Self::Person { probe: false },
            Class::Slow => Self::Wait(Kind::Slow),
            Class::Unknown => Self::Wait(Kind::Unknown),
            Class::Transient => Self::of_end(code),
        }
    }

    /// Of a link that ended when it shouldn't have.
    pub(super) fn of_end(code: Code) -> Self {
        if code == Code::LinkDisabled {
            Self::Person { probe: true }
        } else if code == Code::TooManyWebsockets {
            Self::Wait(Kind::Crowded)
        } else {
            Self::Wait(Kind::Transient)
        }
    }
}

/// So many announced ends in a row, each soon after hello, make nobody wait.
const BRIEF_LIVES: u32 = 8;

/// Suggested by Slack's docs for a workspace that moves into an organisation.
const SLOW_STEPS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

#[derive(Debug)]
pub(super) struct Tries {
    transient: Backoff,
    unknown: Backoff,
    crowded: Backoff,
    slow: usize,
    failed: u32,
    /// Links in a row that lived but briefly.
    brief: u32,
    last_failure: Duration,
    gate: Option<Gate>,
}

/// No attempt before this moment.
#[derive(Clone, Copy, Debug)]
struct Gate {
    kind: Kind,
    at: Duration,
    /// Slack itself said so: not even an operator's wish goes before it.
    floor: Option<Duration>,
}

impl Tries {
    pub(super) fn new(timing: &Timing) -> Self {
        Self {
            transient: Backoff::new(timing.backoff_first, timing.backoff_cap, Spread::Full),
            unknown: Backoff::new(timing.unknown_first, timing.unknown_cap, Spread::Above),
            crowded: Backoff::new(timing.crowded_first, timing.crowded_cap, Spread::Above),
            slow: 0,
            failed: 0,
            brief: 0,
            last_failure: Duration::ZERO,
            gate: None,
        }
    }

    /// An attempt that began at `began` failed, or a link was lost (now): the next one waits. What fails while the wait for the
    /// same kind of failure runs is the same trouble and not a second failure (a network that breaks takes all links with it).
    ///
    /// A transient wait counts from the attempt's beginning: one that hung until its deadline has spread its client enough,
    /// and must not put the next one off beyond the fifteen seconds within which a fault's end is to be noticed.
    pub(super) fn fail(&mut self, failure: Failure, dice: &mut Dice) {
        let Failure { now, began, kind, retry_after } = failure;
        self.last_failure = now;
        let running = self.gate.filter(|gate| gate.at > now);
        let floor = retry_after.map(|wait| now.saturating_add(wait)).max(running.and_then(|gate| gate.floor));
        let at = match running {
            Some(gate) if gate.kind == kind => gate.at,
            running => {
                self.count(now);
                let from = if kind == Kind::Transient { began } else { now };
                let at = from.saturating_add(self.wait(kind, dice)).max(now);
                running.map_or(at, |gate| gate.at.max(at))
            }
        };
        self.gate = Some(Gate { kind, at: floor.map_or(at, |floor| floor.max(at)), floor });
    }

    /// A link's end was announced soon after its hello. Several in a row are a deployment of Slack's, and a wait could outlast the
    /// two seconds that a refreshed link has left: that would be a gap. A Slack that goes on saying hello and disconnect in
    /// turn is not to be asked at full speed.
    pub(super) fn lived_briefly(&mut self, now: Duration, dice: &mut Dice) {
        self.last_failure = now;
        self.brief = self.brief.saturating_add(1);
        if self.brief > BRIEF_LIVES {
            self.fail(Failure { now, began: now, kind: Kind::Transient, retry_after: None }, dice);
        }
    }

    /// An attempt failed for a reason that no wait mends.
    pub(super) fn count(&mut self, now: Duration) {
        self.last_failure = now;
        self.failed = self.failed.saturating_add(1);
    }

    /// Somebody wants it now. Only Slack's own `Retry-After` stands.
    pub(super) fn hurry(&mut self) {
        self.gate = self.gate.and_then(|gate| gate.floor.map(|at| Gate { at, ..gate }));
    }

    /// All is well: the next wait is the first again. One that runs runs on.
    pub(super) fn clear(&mut self) {
        self.transient.clear();
        self.unknown.clear();
        self.crowded.clear();
        self.slow = 0;
        self.failed = 0;
        self.brief = 0;
    }

    /// May an attempt begin? Forgets the gate once it is passed.
    pub(super) fn open_now(&mut self, now: Duration) -> bool {
        self.gate = self.gate.filter(|gate| gate.at > now);
        self.gate.is_none()
    }

    pub(super) fn next_at(&self) -> Option<Duration> {
        self.gate.map(|gate| gate.at)
    }

    /// Failures in a row.
    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// Nothing failed since all was last well.
    pub(super) fn is_clear(&self) -> bool {
        self.failed == 0 && self.brief == 0
    }

    pub(super) fn last_failure(&self) -> Duration {
        self.last_failure
    }

    /// Did Slack say lately that the app has too many sockets?
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.tries() > 0
    }

    fn wait(&mut self, kind: Kind, dice: &mut Dice) -> Duration {
        match kind {
            Kind::Transient => self.transient.next(dice),
            Kind::Unknown => self.unknown.next(dice),
            Kind::Crowded => self.crowded.next(dice),
            Kind::Slow => {
                let step = SLOW_STEPS.get(self.slow).or(SLOW_STEPS.last()).copied().unwrap_or_default();
                self.slow = self.slow.saturating_add(1);
                dice.between(step, step.saturating_add(step / 5))
            }
        }
    }
}
