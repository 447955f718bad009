//! The store in one SQLite file: for one node, and when nothing else is said.
//!
//! One connection writes, a few read, one lock file keeps a second node out.

mod address;
mod batch;
mod fault;
mod journal;
mod lock;
mod open;
mod pragmas;
mod retention;
mod seen;
#[path = "../sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "what both databases take word for word is compiled for each")]
mod sql;
#[cfg(test)]
mod tests;
mod write_side;
mod writers;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection as Connection, SqlitePool};

use SqliteStore as Backend;

use crate::clock::Clock;
use crate::ids::{Seq, WriterId};
use crate::store::StoreError;
use crate::store::fault::Fault;
use crate::store::key_check::KeyCheck;
use crate::store::vault::Vault;
use sql::EventRow;
use write_side::Tx;

/// An array, as JSON text, of an array of these columns for each row, in this order.
macro_rules! json_rows {
    ($columns:literal, $order:literal) => {
        concat!("json_group_array(json_array(", $columns, ") order by ", $order, ")")
    };
}
use json_rows;

/// The elements of a JSON array given as the text `$1`, each a `value` with its `place` in the array.
macro_rules! json_elements {
    () => {
        "(select value, key as place from json_each($1)) as e"
    };
}
use json_elements;

/// The numbers of a JSON array given as a text, as a query.
macro_rules! json_numbers {
    ($text:literal) => {
        concat!("select value from json_each(", $text, ")")
    };
}
use json_numbers;

/// Behind a column: is it one of what a query gives?
macro_rules! one_of {
    ($query:expr) => {
        concat!("in (", $query, ")")
    };
}
use one_of;

/// Is it one of the deliveries whose `seq`, `handler_id` and `run` a query gives?
macro_rules! keyed_by {
    ($query:expr) => {
        concat!("(seq, handler_id, run) in (", $query, ")")
    };
}
use keyed_by;

/// Is a delivery this node's to see to? A file is one node's.
macro_rules! ours {
    () => {
        "($1 = $1)"
    };
}
use ours;

/// These columns of the first deliveries that are this node's to see to and meet a condition, as many as a parameter says.
macro_rules! first_of_ours {
    ($columns:expr, $which:expr, $order:literal, $limit:literal) => {
        concat!(
            "select ",
            $columns,
            " from deliveries d where ",
            ours!(),
            " and ",
            $which,
            " order by ",
            $order,
            " limit ",
            $limit
        )
    };
}
use first_of_ours;

/// The first delivery that waits, of the next line behind this (`$1` to `$3`). All writers' are in one order, so a line has no second part.
macro_rules! next_line {
    () => {
        "select handler_id, app_id, workspace_id, 9223372036854775807 as writer, seq from deliveries where status = 'waiting' \
         and (handler_id, app_id, workspace_id) > ($1, $2, $3) and $4 = $4 order by handler_id, app_id, workspace_id, seq limit 1"
    };
}
use next_line;

/// How long a read may take before it is cut: a forgotten index must not starve whoever waits for a reader.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// Steps of SQLite's machine between two looks at the clock; some 100 µs.
const READ_LIMIT_STEPS: i32 = 10_000;

/// The store in one SQLite file.
pub(super) struct SqliteStore {
    path: PathBuf,
    vault: Vault,
    write_side: write_side::WriteSide,
    /// The writer that has begun; zero before.
    writer: AtomicI64,
    /// Events up to here that are not forgotten yet are dated ahead, by a clock that was wrong: what lies behind them tells when to.
    ahead_to: AtomicI64,
    readers: SqlitePool,
    /// Where the walks through what is old go on.
    walks: retention::Walks,
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
    pub(in crate::store) fn exists(address: &str) -> Result<bool, StoreError> {
        address::database_exists(&address::database_path(address)?)
    }

    /// A connection for one read, which is cut when it takes too long.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, Fault> {
        let mut db = self.readers.acquire().await?;
        let (clock, until) = (self.clock, self.clock.now().mono.saturating_add(READ_LIMIT));
        db.lock_handle().await?.set_progress_handler(READ_LIMIT_STEPS, move || clock.now().mono < until);
        Ok(db)
    }

    /// Begins a transaction that writes.
    async fn begin(&self) -> Result<Tx<'_>, Fault> {
        self.write_side.begin().await
    }

    /// Begins a transaction that writes what is owed.
    async fn begin_owed(&self) -> Result<Tx<'_>, Fault> {
        self.write_side.begin().await
    }

    /// The writer that has begun.
    fn own_writer(&self) -> i64 {
        self.writer.load(Ordering::Acquire)
    }

    /// A writer stays what it is.
    #[expect(clippy::unused_self, reason = "other databases have to look")]
    const fn stored_as(&self, writer: WriterId) -> WriterId {
        writer
    }

    /// What goes is looked for and deleted in one transaction, beside which there is no other.
    #[expect(clippy::unused_async, reason = "other databases have to be told")]
    async fn keep_days(&self, _db: &mut Connection) -> Result<(), Fault> {
        Ok(())
    }

    /// There is one node.
    #[expect(clippy::unused_async, reason = "other databases have to be asked")]
    async fn hold_posting(&self) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn told<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, StoreError> {
        work.await.map_err(|fault| fault::tell(fault, &self.path))
    }

    /// Seq and bytes of the next events. With one node at a time, whatever is not done is that node's.
    async fn sizes_after(
        &self,
        db: &mut Connection,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<(i64, i64)>, Fault> {
        let sizes = sqlx::query_as("select seq, bytes from events where seq > $1 order by seq limit $2");
        Ok(sizes.bind(after.0).bind(limit).fetch_all(db).await?)
    }

    /// The events of these seqs: all there are above `after` up to the last of them.
    async fn rows_of(&self, db: &mut Connection, after: Seq, seqs: &[i64]) -> Result<Vec<EventRow>, Fault> {
        let to = seqs.last().copied().unwrap_or(after.0);
        let rows = sqlx::query_as(
            "select e.seq, e.app_id, e.workspace_id, e.kind, e.type, e.slack_id, e.dedupe, e.retry, e.at, \
             p.payload_sealed from events e left join payloads p on p.seq = e.seq \
             where e.seq > $1 and e.seq <= $2 order by e.seq",
        );
        Ok(rows.bind(after.0).bind(to).fetch_all(db).await?)
    }

    /// From now on the key that seals is the database's.
    async fn change_key(&self, db: &mut Connection) -> Result<(), Fault> {
        let check = KeyCheck::of(&self.vault)?;
        sqlx::query(
            "update meta set value = case name when 'key_id' then $1 else $2 end where name in ('key_id', 'key_check')",
        )
        .bind(check.key_id)
        .bind(check.sealed)
        .execute(db)
        .await?;
        Ok(())
    }

    /// There is nothing to be made ahead.
    #[expect(clippy::unused_async, reason = "other databases have to be asked")]
    async fn keep(&self, _now_ms: i64) -> Result<(), Fault> {
        Ok(())
    }

    async fn end(&self) {
        self.readers.close().await;
        self.write_side.close().await;
        let lock = self.lock.lock().map(|mut lock| lock.take());
        drop(lock);
    }
}
