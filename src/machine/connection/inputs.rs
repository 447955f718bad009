//! What each input changes. What follows from it is the plan's business.

use std::time::Duration;

use super::census::Census;
use super::configure::Candidate;
use super::slots::{Live, Phase, Slot};
use super::tries::{Failure, Remedy};
use super::{Action, Connection, Halt, Hello, Input, OpenFailure, Probe, Which};
use crate::ids::Generation;
use crate::status::Code;

/// A promise shorter than this is no promise to plan by.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(15);

/// What failed: an opening, or a link that was up (since this very moment, as far as waits go).
#[derive(Clone, Copy)]
struct Attempt {
    token: Which,
    began: Duration,
}

impl Input {
    /// The link it is about.
    pub(super) fn generation(&self) -> Option<Generation> {
        match self {
            Self::UrlIssued(generation)
            | Self::OpenFailed(generation, _)
            | Self::LinkOpened(generation)
            | Self::LinkUp(generation, _)
            | Self::LinkDraining(generation, ..)
            | Self::LinkPong(generation, _)
            | Self::LinkDown(generation, _) => Some(*generation),
            Self::Connect(_)
            | Self::Disconnect(_)
            | Self::Reconnect
            | Self::Configure(_)
            | Self::Halt(_)
            | Self::Lift(_)
            | Self::Counted(_)
            | Self::Timeout => None,
        }
    }
}

