use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::store::{Cleared, Keep};

#[actix::test]
async fn a_backlog_is_deleted_step_by_step_and_the_rest_waits_for_the_next_look() {
    tokio::time::pause();
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
    let away = Err(StoreError::Unavailable("not now".into()));
    let store = Arc::new(Old::default());
    *store.deletes.lock().unwrap() = vec![Ok(7), away, Ok(3), Ok(1000), Ok(1000)];
    let keep = Keep { events: Some(Duration::from_hours(48)), ..Keep::default() };
    let task = run(Arc::<Old>::clone(&store), keep, clock, Arc::clone(&metrics));
    let task = actix_rt::spawn(task);
    let so_far = async |time| {
        tokio::time::sleep(time).await;
        metrics.expired.get()
    };
    let second = Duration::from_secs(1);
    assert_eq!(so_far(FIRST_LOOK.saturating_sub(second)).await, 0);
    assert_eq!(so_far(second * 2).await, 2003, "one step after the other");
    assert_eq!(so_far(LOOK).await, 2003, "the database is away");
    assert_eq!(so_far(LOOK).await, 2010);
    task.abort();
}

#[actix::test]
async fn payloads_go_before_events_and_a_bound_on_their_bytes_is_looked_at_each_minute() {
    tokio::time::pause();
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
    let store = Arc::new(Old::default());
    let day = Some(Duration::from_hours(24));
    let keep = Keep { events: day, payloads: day, payload_bytes: Some(7) };
    let task = run(Arc::<Old>::clone(&store), keep, clock, Arc::clone(&metrics));
    let task = actix_rt::spawn(task);
    let whole = ["payloads", "bytes", "events", "put aside"];
    tokio::time::sleep(FIRST_LOOK + Duration::from_secs(1)).await;
    assert_eq!(store.take_asked(), whole);
    tokio::time::sleep(SHORT_LOOK).await;
    assert_eq!(store.take_asked(), whole);
    assert_eq!(metrics.erased.get(), 4, "one by age and one by size, each time");
    task.abort();
}

#[actix::test]
async fn what_is_left_of_removed_workspaces_is_done_step_by_step_and_looked_for_each_second() {
    tokio::time::pause();
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
    let store = Arc::new(Old::default());
    *store.left.lock().unwrap() = 5;
    let task = clear_removed(Arc::<Old>::clone(&store), clock, Arc::clone(&metrics));
    let task = actix_rt::spawn(task);
    tokio::time::sleep(REMOVED + PAUSE * 5).await;
    assert_eq!(metrics.erased.get(), 5, "one step after the other");
    *store.left.lock().unwrap() = 1;
    tokio::time::sleep(REMOVED * 2).await;
    assert_eq!(metrics.erased.get(), 6);
    task.abort();
}

#[derive(Default)]
struct Old {
    /// What each try deletes, the first last.
    deletes: Mutex<Vec<Result<u64, StoreError>>>,
    /// Payloads of removed workspaces.
    left: Mutex<u64>,
    asked: Mutex<Vec<&'static str>>,
}

impl Old {
    fn asked(&self, what: &'static str) {
        self.asked.lock().unwrap().push(what);
    }

    /// What it was asked for since this was last called.
    fn take_asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Retention for Old {
    async fn delete_events(&self, _: i64, limit: u32) -> Result<Step, StoreError> {
        self.asked("events");
        let gone = self.deletes.lock().unwrap().pop().unwrap_or(Ok(0))?;
        Ok(Step { gone, is_all: gone < u64::from(limit) })
    }

    async fn delete_payloads(&self, _: i64, _: u32) -> Result<Step, StoreError> {
        self.asked("payloads");
        Ok(Step { gone: 1, is_all: true })
    }

    async fn delete_payloads_over(&self, _: u64, _: u32) -> Result<Step, StoreError> {
        self.asked("bytes");
        Ok(Step { gone: 1, is_all: true })
    }

    async fn delete_quarantine(&self, _: i64, _: u32) -> Result<Step, StoreError> {
        self.asked("put aside");
        Ok(Step { gone: 0, is_all: true })
    }

    async fn clear_removed(&self, _: u32, _: i64) -> Result<Cleared, StoreError> {
        let mut left = self.left.lock().unwrap();
        let erased = 1.min(*left);
        *left -= erased;
        Ok(Cleared { cancelled: 0, erased, is_all: *left == 0 })
    }
}
