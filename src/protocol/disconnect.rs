//! Why Slack asks a client to disconnect.

use crate::status::Code;

/// The `reason` of a `disconnect` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The socket will be closed in about ten seconds.
    Warning,
    /// The socket's time is over, or its host is recycled.
    RefreshRequested,
    /// Socket Mode was switched off in the app's settings.
    LinkDisabled,
    /// The app has more sockets than Slack allows.
    TooManyWebsockets,
    /// None, or one this version does not know.
    Other,
}

impl DisconnectReason {
    /// The reason by its name on the wire.
    pub fn parse(text: &str) -> Self {
        match text {
            "warning" => Self::Warning,
            "refresh_requested" => Self::RefreshRequested,
            "link_disabled" => Self::LinkDisabled,
            "too_many_websockets" => Self::TooManyWebsockets,
            _ => Self::Other,
        }
    }

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
