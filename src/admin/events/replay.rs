//! `POST /events/{id}/replay` and `/events/replay`: handed over once more, one event or all that a filter means.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::body::{Fields, JSON, Many, object};
use super::super::bulk::{self, Task};
use super::super::deliveries::delivery_id;
use super::super::jobs::Jobs;
use super::super::problem::{Code, Problem};
use super::super::query;
use super::filter::{self, Filter};
use super::{event_id, parse_id, unknown};
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
    let to = replay_to(&access, &mut fields);
    fields.done("handlers")?;
    let seq = parse_id(&id)?;
    // Before a name is told to who does not see it.
    access.archive().event(seq, access.scope()).await?.ok_or_else(unknown)?;
    must_run(&access, &to)?;
    let replayed = access.archive().replay_event(seq, &to, access.caller(), access.now_ms()).await?;
    let replayed = replayed.ok_or_else(unknown)?;
    let made =
        replayed.made.iter().map(|(id, handler)| json!({ "id": delivery_id(*id), "handler": handler }));
    Ok(HttpResponse::Ok().json(json!({
        "id": event_id(seq), "deliveries": made.collect::<Vec<_>>(), "under_way": replayed.under_way,
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
    let to = replay_to(&access, &mut fields);
    let mut filter = Filter::default();
    let many = Many::read(&mut fields, filter::KNOWN, |key, value| filter.take(key, value));
    fields.done("filter, handlers, dry_run")?;
    must_run(&access, &to)?;
    let task = Task::Replay(to, filter.meant().clone());
    if many.dry_run {
        return bulk::count(&access, &task, "replay").await;
    }
    bulk::begin(&access, &jobs, task, ("events.replay", Action::EventReplay), &many.filter).await
}

/// Absent: to all of this node with whom it ended undone.
fn replay_to(access: &Access, fields: &mut Fields) -> ReplayTo {
    let undone = || ReplayTo::Undone(access.handler_names().to_vec());
    fields.take("handlers", names).map_or_else(undone, ReplayTo::Named)
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("must be an array of 1 to {MOST_HANDLERS} names of handlers");
    let list = value.as_array().filter(|list| (1..=MOST_HANDLERS).contains(&list.len())).ok_or_else(wrong)?;
    list.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// What nobody takes would be kept, and tried, for ever.
fn must_run(access: &Access, to: &ReplayTo) -> Result<(), Problem> {
    let (ReplayTo::Named(names), here) = (to, access.handler_names()) else { return Ok(()) };
    if names.iter().all(|name| here.contains(name)) {
        return Ok(());
    }
    let mut message = "a name that no handler of this node has".to_owned();
    // Who sees one label alone is told no other names.
    if access.scope().is_none() {
        message = format!("{message}; it has {}", here.join(", "));
    }
    Err(Problem::field(Code::InvalidFields, "handlers", message))
}
