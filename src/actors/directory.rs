//! What is known of every running connection, readable without asking an actor.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::changes::{Changes, What};
use super::intake::Counters;
use super::names::Names;
use crate::clock::Now;
use crate::ids::AppId;
use crate::status::feed::{Feed, News, StateChange};
use crate::status::{Code, Health, State, Status};

/// One app: what its connection publishes. Outlives the actor's deaths.
#[derive(Debug)]
pub struct Entry {
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The tasks of its links. They may outlive the actor for a moment.
    pub(super) links: TaskTracker,
    app: AppId,
    changes: Arc<Changes>,
    status: watch::Sender<Status>,
    /// Sockets it may hold at one time; none while it is wanted off.
    sockets: AtomicU64,
    feed: Arc<Feed>,
}

impl Entry {
    fn new(app: AppId, feed: Arc<Feed>, changes: Arc<Changes>, now: Now) -> Self {
        Self {
            counters: Arc::default(),
            links: TaskTracker::new(),
            app,
            changes,
            status: watch::Sender::new(Status::off(now.wall_ms)),
            sockets: AtomicU64::new(0),
            feed,
        }
    }

    /// The latest status, and those to come.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Publishes a status, if it says something new.
    pub(super) fn publish(&self, status: Status) {
        let mut change = None;
        let is_news = self.status.send_if_modified(|last| {
            let news = *last != status;
            change = StateChange::between(self.app, last, &status);
            *last = status;
            news
        });
        self.tell(change);
        if is_news {
            self.changes.mark(self.app, What::Status);
        }
    }

    /// Something that is stored of the app's workspaces has changed.
    pub(super) fn rows_changed(&self) {
        self.changes.mark(self.app, What::Rows);
    }

    /// Publishes the end of a connection that crashed, by whether it is started again, and when (milliseconds since 1970). The states
    /// before and after, where they differ.
    pub(super) fn publish_crash(&self, next_attempt_ms: Option<i64>, now: Now) -> Option<(State, State)> {
        let last = self.status.borrow().clone();
        let from = last.state;
        let state = match next_attempt_ms {
            Some(_) if last.health == Health::Off => State::Disconnected,
            Some(_) => State::Reconnecting,
            None => State::Failed,
        };
        let since_ms = if from == state { last.since_ms } else { now.wall_ms };
        let links = Vec::new();
        self.publish(if state == State::Disconnected {
            Status { state, since_ms, links, ..last }
        } else {
            let reason = Some(Code::Crashed.into());
            let warnings = Vec::new();
            Status { state, health: Health::Down, since_ms, reason, next_attempt_ms, links, warnings, ..last }
        });
        (from != state).then_some((from, state))
    }

    fn tell(&self, change: Option<StateChange>) {
        if let Some(change) = change {
            self.feed.tell(News::State(change));
        }
    }
}

/// Every app that has, or is about to have, a connection.
#[derive(Debug, Default)]
pub struct Directory {
    entries: RwLock<HashMap<AppId, Arc<Entry>>>,
    /// Sockets that all of them may hold at one time.
    sockets: AtomicU64,
    feed: Arc<Feed>,
    changes: Arc<Changes>,
    names: Arc<Names>,
}

impl Directory {
    /// The entry of an app.
    pub fn get(&self, app: AppId) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&app).cloned()
    }

    /// What changes about all of them.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// The state of every app.
    pub fn states(&self) -> Vec<State> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry.status.borrow().state).collect()
    }

    /// The latest status of every app.
    pub fn statuses(&self) -> Vec<Status> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry.status.borrow().clone()).collect()
    }

    /// Links whose tasks have not ended, closing ones included.
    pub(super) fn links(&self) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry.links.len()).sum()
    }

    /// What of all this has changed, and of what is stored.
    pub(super) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// What they and their workspaces are called in the log.
    pub(super) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The entry of an app, made if it is not there.
    pub(super) fn enter(&self, app: AppId, now: Now) -> Arc<Entry> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = || Arc::new(Entry::new(app, Arc::clone(&self.feed), Arc::clone(&self.changes), now));
        Arc::clone(entries.entry(app).or_insert_with(entry))
    }

    /// The app has no connection any more.
    pub(super) fn leave(&self, app: AppId) {
        let gone = self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(&app);
        if let Some(entry) = gone {
            self.want(&entry, 0);
        }
        self.names.forget(app);
        self.changes.mark(app, What::Rows);
    }

    /// So many sockets may this app hold at one time from now on.
    pub(super) fn want(&self, entry: &Entry, sockets: u64) {
        let before = entry.sockets.swap(sockets, Ordering::Relaxed);
        self.sockets.fetch_add(sockets, Ordering::Relaxed);
        self.sockets.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many sockets all apps may hold at one time: those wanted, and one more each while one is replaced.
    pub fn sockets_wanted(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed)
    }
}
