//! What a connection finds out and the store has to remember. Until it does, each note is written again: a token that is in
//! force here and a candidate there would be tried anew by the next node.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::{Connection, Duplicate};
use crate::actors::intake::Learnt;
use crate::actors::names::say;
use crate::ids::{AppId, WorkspaceId};
use crate::machine::connection::Input;
use crate::secret::AppToken;
use crate::status::{Code, Trouble};
use crate::store::{Seat, StoreError, Workspaces};

/// The longest wait before a note is written again; the first is a second, and they double.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Between looks whether the older of two rows for one Slack app is still there.
const LOOK_FOR_OLDER: Duration = Duration::from_secs(10);

/// Something for the store to remember.
#[derive(Clone)]
pub(super) enum Note {
    /// This candidate is the token in force.
    Promoted(AppToken),
    /// This candidate was refused.
    Refused(AppToken),
    /// Slack's id of the app.
    AppId(Box<str>),
    /// A workspace's team.
    Team(Learnt),
    /// Slack refuses a workspace's bot token.
    Trouble(WorkspaceId, Trouble),
}

impl Note {
    const fn what(&self) -> &'static str {
        match self {
            Self::Promoted(_) => "the new token is in force",
            Self::Refused(_) => "the new token is refused",
            Self::AppId(_) => "the app's id is known",
            Self::Team(_) => "the workspace's team is known",
            Self::Trouble(..) => "the workspace's bot token is refused",
        }
    }

    async fn write(&self, store: &dyn Workspaces, app: AppId, now_ms: i64) -> Result<(), StoreError> {
        match self {
            Self::Promoted(token) => store.promote_candidate(app, token, now_ms).await,
            Self::Refused(token) => store.drop_candidate(app, token, now_ms).await,
            Self::AppId(id) => store.learn_slack_app_id(app, id, now_ms).await,
            Self::Team(learnt) => {
                let (team, enterprise) = (learnt.team_id.as_deref(), learnt.enterprise_id.as_deref());
                store.learn_team(learnt.workspace, team, enterprise, now_ms).await
            }
            Self::Trouble(workspace, trouble) => store.note_trouble(*workspace, *trouble).await.map(|_| ()),
        }
    }
}

impl Connection {
    pub(super) fn promote(&mut self, ctx: &mut Context<Self>) {
        if let Some(token) = self.tokens.promote() {
            self.note(Note::Promoted(token), ctx);
        }
    }

    pub(super) fn drop_candidate(&mut self, code: Code, ctx: &mut Context<Self>) {
        say!(warn, self.who(), reason = code.as_str(), action = code.action(), "the new token is refused");
        if let Some(token) = self.tokens.refuse() {
            self.note(Note::Refused(token), ctx);
        }
    }

    /// Whose installation a workspace is. Where nothing was known it counts at once: its events are coming. Else once it is stored.
    pub(super) fn learn_team(&mut self, learnt: Learnt, ctx: &mut Context<Self>) {
        let Some(seat) = self.seat(learnt.workspace) else { return };
        let is_known = is_known(seat);
        if is(seat, &learnt) || (is_known && !learnt.by_token) {
            return;
        }
        if !is_known {
            self.seat_as(&learnt);
        }
        self.note(Note::Team(learnt), ctx);
    }

    fn seat(&self, workspace: WorkspaceId) -> Option<&Seat> {
        self.app.seats.iter().find(|seat| seat.workspace == workspace)
    }

    fn seat_as(&mut self, learnt: &Learnt) {
        for seat in self.app.seats.iter_mut().filter(|seat| seat.workspace == learnt.workspace) {
            seat.team_id = learnt.team_id.as_deref().map(str::to_owned);
            seat.enterprise_id = learnt.enterprise_id.as_deref().map(str::to_owned);
        }
        self.roster.replace(self.app.seats.clone());
        let place = learnt.team_id.as_deref().or(learnt.enterprise_id.as_deref());
        self.shared.names.is_of(self.id, learnt.workspace, place);
    }

    /// Slack has said otherwise while it could not be written.
    fn is_overtaken(&self, note: &Note) -> bool {
        let Note::Team(learnt) = note else { return false };
        !learnt.by_token && self.seat(learnt.workspace).is_none_or(|seat| is_known(seat) && !is(seat, learnt))
    }

    /// Writes a note, as often as it takes.
    pub(super) fn note(&mut self, note: Note, ctx: &mut Context<Self>) {
        self.write(note, Duration::from_secs(1), ctx);
    }

