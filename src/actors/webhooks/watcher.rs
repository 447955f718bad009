//! From what is published of every workspace to notices in the store. What the rules need of stored workspaces is kept here and read
//! again only where it has changed, the rest when it is told; what connections say is looked at only where that has changed.

mod shown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use super::notice;
use crate::actors::changes::What;
use crate::actors::directory::Directory;
use crate::clock::Clock;
use crate::ids::{AppId, WorkspaceId};
use crate::machine::notice::{Action, Input, Notices, Seen, Timing, Topic};
use crate::status::{Code, Standing, Status};
use crate::store::{About, Memory, NewNotice, Remember, Store, StoreError, Transition};

/// Between looks at a store that does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Notices that wait in memory while the store takes no writes; of more, the oldest are lost, and what was told of their workspaces
/// is remembered all the same.
const MOST_PENDING: usize = 10_000;

struct Watcher {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Clock,
    bell: Arc<watch::Sender<u64>>,
    history: mpsc::Sender<Transition>,
    rules: Notices,
    /// What the rules need of each stored workspace: there may be thousands, for as long as the node lives.
    rows: BTreeMap<(AppId, WorkspaceId), Standing>,
    /// On which app each workspace was seen last.
    seats: BTreeMap<WorkspaceId, AppId>,
    /// When to look at an app again though nobody says that it has changed: a limit ends.
    looks: BTreeMap<AppId, Duration>,
    /// The marks of each app when it was looked at last; no entry where none.
    marked: BTreeMap<AppId, Vec<(WorkspaceId, Code)>>,
    tells: VecDeque<Tell>,
    notices: VecDeque<NewNotice>,
    remember: Vec<Remember>,
}

/// A workspace's notice that has yet to be put in words, with what was seen when it was decided.
struct Tell {
    app: AppId,
    workspace: WorkspaceId,
    topic: Topic,
    since_ms: i64,
    status: Status,
    about: About,
    now_ms: i64,
}

/// Watches for as long as it is polled.
pub(super) async fn run(
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Clock,
    bell: Arc<watch::Sender<u64>>,
    history: mpsc::Sender<Transition>,
) {
    let memory = loop {
        match store.memory().await {
            Ok(memory) => break memory,
            Err(error) => {
                tracing::warn!(%error, "what was told before cannot be read; no notice is sent until it can");
                sleep(LOOK_AGAIN).await;
            }
        }
    };
    let mut watcher = Watcher::new(store, directory, clock, bell, history, memory);
    while let Err(error) = watcher.read_all().await {
        tracing::debug!(%error, "notices wait: the workspaces cannot be read");
        sleep(LOOK_AGAIN).await;
    }
    let apps: BTreeSet<AppId> = watcher.rows.keys().map(|(app, _)| *app).collect();
    for app in apps {
        watcher.look(app);
    }
    for gone in watcher.rules.unseen() {
        watcher.give(Input::Gone(gone));
    }
    watcher.go_on().await;
}

impl Watcher {
    fn new(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        clock: Clock,
        bell: Arc<watch::Sender<u64>>,
        history: mpsc::Sender<Transition>,
        memory: Memory,
    ) -> Self {
        Self {
            store,
            directory,
            clock,
            bell,
            history,
            rules: Notices::new(clock.now(), Timing::default(), memory.told, memory.incident),
            rows: BTreeMap::new(),
            seats: BTreeMap::new(),
            looks: BTreeMap::new(),
            marked: BTreeMap::new(),
            tells: VecDeque::new(),
            notices: VecDeque::new(),
            remember: Vec::new(),
        }
    }

