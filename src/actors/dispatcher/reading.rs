//! What the dispatcher reads back from the store: events that it missed or had no room for, deliveries that wait in their lanes, and
//! those whose time has come.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;

use super::desk::{InHand, Row};
use super::{Dispatcher, IN_FLIGHT_BYTES};
use crate::event::Event;
use crate::handlers::Order;
use crate::ids::Seq;
use crate::store::{DeliveryRow, DeliveryStatus, Lane, Owed, StoreError, Wanted};

/// A page read back from the store: events, bytes.
const PAGE: (u32, usize) = (512, 4 << 20);

/// Is there more in the journal than was handed on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    No,
    /// More was on disk at the last tick: either it is still on its way here or it was missed.
    Perhaps(Seq),
    Yes,
    Reading,
}

impl Behind {
    /// At a tick: the last event admitted, and whether more is on disk.
    pub(super) fn tick(self, last: Seq, is_missing: bool) -> Self {
        match self {
            Self::No if is_missing => Self::Perhaps(last),
            Self::Perhaps(_) if !is_missing => Self::No,
            Self::Perhaps(then) if then == last => Self::Yes,
            Self::Perhaps(_) => Self::Perhaps(last),
            same @ (Self::No | Self::Yes | Self::Reading) => same,
        }
    }
}

