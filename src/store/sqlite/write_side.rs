//! The one connection that writes. SQLite has one write lock: more connections would only fight for it.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::fault::Fault;
use crate::store::StoreError;

/// How long SQLite itself waits for the write lock, each time it is asked.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// How often it is asked before the caller is told: a second in all.
const BUSY_TRIES: u32 = 4;

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
        for tries_left in (0..BUSY_TRIES).rev() {
            match sqlx::query("begin immediate").execute(&mut connection).await.map_err(Fault::from) {
                Ok(_) => break,
                Err(fault) if fault.is_busy() && tries_left > 0 => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(Tx { slot, connection })
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
    pub(super) async fn commit(mut self) -> Result<(), Fault> {
        sqlx::query("commit").execute(&mut self.connection).await?;
        *self.slot = Slot::Ready(self.connection);
        Ok(())
    }
}
