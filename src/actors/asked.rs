//! Where waiting envelopes, verdicts of the journal and answers of handlers meet, by dedupe key, so that a repeat on another link
//! finds what the first one waits for. The rules are in [`machine::answer`](crate::machine::answer). A link that has such an
//! envelope begins an exchange; the dispatcher takes the [`Ask`] and gives it to the handlers that answer; what the journal then
//! brings the dispatcher is recognised by [`Asks::claim`]. An envelope that takes no answer costs nothing of this.

mod ask;
mod over;
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
pub(super) use self::ask::{Ask, Asked, Ending, STALE, UNASKED, beaten, late};
use self::over::{Over, Past};
use super::budget::OVERHEAD;
use super::link::{Word, Words};
use super::routing::InForce;
use crate::clock::Clock;
use crate::event::{DedupeKey, Event, Kind};
use crate::handlers::Answer;
use crate::ids::Seq;
use crate::machine::answer::{self, ANSWER_WITHIN, Action, Exchange, Fate, With};
use crate::machine::routes::{HandlerSet, Routes};
use crate::protocol::ack;
use crate::telemetry::Metrics;

/// Exchanges that are remembered at most; above it a command is acked when it is stored and its answer goes by its `response_url`,
/// and what only an ack could answer is let go unacked.
const MOST: usize = 16_384;

/// What events that handlers have been asked with, and answers that are kept for repeats, weigh together at most, bytes. Above it events
/// are let go as above, and answers are not kept.
const MOST_BYTES: usize = 16 << 20;

/// For so long past its deadline an exchange that is over is kept with its answer, for repeats; then only what [`over`] remembers.
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
    room: Room,
    /// Who gets what.
    routes: Arc<InForce>,
    /// The handlers that answer, by their places in the dispatcher's list.
    answering: HandlerSet,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<DedupeKey, Arc<Entry>>,
    over: Over,
    swept: Duration,
}

/// One exchange.
struct Entry {
    state: Mutex<State>,
    /// When the frame was read, monotonic.
    read_at: Duration,
    room: Room,
    metrics: Arc<Metrics>,
}

struct State {
    exchange: Exchange,
    envelope_id: Box<str>,
    links: Vec<(u64, Words)>,
    /// Envelopes that have waited, repeats included.
    joined: u64,
    /// Until the dispatcher takes it.
    unasked: Option<(Arc<Event>, Load)>,
    answer: Option<Kept>,
    /// The handler whose answer waits for its fate.
    answerer: Option<oneshot::Sender<Fate>>,
    /// By the handlers' places in the dispatcher's list.
    slots: Vec<(usize, Arc<Slot>)>,
    /// Is it counted as such?
    is_expired: bool,
    is_in_time: bool,
    is_claimed: bool,
}

/// An answer that acks carry.
struct Kept {
    answer: Answer,
    /// Where there is none it is kept until the first acks have gone.
    load: Option<Load>,
}

/// How many bytes are taken.
#[derive(Clone, Default)]
struct Room(Arc<AtomicUsize>);

impl Room {
    fn take(&self, bytes: usize) -> Option<Load> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= MOST_BYTES);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Load { bytes, taken: self.clone() })
    }
}

/// Bytes of an event that handlers have been asked with, or of an answer that is kept.
struct Load {
    bytes: usize,
    taken: Room,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.taken.0.fetch_sub(self.bytes, Ordering::Relaxed);
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
    /// An empty table for a node with these routes and these handlers that answer, and what the dispatcher listens to.
    pub(super) fn new(
        clock: Clock,
        metrics: Arc<Metrics>,
        routes: Arc<InForce>,
        answering: HandlerSet,
    ) -> (Arc<Self>, mpsc::Receiver<DedupeKey>) {
        let (bell, rung) = mpsc::channel(MOST);
        let asks = Self {
            table: Mutex::default(),
            bell,
            next: AtomicU64::new(0),
            room: Room::default(),
            routes,
            answering,
            clock,
            metrics,
        };
        (Arc::new(asks), rung)
    }

    /// The routes that are in force. To be asked for anew with each batch of events.
    pub(super) fn routes(&self) -> Arc<Routes> {
        self.routes.get()
    }

    /// Whose answers the ack of such an event waits for, by these routes.
    pub(super) fn wanted(&self, event: &Event, routes: &Routes) -> HandlerSet {
        if self.answering.is_empty() || !may_be_asked(event.kind) {
            return HandlerSet::NONE;
        }
        routes.ask(event).answering.of(self.answering)
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
        let now = self.clock.mono();
        if now.saturating_sub(table.swept) > SWEEP {
            sweep(&mut table, now);
        }
        let known = table.entries.get(&event.dedupe).cloned();
        let entry = if let Some(entry) = known {
            entry
        } else {
            if table.entries.len() >= MOST {
                return None;
            }
            let entry = if let Some(past) = table.over.get(event.dedupe) {
                Arc::new(self.again(*past, way, envelope_id, read_at))
            } else {
                let load = self.room.take(event.payload.len() + OVERHEAD)?;
                self.entry(event, load, way, envelope_id, read_at)
            };
            table.entries.insert(event.dedupe, Arc::clone(&entry));
            entry
        };
        drop(table);
        entry.change(|state| {
            state.joined += 1;
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
        let unasked = Some((Arc::new(event.clone()), load));
        let state = State { unasked, ..State::new(Exchange::new(way), envelope_id) };
        let entry = Arc::new(self.entry_of(state, read_at));
        let (waits, deadline) = (Arc::clone(&entry), self.clock.instant(read_at + ANSWER_WITHIN));
        actix_rt::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            waits.change(|state| state.exchange.due());
        });
        entry
    }

