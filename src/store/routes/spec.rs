//! A route as people write it, in a request, in the settings or in its row, and what is wrong with it.

use serde_json::{Map, Value, json};

use crate::event::Kind;
use crate::ids::{RouteName, WorkspaceName};
use crate::machine::routes::{AckMode, Match, Route};
use crate::store::Label;

const FIELDS: &str = "handler, match, ack and enabled";
const MATCH_FIELDS: &str = "kinds, types, commands, callback_ids, action_ids, workspaces and labels";
const KINDS: [Kind; 4] = [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown];

/// Values that one field may have, and the length of one, characters.
const MOST_VALUES: usize = 100;
const MAX_VALUE: usize = 255;
const MAX_HANDLER: usize = 128;

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongField {
    /// Which, like `match.labels`.
    pub field: String,
    /// What is wrong; does not repeat the value.
    pub message: String,
}

/// The route that is written so, but for whether there is such a handler.
pub fn read_route(name: RouteName, body: &Map<String, Value>) -> Result<Route, Vec<WrongField>> {
    let mut wrong = Vec::new();
    let (mut handler, mut matches, mut ack, mut is_on) = (None, None, None, true);
    for (field, value) in body {
        let read = match field.as_str() {
            "handler" => read_handler(value).map(|read| handler = Some(read)),
            "match" => match value {
                Value::Null => Ok(()),
                Value::Object(fields) => {
                    match read_match(fields) {
                        Ok(read) => matches = Some(read),
                        Err(errors) => wrong.extend(errors),
                    }
                    Ok(())
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    Err(format!("must be an object of lists; the fields are {MATCH_FIELDS}"))
                }
            },
            "ack" => read_ack(value).map(|read| ack = read),
            "enabled" => match value {
                Value::Null => Ok(()),
                Value::Bool(on) => {
                    is_on = *on;
                    Ok(())
                }
                Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    Err("must be true or false".into())
                }
            },
            _ => Err(format!("unknown; the fields are {FIELDS}")),
        };
        wrong.extend(read.err().map(|message| WrongField { field: shown(field), message }));
    }
    if handler.is_none() && !wrong.iter().any(|wrong| wrong.field == "handler") {
        wrong.push(WrongField { field: "handler".into(), message: "a route needs its handler".into() });
    }
    let matches = matches.unwrap_or_default();
    if wrong.is_empty() {
        wrong.extend(contradiction(&matches, ack));
    }
    match handler {
        Some(handler) if wrong.is_empty() => Ok(Route { name, handler, matches, ack, is_on }),
        Some(_) | None => Err(wrong),
    }
}

/// What a route is about, as it is written.
pub(in crate::store) fn read_match(fields: &Map<String, Value>) -> Result<Match, Vec<WrongField>> {
    let mut matches = Match::default();
    let mut wrong = Vec::new();
    for (field, value) in fields {
        let read = match field.as_str() {
            "kinds" => list(value, kind).map(|read| matches.kinds = read),
            "types" => list(value, kind_type).map(|read| matches.types = read),
            "commands" => list(value, command).map(|read| matches.commands = read),
            "callback_ids" => list(value, text).map(|read| matches.callback_ids = read),
            "action_ids" => list(value, text).map(|read| matches.action_ids = read),
            "workspaces" => list(value, workspace).map(|read| matches.workspaces = read),
            "labels" => list(value, label).map(|read| matches.labels = read),
            _ => Err(format!("unknown; the fields are {MATCH_FIELDS}")),
        };
        let named = |message| WrongField { field: format!("match.{}", shown(field)), message };
        wrong.extend(read.err().map(named));
    }
    if wrong.is_empty() { Ok(matches) } else { Err(wrong) }
}

/// What a route is about, as it is written: every field, those that say nothing as empty lists.
pub fn show_match(matches: &Match) -> Value {
    json!({
        "kinds": matches.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "types": matches.types,
        "commands": matches.commands,
        "callback_ids": matches.callback_ids,
        "action_ids": matches.action_ids,
        "workspaces": matches.workspaces.iter().map(WorkspaceName::as_str).collect::<Vec<_>>(),
        "labels": matches.labels.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>(),
    })
}

