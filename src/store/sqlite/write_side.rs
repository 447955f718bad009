//! The one connection that writes. SQLite has one write lock: more connections would only fight for it.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{ConnectOptions, Connection, Either, Executor as _, SqlSafeStr, SqlStr, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::fault::is_busy;
use crate::store::StoreError;
use crate::store::fault::Fault;

/// How long SQLite itself waits for the write lock, each time it is asked.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// How often it is asked before the caller is told: a second in all.
const BUSY_TRIES: u32 = 4;

/// Takes the write lock at once: asked for later it could be refused.
const BEGIN: &str = "begin immediate";

/// The writer's connection and how to make another.
#[derive(Debug)]
pub(super) struct WriteSide {
    options: SqliteConnectOptions,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Ready(SqliteConnection),
    /// A transaction is under way on it, or ended badly.
    Taken,
    Closed,
}

impl WriteSide {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self { options, slot: Mutex::new(Slot::Ready(connection)) }
    }

    /// Begins a transaction that holds the write lock.
    pub(super) async fn begin(&self) -> Result<Tx<'_>, Fault> {
        let (tx, _) = self.begin_with(BEGIN, &SqliteArguments::default()).await?;
        Ok(tx)
    }

    /// As `begin`, by a text that starts with [`BEGIN`]: one message to SQLite's thread for it and the statements behind it. Tells
    /// how many rows each of those changed.
    pub(super) async fn begin_with(
        &self,
        sql: impl SqlSafeStr,
        values: &SqliteArguments,
    ) -> Result<(Tx<'_>, Vec<u64>), Fault> {
        let sql = sql.into_sql_str();
        debug_assert!(sql.as_str().starts_with(BEGIN), "a transaction is begun by its first statement");
        let mut slot = self.slot.lock().await;
        let mut connection = match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Ready(connection) => connection,
            Slot::Taken => self.options.connect().await?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(
                    StoreError::Unavailable("the store is closed: the node is stopping".into()).into()
                );
            }
        };
        let mut tries_left = BUSY_TRIES;
        loop {
            tries_left -= 1;
            match changes(&mut connection, sql.clone(), values.clone()).await {
                // SQLite tells for `begin` what the statement before it changed.
                Ok(changed) => {
                    return Ok((Tx { slot, connection }, changed.into_iter().skip(1).collect()));
                }
                Err(fault) if is_busy(&fault) && tries_left > 0 => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Closes the connection; no transaction begins after this.
    pub(super) async fn close(&self) {
        let mut slot = self.slot.lock().await;
        if let Slot::Ready(connection) = std::mem::replace(&mut *slot, Slot::Closed)
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close in order");
        }
    }
}

/// A transaction of the writer. Dropped without a commit it is rolled back by dropping its connection: after an error, or a
/// caller gone in the middle, nobody has to guess what state that connection is in. The next one is made in a millisecond.
pub(super) struct Tx<'a> {
    slot: MutexGuard<'a, Slot>,
    connection: SqliteConnection,
}

impl Tx<'_> {
    /// The connection, for statements.
    pub(super) fn db(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Makes it durable.
    pub(super) async fn commit(self) -> Result<(), Fault> {
        self.commit_with("commit", SqliteArguments::default()).await
    }

    /// As `commit`, by a text whose last statement is `commit`. An error of one before it leaves that out.
    pub(super) async fn commit_with(
        mut self,
        sql: impl SqlSafeStr,
        values: SqliteArguments,
    ) -> Result<(), Fault> {
        sqlx::query_with(sql, values).execute(&mut self.connection).await?;
        *self.slot = Slot::Ready(self.connection);
        Ok(())
    }
}

/// Runs a text of several statements; how many rows each changed. The first error is the last thing that is run.
async fn changes(db: &mut SqliteConnection, sql: SqlStr, values: SqliteArguments) -> Result<Vec<u64>, Fault> {
    let done: Vec<_> = db.fetch_many(sqlx::query_with(sql, values)).try_collect().await?;
    Ok(done.into_iter().filter_map(Either::left).map(|done| done.rows_affected()).collect())
}
