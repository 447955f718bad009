//! Old days go: their partitions are detached while all others work on, and dropped. What broke off is found by the tables' names, and
//! ended by the next look.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, raw_sql};

use super::partitions::Day;
use super::{PostgresStore, json_numbers, keyed_by, locks, one_of, session};
use crate::machine::seq::first_at;
use crate::store::fault::Fault;
use crate::store::{REMEMBER, Step, StoreError};

/// How long a look may take. Nobody waits for it.
const LIMIT: Duration = Duration::from_mins(10);

/// What is told of a long day is no statement that hangs. Waiting for others' locks stays bounded.
const PATIENCE: &str = "set statement_timeout = 0";

/// The tables of days: what each is called, whether it is a partition, and one that is being detached.
const DAYS: &str = "select c.relname::text, i.inhrelid is not null, coalesce(i.inhdetachpending, false) from pg_class c \
     left join pg_inherits i on i.inhrelid = c.oid \
     where c.relnamespace = to_regnamespace('tautline') and c.relkind = 'r' and c.relname ~ '^(events|payloads)_[0-9]{8}$'";

/// Bytes of all payloads, as they lie in the files: of the partitions, which are few.
const SIZE: &str = "select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint from pg_inherits \
     where inhparent = to_regclass('tautline.payloads')";

/// Deliveries that go at once.
const DELIVERIES: i64 = 1000;

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

    /// Is it there for all, and not on its way out?
    const fn is_whole(&self) -> bool {
        self.is_partition && !self.is_leaving
    }
}

/// Which days are to go.
#[derive(Clone, Copy, Debug)]
enum What {
    /// Those before this time, whole.
    Events { before_ms: i64 },
    /// The payloads of those before this time.
    Payloads { before_ms: i64 },
    /// The payloads of the oldest, while there are more bytes of payload than these.
    PayloadsOver { max_bytes: i64 },
}

impl PostgresStore {
    pub(super) async fn delete_old(&self, before_ms: i64, _limit: u32) -> Result<Step, StoreError> {
        self.drop_days(What::Events { before_ms }).await
    }

    pub(super) async fn delete_old_payloads(&self, before_ms: i64, _limit: u32) -> Result<Step, StoreError> {
        self.drop_days(What::Payloads { before_ms }).await
    }

    pub(super) async fn delete_too_many_payloads(&self, max_bytes: u64, _: u32) -> Result<Step, StoreError> {
        let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        self.drop_days(What::PayloadsOver { max_bytes }).await
    }

    /// Erases the payloads of these events, whoever still waits for them. The bounds are for finding the partitions.
    pub(super) async fn erase(
        &self,
        db: &mut PgConnection,
        seqs: &str,
        first: i64,
        last: i64,
    ) -> Result<u64, Fault> {
        let gone = sqlx::query(concat!(
            "delete from payloads where seq >= $2 and seq <= $3 and seq ",
            one_of!(json_numbers!("$1"))
        ))
        .bind(seqs)
        .bind(first)
        .bind(last)
        .execute(db)
        .await?;
        Ok(gone.rows_affected())
    }

    /// Drops whole days, on a session of its own: the journal's has other things to do.
    async fn drop_days(&self, what: What) -> Result<Step, StoreError> {
        let work = async {
            let mut db = session::writer(&self.options, &self.database).await?;
            let dropped = drop_days(&mut db, what).await;
            // Its lock ends with it.
            drop(db.close().await);
            dropped
        };
        Ok(Step { gone: self.told_within(LIMIT, work).await?, is_all: true })
    }
}

