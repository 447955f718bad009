//! `/api/v1/webhooks/{id}/notices`: what waits for a webhook and what was given up, and how to have it posted once more.

use actix_web::http::Method;
use actix_web::web::{Path, ServiceConfig, post, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::paging::Paging;
use super::super::problem::{Code, Problem, wrong_method};
use super::super::query::{self, Taken, digits};
use super::{find, find_theirs};
use crate::moment::rfc3339;
use crate::store::KeptNotice;

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let all = resource("/webhooks/{id}/notices").route(get.to(list));
    let again = resource("/webhooks/{id}/notices/{notice}/resend").route(post().to(resend));
    config.service(all.default_service(wrong_method(&[Method::GET])));
    config.service(again.default_service(wrong_method(&[Method::POST])));
}

async fn list(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let (mut paging, mut is_dead) = (Paging::new(), None);
    query::read(&request, "state, limit, cursor", |key, value| match key {
        "state" => {
            let read = match value {
                "waiting" => Ok(Some(false)),
                "given_up" => Ok(Some(true)),
                _ => Err("waiting or given_up".to_owned()),
            };
            Taken::of(read, &mut is_dead)
        }
        _ => paging.take(key, value),
    })?;
    let webhook = find(&id, &node).await?;
    let list = ("notices", webhook.id, is_dead);
    let before = paging.place(&list, digits)?;
    let mut found = node.webhooks().notices(webhook.id, is_dead, before, paging.limit + 1).await?;
    let next_cursor = paging.cut(&mut found, &list, |notice| notice.id);
    let data: Vec<_> = found.iter().map(show).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": next_cursor })))
}

/// Due at once. The same id and text: a receiver knows it where it came through after all.
async fn resend(
    place: Path<(String, String)>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let (id, message_id) = place.into_inner();
    let webhook = find_theirs(&id, &node).await?;
    let again = node.webhooks().resend_notice(webhook.id, &message_id, node.now_ms()).await?;
    let gone = "no such notice waits or was given up lately: what was taken is not kept";
    let again = again.ok_or_else(|| Problem::new(Code::NotFound, gone))?;
    node.webhooks_changed();
    Ok(HttpResponse::Ok().json(show(&again)))
}

fn show(notice: &KeptNotice) -> Value {
    json!({
        "id": notice.message_id,
        "topic": notice.topic,
        "state": if notice.is_dead { "given_up" } else { "waiting" },
        "attempts": notice.attempts,
        "next_attempt_at": (!notice.is_dead).then(|| rfc3339(notice.next_ms)),
        "created_at": rfc3339(notice.created_ms),
        "last_error": notice.last_error,
    })
}
