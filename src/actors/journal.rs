//! The durable inbox: one writer a node. A group is what came in while the last one was being committed; nothing waits
//! for a timer. A task and no actor, because the way from the socket to the disk goes through no mailbox.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::budget::Share;
use super::link::{Word, Words};
use super::names::{Names, say};
use crate::clock::Clock;
use crate::event::Event;
use crate::ids::Seq;
use crate::machine::memory::Memory;
use crate::machine::seq::SeqMaker;
use crate::store::{Inbox, REMEMBER, StoreError, Taken, Writer};
use crate::telemetry::Metrics;

/// A group is closed when it holds so many events or bytes. Larger ones gain nothing and make the first one wait.
const GROUP: (usize, usize) = (512, 4 << 20);

/// How often `settled_to` moves when nothing comes in.
const TICK: Duration = Duration::from_secs(1);

/// The pause between tries while the database refuses, doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Keys forgotten at once, and how often in one tick: more a second than a node can take in.
const FORGET: (u32, u32) = (4000, 8);

/// A write that takes longer than this is shown as trouble, also while nothing has been refused yet.
const SLOW: Duration = Duration::from_secs(2);

/// Envelopes read in one turn of a link, and where their verdict goes.
pub(super) struct Batch {
    /// The events, in the order they were read. The journal gives them their seqs.
    pub(super) events: Vec<Event>,
    /// When they were read, monotonic.
    pub(super) read_at: Duration,
    /// Their bytes, of the node's budget; given back when they are on disk, whatever became of their link.
    pub(super) share: Share,
    /// Its number in the link's ledger.
    pub(super) number: u64,
    /// The link.
    pub(super) link: Words,
}

/// A group that is on disk, on its way to the dispatcher.
#[derive(Debug)]
pub(super) struct Committed {
    /// The last fresh event before this group: who knows it has missed nothing.
    pub(super) after: Seq,
    /// The fresh ones.
    pub(super) events: Vec<Arc<Event>>,
}

/// What the journal and the dispatcher tell each other without waiting.
#[derive(Debug)]
pub(super) struct Marks {
    /// The last event on disk. Set before it is handed on.
    pub(super) committed: AtomicI64,
    /// Up to here everything is handled.
    pub(super) settled: AtomicI64,
    /// Did the database refuse the last write?
    stuck: AtomicBool,
    /// Is the next event for the dispatcher sealed with a key that this node does not have?
    pub(super) lacks_key: AtomicBool,
    /// When the write under way began, monotonic milliseconds; zero when there is none.
    writing_since: AtomicU64,
    clock: Clock,
}

impl Marks {
    /// The marks of a writer that starts.
    pub(super) fn new(writer: &Writer, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            committed: AtomicI64::new(writer.last.0),
            settled: AtomicI64::new(writer.settled_to.0),
            stuck: AtomicBool::new(false),
            lacks_key: AtomicBool::new(false),
            writing_since: AtomicU64::new(0),
            clock,
        })
    }

    /// Does the database refuse writes at the moment, or take long over one?
    pub(super) fn is_stuck(&self) -> bool {
        let since = Duration::from_millis(self.writing_since.load(Ordering::Relaxed));
        let is_slow = !since.is_zero() && self.clock.now().mono.saturating_sub(since) > SLOW;
        is_slow || self.stuck.load(Ordering::Relaxed)
    }

    fn writing(&self, begun: Option<Duration>) {
        let since = begun.map_or(0, |begun| u64::try_from(begun.as_millis()).unwrap_or(u64::MAX).max(1));
        self.writing_since.store(since, Ordering::Relaxed);
    }
}

/// The end of the journal that links write to.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<Batch>);

impl Queue {
    /// Hands a batch over. Never fills: the budget admits fewer envelopes than it has places.
    pub(super) fn push(&self, batch: Batch) -> bool {
        self.0.try_send(batch).is_ok()
    }
}

/// The writer. [`Journal::run`] until its handle says stop.
pub(super) struct Journal {
    store: Arc<dyn Inbox>,
    clock: Clock,
    writer: Writer,
    seqs: SeqMaker,
    queue: mpsc::Receiver<Batch>,
    marks: Arc<Marks>,
    last_fresh: Seq,
    memory: Memory,
    metrics: Arc<Metrics>,
    names: Arc<Names>,
}

