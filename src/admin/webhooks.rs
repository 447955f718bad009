//! `/api/v1/webhooks`: who is told of changes.

use actix_web::http::{Method, header};
use actix_web::web::{Data, Path, Payload, ServiceConfig, delete, get, patch, post, resource};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};
use url::Url;

use super::body::{JSON, MERGE_PATCH, object};
use super::moment::rfc3339;
use super::problem::{Code, FieldError, Problem, wrong_method};
use super::{Node, query};
use crate::ids::WebhookId;
use crate::machine::notice::Topic;
use crate::secret::WebhookSecret;
use crate::store::{Label, Webhook, WebhookSpec};

const MAX_URL: usize = 2_000;
/// Each has a task of its own and a row of every notice.
const MAX_WEBHOOKS: usize = 50;
const PREFIX: &str = "whk_";

pub(super) fn routes(config: &mut ServiceConfig) {
    let all = resource("/webhooks")
        .route(get().to(list))
        .route(post().to(create))
        .default_service(wrong_method(&[Method::GET, Method::POST]));
    let one = resource("/webhooks/{id}")
        .route(get().to(read))
        .route(patch().to(change))
        .route(delete().to(remove))
        .default_service(wrong_method(&[Method::GET, Method::PATCH, Method::DELETE]));
    let test = resource("/webhooks/{id}/test")
        .route(post().to(try_out))
        .default_service(wrong_method(&[Method::POST]));
    config.service(all).service(one).service(test);
}

async fn list(request: HttpRequest, node: Data<dyn Node>) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let data: Vec<_> = node.webhooks().webhooks().await?.iter().map(show).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": null })))
}

async fn create(
    request: HttpRequest,
    payload: Payload,
    node: Data<dyn Node>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let body = object(&request, payload, JSON).await?;
    let blank = WebhookSpec { url: String::new(), topics: Vec::new(), label: None, is_paused: false };
    let spec = read_spec(body, blank, &**node)?;
    let store = node.webhooks();
    if store.webhooks().await?.len() >= MAX_WEBHOOKS {
        let detail =
            format!("there are {MAX_WEBHOOKS} webhooks, which is all there can be; remove one first");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let secret = WebhookSecret::generate();
    let webhook = store.add_webhook(&spec, &secret, node.now_ms()).await?;
    node.webhooks_changed();
    let mut shown = show(&webhook);
    if let Some(shown) = shown.as_object_mut() {
        // The one time it is told.
        shown.insert("secret".into(), secret.expose().into());
    }
    let place = format!("/api/v1/webhooks/{PREFIX}{}", webhook.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, place)).json(shown))
}

async fn read(id: Path<String>, request: HttpRequest, node: Data<dyn Node>) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let webhook = find(&id, &**node).await?;
    Ok(HttpResponse::Ok().json(show(&webhook)))
}

async fn change(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    node: Data<dyn Node>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let body = object(&request, payload, MERGE_PATCH).await?;
    let webhook = find(&id, &**node).await?;
    let spec = read_spec(body, webhook.spec, &**node)?;
    let changed = node.webhooks().change_webhook(webhook.id, &spec, node.now_ms()).await?;
    node.webhooks_changed();
    Ok(HttpResponse::Ok().json(show(&changed.ok_or_else(|| unknown(&id))?)))
}

async fn remove(
    id: Path<String>,
    request: HttpRequest,
    node: Data<dyn Node>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let found = parse_id(&id)?;
    if !node.webhooks().remove_webhook(found).await? {
        return Err(unknown(&id));
    }
    node.webhooks_changed();
    Ok(HttpResponse::NoContent().finish())
}

/// Posts a notice of the topic `webhook.test` at once, past the queue, and tells what became of it.
async fn try_out(
    id: Path<String>,
    request: HttpRequest,
    node: Data<dyn Node>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let webhook = find(&id, &**node).await?;
    let secret = node.webhooks().webhook_secret(webhook.id).await?.ok_or_else(|| unknown(&id))?;
    let body = json!({ "type": "webhook.test", "timestamp": rfc3339(node.now_ms()), "data": {} }).to_string();
    let shown = match node.post_webhook(&webhook.spec.url, &secret, &body).await {
        Ok(status) => json!({ "taken": true, "status": status, "error": null }),
        Err(error) => json!({ "taken": false, "status": null, "error": error }),
    };
    Ok(HttpResponse::Ok().json(shown))
}

async fn find(id: &str, node: &dyn Node) -> Result<Webhook, Problem> {
    node.webhooks().webhook(parse_id(id)?).await?.ok_or_else(|| unknown(id))
}

fn parse_id(id: &str) -> Result<WebhookId, Problem> {
    let number = id.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
    number.map(WebhookId).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().filter(char::is_ascii_graphic).take(64).collect();
    Problem::new(Code::NotFound, format!("there is no webhook '{shown}'"))
}

fn show(webhook: &Webhook) -> Value {
    let spec = &webhook.spec;
    let (error, at) = webhook.last_error.clone().unzip();
    json!({
        "id": format!("{PREFIX}{}", webhook.id),
        "url": spec.url,
        "topics": spec.topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(),
        "label": spec.label.as_ref().map(|(key, value)| format!("{key}:{value}")),
        "paused": spec.is_paused,
        "waiting": webhook.waiting,
        "given_up": webhook.dead,
        "last_error": error,
        "last_error_at": at.map(rfc3339),
        "last_success_at": webhook.last_success_ms.map(rfc3339),
        "created_at": rfc3339(webhook.created_ms),
        "updated_at": rfc3339(webhook.updated_ms),
    })
}

/// What is asked for, over what is there: a field that is absent stays as it is.
fn read_spec(body: Map<String, Value>, there: WebhookSpec, node: &dyn Node) -> Result<WebhookSpec, Problem> {
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

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::super::testing::{FakeNode, ask, code};
    use super::*;

    #[actix_web::test]
    async fn what_is_wrong_with_a_webhook_is_told_by_its_field_and_its_address_is_not_repeated() {
        for (body, field) in [
            (json!({}), "url"),
            (json!({"url": "http://hooks.example.com/secret"}), "url"),
            (json!({"url": "https://user:secret@hooks.example.com/"}), "url"),
            (json!({"url": "https://127.0.0.1/secret"}), "url"),
            (json!({"url": "secret"}), "url"),
            (json!({"url": "https://hooks.example.com/", "topics": ["workspace.secret"]}), "topics"),
            (json!({"url": "https://hooks.example.com/", "label": "secret"}), "label"),
            (json!({"url": "https://hooks.example.com/", "paused": "secret"}), "paused"),
            (json!({"url": "https://hooks.example.com/", "secret": "whsec_x"}), "secret"),
        ] {
            let request = TestRequest::post().uri("/api/v1/webhooks").set_json(&body);
            let answer = ask(&FakeNode::new(), request).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert_eq!(code(&answer), "invalid_fields");
            assert_eq!(answer.json()["errors"][0]["field"], field, "{body}");
            let said = answer.json()["errors"][0]["message"].to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[actix_web::test]
    async fn what_is_no_webhooks_id_is_not_found() {
        for id in ["x", "whk_", "whk_x", "1"] {
            let answer =
                ask(&FakeNode::new(), TestRequest::get().uri(&format!("/api/v1/webhooks/{id}"))).await;
            assert_eq!(code(&answer), "not_found");
        }
    }
}
