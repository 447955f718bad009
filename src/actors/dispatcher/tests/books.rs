//! A store in memory whose reads and writes a test lets go by hand, each twice: before it takes effect and before its answer arrives.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::event::Event;
use crate::ids::{HandlerId, Seq, WorkspaceId, WriterId};
use crate::store::{
    Backlog, Deliveries, DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Inbox, KnownHandler, Owed,
    Paused, StoreError, Taken, Wanted, Writer,
};

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    ReadEvents,
    ReadWaiting,
    ReadDue,
    Holders,
    Backlogs,
    Paused,
    Write,
}

impl What {
    pub(super) const ALL: [Self; 7] = [
        Self::ReadEvents,
        Self::ReadWaiting,
        Self::ReadDue,
        Self::Holders,
        Self::Backlogs,
        Self::Paused,
        Self::Write,
    ];
}

/// What is in the store.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) events: BTreeMap<Seq, Event>,
    pub(super) rows: BTreeMap<DeliveryId, DeliveryRow>,
    pub(super) paused: Paused,
    pub(super) settled_to: Seq,
    /// Events whose payloads are gone.
    pub(super) gone: HashSet<Seq>,
}

#[derive(Default)]
struct Gates {
    held: HashSet<What>,
    waiting: VecDeque<Call>,
}

/// A call that waits at a gate.
struct Call {
    what: What,
    /// It has taken effect.
    is_made: bool,
    /// True lets it go, false refuses it.
    gate: oneshot::Sender<bool>,
}

#[derive(Default)]
pub(super) struct Books {
    pages: Mutex<Pages>,
    gates: Mutex<Gates>,
}

impl Books {
    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap()
    }

    fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().unwrap()
    }

    /// From now on such calls wait at their gates.
    pub(super) fn hold(&self, what: What) {
        self.gates().held.insert(what);
    }

    /// From now on they go through, and those that wait too.
    pub(super) fn free(&self, what: What) {
        self.gates().held.remove(&what);
        while self.let_go(what) {}
    }

    /// Lets the first such call that waits go on to the next gate. False when there is none.
    pub(super) fn let_go(&self, what: What) -> bool {
        let at = self.gates().waiting.iter().position(|call| call.what == what);
        at.is_some_and(|at| self.settle(at, true))
    }

    /// The first such call fails. False when there is none.
    pub(super) fn refuse(&self, what: What) -> bool {
        let at = self.gates().waiting.iter().position(|call| call.what == what);
        at.is_some_and(|at| self.settle(at, false))
    }

    /// Lets the call at this place go on, or refuses it.
    pub(super) fn settle(&self, at: usize, goes_on: bool) -> bool {
        let Some(call) = self.gates().waiting.remove(at) else { return false };
        call.gate.send(goes_on).is_ok()
    }

    /// The calls that wait, and which of them have taken effect.
    pub(super) fn waiting(&self) -> Vec<(What, bool)> {
        self.gates().waiting.iter().map(|call| (call.what, call.is_made)).collect()
    }

    /// Nobody waits for the answers any more.
    pub(super) fn forget_calls(&self) {
        self.gates().waiting.clear();
    }

    async fn gate(&self, what: What, is_made: bool) -> Result<(), StoreError> {
        let passed = {
            let mut gates = self.gates();
            if !gates.held.contains(&what) {
                return Ok(());
            }
            let (gate, passed) = oneshot::channel();
            gates.waiting.push_back(Call { what, is_made, gate });
            passed
        };
        match passed.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(StoreError::Unavailable("refused by the test".into())),
        }
    }

    async fn call<T>(&self, what: What, work: impl FnOnce(&mut Pages) -> T) -> Result<T, StoreError> {
        self.gate(what, false).await?;
        let made = work(&mut self.pages());
        self.gate(what, true).await?;
        Ok(made)
    }
}

impl Pages {
    /// As the statements do it: what is owed, then the last word on what was tried, then what is done.
    fn write(&mut self, changes: &[DeliveryChange], now_ms: i64) {
        for change in changes {
            if let DeliveryChange::Owed(row) = change {
                self.rows.entry(row.id).or_insert_with(|| row.clone());
            }
        }
        for change in changes {
            if let DeliveryChange::Tried(row) = change {
                let there = self.rows.entry(row.id).or_insert_with(|| row.clone());
                if is_pending(there.status) {
                    let (order_key, created_ms) = (there.order_key, there.created_ms);
                    *there = DeliveryRow { order_key, created_ms, ..row.clone() };
                }
            }
        }
        for change in changes {
            let DeliveryChange::Done(id) = change else { continue };
            let Some(row) = self.rows.get_mut(id).filter(|row| is_pending(row.status)) else { continue };
            if row.attempts > 0 || row.id.run > 1 || row.last_error.is_some() {
                row.status = DeliveryStatus::Done;
                row.attempts += 1;
                (row.hold_until_ms, row.updated_ms) = (None, now_ms);
            } else {
                self.rows.remove(id);
            }
        }
    }

    fn with_event(&self, row: &DeliveryRow) -> Owed {
        let event = self.events.get(&row.id.seq).filter(|event| !self.gone.contains(&event.seq));
        Owed { row: row.clone(), event: event.cloned() }
    }

    fn waiting(&self) -> impl Iterator<Item = &DeliveryRow> {
        self.rows.values().filter(|row| row.status == DeliveryStatus::Waiting)
    }
}

fn is_pending(status: DeliveryStatus) -> bool {
    matches!(status, DeliveryStatus::Waiting | DeliveryStatus::Retrying)
}

