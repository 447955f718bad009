//! What a request says of a webhook.

use serde_json::{Map, Value};
use url::Url;

use super::super::Node;
use super::super::problem::{Code, FieldError, Problem};
use crate::machine::notice::Topic;
use crate::store::{Label, WebhookSpec};

const MAX_URL: usize = 2_000;

/// What is asked for, over what is there: a field that is absent stays as it is.
pub(super) fn read(
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
    let label = value.as_str().and_then(Label::parse).map(|label| Some((label.key, label.value)));
    label.ok_or_else(|| "must be key:value, like tenant:42, or null".to_owned())
}
