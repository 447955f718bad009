//! `/api/v1/events`: what the journal has, and what became of it. Payloads are in no answer.

pub(super) mod filter;
mod replay;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashMap;

use actix_web::http::Method;
use actix_web::web::{Path, ServiceConfig, post, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde::Serialize;
use serde_json::json;

use self::filter::Filter;
use super::access::Access;
use super::deliveries::{DeliveryOut, delivery_id};
use super::paging::{Paging, cursor};
use super::problem::{Code, Problem, wrong_method};
use super::query::{self, digits};
use crate::event::Kind;
use crate::ids::{Seq, WorkspaceName};
use crate::moment::rfc3339;
use crate::store::{DeliveryId, DeliveryStatus, KnownHandler, StoredDelivery, StoredEvent};

const PREFIX: &str = "evt_";

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = || route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let all = resource("/events").route(get().to(list));
    let one = resource("/events/{id}").route(get().to(read));
    let many = resource("/events/replay").route(post().to(replay::many));
    let again = resource("/events/{id}/replay").route(post().to(replay::one));
    for of in [many, again] {
        config.service(of.default_service(wrong_method(&[Method::POST])));
    }
    for of in [all, one] {
        config.service(of.default_service(wrong_method(&[Method::GET])));
    }
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let (mut paging, mut filter) = (Paging::new(), Filter::default());
    query::read(&request, &format!("{}, {}", filter::KNOWN, Paging::KNOWN), |key, value| {
        if Paging::KNOWN.contains(key) { paging.take(key, value) } else { filter.take(key, value) }
    })?;
    let list = ("events", filter.meant());
    let before = paging.place(&list, digits)?.map(Seq);
    let (archive, scope) = (access.archive(), access.caller().scope.as_ref());
    let page = archive.events(filter.meant(), scope, before, paging.limit).await?;
    let seqs: Vec<_> = page.found.iter().map(|event| event.seq).collect();
    let mut rows: HashMap<Seq, Vec<StoredDelivery>> = HashMap::new();
    for row in archive.deliveries_of(&seqs).await? {
        rows.entry(row.row.id.seq).or_default().push(row);
    }
    let data: Vec<_> = page
        .found
        .iter()
        .map(|event| EventOut::new(event, rows.get(&event.seq).map_or(&[], Vec::as_slice)))
        .collect();
    let next = page.next.map(|next| cursor(&list, next));
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": next })))
}

async fn read(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let seq = parse_id(&id)?;
    let (archive, scope) = (access.archive(), access.caller().scope.as_ref());
    let event = archive.event(seq, scope).await?.ok_or_else(unknown)?;
    let rows = archive.deliveries_of(&[seq]).await?;
    let handlers = archive.known_handlers().await?;
    let mut deliveries: Vec<_> = rows.iter().map(DeliveryOut::new).collect();
    // Where there are routes, who has no row may have had nothing to do with it.
    if access.routes().routes().await?.is_empty() {
        deliveries.extend(without_row(&event, &rows, &handlers));
    }
    deliveries.sort_by(|one, other| (&one.handler, one.run).cmp(&(&other.handler, other.run)));
    let whole = WholeEventOut { event: EventOut::new(&event, &rows), deliveries };
    Ok(HttpResponse::Ok().json(whole))
}

/// Deliveries of an event that have no row: done, or in hand.
fn without_row<'a>(
    event: &'a StoredEvent,
    rows: &'a [StoredDelivery],
    handlers: &'a [KnownHandler],
) -> impl Iterator<Item = DeliveryOut<'a>> {
    let has_row = |handler: &KnownHandler| rows.iter().any(|row| row.row.id.handler == handler.id);
    handlers.iter().filter(move |handler| event.is_for(handler) && !has_row(handler)).map(|handler| {
        let id = DeliveryId { seq: event.seq, handler: handler.id, run: 1 };
        DeliveryOut::without_row(id, &handler.name, event)
    })
}

/// The event of an id.
pub(super) fn parse_id(id: &str) -> Result<Seq, Problem> {
    id.strip_prefix(PREFIX).and_then(digits).map(Seq).ok_or_else(unknown)
}

/// How an event is called.
pub(super) fn event_id(seq: Seq) -> String {
    format!("{PREFIX}{seq}")
}

pub(super) fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no such event: an id is like 'evt_909700000000000001'")
}

#[derive(Serialize)]
struct EventOut<'a> {
    id: String,
    seq: String,
    workspace: Option<&'a WorkspaceName>,
    app_id: Option<&'a str>,
    kind: Kind,
    r#type: &'a str,
    slack_id: &'a str,
    retry: u32,
    received_at: String,
    bytes: u64,
    payload_kept: bool,
    status: &'static str,
}

#[derive(Serialize)]
struct WholeEventOut<'a> {
    #[serde(flatten)]
    event: EventOut<'a>,
    deliveries: Vec<DeliveryOut<'a>>,
}

impl<'a> EventOut<'a> {
    fn new(event: &'a StoredEvent, rows: &[StoredDelivery]) -> Self {
        Self {
            id: event_id(event.seq),
            seq: event.seq.to_string(),
            workspace: event.workspace.as_ref().map(|(_, name)| name),
            app_id: event.slack_app_id.as_deref(),
            kind: event.kind,
            r#type: &event.kind_type,
            slack_id: &event.slack_id,
            retry: event.retry,
            received_at: rfc3339(event.received_ms),
            bytes: event.bytes,
            payload_kept: event.has_payload,
            status: worst(event, rows),
        }
    }
}

/// What of an event's newest deliveries wants somebody's eye most.
fn worst(event: &StoredEvent, rows: &[StoredDelivery]) -> &'static str {
    use DeliveryStatus::{Cancelled, Dead, Done, Expired, Retrying, Waiting};
    let weight = |status: &DeliveryStatus| match status {
        Dead => 6,
        Retrying => 5,
        Waiting => 4,
        Expired => 2,
        Cancelled => 1,
        Done => 0,
    };
    let newest = rows.iter().filter(|row| row.replaced_by.is_none()).map(|row| row.row.status);
    let worst = newest.max_by_key(weight).unwrap_or(Done);
    if !event.is_settled && weight(&worst) < weight(&Waiting) { "pending" } else { worst.as_str() }
}

/// What a replay made, as it is shown.
fn made(id: DeliveryId, handler: &str) -> serde_json::Value {
    json!({ "id": delivery_id(id), "handler": handler })
}
