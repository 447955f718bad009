//! What Slack says of one workspace, beside what its app's connection says of itself; and which of the two is shown.

use super::{Code, Health, State, Status};

/// Why a workspace is down whatever its app's connection does, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why: [`Code::AppUninstalled`] or [`Code::BotTokenRevoked`].
    pub code: Code,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

impl Trouble {
    /// Does this one take the place of what is there? Being uninstalled revokes the tokens too, and Slack tells of the two in any
    /// order.
    pub fn replaces(self, there: Option<Self>) -> bool {
        match there.map(|there| there.code) {
            None => true,
            Some(code) => self.code == Code::AppUninstalled && code != Code::AppUninstalled,
        }
    }
}

impl Status {
    /// The status of one workspace on this connection. Wanted off is off. Else what Slack refuses overrides what the connection
    /// says, `ready` before all: nobody is told that all is well with a workspace that took its app away. Where the connection
    /// itself has failed its reason stays, since without it nothing else can be put right, and the trouble is a warning.
    #[must_use]
    pub fn of_workspace(self, trouble: Option<Trouble>, is_limited: bool) -> Self {
        let mut status = self;
        if status.health == Health::Off {
            return status;
        }
        if is_limited {
            status.warn(Code::AppRateLimited);
        }
        let Some(trouble) = trouble else { return status };
        if status.state == State::Failed {
            status.warnings.insert(0, trouble.code);
            return status;
        }
        Self {
            state: State::Failed,
            health: Health::Down,
            since_ms: trouble.since_ms,
            reason: Some(trouble.code.into()),
            attempt: 0,
            next_attempt_ms: None,
            ..status
        }
    }

    /// The status of one of the connection's workspaces of whose bot token Slack has not said yet whose it is: nobody is told that all
    /// is well with it.
    #[must_use]
    pub fn of_unidentified(mut self) -> Self {
        if self.health != Health::Off {
            self.warn(Code::BotTokenUnchecked);
        }
        self
    }

    /// The status of one workspace that is wanted off, since then, on a connection that others keep on line. What hurts these is not
    /// its affair.
    #[must_use]
    pub fn wanted_off(self, since_ms: i64) -> Self {
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

    #[test]
    fn what_slack_refuses_overrides_every_state_but_wanted_off_and_failed() {
        for &state in State::ALL {
            let shown = at(state).of_workspace(Some(UNINSTALLED), false);
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
        let shown = connection.of_workspace(Some(REVOKED), false);
        assert_eq!((shown.attempt, shown.next_attempt_ms), (0, None));
        assert_eq!(shown.warnings, [Code::FrameTooLarge]);
    }

    #[test]
    fn a_limit_is_a_warning_that_degrades_what_was_well_and_hides_no_other_reason() {
        let shown = at(State::Ready).of_workspace(None, true);
        assert_eq!((shown.health, code(&shown)), (Health::Degraded, Some(Code::AppRateLimited)));
        assert_eq!(shown.warnings, [Code::AppRateLimited]);
        let shown = at(State::Failed).of_workspace(None, true);
        assert_eq!((shown.health, code(&shown)), (Health::Down, Some(Code::InvalidAuth)));
        assert_eq!(at(State::Ready).of_workspace(None, false), at(State::Ready));
    }

    #[test]
    fn whose_bot_token_is_not_found_out_yet_is_not_well_unless_it_is_off() {
        let shown = at(State::Ready).of_unidentified();
        assert_eq!((shown.health, code(&shown)), (Health::Degraded, Some(Code::BotTokenUnchecked)));
        assert_eq!(shown.warnings, [Code::BotTokenUnchecked]);
        assert_eq!(at(State::Disconnected).of_unidentified(), at(State::Disconnected));
    }

    #[test]
    fn a_workspace_wanted_off_is_off_whatever_its_connection_does_for_others() {
        for &state in State::ALL {
            let shown = Status { warnings: vec![Code::Quiet], ..at(state) }.wanted_off(7);
            let told = (shown.state, shown.health, code(&shown), shown.since_ms, shown.warnings.len());
            assert_eq!(told, (State::Disconnected, Health::Off, Some(Code::OperatorDisconnect), 7, 0));
        }
    }

    #[test]
    fn uninstalled_says_more_than_revoked_in_whatever_order_they_come() {
        assert!(UNINSTALLED.replaces(None) && REVOKED.replaces(None));
        assert!(UNINSTALLED.replaces(Some(REVOKED)));
        assert!(!REVOKED.replaces(Some(UNINSTALLED)));
        assert!(!UNINSTALLED.replaces(Some(UNINSTALLED)) && !REVOKED.replaces(Some(REVOKED)));
    }

    fn at(state: State) -> Status {
        let health = match state {
            State::Disconnected | State::Disconnecting => Health::Off,
            State::Ready => Health::Ok,
            State::Connecting
            | State::Authenticated
            | State::Connected
            | State::Reconnecting
            | State::Failed => Health::Down,
        };
        let reason = (state == State::Failed).then(|| Code::InvalidAuth.into());
        Status { state, health, reason, ..Status::off(1) }
    }

    fn code(status: &Status) -> Option<Code> {
        status.reason.map(|reason| reason.code)
    }
}
