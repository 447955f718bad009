//! What is shown of one workspace: what its app's connection says, and what is stored of the workspace itself. Whoever shows, counts or
//! tells judges by [`Status::of_workspace`], so that no two say different things.

use super::{Code, Health, State, Status, Trouble};
use crate::ids::WorkspaceId;

/// What is stored of a workspace and decides what is shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Wanted on.
    pub is_wanted: bool,
    /// What keeps it down whatever its app's connection does.
    pub trouble: Option<Trouble>,
    /// Slack holds its events back until then, milliseconds since 1970.
    pub limited_until_ms: Option<i64>,
    /// When it was changed last, milliseconds since 1970.
    pub updated_ms: i64,
}

impl Status {
    /// The status of one workspace, by what the connection of its app says (none: there is none).
    ///
    /// Wanted off is off, also where others keep the app on. Else what Slack refuses, or that another workspace is the same
    /// installation, overrides what the connection says, `ready` before all: nobody is told that all is well with a workspace that took
    /// its app away. Where the connection itself has failed its reason stays, since without it nothing else can be put right, and the
    /// rest is a warning.
    #[must_use]
    pub fn of_workspace(connection: Option<Self>, standing: &Standing, now_ms: i64) -> Self {
        let mut status = connection.unwrap_or_else(|| Self::off(standing.updated_ms));
        if !standing.is_wanted {
            return status.wanted_off(standing.updated_ms);
        }
        if status.health == Health::Off {
            if status.reason.is_some() {
                return status;
            }
            // Not started yet.
            status.health = Health::Down;
        }
        if standing.limited_until_ms.is_some_and(|until_ms| now_ms < until_ms) {
            status.warn(Code::AppRateLimited);
        }
        let marks = status.marks.iter().filter(|(workspace, _)| *workspace == standing.workspace);
        let marks: Vec<Code> = marks.map(|(_, code)| *code).collect();
        let is_second = |code: &Code| *code == Code::DuplicateInstallation;
        // Nobody is told that all is well with a workspace whose events may be nobody's.
        marks.iter().filter(|code| !is_second(code)).for_each(|code| status.warn(*code));
        let second = marks.into_iter().find(is_second).map(|code| (code, status.since_ms));
        let trouble = standing.trouble.map(|trouble| (trouble.code, trouble.since_ms));
        for (code, since_ms) in second.into_iter().chain(trouble) {
            if status.state == State::Failed {
                status.warnings.insert(0, code);
            } else {
                status.state = State::Failed;
                status.health = Health::Down;
                status.since_ms = since_ms;
                status.reason = Some(code.into());
                (status.attempt, status.next_attempt_ms) = (0, None);
            }
        }
        status
    }

    /// The same while the node keeps nothing of what comes, which is worse than any other warning.
    #[must_use]
    pub fn with_stuck_journal(mut self) -> Self {
        match self.health {
            Health::Off => return self,
            Health::Down => {}
            Health::Ok | Health::Degraded => {
                self.health = Health::Degraded;
                self.reason = Some(Code::JournalStuck.into());
            }
        }
        self.warnings.insert(0, Code::JournalStuck);
        self
    }

    /// What a client branches on: where this differs, something has changed.
    pub fn gist(&self) -> (State, Health, Option<Code>) {
        (self.state, self.health, self.reason.map(|reason| reason.code))
    }

    fn wanted_off(self, since_ms: i64) -> Self {
        if self.health == Health::Off {
            return self;
        }
        // What the app does for others is not its affair.
        let reason = Some(Code::OperatorDisconnect.into());
        Self { reason, slack_app_id: self.slack_app_id, ..Self::off(since_ms) }
    }

