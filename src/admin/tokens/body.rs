//! What a `POST /api/v1/tokens` says.

use std::time::Duration;

use actix_web::web::Payload;
use actix_web::{HttpMessage as _, HttpRequest};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::problem::{Code, FieldError, Problem};
use crate::store::{Label, Role};

const MAX_BODY: usize = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_NAME: usize = 100;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) scope: Option<Label>,
    pub(super) expires_ms: Option<i64>,
}

pub(super) async fn read(request: &HttpRequest, payload: Payload, now_ms: i64) -> Result<Wanted, Problem> {
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "send 'Content-Type: application/json'"));
    }
    let bytes = actix_rt::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(MAX_BODY))
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout, "the body did not come within 10 seconds"))?
        .map_err(|_| Problem::new(Code::BodyTooLarge, "a token takes at most 16 KiB"))?
        .map_err(|_| Problem::new(Code::InvalidRequest, "the body broke off"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::new(Code::MalformedJson, format!("no JSON from line {line}, column {column} on"))
    })?;
    let Value::Object(map) = value else {
        return Err(Problem::new(Code::InvalidRequest, "the body must be a JSON object"));
    };
    parse(map, now_ms)
}

fn parse(mut map: Map<String, Value>, now_ms: i64) -> Result<Wanted, Problem> {
    let mut errors = Vec::new();
    let mut take = |field: &str| map.remove(field).filter(|value| !value.is_null());
    let (name, role, scope, expires) = (take("name"), take("role"), take("scope"), take("expires_at"));
    let mut wrong = |field: &str, message: &str| {
        errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    };
    let name = name.as_ref().and_then(Value::as_str).map(str::trim).filter(|name| is_name(name));
    if name.is_none() {
        wrong("name", "a text of 1 to 100 characters that says whose the token is");
    }
    let role = role.as_ref().and_then(Value::as_str).and_then(Role::parse);
    if role.is_none() {
        wrong("role", "must be 'viewer', 'operator' or 'admin'");
    }
    let label = scope.as_ref().and_then(Value::as_str).and_then(Label::parse);
    if scope.is_some() && label.is_none() {
        wrong("scope", "must be a label like 'tenant:42'");
    }
    if label.is_some() && role == Some(Role::Admin) {
        wrong("scope", "an admin sees everything; choose 'operator' or 'viewer', or leave the scope out");
    }
    let expires_ms = expires.as_ref().and_then(Value::as_str).and_then(moment).filter(|at| *at > now_ms);
    if expires.is_some() && expires_ms.is_none() {
        wrong("expires_at", "must be a time to come, like '2027-01-31T00:00:00Z'");
    }
    for field in map.keys() {
        let plain = field.len() <= 64 && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let field = if plain { field } else { "(a name that is no identifier)" };
        wrong(field, "unknown; the fields are name, role, scope and expires_at");
    }
    match (name, role) {
        (Some(name), Some(role)) if errors.is_empty() => {
            Ok(Wanted { name: name.to_owned(), role, scope: label, expires_ms })
        }
        _ => Err(Problem::fields(Code::InvalidFields, errors)),
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn moment(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}
