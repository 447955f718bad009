//! From what is published of every workspace to notices in the store. What is stored of workspaces is kept here and read again only
//! where it has changed; what connections say is looked at only where that has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::notice;
use crate::actors::changes::What;
use crate::actors::directory::Directory;
use crate::clock::Clock;
use crate::ids::{AppId, WorkspaceId};
use crate::machine::notice::{Action, Input, Notices, Seen, Timing, Topic};
use crate::status::{Health, Status};
use crate::store::{About, Desired, NewNotice, Order, Remember, Store, StoreError, Workspace};

/// Between looks at a store that does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Workspaces read at once.
const PAGE: u32 = 200;

/// Notices that wait in memory while the store takes no writes; of more, the oldest are lost, and what was told of their workspaces
/// is remembered all the same.
const MOST_PENDING: usize = 10_000;

struct Watcher {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Clock,
    bell: Arc<watch::Sender<u64>>,
    rules: Notices,
    rows: HashMap<AppId, Vec<Workspace>>,
    /// On which app each workspace was seen last.
    seats: HashMap<WorkspaceId, AppId>,
    /// When to look at an app again though nobody says that it has changed: a limit ends.
    looks: BTreeSet<(Duration, AppId)>,
    notices: Vec<NewNotice>,
    remember: Vec<Remember>,
}

/// Watches for as long as it is polled.
pub(super) async fn run(
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Clock,
    bell: Arc<watch::Sender<u64>>,
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
    let rules = Notices::new(clock.now(), Timing::default(), memory.told, memory.incident);
    let mut watcher = Watcher {
        store,
        directory,
        clock,
        bell,
        rules,
        rows: HashMap::new(),
        seats: HashMap::new(),
        looks: BTreeSet::new(),
        notices: Vec::new(),
        remember: Vec::new(),
    };
    while let Err(error) = watcher.read_all().await {
        tracing::debug!(%error, "notices wait: the workspaces cannot be read");
        sleep(LOOK_AGAIN).await;
    }
    let apps: Vec<AppId> = watcher.rows.keys().copied().collect();
    for app in apps {
        watcher.look(app);
    }
    for gone in watcher.rules.unseen() {
        watcher.give(Input::Gone(gone));
    }
    watcher.go_on().await;
}

