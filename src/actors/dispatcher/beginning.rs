//! What a dispatcher learns from the store: what was owed before its start, and later what others change: which handlers are paused, and
//! what nodes that died have left.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;

use super::desk::Desk;
use super::{Dispatcher, PAUSE, millis};
use crate::ids::{HandlerId, Seq};
use crate::machine::holds::from_wall;
use crate::machine::wall::SET_BACK_MS;
use crate::store::{Backlog, Deliveries, DeliveryId, DeliveryRow, KnownHandler, Paused, StoreError};

/// How often it is looked whether anything waits of which this node does not know, in ticks.
const LOOK: u32 = 15;

/// While so few hold up others it is looked each tick whether they still do: whoever discards one wants those behind it to go on.
const FEW: usize = 256;

/// What is asked of the store now and then, each by one at a time: the answer to an older one would be taken for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Look {
    Paused,
    Holders,
    Waiting,
    /// What was put off by a clock that was ahead, to be due now.
    PutOff,
}

/// What was owed before the start.
struct Before {
    handlers: Vec<KnownHandler>,
    rows: Vec<DeliveryId>,
    backlogs: Vec<Backlog>,
    holders: Vec<DeliveryRow>,
    paused: Paused,
}

impl Dispatcher {
    /// Learns what was owed before the start, tried until the store answers.
    pub(super) fn begin(&self, ctx: &mut Context<Self>) {
        let (store, now_ms) = (Arc::clone(&self.store), self.clock.now().wall_ms);
        let names: Vec<String> = self.desks.iter().map(|desk| desk.plugin().name.clone()).collect();
        let settled = self.window.last();
        let before = async move {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Ok::<_, StoreError>(Before {
                handlers: store.declare_handlers(&names, now_ms).await?,
                rows: rows_above(&*store, settled).await?,
                backlogs: backlogs(&*store).await?,
                holders: store.holders(now_ms).await?,
                paused: store.paused().await?,
            })
        };
        ctx.spawn(before.into_actor(self).map(|before, act, ctx| match before {
            Ok(before) => act.on_before(before, ctx),
            Err(error) => {
                tracing::warn!(%error, "what is owed cannot be read; nothing is handled until it can");
                ctx.run_later(PAUSE, |act, ctx| act.begin(ctx));
            }
        }));
    }

    fn on_before(&mut self, before: Before, ctx: &mut Context<Self>) {
        for (desk, known) in self.desks.iter_mut().zip(&before.handlers) {
            desk.id = known.id;
        }
        let last = before.rows.last().map_or(Seq(0), |id| id.seq);
        self.ruled = (before.rows.into_iter().collect(), last);
        self.on_holders(&before.holders);
        self.on_paused(&before.paused);
        self.on_backlogs(&before.backlogs);
        self.has_begun = true;
        // The clock may have been set back while nobody was here.
        self.hurry(self.clock.now().wall_ms.saturating_add(SET_BACK_MS), ctx);
        self.read_due(ctx);
        self.go_on(ctx);
    }

    /// Those that hold up their keys by the store's word: another node's that died are held up here from now on, and who was discarded
    /// holds up nobody.
    fn on_holders(&mut self, holders: &[DeliveryRow]) {
        let now = self.clock.now();
        let named: HashSet<DeliveryId> = holders.iter().map(|row| row.id).collect();
        for desk in &mut self.desks {
            let since = desk.reading_holders.take().unwrap_or_default();
            for (lane, order, key) in desk.lanes.all_held() {
                if !desk.is_stale(key, &since) && !named.contains(&desk.id_of(key)) {
                    desk.let_go(lane, order, key);
                }
            }
            let hold = desk.plugin().options.hold;
            for DeliveryRow { id, lane, order_key, hold_until_ms, .. } in holders {
                let key = (id.seq, id.run);
                let (Some(order), Some(until_ms)) = (*order_key, *hold_until_ms) else { continue };
                let is_ours = id.handler == desk.id && !desk.is_stale(key, &since);
                if is_ours {
                    let (until_ms, now_ms) = (from_wall(until_ms, now), millis(now.mono));
                    desk.lanes.take_over(*lane, order, key, until_ms, hold, now_ms);
                }
            }
        }
    }

    fn on_backlogs(&mut self, backlogs: &[Backlog]) {
        for Backlog { handler, lane, .. } in backlogs {
            if let Some(desk) = self.desk_of(*handler) {
                desk.lanes.found(*lane);
            }
        }
    }

    fn desk_of(&mut self, handler: HandlerId) -> Option<&mut Desk> {
        self.desks.iter_mut().find(|desk| desk.id == handler)
    }

