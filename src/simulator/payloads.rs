//! What Slack sends, after real frames.

use serde::{Deserialize, Serialize};

/// A real frame to make one after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// `events_api`: a message in a channel.
    #[default]
    Message,
    /// `events_api`: the bot is mentioned.
    AppMention,
    /// `events_api`: the app was removed from the team.
    AppUninstalled,
    /// `events_api`: tokens were revoked.
    TokensRevoked,
    /// `events_api` without an inner event: too many deliveries.
    AppRateLimited,
    /// `slash_commands`.
    SlashCommand,
    /// `interactive`: a button in a message.
    BlockActions,
    /// `interactive`: a modal was submitted.
    ViewSubmission,
    /// `interactive`: a modal was closed.
    ViewClosed,
    /// `interactive`: options for a menu; the ack is the answer.
    BlockSuggestion,
    /// `interactive`: a global shortcut.
    Shortcut,
    /// `interactive`: a message's shortcut.
    MessageAction,
    /// An envelope type nobody knows yet.
    UnknownType,
}
