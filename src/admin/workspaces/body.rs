//! The fields of a workspace.

use serde_json::{Map, Value};

use super::super::body::{Fields, is_text, text};
use super::super::problem::Problem;
use crate::secret::{AppToken, BotToken};
use crate::store::{DeliveryMode, Desired, WorkspaceSpec};

/// What they are called.
pub(super) const KNOWN: &str = "name, app_token, bot_token, labels, links, desired, delivery";
const MAX_NAME: usize = 255;
pub(super) const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY: usize = 63;
pub(super) const MAX_LABEL_VALUE: usize = 255;
const MAX_LINKS: u8 = 9;

/// What a `PUT` or a `POST` says of a workspace.
pub(super) fn spec(map: Map<String, Value>, default_links: u8) -> Result<WorkspaceSpec, Problem> {
    let mut fields = Fields::new(map);
    let spec = WorkspaceSpec {
        title: fields.take("name", title).flatten(),
        desired: fields.take("desired", desired).unwrap_or(Desired::Connected),
        delivery: fields.take("delivery", delivery).unwrap_or_default(),
        links: fields.take("links", links).unwrap_or(default_links),
        labels: fields.take("labels", labels).unwrap_or_default(),
        app_token: fields.secret("app_token", AppToken::parse),
        bot_token: fields.secret("bot_token", BotToken::parse),
    };
    fields.done(KNOWN).map(|()| spec)
}

pub(super) fn title(value: &Value) -> Result<Option<String>, String> {
    let text = text(value, MAX_NAME)?.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

pub(super) fn desired(value: &Value) -> Result<Desired, String> {
    match value.as_str() {
        Some("connected") => Ok(Desired::Connected),
        Some("disconnected") => Ok(Desired::Disconnected),
        _ => Err("must be 'connected' or 'disconnected'".to_owned()),
    }
}

pub(super) fn delivery(value: &Value) -> Result<DeliveryMode, String> {
    let found = DeliveryMode::ALL.iter().copied().find(|delivery| value.as_str() == Some(delivery.as_str()));
    found.ok_or_else(|| "must be 'active' or 'paused'".to_owned())
}

/// A number is a number however it is written: 2.0 is 2.
pub(super) fn links(value: &Value) -> Result<u8, String> {
    let is =
        |links: &u8| value.as_f64().is_some_and(|given| (given - f64::from(*links)).abs() < f64::EPSILON);
    (1..=MAX_LINKS).find(is).ok_or_else(|| format!("must be a number from 1 to {MAX_LINKS}"))
}

pub(super) fn labels(value: &Value) -> Result<Vec<(String, String)>, String> {
    let Value::Object(map) = value else { return Err("must be an object of strings".to_owned()) };
    if map.len() > MAX_LABELS {
        return Err(format!("at most {MAX_LABELS} labels"));
    }
    map.iter().map(|(key, value)| Ok((label_key(key)?, text(value, MAX_LABEL_VALUE)?.to_owned()))).collect()
}

/// No colon: it parts key from value in a filter.
pub(super) fn label_key(key: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
    if (1..=MAX_LABEL_KEY).contains(&key.len()) && key.bytes().all(inner) {
        return Ok(key.to_owned());
    }
    Err(format!("a label's key is 1 to {MAX_LABEL_KEY} letters, digits, '_', '.', '-' or '/'"))
}

/// A label's value.
pub(super) fn label_value(text: &str) -> Result<&str, String> {
    is_text(text, MAX_LABEL_VALUE).then_some(text).ok_or_else(|| {
        format!(
            "a label's value is a text of at most {MAX_LABEL_VALUE} characters without control characters"
        )
    })
}