    fn write(&mut self, note: Note, wait: Duration, ctx: &mut Context<Self>) {
        if self.is_overtaken(&note) {
            return;
        }
        let (store, id, now_ms) = (Arc::clone(&self.shared.store), self.id, self.shared.clock.now().wall_ms);
        let writing = async move {
            let written = note.write(&*store, id, now_ms).await;
            let holder = match (&written, &note) {
                (Err(StoreError::Conflict(_)), Note::AppId(app_id)) => holder(&*store, id, app_id).await,
                _ => None,
            };
            (note, written, holder)
        };
        ctx.spawn(writing.into_actor(self).map(move |(note, written, holder), act, ctx| match (written, note) {
            (Ok(()), Note::Refused(token)) => act.tokens.is_noted(&token),
            (Ok(()), Note::Promoted(_)) => {}
            (Ok(()), Note::Team(learnt)) => {
                act.seat_as(&learnt);
                act.second_seats.retain(|second| *second != learnt.workspace);
                act.publish();
                act.entry.rows_changed();
            }
            (Ok(()), Note::AppId(_) | Note::Trouble(..)) => act.entry.rows_changed(),
            (Err(error @ StoreError::Conflict(_)), note @ Note::AppId(_)) => {
                say!(error, act.who(), ?holder, %error, "the app is registered twice; the younger of the two fails");
                act.is_registered_twice(holder, note, wait, ctx);
            }
            (Err(error @ StoreError::Conflict(_)), Note::Team(learnt)) => {
                say!(error, act.shared.names.seat(act.id, Some(learnt.workspace)), %error, "two workspaces are one installation; the later one fails");
                act.is_seated_twice(&learnt);
            }
            (Err(error), note) => {
                let what = note.what();
                say!(error, act.who(), %error, again_in = ?wait, "this could not be stored: {what}");
                Self::write_later(note, wait, ctx);
            }
        }));
    }

    fn write_later(note: Note, wait: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(wait, move |act, ctx| act.write(note, (wait * 2).min(LONGEST_WAIT), ctx));
    }

    /// Two rows for one Slack app: Slack would deal its events out between them.
    fn is_registered_twice(
        &mut self,
        holder: Option<AppId>,
        note: Note,
        wait: Duration,
        ctx: &mut Context<Self>,
    ) {
        match Holder::of(self.id, holder) {
            // Once the younger is removed the id is ours.
            Holder::Younger(younger) => {
                let duplicate = Duplicate { younger, older: self.id };
                if self.duplicates.try_send(duplicate).is_err() {
                    say!(debug, self.who(), %younger, "the supervisor does not listen");
                }
                Self::write_later(note, LONGEST_WAIT, ctx);
            }
            // The next hello asks for the id again.
            Holder::Older(older) => self.yield_to(older, ctx),
            Holder::Unknown => Self::write_later(note, wait, ctx),
        }
    }

    /// Halted for as long as the older row of the same Slack app is there.
    pub(super) fn yield_to(&mut self, older: AppId, ctx: &mut Context<Self>) {
        self.feed(Input::Halt(Code::DuplicateInstallation), ctx);
        if self.older.replace(older).is_none() {
            Self::look_for_older(ctx);
        }
    }

    fn look_for_older(ctx: &mut Context<Self>) {
        ctx.run_later(LOOK_FOR_OLDER, |act, ctx| {
            let Some(older) = act.older else { return };
            let store = Arc::clone(&act.shared.store);
            let looking = async move { store.app(older).await };
            ctx.spawn(looking.into_actor(act).map(move |found, act, ctx| match found {
                Ok(None) if act.older == Some(older) => {
                    act.older = None;
                    act.feed(Input::Lift(Code::DuplicateInstallation), ctx);
                }
                Ok(_) | Err(_) => Self::look_for_older(ctx),
            }));
        });
    }

    /// Two workspaces for one installation: the one that was there goes on, and the other has none of its events.
    fn is_seated_twice(&mut self, learnt: &Learnt) {
        for seat in self.app.seats.iter_mut().filter(|seat| is(seat, learnt)) {
            (seat.team_id, seat.enterprise_id) = (None, None);
        }
        self.shared.names.is_of(self.id, learnt.workspace, None);
        self.roster.replace(self.app.seats.clone());
        if !self.second_seats.contains(&learnt.workspace) {
            self.second_seats.push(learnt.workspace);
        }
        self.publish();
    }
}

fn is_known(seat: &Seat) -> bool {
    seat.team_id.is_some() || seat.enterprise_id.is_some()
}

fn is(seat: &Seat, learnt: &Learnt) -> bool {
    seat.workspace == learnt.workspace
        && seat.team_id.as_deref() == learnt.team_id.as_deref()
        && seat.enterprise_id.as_deref() == learnt.enterprise_id.as_deref()
}

/// The other row that has this id of Slack's.
async fn holder(store: &dyn Workspaces, own: AppId, slack_app_id: &str) -> Option<AppId> {
    let app = store.slack_app(slack_app_id).await.ok()??;
    Some(app.id).filter(|id| *id != own)
}

/// Who has the id that the store does not let this row have.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Younger(AppId),
    Older(AppId),
    /// Gone meanwhile, or the store did not say: nobody fails for that.
    Unknown,
}

impl Holder {
    fn of(own: AppId, holder: Option<AppId>) -> Self {
        match holder {
            Some(other) if other > own => Self::Younger(other),
            Some(other) => Self::Older(other),
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_fails_for_a_row_that_cannot_be_found() {
        assert_eq!(Holder::of(AppId(2), None), Holder::Unknown);
        assert_eq!(Holder::of(AppId(2), Some(AppId(1))), Holder::Older(AppId(1)));
        assert_eq!(Holder::of(AppId(2), Some(AppId(3))), Holder::Younger(AppId(3)));
    }
}
