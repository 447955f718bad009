//! `/api/v1/jobs`: work that goes on after its answer. Kept in memory: a job ends with its node, and what it did is in the store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::{Method, header};
use actix_web::web::{Data, Path, ServiceConfig, post, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde::Serialize;
use serde_json::json;

use super::Node;
use super::access::Access;
use super::problem::{Code, Problem, wrong_method};
use super::query;
use crate::moment::rfc3339;
use crate::store::{Action, Changes, Deed};

/// Jobs at the same time.
const RUNNING: usize = 4;
/// Ended jobs that can still be asked for.
const KEPT: usize = 64;
/// Failures told of one job; all are counted.
const TOLD: usize = 20;

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = || route().guard(guard::Any(guard::Get()).or(guard::Head()));
    config
        .service(resource("/jobs").route(get().to(list)).default_service(wrong_method(&[Method::GET])))
        .service(resource("/jobs/{id}").route(get().to(read)).default_service(wrong_method(&[Method::GET])))
        .service(
            resource("/jobs/{id}/cancel")
                .route(post().to(cancel))
                .default_service(wrong_method(&[Method::POST])),
        );
}

/// The jobs of one node, newest first.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<VecDeque<Arc<Job>>>);

/// A job that is not started yet: one whose request ends before it is never was.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    jobs: &'a Jobs,
    job: Arc<Job>,
    is_started: bool,
}

/// One job and how far it is.
#[derive(Debug)]
pub(super) struct Job {
    id: String,
    kind: &'static str,
    total: AtomicU64,
    created_ms: i64,
    done: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicBool,
    failures: Mutex<Vec<Failure>>,
    end: Mutex<Option<(End, i64)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Done,
    Cancelled,
    /// A bug ended it, or the thread it ran on has gone.
    Broken,
}

#[derive(Clone, Debug, Serialize)]
struct Failure {
    workspace: Option<String>,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
pub(super) struct JobOut {
    id: String,
    kind: &'static str,
    state: &'static str,
    total: u64,
    done: u64,
    failed: u64,
    failures: Vec<Failure>,
    created_at: String,
    finished_at: Option<String>,
}

impl Jobs {
    /// A new job of so many steps; a problem where enough of them run.
    pub(super) fn begin(&self, kind: &'static str, total: usize, now_ms: i64) -> Result<Begun<'_>, Problem> {
        let mut jobs = lock(&self.0);
        if jobs.iter().filter(|job| lock(&job.end).is_none()).count() >= RUNNING {
            let detail = format!("{RUNNING} jobs run already; wait for one, or cancel it");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let job = Arc::new(Job {
            id: format!("job_{:016x}", rand::random::<u64>()),
            kind,
            total: AtomicU64::new(u64::try_from(total).unwrap_or(u64::MAX)),
            created_ms: now_ms,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            failures: Mutex::default(),
            end: Mutex::default(),
        });
        jobs.push_front(Arc::clone(&job));
        let mut ended = 0;
        jobs.retain(|job| {
            ended += usize::from(lock(&job.end).is_some());
            lock(&job.end).is_none() || ended <= KEPT
        });
        Ok(Begun { jobs: self, job, is_started: false })
    }

    /// It was not begun after all.
    fn forget(&self, job: &Arc<Job>) {
        lock(&self.0).retain(|known| !Arc::ptr_eq(known, job));
    }

    fn find(&self, id: &str) -> Result<Arc<Job>, Problem> {
        let found = lock(&self.0).iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| {
            Problem::new(Code::NotFound, "there is no such job; ended ones are forgotten in time")
        })
    }
}

impl Begun<'_> {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.job.id
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

impl Job {
    /// One step is behind it.
    pub(super) fn step(&self, workspace: &str, outcome: Result<(), Problem>) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Err(problem) = outcome {
            self.fail(Some(workspace), &problem);
        }
    }

    /// Something of it failed: with a workspace, or all that was left of it.
    pub(super) fn fail(&self, workspace: Option<&str>, problem: &Problem) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = lock(&self.failures);
        if failures.len() < TOLD {
            let (code, message) = (problem.code().as_str(), problem.to_string());
            failures.push(Failure { workspace: workspace.map(str::to_owned), code, message });
        }
    }

