//! `/api/v1/deliveries`: what is owed and what was given up, and what is done about it.

mod actions;
mod filter;
#[cfg(test)]
mod tests;

use actix_web::http::Method;
use actix_web::web::{Path, ServiceConfig, post, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde::Serialize;
use serde_json::json;

use self::filter::Filter;
use super::access::Access;
use super::events::{event_id, parse_id as parse_event};
use super::paging::{Paging, cursor};
use super::problem::{Code, Problem, wrong_method};
use super::query::{self, digits};
use crate::event::Kind;
use crate::ids::{HandlerId, WorkspaceName};
use crate::moment::rfc3339;
use crate::store::{DeliveryId, DeliveryStatus, Remedy, StoredDelivery, StoredEvent};

const PREFIX: &str = "dlv_";

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = || route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let all = resource("/deliveries").route(get().to(list));
    let one = resource("/deliveries/{id}").route(get().to(read));
    let many = resource("/deliveries/actions").route(post().to(actions::act));
    let retry = resource("/deliveries/{id}/retry").route(post().to(retry));
    let discard = resource("/deliveries/{id}/discard").route(post().to(discard));
    for of in [many, retry, discard] {
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
    let list = ("deliveries", filter.meant());
    let before = paging.place(&list, parse_place)?;
    let scope = access.caller().scope.as_ref();
    let page = access.archive().deliveries(filter.meant(), scope, before, paging.limit).await?;
    let data: Vec<_> = page.found.iter().map(DeliveryOut::new).collect();
    let next =
        page.next.map(|next| cursor(&list, format_args!("{}-{}-{}", next.seq, next.handler, next.run)));
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": next })))
}

/// Also one that has no row, as long as its event is kept: it is done, or in hand.
async fn read(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let id = parse_id(&id)?;
    let (archive, scope) = (access.archive(), access.caller().scope.as_ref());
    let event = archive.event(id.seq, scope).await?;
    if event.is_none() && scope.is_some() {
        return Err(unknown());
    }
    let rows = archive.deliveries_of(&[id.seq]).await?;
    if let Some(row) = rows.iter().find(|row| row.row.id == id) {
        return Ok(HttpResponse::Ok().json(DeliveryOut::new(row)));
    }
    let event = event.filter(|_| id.run == 1).ok_or_else(unknown)?;
    // Where there are routes, who has no row may have had nothing to do with it.
    if !access.routes().routes().await?.is_empty() {
        return Err(unknown());
    }
    let handlers = archive.known_handlers().await?;
    let mut meant = handlers.iter().filter(|handler| event.is_for(handler));
    let handler = meant.find(|handler| handler.id == id.handler).ok_or_else(unknown)?;
    let mut shown = DeliveryOut::without_row(id, &handler.name, &event);
    shown.replaced_by = rows
        .iter()
        .filter(|row| row.row.id.handler == id.handler)
        .map(|row| row.row.id.run)
        .max()
        .map(|run| delivery_id(DeliveryId { run, ..id }));
    Ok(HttpResponse::Ok().json(shown))
}

async fn retry(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    change(&id, &request, &access, Remedy::Retry).await
}

async fn discard(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    change(&id, &request, &access, Remedy::Discard).await
}

async fn change(
    id: &str,
    request: &HttpRequest,
    access: &Access,
    remedy: Remedy,
) -> Result<HttpResponse, Problem> {
    query::none(request)?;
    let id = parse_id(id)?;
    if remedy == Remedy::Retry {
        must_be_here(access, id).await?;
    }
    let changed = access.archive().remedy_delivery(id, remedy, access.caller(), access.now_ms()).await?;
    Ok(HttpResponse::Ok().json(DeliveryOut::new(&changed.ok_or_else(unknown)?)))
}

/// What no handler of this node takes would be kept, and tried, for ever.
async fn must_be_here(access: &Access, id: DeliveryId) -> Result<(), Problem> {
    let (archive, scope) = (access.archive(), access.caller().scope.as_ref());
    if scope.is_some() {
        archive.event(id.seq, scope).await?.ok_or_else(unknown)?;
    }
    let rows = archive.deliveries_of(&[id.seq]).await?;
    let row = rows.into_iter().find(|row| row.row.id == id).ok_or_else(unknown)?;
    if access.handler_names().contains(&row.handler) {
        return Ok(());
    }
    let told = format!("this node has no handler '{}', so it would be tried by nobody", row.handler);
    Err(Problem::new(Code::Conflict, told))
}

/// How a delivery is called: its event, its handler's number and its run.
pub(super) fn delivery_id(id: DeliveryId) -> String {
    format!("{PREFIX}{}-{}-{}", id.seq, id.handler, id.run)
}

fn parse_id(id: &str) -> Result<DeliveryId, Problem> {
    id.strip_prefix(PREFIX).and_then(parse_place).ok_or_else(unknown)
}

fn parse_place(text: &str) -> Option<DeliveryId> {
    let mut parts = text.split('-');
    let id = DeliveryId {
        seq: parse_event(&format!("evt_{}", parts.next()?)).ok()?,
        handler: HandlerId(digits(parts.next()?)?),
        run: digits(parts.next()?)?,
    };
    parts.next().is_none().then_some(id)
}

fn unknown() -> Problem {
    Problem::new(
        Code::NotFound,
        "there is no such delivery: an id is like 'dlv_909700000000000001-1-1'. One that was done at once, or waits in memory, has nothing to be changed",
    )
}

#[derive(Serialize)]
pub(super) struct DeliveryOut<'a> {
    id: String,
    event: String,
    pub(super) handler: &'a str,
    pub(super) run: u32,
    workspace: Option<&'a WorkspaceName>,
    kind: Option<Kind>,
    r#type: Option<&'a str>,
    status: &'static str,
    attempts: u32,
    last_error: Option<&'a str>,
    next_attempt_at: Option<String>,
    holds_until: Option<String>,
    replaced_by: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl<'a> DeliveryOut<'a> {
    pub(super) fn new(delivery: &'a StoredDelivery) -> Self {
        let row = &delivery.row;
        let is_retrying = row.status == DeliveryStatus::Retrying;
        let (kind, kind_type) =
            delivery.what.as_ref().map(|(kind, kind_type)| (*kind, kind_type.as_str())).unzip();
        Self {
            id: delivery_id(row.id),
            event: event_id(row.id.seq),
            handler: &delivery.handler,
            run: row.id.run,
            workspace: delivery.workspace.as_ref(),
            kind,
            r#type: kind_type,
            status: row.status.as_str(),
            attempts: row.attempts,
            last_error: row.last_error.as_deref(),
            next_attempt_at: is_retrying.then(|| rfc3339(row.next_ms)),
            holds_until: row.hold_until_ms.filter(|_| is_retrying).map(rfc3339),
            replaced_by: delivery.replaced_by.map(|run| delivery_id(DeliveryId { run, ..row.id })),
            created_at: Some(rfc3339(row.created_ms)),
            updated_at: Some(rfc3339(row.updated_ms)),
        }
    }

    /// Of one that has no row: all went well with it, or it is in memory.
    pub(super) fn without_row(id: DeliveryId, handler: &'a str, event: &'a StoredEvent) -> Self {
        Self {
            id: delivery_id(id),
            event: event_id(id.seq),
            handler,
            run: id.run,
            workspace: event.workspace.as_ref().map(|(_, name)| name),
            kind: Some(event.kind),
            r#type: Some(&event.kind_type),
            status: if event.is_settled { "done" } else { "pending" },
            attempts: u32::from(event.is_settled),
            last_error: None,
            next_attempt_at: None,
            holds_until: None,
            replaced_by: None,
            created_at: None,
            updated_at: None,
        }
    }
}
