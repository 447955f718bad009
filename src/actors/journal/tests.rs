use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;

use super::*;
use crate::actors::budget::Budget;
use crate::event::{DedupeKey, Kind};
use crate::ids::{AppId, WriterId};

#[actix::test]
async fn every_event_of_a_batch_is_on_disk_before_its_verdict() {
    let journal = Bench::start(Faults::default());
    let mut link = journal.push(&["a", "b"]);
    assert_eq!(link.verdict().await, (0, 0));
    assert_eq!(journal.stored(), ["a", "b"]);
    journal.stop().await;
}

#[actix::test]
async fn what_was_there_is_acked_and_not_handed_on() {
    let journal = Bench::start(Faults::default());
    assert_eq!(journal.push(&["a"]).verdict().await, (0, 0));
    assert_eq!(journal.push(&["a", "b"]).verdict().await, (0, 1));
    assert_eq!(journal.handed_on(), ["a", "b"]);
    journal.stop().await;
}

#[actix::test]
async fn it_is_counted_how_long_an_event_took_from_its_reading_to_the_disk_and_a_repeat_is_none() {
    let journal = Bench::start(Faults { refusals: 1, ..Faults::default() });
    journal.push(&["a", "b"]).verdict().await;
    journal.push(&["a"]).verdict().await;
    let text = journal.metrics.render();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    };
    let name = "tautline_receive_to_stored_seconds";
    assert!((value(&format!("{name}_count")) - 2.0).abs() < 0.1, "{text}");
    assert!(value(&format!("{name}_sum")) >= 0.1, "both were refused, and tried again after 50 ms: {text}");
    journal.stop().await;
}

#[actix::test]
async fn a_group_of_unknown_outcome_is_run_again_with_the_same_seqs_and_handled() {
    let journal = Bench::start(Faults { lose_answers: 1, ..Faults::default() });
    assert_eq!(journal.push(&["a", "b"]).verdict().await, (0, 0));
    assert_eq!(journal.handed_on(), ["a", "b"]);
    journal.stop().await;
}

#[actix::test]
async fn a_panic_of_the_store_loses_nothing() {
    let journal = Bench::start(Faults { panics: 1, ..Faults::default() });
    assert_eq!(journal.push(&["a"]).verdict().await, (0, 0));
    journal.stop().await;
}

#[actix::test]
async fn one_odd_event_is_put_aside_and_acked_and_stops_no_other() {
    let journal = Bench::start(Faults { poison: Some("odd"), ..Faults::default() });
    assert_eq!(journal.push(&["a", "b", "odd", "c", "d"]).verdict().await, (0, 0));
    assert_eq!(journal.stored(), ["a", "b", "c", "d"]);
    assert_eq!(journal.handed_on(), ["a", "b", "c", "d"]);
    assert_eq!(journal.inbox.aside.lock().unwrap().as_slice(), ["odd"]);
    journal.stop().await;
}

#[actix::test]
async fn while_the_database_refuses_nothing_is_acked_and_the_marks_say_so() {
    let journal = Bench::start(Faults { refusals: 3, ..Faults::default() });
    let mut link = journal.push(&["a"]);
    journal.inbox.asked(2).await;
    assert!(journal.marks.is_stuck());
    assert!(link.words.try_recv().is_err(), "no verdict yet");
    assert_eq!(link.verdict().await, (0, 0));
    assert!(!journal.marks.is_stuck());
    journal.stop().await;
}

#[actix::test]
async fn what_is_done_is_noted_with_the_next_group_and_at_the_end() {
    let journal = Bench::start(Faults::default());
    journal.push(&["a"]).verdict().await;
    let first = journal.marks.committed.load(Ordering::Acquire);
    journal.marks.settled.store(first, Ordering::Release);
    journal.push(&["b"]).verdict().await;
    assert_eq!(journal.inbox.settled.load(Ordering::Acquire), first);
    let last = journal.marks.committed.load(Ordering::Acquire);
    journal.marks.settled.store(last, Ordering::Release);
    let inbox = Arc::clone(&journal.inbox);
    journal.stop().await;
    assert_eq!(inbox.settled.load(Ordering::Acquire), last);
    assert_eq!(inbox.ended.load(Ordering::Acquire), 1);
}

