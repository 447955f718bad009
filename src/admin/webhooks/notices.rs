//! `/api/v1/webhooks/{id}/notices`: what waits for a webhook and what was given up, and how to have it posted once more.

use actix_web::web::{Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::paging::{Paging, page};
use super::super::paths::{post_resource, read_resource};
use super::super::problem::{Code, Problem};
use super::super::query::{self, Taken, digits};
use super::{find, find_theirs};
use crate::moment::rfc3339;
use crate::store::KeptNotice;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(read_resource("/webhooks/{id}/notices", list))
        .service(post_resource("/webhooks/{id}/notices/{notice}/resend", resend));
}

async fn list(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let mut is_dead = None;
    let paging = Paging::read(&request, "state", |key, value| match key {
        "state" => {
            let read = match value {
                "waiting" => Ok(Some(false)),
                "given_up" => Ok(Some(true)),
                _ => Err("waiting or given_up".to_owned()),
            };
            Taken::of(read, &mut is_dead)
        }
        _ => Taken::Unknown,
    })?;
    let webhook = find(&id, &node).await?;
    let list = ("notices", webhook.id, is_dead);
    let before = paging.place(&list, digits)?;
    let mut found = node.webhooks().notices(webhook.id, is_dead, before, paging.limit + 1).await?;
    let next = paging.cut(&mut found, &list, |notice| notice.id);
    Ok(page(&found.iter().map(show).collect::<Vec<_>>(), next))
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
