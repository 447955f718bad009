//! `GET /api/v1/manifest`: a Slack app for a new customer, as a manifest and as a link that makes it.

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::paths::read_resource;
use super::problem::Problem;
use super::query::{self, Taken};
use super::workspaces::is_scope;

const MAX_NAME: usize = 35;
const MOST: usize = 100;
const KNOWN: &str = "name, scopes, events, commands";
/// Without these a customer who removes the app would not be noticed.
const FAREWELLS: [&str; 2] = ["app_uninstalled", "tokens_revoked"];
/// What an event demands, by its name or the name's beginning. <https://docs.slack.dev/reference/events>
const DEMANDS: [(&str, &str); 14] = [
    ("app_mention", "app_mentions:read"),
    ("message.channels", "channels:history"),
    ("message.groups", "groups:history"),
    ("message.im", "im:history"),
    ("message.mpim", "mpim:history"),
    ("reaction_", "reactions:read"),
    ("channel_", "channels:read"),
    ("group_", "groups:read"),
    ("member_joined_channel", "channels:read"),
    ("member_left_channel", "channels:read"),
    ("team_join", "users:read"),
    ("user_change", "users:read"),
    ("file_", "files:read"),
    ("pin_", "pins:read"),
];

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/manifest", read));
}

#[derive(Default)]
struct Wanted {
    name: String,
    scopes: Vec<String>,
    events: Vec<String>,
    commands: Vec<String>,
}

async fn read(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut wanted = Wanted { name: "Tautline".to_owned(), ..Wanted::default() };
    query::read(&request, KNOWN, |key, value| match key {
        "name" => Taken::of(name(value), &mut wanted.name),
        "scopes" => Taken::of(list(value, is_scope, "scopes, as chat:write"), &mut wanted.scopes),
        "events" => Taken::of(list(value, is_event, "events, as app_mention"), &mut wanted.events),
        "commands" => Taken::of(list(value, is_command, "commands, as /acme"), &mut wanted.commands),
        _ => Taken::Unknown,
    })?;
    Ok(HttpResponse::Ok().json(wanted.into_answer()))
}

impl Wanted {
    fn into_answer(mut self) -> Value {
        let mut added = Vec::new();
        for scope in self.demanded() {
            if !self.scopes.contains(&scope) {
                self.scopes.push(scope.clone());
                added.push(scope);
            }
        }
        for event in FAREWELLS {
            if !self.events.iter().any(|known| known == event) {
                self.events.push(event.to_owned());
            }
        }
        let manifest = self.manifest();
        let encoded: String = form_urlencoded::byte_serialize(manifest.to_string().as_bytes()).collect();
        json!({
            "manifest": manifest,
            "share_link": format!("https://api.slack.com/apps?new_app=1&manifest_json={encoded}"),
            "added_scopes": added,
            "steps": STEPS,
        })
    }

    /// Scopes without which Slack refuses the manifest. A bot needs one at least.
    fn demanded(&self) -> Vec<String> {
        let of_event = |event: &String| {
            DEMANDS.iter().find(|(name, _)| event.starts_with(name)).map(|(_, scope)| (*scope).to_owned())
        };
        let mut demanded: Vec<String> = self.events.iter().filter_map(of_event).collect();
        if !self.commands.is_empty() {
            demanded.push("commands".to_owned());
        }
        if demanded.is_empty() && self.scopes.is_empty() {
            demanded.push("chat:write".to_owned());
        }
        demanded
    }

    fn manifest(&self) -> Value {
        let command =
            |command: &String| json!({"command": command, "description": self.name, "should_escape": true});
        let commands: Vec<_> = self.commands.iter().map(command).collect();
        let mut features = json!({"bot_user": {"display_name": self.name, "always_online": false}});
        if let (false, Some(features)) = (commands.is_empty(), features.as_object_mut()) {
            features.insert("slash_commands".to_owned(), commands.into());
        }
        json!({
            "_metadata": {"major_version": 2},
            "display_information": {"name": self.name},
            "features": features,
            "oauth_config": {"scopes": {"bot": self.scopes}},
            "settings": {
                "event_subscriptions": {"bot_events": self.events},
                "interactivity": {"is_enabled": true},
                "org_deploy_enabled": false,
                "socket_mode_enabled": true,
                "token_rotation_enabled": false,
            },
        })
    }
}