impl Journal {
    /// A journal for a writer, with room for `places` batches.
    pub(super) fn new(
        store: Arc<dyn Inbox>,
        clock: Clock,
        writer: Writer,
        marks: Arc<Marks>,
        places: usize,
        metrics: Arc<Metrics>,
        names: Arc<Names>,
    ) -> (Self, Queue) {
        let (sender, queue) = mpsc::channel(places);
        let seqs = SeqMaker::new(writer.number, writer.last);
        let journal = Self {
            store,
            clock,
            writer,
            seqs,
            queue,
            marks,
            last_fresh: writer.last,
            memory: Memory::new(REMEMBER, clock.now()),
            metrics,
            names,
        };
        (journal, Queue(sender))
    }

    /// Writes until `stop`, then what is still queued, then the writer's end if everything is handled. `deliver` gets what is fresh; what it does not take
    /// is read back from the store.
    pub(super) async fn run(mut self, mut deliver: impl FnMut(Committed), mut stop: oneshot::Receiver<()>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut settled = self.writer.settled_to;
        loop {
            tokio::select! {
                // What is rare comes first: a queue that is never empty must not put it off for ever.
                biased;
                _ = &mut stop, if !self.queue.is_closed() => self.queue.close(),
                _ = tick.tick() => {
                    self.keep_house(&mut settled).await;
                }
                first = self.queue.recv() => {
                    let Some(first) = first else { break };
                    settled = self.settled();
                    let batches = self.with_what_is_there(first);
                    self.write(batches, settled, &mut deliver).await;
                }
            }
        }
        let settled = self.settled();
        // A writer that has ended leaves nothing to its successor, so with events that nobody has handled it does not end.
        let ended = if settled >= self.last_fresh {
            self.store.end_writer(self.writer.id, settled, self.clock.now().wall_ms).await
        } else {
            tracing::info!("events that no handler was done with are handled at the next start");
            self.store.settle(self.writer.id, settled).await
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the journal could not note its end; the next start handles its last events again");
        }
    }

    fn settled(&self) -> Seq {
        Seq(self.marks.settled.load(Ordering::Acquire))
    }

    /// Notes what is done and lets the database have its due. A database that is away is known by this also while nothing comes in.
    async fn keep_house(&mut self, noted: &mut Seq) {
        let settled = self.settled();
        let now = self.clock.now().wall_ms;
        let kept = async {
            if settled > *noted {
                self.store.settle(self.writer.id, settled).await?;
                *noted = settled;
            }
            self.store.keep_house(now).await
        };
        self.marks.writing(Some(self.clock.now().mono));
        let kept = kept.await;
        self.marks.writing(None);
        let was_stuck = self.marks.stuck.swap(kept.is_err(), Ordering::Relaxed);
        match kept {
            Ok(()) if was_stuck => tracing::info!("the database answers again"),
            Ok(()) => {}
            Err(error) if was_stuck => return tracing::debug!(%error, "the database is still away"),
            Err(error) => {
                return tracing::error!(%error, "the journal could not note what is done; nothing is acked until it can");
            }
        }
        self.forget().await;
    }

    async fn forget(&mut self) {
        let before = self.memory.reaches_back_to(self.clock.now());
        for _ in 0..FORGET.1 {
            match self.store.forget_seen(before, FORGET.0).await {
                Ok(forgotten) if forgotten >= u64::from(FORGET.0) => {}
                Ok(_) => return,
                Err(error) => return tracing::debug!(%error, "old keys stay until the database answers"),
            }
        }
    }

    /// The batches of one group: the first, and what came in behind it.
    fn with_what_is_there(&mut self, first: Batch) -> Vec<Batch> {
        let (mut events, mut bytes) = (first.events.len(), first.share.bytes());
        let mut batches = vec![first];
        while events < GROUP.0
            && bytes < GROUP.1
            && let Ok(batch) = self.queue.try_recv()
        {
            events += batch.events.len();
            bytes += batch.share.bytes();
            batches.push(batch);
        }
        batches
    }

