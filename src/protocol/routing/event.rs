//! The keys of an event, as Bolt finds them: the authorization before the outer fields.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Routing, id_of};
use crate::protocol::peek;

/// The keys of an `events_api` payload.
pub(super) fn read(payload: &str) -> Routing<'_> {
    quick(payload).unwrap_or_else(|| tolerant(payload))
}

/// Reads what nearly every event looks like in one pass, at half the cost of [`tolerant`], and gives up on anything else: an
/// escape in a key, a channel that is an object, a repeated field, a wrong type.
fn quick(payload: &str) -> Option<Routing<'_>> {
    if !payload.starts_with('{') {
        return None;
    }
    let outer: Outer<'_> = serde_json::from_str(payload).ok()?;
    let inner = outer.event?;
    let authorization = match outer.authorizations {
        Some((first,)) => first,
        None => Authorization::default(),
    };
    let channel = word(inner.channel).or_else(|| word(inner.channel_id));
    let item = inner.item.map_or("null", RawValue::get);
    Some(Routing {
        kind_type: word(inner.kind).or_else(|| word(outer.kind)).map(Into::into),
        slack_id: word(outer.event_id).map(Into::into),
        team_id: word(authorization.team_id).or_else(|| word(outer.team_id)).map(Into::into),
        enterprise_id: word(authorization.enterprise_id)
            .or_else(|| word(outer.enterprise_id))
            .map(Into::into),
        is_enterprise_install: authorization.is_enterprise_install.unwrap_or(false),
        conversation: channel.map(Into::into).or_else(|| peek::member(item, "channel").and_then(peek::word)),
        api_app_id: word(outer.api_app_id).map(Into::into),
        response_url: None,
    })
}

fn word(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    #[serde(borrow)]
    event: Option<Inner<'a>>,
    event_id: Option<&'a str>,
    team_id: Option<&'a str>,
    enterprise_id: Option<&'a str>,
    api_app_id: Option<&'a str>,
    /// Slack truncates the list to one.
    authorizations: Option<(Authorization<'a>,)>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    channel: Option<&'a str>,
    channel_id: Option<&'a str>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Authorization<'a> {
    team_id: Option<&'a str>,
    enterprise_id: Option<&'a str>,
    is_enterprise_install: Option<bool>,
}

/// Reads a payload of any shape, looking at nested values a second time.
fn tolerant(payload: &str) -> Routing<'_> {
    let mut keys = Routing::default();
    let (mut outer_type, mut inner, mut outer_channel) = (None, None, None);
    let (mut outer_team, mut outer_enterprise, mut authorization) = (None, None, None);
    peek::object(payload, |key, value| match key {
        b"type" => outer_type = peek::word(value),
        b"event" => inner = Some(value).filter(|json| json.starts_with('{')),
        b"event_id" => keys.slack_id = peek::word(value),
        b"team_id" => outer_team = peek::word(value),
        b"enterprise_id" => outer_enterprise = peek::word(value),
        b"api_app_id" => keys.api_app_id = peek::word(value),
        b"authorizations" => authorization = peek::first(value),
        b"channel" => outer_channel = id_of(value),
        _ => {}
    });
    match inner {
        Some(inner) => inner_event(inner, &mut keys),
        None => keys.conversation = outer_channel,
    }
    peek::object(authorization.unwrap_or("{}"), |key, value| match key {
        b"team_id" => keys.team_id = peek::word(value),
        b"enterprise_id" => keys.enterprise_id = peek::word(value),
        b"is_enterprise_install" => keys.is_enterprise_install = peek::is_true(value),
        _ => {}
    });
    keys.kind_type = keys.kind_type.or(outer_type);
    keys.team_id = keys.team_id.or(outer_team);
    keys.enterprise_id = keys.enterprise_id.or(outer_enterprise);
    keys
}

/// The channel is the place of most events; files, reactions and pins name it elsewhere.
fn inner_event<'a>(event: &'a str, keys: &mut Routing<'a>) {
    let (mut channel_id, mut item) = (None, None);
    peek::object(event, |key, value| match key {
        b"type" => keys.kind_type = peek::word(value),
        b"channel" => keys.conversation = id_of(value),
        b"channel_id" => channel_id = peek::word(value),
        b"item" => item = peek::member(value, "channel").and_then(peek::word),
        _ => {}
    });
    keys.conversation = keys.conversation.take().or(channel_id).or(item);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDINARY: &str = r#"{"type":"event_callback","event_id":"Ev1","team_id":"T0","api_app_id":"A1",
        "event":{"type":"message","channel":"C1"},"authorizations":[{"team_id":"T1","enterprise_id":null,"is_enterprise_install":false}]}"#;

    #[test]
    fn an_ordinary_event_is_read_the_quick_way() {
        assert!(quick(ORDINARY).is_some_and(|keys| keys.team_id.as_deref() == Some("T1")));
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(
            outer in prop::collection::vec((name(), value()), 0..8),
            inner in prop::collection::vec((name(), value()), 0..5),
            authorization in prop::collection::vec((name(), value()), 0..4),
        ) {
            let object = |members: &[(&str, String)]| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                members.join(",")
            };
            let rest = if outer.is_empty() { String::new() } else { format!(",{}", object(&outer)) };
            let (inner, authorization) = (object(&inner), object(&authorization));
            let payload = format!(r#"{{"event":{{{inner}}},"authorizations":[{{{authorization}}}]{rest}}}"#);
            if let Some(keys) = quick(&payload) {
                prop_assert!(keys == tolerant(&payload), "{}", payload);
            }
        }
    }

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "type",
            "event_id",
            "team_id",
            "enterprise_id",
            "api_app_id",
            "channel",
            "channel_id",
            "item",
            "is_enterprise_install",
        ])
    }

    fn value() -> impl Strategy<Value = String> {
        let values = [
            "null",
            "true",
            "false",
            "7",
            "\"\"",
            "\"T1\"",
            "\"\\u0041\"",
            "[]",
            "{}",
            r#"{"id":"C1"}"#,
            r#"{"channel":"C2"}"#,
        ];
        prop::sample::select(values.map(str::to_owned).to_vec())
    }
}
