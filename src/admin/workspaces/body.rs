//! Bodies, read field by field so that every error names its field and none repeats a value: a value may be a
//! token in the wrong place.

mod names;

use std::time::Duration;

use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use serde_json::{Map, Value};

use self::names::Twice;
use super::super::problem::{Code, FieldError, Problem};
use super::super::query::presentable;
use crate::secret::{AppToken, BadToken, BotToken};
use crate::store::{Desired, Secret, WorkspaceSpec};

/// The fields of a workspace.
pub(super) const KNOWN: &str = "name, app_token, bot_token, labels, links, desired";
const MAX_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_NAME: usize = 255;
pub(super) const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY: usize = 63;
pub(super) const MAX_LABEL_VALUE: usize = 255;
const MAX_LINKS: u8 = 9;

/// A body of JSON, an object.
pub(in crate::admin) async fn object(
    request: &HttpRequest,
    payload: Payload,
    types: &[&str],
) -> Result<Map<String, Value>, Problem> {
    if !types.iter().any(|known| request.content_type().eq_ignore_ascii_case(known)) {
        let first = types.first().copied().unwrap_or_default();
        return Err(Problem::new(Code::UnsupportedMediaType, format!("send 'Content-Type: {first}'")));
    }
    parse(&bytes(payload, MAX_BODY).await?)
}

/// A body that comes in time and is not too large.
pub(in crate::admin) async fn bytes(payload: Payload, most: usize) -> Result<Bytes, Problem> {
    actix_rt::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(most))
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout, "the body did not come within 10 seconds"))?
        .map_err(|_| {
            Problem::new(Code::BodyTooLarge, format!("a body has at most {} KiB here", most / 1024))
        })?
        .map_err(|_| Problem::new(Code::InvalidRequest, "the body broke off"))
}

/// An object of JSON.
pub(in crate::admin) fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    // serde_json's own message may quote the text.
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::new(Code::MalformedJson, format!("no JSON from line {line}, column {column} on"))
    })?;
    let Value::Object(map) = value else {
        return Err(Problem::new(Code::InvalidRequest, "the body must be a JSON object"));
    };
    if let Ok(Twice(Some(name))) = serde_json::from_slice(bytes) {
        return Err(Problem::field(Code::InvalidFields, &presentable(&name), "comes twice; send it once"));
    }
    Ok(map)
}

/// What a `PUT` or a `POST` says of a workspace.
pub(super) fn spec(map: Map<String, Value>, default_links: u8) -> Result<WorkspaceSpec, Problem> {
    let mut fields = Fields::new(map);
    let spec = WorkspaceSpec {
        title: fields.take("name", title).flatten(),
        desired: fields.take("desired", desired).unwrap_or(Desired::Connected),
        links: fields.take("links", links).unwrap_or(default_links),
        labels: fields.take("labels", labels).unwrap_or_default(),
        app_token: fields.secret("app_token", AppToken::parse),
        bot_token: fields.secret("bot_token", BotToken::parse),
    };
    fields.done(KNOWN).map(|()| spec)
}

/// The fields not yet read, and what was wrong with those that were.
pub(in crate::admin) struct Fields {
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub(in crate::admin) const fn new(map: Map<String, Value>) -> Self {
        Self { map, errors: Vec::new() }
    }

    /// One field; absent and `null` are the same.
    pub(in crate::admin) fn take<T>(
        &mut self,
        field: &str,
        read: fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.map.remove(field).filter(|value| !value.is_null())?;
        read(&value).map_err(|message| self.wrong(field, message)).ok()
    }

    /// A secret: absent keeps it, `null` removes it.
    pub(in crate::admin) fn secret<T>(
        &mut self,
        field: &str,
        parse: fn(&str) -> Result<T, BadToken>,
    ) -> Secret<T> {
        let message = match self.map.remove(field) {
            None => return Secret::Keep,
            Some(Value::Null) => return Secret::Remove,
            Some(Value::String(text)) if text.is_empty() => {
                "empty; leave the field out to keep the token, send null to remove it".to_owned()
            }
            Some(Value::String(text)) => match parse(&text) {
                Ok(token) => return Secret::Set(token),
                Err(bad) => bad.to_string(),
            },
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                "must be a string or null".to_owned()
            }
        };
        self.wrong(field, message);
        Secret::Keep
    }

    pub(in crate::admin) const fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(in crate::admin) fn wrong(&mut self, field: &str, message: String) {
        self.errors.push(FieldError { field: field.to_owned(), message });
    }

    /// What nobody has read is unknown.
    pub(in crate::admin) fn done(mut self, known: &str) -> Result<(), Problem> {
        for field in self.map.keys() {
            self.errors.push(FieldError {
                field: presentable(field),
                message: format!("unknown; the fields are {known}"),
            });
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(Code::InvalidFields, self.errors)) }
    }
}

pub(in crate::admin) fn title(value: &Value) -> Result<Option<String>, String> {
    let text = text(value, MAX_NAME)?.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

pub(in crate::admin) fn desired(value: &Value) -> Result<Desired, String> {
    match value.as_str() {
        Some("connected") => Ok(Desired::Connected),
        Some("disconnected") => Ok(Desired::Disconnected),
        _ => Err("must be 'connected' or 'disconnected'".to_owned()),
    }
}

/// A number is a number however it is written: 2.0 is 2.
pub(in crate::admin) fn links(value: &Value) -> Result<u8, String> {
    let is =
        |links: &u8| value.as_f64().is_some_and(|given| (given - f64::from(*links)).abs() < f64::EPSILON);
    (1..=MAX_LINKS).find(is).ok_or_else(|| format!("must be a number from 1 to {MAX_LINKS}"))
}

pub(in crate::admin) fn labels(value: &Value) -> Result<Vec<(String, String)>, String> {
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

/// A control character, NUL before all, is refused by some databases and garbles a screen.
fn is_text(text: &str, max_chars: usize) -> bool {
    text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

pub(in crate::admin) fn text(value: &Value, max_chars: usize) -> Result<&str, String> {
    value
        .as_str()
        .filter(|text| is_text(text, max_chars))
        .ok_or_else(|| format!("must be a text of at most {max_chars} characters without control characters"))
}
