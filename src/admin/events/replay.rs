//! `POST /events/{id}/replay` and `/events/replay`: handed over once more, one event or all that a filter means.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::body::{Fields, JSON, object};
use super::super::bulk::{self, Task, conditions, flag, take_filter};
use super::super::jobs::Jobs;
use super::super::problem::{Code, Problem};
use super::super::query;
use super::filter::{self, Filter};
use super::{event_id, made, parse_id, unknown};
use crate::store::{Action, ReplayTo};

/// Handlers that can be named at once.
const MOST_HANDLERS: usize = 64;

pub(super) async fn one(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    access: Access,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let mut fields = Fields::new(object(&request, payload, JSON).await?);
    let to = replay_to(&mut fields);
    fields.done("handlers")?;
    let seq = parse_id(&id)?;
    must_know(&access, &to).await?;
    let replayed = access.archive().replay_event(seq, &to, access.caller(), access.now_ms()).await?;
    let replayed = replayed.ok_or_else(unknown)?;
    let made: Vec<_> = replayed.made.iter().map(|(id, handler)| made(*id, handler)).collect();
    Ok(HttpResponse::Ok().json(json!({
        "id": event_id(seq), "deliveries": made, "under_way": replayed.under_way,
    })))
}

pub(super) async fn many(
    request: HttpRequest,
    payload: Payload,
    access: Access,
    jobs: Data<Jobs>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let mut fields = Fields::new(object(&request, payload, JSON).await?);
    let to = replay_to(&mut fields);
    let dry_run = fields.take("dry_run", flag).unwrap_or_default();
    let given = fields.take("filter", conditions);
    let mut filter = Filter::default();
    take_filter(&mut fields, given.as_deref(), filter::KNOWN, |key, value| filter.take(key, value));
    fields.done("filter, handlers, dry_run")?;
    must_know(&access, &to).await?;
    let task = Task::Replay(to, filter.meant().clone());
    if dry_run {
        return bulk::count(&access, &task, "replay").await;
    }
    let told = json!(given.unwrap_or_default());
    bulk::begin(&access, Arc::clone(&jobs), task, ("events.replay", Action::EventReplay), told).await
}

/// Absent: to all with whom it ended undone.
fn replay_to(fields: &mut Fields) -> ReplayTo {
    fields.take("handlers", names).map_or(ReplayTo::Undone, ReplayTo::Named)
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("must be an array of 1 to {MOST_HANDLERS} names of handlers");
    let list = value.as_array().filter(|list| (1..=MOST_HANDLERS).contains(&list.len())).ok_or_else(wrong)?;
    list.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

async fn must_know(access: &Access, to: &ReplayTo) -> Result<(), Problem> {
    let ReplayTo::Named(names) = to else { return Ok(()) };
    let known = access.archive().known_handlers().await?;
    if names.iter().all(|name| known.iter().any(|handler| handler.name == *name)) {
        return Ok(());
    }
    let known: Vec<_> = known.into_iter().map(|handler| handler.name).collect();
    let message = format!("a name that no handler has; there are {}", known.join(", "));
    Err(Problem::field(Code::InvalidFields, "handlers", message))
}
