//! `/api/v1/deliveries`: what is owed and what was given up, and what is done about it.

mod actions;
mod filter;
#[cfg(test)]
mod tests;
mod view;

use actix_web::web::{Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use self::filter::Filter;
pub(super) use self::view::DeliveryOut;
use super::access::Access;
use super::paging::{Paging, cursor, page};
use super::paths::{post_resource, read_resource};
use super::problem::{Code, Problem};
use super::query::{self, digits};
use crate::ids::{HandlerId, Seq};
use crate::store::{DeliveryId, Remedy};

const PREFIX: &str = "dlv_";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(post_resource("/deliveries/actions", actions::act))
        .service(post_resource("/deliveries/{id}/retry", retry))
        .service(post_resource("/deliveries/{id}/discard", discard))
        .service(read_resource("/deliveries", list))
        .service(read_resource("/deliveries/{id}", read));
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let mut filter = Filter::default();
    let paging = Paging::read(&request, filter::KNOWN, |key, value| filter.take(key, value))?;
    let list = ("deliveries", filter.meant());
    let before = paging.place(&list, parse_place)?;
    let found = access.archive().deliveries(filter.meant(), access.scope(), before, paging.limit).await?;
    let data: Vec<_> = found.found.iter().map(DeliveryOut::new).collect();
    Ok(page(&data, found.next.map(|next| cursor(&list, place(next)))))
}

/// Also one that has no row, as long as its event is kept: it is done, or in hand.
async fn read(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let id = parse_id(&id)?;
    let (archive, scope) = (access.archive(), access.scope());
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
    let (archive, scope) = (access.archive(), access.scope());
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
    format!("{PREFIX}{}", place(id))
}

fn place(id: DeliveryId) -> String {
    format!("{}-{}-{}", id.seq, id.handler, id.run)
}

fn parse_id(id: &str) -> Result<DeliveryId, Problem> {
    id.strip_prefix(PREFIX).and_then(parse_place).ok_or_else(unknown)
}

fn parse_place(text: &str) -> Option<DeliveryId> {
    let mut parts = text.split('-');
    let id = DeliveryId {
        seq: Seq(digits(parts.next()?)?),
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
