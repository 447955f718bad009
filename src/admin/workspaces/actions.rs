//! `POST /workspaces/actions`: one verb for all that a filter means, as a job; how many that is can be asked first.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::access::Access;
use super::super::body::{Fields, JSON, Many, object};
use super::super::jobs::{Job, Jobs};
use super::super::problem::{Code, Problem};
use super::super::query;
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
    let mut fields = Fields::new(object(&request, payload, JSON).await?);
    let verb = fields.need("action", verb);
    let mut filter = Filter::default();
    let many = Many::read(&mut fields, filter::KNOWN, |key, value| filter.take(key, value));
    fields.done("action, filter, dry_run")?;
    let verb = verb.ok_or_else(|| Problem::new(Code::Internal, "an action was lost"))?;
    let names = meant(&node, &filter).await?;
    if many.dry_run {
        let sample: Vec<_> = names.iter().take(SAMPLE).map(WorkspaceName::as_str).collect();
        let told = json!({
            "dry_run": true, "action": verb.as_str(), "matched": names.len(), "sample": sample,
        });
        return Ok(HttpResponse::Ok().json(told));
    }
    let kind = match verb {
        Verb::Connect => "workspaces.connect",
        Verb::Disconnect => "workspaces.disconnect",
        Verb::Reconnect => "workspaces.reconnect",
        Verb::Pause => "workspaces.pause",
        Verb::Resume => "workspaces.resume",
    };
    let job = jobs.begin(kind, names.len(), node.now_ms())?;
    Ok(job.start(node.node(), |job| work(job, node.clone(), verb, names)))
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

fn verb(value: &Value) -> Result<Verb, String> {
    let found = Verb::ALL.iter().copied().find(|verb| value.as_str() == Some(verb.as_str()));
    found.ok_or_else(|| format!("one of {}", Verb::names()))
}
