//! The store in a schema of a Postgres database: for production, and for more than one node.
//!
//! One connection is the journal's, so that an append waits for nothing else; one makes changes to workspaces and apps, one change at
//! a time in all nodes; a few read.

mod address;
mod fault;
mod journal;
mod line;
mod locks;
mod open;
mod partitions;
mod reading;
mod retention;
mod session;
#[path = "../sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "what both databases take word for word is compiled for each")]
mod sql;
mod station;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection as Connection, PgPool};
use sqlx::{Connection as _, Postgres};
use tokio::time::timeout;

use PostgresStore as Backend;

use crate::ids::{Seq, WriterId};
use crate::store::fault::{Fault, no_writer};
use crate::store::key_check::KeyCheck;
use crate::store::vault::Vault;
use crate::store::{StoreError, Writer};
use line::{Held, Line, Tx};
use partitions::Day;
use station::Station;

/// How long anything may take, connecting included: a server that hangs, or a network that swallows, must not hold an append for
/// ever. The statements themselves are cut earlier, by the server.
const LIMIT: Duration = Duration::from_secs(10);

/// The same for the start, which may find a long backlog.
const START_LIMIT: Duration = Duration::from_secs(120);

/// An array, as JSON text, of an array of these columns for each row, in this order.
macro_rules! json_rows {
    ($columns:literal, $order:literal) => {
        concat!("coalesce(json_agg(json_build_array(", $columns, ") order by ", $order, "), '[]')::text")
    };
}
use json_rows;

/// The elements of a JSON array given as the text `$1`, each a `value` with its `place` in the array.
macro_rules! json_elements {
    () => {
        "json_array_elements($1::json) with ordinality as e (value, place)"
    };
}
use json_elements;

/// The numbers of a JSON array given as a text, as a query.
macro_rules! json_numbers {
    ($text:literal) => {
        concat!("select j.value::bigint from json_array_elements_text(", $text, "::json) as j (value)")
    };
}
use json_numbers;

/// Behind a column: is it one of what a query gives? An array, so that an index is asked for each of them. A join is planned by what is known of
/// the tables, and a session keeps the plan that it made while they were empty.
macro_rules! one_of {
    ($query:expr) => {
        concat!("= any(array(", $query, "))")
    };
}
use one_of;

/// Is it one of the deliveries whose `seq`, `handler_id` and `run` a query gives? By their seqs as in [`one_of`]; what is said to be true is no join.
macro_rules! keyed_by {
    ($query:expr) => {
        concat!(
            "seq = any(array(select k.seq from (",
            $query,
            ") as k)) and ((seq, handler_id, run) in (",
            $query,
            ")) is true"
        )
    };
}
use keyed_by;

/// Is a delivery this node's to see to? Its own writer's (`$1`) is, unless another has become its heir, and that of each whose heir it is.
macro_rules! ours {
    () => {
        "d.writer in (select w.id from writers w where (w.id = $1 and w.heir is null) or w.heir = $1)"
    };
}
use ours;

/// These columns of the first deliveries that are this node's to see to and meet a condition, as many as a parameter says. Each writer's are
/// looked for by themselves: those of others between them are not looked through, however many there are.
macro_rules! first_of_ours {
    ($columns:expr, $which:expr, $order:literal, $limit:literal) => {
        concat!(
            "select d.* from (select w.id from writers w where (w.id = $1 and w.heir is null) or w.heir = $1) as o \
             cross join lateral (select ", $columns, " from deliveries d where d.writer = o.id and ", $which, " order by ", $order, " limit ", $limit, ") as d order by ", $order, " limit ", $limit
        )
    };
}
use first_of_ours;

/// The first delivery that waits, of the next line (`$1` to `$3`) and writer (`$4`) behind these.
macro_rules! next_line {
    () => {
        "select handler_id, app_id, workspace_id, writer, seq from deliveries where status = 'waiting' \
         and (handler_id, app_id, workspace_id, writer) > ($1, $2, $3, $4) \
         order by handler_id, app_id, workspace_id, writer, seq limit 1"
    };
}
use next_line;

/// The store in a Postgres database.
pub(super) struct PostgresStore {
    options: PgConnectOptions,
    /// The address without its password.
    database: String,
    vault: Vault,
    journal: Line,
    changes: Line,
    /// Whose session holds the lock on posting notices, where this node does.
    posting: Line,
    /// By which is written what handlers owe: beside the journal, which waits for none of it.
    owed: Line,
    readers: PgPool,
    /// Days whose partitions are there.
    days: Mutex<BTreeSet<Day>>,
    station: Mutex<Option<Station>>,
    /// Events up to here that are not forgotten yet are dated ahead, by a clock that was wrong: what lies behind them tells when to.
    ahead_to: AtomicI64,
    /// The last event that it was tried to write.
    last_tried: AtomicI64,
}

