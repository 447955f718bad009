//! The one connection that writes. SQLite has one write lock: more connections would only fight for it.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{ConnectOptions, Connection, Either, Executor as _, SqlSafeStr, SqlStr, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::fault::is_busy;
use super::seen::Recent;
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
    Ready(Writer),
    /// Somebody has it, or did not bring it back.
    Taken,
    Closed,
}

#[derive(Debug)]
struct Writer {
    connection: SqliteConnection,
    /// None until they are read.
    recent: Option<Recent>,
}

impl Writer {
    fn new(connection: SqliteConnection) -> Self {
        Self { connection, recent: None }
    }
}

impl WriteSide {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self { options, slot: Mutex::new(Slot::Ready(Writer::new(connection))) }
    }

    /// Begins a transaction that holds the write lock.
    pub(super) async fn begin(&self) -> Result<Tx<'_>, Fault> {
        let mut tx = self.enter().await?;
        tx.begin().await?;
        Ok(tx)
    }

    /// The connection for one writer at a time, who has yet to begin.
    pub(super) async fn enter(&self) -> Result<Tx<'_>, Fault> {
        let mut slot = self.slot.lock().await;
        let writer = match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Ready(writer) => writer,
            Slot::Taken => Writer::new(self.options.connect().await?),
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(
                    StoreError::Unavailable("the store is closed: the node is stopping".into()).into()
                );
            }
        };
        Ok(Tx { slot, writer })
    }

    /// Closes the connection; no transaction begins after this.
    pub(super) async fn close(&self) {
        let mut slot = self.slot.lock().await;
        if let Slot::Ready(writer) = std::mem::replace(&mut *slot, Slot::Closed)
            && let Err(error) = writer.connection.close().await
        {
            tracing::warn!(%error, "the database did not close in order");
        }
    }
}

/// The connection in the hands of one writer. Dropped without a commit its transaction is rolled back by dropping the connection:
/// after an error, or a caller gone in the middle, nobody has to guess what state that connection is in. The next one is made in a
/// millisecond.
pub(super) struct Tx<'a> {
    slot: MutexGuard<'a, Slot>,
    writer: Writer,
}

impl Tx<'_> {
    /// The connection, for statements.
    pub(super) fn db(&mut self) -> &mut SqliteConnection {
        &mut self.writer.connection
    }

    /// The keys that are not in the table `seen` yet, if they have been read.
    pub(super) fn recent(&mut self) -> Option<&mut Recent> {
        self.writer.recent.as_mut()
    }

    /// As [`recent`](Self::recent), read if need be.
    pub(super) async fn read_recent(&mut self) -> Result<&mut Recent, Fault> {
        let Writer { connection, recent } = &mut self.writer;
        match recent {
            Some(recent) => Ok(recent),
            None => Ok(recent.insert(Recent::read(connection).await?)),
        }
    }

    /// They are to be read again.
    pub(super) fn forget_recent(&mut self) {
        self.writer.recent = None;
    }

    /// Begins a transaction that holds the write lock.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        self.begin_with(BEGIN, || Ok(SqliteArguments::default())).await.map(drop)
    }

    /// As `begin`, by a text that starts with [`BEGIN`]: one message to SQLite's thread for it and the statements behind it. Tells
    /// how many rows each of those changed. The values are made again for each try.
    pub(super) async fn begin_with(
        &mut self,
        sql: impl SqlSafeStr,
        values: impl Fn() -> Result<SqliteArguments, Fault>,
    ) -> Result<Vec<u64>, Fault> {
        let sql = sql.into_sql_str();
        debug_assert!(sql.as_str().starts_with(BEGIN), "a transaction is begun by its first statement");
        let mut tries_left = BUSY_TRIES;
        loop {
            tries_left -= 1;
            match self.run(sql.clone(), values()?).await {
                // SQLite tells for `begin` what the statement before it changed.
                Ok(changed) => return Ok(changed.into_iter().skip(1).collect()),
                Err(fault) if is_busy(&fault) && tries_left > 0 => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Runs a text of several statements; how many rows each changed. The first error is the last thing that is run.
    pub(super) async fn run(&mut self, sql: SqlStr, values: SqliteArguments) -> Result<Vec<u64>, Fault> {
        let done: Vec<_> =
            self.writer.connection.fetch_many(sqlx::query_with(sql, values)).try_collect().await?;
        Ok(done.into_iter().filter_map(Either::left).map(|done| done.rows_affected()).collect())
    }

    /// Makes it durable.
    pub(super) async fn commit(mut self) -> Result<(), Fault> {
        self.end().await?;
        self.leave();
        Ok(())
    }

    /// As `commit`, for who has yet more to write.
    pub(super) async fn end(&mut self) -> Result<(), Fault> {
        sqlx::query("commit").execute(self.db()).await?;
        Ok(())
    }

    /// Gives the connection back, whose transaction was ended by the last text.
    pub(super) fn leave(mut self) {
        *self.slot = Slot::Ready(self.writer);
    }
}