/// A route that no event could meet is a mistake, and so is an answer to what nobody can answer.
fn contradiction(matches: &Match, ack: Option<AckMode>) -> Option<WrongField> {
    if !KINDS.into_iter().any(|kind| matches.may_be(kind)) {
        let message = "no event can match all of this: commands are of slash_commands alone, callback_ids and action_ids of interactive \
                       alone, and types of all kinds but slash_commands";
        return Some(WrongField { field: "match".into(), message: message.into() });
    }
    let is_answered = [Kind::Interactive, Kind::SlashCommands].into_iter().any(|kind| matches.may_be(kind));
    (ack == Some(AckMode::Answered) && !is_answered).then(|| WrongField {
        field: "ack".into(),
        message: "an ack carries an answer to interactive and slash_commands alone, and this matches neither"
            .into(),
    })
}

fn read_handler(value: &Value) -> Result<String, String> {
    let fine = |text: &&str| {
        (1..=MAX_HANDLER).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    value.as_str().filter(fine).map(str::to_owned).ok_or_else(|| "must be the name of a handler".into())
}

fn read_ack(value: &Value) -> Result<Option<AckMode>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let ack = value.as_str().and_then(AckMode::parse);
    ack.map(Some).ok_or_else(|| "must be received, stored or answered, or null for the node's own".into())
}

/// In an order of their own and each once, so that what says the same is the same.
fn list<T: Ord>(value: &Value, one: fn(&str) -> Result<T, &'static str>) -> Result<Vec<T>, String> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) if items.len() <= MOST_VALUES => items,
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(format!("must be a list of at most {MOST_VALUES} texts"));
        }
    };
    let mut read = Vec::with_capacity(items.len());
    for (at, item) in (1..).zip(items) {
        let item = item.as_str().ok_or("must be a text").and_then(one);
        read.push(item.map_err(|message: &str| format!("number {at} {message}"))?);
    }
    read.sort_unstable();
    read.dedup();
    Ok(read)
}

fn kind(written: &str) -> Result<Kind, &'static str> {
    let kind = KINDS.into_iter().find(|kind| kind.as_str() == written);
    kind.ok_or("must be events_api, interactive, slash_commands or unknown")
}

fn text(written: &str) -> Result<String, &'static str> {
    let fine = !written.is_empty()
        && written.chars().count() <= MAX_VALUE
        && !written.chars().any(char::is_control)
        && !written.contains("**");
    fine.then(|| written.to_owned())
        .ok_or("must be a text of 1 to 255 characters; a * at its end stands for anything")
}

/// No type and no command of Slack's has a star in it.
fn kind_type(written: &str) -> Result<String, &'static str> {
    let written = text(written)?;
    let beginning = written.strip_suffix('*').unwrap_or(&written);
    let fine = !beginning.contains('*');
    fine.then_some(written).ok_or("can match nothing: a * stands for anything at the end alone")
}

fn command(written: &str) -> Result<String, &'static str> {
    let written = kind_type(written)?;
    let fine = written.starts_with('/') || written == "*";
    fine.then_some(written).ok_or("must be a command with its slash, like /deploy")
}

fn workspace(written: &str) -> Result<WorkspaceName, &'static str> {
    WorkspaceName::parse(written).map_err(|_| "must be the id of a workspace")
}

fn label(written: &str) -> Result<(String, String), &'static str> {
    let label = Label::parse(written).map(|label| (label.key, label.value));
    label.ok_or("must be key:value, like tenant:42")
}