    /// The exchange of a repeat that comes when it is long over.
    fn again(&self, past: Past, way: answer::Way, envelope_id: &str, read_at: Duration) -> Entry {
        let exchange = Exchange::over(way, past.was_acked, past.is_answered);
        let state = State {
            slots: past.asked.iter().map(|handler| (handler, Arc::new(Slot::done()))).collect(),
            is_expired: !past.was_acked,
            is_claimed: true,
            ..State::new(exchange, envelope_id)
        };
        self.entry_of(state, read_at)
    }

    fn entry_of(&self, state: State, read_at: Duration) -> Entry {
        let (room, metrics) = (self.room.clone(), Arc::clone(&self.metrics));
        Entry { state: Mutex::new(state), read_at, room, metrics }
    }

    /// What is to be asked; none when it has been taken, or when no answer can help any more.
    pub(super) fn take(&self, key: DedupeKey) -> Option<Ask> {
        let entry = lock(&self.table).entries.get(&key).cloned()?;
        let mut state = lock(&entry.state);
        let (event, load) = state.unasked.take().filter(|_| !state.exchange.has_expired())?;
        drop(state);
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

    /// Is it decided that the event's ack is not sent, so that no answer to it can help?
    pub(super) fn has_expired(&self, event: &Event) -> bool {
        let mut table = lock(&self.table);
        let Some(entry) = table.entries.get(&event.dedupe).cloned() else {
            return table.over.get(event.dedupe).is_some_and(|past| !past.was_acked);
        };
        drop(table);
        lock(&entry.state).exchange.has_expired()
    }

    /// A handler that was not asked, or failed, answers now, by the event's `response_url`. Has another answered before?
    pub(super) fn is_beaten(&self, event: &Event) -> bool {
        if !may_be_asked(event.kind) {
            return false;
        }
        let mut table = lock(&self.table);
        let Some(entry) = table.entries.get(&event.dedupe).cloned() else {
            let past = table.over.get(event.dedupe);
            return past.is_some_and(|past| std::mem::replace(&mut past.is_answered, true));
        };
        drop(table);
        entry.change(|state| state.exchange.is_beaten())
    }
}

/// Forgets what can be forgotten.
fn sweep(table: &mut Table, now: Duration) {
    let Table { entries, over, swept } = table;
    *swept = now;
    over.sweep(now);
    entries.retain(|key, entry| {
        let age = now.saturating_sub(entry.read_at + ANSWER_WITHIN);
        let state = lock(&entry.state);
        let is_done_with = state.is_claimed && state.exchange.is_over() && age > REMEMBERED;
        if is_done_with {
            over.add(*key, state.past(), now);
        }
        !is_done_with && age < UNCLAIMED
    });
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

    /// Its event was on disk before: if no other envelope brought it there, it comes by no journal.
    pub(super) fn was_there(&self) {
        let mut state = lock(&self.entry.state);
        state.is_claimed |= state.joined == 1;
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
                    // What no ack has carried none ever will.
                    state.answer.take_if(|kept| fate != Fate::Acked || kept.load.is_none());
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
    fn new(exchange: Exchange, envelope_id: &str) -> Self {
        Self {
            exchange,
            envelope_id: envelope_id.into(),
            links: Vec::new(),
            joined: 0,
            unasked: None,
            answer: None,
            answerer: None,
            slots: Vec::new(),
            is_expired: false,
            is_in_time: false,
            is_claimed: false,
        }
    }

    fn past(&self) -> Past {
        let asked = self.slots.iter().map(|(handler, _)| HandlerSet::one(*handler));
        Past {
            was_acked: !self.exchange.has_expired(),
            is_answered: self.exchange.is_answered(),
            asked: asked.fold(HandlerSet::NONE, HandlerSet::and),
        }
    }

    fn tell(&mut self, waiter: u64, ack: Option<Utf8Bytes>) {
        let Some(at) = self.links.iter().position(|(waiting, _)| *waiting == waiter) else { return };
        let (_, words) = self.links.swap_remove(at);
        // A link that has just ended drops its ticket.
        drop(words.unbounded_send(Word::Answered { ticket: waiter, ack }));
    }

    fn frame(&self, with: With) -> Option<Utf8Bytes> {
        let id = &self.envelope_id;
        let framed = match (with, &self.answer) {
            (With::Answer, Some(kept)) => ack::with_payload(id, kept.answer.json()),
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
