//! Where waiting envelopes, verdicts of the journal and answers of handlers meet, by dedupe key, so that a repeat on another link
//! finds what the first one waits for. The rules are in [`machine::answer`](crate::machine::answer). A link that has such an
//! envelope begins an exchange; the dispatcher takes the [`Ask`] and gives it to the handlers that answer; what the journal then
//! brings the dispatcher is recognised by [`Asks::claim`]. An envelope that takes no answer costs nothing of this.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::ask::Slot;
pub(super) use self::ask::{Ask, Asked, Ending, STALE, late};
use super::budget::OVERHEAD;
use super::link::{Word, Words};
use crate::clock::Clock;
use crate::event::{DedupeKey, Event, Kind};
use crate::handlers::Answer;
use crate::ids::Seq;
use crate::machine::answer::{self, ANSWER_WITHIN, Action, Exchange, Fate, With};
use crate::protocol::ack;
use crate::telemetry::Metrics;

/// Exchanges that are remembered at most; above it a command is acked when it is stored and its answer goes by its `response_url`,
/// and what only an ack could answer is let go unacked.
const MOST: usize = 16_384;

/// What events that handlers have been asked with weigh together at most, bytes; above it as above.
const MOST_BYTES: usize = 16 << 20;

/// For so long past its deadline an exchange that is over is remembered, for repeats.
const REMEMBERED: Duration = Duration::from_secs(5);

/// For so long past its deadline an exchange waits for its event to come by the journal.
const UNCLAIMED: Duration = Duration::from_mins(30);

/// How often it is looked for what can be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// What who gives a command is told while handlers are paused.
const PAUSED: &str =
    "This app is paused at the moment. Your command is kept: it runs if the app resumes within 30 minutes.";

/// All exchanges of a node.
pub(super) struct Asks {
    table: Mutex<Table>,
    /// Tells the dispatcher whom to ask.
    bell: mpsc::Sender<DedupeKey>,
    next: AtomicU64,
    bytes: Arc<AtomicUsize>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<DedupeKey, Arc<Entry>>,
    swept: Duration,
}

/// One exchange.
struct Entry {
    state: Mutex<State>,
    /// When the frame was read, monotonic.
    read_at: Duration,
    metrics: Arc<Metrics>,
}

struct State {
    exchange: Exchange,
    envelope_id: Box<str>,
    links: Vec<(u64, Words)>,
    /// Until the dispatcher takes it.
    unasked: Option<(Arc<Event>, Load)>,
    answer: Option<Answer>,
    /// The handler whose answer waits for its fate.
    answerer: Option<oneshot::Sender<Fate>>,
    /// By the handlers' places in the dispatcher's list.
    slots: Vec<(usize, Arc<Slot>)>,
    /// Is it counted as such?
    is_expired: bool,
    is_in_time: bool,
    is_claimed: bool,
}

/// Bytes of an event that handlers have been asked with.
struct Load {
    bytes: usize,
    taken: Arc<AtomicUsize>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the dispatcher learns of an event that comes by the journal.
#[derive(Default)]
pub(super) struct Claim {
    /// The handlers that were asked with it, by their places; how it ended where it has.
    pub(super) asked: Vec<(usize, Option<Ending>)>,
    /// Nobody waits for its answer any more, so who was not asked and would answer does not get it.
    pub(super) has_expired: bool,
}

impl Asks {
    /// An empty table, and what the dispatcher listens to.
    pub(super) fn new(clock: Clock, metrics: Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<DedupeKey>) {
        let (bell, rung) = mpsc::channel(MOST);
        let asks = Self {
            table: Mutex::default(),
            bell,
            next: AtomicU64::new(0),
            bytes: Arc::default(),
            clock,
            metrics,
        };
        (Arc::new(asks), rung)
    }

    /// Enters an envelope that takes an answer, by the link it came on. None when there is no room for it. To be called where tasks
    /// can be spawned.
    pub(super) fn begin(
        self: &Arc<Self>,
        event: &Event,
        way: answer::Way,
        envelope_id: &str,
        words: &Words,
        read_at: Duration,
    ) -> Option<Ticket> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut table = lock(&self.table);
        if self.clock.mono().saturating_sub(table.swept) > SWEEP {
            self.sweep(&mut table);
        }
        let known = table.entries.get(&event.dedupe).cloned();
        let entry = if let Some(entry) = known {
            entry
        } else {
            let load = self.load(event.payload.len() + OVERHEAD)?;
            if table.entries.len() >= MOST {
                return None;
            }
            let entry = self.entry(event, load, way, envelope_id, read_at);
            table.entries.insert(event.dedupe, Arc::clone(&entry));
            entry
        };
        drop(table);
        entry.change(|state| {
            state.links.push((number, words.clone()));
            state.exchange.join(number);
        });
        Some(Ticket { number, key: event.dedupe, entry, asks: Arc::clone(self) })
    }

