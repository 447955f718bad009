//! An accepted envelope, as the journal keeps it and handlers get it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, Seq, WorkspaceId};

/// What an envelope carries. Slack names three kinds; anything newer is kept under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The Events API. Slack sends it again when it isn't acked.
    EventsApi,
    /// A click, a submitted view, a shortcut. Not sent again: the user sees an error.
    Interactive,
    /// A slash command. Not sent again: the user sees an error.
    SlashCommands,
    /// An envelope type this version does not know.
    Unknown,
}

impl Kind {
    /// Its name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventsApi => "events_api",
            Self::Interactive => "interactive",
            Self::SlashCommands => "slash_commands",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of an envelope's `type`.
    pub fn of(envelope_type: &str) -> Self {
        match envelope_type {
            "events_api" => Self::EventsApi,
            "interactive" => Self::Interactive,
            "slash_commands" => Self::SlashCommands,
            _ => Self::Unknown,
        }
    }

    /// Does Slack send it again when nobody acks it? Of an unknown type nothing is known; the Events API is what grows.
    pub const fn is_retried_by_slack(self) -> bool {
        matches!(self, Self::EventsApi | Self::Unknown)
    }
}

/// By what an event is recognised when Slack sends it again: a hash of app, kind and Slack's id of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DedupeKey(pub [u8; 16]);

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// An accepted envelope. Owns its bytes: nothing that lives long may keep a slice of a socket's read buffer.
#[derive(Clone)]
pub struct Event {
    /// Its place in the journal; zero until the journal has given it one.
    pub seq: Seq,
    /// The app whose socket it came on.
    pub app: AppId,
    /// Whose it is; none when its team matches no workspace of the app.
    pub workspace: Option<WorkspaceId>,
    /// What it carries.
    pub kind: Kind,
    /// The event's type, the interaction's type or the command; cleaned and at most 128 characters.
    pub kind_type: Box<str>,
    /// Slack's id of it (`Ev…`), else the envelope's; cleaned and at most 128 characters.
    pub slack_id: Box<str>,
    /// By what a repeat is recognised.
    pub dedupe: DedupeKey,
    /// Slack's count of earlier attempts.
    pub retry: u16,
    /// When it was read from the socket, milliseconds since 1970.
    pub received_ms: i64,
    /// The payload, as Slack wrote it.
    pub payload: Box<str>,
}

/// Shows what it is, never what it says.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("seq", &self.seq)
            .field("app", &self.app)
            .field("workspace", &self.workspace)
            .field("kind", &self.kind)
            .field("kind_type", &self.kind_type)
            .field("slack_id", &self.slack_id)
            .field("retry", &self.retry)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