impl Connection {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Connect(code) => self.connect(code),
            Input::Disconnect(code) => self.disconnect(code),
            Input::Reconnect => self.reconnect(),
            Input::Configure(wish) => self.configure(wish),
            Input::Halt(code) => self.halt_all(code),
            Input::Lift(code) => self.lift(code),
            Input::UrlIssued(generation) => self.url_issued(generation),
            Input::OpenFailed(generation, failure) => self.open_failed(generation, failure),
            Input::LinkOpened(generation) => self.link_opened(generation),
            Input::LinkUp(generation, hello) => self.link_up(generation, hello),
            Input::LinkDraining(generation, ..) => self.link_draining(generation),
            Input::LinkPong(generation, pong) => {
                if let Some(slot) = self.slots.get(generation) {
                    slot.pong = Some(pong);
                }
            }
            Input::LinkDown(generation, code) => self.link_down(generation, code),
            Input::Counted(events) => self.quiet.count(self.seen.mono, events),
            // Time itself changes nothing here: the plan looks at it.
            Input::Timeout => {}
        }
    }

    pub(super) fn connect(&mut self, code: Code) {
        self.on = true;
        self.cause = Some(code);
        self.forgive();
    }

    pub(super) fn disconnect(&mut self, code: Code) {
        self.on = false;
        self.cause = Some(code);
        self.census = Census::default();
    }

    fn reconnect(&mut self) {
        if !self.on {
            return;
        }
        self.leave_for(Code::OperatorConnect);
        self.forgive();
    }

    /// Each live link goes when its successor is up.
    pub(super) fn leave_for(&mut self, code: Code) {
        for slot in self.slots.iter_mut() {
            if let Phase::Live(live) = &mut slot.phase {
                live.leaving = Some(code);
            }
        }
    }

    /// Somebody looked at it and wants it tried now.
    fn forgive(&mut self) {
        self.halt = None;
        self.rejected = None;
        self.oversize_until = None;
        self.tries.hurry();
        if let Some(candidate) = &mut self.candidate {
            candidate.tries.hurry();
        }
    }

    pub(super) fn want_links(&mut self, count: u8) {
        self.settings.links = count.clamp(1, 9);
        let in_force = |slot: &Slot| slot.is_opening() && slot.token == Which::InForce;
        let missing = self.wanted().saturating_sub(self.slots.count(Slot::is_staying));
        for generation in self.slots.which(in_force).into_iter().skip(missing) {
            self.stop(generation);
        }
    }

    fn halt_all(&mut self, code: Code) {
        for generation in self.slots.which(|_| true) {
            self.stop(generation);
        }
        if code == Code::DuplicateInstallation && self.app_id_is_learnt {
            // The store refuses it: the next hello is to ask again.
            self.settings.slack_app_id = None;
        }
        self.halt = Some(Halt { code, probe: Probe::None, token_may_help: false });
        self.cause = Some(code);
    }

    fn lift(&mut self, code: Code) {
        if self.halt.is_some_and(|halt| halt.code == code) {
            self.halt = None;
            self.tries.hurry();
        }
    }

    fn halt_for(&mut self, code: Code, probe: Probe) {
        // What no probe can mend isn't softened by a later error that one could.
        let stands = self.halt.is_some_and(|halt| halt.probe == Probe::None);
        if probe == Probe::None || !stands {
            self.halt = Some(Halt { code, probe, token_may_help: true });
        }
        self.cause = Some(code);
        self.tries.count(self.seen.mono);
        // Now it is the only hope.
        if let Some(candidate) = &mut self.candidate {
            candidate.tries.hurry();
        }
    }

    fn url_issued(&mut self, generation: Generation) {
        let Some(slot) = self.slots.get(generation) else { return };
        match slot.phase {
            Phase::Asking => {
                slot.phase = Phase::Dialling;
                self.act(Action::Dial(generation));
            }
            Phase::Dialling | Phase::Greeting | Phase::Live(_) | Phase::Draining | Phase::Stopping => {}
        }
    }

    fn open_failed(&mut self, generation: Generation, failure: OpenFailure) {
        let Some(slot) = self.slots.get(generation) else { return };
        let attempt = Attempt { token: slot.token, began: slot.began };
        match slot.phase {
            // From dialling too: a dial that couldn't even begin.
            Phase::Asking | Phase::Dialling => {
                self.slots.release(generation);
                let remedy = Remedy::of_open(failure.code, failure.class);
                self.attempt_failed(attempt, remedy, failure.code, failure.retry_after);
            }
            Phase::Greeting | Phase::Live(_) | Phase::Draining | Phase::Stopping => {}
        }
    }

    fn link_opened(&mut self, generation: Generation) {
        let Some(slot) = self.slots.get(generation) else { return };
        match slot.phase {
            Phase::Dialling => slot.phase = Phase::Greeting,
            Phase::Asking | Phase::Greeting | Phase::Live(_) | Phase::Draining | Phase::Stopping => {}
        }
    }

    fn link_up(&mut self, generation: Generation, hello: Hello) {
        let Some(slot) = self.slots.get(generation) else { return };
        let token = slot.token;
        match slot.phase {
            Phase::Dialling | Phase::Greeting => {
                if self.is_foreign(&hello) {
                    self.app_mismatch(generation, token);
                } else {
                    self.welcome(generation, token, hello);
                }
            }
            Phase::Asking | Phase::Live(_) | Phase::Draining | Phase::Stopping => {}
        }
    }

    fn is_foreign(&self, hello: &Hello) -> bool {
        let expected = self.settings.slack_app_id.as_ref().zip(hello.app_id.as_ref());
        expected.is_some_and(|(expected, told)| expected != told)
    }

    /// Never counts as ready, not for a moment.
    fn app_mismatch(&mut self, generation: Generation, token: Which) {
        self.stop(generation);
        match token {
            Which::Candidate => self.reject_candidate(Code::AppMismatch),
            Which::InForce => {
                for other in self.slots.which(|slot| slot.is_opening() && slot.token == Which::InForce) {
                    self.stop(other);
                }
                self.halt_for(Code::AppMismatch, Probe::None);
            }
        }
    }

    fn welcome(&mut self, generation: Generation, token: Which, hello: Hello) {
        if self.settings.slack_app_id.is_none()
            && let Some(app_id) = &hello.app_id
        {
            self.settings.slack_app_id = Some(app_id.clone());
            self.app_id_is_learnt = true;
            self.act(Action::LearnAppId(app_id.clone()));
        }
        let mut live = self.live_from_now(hello.lifetime);
        self.take_census(&mut live, hello.num_connections);
        let wall_ms = self.seen.wall_ms;
        if let Some(slot) = self.slots.get(generation) {
            slot.up(live, hello, wall_ms);
        }
        match token {
            Which::Candidate => {
                self.promote_candidate();
                if let Some(slot) = self.slots.get(generation) {
                    slot.phase = Phase::Live(live);
                }
            }
            Which::InForce => self.halt = None,
        }
    }

    /// More sockets are counted than we know of: whether that holds the next hello tells, and it is not waited for for hours.
    fn take_census(&mut self, live: &mut Live, told: Option<u32>) {
        // Each of the other nodes may have as many, and one more while it replaces one.
        let theirs = usize::from(self.settings.links).saturating_add(1).saturating_mul(self.other_nodes);
        let own = self.slots.count(Slot::is_counted).saturating_add(theirs);
        if told.is_some_and(|told| self.census.hear(self.seen.mono, told, own)) {
            let every = self.settings.timing.census;
            let at = self.seen.mono.saturating_add(self.dice.between(every, every * 2));
            if live.refresh_at.is_none_or(|refresh_at| at < refresh_at) {
                (live.refresh_at, live.is_check) = (Some(at), true);
            }
        }
    }

    /// Our own refresh comes before Slack's: in the last 5 to 20 % of the link's time, but not more than 2½ to 10 minutes
    /// early. Spread by dice, so that links that came up together don't go together.
    fn live_from_now(&mut self, lifetime: Option<Duration>) -> Live {
        let since = self.seen.mono;
        let lifetime = lifetime.filter(|lifetime| *lifetime >= SHORTEST_LIFETIME);
        let refresh_in = lifetime.map(|lifetime| {
            let late = (lifetime / 20).clamp(Duration::from_secs(3), Duration::from_secs(150));
            let early = (lifetime / 5).clamp(late, Duration::from_mins(10));
            lifetime.saturating_sub(self.dice.between(late, early)).max(self.settings.timing.brief)
        });
        Live {
            since,
            ends_at: lifetime.map(|lifetime| since.saturating_add(lifetime)),
            refresh_at: refresh_in.map(|wait| since.saturating_add(wait)),
            is_check: false,
            leaving: None,
        }
    }

    fn link_draining(&mut self, generation: Generation) {
        let brief = self.settings.timing.brief;
        let Some(slot) = self.slots.get(generation) else { return };
        match slot.phase {
            Phase::Live(live) => {
                slot.phase = Phase::Draining;
                let was_brief = self.seen.mono.saturating_sub(live.since) < brief;
                if live.leaving.is_none() && was_brief {
                    self.tries.lived_briefly(self.seen.mono, &mut self.dice);
                }
            }
            Phase::Asking | Phase::Dialling | Phase::Greeting | Phase::Draining | Phase::Stopping => {}
        }
    }

    fn link_down(&mut self, generation: Generation, code: Code) {
        let Some(slot) = self.slots.release(generation) else { return };
        if slot.is_counted() {
            self.census.lost(self.seen.mono);
        }
        if code == Code::FrameTooLarge {
            self.oversize_until = Some(self.seen.mono.saturating_add(self.settings.timing.oversize_shown));
        }
        let lost = Attempt { token: Which::InForce, began: self.seen.mono };
        match slot.phase {
            Phase::Asking | Phase::Dialling | Phase::Greeting => {
                let attempt = Attempt { token: slot.token, began: slot.began };
                self.attempt_failed(attempt, Remedy::of_end(code), code, None);
            }
            Phase::Live(Live { leaving: None, .. }) => {
                self.attempt_failed(lost, Remedy::of_end(code), code, None);
            }
            Phase::Live(Live { leaving: Some(_), .. }) => {
                // Its successor is on its way; only what stops the successor too is news.
                let remedy = Remedy::of_end(code);
                match remedy {
                    Remedy::Person { .. } => self.attempt_failed(lost, remedy, code, None),
                    Remedy::Wait(_) => self.cause = Some(code),
                }
            }
            Phase::Draining => self.cause = Some(code),
            Phase::Stopping => {}
        }
    }

    fn attempt_failed(
        &mut self,
        attempt: Attempt,
        remedy: Remedy,
        code: Code,
        retry_after: Option<Duration>,
    ) {
        let now = self.seen.mono;
        let Attempt { token, began } = attempt;
        let retry_after = retry_after.map(|wait| wait.min(self.settings.timing.retry_after_cap));
        match (token, remedy) {
            (Which::Candidate, Remedy::Person { .. }) => self.reject_candidate(code),
            (Which::Candidate, Remedy::Wait(kind)) => {
                if !self.slots.any(Slot::is_serving) {
                    self.cause = Some(code);
                }
                if let Some(Candidate { tries, .. }) = self.candidate.as_deref_mut() {
                    tries.fail(Failure { now, began, kind, retry_after }, &mut self.dice);
                }
            }
            (Which::InForce, Remedy::Person { probe: false }) => self.halt_for(code, Probe::None),
            (Which::InForce, Remedy::Person { probe: true }) => {
                self.halt_for(code, Probe::Unplanned);
                self.plan_probe(retry_after);
            }
            (Which::InForce, Remedy::Wait(kind)) => {
                if self.halt.is_some() {
                    // A probe that learnt nothing. What it was halted for still stands.
                    self.tries.count(now);
                    self.plan_probe(retry_after);
                } else {
                    self.cause = Some(code);
                    self.tries.fail(Failure { now, began, kind, retry_after }, &mut self.dice);
                }
            }
        }
    }
}
