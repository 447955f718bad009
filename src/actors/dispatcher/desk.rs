//! One handler, as the dispatcher sees it: what it has in hand, where the rest of its deliveries waits, and its actor.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use actix::prelude::*;

use super::{IN_FLIGHT_BYTES, Limits, millis, weight};
use crate::actors::asked::Asked;
use crate::actors::handler::{HandlerActor, Item, Parts, Word};
use crate::clock::Now;
use crate::event::Event;
use crate::ids::{HandlerId, Seq, WorkspaceId};
use crate::machine::holds::{Ended, Turn, to_wall};
use crate::machine::lanes::{Lanes, Room};
use crate::store::{DeliveryId, DeliveryRow, DeliveryStatus, Lane};

/// Deliveries sent to a handler at once.
const BATCH: usize = 256;

/// The bytes at most, but for a page, of those in memory that have waited for their time.
const LATE_BYTES: usize = 8 << 20;

/// How many of a workspace's in memory that have waited for their time are many.
const CROWDED: usize = 256;

/// A delivery among those of one handler: seq and run.
pub(super) type Key = (Seq, u32);

/// Has a delivery in memory its row?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    None,
    OnItsWay,
    There,
}

/// A delivery that the handler has or is about to get.
#[derive(Debug)]
pub(super) struct InHand {
    pub(super) event: Arc<Event>,
    /// What goes one after the other shares it.
    pub(super) key: Option<i64>,
    /// Failed tries so far.
    pub(super) attempts: u32,
    /// It is tried again or anew: it has waited for its time, not for its turn.
    pub(super) is_late: bool,
    pub(super) row: Row,
}

impl InHand {
    /// One that is new.
    pub(super) const fn new(event: Arc<Event>, key: Option<i64>) -> Self {
        Self { event, key, attempts: 0, is_late: false, row: Row::None }
    }
}

/// One handler.
pub(super) struct Desk {
    /// As the store knows it.
    pub(super) id: HandlerId,
    pub(super) lanes: Lanes<Lane, Key>,
    pub(super) in_hand: HashMap<Key, InHand>,
    /// Given back while their rows were on their way.
    pub(super) put_back: HashSet<Key>,
    /// Ended, while the store does not know it yet: what is read of it is stale.
    pub(super) ending: HashMap<Key, Lane>,
    pub(super) is_paused: bool,
    /// How often it was asked to give back what it has not begun, and has not done so.
    pub(super) asked_back: usize,
    /// Of a lane that is being read, what has ended since that began.
    pub(super) reading: Option<HashSet<Key>>,
    /// The same of what is due.
    pub(super) reading_due: Option<HashSet<Key>>,
    /// The same of those that hold up their keys.
    pub(super) reading_holders: Option<HashSet<Key>>,
    /// Was the last page of what is due full?
    pub(super) has_more_due: bool,
    bytes: usize,
    outbox: VecDeque<Item>,
    /// What the handler's mailbox had no room for, in order.
    unsaid: VecDeque<Word>,
    limits: Limits,
    parts: Parts,
    /// Its own thread, which ends with it.
    own: Option<Arbiter>,
    thread: ArbiterHandle,
    /// None between a handler's death and its next life.
    actor: Option<Addr<HandlerActor>>,
}

impl Desk {
    /// The desk of a handler, which starts on a thread of its own where none is given: whatever it does there, no connection and no other
    /// handler waits for it.
    pub(super) fn new(parts: Parts, limits: Limits, thread: Option<ArbiterHandle>) -> Self {
        let own = thread.is_none().then(Arbiter::new);
        let thread = thread.or_else(|| own.as_ref().map(Arbiter::handle)).unwrap_or_else(Arbiter::current);
        let actor = Some(start(&parts, &thread));
        Self {
            id: HandlerId(0),
            lanes: Lanes::new(limits.lane),
            in_hand: HashMap::new(),
            put_back: HashSet::new(),
            ending: HashMap::new(),
            is_paused: false,
            asked_back: 0,
            reading: None,
            reading_due: None,
            reading_holders: None,
            has_more_due: false,
            bytes: 0,
            outbox: VecDeque::new(),
            unsaid: VecDeque::new(),
            limits,
            parts,
            own,
            thread,
            actor,
        }
    }

    /// Its name and limits.
    pub(super) fn plugin(&self) -> &crate::handlers::Plugin {
        &self.parts.plugin
    }

    /// What is counted of it.
    pub(super) const fn metrics(&self) -> &crate::telemetry::HandlerMetrics {
        &self.parts.metrics
    }

    /// The id of one of its deliveries.
    pub(super) const fn id_of(&self, (seq, run): Key) -> DeliveryId {
        DeliveryId { seq, handler: self.id, run }
    }

    /// A delivery for the handler.
    pub(super) fn give(&mut self, run: u32, hand: InHand) {
        let InHand { event, key, attempts, is_late, .. } = &hand;
        let key = key.filter(|_| !is_late);
        self.outbox.push_back(Item {
            event: Arc::clone(event),
            run,
            attempt: attempts.saturating_add(1),
            key,
        });
        self.keep(run, hand);
    }

