//! Where the deliveries of one handler wait: in memory or in the store, lane by lane. What comes to a lane of which something waits in
//! the store waits behind it there, so that the memory holds the beginning of every lane.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::holds::{Ended, Holds, Ruling, Turn};

/// Where something goes that has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On to the handler.
    Here,
    /// Into the store, to be read back in its turn.
    Behind,
}

/// How much room there is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    Plenty,
    /// It is getting short.
    Little,
    /// None.
    None,
}

/// How much of one lane is held in memory at most,
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// while there is plenty: enough that the handler never waits for the store,
    pub plenty: usize,
    /// and while there is little: a lane that floods delays itself.
    pub little: usize,
}

/// How far the reading of a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    Queued,
    /// Has something been sent to the store since it began, or was on its way there?
    UnderWay {
        has_grown: bool,
    },
}

#[derive(Debug)]
struct State<I> {
    here: usize,
    /// Does something wait in the store?
    is_behind: bool,
    /// Sent to the store, and not known to be there yet.
    unwritten: usize,
    /// Of those, what may come before what is there: nothing is read past it.
    returning: usize,
    reading: Reading,
    /// Was something put back since the reading began? What is read may come behind it.
    is_overtaken: bool,
    held: Holds<I>,
}

impl<I> Default for State<I> {
    fn default() -> Self {
        Self {
            here: 0,
            is_behind: false,
            unwritten: 0,
            returning: 0,
            reading: Reading::No,
            is_overtaken: false,
            held: Holds::default(),
        }
    }
}

impl<I: Copy + Eq> State<I> {
    /// Something waits in the store.
    const fn grow(&mut self) {
        self.is_behind = true;
        if let Reading::UnderWay { has_grown } = &mut self.reading {
            *has_grown = true;
        }
    }

    fn is_idle(&self) -> bool {
        self.here == 0
            && !self.is_behind
            && self.unwritten == 0
            && self.reading == Reading::No
            && self.held.is_empty()
    }
}

/// The lanes of one handler. `L` names a lane, `I` a delivery.
#[derive(Debug)]
pub struct Lanes<L, I> {
    bounds: Bounds,
    states: HashMap<L, State<I>>,
    /// Lanes to be read, in turn.
    to_read: VecDeque<L>,
    here: usize,
    room: Room,
}

