//! `/api/v1/jobs`: work that goes on after its answer. Kept in memory: a job ends with its process, and what it did is in the store.

mod job;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

pub(super) use self::job::Job;
use super::Node;
use super::access::Access;
use super::paging::page;
use super::paths::{post_resource, read_resource};
use super::problem::{Code, Problem};
use super::query;
use crate::store::{Action, Changes, Deed};

/// Jobs at the same time.
const RUNNING: usize = 4;
/// Ended jobs that can still be asked for.
const KEPT: usize = 64;
/// Where one is asked for, before its id.
const PLACE: &str = "/api/v1/jobs/";
/// What to think of a job that is not this process'.
const ELSEWHERE: &str = "ask the node that began it, or, where that has stopped since, take it that it ended where it was; what it did is in \
                         the store";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(read_resource("/jobs", list))
        .service(read_resource("/jobs/{id}", read))
        .service(post_resource("/jobs/{id}/cancel", cancel));
}

/// The jobs of one process, newest first.
#[derive(Debug)]
pub(super) struct Jobs {
    /// How the ids of all of them begin, and those of no other process.
    mark: String,
    jobs: Mutex<VecDeque<Arc<Job>>>,
}

/// A job that is not started yet: one whose request ends before it is never was.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    jobs: &'a Jobs,
    job: Arc<Job>,
    is_started: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { mark: format!("job_{:08x}", rand::random::<u32>()), jobs: Mutex::default() }
    }
}

impl Jobs {
    /// A new job of so many steps; a problem where enough of them run.
    pub(super) fn begin(&self, kind: &'static str, total: usize, now_ms: i64) -> Result<Begun<'_>, Problem> {
        let mut jobs = lock(&self.jobs);
        if jobs.iter().filter(|job| job.is_running()).count() >= RUNNING {
            let detail = format!("{RUNNING} jobs run already; wait for one, or cancel it");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let id = format!("{}{:08x}", self.mark, rand::random::<u32>());
        let job = Arc::new(Job::new(id, kind, total, now_ms));
        jobs.push_front(Arc::clone(&job));
        let mut ended = 0;
        jobs.retain(|job| {
            ended += usize::from(!job.is_running());
            job.is_running() || ended <= KEPT
        });
        Ok(Begun { jobs: self, job, is_started: false })
    }

    /// It was not begun after all.
    fn forget(&self, job: &Arc<Job>) {
        lock(&self.jobs).retain(|known| !Arc::ptr_eq(known, job));
    }

    /// A job as an answer told where to ask for it: may whoever gets that answer again ask for it here? A problem where it is not this
    /// process', so that nobody waits for what nobody does.
    pub(super) fn must_have_begun(&self, place: &str) -> Result<(), Problem> {
        let Some(id) = place.strip_prefix(PLACE).filter(|id| !id.starts_with(&self.mark)) else {
            return Ok(());
        };
        let detail = format!(
            "this request began {id}, which is not of this process: {ELSEWHERE}. Nothing is begun now; to begin it again send another \
             Idempotency-Key"
        );
        Err(Problem::new(Code::JobNotHere, detail))
    }

    fn find(&self, id: &str) -> Result<Arc<Job>, Problem> {
        let found = lock(&self.jobs).iter().find(|job| job.id() == id).cloned();
        found.ok_or_else(|| {
            let detail = if id.starts_with(&self.mark) {
                format!(
                    "this job has ended and is forgotten; the last {KEPT} that have ended can be asked for"
                )
            } else {
                format!("this process has begun no such job: {ELSEWHERE}")
            };
            Problem::new(Code::NotFound, detail)
        })
    }
}

impl Begun<'_> {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        self.job.id()
    }

    /// Its work goes on beside what follows; the answer says where to ask.
    pub(super) fn start<W>(mut self, node: Arc<dyn Node>, work: impl FnOnce(Arc<Job>) -> W) -> HttpResponse
    where
        W: Future<Output = ()> + 'static,
    {
        self.is_started = true;
        let job = Arc::clone(&self.job);
        // It tells its end itself.
        drop(actix_rt::spawn(Arc::clone(&job).run(node, work(Arc::clone(&job)))));
        job.accepted()
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_started {
            self.jobs.forget(&self.job);
        }
    }
}

/// Nothing here panics while it holds one, and what it holds is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn list(request: HttpRequest, jobs: Data<Jobs>) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let data: Vec<_> = lock(&jobs.jobs).iter().map(|job| job.show()).collect();
    Ok(page(&data, None))
}

async fn read(id: Path<String>, request: HttpRequest, jobs: Data<Jobs>) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    Ok(HttpResponse::Ok().json(jobs.find(&id)?.show()))
}

/// What is done is done; of the rest nothing is begun. One that has ended stays as it ended.
async fn cancel(
    id: Path<String>,
    request: HttpRequest,
    jobs: Data<Jobs>,
    access: Access,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let job = jobs.find(&id)?;
    if job.is_running() {
        // Before it is written down: a job must also be stopped while the database cannot be asked.
        job.cancel();
        let mut changes = Changes::default();
        changes.field("state", &json!("running"), &json!("cancelling"));
        let deed =
            Deed { action: Action::JobCancel, workspace: None, target: Some(job.id().to_owned()), changes };
        access.accounts().write_audit(access.caller(), &deed, access.now_ms()).await?;
    }
    Ok(HttpResponse::Ok().json(job.show()))
}
