//! What the connection is, read from what it holds.

use std::time::Duration;

use super::slots::{Phase, Slot};
use super::{Action, Connection, Probe};
use crate::ids::Generation;
use crate::status::{Code, Health, Reason, State, Status};

impl Connection {
    /// When to give the input [`Input::Timeout`](super::Input::Timeout) (monotonic). To be polled after the actions.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if !self.on {
            return None;
        }
        // What is due and couldn't be done waits for a link to go, not for time.
        self.poll_moments().filter(|at| *at > self.seen.mono).min()
    }

    /// All there is to say about it, as of the last input.
    pub fn status(&self) -> Status {
        let state = self.state();
        let warnings = self.warnings(state);
        let health = self.health(state, &warnings);
        Status {
            state,
            health,
            since_ms: self.since_ms,
            reason: self.reason(state, health, &warnings).map(Reason::from),
            attempt: self.tries.failed(),
            next_attempt_ms: self.next_attempt().map(|at| self.wall_ms(at)),
            links: self.slots.status(),
            warnings,
            slack_app_id: self.settings.slack_app_id.clone(),
            marks: Vec::new(),
        }
    }

    pub(super) fn tell_change(&mut self, about: Option<Generation>) {
        let status = self.status();
        if status.state == self.shown {
            return;
        }
        let from = self.shown;
        self.shown = status.state;
        self.since_ms = self.seen.wall_ms;
        let generation = about.or_else(|| self.slots.oldest(Slot::is_opening));
        self.act(Action::Changed {
            from,
            to: status.state,
            code: status.reason.map(|reason| reason.code),
            generation,
        });
    }

    fn state(&self) -> State {
        let at = |phase| self.slots.any(|slot| slot.phase == phase);
        if !self.on {
            if self.slots.len() > 0 { State::Disconnecting } else { State::Disconnected }
        } else if self.slots.any(Slot::is_serving) {
            State::Ready
        } else if self.halt.is_some() && !self.has_hope() {
            State::Failed
        } else if at(Phase::Greeting) {
            State::Connected
        } else if at(Phase::Dialling) {
            State::Authenticated
        } else if at(Phase::Asking) {
            State::Connecting
        } else {
            State::Reconnecting
        }
    }

    fn health(&self, state: State, warnings: &[Code]) -> Health {
        match state {
            State::Disconnected | State::Disconnecting => Health::Off,
            State::Ready if !warnings.iter().copied().any(hurts) && self.served() >= self.wanted() => {
                Health::Ok
            }
            State::Ready => Health::Degraded,
            State::Connecting
            | State::Authenticated
            | State::Connected
            | State::Reconnecting
            | State::Failed => Health::Down,
        }
    }

    /// Links over which events flow and will go on flowing: a draining one counts while nothing keeps its successor away.
    fn served(&self) -> usize {
        let successors_come = self.halt.is_none() && self.tries.next_at().is_none();
        self.slots.count(|slot| slot.live().is_some() || (successors_come && slot.is_draining()))
    }

    fn warnings(&self, state: State) -> Vec<Code> {
        let halted = self.halt.filter(|_| state == State::Ready).map(|halt| halt.code);
        let crowded = self.tries.is_crowded().then_some(Code::TooManyWebsockets);
        let oversize = self.oversize_until.map(|_| Code::FrameTooLarge);
        let while_ready = |is: bool, code| (is && state == State::Ready).then_some(code);
        let foreign = while_ready(self.census.is_foreign(), Code::ForeignSockets);
        let slow = while_ready(self.slots.any(Slot::is_slow), Code::SlowPong);
        // Last: the first that hurts is the reason.
        let quiet = while_ready(self.quiet.is_quiet(), Code::Quiet);
        [halted, self.rejected, crowded, oversize, foreign, slow, quiet].into_iter().flatten().collect()
    }

    fn reason(&self, state: State, health: Health, warnings: &[Code]) -> Option<Code> {
        match state {
            State::Ready if health == Health::Ok => None,
            State::Ready => warnings.iter().copied().find(|code| hurts(*code)).or(self.cause),
            State::Failed => self.halt.map(|halt| halt.code),
            State::Disconnected
            | State::Disconnecting
            | State::Connecting
            | State::Authenticated
            | State::Connected
            | State::Reconnecting => self.cause,
        }
    }

    fn next_attempt(&self) -> Option<Duration> {
        let at = match self.halt {
            Some(halt) => match halt.probe {
                Probe::At(at) => Some(at),
                Probe::None | Probe::Unplanned => None,
            },
            None => self.tries.next_at(),
        };
        let trial = self.candidate.as_ref().and_then(|candidate| candidate.tries.next_at());
        let at = [at, trial].into_iter().flatten().min();
        at.filter(|_| self.on && self.missing() > 0)
    }

    fn wall_ms(&self, at: Duration) -> i64 {
        let ahead = at.saturating_sub(self.seen.mono).as_millis();
        self.seen.wall_ms.saturating_add(i64::try_from(ahead).unwrap_or(i64::MAX))
    }
}

/// A quiet app may simply have nothing to say.
fn hurts(warning: Code) -> bool {
    warning != Code::Quiet
}
