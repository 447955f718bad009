//! A connection that one at a time uses. After an error that leaves its state open, or a caller gone in the middle, it is dropped,
//! and whoever comes next makes another.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, raw_sql};
use tokio::sync::{Mutex, MutexGuard};

use super::fault::{closed, leaves_session};
use super::locks;
use crate::store::StoreError;
use crate::store::fault::Fault;

/// The place of a connection.
#[derive(Debug)]
pub(super) struct Line(Mutex<Slot>);

#[derive(Debug)]
enum Slot {
    Ready(PgConnection),
    /// In use, or gone.
    Empty,
    Closed,
}

/// The connection, as long as it is used. Not given back by [`Held::after`] it is closed.
pub(super) struct Held<'a> {
    slot: MutexGuard<'a, Slot>,
    db: PgConnection,
}

impl Line {
    pub(super) fn new(connection: PgConnection) -> Self {
        Self(Mutex::new(Slot::Ready(connection)))
    }

    /// A place whose connection is made when it is first used.
    pub(super) fn empty() -> Self {
        Self(Mutex::new(Slot::Empty))
    }

    /// The connection, made by `connect` where there is none.
    pub(super) async fn take(
        &self,
        connect: impl Future<Output = Result<PgConnection, Fault>>,
    ) -> Result<Held<'_>, Fault> {
        let mut slot = self.0.lock().await;
        let db = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Ready(db) => db,
            Slot::Empty => connect.await?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(StoreError::Unavailable(closed()).into());
            }
        };
        Ok(Held { slot, db })
    }

    /// Closes the connection; none is made after this.
    pub(super) async fn close(&self) {
        let mut slot = self.0.lock().await;
        if let Slot::Ready(connection) = std::mem::replace(&mut *slot, Slot::Closed)
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "a connection to the database did not close in order");
        }
    }
}

impl Held<'_> {
    pub(super) fn db(&mut self) -> &mut PgConnection {
        &mut self.db
    }

    /// Gives the connection back after single statements, unless their outcome says that it is of no more use.
    pub(super) fn after<T>(mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        if outcome.as_ref().err().is_none_or(leaves_session) {
            *self.slot = Slot::Ready(self.db);
        }
        outcome
    }
}

#[cfg(test)]
impl Held<'_> {
    /// Loses the connection without a word to the server.
    pub(super) fn lose(self) {
        std::mem::forget(self.db);
    }
}

/// A transaction. Without a commit its connection is dropped, and the server rolls it back.
pub(super) struct Tx<'a>(Held<'a>);

impl<'a> Tx<'a> {
    /// Begins a transaction that no other of these runs beside, whichever node's it is: what is read in it stays true until
    /// its end, as in a database with one writer.
    pub(super) async fn begin_alone(mut held: Held<'a>) -> Result<Self, Fault> {
        raw_sql(locks::BEGIN_ALONE).execute(held.db()).await?;
        Ok(Self(held))
    }

    /// Begins a transaction that runs beside others.
    pub(super) async fn begin(mut held: Held<'a>) -> Result<Self, Fault> {
        raw_sql("begin").execute(held.db()).await?;
        Ok(Self(held))
    }

    /// The connection, for statements.
    pub(super) fn db(&mut self) -> &mut PgConnection {
        self.0.db()
    }

    /// Makes it durable.
    pub(super) async fn commit(mut self) -> Result<(), Fault> {
        let done = raw_sql("commit").execute(self.0.db()).await;
        self.0.after(done.map(|_| ()).map_err(Fault::from))
    }
}