#[actix::test]
async fn what_is_done_is_noted_by_the_tick_when_nothing_comes_in() {
    tokio::time::pause();
    let journal = Bench::start(Faults::default());
    journal.marks.settled.store(7, Ordering::Release);
    tokio::time::advance(TICK * 2).await;
    journal.inbox.noted.notified().await;
    assert_eq!(journal.inbox.settled.load(Ordering::Acquire), 7);
    journal.stop().await;
}

#[actix::test]
async fn a_database_that_goes_away_while_nothing_comes_in_is_seen_by_the_tick_and_so_is_its_return() {
    tokio::time::pause();
    let journal = Bench::start(Faults { away: true, ..Faults::default() });
    for away in [true, false] {
        journal.inbox.faults.lock().unwrap().away = away;
        for _ in 0..2 {
            tokio::time::advance(TICK).await;
            journal.inbox.kept.notified().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(journal.marks.is_stuck(), away);
    }
    journal.stop().await;
}

#[actix::test]
async fn what_is_queued_when_the_end_comes_is_still_written() {
    let journal = Bench::start(Faults::default());
    let mut link = journal.push(&["a"]);
    let inbox = Arc::clone(&journal.inbox);
    journal.stop().await;
    assert_eq!(link.verdict().await, (0, 0));
    assert_eq!(inbox.rows.lock().unwrap().len(), 1);
}

#[actix::test]
async fn a_writer_does_not_end_while_its_events_are_not_handled() {
    let journal = Bench::start(Faults::default());
    journal.push(&["a"]).verdict().await;
    let first = journal.marks.committed.load(Ordering::Acquire);
    journal.push(&["b"]).verdict().await;
    journal.marks.settled.store(first, Ordering::Release);
    let inbox = Arc::clone(&journal.inbox);
    journal.stop().await;
    assert_eq!(inbox.settled.load(Ordering::Acquire), first);
    assert_eq!(inbox.ended.load(Ordering::Acquire), 0, "an ended writer leaves nothing to its successor");
}

#[actix::test]
async fn a_group_tells_which_fresh_event_came_before_it() {
    let journal = Bench::start(Faults::default());
    journal.push(&["a"]).verdict().await;
    journal.push(&["a"]).verdict().await;
    journal.push(&["b"]).verdict().await;
    let handed = Arc::clone(&journal.handed);
    journal.stop().await;
    let handed = handed.lock().unwrap();
    let [first, second] = handed.as_slice() else { panic!("a group without fresh events is not handed on") };
    assert_eq!(second.after, first.events[0].seq);
}

/// A running journal over a store that fails as told.
struct Bench {
    inbox: Arc<Faulty>,
    marks: Arc<Marks>,
    queue: Queue,
    handed: Arc<Mutex<Vec<Committed>>>,
    stop: oneshot::Sender<()>,
    task: actix_rt::task::JoinHandle<()>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

struct LinkEnd {
    words: UnboundedReceiver<Word>,
}

impl LinkEnd {
    async fn verdict(&mut self) -> (u64, usize) {
        match self.words.next().await {
            Some(Word::Verdict { batch, duplicates }) => (batch, duplicates),
            other => panic!("no verdict but {other:?}"),
        }
    }
}

impl Bench {
    fn start(faults: Faults) -> Self {
        let inbox = Arc::new(Faulty::new(faults));
        let writer = Writer { id: WriterId(1), number: 0, last: Seq(5), settled_to: Seq(5) };
        let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new().unwrap()));
        let marks = Marks::new(&writer, clock);
        let store = Arc::clone(&inbox) as Arc<dyn Inbox>;
        let (journal, queue) =
            Journal::new(store, clock, writer, Arc::clone(&marks), 64, Arc::clone(&metrics), Arc::default());
        let handed = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&handed);
        let (stop, stopped) = oneshot::channel();
        let task = actix_rt::spawn(journal.run(move |group| keep.lock().unwrap().push(group), stopped));
        Self { inbox, marks, queue, handed, stop, task, clock, metrics }
    }

    fn push(&self, names: &[&str]) -> LinkEnd {
        let (link, words) = futures_channel::mpsc::unbounded();
        let events = names.iter().map(|name| event(name)).collect();
        let share = Share::of(&Budget::new(0, 0));
        let read_at = self.clock.mono();
        assert!(self.queue.push(Batch { events, read_at, share, number: 0, link }));
        LinkEnd { words }
    }

    fn stored(&self) -> Vec<String> {
        let mut rows: Vec<_> =
            self.inbox.rows.lock().unwrap().iter().map(|(key, seq)| (*seq, name_of(*key))).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, name)| name).collect()
    }

    fn handed_on(&self) -> Vec<String> {
        let handed = self.handed.lock().unwrap();
        handed.iter().flat_map(|group| &group.events).map(|event| event.slack_id.to_string()).collect()
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

/// What the store is to get wrong, so many times each.
#[derive(Default)]
struct Faults {
    /// Writes, and loses the answer.
    lose_answers: usize,
    panics: usize,
    refusals: usize,
    /// Does not answer when it is asked to keep house.
    away: bool,
    /// Refuses every group that holds this event.
    poison: Option<&'static str>,
}

struct Faulty {
    faults: Mutex<Faults>,
    rows: Mutex<HashMap<DedupeKey, Seq>>,
    aside: Mutex<Vec<String>>,
    settled: AtomicI64,
    ended: AtomicUsize,
    asked: tokio::sync::watch::Sender<usize>,
    noted: tokio::sync::Notify,
    kept: tokio::sync::Notify,
}

impl Faulty {
    fn new(faults: Faults) -> Self {
        Self {
            faults: Mutex::new(faults),
            rows: Mutex::default(),
            aside: Mutex::default(),
            settled: AtomicI64::new(0),
            ended: AtomicUsize::new(0),
            asked: tokio::sync::watch::Sender::new(0),
            noted: tokio::sync::Notify::new(),
            kept: tokio::sync::Notify::new(),
        }
    }

    /// Waits until the store was asked so often.
    async fn asked(&self, times: usize) {
        self.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }
}

fn due(count: &mut usize) -> bool {
    let due = *count > 0;
    *count = count.saturating_sub(1);
    due
}

#[async_trait]
impl Inbox for Faulty {
    async fn begin_writer(&self, _: &str, _: i64) -> Result<Writer, StoreError> {
        Err(StoreError::Unavailable("not asked here".into()))
    }

    async fn append(
        &self,
        _: WriterId,
        group: &[Arc<Event>],
        settled: Seq,
    ) -> Result<Vec<Taken>, StoreError> {
        self.asked.send_modify(|asked| *asked += 1);
        let lost = {
            let mut faults = self.faults.lock().unwrap();
            if due(&mut faults.panics) {
                drop(faults);
                panic!("the store is broken");
            }
            if due(&mut faults.refusals) {
                return Err(StoreError::Unavailable("not now".into()));
            }
            if group.iter().any(|event| Some(&*event.slack_id) == faults.poison) {
                return Err(StoreError::Data("odd".into()));
            }
            due(&mut faults.lose_answers)
        };
        let mut rows = self.rows.lock().unwrap();
        let taken = group.iter().map(|event| {
            let found = *rows.entry(event.dedupe).or_insert(event.seq);
            if found == event.seq { Taken::Fresh } else { Taken::Duplicate }
        });
        let taken = taken.collect();
        self.settled.store(settled.0, Ordering::Release);
        if lost { Err(StoreError::Unavailable("the answer is lost".into())) } else { Ok(taken) }
    }

    async fn settle(&self, _: WriterId, settled: Seq) -> Result<(), StoreError> {
        self.settled.store(settled.0, Ordering::Release);
        self.noted.notify_one();
        Ok(())
    }

    async fn end_writer(&self, writer: WriterId, settled: Seq, _: i64) -> Result<(), StoreError> {
        self.ended.fetch_add(1, Ordering::Release);
        self.settle(writer, settled).await
    }

    async fn read_events(&self, _: Seq, _: u32, _: usize) -> Result<Vec<Event>, StoreError> {
        Ok(Vec::new())
    }

    async fn quarantine(&self, event: &Event, _: &str, _: i64) -> Result<(), StoreError> {
        self.aside.lock().unwrap().push(event.slack_id.to_string());
        Ok(())
    }

    async fn forget_seen(&self, _: i64, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn keep_house(&self, _: i64) -> Result<(), StoreError> {
        self.kept.notify_one();
        if self.faults.lock().unwrap().away { Err(StoreError::Unavailable("not now".into())) } else { Ok(()) }
    }
}

fn event(name: &str) -> Event {
    let mut key = [0; 16];
    key[..name.len()].copy_from_slice(name.as_bytes());
    Event {
        seq: Seq(0),
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: name.into(),
        dedupe: DedupeKey(key),
        retry: 0,
        received_ms: 0,
        payload: "{}".into(),
    }
}

fn name_of(key: DedupeKey) -> String {
    String::from_utf8(key.0.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
}
