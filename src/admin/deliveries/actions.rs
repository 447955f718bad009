//! `POST /deliveries/actions`: all that a filter means is tried at once, or given up, as a job; how many that is can be asked first.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::super::access::Access;
use super::super::body::{Fields, JSON, Many, object};
use super::super::bulk::{self, Task};
use super::super::jobs::Jobs;
use super::super::problem::{Code, Problem};
use super::super::query;
use super::filter::{self, Filter};
use crate::store::{Action, Remedy};

pub(super) async fn act(
    request: HttpRequest,
    payload: Payload,
    access: Access,
    jobs: Data<Jobs>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let mut fields = Fields::new(object(&request, payload, JSON).await?);
    let remedy = fields.need("action", remedy);
    let mut filter = Filter::default();
    let many = Many::read(&mut fields, filter::KNOWN, |key, value| filter.take(key, value));
    fields.done("action, filter, dry_run")?;
    let remedy = remedy.ok_or_else(|| Problem::new(Code::Internal, "an action was lost"))?;
    let mut meant = filter.meant().clone();
    // What nobody takes would be kept, and tried, for ever.
    meant.among = (remedy == Remedy::Retry).then(|| access.handler_names().to_vec());
    let task = Task::Remedy(remedy, meant);
    if many.dry_run {
        return bulk::count(&access, &task, remedy.as_str()).await;
    }
    let kind = match remedy {
        Remedy::Retry => ("deliveries.retry", Action::DeliveryRetry),
        Remedy::Discard => ("deliveries.discard", Action::DeliveryDiscard),
    };
    bulk::begin(&access, &jobs, task, kind, &many.filter).await
}

fn remedy(value: &Value) -> Result<Remedy, String> {
    let found = Remedy::ALL.into_iter().find(|remedy| value.as_str() == Some(remedy.as_str()));
    found.ok_or_else(|| format!("one of {}", Remedy::ALL.map(Remedy::as_str).join(", ")))
}