    /// What is paused, and now and then what waits that this node does not know of.
    pub(super) fn look_around(&mut self, ctx: &mut Context<Self>) {
        self.ticks = self.ticks.wrapping_add(1);
        self.look_who_is_paused(ctx);
        let is_long = self.ticks.is_multiple_of(LOOK);
        let held: usize = self.desks.iter().map(|desk| desk.lanes.held_count()).sum();
        if is_long || (1..=FEW).contains(&held) {
            self.look_who_holds(ctx);
        }
        if is_long {
            self.look_what_waits(ctx);
        }
    }

    fn look_who_is_paused(&mut self, ctx: &mut Context<Self>) {
        if !self.looks.insert(Look::Paused) {
            return;
        }
        let store = Arc::clone(&self.store);
        let look = async move { store.paused().await };
        ctx.spawn(look.into_actor(self).map(|paused, act, ctx| {
            act.looks.remove(&Look::Paused);
            match paused {
                Ok(paused) => {
                    act.on_paused(&paused);
                    act.go_on(ctx);
                }
                Err(error) => tracing::debug!(%error, "it is not known what is paused"),
            }
        }));
    }

    fn look_who_holds(&mut self, ctx: &mut Context<Self>) {
        if !self.looks.insert(Look::Holders) {
            return;
        }
        for desk in &mut self.desks {
            desk.reading_holders = Some(HashSet::new());
        }
        // Who holds up others does so for a time of this process's, wherever the wall clock has been set to since.
        let now = self.clock.now();
        let so_far = millis(now.mono.saturating_sub(self.made.mono));
        let now_ms = now.wall_ms.min(self.made.wall_ms.saturating_add(so_far));
        let store = Arc::clone(&self.store);
        let look = async move { store.holders(now_ms).await };
        ctx.spawn(look.into_actor(self).map(|holders, act, ctx| {
            act.looks.remove(&Look::Holders);
            match holders {
                Ok(holders) => {
                    act.on_holders(&holders);
                    act.go_on(ctx);
                }
                Err(error) => {
                    act.desks.iter_mut().for_each(|desk| desk.reading_holders = None);
                    tracing::debug!(%error, "it is not known who holds up others");
                }
            }
        }));
    }

    fn look_what_waits(&mut self, ctx: &mut Context<Self>) {
        if !self.looks.insert(Look::Waiting) {
            return;
        }
        let store = Arc::clone(&self.store);
        let look = async move { backlogs(&*store).await };
        ctx.spawn(look.into_actor(self).map(|backlogs, act, ctx| {
            act.looks.remove(&Look::Waiting);
            match backlogs {
                Ok(backlogs) => {
                    act.on_backlogs(&backlogs);
                    act.go_on(ctx);
                }
                Err(error) => tracing::debug!(%error, "it is not known what else waits"),
            }
        }));
    }

    /// What is paused is given nothing more, and gives back what it has not begun.
    pub(super) fn on_paused(&mut self, paused: &Paused) {
        let workspaces: HashSet<_> = paused.workspaces.iter().copied().collect();
        let news: Vec<_> = workspaces.difference(&self.paused).copied().collect();
        let is_changed = workspaces != self.paused;
        self.paused = workspaces;
        for desk in &mut self.desks {
            let is_paused = paused.handlers.contains(&desk.id);
            let was_paused = std::mem::replace(&mut desk.is_paused, is_paused);
            let handler = &desk.plugin().name;
            if is_paused && !was_paused {
                tracing::info!(handler, "the handler is paused: what comes for it waits on disk");
                desk.ask_all_back();
            } else if !news.is_empty() {
                desk.ask_back(news.clone());
            }
            if was_paused && !is_paused {
                tracing::info!(handler = desk.plugin().name, "the handler is given deliveries again");
            }
            if is_changed || was_paused {
                desk.lanes.look_at_all();
            }
        }
    }
}

/// Read at once.
const PAGE: u32 = 500;

async fn rows_above(store: &dyn Deliveries, settled: Seq) -> Result<Vec<DeliveryId>, StoreError> {
    let mut rows = Vec::new();
    let mut after = DeliveryId { seq: settled, handler: HandlerId(i64::MAX), run: u32::MAX };
    loop {
        let page = store.rows_above(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = *last;
        rows.extend(page);
    }
}

async fn backlogs(store: &dyn Deliveries) -> Result<Vec<Backlog>, StoreError> {
    let mut backlogs: Vec<Backlog> = Vec::new();
    loop {
        let page = store.backlogs(backlogs.last(), PAGE).await?;
        if page.is_empty() {
            return Ok(backlogs);
        }
        backlogs.extend(page);
    }
}
