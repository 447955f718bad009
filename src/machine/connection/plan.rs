//! What follows from what is wanted and what is there. Runs after every input and comes to the same result when run twice.

use std::time::Duration;

use super::slots::{Phase, Slot};
use super::{Action, Connection, Halt, Probe, Which};
use crate::ids::Generation;
use crate::status::Code;

impl Connection {
    pub(super) fn plan(&mut self) {
        self.listen();
        if !self.on {
            for generation in self.slots.which(|_| true) {
                self.stop(generation);
            }
            return;
        }
        self.forget_what_is_past();
        self.refresh_what_is_due();
        if let Some(code) = self.no_token.filter(|_| self.halt.is_none()) {
            self.halt = Some(Halt { code, probe: Probe::None, token_may_help: true });
            self.cause = Some(code);
        }
        self.let_go_of_surplus();
        self.try_candidate();
        self.open_missing();
    }

    pub(super) fn poll_moments(&self) -> impl Iterator<Item = Duration> {
        let refreshes = self.slots.iter().filter(|slot| slot.is_staying());
        let refreshes = refreshes.filter_map(|slot| slot.live().and_then(|live| live.refresh_at));
        let probe = self.halt.and_then(|halt| match halt.probe {
            Probe::At(at) => Some(at),
            Probe::None | Probe::Unplanned => None,
        });
        let candidate = self.candidate.as_ref().and_then(|candidate| candidate.tries.next_at());
        [self.tries.next_at(), probe, candidate, self.stable_at(), self.oversize_until, self.quiet.due()]
            .into_iter()
            .flatten()
            .chain(refreshes)
    }

    pub(super) fn wanted(&self) -> usize {
        usize::from(self.settings.links)
    }

    /// How many links are neither there nor on their way.
    pub(super) fn missing(&self) -> usize {
        self.wanted().saturating_sub(self.slots.count(|slot| slot.is_staying() || slot.is_opening()))
    }

    /// Stops a link, whatever it is doing.
    pub(super) fn stop(&mut self, generation: Generation) {
        let Some(slot) = self.slots.get(generation) else { return };
        match slot.phase {
            Phase::Asking => {
                self.slots.release(generation);
                self.act(Action::Abandon(generation));
            }
            Phase::Dialling | Phase::Greeting | Phase::Live(_) | Phase::Draining => {
                slot.phase = Phase::Stopping;
                self.act(Action::Stop(generation));
            }
            Phase::Stopping => {}
        }
    }

    pub(super) fn plan_probe(&mut self, retry_after: Option<Duration>) {
        let every = self.settings.timing.probe;
        if let Some(halt) = &mut self.halt
            && halt.probe == Probe::Unplanned
        {
            let wait = self.dice.between(every * 4 / 5, every * 6 / 5);
            let wait = retry_after.map_or(wait, |least| wait.max(least));
            halt.probe = Probe::At(self.seen.mono.saturating_add(wait));
        }
    }

    /// When past failures are forgiven: all that is wanted is live, and has been for a while.
    fn stable_at(&self) -> Option<Duration> {
        let staying = || self.slots.iter().filter(|slot| slot.is_staying());
        if self.tries.is_clear() || staying().count() < self.wanted() {
            return None;
        }
        let youngest = staying().filter_map(Slot::live).map(|live| live.since).max()?;
        Some(youngest.max(self.tries.last_failure()).saturating_add(self.settings.timing.stable))
    }

    /// Counts events while they can come.
    fn listen(&mut self) {
        if !self.on || !self.slots.any(Slot::is_serving) {
            self.quiet.interrupt();
        } else if self.quiet.asks(self.seen.mono) {
            self.act(Action::Count);
        }
    }

    fn forget_what_is_past(&mut self) {
        let now = self.seen.mono;
        if self.stable_at().is_some_and(|at| at <= now) {
            self.tries.clear();
        }
        self.oversize_until = self.oversize_until.filter(|until| *until > now);
    }

