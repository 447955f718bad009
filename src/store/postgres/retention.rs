//! Old days go: their partitions are detached while all others work on, and dropped. What broke off is found by the tables' names, and
//! ended by the next look.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, raw_sql};

use super::partitions::Day;
use super::{PostgresStore, locks, session};
use crate::machine::seq::first_at;
use crate::store::fault::Fault;
use crate::store::{REMEMBER, StoreError};

/// How long a look may take. Nobody waits for it.
const LIMIT: Duration = Duration::from_mins(10);

/// What is told of a long day is no statement that hangs. Waiting for others' locks stays bounded.
const PATIENCE: &str = "set statement_timeout = 0";

/// The tables of days: what each is called, whether it is a partition, and one that is being detached.
const DAYS: &str = "select c.relname::text, i.inhrelid is not null, coalesce(i.inhdetachpending, false) from pg_class c \
     left join pg_inherits i on i.inhrelid = c.oid \
     where c.relnamespace = to_regnamespace('tautline') and c.relkind = 'r' and c.relname ~ '^(events|payloads)_[0-9]{8}$'";

/// A table of a day.
struct Table {
    name: String,
    is_partition: bool,
    is_leaving: bool,
}

impl Table {
    /// `events` or `payloads`, and the day.
    fn parts(&self) -> (&str, &str) {
        self.name.rsplit_once('_').unwrap_or((self.name.as_str(), ""))
    }
}

impl PostgresStore {
    /// Drops whole days, on a session of its own: the journal's has other things to do.
    pub(super) async fn delete_old(&self, before_ms: i64, _limit: u32) -> Result<u64, StoreError> {
        let work = async {
            let mut db = session::writer(&self.options, &self.database).await?;
            let dropped = drop_days(&mut db, before_ms).await;
            // Its lock ends with it.
            drop(db.close().await);
            dropped
        };
        self.told_within(LIMIT, work).await
    }
}

/// One at a time in all nodes. The events of the days that went.
async fn drop_days(db: &mut PgConnection, before_ms: i64) -> Result<u64, Fault> {
    let is_alone: bool = sqlx::query_scalar(locks::TRY_RETENTION).fetch_one(&mut *db).await?;
    // A node whose clock has run away must not take with it what is young by the database's.
    let young_ms: i64 = sqlx::query_scalar(
        "select (extract(epoch from clock_timestamp() - $1 * interval '1 second') * 1000)::bigint",
    )
    .bind(REMEMBER.as_secs_f64())
    .fetch_one(&mut *db)
    .await?;
    let Some(end) = Day::of(first_at(before_ms.min(young_ms))).suffix().filter(|_| is_alone) else {
        return Ok(0);
    };
    raw_sql(PATIENCE).execute(&mut *db).await?;
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(DAYS).fetch_all(&mut *db).await?;
    let tables =
        rows.into_iter().map(|(name, is_partition, is_leaving)| Table { name, is_partition, is_leaving });
    let tables: Vec<Table> = tables.filter(|table| table.parts().1 < end.as_str()).collect();
    let days: BTreeSet<&str> = tables.iter().map(|table| table.parts().1).collect();
    let mut dropped = 0;
    for day in days {
        for kind in ["events", "payloads"] {
            let Some(table) = tables.iter().find(|table| table.parts() == (kind, day)) else { continue };
            if kind == "events" && table.is_partition && !table.is_leaving && !is_done_with(db, table).await?
            {
                // What comes later is no older.
                return Ok(dropped);
            }
            dropped += drop_table(db, table, kind).await?;
        }
    }
    Ok(dropped)
}

/// Has every event been handled by whoever had to, and its key been forgotten? Looks through the day only where a writer has not
/// settled beyond it, as one to which nothing comes.
async fn is_done_with(db: &mut PgConnection, events: &Table) -> Result<bool, Fault> {
    let name = &events.name;
    let sql = format!(
        "select not exists (select 1 from {name} where seq > \
         coalesce((select value::bigint from meta where name = 'seen_forgotten_to'), 0)) \
         and not exists (select 1 from {name} e join writers w on w.id = e.writer where w.ended_at is null \
         and e.seq > w.settled_to and e.seq > (select min(settled_to) from writers where ended_at is null))"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await?)
}

/// Detaches it in a way that waits for whoever reads it, and lets nobody wait; then nobody knows of it. The events it held.
async fn drop_table(db: &mut PgConnection, table: &Table, kind: &str) -> Result<u64, Fault> {
    let name = &table.name;
    let detach = match (table.is_partition, table.is_leaving) {
        (true, false) => Some("concurrently"),
        (true, true) => Some("finalize"),
        (false, _) => None,
    };
    if let Some(how) = detach {
        let sql = format!("alter table {kind} detach partition {name} {how}");
        raw_sql(AssertSqlSafe(sql)).execute(&mut *db).await?;
    }
    let events: i64 = if kind == "events" {
        let sql = format!("select count(*) from {name}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *db).await?
    } else {
        0
    };
    raw_sql(AssertSqlSafe(format!("drop table {name}"))).execute(db).await?;
    Ok(events.unsigned_abs())
}
