//! What Slack sends, after real frames.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{apps::State, webapi::bot_user_id};

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

/// What a template is filled with.
pub(super) struct Filling<'a> {
    pub(super) app_id: &'a str,
    pub(super) team_id: &'a str,
    pub(super) enterprise_id: Option<&'a str>,
    pub(super) bot_user_id: &'a str,
    /// `Ev…`; of what has no event id, what its trigger id is made of.
    pub(super) event_id: &'a str,
    pub(super) text: Option<&'a str>,
    pub(super) response_url: &'a str,
    /// Since 1970.
    pub(super) time: Duration,
}

impl Template {
    /// The envelope's `type`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Message
            | Self::AppMention
            | Self::AppUninstalled
            | Self::TokensRevoked
            | Self::AppRateLimited => "events_api",
            Self::SlashCommand => "slash_commands",
            Self::BlockActions
            | Self::ViewSubmission
            | Self::ViewClosed
            | Self::BlockSuggestion
            | Self::Shortcut
            | Self::MessageAction => "interactive",
            Self::UnknownType => "something_new",
        }
    }

    /// `accepts_response_payload`, as seen with this kind.
    pub fn accepts_response_payload(self) -> bool {
        match self {
            Self::SlashCommand | Self::BlockActions | Self::ViewSubmission | Self::BlockSuggestion => true,
            Self::Message
            | Self::AppMention
            | Self::AppUninstalled
            | Self::TokensRevoked
            | Self::AppRateLimited
            | Self::ViewClosed
            | Self::Shortcut
            | Self::MessageAction
            | Self::UnknownType => false,
        }
    }

    /// Slack sends it when a bot token has become no good; the error by which it is refused then.
    pub(super) fn revokes_bot(self) -> Option<&'static str> {
        match self {
            Self::AppUninstalled => Some("account_inactive"),
            Self::TokensRevoked => Some("token_revoked"),
            Self::Message
            | Self::AppMention
            | Self::AppRateLimited
            | Self::SlashCommand
            | Self::BlockActions
            | Self::ViewSubmission
            | Self::ViewClosed
            | Self::BlockSuggestion
            | Self::Shortcut
            | Self::MessageAction
            | Self::UnknownType => None,
        }
    }

    /// Does its payload hold a `response_url`?
    pub(super) fn has_response_url(self) -> bool {
        matches!(self, Self::SlashCommand | Self::BlockActions | Self::MessageAction)
    }

    /// The payload.
    pub(super) fn payload(self, with: &Filling<'_>) -> Value {
        match self {
            Self::Message => event(with, &message(with, "message")),
            Self::AppMention => event(with, &message(with, "app_mention")),
            Self::AppUninstalled => event(with, &json!({"type": "app_uninstalled"})),
            Self::TokensRevoked => event(
                with,
                &json!({"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [with.bot_user_id]}}),
            ),
            Self::AppRateLimited => json!({
                "token": VERIFICATION, "type": "app_rate_limited", "team_id": with.team_id,
                "minute_rate_limited": with.time.as_secs() / 60 * 60, "api_app_id": with.app_id,
            }),
            Self::SlashCommand => slash_command(with),
            Self::BlockActions => interaction(
                with,
                "block_actions",
                json!({
                    "container": {"type": "message", "message_ts": ts(with), "channel_id": CHANNEL, "is_ephemeral": false},
                    "channel": {"id": CHANNEL, "name": "general"},
                    "message": message(with, "message"),
                    "response_url": with.response_url, "trigger_id": trigger(with),
                    "actions": [{"type": "button", "block_id": "b1", "action_id": "approve", "value": "1",
                        "text": {"type": "plain_text", "text": "Approve", "emoji": true}, "action_ts": ts(with)}],
                    "state": {"values": {}},
                }),
            ),
            Self::ViewSubmission => interaction(
                with,
                "view_submission",
                json!({"trigger_id": trigger(with), "view": view(with), "response_urls": []}),
            ),
            Self::ViewClosed => {
                interaction(with, "view_closed", json!({"view": view(with), "is_cleared": false}))
            }
            Self::BlockSuggestion => interaction(
                with,
                "block_suggestion",
                json!({
                    "container": {"type": "view", "view_id": "V0SIM"}, "view": view(with),
                    "action_id": "city", "block_id": "b1", "value": with.text.unwrap_or("ber"),
                }),
            ),
            Self::Shortcut => interaction(
                with,
                "shortcut",
                json!({"action_ts": ts(with), "callback_id": "do-something", "trigger_id": trigger(with)}),
            ),
            Self::MessageAction => interaction(
                with,
                "message_action",
                json!({
                    "action_ts": ts(with), "message_ts": ts(with), "callback_id": "do-something-with-it",
                    "channel": {"id": CHANNEL, "name": "general"}, "message": message(with, "message"),
                    "response_url": with.response_url, "trigger_id": trigger(with),
                }),
            ),
            Self::UnknownType => {
                json!({"type": "something_new", "team_id": with.team_id, "api_app_id": with.app_id})
            }
        }
    }
}

/// Slack's deprecated verification token; nobody checks it on a socket.
const VERIFICATION: &str = "verification-token";
const CHANNEL: &str = "C0SIMULATED";
const USER: &str = "U0SIMULATED";

fn event(with: &Filling<'_>, inner: &Value) -> Value {
    let name = inner.get("type").and_then(Value::as_str).unwrap_or("message");
    json!({
        "token": VERIFICATION, "team_id": with.team_id, "context_team_id": with.team_id,
        "context_enterprise_id": with.enterprise_id, "api_app_id": with.app_id,
        "type": "event_callback", "event_id": with.event_id, "event_time": with.time.as_secs(),
        "authorizations": [{"enterprise_id": with.enterprise_id, "team_id": with.team_id, "user_id": with.bot_user_id,
            "is_bot": true, "is_enterprise_install": false}],
        "is_ext_shared_channel": false,
        "event_context": format!("4-{name}-{}-{}-{CHANNEL}", with.team_id, with.app_id),
        "event": inner,
    })
}

fn message(with: &Filling<'_>, name: &str) -> Value {
    let mention = if name == "app_mention" { format!("<@{}> ", with.bot_user_id) } else { String::new() };
    let text = format!("{mention}{}", with.text.unwrap_or("hello"));
    let mut message = json!({
        "type": name, "user": USER, "ts": ts(with), "text": text, "team": with.team_id,
        "channel": CHANNEL, "event_ts": ts(with),
    });
    if name == "message"
        && let Some(message) = message.as_object_mut()
    {
        message.insert("channel_type".into(), "channel".into());
    }
    message
}

fn slash_command(with: &Filling<'_>) -> Value {
    let mut command = json!({
        "token": VERIFICATION, "team_id": with.team_id, "team_domain": "simulated", "channel_id": CHANNEL,
        "channel_name": "general", "user_id": USER, "user_name": "someone", "command": "/simulate",
        "text": with.text.unwrap_or(""), "api_app_id": with.app_id, "is_enterprise_install": "false",
        "response_url": with.response_url, "trigger_id": trigger(with),
    });
    if let (Some(org), Some(command)) = (with.enterprise_id, command.as_object_mut()) {
        command.insert("enterprise_id".into(), org.into());
        command.insert("enterprise_name".into(), "Simulated Org".into());
    }
    command
}

/// What all interactions have, and what this one has of its own.
fn interaction(with: &Filling<'_>, name: &str, own: Value) -> Value {
    let enterprise = with.enterprise_id.map(|id| json!({"id": id, "name": "Simulated Org"}));
    let mut all = json!({
        "type": name, "token": VERIFICATION, "api_app_id": with.app_id,
        "team": {"id": with.team_id, "domain": "simulated"},
        "user": {"id": USER, "username": "someone", "name": "someone", "team_id": with.team_id},
        "enterprise": enterprise, "is_enterprise_install": false,
    });
    if let (Some(all), Value::Object(own)) = (all.as_object_mut(), own) {
        all.extend(own);
    }
    all
}

fn view(with: &Filling<'_>) -> Value {
    json!({
        "id": "V0SIMULATED", "team_id": with.team_id, "type": "modal", "callback_id": "modal-1", "hash": "1.abc",
        "private_metadata": "", "app_id": with.app_id, "bot_id": "B0SIMULATED",
        "app_installed_team_id": with.team_id, "root_view_id": "V0SIMULATED", "previous_view_id": null,
        "title": {"type": "plain_text", "text": "Modal", "emoji": true}, "external_id": "",
        "clear_on_close": false, "notify_on_close": true, "close": null, "submit": null, "blocks": [],
        "state": {"values": {"b1": {"name": {"type": "plain_text_input", "value": with.text.unwrap_or("Ada")}}}},
    })
}

fn ts(with: &Filling<'_>) -> String {
    timestamp(with.time)
}

/// A message's `ts`.
pub(super) fn timestamp(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

fn trigger(with: &Filling<'_>) -> String {
    format!("{}.{}.{}", with.time.as_secs(), with.team_id.len(), with.event_id.to_ascii_lowercase())
}

/// A payload as it goes out: text around an event id that may be another for each event.
#[derive(Clone)]
pub(super) struct Body {
    pub(super) head: Arc<str>,
    pub(super) event_id: String,
    pub(super) tail: Arc<str>,
}

impl Body {
    /// Text whose first `event_id`, if it occurs, may be exchanged.
    pub(super) fn new(text: &str, event_id: &str) -> Self {
        match text.split_once(event_id) {
            Some((head, tail)) if !event_id.is_empty() => {
                Self { head: head.into(), event_id: event_id.into(), tail: tail.into() }
            }
            Some(_) | None => Self { head: text.into(), event_id: String::new(), tail: "".into() },
        }
    }

    /// The same with another event's id.
    pub(super) fn of(&self, event_id: &str) -> Self {
        let event_id = if self.event_id.is_empty() { String::new() } else { event_id.into() };
        Self { head: Arc::clone(&self.head), event_id, tail: Arc::clone(&self.tail) }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(self.event_id.as_bytes());
        out.extend_from_slice(self.tail.as_bytes());
    }
}

impl State {
    /// A template's payload for one of the app's teams. What answers by `response_url` gets one.
    pub(super) fn fill(
        &mut self,
        app: usize,
        template: Template,
        event_id: &str,
        team_id: Option<&str>,
        text: Option<&str>,
        now: Duration,
    ) -> Value {
        let response_url =
            if template.has_response_url() { self.response_url(app, event_id, now) } else { String::new() };
        let time = self.wall(now);
        let Some(owner) = self.apps.get(app) else { return Value::Null };
        let team = match team_id {
            None => owner.teams.first(),
            Some(id) => owner.teams.iter().find(|team| team.team_id == id),
        };
        template.payload(&Filling {
            app_id: &owner.id,
            team_id: team_id.or_else(|| team.map(|team| team.team_id.as_str())).unwrap_or_default(),
            enterprise_id: team.and_then(|team| team.enterprise_id.as_deref()),
            bot_user_id: &team.map(bot_user_id).unwrap_or_default(),
            event_id,
            text,
            response_url: &response_url,
            time,
        })
    }
}

/// Pads a payload to about this size, by a field Slack doesn't send.
pub(super) fn pad(payload: &mut Value, bytes: usize) {
    let missing = bytes.saturating_sub(payload.to_string().len() + r#","padding":"""#.len());
    if missing > 0
        && let Some(payload) = payload.as_object_mut()
    {
        payload.insert("padding".into(), "x".repeat(missing).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interaction_names_its_team_and_user() {
        for template in [
            Template::BlockActions,
            Template::ViewSubmission,
            Template::ViewClosed,
            Template::BlockSuggestion,
            Template::Shortcut,
            Template::MessageAction,
        ] {
            let payload = template.payload(&filling());
            assert_eq!(payload["team"]["id"], "T1", "{template:?}");
            assert_eq!(payload["user"]["team_id"], "T1", "{template:?}");
            assert_eq!(payload.get("response_url").is_some(), template.has_response_url(), "{template:?}");
        }
    }

    #[test]
    fn a_rate_limit_notice_has_no_inner_event() {
        let payload = Template::AppRateLimited.payload(&filling());
        assert!(payload.get("event").is_none());
        assert_eq!(payload["type"], "app_rate_limited");
    }

    #[test]
    fn padding_reaches_the_size_to_the_byte() {
        let mut payload = Template::Message.payload(&filling());
        pad(&mut payload, 1_048_576);
        assert_eq!(payload.to_string().len(), 1_048_576);
    }

    #[test]
    fn a_body_takes_another_event_id_and_stays_json() {
        let text = Template::Message.payload(&filling()).to_string();
        let mut out = Vec::new();
        Body::new(&text, "EvSIM00000001").of("EvSIM00000002").write(&mut out);
        let payload: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(payload["event_id"], "EvSIM00000002");
    }

    fn filling() -> Filling<'static> {
        Filling {
            app_id: "A1",
            team_id: "T1",
            enterprise_id: None,
            bot_user_id: "U1",
            event_id: "EvSIM00000001",
            text: None,
            response_url: "http://localhost/response/1",
            time: Duration::from_secs(1_610_241_741),
        }
    }
}