impl Watcher {
    async fn go_on(&mut self) {
        let directory = Arc::clone(&self.directory);
        loop {
            let is_written = self.write().await;
            let looks = self.looks.first().map(|(at, _)| *at);
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
            while let Some((at, app)) = self.looks.first().copied()
                && at <= now
            {
                self.looks.pop_first();
                changed.entry(app).or_insert(What::Status);
            }
            for (app, what) in changed {
                if (what == What::Rows || !self.rows.contains_key(&app))
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
        let (order, mut after) = (Order::default(), None);
        let mut rows: HashMap<AppId, Vec<Workspace>> = HashMap::new();
        loop {
            let page = self.store.workspaces(order, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(order.place(last));
            for workspace in page {
                rows.entry(workspace.app).or_default().push(workspace);
            }
        }
        // Nearly every app has one workspace, and there may be thousands.
        rows.values_mut().for_each(Vec::shrink_to_fit);
        self.rows = rows;
        Ok(())
    }

    /// Reads what is stored of an app's workspaces; those that are there no more are gone, unless they moved.
    async fn read(&mut self, app: AppId) -> Result<(), StoreError> {
        let mut rows = self.store.seated(app).await?;
        rows.shrink_to_fit();
        let is_there = |id: WorkspaceId| rows.iter().any(|workspace| workspace.id == id);
        let before = self.rows.get(&app).into_iter().flatten().map(|workspace| workspace.id);
        let left: Vec<_> = before.filter(|id| !is_there(*id)).collect();
        if rows.is_empty() {
            self.rows.remove(&app);
        } else {
            self.rows.insert(app, rows);
        }
        for id in left {
            if self.seats.get(&id) == Some(&app) {
                self.seats.remove(&id);
                self.give(Input::Gone(id));
            }
        }
        Ok(())
    }

    /// Says what is seen of an app's workspaces now.
    fn look(&mut self, app: AppId) {
        let now = self.clock.now();
        let mut seen = Vec::new();
        for workspace in self.rows.get(&app).into_iter().flatten() {
            if let Some(ends_ms) = workspace.limited_until_ms.filter(|until_ms| now.wall_ms < *until_ms) {
                let wait = Duration::from_millis(ends_ms.saturating_sub(now.wall_ms).unsigned_abs());
                self.looks.insert((now.mono.saturating_add(wait), app));
            }
            let is_wanted = workspace.desired == Desired::Connected;
            let status = self.status(workspace, now.wall_ms);
            seen.extend(Seen::of(&status, is_wanted).map(|seen| (workspace.id, seen)));
        }
        for (id, seen) in seen {
            self.seats.insert(id, app);
            self.give(Input::Saw(id, seen));
        }
    }

    fn status(&self, workspace: &Workspace, now_ms: i64) -> Status {
        let is_limited = workspace.limited_until_ms.is_some_and(|until_ms| now_ms < until_ms);
        let entry = self.directory.get(workspace.app);
        let mut status =
            entry.map_or_else(|| Status::off(workspace.updated_ms), |entry| entry.status().borrow().clone());
        if workspace.desired == Desired::Connected && status.health == Health::Off && status.reason.is_none()
        {
            status.health = Health::Down;
        }
        status.of_workspace(workspace.trouble, is_limited)
    }

    fn give(&mut self, input: Input) {
        let now = self.clock.now();
        self.rules.handle(now, input);
        while let Some(action) = self.rules.poll_action() {
            match action {
                Action::Tell { topic, workspace: id, code, since_ms, began_ms, told } => {
                    self.remember.push(Remember::Told(id, told));
                    let app = self.seats.get(&id).and_then(|app| self.rows.get(app));
                    let row = app.into_iter().flatten().find(|workspace| workspace.id == id);
                    if let Some(workspace) = row {
                        let status = self.status(workspace, now.wall_ms);
                        let body =
                            notice::of_workspace(topic, workspace, &status, code, since_ms, now.wall_ms);
                        let labels = Some(workspace.labels.clone());
                        let about = About { told: Remember::Told(id, told), code, began_ms, peak: 1 };
                        self.add(topic, body, labels, about);
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
                        reason = code.map(crate::status::Code::as_str),
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
            tracing::error!("a notice is lost: the database has taken none for too long");
            self.notices.remove(0);
        }
        let message_id = format!("msg_{:032x}", rand::random::<u128>());
        self.notices.push(NewNotice { message_id, topic, body, labels, about: Some(about) });
    }

    /// Writes what is to be told and remembered; false: not yet.
    async fn write(&mut self) -> bool {
        if self.notices.is_empty() && self.remember.is_empty() {
            return true;
        }
        let now_ms = self.clock.now().wall_ms;
        match self.store.publish(&self.notices, &self.remember, now_ms).await {
            Ok(()) => {}
            Err(StoreError::Unavailable(problem)) => {
                tracing::debug!(problem, "notices wait for the database");
                // The last word about each workspace is what counts.
                let mut last: HashMap<Option<WorkspaceId>, Remember> = HashMap::new();
                for one in self.remember.drain(..) {
                    last.insert(subject(one), one);
                }
                self.remember.extend(last.into_values());
                return false;
            }
            Err(error) => tracing::error!(%error, notices = self.notices.len(), "notices are lost"),
        }
        self.notices.clear();
        self.remember.clear();
        self.bell.send_modify(|rung| *rung = rung.wrapping_add(1));
        true
    }
}

/// The workspace it is about; none for incidents.
const fn subject(remember: Remember) -> Option<WorkspaceId> {
    match remember {
        Remember::Told(workspace, _) | Remember::Forget(workspace) => Some(workspace),
        Remember::Incident(..) | Remember::NoIncident => None,
    }
}
