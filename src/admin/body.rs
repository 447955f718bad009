//! Bodies, read field by field so that every error names its field and none repeats a value: a value may be a
//! token in the wrong place.

mod many;
mod names;

use std::time::Duration;

use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use serde_json::{Map, Value};

pub(super) use self::many::Many;
use self::names::Twice;
use super::problem::{Code, FieldError, Problem};
use super::query::presentable;
use crate::secret::BadToken;
use crate::store::Secret;

pub(super) const JSON: &[&str] = &["application/json"];
pub(super) const MERGE_PATCH: &[&str] = &["application/merge-patch+json", "application/json"];
const MAX_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body of JSON, an object.
pub(super) async fn object(
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
pub(super) async fn bytes(payload: Payload, most: usize) -> Result<Bytes, Problem> {
    actix_rt::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(most))
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout, "the body did not come within 10 seconds"))?
        .map_err(|_| {
            Problem::new(Code::BodyTooLarge, format!("a body has at most {} KiB here", most / 1024))
        })?
        .map_err(|_| Problem::new(Code::InvalidRequest, "the body broke off"))
}

/// An object of JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
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

/// The fields not yet read, and what was wrong with those that were.
pub(super) struct Fields {
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub(super) const fn new(map: Map<String, Value>) -> Self {
        Self { map, errors: Vec::new() }
    }

    /// One field; absent and `null` are the same.
    pub(super) fn take<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.map.remove(field).filter(|value| !value.is_null())?;
        read(&value).map_err(|message| self.wrong(field, message)).ok()
    }

    /// One field that must be there: what is not is read as `null`.
    pub(super) fn need<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.map.remove(field).unwrap_or_default();
        read(&value).map_err(|message| self.wrong(field, message)).ok()
    }

    /// A secret: absent keeps it, `null` removes it.
    pub(super) fn secret<T>(&mut self, field: &str, parse: fn(&str) -> Result<T, BadToken>) -> Secret<T> {
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

    pub(super) const fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(super) fn wrong(&mut self, field: &str, message: String) {
        self.errors.push(FieldError { field: field.to_owned(), message });
    }

    /// What nobody has read is unknown.
    pub(super) fn done(mut self, known: &str) -> Result<(), Problem> {
        for field in self.map.keys() {
            self.errors.push(FieldError {
                field: presentable(field),
                message: format!("unknown; the fields are {known}"),
            });
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(Code::InvalidFields, self.errors)) }
    }
}

/// A control character, NUL before all, is refused by some databases and garbles a screen.
pub(super) fn is_text(text: &str, max_chars: usize) -> bool {
    text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

pub(super) fn text(value: &Value, max_chars: usize) -> Result<&str, String> {
    value
        .as_str()
        .filter(|text| is_text(text, max_chars))
        .ok_or_else(|| format!("must be a text of at most {max_chars} characters without control characters"))
}
