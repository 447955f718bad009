//! What events say of the installation they are for: the app is taken away, its bot token revoked, its events held back. Noted on
//! the workspace before the event counts as done, so that no crash loses it. The connection is its app's: it stays.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::changes::{Changes, What};
use super::names::{Names, say};
use crate::clock::Clock;
use crate::event::{Event, Kind};
use crate::ids::{AppId, WorkspaceId};
use crate::protocol::lifecycle::{self, Lifecycle as News};
use crate::slack::web::{CallError, Outside, WebApi};
use crate::status::{Code, Trouble};
use crate::store::{StoreError, Workspaces};

/// How many ask Slack about a bot token at the same time.
const ASKING: usize = 8;

/// Slack may accept a token for a moment after it says that it was revoked.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Between tries to write while the database takes no writes.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Slack tells of each limited minute when it is over; another may have begun.
const LIMITED_AFTER: Duration = Duration::from_secs(90);

/// Takes up what events say of their installations.
#[derive(Clone)]
pub(super) struct Lifecycle {
    store: Arc<dyn Workspaces>,
    outside: Arc<Outside>,
    clock: Clock,
    pace: Arc<Semaphore>,
    /// Workspaces about which Slack is being asked while they are believed to be in trouble.
    behind: Arc<Mutex<HashSet<WorkspaceId>>>,
    changes: Arc<Changes>,
    names: Arc<Names>,
}

/// What Slack says of a workspace's bot token.
enum Asked {
    /// None is stored.
    NoToken,
    Fine,
    /// Refused for good; the token was the stored one at this moment, milliseconds since 1970.
    Refused(i64),
    /// No answer that says anything.
    Unknown,
}

/// Does the event say something of its installation? Asked of every event.
pub(super) fn concerns(event: &Event) -> bool {
    event.kind == Kind::EventsApi && lifecycle::concerns(&event.kind_type)
}

impl Lifecycle {
    pub(super) fn new(
        store: Arc<dyn Workspaces>,
        outside: Arc<Outside>,
        clock: Clock,
        changes: Arc<Changes>,
        names: Arc<Names>,
    ) -> Self {
        Self {
            store,
            outside,
            clock,
            pace: Arc::new(Semaphore::new(ASKING)),
            behind: Arc::default(),
            changes,
            names,
        }
    }

    /// Takes an event up. Returns when what it says is stored, however long the database takes. For Slack's word on it nobody waits longer
    /// than `until`, monotonic: then the event is believed, and Slack is asked behind it.
    pub(super) async fn take(&self, event: &Event, until: Duration) {
        let Some(news) = lifecycle::read(&event.kind_type, &event.payload) else { return };
        let Some(workspace) = event.workspace else {
            say!(
                warn,
                self.names.seat(event.app, None),
                event = &*event.kind_type,
                "an event about an installation that no workspace here stands for"
            );
            return;
        };
        let place = (event.app, workspace);
        // Our clock says when it came, so a clock of Slack's that is ahead says nothing of the future.
        let since = |at_ms: Option<i64>| at_ms.unwrap_or(event.received_ms).min(event.received_ms);
        match news {
            News::Uninstalled { at_ms } => {
                let trouble = Trouble { code: Code::AppUninstalled, since_ms: since(at_ms) };
                // What came late may be of an installation before this one. Slack knows.
                if !self.note(place, trouble).await {
                    match self.ask_until(workspace, until).await {
                        Some(Asked::Refused(since_ms)) => {
                            self.note(place, Trouble { since_ms, ..trouble }).await;
                        }
                        Some(Asked::Fine | Asked::NoToken | Asked::Unknown) => {}
                        None => self.ask_behind(place, trouble),
                    }
                }
            }
            News::BotRevoked { at_ms } => {
                let trouble = Trouble { code: Code::BotTokenRevoked, since_ms: since(at_ms) };
                match self.ask_until(workspace, until).await {
                    Some(Asked::Refused(since_ms)) => {
                        self.note(place, Trouble { since_ms, ..trouble }).await;
                    }
                    Some(Asked::NoToken | Asked::Unknown) => drop(self.note(place, trouble).await),
                    // Another token of the same bot, as after its token was changed; but look once more.
                    Some(Asked::Fine) => drop(actix_rt::spawn(self.clone().ask_again(place))),
                    None => {
                        self.note(place, trouble).await;
                        self.ask_behind(place, trouble);
                    }
                }
            }
            News::RateLimited { minute_ends_ms } => {
                let longest = event.received_ms.saturating_add(millis(LIMITED_AFTER));
                let until = minute_ends_ms.map_or(longest, |ends| ends.saturating_add(millis(LIMITED_AFTER)));
                self.limit(place, until.min(longest)).await;
            }
        }
    }

    /// What Slack says of a bot token; none where it has not said it by then.
    async fn ask_until(&self, workspace: WorkspaceId, until: Duration) -> Option<Asked> {
        if self.clock.mono() >= until {
            return None;
        }
        tokio::time::timeout_at(self.clock.instant(until), self.ask(workspace)).await.ok()
    }

