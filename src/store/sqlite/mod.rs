//! The store in one SQLite file: for one node, and when nothing else is said.
//!
//! One connection writes, a few read, one lock file keeps a second node out. Each method is one transaction; this file is
//! their table of contents.

mod address;
mod apps;
mod batch;
mod fault;
mod history;
mod journal;
mod lock;
mod open;
mod pragmas;
mod reading;
mod rows;
mod seating;
mod seen;
#[cfg(test)]
mod tests;
mod workspaces;
mod write_side;
mod writers;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};

use crate::clock::Clock;
use crate::event::Event;
use crate::ids::{AppId, Seq, WorkspaceId, WorkspaceName, WriterId};
use crate::secret::{AppToken, BotToken};
use crate::store::vault::Vault;
use crate::store::{
    App, Inbox, Put, Store, StoreError, Taken, Transition, Workspace, WorkspaceSpec, Workspaces, Writer,
};

use fault::Fault;
pub use open::{OpenOptions, Opened};

/// How long a read may take before it is cut: a forgotten index must not starve whoever waits for a reader.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// Steps of SQLite's machine between two looks at the clock; some 100 µs.
const READ_LIMIT_STEPS: i32 = 10_000;

/// The store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    vault: Vault,
    write_side: write_side::WriteSide,
    /// The writer that has begun; zero before.
    writer: AtomicI64,
    readers: SqlitePool,
    /// Only for cutting reads: what is stored is dated by the caller.
    clock: Clock,
    lock: std::sync::Mutex<Option<lock::Lock>>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Is there a database at this address? An error where none could be. Makes nothing.
    pub fn exists(address: &str) -> Result<bool, StoreError> {
        address::database_exists(&address::database_path(address)?)
    }

    /// A connection for one read, which is cut when it takes too long.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, Fault> {
        let mut db = self.readers.acquire().await?;
        let (clock, until) = (self.clock, self.clock.now().mono.saturating_add(READ_LIMIT));
        db.lock_handle().await?.set_progress_handler(READ_LIMIT_STEPS, move || clock.now().mono < until);
        Ok(db)
    }

    fn told<T>(&self, result: Result<T, Fault>) -> Result<T, StoreError> {
        result.map_err(|fault| fault.tell(&self.path))
    }
}

#[async_trait]
impl Workspaces for SqliteStore {
    async fn workspaces(
        &self,
        after: Option<&WorkspaceName>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        self.told(self.list_workspaces(after, limit).await)
    }

    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        self.told(self.find_workspace(name).await)
    }

    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.told(self.put(name, spec, now_ms).await)
    }

    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.told(self.remove(name, now_ms).await)
    }

    async fn bot_token(&self, workspace: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        self.told(self.read_bot_token(workspace).await)
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.told(self.list_apps().await)
    }

    async fn app(&self, id: AppId) -> Result<Option<App>, StoreError> {
        self.told(self.find_app(id).await)
    }

    async fn promote_candidate(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.promote(app, tried, now_ms).await)
    }

    async fn drop_candidate(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.forget_candidate(app, tried, now_ms).await)
    }

    async fn learn_slack_app_id(
        &self,
        app: AppId,
        slack_app_id: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.set_slack_app_id(app, slack_app_id, now_ms).await)
    }

    async fn learn_team(
        &self,
        workspace: WorkspaceId,
        team_id: Option<&str>,
        enterprise_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.set_team(workspace, team_id, enterprise_id, now_ms).await)
    }

    async fn record(&self, transitions: &[Transition]) -> Result<(), StoreError> {
        self.told(self.add_history(transitions).await)
    }

    async fn history(&self, app: AppId, limit: u32) -> Result<Vec<Transition>, StoreError> {
        self.told(self.read_history(app, limit).await)
    }
}

#[async_trait]
impl Inbox for SqliteStore {
    async fn begin_writer(&self, node: &str, now_ms: i64) -> Result<Writer, StoreError> {
        self.told(self.start_writer(node, now_ms).await)
    }

    async fn append(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, StoreError> {
        self.told(self.append_group(writer, group, settled_to).await)
    }

    async fn settle(&self, writer: WriterId, settled_to: Seq) -> Result<(), StoreError> {
        self.told(self.move_settled(writer, settled_to, None).await)
    }

    async fn end_writer(&self, writer: WriterId, settled_to: Seq, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.move_settled(writer, settled_to, Some(now_ms)).await)
    }

    async fn read_events(&self, after: Seq, limit: u32, max_bytes: usize) -> Result<Vec<Event>, StoreError> {
        self.told(self.read_journal(after, limit, max_bytes).await)
    }

    async fn quarantine(&self, event: &Event, error: &str, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.put_aside(event, error, now_ms).await)
    }

    async fn forget_seen(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.told(self.forget(before_ms, limit).await)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.told(self.try_out().await)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.write_side.close().await;
        let lock = self.lock.lock().map(|mut lock| lock.take());
        drop(lock);
    }
}
