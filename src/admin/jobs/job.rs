//! One job: how far it is, and how it ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Serialize;

use super::super::Node;
use super::super::problem::Problem;
use super::{PLACE, lock};
use crate::moment::rfc3339;

/// Failures told of one job; all are counted.
const TOLD: usize = 20;

/// One job and how far it is.
#[derive(Debug)]
pub(in crate::admin) struct Job {
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
pub(in crate::admin) struct JobOut {
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

impl Job {
    /// One of so many steps that begins now.
    pub(super) fn new(id: String, kind: &'static str, total: usize, now_ms: i64) -> Self {
        Self {
            id,
            kind,
            total: AtomicU64::new(u64::try_from(total).unwrap_or(u64::MAX)),
            created_ms: now_ms,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            failures: Mutex::default(),
            end: Mutex::default(),
        }
    }

    /// What it is called.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Has it no end yet?
    pub(super) fn is_running(&self) -> bool {
        lock(&self.end).is_none()
    }

    /// Begins nothing more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// One step is behind it.
    pub(in crate::admin) fn step(&self, workspace: &str, outcome: Result<(), Problem>) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Err(problem) = outcome {
            self.fail(Some(workspace), &problem);
        }
    }

    /// Something of it failed: with a workspace, or all that was left of it.
    pub(in crate::admin) fn fail(&self, workspace: Option<&str>, problem: &Problem) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = lock(&self.failures);
        if failures.len() < TOLD {
            let (code, message) = (problem.code().as_str(), problem.to_string());
            failures.push(Failure { workspace: workspace.map(str::to_owned), code, message });
        }
    }

    /// So many steps more were found to be done.
    pub(in crate::admin) fn expect(&self, more: u64) {
        self.total.fetch_add(more, Ordering::Relaxed);
    }

    /// So many steps more are behind it.
    pub(in crate::admin) fn advance(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }

    /// Is no further step wanted?
    pub(in crate::admin) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Runs its work; whatever becomes of it, the job has an end.
    pub(super) async fn run(self: Arc<Self>, node: Arc<dyn Node>, work: impl Future<Output = ()>) {
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
    pub(in crate::admin) fn show(&self) -> JobOut {
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
    pub(super) fn accepted(&self) -> HttpResponse {
        let place = format!("{PLACE}{}", self.id);
        HttpResponse::Accepted().insert_header((header::LOCATION, place)).json(self.show())
    }
}
