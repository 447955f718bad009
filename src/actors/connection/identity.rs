//! Whose installation a workspace is, where nobody has said: Slack tells by its bot token. Workspaces that share an app are
//! told apart by nothing else. Slack also tells whether a new bot token is any good.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::Connection;
use super::notes::Note;
use crate::actors::intake::Learnt;
use crate::actors::names::say;
use crate::clock::Clock;
use crate::ids::WorkspaceId;
use crate::machine::dice::Dice;
use crate::machine::inquiries::Question;
use crate::protocol::lifecycle::refuses_bot;
use crate::slack::web::{CallError, WebApi};
use crate::status::{Code, Trouble};
use crate::store::{Seat, Workspaces};

/// What Slack says of a workspace's bot token.
enum Told {
    Learnt(Learnt),
    /// It is refused; it was the stored one at this moment, milliseconds since 1970.
    Refused(i64),
    /// There is none, or it belongs to nobody.
    Nothing,
}

/// Nothing was said.
struct Unanswered {
    problem: String,
    /// Slack's own word, from now.
    retry_after: Option<Duration>,
}

impl Connection {
    /// Has it found out whose every workspace is whose team is not known, and every bot token that is new. One without a bot token
    /// learns its team from its first event, if it is the app's only one.
    pub(super) fn identify(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        let seats = || self.app.seats.iter().filter(|seat| seat.trouble.is_none());
        self.inquiries.retain(|workspace| seats().any(|seat| seat.workspace == workspace));
        for seat in seats() {
            let is_unknown = seat.team_id.is_none() && seat.enterprise_id.is_none();
            let is_new = self.has_new_bot(seat);
            if is_unknown || is_new {
                self.inquiries.want(now, seat.workspace, is_new);
            }
        }
        let bots = self.app.seats.iter().filter_map(|seat| Some((seat.workspace, seat.bot_ms?)));
        self.bots = Some(bots.collect());
        self.inquire(ctx);
        self.arm(ctx);
    }

    /// Those that nothing tells from the others on the app: it goes on for all of them, and not one event is theirs.
    pub(super) fn tokenless(&self) -> impl Iterator<Item = WorkspaceId> {
        let is_shared = self.app.seats.len() > 1;
        let is_told_apart =
            |seat: &Seat| seat.team_id.is_some() || seat.enterprise_id.is_some() || seat.bot_ms.is_some();
        let seats = self.app.seats.iter();
        seats.filter(move |seat| is_shared && !is_told_apart(seat)).map(|seat| seat.workspace)
    }

    /// Asks what is due.
    pub(super) fn inquire(&mut self, ctx: &mut Context<Self>) {
        while let Some(question) = self.inquiries.poll_question(self.shared.clock.mono()) {
            let (web, store) = (Rc::clone(&self.web), Arc::clone(&self.shared.store));
            let (identities, clock) = (Arc::clone(&self.shared.identities), self.shared.clock);
            let asking = async move {
                let _permit = identities.acquire_owned().await;
                ask(&web, &*store, question.workspace, clock).await
            };
            let asking = asking.into_actor(self);
            ctx.spawn(asking.map(move |answer, act, ctx| act.on_identity(question, answer, ctx)));
        }
    }

    fn on_identity(&mut self, question: Question, answer: Result<Told, Unanswered>, ctx: &mut Context<Self>) {
        let workspace = question.workspace;
        match answer {
            Err(Unanswered { problem, retry_after }) => {
                let (now, mut dice) = (self.shared.clock.mono(), Dice::new(rand::random()));
                if self.inquiries.failed(now, question, retry_after, &mut dice) == Some(1) {
                    say!(
                        warn,
                        self.shared.names.seat(self.id, Some(workspace)),
                        problem,
                        "whose bot token this is could not be found out; it is asked again"
                    );
                }
            }
            Ok(told) if self.inquiries.found_out(question) => match told {
                Told::Learnt(learnt) => self.learn_team(learnt, ctx),
                Told::Nothing => {}
                Told::Refused(since_ms) => {
                    let code = Code::BotTokenRevoked;
                    say!(
                        error,
                        self.shared.names.seat(self.id, Some(workspace)),
                        reason = code.as_str(),
                        action = code.action(),
                        "{}",
                        code.message()
                    );
                    self.note(Note::Trouble(workspace, Trouble { code, since_ms }), ctx);
                }
            },
            // Of a token that was replaced meanwhile.
            Ok(_) => {}
        }
        self.publish();
        self.arm(ctx);
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
) -> Result<Told, Unanswered> {
    let asked_ms = clock.now().wall_ms;
    let token = match store.bot_token(workspace).await {
        Ok(Some(token)) => token,
        Ok(None) => return Ok(Told::Nothing),
        Err(error) => return Err(Unanswered { problem: error.to_string(), retry_after: None }),
    };
    let identity = match web.auth_test(&token).await {
        Ok(identity) => identity,
        Err(CallError::Refused(error)) if refuses_bot(&error) => return Ok(Told::Refused(asked_ms)),
        Err(error) => {
            let retry_after = if let CallError::RateLimited(wait) = &error { Some(*wait) } else { None };
            return Err(Unanswered { problem: error.to_string(), retry_after });
        }
    };
    // An install in a whole organisation has a team in the answer that says nothing of it.
    let team_id = identity.team_id.filter(|_| !identity.is_enterprise_install);
    if team_id.is_none() && identity.enterprise_id.is_none() {
        return Ok(Told::Nothing);
    }
    Ok(Told::Learnt(Learnt {
        workspace,
        team_id: team_id.map(Into::into),
        enterprise_id: identity.enterprise_id.map(Into::into),
        by_token: true,
    }))
}
