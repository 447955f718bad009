//! `POST /workspaces/actions`: one verb for all that a filter means, as a job; how many that is can be asked first.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::body::{Fields, JSON, object};
use super::super::jobs::{Job, Jobs};
use super::super::problem::{Code, Problem};
use super::super::query::{self, Taken, presentable};
use super::filter::{self, Filter};
use super::verbs::Verb;
use super::view::seen;
use crate::ids::WorkspaceName;
use crate::store::{Order, StoreError};

/// Read at once.
const STEP: u32 = 500;
/// Between two workspaces: a fleet told to connect must not ask Slack for all its sockets in one second.
const PACE: Duration = Duration::from_millis(5);
/// Shown of a dry run.
const SAMPLE: usize = 10;

pub(super) async fn act(
    request: HttpRequest,
    payload: Payload,
    node: Access,
    jobs: Data<Jobs>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let map = object(&request, payload, JSON).await?;
    let asked = Asked::parse(Fields::new(map))?;
    let names = meant(&node, &asked.filter).await?;
    if asked.dry_run {
        let sample: Vec<_> = names.iter().take(SAMPLE).map(WorkspaceName::as_str).collect();
        let told = json!({
            "dry_run": true, "action": asked.verb.as_str(), "matched": names.len(), "sample": sample,
        });
        return Ok(HttpResponse::Ok().json(told));
    }
    let kind = match asked.verb {
        Verb::Connect => "workspaces.connect",
        Verb::Disconnect => "workspaces.disconnect",
        Verb::Reconnect => "workspaces.reconnect",
        Verb::Pause => "workspaces.pause",
        Verb::Resume => "workspaces.resume",
    };
    let job = jobs.begin(kind, names.len(), node.now_ms())?;
    Ok(job.start(node.node(), |job| work(job, node.clone(), asked.verb, names)))
}

async fn work(job: Arc<Job>, node: Access, verb: Verb, names: Vec<WorkspaceName>) {
    for name in names {
        if job.is_cancelled() {
            return;
        }
        // The connection's word is not waited for.
        let outcome = verb.act(&node, &name).await.map(drop);
        job.step(name.as_str(), outcome);
        actix_rt::time::sleep(PACE).await;
    }
}

/// All that the filter means now.
async fn meant(node: &Access, filter: &Filter) -> Result<Vec<WorkspaceName>, StoreError> {
    let (store, order) = (node.store(), Order::default());
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let rows = store.workspaces(order, after.as_ref(), STEP).await?;
        let Some(last) = rows.last() else { return Ok(names) };
        after = Some(order.place(last));
        let meant = rows
            .into_iter()
            .filter(|row| filter.admits(row, &seen(row, node.status(row.app), node.now_ms())));
        names.extend(meant.map(|row| row.name));
    }
}

struct Asked {
    verb: Verb,
    filter: Filter,
    dry_run: bool,
}

impl Asked {
    fn parse(mut fields: Fields) -> Result<Self, Problem> {
        let verb = fields.take("action", verb);
        let dry_run = fields.take("dry_run", flag).unwrap_or_default();
        let conditions = fields.take("filter", conditions);
        let mut filter = Filter::default();
        for (key, value) in conditions.iter().flatten() {
            match filter.take(key, value) {
                Taken::OneOfMany | Taken::TheOne => {}
                Taken::Wrong(message) => fields.wrong(&format!("filter.{}", presentable(key)), message),
                Taken::Unknown => {
                    let message = format!("unknown; known here: {}", filter::KNOWN);
                    fields.wrong(&format!("filter.{}", presentable(key)), message);
                }
            }
        }
        if verb.is_none() && !fields.has_errors() {
            fields.wrong("action", format!("one of {}", Verb::names()));
        }
        if conditions.is_none() && !fields.has_errors() {
            fields.wrong("filter", "say whom: {} means every workspace".to_owned());
        }
        fields.done("action, filter, dry_run")?;
        let verb = verb.ok_or_else(|| Problem::new(Code::Internal, "an action was lost"))?;
        Ok(Self { verb, filter, dry_run })
    }
}

fn verb(value: &Value) -> Result<Verb, String> {
    let found = Verb::ALL.iter().copied().find(|verb| value.as_str() == Some(verb.as_str()));
    found.ok_or_else(|| format!("one of {}", Verb::names()))
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// Each a string, or an array of them.
fn conditions(value: &Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "must be an object whose values are strings or arrays of one string or more".to_owned();
    let mut found = Vec::new();
    for (key, value) in value.as_object().ok_or_else(wrong)? {
        let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        if values.is_empty() {
            return Err(wrong());
        }
        for value in values {
            found.push((key.clone(), value.as_str().ok_or_else(wrong)?.to_owned()));
        }
    }
    Ok(found)
}
