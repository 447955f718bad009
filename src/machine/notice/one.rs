//! One workspace's troubles, from the first sign to the last word about them.

use std::time::Duration;

use super::{Action, Notices, Seen, Told, Topic};
use crate::ids::WorkspaceId;
use crate::status::Code;

/// One workspace.
#[derive(Debug, Default)]
pub(super) struct One {
    /// None until it is seen for the first time.
    pub(super) seen: Option<Seen>,
    /// When it was first seen so, and milliseconds since 1970.
    at: Duration,
    since_ms: i64,
    told: Option<Told>,
    /// When its trouble began; a trouble ends when all has been well for a while.
    trouble_at: Option<Duration>,
    /// The same, milliseconds since 1970: it stays what it was when an incident ends.
    began_ms: i64,
    /// Told troubles of late, and when the last one was told.
    troubles: u32,
    told_at: Duration,
    /// Its place among the recent.
    pub(super) down_at: Option<Duration>,
    pub(super) in_incident: bool,
    /// Its place among the dues.
    pub(super) due: Option<Duration>,
}

impl One {
    /// A workspace of which this was told before the process began.
    pub(super) fn told(told: Told) -> Self {
        Self { told: Some(told), ..Self::default() }
    }
}

impl Notices {
    pub(super) fn saw(&mut self, workspace: WorkspaceId, seen: Seen) {
        let now = self.now;
        let one = self.workspaces.entry(workspace).or_default();
        if one.seen == Some(seen) {
            return;
        }
        let was = one.seen.replace(seen);
        (one.at, one.since_ms) = (now.mono, now.wall_ms);
        let is_on = |seen: Option<Seen>| seen.is_some_and(|seen| seen != Seen::Off);
        self.wanted = self.wanted + usize::from(is_on(Some(seen))) - usize::from(is_on(was));
        match seen {
            Seen::Off => {
                one.trouble_at = None;
                if one.told.take().is_some() {
                    self.actions.push_back(Action::Forget(workspace));
                }
            }
            Seen::Well => {}
            Seen::Starting | Seen::Hurt(_) | Seen::Down(_) | Seen::Failed(_) => {
                if one.trouble_at.replace(one.trouble_at.unwrap_or(now.mono)).is_none() {
                    one.began_ms = now.wall_ms;
                }
            }
        }
        let was_down = one.down_at.is_some();
        if was_down && !seen.may_be_incident() {
            self.comes_back(workspace);
        } else if !was_down && seen.may_be_incident() {
            self.goes_down(workspace, seen);
        }
        self.plan(workspace);
    }

    /// Does what is due for a workspace, or notes when it will be.
    pub(super) fn plan(&mut self, workspace: WorkspaceId) {
        let (timing, now) = (self.timing, self.now);
        let Some(one) = self.workspaces.get_mut(&workspace) else { return };
        if let Some(due) = one.due.take() {
            self.dues.remove(&(due, workspace));
        }
        let Some(seen) = one.seen else { return };
        let told_of_late = now.mono.saturating_sub(one.told_at) < timing.memory;
        let troubles = if told_of_late { one.troubles } else { 0 };
        let settle =
            timing.settle.saturating_mul(1 << troubles.saturating_sub(1).min(16)).min(timing.settle_cap);
        let next = match (seen, one.told) {
            (Seen::Off, _) => None,
            (Seen::Well, None) => Some((one.at, Next::Tell(Topic::Ready, Told::Ready))),
            (Seen::Well, Some(Told::Ready)) => {
                one.trouble_at.map(|_| (one.at.saturating_add(settle), Next::Settled))
            }
            (Seen::Well, Some(Told::Degraded | Told::Failed(_))) => {
                Some((one.at.saturating_add(settle), Next::Tell(Topic::Recovered, Told::Ready)))
            }
            // Who waits for the person's act that a failure needs would keep an incident open for ever.
            (Seen::Failed(_), _) if one.in_incident => {
                Some((one.at.saturating_add(timing.patience), Next::Leave))
            }
            _ if one.in_incident => None,
            (Seen::Failed(code), Some(Told::Failed(told))) if told == code => None,
            (Seen::Failed(code), _) => {
                let topic = if code == Code::AppUninstalled { Topic::Uninstalled } else { Topic::Failed };
                Some((one.at.saturating_add(timing.gather), Next::Tell(topic, Told::Failed(code))))
            }
            (Seen::Starting | Seen::Hurt(_) | Seen::Down(_), Some(Told::Degraded | Told::Failed(_))) => None,
            (Seen::Starting | Seen::Hurt(_) | Seen::Down(_), None | Some(Told::Ready)) => {
                let began = one.trouble_at.unwrap_or(one.at);
                Some((began.saturating_add(timing.patience), Next::Tell(Topic::Degraded, Told::Degraded)))
            }
        };
        match next {
            None => {}
            Some((at, _)) if at > now.mono => {
                one.due = Some(at);
                self.dues.insert((at, workspace));
            }
            Some((_, Next::Settled)) => one.trouble_at = None,
            Some((_, Next::Leave)) => {
                self.leaves_incident(workspace);
                self.plan(workspace);
            }
            Some((_, Next::Tell(topic, told))) => {
                one.told = Some(told);
                match told {
                    Told::Ready => one.trouble_at = None,
                    Told::Degraded | Told::Failed(_) => {
                        one.troubles = troubles.saturating_add(1);
                        one.told_at = now.mono;
                    }
                }
                let (code, since_ms, began_ms) = (seen.code(), one.since_ms, one.began_ms);
                self.actions.push_back(Action::Tell { topic, workspace, code, since_ms, began_ms, told });
            }
        }
    }

    /// Its trouble counts from now on: an incident it was in is over.
    pub(super) fn begin_anew(&mut self, workspace: WorkspaceId) {
        let now = self.now.mono;
        if let Some(one) = self.workspaces.get_mut(&workspace) {
            one.in_incident = false;
            one.at = now;
            if one.trouble_at.is_some() {
                one.trouble_at = Some(now);
            }
        }
        self.plan(workspace);
    }
}

/// What is due.
enum Next {
    Tell(Topic, Told),
    /// The trouble, of which nothing was told, is over.
    Settled,
    /// What has failed in an incident counts by itself from now on.
    Leave,
}
