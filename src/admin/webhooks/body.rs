//! What a request says of a webhook.

use std::time::Duration;

use actix_web::web::Payload;
use actix_web::{HttpMessage, HttpRequest};
use serde_json::{Map, Value};
use url::Url;

use super::super::Node;
use super::super::problem::{Code, FieldError, Problem};
use crate::machine::notice::Topic;
use crate::store::WebhookSpec;

const MAX_BODY: usize = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_URL: usize = 2_000;

/// A body of JSON, an object.
pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Map<String, Value>, Problem> {
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "send 'Content-Type: application/json'"));
    }
    let bytes = actix_rt::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(MAX_BODY))
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout, "the body did not come within 10 seconds"))?
        .map_err(|_| Problem::new(Code::BodyTooLarge, "a webhook takes at most 16 KiB"))?
        .map_err(|_| Problem::new(Code::InvalidRequest, "the body broke off"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::new(Code::MalformedJson, format!("no JSON from line {line}, column {column} on"))
    })?;
    match value {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Problem::new(Code::InvalidRequest, "the body must be a JSON object"))
        }
    }
}

/// What is asked for, over what is there: a field that is absent stays as it is.
pub(super) fn spec(
    body: Map<String, Value>,
    there: WebhookSpec,
    node: &dyn Node,
) -> Result<WebhookSpec, Problem> {
    let mut spec = there;
    let mut errors = Vec::new();
    for (field, value) in body {
        let read = match field.as_str() {
            "url" => url(&value, node).map(|url| spec.url = url),
            "topics" => topics(&value).map(|topics| spec.topics = topics),
            "label" => label(&value).map(|label| spec.label = label),
            "paused" => value
                .as_bool()
                .map(|paused| spec.is_paused = paused)
                .ok_or_else(|| "must be true or false".into()),
            _ => Err("unknown; the fields are url, topics, label and paused".to_owned()),
        };
        let shown = field.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
        errors.extend(read.err().map(|message| FieldError { field: shown, message }));
    }
    if errors.is_empty() && spec.url.is_empty() {
        errors.push(FieldError { field: "url".into(), message: "a new webhook needs its url".into() });
    }
    if errors.is_empty() { Ok(spec) } else { Err(Problem::fields(Code::InvalidFields, errors)) }
}

fn url(value: &Value, node: &dyn Node) -> Result<String, String> {
    let allows_private = node.allows_private_webhooks();
    let must =
        if allows_private { "must be an http:// or https:// address" } else { "must be an https:// address" };
    let text = value.as_str().filter(|text| text.len() <= MAX_URL).ok_or(must)?;
    let url = Url::parse(text).map_err(|_| must)?;
    if url.scheme() != "https" && !(allows_private && url.scheme() == "http") {
        return Err(must.into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user, password or fragment".into());
    }
    let ip = match url.host() {
        Some(url::Host::Ipv4(ip)) => Some(ip.into()),
        Some(url::Host::Ipv6(ip)) => Some(ip.into()),
        Some(url::Host::Domain(_)) => None,
        None => return Err(must.into()),
    };
    if !allows_private && ip.is_some_and(|ip| !node.is_public(ip)) {
        return Err("lies in a private network; the setting webhooks_allow_private would allow it".into());
    }
    Ok(url.into())
}

/// Null and an empty list: all of them.
fn topics(value: &Value) -> Result<Vec<Topic>, String> {
    let known = || Topic::ALL.iter().map(|topic| topic.as_str()).collect::<Vec<_>>().join(", ");
    let must = || format!("must be a list of these: {}", known());
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) => {
            let mut topics = all
                .iter()
                .map(|one| one.as_str().and_then(Topic::parse))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(must)?;
            topics.sort_unstable();
            topics.dedup();
            Ok(topics)
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Err(must()),
    }
}

fn label(value: &Value) -> Result<Option<(String, String)>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let pair = value.as_str().filter(|text| text.len() <= 1_100 && !text.contains(char::is_control));
    let pair = pair.and_then(|text| text.split_once(':')).filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| Some((key.to_owned(), value.to_owned())))
        .ok_or_else(|| "must be key:value, like tenant:42, or null".to_owned())
}
