//! Jobs over the journal: all that a filter means, counted first and then done a step at a time, from the newest down. What comes in
//! meanwhile is not meant: the count ends where the doing begins.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::access::Access;
use super::jobs::{Job, Jobs};
use super::problem::Problem;
use crate::ids::Seq;
use crate::machine::seq;
use crate::store::{
    Action, Archive, Changes, Deed, DeliveryFilter, EventFilter, Remedy, ReplayTo, Stepped, StoreError,
};

/// Between two steps, so that other writes come in between.
const PACE: Duration = Duration::from_millis(5);
/// A step that the database does not take now is tried so often,
const TRIES: u32 = 20;
/// this far apart.
const WAIT: Duration = Duration::from_millis(500);
/// Steps that a dry run counts at most.
const COUNTED_STEPS: usize = 200;

/// What is done to all that a filter means.
#[derive(Debug)]
pub(super) enum Task {
    Remedy(Remedy, DeliveryFilter),
    Replay(ReplayTo, EventFilter),
}

impl Task {
    async fn count(&self, archive: &dyn Archive, before: Seq, now_ms: i64) -> Result<Stepped, StoreError> {
        match self {
            Self::Remedy(remedy, filter) => {
                archive.count_remedies(*remedy, filter, Some(before), now_ms).await
            }
            Self::Replay(to, filter) => archive.count_replays(to, filter, Some(before), now_ms).await,
        }
    }

    async fn step(&self, archive: &dyn Archive, before: Seq, now_ms: i64) -> Result<Stepped, StoreError> {
        match self {
            Self::Remedy(remedy, filter) => archive.remedy_some(*remedy, filter, Some(before), now_ms).await,
            Self::Replay(to, filter) => archive.replay_some(to, filter, Some(before), now_ms).await,
        }
    }
}

/// How many are meant now; `complete` is false where counting ended before the end.
pub(super) async fn count(access: &Access, task: &Task, action: &str) -> Result<HttpResponse, Problem> {
    let archive = access.archive();
    let (mut matched, mut next) = (0, Some(Seq(i64::MAX)));
    for _ in 0..COUNTED_STEPS {
        let Some(before) = next else { break };
        let step = task.count(&*archive, before, access.now_ms()).await?;
        (matched, next) = (matched + step.matched, step.next);
    }
    let told = json!({ "dry_run": true, "action": action, "matched": matched, "complete": next.is_none() });
    Ok(HttpResponse::Ok().json(told))
}

/// Begins it as a job, which is written down with its filter.
pub(super) async fn begin(
    access: &Access,
    jobs: &Jobs,
    task: Task,
    (kind, action): (&'static str, Action),
    filter: &[(String, String)],
) -> Result<HttpResponse, Problem> {
    let now_ms = access.now_ms();
    let job = jobs.begin(kind, 0, now_ms)?;
    let mut changes = Changes::default();
    changes.field("filter", &Value::Null, &json!(filter));
    if let Task::Replay(ReplayTo::Named(names), _) = &task {
        changes.field("handlers", &Value::Null, &json!(names));
    }
    let deed = Deed { action, workspace: None, target: Some(job.id().to_owned()), changes };
    access.accounts().write_audit(access.caller(), &deed, now_ms).await?;
    let top = seq::first_at(now_ms.saturating_add(1));
    Ok(job.start(access.node(), |job| work(job, access.clone(), task, top)))
}

async fn work(job: Arc<Job>, access: Access, task: Task, top: Seq) {
    let archive = access.archive();
    let mut next = Some(top);
    while let Some(before) = next {
        let counted = patiently(&job, async || task.count(&*archive, before, access.now_ms()).await).await;
        let Some(step) = counted else { return };
        job.expect(step.matched);
        next = step.next;
    }
    next = Some(top);
    while let Some(before) = next {
        let done = patiently(&job, async || task.step(&*archive, before, access.now_ms()).await).await;
        let Some(step) = done else { return };
        job.advance(step.matched);
        next = step.next;
        actix_rt::time::sleep(PACE).await;
    }
}

/// The outcome of a step; none where the job ends here.
async fn patiently(job: &Job, step: impl AsyncFn() -> Result<Stepped, StoreError>) -> Option<Stepped> {
    let mut tries = 0;
    loop {
        if job.is_cancelled() {
            return None;
        }
        match step().await {
            Ok(step) => return Some(step),
            Err(StoreError::Unavailable(_)) if tries < TRIES => tries += 1,
            Err(error) => {
                job.fail(None, &error.into());
                return None;
            }
        }
        actix_rt::time::sleep(WAIT).await;
    }
}