/// The clicks that no manifest saves.
const STEPS: [&str; 5] = [
    "Open share_link, choose the workspace, look the manifest over and press Create.",
    "Press Install to Workspace and allow it.",
    "Basic Information → App-Level Tokens → Generate Token and Scopes: add connections:write. The token (xapp-…) is app_token.",
    "OAuth & Permissions → Bot User OAuth Token. It (xoxb-…) is bot_token.",
    "POST both to /api/v1/workspaces/check, then PUT them to /api/v1/workspaces/{id}.",
];

fn name(value: &str) -> Result<String, String> {
    let fine = (1..=MAX_NAME).contains(&value.chars().count()) && !value.chars().any(char::is_control);
    if fine && !value.trim().is_empty() {
        return Ok(value.to_owned());
    }
    Err(format!("a name of at most {MAX_NAME} characters, which is Slack's limit"))
}

/// Parted by commas.
fn list(value: &str, is: fn(&str) -> bool, what: &str) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    for (count, part) in (1..).zip(value.split(',')) {
        if !is(part) || count > MOST {
            return Err(format!("a list of at most {MOST} {what}, parted by commas"));
        }
        if !found.iter().any(|known| known == part) {
            found.push(part.to_owned());
        }
    }
    Ok(found)
}

fn is_event(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.')
}

/// Slack's limit is 32 characters, and no capital letters.
fn is_command(text: &str) -> bool {
    let rest = text.strip_prefix('/').unwrap_or_default();
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=31).contains(&rest.len()) && rest.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::super::testing::{Answer, FakeNode, ask, code};
    use super::*;

    #[actix_web::test]
    async fn a_manifest_has_what_was_asked_for_what_that_demands_and_socket_mode() {
        let answer =
            get("name=Acme&scopes=chat:write&events=app_mention,message.im&commands=/acme").await.json();
        let manifest = &answer["manifest"];
        assert_eq!(manifest["display_information"]["name"], "Acme");
        let scopes = json!(["chat:write", "app_mentions:read", "im:history", "commands"]);
        assert_eq!(manifest["oauth_config"]["scopes"]["bot"], scopes);
        assert_eq!(answer["added_scopes"], json!(["app_mentions:read", "im:history", "commands"]));
        let events = json!(["app_mention", "message.im", "app_uninstalled", "tokens_revoked"]);
        assert_eq!(manifest["settings"]["event_subscriptions"]["bot_events"], events);
        assert_eq!(manifest["features"]["slash_commands"][0]["command"], "/acme");
        assert_eq!(manifest["settings"]["socket_mode_enabled"], true);
    }

    #[actix_web::test]
    async fn the_link_makes_the_very_manifest() {
        let answer = get("name=A%26B%20%C3%A9").await.json();
        let link = url::Url::parse(answer["share_link"].as_str().unwrap()).unwrap();
        let (_, manifest) = link.query_pairs().find(|(key, _)| key == "manifest_json").unwrap();
        assert_eq!(serde_json::from_str::<Value>(&manifest).unwrap(), answer["manifest"]);
        assert_eq!(answer["manifest"]["oauth_config"]["scopes"]["bot"], json!(["chat:write"]));
    }

    #[actix_web::test]
    async fn what_slack_would_refuse_is_refused_here() {
        let long = format!("name={}", "x".repeat(36));
        for query in
            ["name=", &long, "scopes=a%00", "events=App", "commands=acme", "commands=/Acme", "colour=red"]
        {
            assert_eq!(code(&get(query).await), "invalid_request", "{query}");
        }
    }

    async fn get(query: &str) -> Answer {
        ask(&FakeNode::new(), TestRequest::get().uri(&format!("/api/v1/manifest?{query}"))).await
    }
}