    /// The handler has it already, or will get no more of it: it was asked with it.
    pub(super) fn hold(&mut self, hand: InHand) {
        self.keep(1, hand);
    }

    fn keep(&mut self, run: u32, hand: InHand) {
        self.bytes += weight(&hand.event);
        self.in_hand.insert((hand.event.seq, run), hand);
        self.mind_room();
    }

    /// What an ack waits for goes at once. A handler that is dead, or whose thread does not come to read what it is told, has failed.
    pub(super) fn ask(&mut self, asked: Asked) {
        let Some(actor) = &self.actor else { return };
        if let Err(SendError::Closed(_)) = actor.try_send(Word::Ask(asked)) {
            self.died();
        }
    }

    /// The handler has no more to do with it; none when it did not have it.
    pub(super) fn take(&mut self, key: Key) -> Option<InHand> {
        let hand = self.in_hand.remove(&key)?;
        self.bytes = self.bytes.saturating_sub(weight(&hand.event));
        self.mind_room();
        Some(hand)
    }

    /// How much room is left.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= IN_FLIGHT_BYTES {
            0
        } else {
            self.limits.in_flight.saturating_sub(self.in_hand.len())
        }
    }

    fn mind_room(&mut self) {
        let (room, bytes) = (self.room(), IN_FLIGHT_BYTES.saturating_sub(self.bytes));
        self.lanes.set_room(if room == 0 {
            Room::None
        } else if room < self.limits.in_flight / 2 || bytes < IN_FLIGHT_BYTES / 2 {
            Room::Little
        } else {
            Room::Plenty
        });
    }

    /// Sends the handler what there is for it.
    pub(super) fn pump(&mut self) {
        if self.actor.is_none() {
            return;
        }
        while !self.outbox.is_empty() {
            let items = self.outbox.drain(..BATCH.min(self.outbox.len())).collect();
            self.unsaid.push_back(Word::Work(items));
        }
        self.say_all();
    }

    /// Says what is to be said, for as long as there is room for it in the handler's mailbox; the rest with the next pump.
    fn say_all(&mut self) {
        while let Some(word) = self.unsaid.pop_front() {
            let Some(actor) = &self.actor else { return };
            match actor.try_send(word) {
                Ok(()) => {}
                Err(SendError::Full(word)) => return self.unsaid.push_front(word),
                Err(SendError::Closed(_)) => return self.died(),
            }
        }
    }

    /// One of a lane has ended: who waits for it in its order, if it is in one (`order`), until when, by the wall clock.
    pub(super) fn rule(
        &mut self,
        lane: Lane,
        key: Key,
        order: Option<i64>,
        is_late: bool,
        ended: Ended,
        now: Now,
    ) -> Option<i64> {
        let turn = Turn { key: order?, id: key, is_late };
        let ruling = self.lanes.end(lane, turn, ended, self.parts.plugin.options.hold, millis(now.mono));
        if ruling.tells {
            self.say(Word::LetGo(lane, turn.key));
        }
        ruling.until_ms.map(|until_ms| to_wall(until_ms, now))
    }

    /// This one holds up its key no more.
    pub(super) fn let_go(&mut self, lane: Lane, order: i64, key: Key) {
        if self.lanes.let_go(lane, order, key) {
            self.say(Word::LetGo(lane, order));
        }
    }

    /// Asks for what is not begun of these workspaces.
    pub(super) fn ask_back(&mut self, workspaces: Vec<WorkspaceId>) {
        self.pump();
        self.asked_back += 1;
        self.say(Word::GiveBack(workspaces));
    }

    /// Asks for what waits at the handler for who holds up its key, where that is much: it may wait for hours, and would take the room of those
    /// who wait for nobody.
    pub(super) fn ask_held_back(&mut self) {
        let is_held = |hand: &&InHand| {
            let key = hand.key.filter(|_| !hand.is_late);
            key.is_some_and(|key| self.lanes.is_held(Lane::of(&hand.event), key))
        };
        let many = self.limits.lane.little / 2;
        if self.asked_back > 0 || self.in_hand.values().filter(is_held).take(many).count() < many {
            return;
        }
        self.pump();
        self.asked_back += 1;
        self.say(Word::GiveHeldBack);
    }

    /// Asks for all that is not begun.
    pub(super) fn ask_all_back(&mut self) {
        self.pump();
        self.asked_back += 1;
        self.say(Word::GiveAllBack);
    }

    /// Is nothing to be given to it: it is paused, or has yet to give back what would come before?
    pub(super) const fn is_shut(&self) -> bool {
        self.is_paused || self.asked_back > 0
    }

    fn say(&mut self, word: Word) {
        if self.actor.is_some() {
            self.unsaid.push_back(word);
            self.say_all();
        }
    }

    /// Does the handler have nothing?
    pub(super) fn is_idle(&self) -> bool {
        self.in_hand.is_empty() && self.outbox.is_empty()
    }

    /// The deliveries of a lane of which the store does not know the newest.
    pub(super) fn here(&self, lane: Lane) -> Vec<Seq> {
        let in_hand =
            self.in_hand.iter().filter(|(_, hand)| Lane::of(&hand.event) == lane).map(|(key, _)| key);
        let ending = self.ending.iter().filter(|(_, of)| **of == lane).map(|(key, _)| key);
        in_hand.chain(ending).map(|(seq, _)| *seq).collect()
    }

    /// How many more there is room for that have waited for their time, and the workspaces of which many are in memory. The room is theirs alone:
    /// whom all others wait for must find some.
    pub(super) fn room_for_late(&self) -> (usize, Vec<WorkspaceId>) {
        let (mut count, mut bytes, mut each) = (0, 0, HashMap::<WorkspaceId, usize>::new());
        for hand in self.in_hand.values().filter(|hand| hand.is_late) {
            count += 1;
            bytes += weight(&hand.event);
            if let Some(workspace) = hand.event.workspace {
                *each.entry(workspace).or_default() += 1;
            }
        }
        let room = if bytes >= LATE_BYTES { 0 } else { self.limits.late().saturating_sub(count) };
        (
            room,
            each.into_iter().filter(|(_, late)| *late >= CROWDED).map(|(workspace, _)| workspace).collect(),
        )
    }

    /// The deliveries that may be due by the store's word while it does not know the newest.
    pub(super) fn late_or_ending(&self) -> HashSet<DeliveryId> {
        let late = self.in_hand.iter().filter(|(_, hand)| hand.is_late).map(|(key, _)| key);
        late.chain(self.ending.keys()).map(|key| self.id_of(*key)).collect()
    }

    /// Is what was read of a delivery older than what is known here?
    pub(super) fn is_stale(&self, key: Key, since: &HashSet<Key>) -> bool {
        self.in_hand.contains_key(&key) || self.ending.contains_key(&key) || since.contains(&key)
    }

    /// The store knows how a delivery stands.
    pub(super) fn is_known(&mut self, key: Key) {
        self.ending.remove(&key);
        let reads = [&mut self.reading, &mut self.reading_due, &mut self.reading_holders];
        for since in reads.into_iter().flatten() {
            since.insert(key);
        }
    }

    /// Starts a dead handler again; it gets what it had in hand, in its order. True when it was.
    pub(super) fn revive(&mut self) -> bool {
        match &self.actor {
            Some(actor) if actor.connected() => false,
            Some(_) => {
                self.died();
                false
            }
            None => {
                // Nobody has heard what was said meanwhile.
                self.asked_back = 0;
                self.give_all_again();
                self.actor = Some(start(&self.parts, &self.thread));
                true
            }
        }
    }

    /// What it had in hand, and whose keys are held.
    fn give_all_again(&mut self) {
        let held = self.lanes.all_held().into_iter();
        self.unsaid = held.map(|(lane, key, _)| Word::Hold(lane, key)).collect();
        let mut had: Vec<_> = self.in_hand.iter().collect();
        had.sort_by_key(|(key, _)| **key);
        let again = had.into_iter().map(|((_, run), hand)| Item {
            event: Arc::clone(&hand.event),
            run: *run,
            attempt: hand.attempts.saturating_add(1),
            key: hand.key.filter(|_| !hand.is_late),
        });
        self.outbox = again.collect();
    }

    /// Takes from what is to be sent what is of these workspaces, or all.
    pub(super) fn unsent(&mut self, paused: &HashSet<WorkspaceId>, is_all: bool) -> Vec<Key> {
        let is_all = is_all || self.is_paused;
        let is_shut = |item: &Item| is_all || item.event.workspace.is_some_and(|one| paused.contains(&one));
        let (back, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.outbox).into_iter().partition(is_shut);
        self.outbox = rest.into();
        back.iter().map(|item| (item.event.seq, item.run)).collect()
    }

    fn died(&mut self) {
        tracing::error!(
            handler = self.parts.plugin.name,
            "the handler's actor has ended; it is started again"
        );
        self.actor = None;
        self.asked_back = 0;
        self.outbox.clear();
        self.unsaid.clear();
    }

    /// The row of a delivery that waits.
    pub(super) fn row(&self, event: &Event, run: u32, key: Option<i64>, now_ms: i64) -> DeliveryRow {
        DeliveryRow {
            id: self.id_of((event.seq, run)),
            lane: Lane::of(event),
            status: DeliveryStatus::Waiting,
            attempts: 0,
            next_ms: now_ms,
            order_key: key,
            hold_until_ms: None,
            last_error: None,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }
}

#[cfg(test)]
impl Desk {
    /// Its actor, to be ended by a test.
    pub(super) const fn actor_of_test(&self) -> Option<&Addr<HandlerActor>> {
        self.actor.as_ref()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.stop();
        }
    }
}

fn start(parts: &Parts, thread: &ArbiterHandle) -> Addr<HandlerActor> {
    let parts = parts.clone();
    HandlerActor::start_in_arbiter(thread, |_| HandlerActor::new(parts))
}

#[cfg(test)]
mod tests;