    /// Asks Slack about what has been believed, once for each workspace at a time, in its turn.
    fn ask_behind(&self, place: (AppId, WorkspaceId), trouble: Trouble) {
        if self.behind().insert(place.1) {
            drop(actix_rt::spawn(self.clone().find_out(place, trouble)));
        }
    }

    async fn find_out(self, place: (AppId, WorkspaceId), trouble: Trouble) {
        let asked = self.ask(place.1).await;
        self.behind().remove(&place.1);
        match asked {
            Asked::Refused(since_ms) => drop(self.note(place, Trouble { since_ms, ..trouble }).await),
            Asked::Fine => self.take_back(place).await,
            Asked::NoToken | Asked::Unknown => {}
        }
    }

    fn behind(&self) -> MutexGuard<'_, HashSet<WorkspaceId>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was believed of a workspace is not so.
    async fn take_back(&self, (app, workspace): (AppId, WorkspaceId)) {
        let seats = self.store.app(app).await.ok().flatten().map(|app| app.seats).unwrap_or_default();
        let Some(seat) = seats.into_iter().find(|seat| seat.workspace == workspace) else { return };
        let now_ms = self.clock.now().wall_ms;
        if self.until_written((app, workspace), || self.store.forgive(&seat.name, now_ms)).await {
            self.changes.mark(app, What::Rows);
            let who = self.names.seat(app, Some(workspace));
            say!(
                info,
                who,
                "Slack takes the bot token after all, of which an event said that it was revoked"
            );
        }
    }

    async fn ask_again(self, place: (AppId, WorkspaceId)) {
        tokio::time::sleep(ASK_AGAIN).await;
        match self.ask(place.1).await {
            Asked::Refused(since_ms) => {
                self.note(place, Trouble { code: Code::BotTokenRevoked, since_ms }).await;
            }
            Asked::Fine | Asked::NoToken | Asked::Unknown => {
                say!(
                    info,
                    self.names.seat(place.0, Some(place.1)),
                    "a bot token was revoked, but not the stored one"
                );
            }
        }
    }

    async fn ask(&self, workspace: WorkspaceId) -> Asked {
        let _permit = self.pace.acquire().await.ok();
        let asked_ms = self.clock.now().wall_ms;
        let token = match self.store.bot_token(workspace).await {
            Ok(Some(token)) => token,
            Ok(None) => return Asked::NoToken,
            Err(_) => return Asked::Unknown,
        };
        match WebApi::here(&self.outside).auth_test(&token).await {
            Ok(_) => Asked::Fine,
            Err(CallError::Refused(error)) if lifecycle::refuses_bot(&error) => Asked::Refused(asked_ms),
            Err(
                CallError::Refused(_)
                | CallError::RateLimited(_)
                | CallError::Status(_)
                | CallError::Unreachable,
            ) => Asked::Unknown,
        }
    }

    /// Notes a trouble; false when it is no news.
    async fn note(&self, (app, workspace): (AppId, WorkspaceId), trouble: Trouble) -> bool {
        let noted =
            self.until_written((app, workspace), || self.store.note_trouble(workspace, trouble)).await;
        if noted {
            self.changes.mark(app, What::Rows);
            self.tell(app, workspace, trouble.code).await;
        }
        noted
    }

    async fn limit(&self, (app, workspace): (AppId, WorkspaceId), until_ms: i64) {
        if self.until_written((app, workspace), || self.store.note_limit(workspace, until_ms)).await {
            self.changes.mark(app, What::Rows);
            let code = Code::AppRateLimited;
            say!(
                warn,
                self.names.seat(app, Some(workspace)),
                reason = code.as_str(),
                action = code.action(),
                "{}",
                code.message()
            );
        }
    }

    async fn tell(&self, app: AppId, workspace: WorkspaceId, code: Code) {
        let seats = self.store.app(app).await.ok().flatten().map(|app| app.seats).unwrap_or_default();
        let who = self.names.seat(app, Some(workspace));
        say!(error, who, reason = code.as_str(), action = code.action(), "{}", code.message());
        if !seats.is_empty() && seats.iter().all(|seat| seat.trouble == Some(Code::AppUninstalled)) {
            say!(
                warn,
                self.names.app(app),
                "every workspace of the app has removed it; its socket stays, for Slack keeps it. Remove the workspaces to close it"
            );
        }
    }

    /// Writes, as often as it takes. False also where the database will never take it.
    async fn until_written<F: Future<Output = Result<bool, StoreError>>>(
        &self,
        (app, workspace): (AppId, WorkspaceId),
        write: impl Fn() -> F,
    ) -> bool {
        loop {
            let error = match write().await {
                Ok(noted) => return noted,
                Err(error) => error,
            };
            let who = self.names.seat(app, Some(workspace));
            let StoreError::Unavailable(problem) = error else {
                say!(error, who, %error, "what an event says of its installation cannot be stored");
                return false;
            };
            say!(debug, who, problem, "what an event says of its installation waits for the database");
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