/// One at a time in all nodes. The events of the days that went, or the payloads.
async fn drop_days(db: &mut PgConnection, what: What) -> Result<u64, Fault> {
    let is_alone: bool = sqlx::query_scalar(locks::TRY_RETENTION).fetch_one(&mut *db).await?;
    // A node whose clock has run away must not take with it what is young by the database's.
    let young_ms: i64 = sqlx::query_scalar(
        "select (extract(epoch from clock_timestamp() - $1 * interval '1 second') * 1000)::bigint",
    )
    .bind(REMEMBER.as_secs_f64())
    .fetch_one(&mut *db)
    .await?;
    let before_ms = match what {
        What::Events { before_ms } | What::Payloads { before_ms } => before_ms,
        What::PayloadsOver { .. } => i64::MAX,
    };
    let Some(end) = Day::of(first_at(before_ms.min(young_ms))).suffix().filter(|_| is_alone) else {
        return Ok(0);
    };
    raw_sql(PATIENCE).execute(&mut *db).await?;
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(DAYS).fetch_all(&mut *db).await?;
    let tables =
        rows.into_iter().map(|(name, is_partition, is_leaving)| Table { name, is_partition, is_leaving });
    let tables: Vec<Table> = tables.filter(|table| table.parts().1 < end.as_str()).collect();
    let days: BTreeSet<&str> = tables.iter().map(|table| table.parts().1).collect();
    let days = days.into_iter().map(|day| {
        let of = |kind| tables.iter().find(|table| table.parts() == (kind, day));
        (of("events"), of("payloads"))
    });
    match what {
        What::Events { .. } => drop_whole(db, days).await,
        What::Payloads { .. } => drop_payloads(db, days, i64::MAX).await,
        What::PayloadsOver { max_bytes } => {
            let bytes: i64 = sqlx::query_scalar(SIZE).fetch_one(&mut *db).await?;
            drop_payloads(db, days, bytes.saturating_sub(max_bytes)).await
        }
    }
}

async fn drop_whole<'a>(
    db: &mut PgConnection,
    days: impl Iterator<Item = (Option<&'a Table>, Option<&'a Table>)>,
) -> Result<u64, Fault> {
    let mut dropped = 0;
    for (events, payloads) in days {
        if let Some(events) = events {
            if events.is_whole() {
                if !is_forgotten(db, events).await? || !is_settled(db, events).await? {
                    // What comes later is no older.
                    return Ok(dropped);
                }
                if is_pending(db, events).await? {
                    continue;
                }
                forget_deliveries(db, events).await?;
                if !detach_whole(db, events, (events, "events")).await? {
                    continue;
                }
            } else {
                detach(db, events, "events").await?;
            }
            dropped += drop_table(db, events).await?;
        }
        if let Some(payloads) = payloads {
            detach(db, payloads, "payloads").await?;
            drop_table(db, payloads).await?;
        }
    }
    Ok(dropped)
}

/// The oldest of them that have been handled, until so many bytes went.
async fn drop_payloads<'a>(
    db: &mut PgConnection,
    days: impl Iterator<Item = (Option<&'a Table>, Option<&'a Table>)>,
    mut bytes: i64,
) -> Result<u64, Fault> {
    let mut dropped = 0;
    for (events, payloads) in days {
        if bytes <= 0 {
            break;
        }
        let Some(payloads) = payloads else { continue };
        if let Some(events) = events.filter(|events| events.is_whole()) {
            if !is_settled(db, events).await? {
                return Ok(dropped);
            }
            if is_pending(db, events).await? || !detach_whole(db, events, (payloads, "payloads")).await? {
                continue;
            }
        } else {
            detach(db, payloads, "payloads").await?;
        }
        let size: i64 = sqlx::query_scalar("select coalesce(pg_total_relation_size(to_regclass($1)), 0)")
            .bind(format!("tautline.{}", payloads.name))
            .fetch_one(&mut *db)
            .await?;
        dropped += drop_table(db, payloads).await?;
        bytes = bytes.saturating_sub(size);
    }
    Ok(dropped)
}

/// Have all keys of the day been forgotten?
async fn is_forgotten(db: &mut PgConnection, events: &Table) -> Result<bool, Fault> {
    let name = &events.name;
    let sql = format!(
        "select not exists (select 1 from {name} where seq > \
         coalesce((select value::bigint from meta where name = 'seen_forgotten_to'), 0))"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await?)
}