impl<L: Copy + Eq + Hash, I: Copy + Eq> Lanes<L, I> {
    /// No lanes yet.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, states: HashMap::new(), to_read: VecDeque::new(), here: 0, room: Room::Plenty }
    }

    /// Is nothing here, nor waits anywhere, nor is held?
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How many are in memory.
    pub const fn here(&self) -> usize {
        self.here
    }

    /// How much room there is now.
    pub const fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    const fn most(&self) -> usize {
        match self.room {
            Room::Plenty => self.bounds.plenty,
            Room::Little => self.bounds.little,
            Room::None => 0,
        }
    }

    /// Where something of this lane and key goes that has just come. Nothing of a lane that is shut goes on.
    pub fn place(&mut self, lane: L, key: Option<i64>, is_shut: bool) -> Place {
        let most = self.most();
        let state = self.states.entry(lane).or_default();
        let is_held = key.is_some_and(|key| state.held.has(key));
        if !is_held && !state.is_behind && !is_shut && state.here < most {
            state.here += 1;
            self.here += 1;
            return Place::Here;
        }
        if !is_held {
            state.grow();
        }
        state.unwritten += 1;
        Place::Behind
    }

    /// Something of this lane is in memory beside its order: it has waited for its time.
    pub fn enter(&mut self, lane: L) {
        self.states.entry(lane).or_default().here += 1;
        self.here += 1;
    }

    /// Something of this lane is in memory no more.
    pub fn leave(&mut self, lane: L) {
        if let Some(state) = self.states.get_mut(&lane) {
            self.here -= usize::from(state.here > 0);
            state.here = state.here.saturating_sub(1);
        }
        self.look_at(lane);
    }

    /// Something in memory goes back to the store without having been tried: it waits there, and what comes later behind it.
    pub fn put_back(&mut self, lane: L, is_written: bool) {
        let state = self.states.entry(lane).or_default();
        state.grow();
        state.is_overtaken = true;
        if !is_written {
            state.unwritten += 1;
            state.returning += 1;
        }
        self.leave(lane);
    }

    /// What was [placed behind](Lanes::place) may come before what is in the store.
    pub fn is_old(&mut self, lane: L) {
        self.states.entry(lane).or_default().returning += 1;
    }

    /// What was sent to the store is there; `was_old`, it was put back or [old](Lanes::is_old).
    pub fn written(&mut self, lane: L, was_old: bool) {
        if let Some(state) = self.states.get_mut(&lane) {
            state.unwritten = state.unwritten.saturating_sub(1);
            state.returning = state.returning.saturating_sub(usize::from(was_old));
        }
        self.look_at(lane);
    }

    /// Something waits in the store.
    pub fn found(&mut self, lane: L) {
        self.states.entry(lane).or_default().grow();
        self.look_at(lane);
    }

    /// A lane to be read and how many of it there is room for. Nothing else of it is read until [`Lanes::end_read`]. Lanes that are shut
    /// are passed over until somebody [looks](Lanes::look_at_all).
    pub fn begin_read(&mut self, is_shut: impl Fn(L) -> bool) -> Option<(L, usize)> {
        let most = self.most();
        if most == 0 {
            return None;
        }
        while let Some(lane) = self.to_read.pop_front() {
            let Some(state) = self.states.get_mut(&lane) else { continue };
            state.reading = Reading::No;
            let room = most.saturating_sub(state.here);
            if state.is_behind && room > 0 && state.returning == 0 && !is_shut(lane) {
                state.reading = Reading::UnderWay { has_grown: state.unwritten > 0 };
                state.is_overtaken = false;
                return Some((lane, room));
            }
        }
        None
    }

    /// So many were read back and are in memory. Fewer than there was room for: nothing more waits, but for what came meanwhile.
    pub fn end_read(&mut self, lane: L, read: usize, is_all: bool) {
        let Some(state) = self.states.get_mut(&lane) else { return };
        let has_grown = state.reading == Reading::UnderWay { has_grown: true };
        state.reading = Reading::No;
        state.here += read;
        self.here += read;
        state.is_behind = !is_all || has_grown;
        // Where all is still on its way to the store, its arrival is the time to look again.
        if read > 0 || state.unwritten == 0 {
            self.look_at(lane);
        }
    }

    /// The store could not be read; again when somebody [looks](Lanes::look_at_all).
    pub fn fail_read(&mut self, lane: L) {
        if let Some(state) = self.states.get_mut(&lane) {
            state.reading = Reading::No;
        }
    }

    /// Is something on its way to the store that may come before what is there, or has it come there since the reading began? What was read
    /// meanwhile is not to be used.
    pub fn is_returning(&self, lane: L) -> bool {
        self.states.get(&lane).is_some_and(|state| state.returning > 0 || state.is_overtaken)
    }

    /// Is this key of a lane held?
    pub fn is_held(&self, lane: L, key: i64) -> bool {
        self.states.get(&lane).is_some_and(|state| state.held.has(key))
    }

    /// How many keys are held.
    pub fn held_count(&self) -> usize {
        self.states.values().map(|state| state.held.len()).sum()
    }

    /// All that are held: lane, key, and by which.
    pub fn all_held(&self) -> Vec<(L, i64, I)> {
        let held = self
            .states
            .iter()
            .flat_map(|(lane, state)| state.held.all().map(move |(key, id)| (*lane, key, id)));
        held.collect()
    }

    /// The keys of a lane that are held.
    pub fn held(&self, lane: L) -> Vec<i64> {
        self.states.get(&lane).map(|state| state.held.all().map(|(key, _)| key).collect()).unwrap_or_default()
    }

    /// One of a lane has ended: what that means for those behind it in its order, as [`Holds::end`] says.
    pub fn end(
        &mut self,
        lane: L,
        turn: Turn<I>,
        ended: Ended,
        hold: Option<Duration>,
        now_ms: i64,
    ) -> Ruling {
        let ruling = self.states.entry(lane).or_default().held.end(turn, ended, hold, now_ms);
        if ruling.frees {
            self.freed(lane);
        }
        ruling
    }

    /// One holds up its key by the store's word, see [`Holds::take_over`].
    pub fn take_over(
        &mut self,
        lane: L,
        key: i64,
        id: I,
        until_ms: i64,
        hold: Option<Duration>,
        now_ms: i64,
    ) {
        self.states.entry(lane).or_default().held.take_over(key, id, until_ms, hold, now_ms);
    }

    /// This one holds up its key no more, if it did.
    pub fn let_go(&mut self, lane: L, key: i64, id: I) -> bool {
        let is_free = self.states.get_mut(&lane).is_some_and(|state| state.held.let_go(key, id));
        if is_free {
            self.freed(lane);
        }
        is_free
    }

    /// Of a key that was held something may wait in the store, which was passed over.
    fn freed(&mut self, lane: L) {
        if let Some(state) = self.states.get_mut(&lane) {
            state.grow();
        }
        self.look_at(lane);
    }

    /// Those whose time to hold up others is over at this time.
    pub fn overdue(&self, now_ms: i64) -> Vec<(L, i64, I)> {
        let each = |(lane, state): (&L, &State<I>)| {
            let lane = *lane;
            state.held.overdue(now_ms).map(move |(key, id)| (lane, key, id)).collect::<Vec<_>>()
        };
        self.states.iter().flat_map(each).collect()
    }

    /// Looks whether a lane wants to be read, all of them in turn.
    pub fn look_at_all(&mut self) {
        let lanes: Vec<L> = self.states.keys().copied().collect();
        for lane in lanes {
            self.look_at(lane);
        }
    }

    /// Half of its memory is to be free before a lane is read: a read costs the same for one as for many.
    fn look_at(&mut self, lane: L) {
        let most = self.most();
        let Some(state) = self.states.get_mut(&lane) else { return };
        let has_room = state.here <= most / 2;
        let is_free = state.reading == Reading::No && state.returning == 0;
        let wants = state.is_behind && has_room && is_free;
        if wants {
            state.reading = Reading::Queued;
            self.to_read.push_back(lane);
        } else if state.is_idle() {
            self.states.remove(&lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { plenty: 8, little: 4 };

    fn open(_: u8) -> bool {
        false
    }

    const fn turn(key: i64, id: u32) -> Turn<u32> {
        Turn { key, id, is_late: false }
    }

    fn lanes() -> Lanes<u8, u32> {
        Lanes::new(BOUNDS)
    }

    #[test]
    fn a_lane_holds_more_while_it_is_alone_and_what_finds_it_full_waits_in_the_store() {
        let mut lanes = lanes();
        let place = |lanes: &mut Lanes<u8, u32>, lane| {
            (0..10).filter(|_| lanes.place(lane, None, false) == Place::Here).count()
        };
        assert_eq!(place(&mut lanes, 1), 8);
        lanes.set_room(Room::Little);
        assert_eq!(place(&mut lanes, 2), 4);
        assert_eq!(lanes.here(), 12);
    }

    #[test]
    fn what_comes_to_a_lane_that_waits_in_the_store_waits_behind_it_until_all_is_read() {
        let mut lanes = lanes();
        lanes.found(1);
        assert_eq!(lanes.place(1, None, false), Place::Behind);
        assert_eq!(lanes.place(2, None, false), Place::Here, "another lane does not wait");
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
        lanes.end_read(1, 1, true);
        assert_eq!(lanes.place(1, None, false), Place::Behind, "what was on its way may have been missed");
        lanes.written(1, false);
        lanes.written(1, false);
        assert_eq!(lanes.begin_read(open), Some((1, 7)));
        lanes.end_read(1, 2, true);
        assert_eq!(lanes.place(1, None, false), Place::Here);
        assert_eq!(lanes.begin_read(open), None);
    }

    #[test]
    fn a_read_that_finds_nothing_is_not_repeated_before_what_is_on_its_way_has_come() {
        let mut lanes = lanes();
        lanes.found(1);
        lanes.place(1, None, false);
        assert!(lanes.begin_read(open).is_some());
        lanes.end_read(1, 0, true);
        assert_eq!(lanes.begin_read(open), None);
        lanes.written(1, false);
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
        lanes.end_read(1, 1, true);
        assert_eq!(lanes.place(1, None, false), Place::Here);
    }

    #[test]
    fn lanes_are_read_in_turn_and_again_once_half_of_their_memory_is_free() {
        let mut lanes = lanes();
        lanes.found(1);
        lanes.found(2);
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
        lanes.end_read(1, 8, false);
        assert_eq!(lanes.begin_read(open), Some((2, 8)));
        lanes.end_read(2, 8, false);
        for _ in 0..3 {
            lanes.leave(1);
        }
        assert_eq!(lanes.begin_read(open), None);
        lanes.leave(1);
        assert_eq!(lanes.begin_read(open), Some((1, 4)));
    }

    #[test]
    fn what_shares_the_key_of_one_that_failed_waits_for_it_and_others_pass() {
        let mut lanes = lanes();
        lanes.end(1, turn(7, 100), Ended::Failed, Some(Duration::from_secs(5)), 0);
        assert_eq!(lanes.place(1, Some(7), false), Place::Behind);
        assert_eq!(lanes.place(1, Some(8), false), Place::Here);
        lanes.written(1, false);
        assert_eq!(lanes.begin_read(open), None, "nothing else waits");
        assert_eq!(lanes.held(1), [7]);
        assert!(!lanes.let_go(1, 7, 99), "it is another's");
        assert_eq!((lanes.overdue(4999), lanes.overdue(5000)), (vec![], vec![(1, 7, 100)]));
        assert!(lanes.let_go(1, 7, 100));
        assert_eq!(lanes.begin_read(open), Some((1, 7)));
        assert_eq!(lanes.place(1, Some(7), false), Place::Behind, "in its order");
    }

    #[test]
    fn a_lane_that_is_shut_goes_on_with_what_waited_first_when_it_is_open_again() {
        let mut lanes = lanes();
        assert_eq!(lanes.place(1, None, true), Place::Behind);
        lanes.written(1, false);
        assert_eq!(lanes.begin_read(|_| true), None);
        assert_eq!(lanes.place(1, None, false), Place::Behind);
        lanes.look_at_all();
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
    }

    #[test]
    fn while_there_is_no_room_all_waits_in_the_store_and_its_turn_is_not_lost() {
        let mut lanes = lanes();
        lanes.set_room(Room::None);
        assert_eq!(lanes.place(1, None, false), Place::Behind);
        lanes.written(1, false);
        assert_eq!(lanes.begin_read(open), None);
        lanes.set_room(Room::Plenty);
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
    }

    #[test]
    fn what_was_put_back_is_read_again_and_nothing_passes_it() {
        let mut lanes = lanes();
        lanes.place(1, None, false);
        lanes.place(1, None, false);
        lanes.put_back(1, false);
        assert_eq!(lanes.here(), 1);
        assert_eq!(lanes.place(1, None, false), Place::Behind);
        lanes.written(1, false);
        assert_eq!(lanes.begin_read(open), None, "what came later is there, what was put back is not");
        assert!(lanes.is_returning(1));
        lanes.written(1, true);
        assert_eq!(lanes.begin_read(open), Some((1, 7)));
    }

    #[test]
    fn a_lane_that_waits_to_be_read_is_not_read_past_what_is_put_back_meanwhile() {
        let mut lanes = lanes();
        lanes.place(1, None, false);
        lanes.found(1);
        lanes.put_back(1, false);
        assert_eq!(lanes.begin_read(open), None);
        lanes.written(1, true);
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
    }

    #[test]
    fn what_is_put_back_while_a_lane_is_read_is_not_passed_by_what_was_read() {
        let mut lanes = lanes();
        lanes.place(1, None, false);
        lanes.found(1);
        assert_eq!(lanes.begin_read(open), Some((1, 7)));
        assert!(!lanes.is_returning(1));
        lanes.put_back(1, true);
        assert!(lanes.is_returning(1));
        lanes.fail_read(1);
        lanes.look_at_all();
        assert_eq!(lanes.begin_read(open), Some((1, 8)));
        assert!(!lanes.is_returning(1), "this one reads it");
    }

    #[test]
    fn a_lane_of_which_nothing_is_left_takes_no_room() {
        let mut lanes = lanes();
        lanes.place(1, None, false);
        lanes.leave(1);
        lanes.take_over(2, 7, 1, 5, None, 1);
        lanes.let_go(2, 7, 1);
        lanes.begin_read(open);
        lanes.end_read(2, 0, true);
        lanes.found(3);
        lanes.begin_read(open);
        lanes.end_read(3, 0, true);
        assert!(lanes.states.is_empty(), "{:?}", lanes.states);
    }
}
