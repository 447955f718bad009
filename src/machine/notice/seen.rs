//! What is seen of a workspace, as far as notices care.

use crate::status::{Code, Health, Source, State, Status};

/// What is seen of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Wanted off.
    Off,
    /// On its way up, and nothing has gone wrong yet.
    Starting,
    /// As wanted.
    Well,
    /// Events flow, but something hurts.
    Hurt(Option<Code>),
    /// No events flow, and it comes back by itself.
    Down(Code),
    /// A person must act.
    Failed(Code),
}

impl Seen {
    /// What a workspace's status says to who wants it on or off. None: nothing, since the node is stopping.
    pub fn of(status: &Status, is_wanted: bool) -> Option<Self> {
        let reason = status.reason;
        let code = reason.map(|reason| reason.code);
        if code == Some(Code::Shutdown) {
            return None;
        }
        if !is_wanted {
            return Some(Self::Off);
        }
        let opening = match reason.filter(|reason| reason.source != Source::Operator) {
            None => Self::Starting,
            Some(reason) => Self::Down(reason.code),
        };
        Some(match status.state {
            // Its connection has not heard yet that it is wanted on.
            State::Disconnected | State::Disconnecting => Self::Starting,
            State::Connecting | State::Authenticated | State::Connected => opening,
            State::Reconnecting => Self::Down(code.unwrap_or(Code::ConnectionLost)),
            State::Ready if status.health == Health::Ok => Self::Well,
            State::Ready => Self::Hurt(code),
            State::Failed => Self::Failed(code.unwrap_or(Code::UnknownSlackError)),
        })
    }

    /// One customer's own act is no part of an incident.
    pub(super) const fn may_be_incident(self) -> bool {
        match self {
            Self::Failed(Code::AppUninstalled | Code::BotTokenRevoked) => false,
            Self::Down(_) | Self::Failed(_) => true,
            Self::Off | Self::Starting | Self::Well | Self::Hurt(_) => false,
        }
    }

    pub(super) const fn code(self) -> Option<Code> {
        match self {
            Self::Down(code) | Self::Failed(code) => Some(code),
            Self::Hurt(code) => code,
            Self::Off | Self::Starting | Self::Well => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_seen_by_what_it_means_for_events() {
        let at = |state, health, code: Option<Code>| Status {
            state,
            health,
            reason: code.map(Into::into),
            ..Status::off(0)
        };
        let seen = |state, health, code| Seen::of(&at(state, health, code), true);
        assert_eq!(seen(State::Ready, Health::Ok, None), Some(Seen::Well));
        let limited = Some(Code::AppRateLimited);
        assert_eq!(seen(State::Ready, Health::Degraded, limited), Some(Seen::Hurt(limited)));
        let lost = Some(Code::ConnectionLost);
        assert_eq!(seen(State::Reconnecting, Health::Down, lost), Some(Seen::Down(Code::ConnectionLost)));
        assert_eq!(seen(State::Connecting, Health::Down, lost), Some(Seen::Down(Code::ConnectionLost)));
        assert_eq!(seen(State::Connecting, Health::Down, Some(Code::OperatorConnect)), Some(Seen::Starting));
        assert_eq!(seen(State::Disconnected, Health::Down, None), Some(Seen::Starting));
        let refused = Some(Code::InvalidAuth);
        assert_eq!(seen(State::Failed, Health::Down, refused), Some(Seen::Failed(Code::InvalidAuth)));
        assert_eq!(Seen::of(&at(State::Ready, Health::Ok, None), false), Some(Seen::Off));
    }

    #[test]
    fn a_node_that_stops_says_nothing_of_its_workspaces() {
        let reason = Some(Code::Shutdown.into());
        let stopping = Status { state: State::Disconnected, reason, ..Status::off(0) };
        assert_eq!((Seen::of(&stopping, true), Seen::of(&stopping, false)), (None, None));
    }
}