/// Has every event been settled by whoever had to? Looks through the day only where a writer has not settled beyond it, as one to which
/// nothing comes.
async fn is_settled(db: &mut PgConnection, events: &Table) -> Result<bool, Fault> {
    let name = &events.name;
    let sql = format!(
        "select not exists (select 1 from {name} e join writers w on w.id = e.writer where w.ended_at is null \
         and e.seq > w.settled_to and e.seq > (select min(settled_to) from writers where ended_at is null))"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await?)
}

/// Is anything of the day still owed?
async fn is_pending(db: &mut PgConnection, events: &Table) -> Result<bool, Fault> {
    let (first, last) = bounds(db, events).await?;
    let pending = "select exists (select 1 from deliveries where seq >= $1 and seq <= $2 and status in ('waiting', 'retrying'))";
    Ok(sqlx::query_scalar(pending).bind(first).bind(last).fetch_one(db).await?)
}

/// What became of the day's deliveries goes before its events, which tell the bounds.
async fn forget_deliveries(db: &mut PgConnection, events: &Table) -> Result<(), Fault> {
    let (first, last) = bounds(db, events).await?;
    loop {
        let gone = sqlx::query(concat!(
            "with these as materialized (select seq, handler_id, run from deliveries where seq >= $1 and seq <= $2 \
             and status not in ('waiting', 'retrying') order by seq limit $3) \
             delete from deliveries where status not in ('waiting', 'retrying') and ",
            keyed_by!("select seq, handler_id, run from these")
        ))
        .bind(first)
        .bind(last)
        .bind(DELIVERIES)
        .execute(&mut *db)
        .await?;
        if gone.rows_affected() < DELIVERIES.unsigned_abs() {
            return Ok(());
        }
    }
}

/// The first and the last seq of a day; of an empty one, nothing lies between them.
async fn bounds(db: &mut PgConnection, events: &Table) -> Result<(i64, i64), Fault> {
    let sql = format!("select coalesce(min(seq), 1), coalesce(max(seq), 0) from {}", events.name);
    Ok(sqlx::query_as(AssertSqlSafe(sql)).fetch_one(db).await?)
}

/// Detaches a table of a day that is there for all, unless something of the day is owed by now: who makes that so is waited for, and
/// waits until nobody finds the day any more. False when it stays.
async fn detach_whole(
    db: &mut PgConnection,
    events: &Table,
    (table, kind): (&Table, &str),
) -> Result<bool, Fault> {
    raw_sql(locks::HOLD_DAYS).execute(&mut *db).await?;
    let detached = async {
        if is_pending(db, events).await? {
            return Ok(false);
        }
        if table.name == events.name {
            // What ended since the last look.
            forget_deliveries(db, events).await?;
        }
        detach(db, table, kind).await?;
        Ok(true)
    };
    let detached = detached.await;
    raw_sql(locks::LET_DAYS_GO).execute(db).await?;
    detached
}

/// In a way that waits for whoever reads it, and lets nobody wait; then nobody knows of it.
async fn detach(db: &mut PgConnection, table: &Table, kind: &str) -> Result<(), Fault> {
    let how = match (table.is_partition, table.is_leaving) {
        (true, false) => "concurrently",
        (true, true) => "finalize",
        (false, _) => return Ok(()),
    };
    let sql = format!("alter table {kind} detach partition {} {how}", table.name);
    raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    Ok(())
}

/// The rows it held.
async fn drop_table(db: &mut PgConnection, table: &Table) -> Result<u64, Fault> {
    let name = &table.name;
    let rows: i64 =
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {name}"))).fetch_one(&mut *db).await?;
    raw_sql(AssertSqlSafe(format!("drop table {name}"))).execute(db).await?;
    Ok(rows.unsigned_abs())
}
