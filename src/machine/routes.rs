//! Which handlers get an event, and what its ack means. Routes as they are asked for, and as one snapshot that every event is asked of.

mod handlers;
mod pattern;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::handlers::HandlerSet;
pub use self::snapshot::{NamedWorkspace, Routes, Verdict};
use crate::event::Kind;
use crate::ids::{RouteName, WorkspaceName};

/// What an ack tells Slack. Of several routes that match an event the strongest counts; each is stronger than those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckMode {
    /// The event is in memory, on its way to the disk.
    Received,
    /// It is on disk.
    Stored,
    /// It is on disk and a handler has answered; the ack carries the answer.
    Answered,
}

impl AckMode {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Received, Self::Stored, Self::Answered];

    /// Its name in the API, in the settings and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Answered => "answered",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// One handler gets what matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it is called.
    pub name: RouteName,
    /// Who gets what matches, by name.
    pub handler: String,
    /// What it is about.
    pub matches: Match,
    /// What the ack of such an event means; none: what the node's setting says.
    pub ack: Option<AckMode>,
    /// One that is off gives nobody anything. It is a route all the same: a node without any gives everything to every handler.
    pub is_on: bool,
}

/// Which events a route is about: all that is said must hold, and of several values of one field any may. An empty field says nothing.
///
/// Types, commands and ids may end in `*`, which stands for whatever comes there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Of these kinds.
    pub kinds: Vec<Kind>,
    /// Of these types, as `message` or `view_submission`; of an unknown kind that is the envelope's. No command has one.
    pub types: Vec<String>,
    /// These slash commands, slash included.
    pub commands: Vec<String>,
    /// Interactions with one of these callback ids: of a shortcut, a message or the view that they happened in.
    pub callback_ids: Vec<String>,
    /// Interactions with an element that has one of these action ids.
    pub action_ids: Vec<String>,
    /// Of these workspaces.
    pub workspaces: Vec<WorkspaceName>,
    /// Of workspaces that bear one of these labels: key, value.
    pub labels: Vec<(String, String)>,
}

impl Match {
    /// Can there be an event of this kind that matches?
    pub fn may_be(&self, kind: Kind) -> bool {
        let by_kind = self.kinds.is_empty() || self.kinds.contains(&kind);
        let is_command = kind == Kind::SlashCommands;
        let by_type = self.types.is_empty() || !is_command;
        let by_command = self.commands.is_empty() || is_command;
        let by_ids =
            (self.callback_ids.is_empty() && self.action_ids.is_empty()) || kind == Kind::Interactive;
        by_kind && by_type && by_command && by_ids
    }

    /// Does it matter of which workspace an event is?
    pub const fn asks_whose(&self) -> bool {
        !self.workspaces.is_empty() || !self.labels.is_empty()
    }

    /// Is a workspace of this name and with these labels one of those it is about?
    pub fn is_about(&self, name: &WorkspaceName, labels: &[(String, String)]) -> bool {
        let by_name = self.workspaces.is_empty() || self.workspaces.contains(name);
        let by_label = self.labels.is_empty() || self.labels.iter().any(|label| labels.contains(label));
        by_name && by_label
    }
}
