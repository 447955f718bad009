//! What a dispatcher learns from the store: what was owed before its start, and later what others change: which handlers are paused, and
//! what nodes that died have left.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;

use super::desk::Desk;
use super::{Dispatcher, PAUSE};
use crate::ids::{HandlerId, Seq};
use crate::store::{Backlog, DeliveryId, DeliveryRow, KnownHandler, Paused, StoreError};

/// How often it is looked whether anything waits of which this node does not know, in ticks.
const LOOK: u32 = 30;

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
                rows: store.rows_above(settled).await?,
                backlogs: store.backlogs().await?,
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
        for DeliveryRow { id, lane, order_key, hold_until_ms, .. } in before.holders {
            if let Some(desk) = self.desk_of(id.handler)
                && let (Some(key), Some(until_ms)) = (order_key, hold_until_ms)
            {
                desk.lanes.hold(lane, key, (id.seq, id.run), until_ms);
            }
        }
        self.on_paused(&before.paused);
        self.on_backlogs(&before.backlogs);
        self.has_begun = true;
        self.read_due(ctx);
        self.go_on(ctx);
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
        let (store, is_long) = (Arc::clone(&self.store), self.ticks.is_multiple_of(LOOK));
        let look = async move {
            let backlogs = if is_long { store.backlogs().await? } else { Vec::new() };
            Ok::<_, StoreError>((store.paused().await?, backlogs))
        };
        ctx.spawn(look.into_actor(self).map(|seen, act, ctx| match seen {
            Ok((paused, backlogs)) => {
                act.on_backlogs(&backlogs);
                act.on_paused(&paused);
                act.go_on(ctx);
            }
            Err(error) => tracing::debug!(%error, "it is not known what is paused"),
        }));
    }

    /// What is paused is given nothing more, and gives back what it has not begun.
    fn on_paused(&mut self, paused: &Paused) {
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
