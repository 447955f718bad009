//! Why Slack announces the end of a socket.

use crate::status::Code;

/// The `reason` of a `disconnect` message (Slack docs: Using Socket Mode, "Disconnecting").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// `warning`: about ten seconds to go.
    Warning,
    /// `refresh_requested`: the host is being replaced or the socket's time is over; about two seconds to go.
    RefreshRequested,
    /// `link_disabled`: Socket Mode is switched off in the app's settings.
    LinkDisabled,
    /// `too_many_websockets`: the app has ten sockets already. Documented only by Slack's maintainers
    /// (slackapi/bolt-js#2225).
    TooManyWebsockets,
    /// Any other reason, or none.
    Other,
}

impl DisconnectReason {
    /// The same in the words of a connection's state.
    pub const fn code(self) -> Code {
        match self {
            Self::Warning => Code::DisconnectWarning,
            Self::RefreshRequested => Code::RefreshRequested,
            Self::LinkDisabled => Code::LinkDisabled,
            Self::TooManyWebsockets => Code::TooManyWebsockets,
            Self::Other => Code::UnknownDisconnect,
        }
    }
}