    /// So many steps more were found to be done.
    pub(super) fn expect(&self, more: u64) {
        self.total.fetch_add(more, Ordering::Relaxed);
    }

    /// So many steps more are behind it.
    pub(super) fn advance(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }

    /// Is no further step wanted?
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Runs its work; whatever becomes of it, the job has an end.
    async fn run(self: Arc<Self>, node: Arc<dyn Node>, work: impl Future<Output = ()>) {
        struct Ending {
            job: Arc<Job>,
            node: Arc<dyn Node>,
            end: End,
        }
        impl Drop for Ending {
            fn drop(&mut self) {
                *lock(&self.job.end) = Some((self.end, self.node.now_ms()));
            }
        }
        let mut ending = Ending { job: Arc::clone(&self), node, end: End::Broken };
        work.await;
        ending.end = if self.is_cancelled() { End::Cancelled } else { End::Done };
    }

    /// As the API shows it.
    pub(super) fn show(&self) -> JobOut {
        let end = *lock(&self.end);
        JobOut {
            id: self.id.clone(),
            kind: self.kind,
            state: match end {
                None if self.is_cancelled() => "cancelling",
                None => "running",
                Some((End::Done, _)) => "done",
                Some((End::Cancelled, _)) => "cancelled",
                Some((End::Broken, _)) => "broken",
            },
            total: self.total.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            failures: lock(&self.failures).clone(),
            created_at: rfc3339(self.created_ms),
            finished_at: end.map(|(_, at_ms)| rfc3339(at_ms)),
        }
    }

    /// 202, with where to ask.
    fn accepted(&self) -> HttpResponse {
        let place = format!("/api/v1/jobs/{}", self.id);
        HttpResponse::Accepted().insert_header((header::LOCATION, place)).json(self.show())
    }
}

/// Nothing here panics while it holds one, and what it holds is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn list(request: HttpRequest, jobs: Data<Jobs>) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let data: Vec<_> = lock(&jobs.0).iter().map(|job| job.show()).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": null })))
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
    let is_running = lock(&job.end).is_none();
    if is_running {
        // Before it is written down: a job must also be stopped while the database cannot be asked.
        job.cancelled.store(true, Ordering::Relaxed);
        let mut changes = Changes::default();
        changes.field("state", &json!("running"), &json!("cancelling"));
        let deed = Deed { action: Action::JobCancel, workspace: None, target: Some(job.id.clone()), changes };
        access.accounts().write_audit(access.caller(), &deed, access.now_ms()).await?;
    }
    Ok(HttpResponse::Ok().json(job.show()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;

    use super::super::testing::Scene;
    use super::*;

    #[actix_web::test]
    async fn who_ends_a_job_is_written_down() {
        let scene = Scene::of(5).await;
        for nth in 2..40 {
            let spec = json!({ "app_token": format!("xapp-1-A{nth}-1-0123456789abcdef") });
            scene.ask(Method::PUT, &format!("/workspaces/w{nth}"), Some(spec)).await;
        }
        let body = json!({"action": "disconnect", "filter": {}});
        let begun = scene.ask(Method::POST, "/workspaces/actions", Some(body)).await;
        let id = begun.json()["id"].as_str().unwrap().to_owned();
        let cancelled = scene.ask(Method::POST, &format!("/jobs/{id}/cancel"), None).await;
        assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text());
        assert_eq!(scene.ended(&begun).await["state"], "cancelled");
        let again = scene.ask(Method::POST, &format!("/jobs/{id}/cancel"), None).await;
        assert_eq!(again.json()["state"], "cancelled");
        let audit = scene.get("/audit?action=job.cancel").await;
        assert_eq!(audit["data"].as_array().unwrap().len(), 1, "one that has ended is not ended: {audit}");
        assert_eq!(audit["data"][0]["target"], json!(id));
    }

    #[test]
    fn a_job_whose_request_was_broken_off_before_it_was_started_never_was() {
        let jobs = Jobs::default();
        for _ in 0..=RUNNING {
            drop(jobs.begin("events.replay", 0, 1).unwrap());
        }
        assert_eq!(lock(&jobs.0).len(), 0);
    }
}
