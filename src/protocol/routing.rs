//! Whose a payload is and what it is about: the keys by which it finds its workspace, its handler and its lane.

mod members;

use std::borrow::Cow;

use super::peek;
use super::scan::Scanner;
use crate::event::Kind;

pub(super) use members::Members;

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

/// The keys of a payload that stands alone. Never fails: what is missing or of a wrong type is none.
pub fn read(kind: Kind, payload: &str) -> Routing<'_> {
    let members = Members::gather(&mut Scanner::new(payload));
    members.map_or_else(Routing::default, |members| of(kind, &members))
}

/// The keys among a payload's members.
///
/// The order of places where a team is looked for is that of Bolt's `buildSource` (slackapi/bolt-js, `src/App.ts`), with
/// Bolt for Python's readings of `team` as a string and of `view.app_installed_team_id` for every interaction.
pub(super) fn of<'a>(kind: Kind, members: &Members<'a>) -> Routing<'a> {
    match kind {
        Kind::EventsApi => event(members),
        Kind::Interactive => interaction(members),
        Kind::SlashCommands => command(members),
        // Nothing is known of it; a newer kind will likely look like one of the known.
        Kind::Unknown => unknown(members),
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

/// The authorization comes before the outer fields. The channel is the place of most events; files, reactions and pins name it
/// elsewhere.
fn event<'a>(members: &Members<'a>) -> Routing<'a> {
    let inner = members.event.as_ref();
    // Slack truncates the list to one.
    let authorization = peek::first(members.authorizations).unwrap_or_default();
    let (mut team, mut enterprise, mut is_enterprise_install) = (None, None, false);
    if authorization.starts_with('{') {
        peek::object(authorization, |key, value| match key {
            b"team_id" => team = peek::word(value),
            b"enterprise_id" => enterprise = peek::word(value),
            b"is_enterprise_install" => is_enterprise_install = peek::is_true(value),
            _ => {}
        });
    }
    let conversation = match inner {
        Some(inner) => id_of(inner.channel)
            .or_else(|| peek::word(inner.channel_id))
            .or_else(|| peek::member(inner.item, "channel").and_then(peek::word)),
        None => id_of(members.channel),
    };
    Routing {
        kind_type: inner.and_then(|inner| peek::word(inner.kind)).or_else(|| peek::word(members.kind)),
        slack_id: peek::word(members.event_id),
        team_id: team.or_else(|| peek::word(members.team_id)),
        enterprise_id: enterprise.or_else(|| peek::word(members.enterprise_id)),
        is_enterprise_install,
        conversation,
        api_app_id: peek::word(members.api_app_id),
        response_url: None,
    }
}

fn interaction<'a>(members: &Members<'a>) -> Routing<'a> {
    let within = |raw: &'a str, name| peek::member(raw, name).and_then(peek::word);
    // On Grid `user.team_id` may name the organisation (Slack's page on block_suggestion payloads).
    let (user_enterprise, user_team) = match within(members.user, "team_id") {
        Some(id) if id.starts_with('E') => (Some(id), None),
        other => (None, other),
    };
    let first_url = || within(peek::first(members.response_urls)?, "response_url");
    Routing {
        kind_type: peek::word(members.kind),
        slack_id: None,
        team_id: within(members.view, "app_installed_team_id").or_else(|| id_of(members.team)).or(user_team),
        enterprise_id: id_of(members.enterprise)
            .or_else(|| within(members.team, "enterprise_id"))
            .or(user_enterprise),
        is_enterprise_install: peek::is_true(members.is_enterprise_install),
        conversation: id_of(members.channel).or_else(|| within(members.container, "channel_id")),
        api_app_id: peek::word(members.api_app_id),
        response_url: peek::word(members.response_url).or_else(first_url),
    }
}

fn command<'a>(members: &Members<'a>) -> Routing<'a> {
    Routing {
        kind_type: peek::word(members.command),
        slack_id: None,
        team_id: peek::word(members.team_id),
        enterprise_id: peek::word(members.enterprise_id),
        is_enterprise_install: peek::is_true(members.is_enterprise_install),
        conversation: peek::word(members.channel_id),
        api_app_id: peek::word(members.api_app_id),
        response_url: peek::word(members.response_url),
    }
}

fn unknown<'a>(members: &Members<'a>) -> Routing<'a> {
    let (event, interaction, command) = (event(members), interaction(members), command(members));
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