/// An address as it may be shown.
pub(super) fn shown(address: &str) -> String {
    address::parse(address).map_or_else(|_| "postgres://…".to_owned(), |options| address::shown(&options))
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("database", &self.database).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// The journal's connection, which holds this node's locks.
    async fn journal(&self) -> Result<Held<'_>, Fault> {
        self.journal.take(self.resumed()).await
    }

    /// A new connection for the journal, with the locks of the one before.
    async fn resumed(&self) -> Result<Connection, Fault> {
        let mut db = session::journal(&self.options, &self.database).await?;
        if let Some(mut station) = self.station() {
            let last = Seq(self.last_tried.load(Ordering::Acquire));
            station::resume(&mut db, &mut station, last).await?;
            self.set_station(Some(station));
        }
        Ok(db)
    }

    /// Is posting notices this node's? Its lock is a session's of its own, so a node that died lets go of it.
    async fn hold_posting(&self) -> Result<bool, Fault> {
        let mut held = self.posting.take(session::writer(&self.options, &self.database)).await?;
        let ours = sqlx::query_scalar(locks::HOLD_POSTING).fetch_one(held.db()).await;
        held.after(ours.map_err(Fault::from))
    }

    /// Begins a change of workspaces and apps.
    async fn begin(&self) -> Result<Tx<'_>, Fault> {
        let held = self.changes.take(session::writer(&self.options, &self.database)).await?;
        Tx::begin_alone(held).await
    }

    /// Begins a transaction that writes what is owed.
    async fn begin_owed(&self) -> Result<Tx<'_>, Fault> {
        Tx::begin(self.owed.take(session::writer(&self.options, &self.database)).await?).await
    }

    /// The writer that has begun; zero before.
    fn own_writer(&self) -> i64 {
        self.station().map_or(0, |station| i64::from(station.writer))
    }

    /// As which one that has begun here is stored now.
    fn stored_as(&self, writer: WriterId) -> WriterId {
        let station = self.station().filter(|station| i64::from(station.told) == writer.0);
        station.map_or(writer, |station| WriterId(i64::from(station.writer)))
    }

    /// While this transaction lasts no day of the journal goes: of any day something may be about to be owed. Comes first in it.
    async fn keep_days(&self, db: &mut Connection) -> Result<(), Fault> {
        sqlx::query(locks::KEEP_DAYS).execute(db).await?;
        Ok(())
    }

    async fn reader(&self) -> Result<PoolConnection<Postgres>, Fault> {
        Ok(self.readers.acquire().await?)
    }

    async fn told<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, StoreError> {
        self.told_within(LIMIT, work).await
    }

    async fn told_within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, StoreError> {
        match timeout(limit, work).await {
            Ok(outcome) => outcome.map_err(|fault| fault::tell(fault, &self.database)),
            Err(_) => {
                Err(StoreError::Unavailable(format!("{} does not answer within {limit:?}", self.database)))
            }
        }
    }

    async fn start_writer(&self, node: &str, now_ms: i64) -> Result<Writer, StoreError> {
        let work = async {
            let mut held = self.journal().await?;
            let begun = station::begin(held.db(), node, now_ms).await;
            held.after(begun)
        };
        let (station, writer) = self.told_within(START_LIMIT, work).await?;
        self.set_station(Some(station));
        Ok(writer)
    }

    /// This node's place, if it is this writer's; notes how far everything is done.
    fn station_of(&self, writer: WriterId, settled_to: Seq) -> Result<Station, Fault> {
        let mut station = self.station.lock().unwrap_or_else(PoisonError::into_inner);
        match station.as_mut().filter(|station| i64::from(station.told) == writer.0) {
            Some(station) => {
                station.settled_to = station.settled_to.max(settled_to);
                Ok(station.clone())
            }
            None => Err(no_writer(writer)),
        }
    }

    fn station(&self) -> Option<Station> {
        self.station.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_station(&self, station: Option<Station>) {
        *self.station.lock().unwrap_or_else(PoisonError::into_inner) = station;
    }

    /// From now on the key that seals is the database's.
    async fn change_key(&self, db: &mut Connection) -> Result<(), Fault> {
        let check = KeyCheck::of(&self.vault)?;
        sqlx::query(
            "update meta set value = case name when 'key_id' then $1 else encode($2, 'hex') end \
             where name in ('key_id', 'key_check')",
        )
        .bind(check.key_id)
        .bind(check.sealed)
        .execute(db)
        .await?;
        Ok(())
    }

    /// Makes the days ahead, lets go of dead writers of whom nothing is left, and sees whether the database answers.
    async fn keep(&self, now_ms: i64) -> Result<(), Fault> {
        let mut held = self.journal().await?;
        let mut station = self.station();
        let kept = async {
            held.db().ping().await?;
            self.have_days(held.db(), Day::ahead(now_ms)).await?;
            let Some(station) = &mut station else { return Ok(()) };
            station.look_for_the_dead(held.db(), now_ms).await?;
            let finished = station.finished();
            for writer in &finished {
                sqlx::query("update writers set ended_at = $2 where id = $1 and ended_at is null")
                    .bind(writer)
                    .bind(now_ms)
                    .execute(held.db())
                    .await?;
                sqlx::query(locks::LET_WRITER_GO).bind(writer).execute(held.db()).await?;
            }
            station.estates.retain(|estate| !finished.contains(&estate.writer));
            Ok(())
        };
        let kept = kept.await;
        held.after(kept)?;
        self.set_station(station);
        Ok(())
    }

    /// Writers that live, but for this node's own.
    async fn count_other_nodes(&self) -> Result<u32, Fault> {
        let count: i64 =
            sqlx::query_scalar(locks::COUNT_WRITERS).fetch_one(&mut *self.reader().await?).await?;
        let own = u32::from(self.station().is_some());
        Ok(u32::try_from(count).unwrap_or(u32::MAX).saturating_sub(own))
    }

    /// Reads, and commits a small write.
    async fn try_out(&self) -> Result<(), Fault> {
        sqlx::query("select value from meta where name = 'key_id'")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        let mut tx = self.begin().await?;
        sqlx::query(
            "insert into meta as m (name, value) values ('pinged', '1') \
             on conflict (name) do update set value = (m.value::bigint + 1)::text",
        )
        .execute(tx.db())
        .await?;
        tx.commit().await
    }

    async fn end(&self) {
        self.readers.close().await;
        self.posting.close().await;
        self.owed.close().await;
        self.changes.close().await;
        self.journal.close().await;
    }
}
