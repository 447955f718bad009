//! What events say of the installation they are for: the app is taken away, its bot token revoked, its events held back. Noted on
//! the workspace before the event counts as done, so that no crash loses it. The connection is its app's: it stays.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::changes::{Changes, What};
use super::names::{Names, say};
use crate::clock::{Clock, millis};
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

/// Between questions about one workspace that Slack does not answer, at most; the first waits for [`ASK_AGAIN`], each for twice as long.
const ASK_AT_LEAST: Duration = Duration::from_mins(5);

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
    /// Workspaces about which Slack is being asked behind what is believed of them.
    behind: Arc<Mutex<HashMap<WorkspaceId, Doubt>>>,
    changes: Arc<Changes>,
    names: Arc<Names>,
}

/// What is to be found out of a workspace.
struct Doubt {
    /// What events say of it.
    code: Code,
    /// Another event has come since Slack was asked.
    is_new: bool,
}

/// What Slack says of a workspace's bot token. The token was the stored one when it was asked, milliseconds since 1970.
enum Asked {
    /// None is stored.
    NoToken,
    Fine(i64),
    /// Refused for good.
    Refused(i64),
    /// No answer that says anything; Slack may want to be left alone for so long.
    Unknown(Duration),
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
                        Some(Asked::Fine(_) | Asked::NoToken) => {}
                        Some(Asked::Unknown(wait)) => self.ask_behind(place, trouble.code, wait),
                        None => self.ask_behind(place, trouble.code, Duration::ZERO),
                    }
                }
            }
            News::BotRevoked { at_ms } => {
                let trouble = Trouble { code: Code::BotTokenRevoked, since_ms: since(at_ms) };
                match self.ask_until(workspace, until).await {
                    Some(Asked::Refused(since_ms)) => {
                        self.note(place, Trouble { since_ms, ..trouble }).await;
                    }
                    Some(Asked::NoToken) => drop(self.note(place, trouble).await),
                    // Another token of the same bot, as after its token was changed; but look once more.
                    Some(Asked::Fine(_)) => drop(actix_rt::spawn(self.clone().ask_again(place))),
                    Some(Asked::Unknown(wait)) => {
                        self.note(place, trouble).await;
                        self.ask_behind(place, trouble.code, wait);
                    }
                    None => {
                        self.note(place, trouble).await;
                        self.ask_behind(place, trouble.code, Duration::ZERO);
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

    /// Asks Slack, after a wait, about what an event says, once for each workspace at a time, in its turn. Who is being asked about is
    /// asked about once more.
    fn ask_behind(&self, place: (AppId, WorkspaceId), code: Code, wait: Duration) {
        match self.behind().entry(place.1) {
            Entry::Occupied(mut there) => {
                let doubt = there.get_mut();
                // Being uninstalled says more.
                doubt.code = if doubt.code == Code::AppUninstalled { doubt.code } else { code };
                doubt.is_new = true;
            }
            Entry::Vacant(doubts) => {
                doubts.insert(Doubt { code, is_new: true });
                drop(actix_rt::spawn(self.clone().find_out(place, wait.clamp(ASK_AGAIN, ASK_AT_LEAST))));
            }
        }
    }

    /// Asks until Slack has said something since the last event came.
    async fn find_out(self, place: (AppId, WorkspaceId), mut wait: Duration) {
        let mut pause = ASK_AGAIN;
        while let Some(code) = self.next_doubt(place.1) {
            self.clock.sleep(wait).await;
            wait = ASK_AGAIN;
            match self.ask(place.1).await {
                Asked::Refused(since_ms) => drop(self.note(place, Trouble { code, since_ms }).await),
                Asked::Fine(asked_ms) => self.take_back(place, asked_ms).await,
                Asked::NoToken => {}
                Asked::Unknown(at_least) => {
                    wait = pause.max(at_least).min(ASK_AT_LEAST);
                    pause = pause.saturating_mul(2).min(ASK_AT_LEAST);
                    self.ask_behind(place, code, wait);
                }
            }
        }
    }

    /// What is to be asked now; none, and Slack is asked no more, where no event has come since the last question.
    fn next_doubt(&self, workspace: WorkspaceId) -> Option<Code> {
        let mut behind = self.behind();
        match behind.get_mut(&workspace) {
            Some(doubt) if doubt.is_new => {
                doubt.is_new = false;
                Some(doubt.code)
            }
            Some(_) | None => {
                behind.remove(&workspace);
                None
            }
        }
    }

    fn behind(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Doubt>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event that was believed about a workspace's bot token is not so, said Slack then. Of what has come since it said nothing.
    async fn take_back(&self, (app, workspace): (AppId, WorkspaceId), asked_ms: i64) {
        // Only of a revoked bot token is an event believed about which Slack is asked.
        let disprove = || self.store.disprove(workspace, Code::BotTokenRevoked, asked_ms);
        if self.until_written((app, workspace), disprove).await {
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
        self.clock.sleep(ASK_AGAIN).await;
        match self.ask(place.1).await {
            Asked::Refused(since_ms) => {
                self.note(place, Trouble { code: Code::BotTokenRevoked, since_ms }).await;
            }
            Asked::Fine(_) | Asked::NoToken => {
                say!(
                    info,
                    self.names.seat(place.0, Some(place.1)),
                    "a bot token was revoked, but not the stored one"
                );
            }
            Asked::Unknown(wait) => self.ask_behind(place, Code::BotTokenRevoked, wait),
        }
    }

    async fn ask(&self, workspace: WorkspaceId) -> Asked {
        let _permit = self.pace.acquire().await.ok();
        let asked_ms = self.clock.now().wall_ms;
        let token = match self.store.bot_token(workspace).await {
            Ok(Some(token)) => token,
            Ok(None) => return Asked::NoToken,
            Err(_) => return Asked::Unknown(Duration::ZERO),
        };
        match WebApi::here(&self.outside).auth_test(&token).await {
            Ok(_) => Asked::Fine(asked_ms),
            Err(CallError::Refused(error)) if lifecycle::refuses_bot(&error) => Asked::Refused(asked_ms),
            Err(CallError::RateLimited(wait)) => Asked::Unknown(wait),
            Err(CallError::Refused(_) | CallError::Status(_) | CallError::Unreachable) => {
                Asked::Unknown(Duration::ZERO)
            }
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

#[cfg(test)]
mod tests;
