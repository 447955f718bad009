//! Whose installation a workspace is, where nobody has said: Slack tells by its bot token. Workspaces that share an app are
//! told apart by nothing else. Slack also tells whether a new bot token is any good.

use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::Connection;
use super::notes::Note;
use crate::actors::intake::Learnt;
use crate::actors::names::say;
use crate::clock::Clock;
use crate::ids::WorkspaceId;
use crate::protocol::lifecycle::refuses_bot;
use crate::slack::web::{CallError, WebApi};
use crate::status::{Code, Trouble};
use crate::store::{Seat, Workspaces};

/// What Slack says of a workspace's bot token.
enum Told {
    Learnt(Learnt),
    /// It is refused; it was the stored one at this moment, milliseconds since 1970.
    Refused(i64),
    /// There is none.
    Nothing,
}

impl Connection {
    /// Asks for every workspace whose team is not known, and for every bot token that is new. One without a bot token learns its
    /// team from its first event, if it is the app's only one.
    pub(super) fn identify(&mut self, ctx: &mut Context<Self>) {
        for seat in self.app.seats.iter().filter(|seat| seat.trouble.is_none()) {
            let is_unknown = seat.team_id.is_none() && seat.enterprise_id.is_none();
            if !is_unknown && !self.has_new_bot(seat) {
                continue;
            }
            let workspace = seat.workspace;
            let (web, store) = (Rc::clone(&self.web), Arc::clone(&self.shared.store));
            let (identities, clock) = (Arc::clone(&self.shared.identities), self.shared.clock);
            let asking = async move {
                let _permit = identities.acquire_owned().await;
                ask(&web, &*store, workspace, clock).await
            };
            ctx.spawn(asking.into_actor(self).map(move |told, act, ctx| match told {
                Ok(Told::Learnt(learnt)) if is_unknown => act.learn_team(learnt, ctx),
                Ok(Told::Learnt(_) | Told::Nothing) => {}
                Ok(Told::Refused(since_ms)) => {
                    let code = Code::BotTokenRevoked;
                    say!(
                        error,
                        act.shared.names.seat(act.id, Some(workspace)),
                        reason = code.as_str(),
                        action = code.action(),
                        "{}",
                        code.message()
                    );
                    act.note(Note::Trouble(workspace, Trouble { code, since_ms }), ctx);
                }
                Err(problem) => {
                    say!(
                        warn,
                        act.shared.names.seat(act.id, Some(workspace)),
                        problem,
                        "whose bot token this is could not be found out"
                    );
                }
            }));
        }
        let bots = self.app.seats.iter().filter_map(|seat| Some((seat.workspace, seat.bot_ms?)));
        self.bots = Some(bots.collect());
    }

    /// Was its bot token put in place, or a trouble forgiven, since this connection began? What was there before is not asked about: after a start that
    /// would be a call for every workspace.
    fn has_new_bot(&self, seat: &Seat) -> bool {
        seat.bot_ms.is_some()
            && self.bots.as_ref().is_some_and(|bots| bots.get(&seat.workspace).copied() != seat.bot_ms)
    }
}

async fn ask(
    web: &WebApi,
    store: &dyn Workspaces,
    workspace: WorkspaceId,
    clock: Clock,
) -> Result<Told, String> {
    let asked_ms = clock.now().wall_ms;
    let Some(token) = store.bot_token(workspace).await.map_err(|error| error.to_string())? else {
        return Ok(Told::Nothing);
    };
    let identity = match web.auth_test(&token).await {
        Ok(identity) => identity,
        Err(CallError::Refused(error)) if refuses_bot(&error) => return Ok(Told::Refused(asked_ms)),
        Err(error) => return Err(error.to_string()),
    };
    // An install in a whole organisation has a team in the answer that says nothing of it.
    let team_id = identity.team_id.filter(|_| !identity.is_enterprise_install);
    Ok(Told::Learnt(Learnt {
        workspace,
        team_id: team_id.map(Into::into),
        enterprise_id: identity.enterprise_id.map(Into::into),
    }))
}