    fn refresh_what_is_due(&mut self) {
        let now = self.seen.mono;
        for slot in self.slots.iter_mut() {
            if let Phase::Live(live) = &mut slot.phase
                && live.leaving.is_none()
                && live.refresh_at.is_some_and(|at| at <= now)
            {
                live.leaving = Some(if live.is_check { Code::ForeignSockets } else { Code::PlannedRefresh });
            }
        }
    }

    /// More links are live than wanted: successors are up, or fewer are wanted. Those that were to leave go first.
    fn let_go_of_surplus(&mut self) {
        let live = self.slots.count(|slot| slot.live().is_some());
        for _ in self.wanted()..live {
            let next = self.slots.oldest(Slot::is_leaving).or_else(|| self.slots.oldest(Slot::is_staying));
            if let Some(generation) = next {
                self.let_go(generation);
            }
        }
    }

    /// A link that Slack is going to close is left to Slack; any other we stop ourselves.
    fn let_go(&mut self, generation: Generation) {
        let overstay = self.settings.timing.overstay;
        let Some(slot) = self.slots.get(generation) else { return };
        let planned = slot.live().filter(|live| live.leaving == Some(Code::PlannedRefresh));
        if let Some(ends_at) = planned.and_then(|live| live.ends_at) {
            slot.phase = Phase::Draining;
            let within = ends_at.saturating_sub(self.seen.mono).saturating_add(overstay);
            self.act(Action::Retire(generation, within));
        } else {
            self.stop(generation);
        }
    }

    fn try_candidate(&mut self) {
        if self.halt.is_some_and(|halt| !halt.token_may_help) {
            return;
        }
        let others_fail = self.halt.is_some() || !self.tries.is_clear();
        let its_turn = others_fail || self.slots.any(Slot::is_serving);
        let Some(candidate) = &mut self.candidate else { return };
        let may = candidate.tries.open_now(self.seen.mono) && (its_turn || !candidate.patient);
        if may && !self.slots.any(|slot| slot.is_opening() && slot.token == Which::Candidate) {
            self.open(Which::Candidate);
        }
    }

    fn open_missing(&mut self) {
        if self.halt.is_some() {
            self.probe();
            return;
        }
        if !self.tries.open_now(self.seen.mono) {
            return;
        }
        for _ in 0..self.missing() {
            // After a failure one link goes ahead; the others follow when it is up.
            let must_wait = !self.tries.is_clear() && self.slots.any(Slot::is_opening);
            if must_wait || !self.open(Which::InForce) {
                break;
            }
        }
    }

    fn probe(&mut self) {
        let opening = self.slots.any(Slot::is_opening);
        let missing = self.missing() > 0;
        let Some(halt) = &mut self.halt else { return };
        match halt.probe {
            Probe::None => {}
            // What is opening is the probe.
            Probe::Unplanned if opening => {}
            Probe::Unplanned => self.plan_probe(None),
            Probe::At(at) if at > self.seen.mono => {}
            Probe::At(_) if opening => halt.probe = Probe::Unplanned,
            Probe::At(_) => {
                if missing
                    && self.open(Which::InForce)
                    && let Some(halt) = &mut self.halt
                {
                    halt.probe = Probe::Unplanned;
                }
            }
        }
    }

    /// Opens a link if there is room: one more than wanted, so that a successor can come up first. If there is none, the
    /// oldest draining link makes room, unless events would then flow over fewer links than wanted.
    fn open(&mut self, token: Which) -> bool {
        if self.slots.len() > self.wanted() {
            let can_spare = self.slots.count(Slot::is_serving) > self.wanted();
            let being_made = self.slots.any(|slot| slot.phase == Phase::Stopping);
            if let Some(generation) =
                self.slots.oldest(Slot::is_draining).filter(|_| can_spare && !being_made)
            {
                self.stop(generation);
            }
            return false;
        }
        let generation = self.generations.next();
        self.slots.add(generation, token, self.seen.mono);
        self.act(Action::Open { generation, token });
        true
    }
}