    async fn go_on(&mut self) {
        let directory = Arc::clone(&self.directory);
        loop {
            let is_written = self.write().await;
            let looks = self.looks.values().min().copied();
            let far = self.clock.mono().saturating_add(Duration::from_hours(1));
            let due = [self.rules.poll_timeout(), looks].into_iter().flatten().min();
            let due = self.clock.instant(due.unwrap_or(far));
            tokio::select! {
                () = directory.changes().marked() => {}
                () = sleep_until(due) => {}
                () = sleep(LOOK_AGAIN), if !is_written => {}
            }
            let mut changed = directory.changes().take();
            let now = self.clock.mono();
            self.looks.retain(|app, at| {
                let is_due = *at <= now;
                if is_due {
                    changed.entry(*app).or_insert(What::Status);
                }
                !is_due
            });
            for (app, what) in changed {
                if (what == What::Rows || self.of_app(app).next().is_none())
                    && let Err(error) = self.read(app).await
                {
                    tracing::debug!(%app, %error, "notices wait: the app's workspaces cannot be read");
                    self.directory.changes().mark(app, What::Rows);
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
                self.look(app);
            }
            self.give(Input::Timeout);
        }
    }

    async fn read_all(&mut self) -> Result<(), StoreError> {
        let now_ms = self.clock.now().wall_ms;
        let all = self.store.standings().await?.into_iter();
        self.rows = all.map(|(app, row)| ((app, row.workspace), as_of(now_ms, row))).collect();
        Ok(())
    }

    fn of_app(&self, app: AppId) -> impl Iterator<Item = (WorkspaceId, &Standing)> {
        let all = (app, WorkspaceId(i64::MIN))..=(app, WorkspaceId(i64::MAX));
        self.rows.range(all).map(|((_, workspace), row)| (*workspace, row))
    }

    /// Reads what is stored of an app's workspaces; those that are there no more are gone, unless they moved.
    async fn read(&mut self, app: AppId) -> Result<(), StoreError> {
        let now_ms = self.clock.now().wall_ms;
        self.tell_of_limits(app, now_ms);
        let rows = self.store.seated(app).await?;
        let before: BTreeMap<WorkspaceId, Standing> = self.of_app(app).map(|(id, row)| (id, *row)).collect();
        for id in before.keys() {
            self.rows.remove(&(app, *id));
        }
        self.rows
            .extend(rows.iter().map(|workspace| ((app, workspace.id), as_of(now_ms, workspace.standing()))));
        self.tell_apart(app, &before);
        for id in before.into_keys() {
            if !self.rows.contains_key(&(app, id)) && self.seats.get(&id) == Some(&app) {
                self.seats.remove(&id);
                self.give(Input::Gone(id));
            }
        }
        Ok(())
    }

    /// Says what is seen of an app's workspaces now.
    fn look(&mut self, app: AppId) {
        let now = self.clock.now();
        self.tell_of_limits(app, now.wall_ms);
        self.tell_of_marked(app, now.wall_ms);
        let (mut seen, mut ends) = (Vec::new(), None);
        for (id, row) in self.of_app(app) {
            ends = ends.into_iter().chain(row.limited_until_ms).min();
            let status = self.status(app, row, now.wall_ms);
            seen.extend(Seen::of(&status, row.is_wanted).map(|seen| (id, seen)));
        }
        if let Some(ends_ms) = ends {
            let wait = Duration::from_millis(ends_ms.saturating_sub(now.wall_ms).unsigned_abs());
            self.looks.insert(app, now.mono.saturating_add(wait));
        }
        for (id, seen) in seen {
            self.seats.insert(id, app);
            self.give(Input::Saw(id, seen));
        }
    }

    fn connection(&self, app: AppId) -> Option<Status> {
        self.directory.get(app).map(|entry| entry.status().borrow().clone())
    }

    fn status(&self, app: AppId, row: &Standing, now_ms: i64) -> Status {
        Status::of_workspace(self.connection(app), row, now_ms)
    }

    fn give(&mut self, input: Input) {
        let now = self.clock.now();
        self.rules.handle(now, input);
        while let Some(action) = self.rules.poll_action() {
            match action {
                Action::Tell { topic, workspace: id, code, since_ms, began_ms, told } => {
                    self.remember.push(Remember::Told(id, told));
                    let app = self.seats.get(&id).copied();
                    let row = app.and_then(|app| Some((app, self.rows.get(&(app, id))?)));
                    if let Some((app, row)) = row {
                        let (workspace, now_ms) = (id, now.wall_ms);
                        let status = self.status(app, row, now_ms);
                        let about = About { told: Remember::Told(id, told), code, began_ms, peak: 1 };
                        self.tells.push_back(Tell { app, workspace, topic, since_ms, status, about, now_ms });
                        if self.tells.len() > MOST_PENDING {
                            self.tells.pop_front();
                            lost();
                        }
                    }
                }
                Action::Forget(id) => self.remember.push(Remember::Forget(id)),
                Action::TellIncident { topic, since_ms, down, peak, wanted, code } => {
                    let is_open = topic == Topic::IncidentOpened;
                    let told =
                        if is_open { Remember::Incident(since_ms, peak) } else { Remember::NoIncident };
                    self.remember.push(told);
                    tracing::warn!(
                        down,
                        peak,
                        of = wanted,
                        reason = code.map(Code::as_str),
                        "{}",
                        topic.as_str()
                    );
                    let body = notice::of_incident(topic, since_ms, (down, peak, wanted), code, now.wall_ms);
                    self.add(topic, body, None, About { told, code, began_ms: since_ms, peak });
                }
            }
        }
    }

    fn add(&mut self, topic: Topic, body: String, labels: Option<Vec<(String, String)>>, about: About) {
        if self.notices.len() >= MOST_PENDING {
            self.notices.pop_front();
            lost();
        }
        let message_id = format!("msg_{:032x}", rand::random::<u128>());
        self.notices.push_back(NewNotice { message_id, topic, body, labels, about: Some(about) });
    }

    /// Puts in words what is to be told of workspaces; what waits stays in its place when the store does not answer. What cannot be
    /// read is lost alone.
    async fn word(&mut self) -> Result<(), StoreError> {
        while let Some(tell) = self.tells.front() {
            let (app, workspace) = (tell.app, tell.workspace);
            let mut seated = self.store.seated(app).await;
            if seated.is_err() {
                // Is it the database, or a row that this version cannot read?
                self.store.ping().await?;
                seated = self.store.seated(app).await;
            }
            let seated = seated.unwrap_or_else(|error| {
                tracing::error!(%error, %app, %workspace, "a notice is lost: what is stored of its workspace cannot be read");
                Vec::new()
            });
            let Some(tell) = self.tells.pop_front() else { break };
            if let Some(workspace) = seated.iter().find(|workspace| workspace.id == tell.workspace) {
                let Tell { topic, since_ms, status, about, now_ms, .. } = tell;
                let body = notice::of_workspace(topic, workspace, &status, about.code, since_ms, now_ms);
                self.add(topic, body, Some(workspace.labels.clone()), about);
            }
        }
        Ok(())
    }

    /// Writes what is to be told and remembered; false: not yet.
    async fn write(&mut self) -> bool {
        if self.tells.is_empty() && self.notices.is_empty() && self.remember.is_empty() {
            return true;
        }
        match self.publish().await {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%error, "notices wait for the database");
                // The last word about each workspace is what counts.
                let mut last: HashMap<Option<WorkspaceId>, Remember> = HashMap::new();
                for one in self.remember.drain(..) {
                    last.insert(subject(one), one);
                }
                self.remember.extend(last.into_values());
                return false;
            }
        }
        // A storm's room is given back.
        (self.tells, self.notices, self.remember) = Default::default();
        self.bell.send_modify(|rung| *rung = rung.wrapping_add(1));
        true
    }

    async fn publish(&mut self) -> Result<(), StoreError> {
        self.word().await?;
        let now_ms = self.clock.now().wall_ms;
        let done = self.store.publish(self.notices.make_contiguous(), &self.remember, now_ms).await;
        if refused(done, |error| tracing::debug!(%error, "notices are written one by one"))?.is_some() {
            return Ok(());
        }
        // What the database refuses of one tenant must not cost the others theirs.
        while let Some(notice) = self.notices.front() {
            let done = self.store.publish(std::slice::from_ref(notice), &[], now_ms).await;
            refused(done, |error| {
                tracing::error!(%error, topic = notice.topic.as_str(), notice = notice.message_id, "a notice is lost");
            })?;
            self.notices.pop_front();
        }
        while let Some(one) = self.remember.first() {
            let done = self.store.publish(&[], std::slice::from_ref(one), now_ms).await;
            refused(done, |error| tracing::error!(%error, ?one, "what was told is not remembered"))?;
            self.remember.remove(0);
        }
        Ok(())
    }
}

/// What is stored of a workspace; a limit that is over is none.
fn as_of(now_ms: i64, standing: Standing) -> Standing {
    let limited_until_ms = standing.limited_until_ms.filter(|until_ms| now_ms < *until_ms);
    Standing { limited_until_ms, ..standing }
}

/// What was asked for; none where the database will never do it, which is told then. An error where it may yet.
fn refused<T>(done: Result<T, StoreError>, tell: impl FnOnce(&StoreError)) -> Result<Option<T>, StoreError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error @ StoreError::Unavailable(_)) => Err(error),
        Err(error) => {
            tell(&error);
            Ok(None)
        }
    }
}

fn lost() {
    tracing::error!("a notice is lost: the database has taken none for too long");
}

/// The workspace it is about; none for incidents.
const fn subject(remember: Remember) -> Option<WorkspaceId> {
    match remember {
        Remember::Told(workspace, _) | Remember::Forget(workspace) => Some(workspace),
        Remember::Incident(..) | Remember::NoIncident => None,
    }
}