fn most(limit: u32) -> usize {
    usize::try_from(limit).unwrap()
}

#[async_trait]
impl Deliveries for Books {
    async fn declare_handlers(&self, names: &[&str], now_ms: i64) -> Result<Vec<KnownHandler>, StoreError> {
        let known = |(at, name): (i64, &&str)| KnownHandler {
            id: HandlerId(at),
            name: (*name).into(),
            paused_ms: None,
            created_ms: now_ms,
        };
        Ok((1..).zip(names).map(known).collect())
    }

    async fn handlers(&self) -> Result<Vec<KnownHandler>, StoreError> {
        unimplemented!("the dispatcher does not ask")
    }

    async fn pause_handler(&self, _: &str, _: Option<i64>) -> Result<bool, StoreError> {
        unimplemented!("the dispatcher pauses nobody")
    }

    async fn paused(&self) -> Result<Paused, StoreError> {
        self.call(What::Paused, |pages| pages.paused.clone()).await
    }

    async fn write_deliveries(
        &self,
        _: WriterId,
        changes: &[DeliveryChange],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.call(What::Write, |pages| pages.write(changes, now_ms)).await
    }

    async fn rows_above(&self, after: DeliveryId, limit: u32) -> Result<Vec<DeliveryId>, StoreError> {
        let pages = self.pages();
        Ok(pages.rows.keys().filter(|id| **id > after).take(most(limit)).copied().collect())
    }

    async fn backlogs(&self, after: Option<&Backlog>, _: u32) -> Result<Vec<Backlog>, StoreError> {
        if after.is_some() {
            return Ok(Vec::new());
        }
        self.call(What::Backlogs, |pages| {
            let mut lanes = BTreeMap::new();
            for row in pages.waiting() {
                lanes.entry((row.id.handler, row.lane)).or_insert(row.id.seq);
            }
            lanes.into_iter().map(|((handler, lane), oldest)| Backlog { handler, lane, oldest }).collect()
        })
        .await
    }

    async fn read_waiting(&self, wanted: Wanted<'_>) -> Result<Vec<Owed>, StoreError> {
        self.call(What::ReadWaiting, |pages| {
            let wants = |row: &&DeliveryRow| {
                row.id.handler == wanted.handler
                    && row.lane == wanted.lane
                    && row.order_key.is_none_or(|key| !wanted.held.contains(&key))
                    && !wanted.here.contains(&row.id.seq)
            };
            let rows = pages.waiting().filter(wants).take(most(wanted.limit));
            rows.map(|row| pages.with_event(row)).collect()
        })
        .await
    }

    async fn read_due(
        &self,
        handler: HandlerId,
        here: &HashSet<DeliveryId>,
        but: &[WorkspaceId],
        limit: u32,
        now_ms: i64,
    ) -> Result<Vec<Owed>, StoreError> {
        self.call(What::ReadDue, |pages| {
            let is_due = |row: &&DeliveryRow| {
                row.status == DeliveryStatus::Retrying
                    && row.next_ms <= now_ms
                    && row.id.handler == handler
                    && !here.contains(&row.id)
                    && row.lane.workspace.is_none_or(|one| !but.contains(&one))
            };
            let mut rows: Vec<_> = pages.rows.values().filter(is_due).collect();
            rows.sort_by_key(|row| (row.next_ms, row.id));
            rows.into_iter().take(most(limit)).map(|row| pages.with_event(row)).collect()
        })
        .await
    }

    async fn hurry(&self, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn holders(&self, now_ms: i64) -> Result<Vec<DeliveryRow>, StoreError> {
        self.call(What::Holders, |pages| {
            let holds = |row: &&DeliveryRow| {
                row.status == DeliveryStatus::Retrying
                    && row.hold_until_ms.is_some_and(|until_ms| until_ms > now_ms)
            };
            pages.rows.values().filter(holds).cloned().collect()
        })
        .await
    }
}

#[async_trait]
impl Inbox for Books {
    async fn read_events(&self, after: Seq, limit: u32, _: usize) -> Result<Vec<Event>, StoreError> {
        self.call(What::ReadEvents, |pages| {
            let above = pages.events.values().filter(|event| event.seq > after);
            above.filter(|event| !pages.gone.contains(&event.seq)).take(most(limit)).cloned().collect()
        })
        .await
    }

    async fn begin_writer(&self, _: &str, _: i64) -> Result<Writer, StoreError> {
        unimplemented!("the dispatcher does not write the journal")
    }

    async fn append(&self, _: WriterId, _: &[Arc<Event>], _: Seq) -> Result<Vec<Taken>, StoreError> {
        unimplemented!("the dispatcher does not write the journal")
    }

    async fn settle(&self, _: WriterId, _: Seq) -> Result<(), StoreError> {
        unimplemented!("the dispatcher does not write the journal")
    }

    async fn end_writer(&self, _: WriterId, _: Seq, _: i64) -> Result<(), StoreError> {
        unimplemented!("the dispatcher does not write the journal")
    }

    async fn quarantine(&self, _: &Event, _: &str, _: i64) -> Result<(), StoreError> {
        unimplemented!("the dispatcher does not write the journal")
    }

    async fn forget_seen(&self, _: i64, _: u32) -> Result<u64, StoreError> {
        unimplemented!("the dispatcher forgets nothing")
    }

    async fn keep_house(&self, _: i64) -> Result<(), StoreError> {
        unimplemented!("the dispatcher keeps no house")
    }
}