/// A field's name as it may be repeated.
fn shown(field: &str) -> String {
    field.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_is_shown_in_one_order_and_each_value_once() {
        let body = json!({
            "handler": "log",
            "match": {
                "kinds": ["interactive", "events_api", "interactive"],
                "types": ["message", "app_*", "message"],
                "workspaces": ["b", "a"],
                "labels": ["tenant:42"],
            },
            "ack": "received",
            "enabled": false,
        });
        let route = read(&body).unwrap();
        assert_eq!((route.handler.as_str(), route.ack, route.is_on), ("log", Some(AckMode::Received), false));
        let shown = show_match(&route.matches);
        assert_eq!(
            shown,
            json!({
                "kinds": ["events_api", "interactive"], "types": ["app_*", "message"], "commands": [], "callback_ids": [],
                "action_ids": [], "workspaces": ["a", "b"], "labels": ["tenant:42"],
            })
        );
        assert_eq!(read_match(shown.as_object().unwrap()).unwrap(), route.matches);
    }

    #[test]
    fn all_but_the_handler_may_be_left_out() {
        let route = read(&json!({"handler": "log", "match": null, "ack": null, "enabled": null})).unwrap();
        assert_eq!(route, read(&json!({"handler": "log"})).unwrap());
        assert_eq!((route.matches, route.ack, route.is_on), (Match::default(), None, true));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field_without_the_value() {
        for (body, field) in [
            (json!({}), "handler"),
            (json!({"handler": ""}), "handler"),
            (json!({"handler": 7}), "handler"),
            (json!({"handler": "log", "secret": "secret!"}), "secret"),
            (json!({"handler": "log", "ack": "secret!"}), "ack"),
            (json!({"handler": "log", "enabled": "secret!"}), "enabled"),
            (json!({"handler": "log", "match": "secret!"}), "match"),
            (json!({"handler": "log", "match": {"secret": []}}), "match.secret"),
            (json!({"handler": "log", "match": {"kinds": ["secret!"]}}), "match.kinds"),
            (json!({"handler": "log", "match": {"types": "secret!"}}), "match.types"),
            (json!({"handler": "log", "match": {"types": [""]}}), "match.types"),
            (json!({"handler": "log", "match": {"types": ["secret!\u{7}"]}}), "match.types"),
            (json!({"handler": "log", "match": {"types": vec!["x"; 101]}}), "match.types"),
            (json!({"handler": "log", "match": {"types": ["secret!*x"]}}), "match.types"),
            (json!({"handler": "log", "match": {"commands": ["/secret!*x*"]}}), "match.commands"),
            (json!({"handler": "log", "match": {"commands": ["secret!"]}}), "match.commands"),
            (json!({"handler": "log", "match": {"callback_ids": [7]}}), "match.callback_ids"),
            (json!({"handler": "log", "match": {"action_ids": ["secret!".repeat(50)]}}), "match.action_ids"),
            (json!({"handler": "log", "match": {"workspaces": ["secret!"]}}), "match.workspaces"),
            (json!({"handler": "log", "match": {"labels": ["secret!"]}}), "match.labels"),
        ] {
            let wrong = read(&body).unwrap_err();
            assert_eq!(wrong.len(), 1, "{body}: {wrong:?}");
            assert_eq!(wrong[0].field, field, "{body}");
            assert!(!wrong[0].message.contains("secret!"), "{wrong:?}");
        }
        let both = read(&json!({"match": {"kinds": 7, "types": 7}, "ack": 7})).unwrap_err();
        assert_eq!(both.len(), 4, "all of it is told: {both:?}");
    }

    #[test]
    fn what_no_event_could_meet_is_refused() {
        for matches in [
            json!({"types": ["message"], "commands": ["/deploy"]}),
            json!({"kinds": ["events_api"], "callback_ids": ["x"]}),
            json!({"commands": ["/deploy"], "action_ids": ["x"]}),
            json!({"kinds": ["slash_commands"], "types": ["x"]}),
        ] {
            let wrong = read(&json!({"handler": "log", "match": matches})).unwrap_err();
            assert_eq!(wrong[0].field, "match", "{matches}");
        }
    }

    #[test]
    fn an_answer_to_what_nobody_can_answer_is_refused() {
        let answered = |matches: Value| read(&json!({"handler": "log", "match": matches, "ack": "answered"}));
        assert_eq!(answered(json!({"kinds": ["events_api"]})).unwrap_err()[0].field, "ack");
        assert!(answered(json!({"commands": ["/deploy"]})).is_ok());
        assert!(answered(json!({})).is_ok());
    }

    fn read(body: &Value) -> Result<Route, Vec<WrongField>> {
        read_route(RouteName::parse("r").unwrap(), body.as_object().unwrap())
    }
}
