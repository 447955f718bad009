//! `/api/v1/events`: what the journal has, and what became of it. Payloads are in no answer.

pub(super) mod filter;
mod replay;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;

use actix_web::web::{Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use self::filter::Filter;
use self::view::{EventOut, WholeEventOut};
use super::access::Access;
use super::deliveries::DeliveryOut;
use super::paging::{Paging, cursor, page};
use super::paths::{post_resource, read_resource};
use super::problem::{Code, Problem};
use super::query::{self, digits};
use crate::ids::Seq;
use crate::store::{DeliveryId, KnownHandler, StoredDelivery, StoredEvent};

const PREFIX: &str = "evt_";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(post_resource("/events/replay", replay::many))
        .service(post_resource("/events/{id}/replay", replay::one))
        .service(read_resource("/events", list))
        .service(read_resource("/events/{id}", read));
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let mut filter = Filter::default();
    let paging = Paging::read(&request, filter::KNOWN, |key, value| filter.take(key, value))?;
    let list = ("events", filter.meant());
    let before = paging.place(&list, digits)?.map(Seq);
    let archive = access.archive();
    let found = archive.events(filter.meant(), access.scope(), before, paging.limit).await?;
    let seqs: Vec<_> = found.found.iter().map(|event| event.seq).collect();
    let mut rows: HashMap<Seq, Vec<StoredDelivery>> = HashMap::new();
    for row in archive.deliveries_of(&seqs).await? {
        rows.entry(row.row.id.seq).or_default().push(row);
    }
    let rows_of = |seq| rows.get(&seq).map_or(&[][..], Vec::as_slice);
    let data: Vec<_> = found.found.iter().map(|event| EventOut::new(event, rows_of(event.seq))).collect();
    Ok(page(&data, found.next.map(|next| cursor(&list, next))))
}

async fn read(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let seq = parse_id(&id)?;
    let archive = access.archive();
    let event = archive.event(seq, access.scope()).await?.ok_or_else(unknown)?;
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