    /// A new exchange, and its deadline.
    fn entry(
        &self,
        event: &Event,
        load: Load,
        way: answer::Way,
        envelope_id: &str,
        read_at: Duration,
    ) -> Arc<Entry> {
        let state = Mutex::new(State {
            exchange: Exchange::new(way),
            envelope_id: envelope_id.into(),
            links: Vec::new(),
            unasked: Some((Arc::new(event.clone()), load)),
            answer: None,
            answerer: None,
            slots: Vec::new(),
            is_expired: false,
            is_in_time: false,
            is_claimed: false,
        });
        let entry = Arc::new(Entry { state, read_at, metrics: Arc::clone(&self.metrics) });
        let (waits, deadline) = (Arc::clone(&entry), self.clock.instant(read_at + ANSWER_WITHIN));
        actix_rt::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            waits.change(|state| state.exchange.due());
        });
        entry
    }

    /// What is to be asked; none when it has been taken.
    pub(super) fn take(&self, key: DedupeKey) -> Option<Ask> {
        let entry = lock(&self.table).entries.get(&key).cloned()?;
        let (event, load) = lock(&entry.state).unasked.take()?;
        Some(Ask::new(event, load, entry, self.clock))
    }

    /// An event has come by the journal, or where none is kept by its link: was anybody asked with it? To be called after
    /// [`Self::take`] for the same event.
    pub(super) fn claim(&self, event: &Event) -> Claim {
        if !may_be_asked(event.kind) {
            return Claim::default();
        }
        let Some(entry) = lock(&self.table).entries.get(&event.dedupe).cloned() else {
            return Claim::default();
        };
        let mut state = lock(&entry.state);
        state.is_claimed = true;
        let asked = state.slots.iter().map(|(handler, slot)| (*handler, slot.claim(event.seq))).collect();
        Claim { asked, has_expired: state.exchange.has_expired() }
    }

    fn load(&self, bytes: usize) -> Option<Load> {
        let taken = Arc::clone(&self.bytes);
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= MOST_BYTES);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Load { bytes, taken })
    }

    fn sweep(&self, table: &mut Table) {
        let now = self.clock.mono();
        table.swept = now;
        table.entries.retain(|_, entry| {
            let age = now.saturating_sub(entry.read_at + ANSWER_WITHIN);
            let state = lock(&entry.state);
            !(state.is_claimed && state.exchange.is_over() && age > REMEMBERED) && age < UNCLAIMED
        });
    }
}

/// Can an event of this kind be one whose ack carries an answer?
pub(super) const fn may_be_asked(kind: Kind) -> bool {
    match kind {
        Kind::Interactive | Kind::SlashCommands => true,
        Kind::EventsApi | Kind::Unknown => false,
    }
}

/// An envelope that waits. Dropped, its link is gone.
pub(super) struct Ticket {
    number: u64,
    key: DedupeKey,
    entry: Arc<Entry>,
    asks: Arc<Asks>,
}

impl Ticket {
    /// By what its event is recognised.
    pub(super) const fn key(&self) -> DedupeKey {
        self.key
    }

    /// By what [`Word::Answered`] names it.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Tells the dispatcher, unless it knows already. To be called when the event is on its way to the disk.
    pub(super) fn ring(&self) {
        let is_new = lock(&self.entry.state).unasked.is_some();
        if is_new && self.asks.bell.try_send(self.key).is_err() {
            // The dispatcher is gone or far behind.
            self.entry.change(|state| {
                state.unasked = None;
                state.exchange.failed();
            });
        }
    }

    /// It is on disk, or there is none to wait for.
    pub(super) fn stored(&self) {
        self.entry.change(|state| state.exchange.stored());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let number = self.number;
        self.entry.change(|state| {
            state.links.retain(|(waiting, _)| *waiting != number);
            state.exchange.leave(number);
        });
    }
}

impl Entry {
    /// Changes the exchange and does what follows from it.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        while let Some(action) = state.exchange.poll_action() {
            match action {
                Action::Ack(waiter, with) => {
                    let frame = state.frame(with);
                    state.tell(waiter, frame);
                    if with == With::Answer && !std::mem::replace(&mut state.is_in_time, true) {
                        self.metrics.answers_in_time.inc();
                    }
                }
                Action::Drop(waiter) => state.tell(waiter, None),
                Action::Close(fate) => {
                    if let Some(answerer) = state.answerer.take() {
                        // The handler may be gone.
                        answerer.send(fate).ok();
                    }
                }
            }
        }
        if state.exchange.has_expired() && !std::mem::replace(&mut state.is_expired, true) {
            self.metrics.answers_expired.inc();
        }
        changed
    }
}

impl State {
    fn tell(&mut self, waiter: u64, ack: Option<Utf8Bytes>) {
        let Some(at) = self.links.iter().position(|(waiting, _)| *waiting == waiter) else { return };
        let (_, words) = self.links.swap_remove(at);
        // A link that has just ended drops its ticket.
        drop(words.unbounded_send(Word::Answered { ticket: waiter, ack }));
    }

    fn frame(&self, with: With) -> Option<Utf8Bytes> {
        let id = &self.envelope_id;
        let framed = match (with, &self.answer) {
            (With::Answer, Some(answer)) => ack::with_payload(id, answer.json()),
            (With::Pause, _) => ack::with_payload(id, &pause_text()),
            (With::Nothing | With::Answer, _) => ack::bare(id),
        };
        framed.ok().map(Into::into)
    }

    /// Is the ack with this answer one that Slack takes?
    fn fits(&self, answer: &Answer) -> bool {
        ack::with_payload(&self.envelope_id, answer.json()).is_ok()
    }
}

fn pause_text() -> Box<RawValue> {
    to_raw_value(&serde_json::json!({ "text": PAUSED })).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
