//! Whose a payload is and what it is about: the keys by which it finds its workspace, its handler and its lane.

mod event;

use std::borrow::Cow;

use super::peek;
use crate::event::Kind;

/// What a payload says about itself. As Slack wrote it: compare with these, store them [`clean`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Routing<'a> {
    /// The event's type, the interaction's type or the command; the outer type where there is no inner event
    /// (`app_rate_limited`).
    pub kind_type: Option<Cow<'a, str>>,
    /// Slack's id of the event (`Ev…`); interactions and commands have none.
    pub slack_id: Option<Cow<'a, str>>,
    /// The team of the installation it is for. Of an installation in a whole organisation, where it happened: then the
    /// organisation counts first.
    pub team_id: Option<Cow<'a, str>>,
    /// The organisation of the installation it is for.
    pub enterprise_id: Option<Cow<'a, str>>,
    /// Is the app installed in the organisation as a whole?
    pub is_enterprise_install: bool,
    /// The channel it happened in.
    pub conversation: Option<Cow<'a, str>>,
    /// Slack's id of the app (`A…`).
    pub api_app_id: Option<Cow<'a, str>>,
    /// Where an answer can be sent for 30 minutes. A credential: never to be logged.
    pub response_url: Option<Cow<'a, str>>,
}

/// The longest key that is stored, in characters.
pub const MAX_KEY: usize = 128;

/// The keys of a payload. Never fails: what is missing or of a wrong type is none.
///
/// The order of places where a team is looked for is that of Bolt's `buildSource` (slackapi/bolt-js, `src/App.ts`), with
/// Bolt for Python's readings of `team` as a string and of `view.app_installed_team_id` for every interaction.
pub fn read(kind: Kind, payload: &str) -> Routing<'_> {
    match kind {
        Kind::EventsApi => event::read(payload),
        Kind::Interactive => interaction(payload),
        Kind::SlashCommands => command(payload),
        // Nothing is known of it; a newer kind will likely look like one of the known.
        Kind::Unknown => unknown(payload),
    }
}

/// A key fit for a column: without control characters, at most [`MAX_KEY`] characters.
pub fn clean(key: &str) -> Cow<'_, str> {
    let short = key.len() <= MAX_KEY || key.chars().nth(MAX_KEY).is_none();
    if short && !key.contains(char::is_control) {
        return Cow::Borrowed(key);
    }
    Cow::Owned(key.chars().filter(|c| !c.is_control()).take(MAX_KEY).collect())
}

fn interaction(payload: &str) -> Routing<'_> {
    let mut keys = Routing::default();
    let (mut view_team, mut team, mut user_team) = (None, None, None);
    let (mut team_enterprise, mut container_channel, mut view_url) = (None, None, None);
    peek::object(payload, |key, value| match key {
        b"type" => keys.kind_type = peek::word(value),
        b"api_app_id" => keys.api_app_id = peek::word(value),
        b"team" => {
            team = id_of(value);
            team_enterprise = peek::member(value, "enterprise_id").and_then(peek::word);
        }
        b"enterprise" => keys.enterprise_id = id_of(value),
        b"user" => user_team = peek::member(value, "team_id").and_then(peek::word),
        b"view" => view_team = peek::member(value, "app_installed_team_id").and_then(peek::word),
        b"is_enterprise_install" => keys.is_enterprise_install = peek::is_true(value),
        b"channel" => keys.conversation = id_of(value),
        b"container" => container_channel = peek::member(value, "channel_id").and_then(peek::word),
        b"response_url" => keys.response_url = peek::word(value),
        b"response_urls" => {
            let first = peek::first(value).and_then(|first| peek::member(first, "response_url"));
            view_url = first.and_then(peek::word);
        }
        _ => {}
    });
    // On Grid `user.team_id` may name the organisation (Slack's page on block_suggestion payloads).
    let (user_enterprise, user_team) = match user_team {
        Some(id) if id.starts_with('E') => (Some(id), None),
        other => (None, other),
    };
    keys.team_id = view_team.or(team).or(user_team);
    keys.enterprise_id = keys.enterprise_id.or(team_enterprise).or(user_enterprise);
    keys.conversation = keys.conversation.or(container_channel);
    keys.response_url = keys.response_url.or(view_url);
    keys
}

fn command(payload: &str) -> Routing<'_> {
    let mut keys = Routing::default();
    peek::object(payload, |key, value| match key {
        b"command" => keys.kind_type = peek::word(value),
        b"team_id" => keys.team_id = peek::word(value),
        b"enterprise_id" => keys.enterprise_id = peek::word(value),
        b"is_enterprise_install" => keys.is_enterprise_install = peek::is_true(value),
        b"channel_id" => keys.conversation = peek::word(value),
        b"api_app_id" => keys.api_app_id = peek::word(value),
        b"response_url" => keys.response_url = peek::word(value),
        _ => {}
    });
    keys
}

fn unknown(payload: &str) -> Routing<'_> {
    let (event, interaction, command) = (event::read(payload), interaction(payload), command(payload));
    Routing {
        team_id: event.team_id.or(interaction.team_id),
        enterprise_id: event.enterprise_id.or(interaction.enterprise_id),
        is_enterprise_install: event.is_enterprise_install || interaction.is_enterprise_install,
        conversation: event.conversation.or(interaction.conversation).or(command.conversation),
        response_url: interaction.response_url,
        kind_type: event.kind_type,
        slack_id: event.slack_id,
        api_app_id: event.api_app_id,
    }
}

/// An id given as itself or as an object that has it.
fn id_of(value: &str) -> Option<Cow<'_, str>> {
    peek::word(value).or_else(|| peek::member(value, "id").and_then(peek::word))
}