impl Dispatcher {
    /// Reads a page of the journal when there is more on disk than came here and room for it.
    pub(super) fn catch_up(&mut self, ctx: &mut Context<Self>) {
        let Some(marks) = &self.marks else { return };
        let half_full = self.window.undone() > self.limits.in_flight / 2 || self.bytes > IN_FLIGHT_BYTES / 2;
        if self.behind != Behind::Yes || half_full || !self.has_begun {
            return;
        }
        let committed = Seq(marks.committed.load(Ordering::Acquire));
        if committed <= self.window.last() {
            self.behind = Behind::No;
            return;
        }
        self.behind = Behind::Reading;
        let limit = PAGE.0.min(as_limit(self.limits.in_flight));
        let (journal, after) = (Arc::clone(&self.journal), self.window.last());
        let page = async move { journal.read_events(after, limit, PAGE.1).await };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| act.on_page(page, committed, ctx)));
    }

    fn on_page(&mut self, page: Result<Vec<Event>, StoreError>, committed: Seq, ctx: &mut Context<Self>) {
        match page {
            Ok(events) => {
                self.note_key(None);
                self.behind = Behind::Yes;
                if events.is_empty() {
                    // What was committed up to then cannot be read any more; the store has said so.
                    self.window.skip_to(committed);
                }
                let routes = self.routes.get();
                for event in events {
                    self.admit(&Arc::new(event), &routes);
                }
                self.go_on(ctx);
            }
            Err(error) => {
                self.note_unread(&error);
                // The tick tries again.
                self.behind = Behind::Perhaps(self.window.last());
            }
        }
    }

    /// Reads the next lane of each handler that has room for it.
    pub(super) fn read_lanes(&mut self, ctx: &mut Context<Self>) {
        if self.marks.is_none() || self.drained.is_some() || self.owing.is_full() {
            return;
        }
        let comes_again = self.window.last() < self.begun_at;
        for at in 0..self.desks.len() {
            let paused = &self.paused;
            let Some(desk) = self.desks.get_mut(at).filter(|desk| {
                // In an order what the journal gives again comes first: what is in the store may come behind it.
                let waits = comes_again && desk.plugin().options.order != Order::None;
                desk.reading.is_none() && !desk.is_shut() && !waits
            }) else {
                continue;
            };
            let is_shut = |lane: Lane| lane.workspace.is_some_and(|one| paused.contains(&one));
            let Some((lane, room)) = desk.lanes.begin_read(is_shut) else { continue };
            desk.reading = Some(HashSet::new());
            let (held, here, handler) = (desk.lanes.held(lane), desk.here(lane), desk.id);
            let limit = as_limit(room.min(desk.room())).min(PAGE.0);
            let store = Arc::clone(&self.store);
            let page = async move {
                let wanted = Wanted { handler, lane, held: &held, here: &here, limit, max_bytes: PAGE.1 };
                store.read_waiting(wanted).await
            };
            ctx.spawn(page.into_actor(self).map(move |page, act, ctx| act.on_lane(at, lane, page, ctx)));
        }
    }

    fn on_lane(
        &mut self,
        at: usize,
        lane: Lane,
        page: Result<Vec<Owed>, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        let now_ms = self.clock.now().wall_ms;
        let Some(desk) = self.desks.get_mut(at) else { return };
        let since = desk.reading.take().unwrap_or_default();
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                desk.lanes.fail_read(lane);
                // The tick looks again.
                return self.note_unread(&error);
            }
        };
        let is_shut = desk.is_shut() || lane.workspace.is_some_and(|one| self.paused.contains(&one));
        if is_shut || desk.lanes.is_returning(lane) || self.drained.is_some() {
            // It waits: for the next start, or for what comes before it.
            return desk.lanes.fail_read(lane);
        }
        self.note_key(None);
        let (is_all, mut read, mut gone) = (page.is_empty(), 0, Vec::new());
        let Some(desk) = self.desks.get_mut(at) else { return };
        for Owed { row, event } in page {
            match event {
                _ if desk.is_stale((row.id.seq, row.id.run), &since) => {}
                Some(event) => {
                    read += 1;
                    let event = Arc::new(event);
                    let hand =
                        InHand { event, key: row.order_key, attempts: 0, is_late: false, row: Row::There };
                    desk.give(row.id.run, hand);
                }
                None => gone.push(row),
            }
        }
        desk.lanes.end_read(lane, read, is_all);
        self.bury(at, gone, now_ms);
        self.go_on(ctx);
    }

    /// Reads what is due of each handler that has room for it.
    pub(super) fn read_due(&mut self, ctx: &mut Context<Self>) {
        if self.marks.is_none() || self.drained.is_some() || self.owing.is_full() {
            return;
        }
        let now_ms = self.clock.now().wall_ms;
        let comes_again = self.window.last() < self.begun_at;
        for at in 0..self.desks.len() {
            let Some(desk) = self.desks.get_mut(at) else { return };
            let (room, crowded) = desk.room_for_late();
            let waits = comes_again && desk.plugin().options.order != Order::None;
            if desk.reading_due.is_some() || desk.is_shut() || waits || room == 0 {
                continue;
            }
            desk.reading_due = Some(HashSet::new());
            let here = desk.late_or_ending();
            // Of who has many in hand others' come first.
            let but: Vec<_> = self.paused.iter().copied().chain(crowded).collect();
            let limit = as_limit(room).min(self.limits.due);
            let (store, handler) = (Arc::clone(&self.store), desk.id);
            let page = async move { store.read_due(handler, &here, &but, limit, now_ms).await };
            let then = page.into_actor(self).map(move |page, act: &mut Self, ctx| {
                act.on_due(at, page, limit, ctx);
            });
            ctx.spawn(then);
        }
    }

    fn on_due(
        &mut self,
        at: usize,
        page: Result<Vec<Owed>, StoreError>,
        limit: u32,
        ctx: &mut Context<Self>,
    ) {
        let now_ms = self.clock.now().wall_ms;
        let Some(desk) = self.desks.get_mut(at) else { return };
        let since = desk.reading_due.take().unwrap_or_default();
        let page = match page {
            Ok(page) if self.drained.is_none() && !desk.is_shut() => page,
            Ok(_) => return,
            Err(error) => return self.note_unread(&error),
        };
        desk.has_more_due = u32::try_from(page.len()).is_ok_and(|len| len >= limit);
        let mut gone = Vec::new();
        for Owed { row, event } in page {
            let is_shut = row.lane.workspace.is_some_and(|one| self.paused.contains(&one));
            match event {
                _ if is_shut || desk.is_stale((row.id.seq, row.id.run), &since) => {}
                Some(event) => {
                    desk.lanes.enter(row.lane);
                    let (event, key) = (Arc::new(event), row.order_key);
                    let hand = InHand { event, key, attempts: row.attempts, is_late: true, row: Row::There };
                    desk.give(row.id.run, hand);
                }
                None => gone.push(row),
            }
        }
        self.bury(at, gone, now_ms);
        self.go_on(ctx);
    }

    /// Goes on with what is due where a page was full and half of it is done.
    pub(super) fn read_more_due(&mut self, ctx: &mut Context<Self>) {
        let mut has_room = false;
        let late = self.limits.late();
        for desk in self.desks.iter_mut().filter(|desk| desk.has_more_due) {
            if desk.room_for_late().0 > late / 2 {
                desk.has_more_due = false;
                has_room = true;
            }
        }
        if has_room {
            self.read_due(ctx);
        }
    }

    /// Deliveries of events that cannot be read any more.
    fn bury(&mut self, at: usize, gone: Vec<DeliveryRow>, now_ms: i64) {
        for row in gone {
            let last_error = Some("the event's payload is gone".to_owned());
            self.note_tried(
                at,
                DeliveryRow { status: DeliveryStatus::Dead, last_error, updated_ms: now_ms, ..row },
            );
        }
    }

    fn note_unread(&self, error: &StoreError) {
        if let StoreError::Sealed { .. } = error {
            self.note_key(Some(error));
        } else {
            tracing::warn!(%error, "what waits on disk cannot be read back; it is tried again");
        }
    }

    /// Notes whether the next event on disk wants a key that is not here. The log is told once.
    fn note_key(&self, missing: Option<&StoreError>) {
        let Some(marks) = &self.marks else { return };
        let was_missing = marks.lacks_key.swap(missing.is_some(), Ordering::Relaxed);
        if let Some(error) = missing.filter(|_| !was_missing) {
            tracing::error!(
                %error,
                "an event is sealed with a key that this node does not have; it waits, and all behind it: start the node with that key as \
                 other_key"
            );
        }
    }
}

fn as_limit(room: usize) -> u32 {
    u32::try_from(room).unwrap_or(u32::MAX)
}
