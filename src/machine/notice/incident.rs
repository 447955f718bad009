//! Many workspaces down at once are one incident.

use std::collections::HashMap;
use std::time::Duration;

use super::{Action, Notices, Seen, Topic};
use crate::clock::Now;
use crate::ids::WorkspaceId;
use crate::status::Code;

/// Fewer than this are no incident.
const LEAST: usize = 5;

/// An open incident.
#[derive(Debug)]
pub(super) struct Incident {
    opened: Duration,
    since_ms: i64,
    /// Its workspaces that are down now, and how many were at most.
    down: usize,
    peak: usize,
    /// Most are back; it is over if they still are then.
    pub(super) closing_at: Option<Duration>,
}

impl Incident {
    /// One that was open when the process before ended. It is over if nobody is down after a while.
    pub(super) fn of_before(now: Now, since_ms: i64, peak: usize, patience: Duration) -> Self {
        let closing_at = Some(now.mono.saturating_add(patience));
        Self { opened: now.mono, since_ms, down: 0, peak, closing_at }
    }

    fn most_are_back(&self) -> bool {
        self.down.saturating_mul(4) <= self.peak
    }
}

impl Notices {
    pub(super) fn goes_down(&mut self, workspace: WorkspaceId, seen: Seen) {
        let now = self.now.mono;
        let Some(one) = self.workspaces.get_mut(&workspace) else { return };
        one.down_at = Some(now);
        self.recent.insert((now, workspace));
        if let Some(incident) = &mut self.incident {
            // Later failures are likely somebody's own.
            let is_early = now.saturating_sub(incident.opened) < self.timing.together;
            if is_early || matches!(seen, Seen::Down(_)) {
                one.in_incident = true;
                incident.down += 1;
                incident.peak = incident.peak.max(incident.down);
            }
        }
    }

    pub(super) fn comes_back(&mut self, workspace: WorkspaceId) {
        let Some(one) = self.workspaces.get_mut(&workspace) else { return };
        if let Some(at) = one.down_at.take() {
            self.recent.remove(&(at, workspace));
        }
        self.leaves_incident(workspace);
    }

    pub(super) fn leaves_incident(&mut self, workspace: WorkspaceId) {
        let Some(one) = self.workspaces.get_mut(&workspace) else { return };
        if std::mem::take(&mut one.in_incident)
            && let Some(incident) = &mut self.incident
        {
            incident.down = incident.down.saturating_sub(1);
        }
    }

    /// Opens or closes an incident.
    pub(super) fn plan_incident(&mut self) {
        let now = self.now.mono;
        while let Some(&(at, _)) = self.recent.first()
            && now.saturating_sub(at) > self.timing.together
        {
            self.recent.pop_first();
        }
        match &mut self.incident {
            None if self.recent.len() >= LEAST && self.recent.len() * 10 > self.wanted => self.open(),
            None => {}
            Some(incident) => {
                let is_old = incident.closing_at.is_some();
                if !incident.most_are_back() {
                    incident.closing_at = None;
                } else if !is_old {
                    incident.closing_at = Some(now.saturating_add(self.timing.settle));
                } else if incident.closing_at.is_some_and(|at| at <= now) {
                    self.close();
                }
            }
        }
    }

    fn open(&mut self) {
        let members: Vec<WorkspaceId> = self.recent.iter().map(|(_, workspace)| *workspace).collect();
        let mut codes: HashMap<Code, usize> = HashMap::new();
        for workspace in &members {
            if let Some(one) = self.workspaces.get_mut(workspace) {
                one.in_incident = true;
                if let Some(code) = one.seen.and_then(Seen::code) {
                    *codes.entry(code).or_default() += 1;
                }
            }
        }
        for workspace in &members {
            self.plan(*workspace);
        }
        let (down, since_ms) = (members.len(), self.now.wall_ms);
        self.incident =
            Some(Incident { opened: self.now.mono, since_ms, down, peak: down, closing_at: None });
        self.actions.push_back(Action::TellIncident {
            topic: Topic::IncidentOpened,
            since_ms,
            down,
            peak: down,
            wanted: self.wanted,
            code: codes.into_iter().max_by_key(|(code, count)| (*count, code.as_str())).map(|(code, _)| code),
        });
    }

    fn close(&mut self) {
        let Some(incident) = self.incident.take() else { return };
        self.actions.push_back(Action::TellIncident {
            topic: Topic::IncidentClosed,
            since_ms: incident.since_ms,
            down: incident.down,
            peak: incident.peak,
            wanted: self.wanted,
            code: None,
        });
        // What is down still is no news that could open the next one.
        self.recent.clear();
        let left: Vec<WorkspaceId> = self
            .workspaces
            .iter()
            .filter(|(_, one)| one.in_incident)
            .map(|(workspace, _)| *workspace)
            .collect();
        for workspace in left {
            self.begin_anew(workspace);
        }
    }
}
