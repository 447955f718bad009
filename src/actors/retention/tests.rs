use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::event::Event;
use crate::ids::{Seq, WriterId};
use crate::store::{StoreError, Taken, Writer};

#[actix::test]
async fn a_backlog_is_deleted_step_by_step_and_the_rest_waits_for_the_next_look() {
    tokio::time::pause();
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
    let away = Err(StoreError::Unavailable("not now".into()));
    let store = Arc::new(Old(Mutex::new(vec![Ok(7), away, Ok(3), Ok(1000), Ok(1000)])));
    let keep = Duration::from_hours(48);
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

/// What each try deletes, the first last.
struct Old(Mutex<Vec<Result<u64, StoreError>>>);

fn unasked<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not asked here".into()))
}

#[async_trait]
impl Inbox for Old {
    async fn delete_events(&self, _: i64, _: u32) -> Result<u64, StoreError> {
        self.0.lock().unwrap().pop().unwrap_or(Ok(0))
    }

    async fn begin_writer(&self, _: &str, _: i64) -> Result<Writer, StoreError> {
        unasked()
    }
    async fn append(&self, _: WriterId, _: &[Arc<Event>], _: Seq) -> Result<Vec<Taken>, StoreError> {
        unasked()
    }
    async fn settle(&self, _: WriterId, _: Seq) -> Result<(), StoreError> {
        unasked()
    }
    async fn end_writer(&self, _: WriterId, _: Seq, _: i64) -> Result<(), StoreError> {
        unasked()
    }
    async fn read_events(&self, _: Seq, _: u32, _: usize) -> Result<Vec<Event>, StoreError> {
        unasked()
    }
    async fn quarantine(&self, _: &Event, _: &str, _: i64) -> Result<(), StoreError> {
        unasked()
    }
    async fn forget_seen(&self, _: i64, _: u32) -> Result<u64, StoreError> {
        unasked()
    }
    async fn keep_house(&self, _: i64) -> Result<(), StoreError> {
        unasked()
    }
}