    fn warn(&mut self, code: Code) {
        self.warnings.push(code);
        if self.health == Health::Ok {
            self.health = Health::Degraded;
            self.reason = Some(code.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNINSTALLED: Trouble = Trouble { code: Code::AppUninstalled, since_ms: 7 };
    const REVOKED: Trouble = Trouble { code: Code::BotTokenRevoked, since_ms: 8 };
    const ME: WorkspaceId = WorkspaceId(3);

    #[test]
    fn what_slack_refuses_overrides_every_state_but_wanted_off_and_failed() {
        for &state in State::ALL {
            let shown = seen(at(state), Some(UNINSTALLED), false);
            let told = (shown.state, shown.health, code(&shown), shown.since_ms);
            match state {
                State::Disconnected | State::Disconnecting => assert_eq!(shown, at(state)),
                State::Failed => {
                    assert_eq!(told, (State::Failed, Health::Down, Some(Code::InvalidAuth), 1));
                    assert_eq!(shown.warnings, [Code::AppUninstalled]);
                }
                State::Connecting
                | State::Authenticated
                | State::Connected
                | State::Ready
                | State::Reconnecting => {
                    assert_eq!(told, (State::Failed, Health::Down, Some(Code::AppUninstalled), 7));
                }
            }
        }
    }

    #[test]
    fn a_workspace_that_failed_plans_no_attempt_and_still_shows_its_sockets_and_warnings() {
        let connection = Status {
            attempt: 3,
            next_attempt_ms: Some(9),
            warnings: vec![Code::FrameTooLarge],
            ..at(State::Ready)
        };
        let shown = seen(connection, Some(REVOKED), false);
        assert_eq!((shown.attempt, shown.next_attempt_ms), (0, None));
        assert_eq!(shown.warnings, [Code::FrameTooLarge]);
    }

    #[test]
    fn a_limit_is_a_warning_that_degrades_what_was_well_and_hides_no_other_reason() {
        let shown = seen(at(State::Ready), None, true);
        assert_eq!((shown.health, code(&shown)), (Health::Degraded, Some(Code::AppRateLimited)));
        assert_eq!(shown.warnings, [Code::AppRateLimited]);
        let shown = seen(at(State::Failed), None, true);
        assert_eq!((shown.health, code(&shown)), (Health::Down, Some(Code::InvalidAuth)));
        assert_eq!(seen(at(State::Ready), None, false), at(State::Ready));
    }

    #[test]
    fn one_that_has_none_of_its_apps_events_is_not_well_and_hides_no_other_reason() {
        let tokenless = |state| Status { marks: vec![(ME, Code::BotTokenMissing)], ..at(state) };
        let shown = seen(tokenless(State::Ready), None, false);
        assert_eq!(shown.gist(), (State::Ready, Health::Degraded, Some(Code::BotTokenMissing)));
        assert_eq!(shown.warnings, [Code::BotTokenMissing]);
        let shown = seen(tokenless(State::Failed), None, false);
        assert_eq!((shown.health, code(&shown)), (Health::Down, Some(Code::InvalidAuth)));
        let other = Standing { workspace: WorkspaceId(1), ..standing(None) };
        assert_eq!(Status::of_workspace(Some(tokenless(State::Ready)), &other, 0).health, Health::Ok);
    }

    #[test]
    fn the_second_workspace_of_an_installation_has_failed_and_the_first_has_not() {
        let connection = Status { marks: vec![(ME, Code::DuplicateInstallation)], ..at(State::Ready) };
        let shown = seen(connection.clone(), Some(UNINSTALLED), false);
        assert_eq!(shown.gist(), (State::Failed, Health::Down, Some(Code::DuplicateInstallation)));
        assert_eq!(shown.warnings, [Code::AppUninstalled]);
        let first = Standing { workspace: WorkspaceId(1), ..standing(None) };
        assert_eq!(Status::of_workspace(Some(connection.clone()), &first, 0), connection);
    }

    #[test]
    fn a_workspace_wanted_off_is_off_whatever_keeps_its_app_on() {
        let off = Standing { is_wanted: false, ..standing(Some(REVOKED)) };
        for state in [State::Ready, State::Failed, State::Reconnecting] {
            let shown = Status::of_workspace(Some(at(state)), &off, 0);
            assert_eq!(
                shown.gist(),
                (State::Disconnected, Health::Off, Some(Code::OperatorDisconnect)),
                "{state:?}"
            );
        }
        let closing = at(State::Disconnecting);
        assert_eq!(Status::of_workspace(Some(closing.clone()), &off, 0), closing);
    }

    #[test]
    fn nothing_is_well_while_the_node_keeps_nothing() {
        for (state, gist) in [
            (State::Ready, (State::Ready, Health::Degraded, Some(Code::JournalStuck))),
            (State::Failed, (State::Failed, Health::Down, Some(Code::InvalidAuth))),
        ] {
            let shown = at(state).with_stuck_journal();
            assert_eq!((shown.gist(), shown.warnings), (gist, vec![Code::JournalStuck]));
        }
        assert_eq!(at(State::Disconnected).with_stuck_journal(), at(State::Disconnected));
    }

    #[test]
    fn what_is_wanted_on_and_not_started_is_down() {
        for connection in [None, Some(Status::off(5))] {
            let shown = Status::of_workspace(connection, &standing(None), 0);
            assert_eq!(shown.gist(), (State::Disconnected, Health::Down, None));
        }
        let off = Standing { is_wanted: false, ..standing(None) };
        assert_eq!(Status::of_workspace(None, &off, 0), Status::off(5));
    }

    fn standing(trouble: Option<Trouble>) -> Standing {
        Standing { workspace: ME, is_wanted: true, trouble, limited_until_ms: None, updated_ms: 5 }
    }

    fn seen(connection: Status, trouble: Option<Trouble>, is_limited: bool) -> Status {
        let standing = Standing { limited_until_ms: is_limited.then_some(10), ..standing(trouble) };
        Status::of_workspace(Some(connection), &standing, 9)
    }

    fn at(state: State) -> Status {
        let (health, reason) = match state {
            State::Disconnected | State::Disconnecting => (Health::Off, Some(Code::OperatorDisconnect)),
            State::Ready => (Health::Ok, None),
            State::Failed => (Health::Down, Some(Code::InvalidAuth)),
            State::Connecting | State::Authenticated | State::Connected | State::Reconnecting => {
                (Health::Down, None)
            }
        };
        Status { state, health, reason: reason.map(Into::into), ..Status::off(1) }
    }

    fn code(status: &Status) -> Option<Code> {
        status.reason.map(|reason| reason.code)
    }
}