    /// Commits a group and tells every link.
    async fn write(&mut self, batches: Vec<Batch>, settled: Seq, deliver: &mut impl FnMut(Committed)) {
        let now = self.clock.now().wall_ms;
        let mut group = Vec::new();
        let mut waiting = Vec::new();
        for batch in batches {
            waiting.push((batch.link, batch.number, (batch.events.len(), batch.read_at), batch.share));
            for mut event in batch.events {
                event.seq = self.seqs.next(now);
                group.push(Arc::new(event));
            }
        }
        let taken = self.commit(&group, settled).await;
        let mut verdicts = taken.iter();
        let stored_at = self.clock.mono();
        for (link, number, (length, read_at), share) in waiting {
            drop(share);
            let verdicts: Vec<_> = verdicts.by_ref().take(length).flatten().collect();
            let duplicates = verdicts.iter().filter(|taken| ***taken == Taken::Duplicate).count();
            self.metrics.duplicates.inc_by(duplicates as u64);
            let fresh = verdicts.len().saturating_sub(duplicates);
            self.metrics.receive_to_stored_seconds.took_each(stored_at.saturating_sub(read_at), fresh);
            let word = Word::Verdict { batch: number, duplicates };
            if link.unbounded_send(word).is_err() {
                tracing::debug!(
                    "a link ended before its verdict; Slack sends the events again and they are recognised"
                );
            }
        }
        let is_fresh = |(event, taken): (Arc<Event>, &_)| (*taken == Some(Taken::Fresh)).then_some(event);
        let events: Vec<_> = group.into_iter().zip(&taken).filter_map(is_fresh).collect();
        self.metrics.stored.inc_by(events.len() as u64);
        if let Some(last) = events.last().map(|event| event.seq) {
            let after = std::mem::replace(&mut self.last_fresh, last);
            self.marks.committed.store(last.0, Ordering::Release);
            deliver(Committed { after, events });
        }
    }

    /// What became of each event, once it is certain; none of what was put aside. Halves a group that holds something no database would take, until the single
    /// offender is put aside: one tenant's odd byte never stops another's events.
    async fn commit(&self, group: &[Arc<Event>], settled: Seq) -> Vec<Option<Taken>> {
        let mut taken = Vec::with_capacity(group.len());
        let mut parts = vec![group];
        while let Some(part) = parts.pop() {
            match self.append(part, settled).await {
                Ok(part_taken) => taken.extend(part_taken.into_iter().map(Some)),
                Err(problem) => match part {
                    [] => {}
                    [offender] => {
                        self.put_aside(offender, &problem).await;
                        taken.push(None);
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push(second);
                        parts.push(first);
                    }
                },
            }
        }
        taken
    }

    /// One group, tried until its outcome is known. The same seqs are given again: what a try of unknown outcome has stored is
    /// recognised as its own. An error is a data error.
    async fn append(&self, part: &[Arc<Event>], settled: Seq) -> Result<Vec<Taken>, String> {
        let started = self.clock.mono();
        let outcome = self
            .until_known("the journal cannot store events; nothing is acked until it can", || {
                self.store.append(self.writer.id, part, settled)
            })
            .await;
        self.metrics.commit_seconds.took(self.clock.mono().saturating_sub(started));
        self.metrics.group_size.counted(part.len());
        outcome
    }

    async fn put_aside(&self, event: &Event, problem: &str) {
        let who = self.names.seat(event.app, event.workspace);
        say!(error, &who, seq = %event.seq, id = %event.slack_id, problem, "an event that no database takes is put aside");
        self.metrics.quarantined.inc();
        let now = self.clock.now().wall_ms;
        let aside = self
            .until_known("the journal cannot put an event aside", || {
                self.store.quarantine(event, problem, now)
            })
            .await;
        if let Err(problem) = aside {
            say!(error, &who, seq = %event.seq, problem, "the event could not even be put aside; it is acked and lost");
        }
    }

    /// Runs a write until it is done or refused for its data. Panics count as refusals of the moment.
    async fn until_known<T, F>(&self, trouble: &str, mut attempt: impl FnMut() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = PAUSE.0;
        loop {
            self.marks.writing(Some(self.clock.now().mono));
            let outcome = AssertUnwindSafe(attempt()).catch_unwind().await;
            self.marks.writing(None);
            let problem = match outcome {
                Ok(Ok(done)) => {
                    if self.marks.stuck.swap(false, Ordering::Relaxed) {
                        tracing::info!("the database takes writes again");
                    }
                    return Ok(done);
                }
                Ok(Err(StoreError::Data(problem))) => return Err(problem),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the store panicked".to_owned(),
            };
            if !self.marks.stuck.swap(true, Ordering::Relaxed) {
                tracing::error!(problem, "{trouble}");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

#[cfg(test)]
mod tests;
