//! What becomes of deliveries: done, tried again, given up, or written down to wait.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::desk::{InHand, Key, Row};
use super::owing::{Pending, Waits};
use super::{Dispatcher, PAUSE, TICK, millis, weight};
use crate::actors::handler::End;
use crate::actors::names::say;
use crate::machine::holds::Ended;
use crate::status::feed::{DeliveryNews, Outcome};
use crate::store::{DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Lane};

/// What is not done after so long gets its row, so that what was settled before it is not repeated after a crash.
const GRACE: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// A handler has ended a delivery.
    pub(super) fn on_end(&mut self, at: usize, key: Key, end: End) {
        let is_kept = self.marks.is_some();
        let Some((desk, hand)) = self.desks.get_mut(at).and_then(|desk| {
            let hand = desk.take(key)?;
            Some((desk, hand))
        }) else {
            return;
        };
        let (lane, weight) = (Lane::of(&hand.event), weight(&hand.event));
        match end {
            _ if !is_kept => self.settle(key.0, weight),
            End::Done => {
                if hand.is_late || hand.attempts > 0 || key.1 > 1 {
                    let attempts = hand.attempts.saturating_add(1);
                    self.feed.tell_delivery(news(desk.id_of(key), lane, Outcome::Done, attempts));
                }
                if hand.key.is_some() {
                    desk.rule(lane, key, hand.key, hand.is_late, Ended::Over, self.clock.now());
                }
                desk.lanes.leave(lane);
                if hand.row == Row::None {
                    self.settle(key.0, weight);
                } else {
                    let change = DeliveryChange::Done(desk.id_of(key));
                    desk.ending.insert(key, lane);
                    self.owing.push(Pending { change, desk: at, settles: None, waits: Waits::No });
                }
            }
            // Its row says when it is due. What was asked ahead of its turn has none, and gets one as any other.
            End::GivenBack if (hand.attempts > 0 || key.1 > 1) && hand.row == Row::There => {
                desk.lanes.leave(lane);
            }
            End::GivenBack => {
                desk.lanes.put_back(lane, hand.row == Row::There);
                match hand.row {
                    Row::There => {}
                    Row::OnItsWay => drop(desk.put_back.insert(key)),
                    Row::None => {
                        let now_ms = self.clock.now().wall_ms;
                        let change = DeliveryChange::Owed(desk.row(&hand.event, key.1, hand.key, now_ms));
                        let settles = Some((key.0, weight));
                        self.owing.push(Pending { change, desk: at, settles, waits: Waits::Old });
                    }
                }
            }
            End::Again { after, why } => {
                let failed = hand.attempts.saturating_add(1);
                let wait = desk.plugin().options.retry.wait(failed, after, &mut self.dice);
                let ended = if wait.is_some() { Ended::Failed } else { Ended::GivenUp };
                self.fail(at, key, &hand, ended, wait, &why);
            }
            End::Rejected { why } => self.fail(at, key, &hand, Ended::Over, None, &why),
            End::Expired { why } => self.expire(at, key, &hand, why),
        }
    }

    /// A try has failed: another follows after so long, or it is given up.
    fn fail(&mut self, at: usize, key: Key, hand: &InHand, ended: Ended, wait: Option<Duration>, why: &str) {
        let now = self.clock.now();
        let now_ms = now.wall_ms;
        let Some(desk) = self.desks.get_mut(at) else { return };
        let lane = Lane::of(&hand.event);
        let attempts = hand.attempts.saturating_add(1);
        let mut row = DeliveryRow {
            attempts,
            status: DeliveryStatus::Dead,
            last_error: Some(cut(why)),
            hold_until_ms: desk.rule(lane, key, hand.key, hand.is_late, ended, now),
            ..desk.row(&hand.event, key.1, hand.key, now_ms)
        };
        if let Some(wait) = wait {
            row.status = DeliveryStatus::Retrying;
            row.next_ms = now_ms.saturating_add(millis(wait));
        } else {
            desk.metrics().dead.inc();
            let handler = &desk.plugin().name;
            let who = self.names.seat(lane.app, lane.workspace);
            say!(error, who, handler, seq = %key.0, attempts, "the delivery is given up; it can be replayed");
        }
        let outcome = if wait.is_some() { Outcome::Failed } else { Outcome::Dead };
        self.feed.tell_delivery(news(row.id, lane, outcome, attempts));
        desk.lanes.leave(lane);
        desk.ending.insert(key, lane);
        let settles = (hand.row == Row::None).then(|| (key.0, weight(&hand.event)));
        self.owing.push(Pending { change: DeliveryChange::Tried(row), desk: at, settles, waits: Waits::No });
    }

    /// Notes the end of a delivery that is in the store alone.
    pub(super) fn note_tried(&mut self, at: usize, row: DeliveryRow) {
        if let Some(desk) = self.desks.get_mut(at) {
            let key = (row.id.seq, row.id.run);
            desk.ending.insert(key, row.lane);
            desk.rule(row.lane, key, row.order_key, true, Ended::Over, self.clock.now());
        }
        self.owing.push(Pending {
            change: DeliveryChange::Tried(row),
            desk: at,
            settles: None,
            waits: Waits::No,
        });
    }

    /// What is not done after a second gets its row: below the mark nothing may be undone without one.
    pub(super) fn write_down_what_takes_long(&mut self) {
        let now = self.clock.now();
        let Some(then) = now.mono.checked_sub(GRACE) else { return };
        for seq in self.window.undone_since(then) {
            for (at, desk) in self.desks.iter_mut().enumerate() {
                let Some(hand) = desk.in_hand.get_mut(&(seq, 1)).filter(|hand| hand.row == Row::None) else {
                    continue;
                };
                hand.row = Row::OnItsWay;
                let (event, key) = (Arc::clone(&hand.event), hand.key);
                let change = DeliveryChange::Owed(desk.row(&event, 1, key, now.wall_ms));
                let settles = Some((seq, weight(&event)));
                self.owing.push(Pending { change, desk: at, settles, waits: Waits::No });
            }
        }
    }

    /// What was held up for long enough passes what has failed.
    pub(super) fn let_overdue_go(&mut self) {
        let now_ms = millis(self.clock.now().mono);
        for desk in &mut self.desks {
            for (lane, key, id) in desk.lanes.overdue(now_ms) {
                desk.let_go(lane, key, id);
            }
        }
    }

    pub(super) fn write(&mut self, ctx: &mut Context<Self>) {
        if let Some(group) = self.owing.begin() {
            self.write_group(group, ctx);
        }
    }

    fn write_group(&self, group: Vec<Pending>, ctx: &mut Context<Self>) {
        let (store, writer, now_ms) = (Arc::clone(&self.store), self.writer, self.clock.now().wall_ms);
        let changes: Vec<_> = group.iter().map(|pending| pending.change.clone()).collect();
        let writing = async move { store.write_deliveries(writer, &changes, now_ms).await };
        ctx.spawn(writing.into_actor(self).map(|written, act, ctx| match written {
            Ok(()) => act.on_written(group, ctx),
            Err(error) => {
                if act.owing.refused() {
                    tracing::error!(%error, "what is owed cannot be written down; it is tried again");
                }
                ctx.run_later(PAUSE, |act, ctx| act.write_group(group, ctx));
            }
        }));
    }

    /// What is due before the next tick is read when it is due.
    fn expect_due(&mut self, group: &[Pending], ctx: &mut Context<Self>) {
        let next = group.iter().filter_map(|pending| match &pending.change {
            DeliveryChange::Tried(row) if row.status == DeliveryStatus::Retrying => Some(row.next_ms),
            DeliveryChange::Tried(_) | DeliveryChange::Owed(_) | DeliveryChange::Done(_) => None,
        });
        let Some(next_ms) = next.min() else { return };
        let wait = next_ms.saturating_sub(self.clock.now().wall_ms).max(0);
        if wait >= millis(TICK) || self.due_at.is_some_and(|due_at| due_at <= next_ms) {
            return;
        }
        self.due_at = Some(next_ms);
        ctx.run_later(Duration::from_millis(wait.unsigned_abs()), |act, ctx| {
            act.due_at = None;
            act.read_due(ctx);
        });
    }

    fn on_written(&mut self, group: Vec<Pending>, ctx: &mut Context<Self>) {
        if self.owing.written() {
            tracing::info!("what is owed is written down again");
        }
        self.expect_due(&group, ctx);
        for Pending { change, desk, settles, waits } in group {
            if let Some((seq, weight)) = settles {
                self.settle(seq, weight);
            }
            let Some(desk) = self.desks.get_mut(desk) else { continue };
            let id = change.id();
            let key = (id.seq, id.run);
            if let DeliveryChange::Owed(row) = change {
                let is_back = desk.put_back.remove(&key);
                if is_back || waits != Waits::No {
                    desk.lanes.written(row.lane, is_back || waits == Waits::Old);
                } else if let Some(hand) = desk.in_hand.get_mut(&key) {
                    hand.row = Row::There;
                }
            } else {
                desk.is_known(key);
            }
        }
        self.go_on(ctx);
    }
}

/// What is told of a delivery that did not go well at once.
const fn news(id: DeliveryId, lane: Lane, outcome: Outcome, attempts: u32) -> DeliveryNews {
    let DeliveryId { seq, handler, run } = id;
    let Lane { app, workspace } = lane;
    DeliveryNews { app, workspace, seq, handler, run, outcome, attempts, untold: 0 }
}

/// The longest text of a failure that is kept, characters.
const LONGEST: usize = 500;

/// What a handler says may be of any length.
fn cut(why: &str) -> String {
    why.chars().take(LONGEST).collect()
}
