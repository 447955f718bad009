//! `/api/v1/webhooks`: who is told of changes.

mod notices;
mod spec;
#[cfg(test)]
mod tests;

use actix_web::http::{Method, header};
use actix_web::web::{Path, Payload, ServiceConfig, delete, patch, post, resource};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::access::Access;
use super::body::{JSON, MERGE_PATCH, object};
use super::paging::page;
use super::paths::{get, post_resource};
use super::problem::{Code, Problem, wrong_method};
use super::query::{self, Taken, digits};
use crate::ids::WebhookId;
use crate::moment::rfc3339;
use crate::secret::WebhookSecret;
use crate::store::{Webhook, WebhookSpec};

const PREFIX: &str = "whk_";
/// How long an old secret goes on signing, hours.
const KEEP_OLD: u16 = 24;
const KEEP_OLD_AT_MOST: u16 = 168;
const HOUR_MS: i64 = 3_600_000;

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
    config
        .service(all)
        .service(one)
        .configure(notices::routes)
        .service(post_resource("/webhooks/{id}/test", try_out))
        .service(post_resource("/webhooks/{id}/rotate", rotate));
}

async fn list(request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let all = node.webhooks().webhooks().await?;
    let data: Vec<_> = all.iter().filter(|webhook| is_theirs(&node, webhook)).map(show).collect();
    Ok(page(&data, None))
}

async fn create(request: HttpRequest, payload: Payload, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let body = object(&request, payload, JSON).await?;
    let blank = WebhookSpec { url: String::new(), topics: Vec::new(), label: None, is_paused: false };
    let spec = spec::read(body, blank, &**node)?;
    let secret = WebhookSecret::generate();
    let webhook = node.webhooks().add_webhook(&spec, &secret, node.caller(), node.now_ms()).await?;
    node.webhooks_changed();
    let mut shown = show(&webhook);
    if let Some(shown) = shown.as_object_mut() {
        // The one time it is told.
        shown.insert("secret".into(), secret.expose().into());
    }
    let place = format!("/api/v1/webhooks/{PREFIX}{}", webhook.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, place)).json(shown))
}

async fn read(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let webhook = find(&id, &node).await?;
    Ok(HttpResponse::Ok().json(show(&webhook)))
}

async fn change(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    node: Access,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let body = object(&request, payload, MERGE_PATCH).await?;
    let webhook = find(&id, &node).await?;
    let spec = spec::read(body, webhook.spec, &**node)?;
    let changed = node.webhooks().change_webhook(webhook.id, &spec, node.caller(), node.now_ms()).await?;
    node.webhooks_changed();
    Ok(HttpResponse::Ok().json(show(&changed.ok_or_else(|| unknown(&id))?)))
}

async fn remove(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let found = parse_id(&id)?;
    if !node.webhooks().remove_webhook(found, node.caller(), node.now_ms()).await? {
        return Err(unknown(&id));
    }
    node.webhooks_changed();
    Ok(HttpResponse::NoContent().finish())
}

/// Posts a notice of the topic `webhook.test` at once, past the queue, and tells what became of it.
async fn try_out(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let webhook = find_theirs(&id, &node).await?;
    let secrets = node.webhooks().webhook_secrets(webhook.id, node.now_ms()).await?;
    let body = json!({ "type": "webhook.test", "timestamp": rfc3339(node.now_ms()), "data": {} }).to_string();
    let shown = match node.post_webhook(&webhook.spec.url, &secrets, &body).await {
        Ok(status) => json!({ "taken": true, "status": status, "error": null }),
        Err(error) => json!({ "taken": false, "status": null, "error": error }),
    };
    Ok(HttpResponse::Ok().json(shown))
}

/// Another secret, told this once; the one before signs beside it for a while.
async fn rotate(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let mut hours = KEEP_OLD;
    query::read(&request, "keep_old_hours", |key, value| match key {
        "keep_old_hours" => {
            let read = digits(value).filter(|hours| *hours <= KEEP_OLD_AT_MOST);
            Taken::of(read.ok_or_else(|| format!("a number from 0 to {KEEP_OLD_AT_MOST}")), &mut hours)
        }
        _ => Taken::Unknown,
    })?;
    let webhook = find(&id, &node).await?;
    let (secret, now_ms) = (WebhookSecret::generate(), node.now_ms());
    let until_ms = now_ms.saturating_add(i64::from(hours).saturating_mul(HOUR_MS));
    let rotated =
        node.webhooks().rotate_webhook_secret(webhook.id, &secret, until_ms, node.caller(), now_ms).await?;
    let rotated = rotated.ok_or_else(|| unknown(&id))?;
    let until = rotated.old_secret_until_ms.map(rfc3339);
    Ok(HttpResponse::Ok().json(json!({ "secret": secret.expose(), "old_secret_until": until })))
}

async fn find(id: &str, node: &Access) -> Result<Webhook, Problem> {
    let found = node.webhooks().webhook(parse_id(id)?).await?;
    found.filter(|webhook| is_theirs(node, webhook)).ok_or_else(|| unknown(id))
}

/// One that its caller may have posted to: not one that is told of more than they see.
async fn find_theirs(id: &str, node: &Access) -> Result<Webhook, Problem> {
    let webhook = find(id, node).await?;
    let scope = node.caller().scope.as_ref();
    if let Some(scope) = scope.filter(|scope| !webhook.spec.is_within(scope)) {
        let why = format!(
            "the webhook {PREFIX}{} is told of more than the workspaces with the label {scope}, so this token may look at it alone",
            webhook.id
        );
        return Err(Problem::new(Code::Forbidden, why));
    }
    Ok(webhook)
}

/// Who sees one label alone sees the webhooks that are for it.
fn is_theirs(node: &Access, webhook: &Webhook) -> bool {
    node.caller().scope.as_ref().is_none_or(|scope| webhook.spec.is_for(scope))
}

fn parse_id(id: &str) -> Result<WebhookId, Problem> {
    let number = id.strip_prefix(PREFIX).and_then(digits);
    number.map(WebhookId).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().filter(char::is_ascii_graphic).take(64).collect();
    Problem::new(Code::NotFound, format!("there is no webhook '{shown}'"))
}

fn show(webhook: &Webhook) -> Value {
    let spec = &webhook.spec;
    let (error, at) = webhook.last_error.clone().unzip();
    let last = webhook.last_post.map(|post| {
        let is_taken = post.status.is_some_and(|status| (200..300).contains(&status));
        let error = error.as_ref().filter(|_| !is_taken);
        json!({ "at": rfc3339(post.at_ms), "taken": is_taken, "status": post.status, "error": error })
    });
    let posts = webhook.posts;
    json!({
        "id": format!("{PREFIX}{}", webhook.id),
        "url": spec.url,
        "topics": spec.topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(),
        "label": spec.label.as_ref().map(|(key, value)| format!("{key}:{value}")),
        "paused": spec.is_paused,
        "waiting": webhook.waiting,
        "given_up": webhook.dead,
        "last_post": last,
        "last_error": error,
        "last_error_at": at.map(rfc3339),
        "last_success_at": webhook.last_success_ms.map(rfc3339),
        "counters": {
            "posts_taken": posts.taken, "posts_refused": posts.refused, "notices_given_up": posts.given_up,
        },
        "old_secret_until": webhook.old_secret_until_ms.map(rfc3339),
        "created_at": rfc3339(webhook.created_ms),
        "updated_at": rfc3339(webhook.updated_ms),
    })
}
