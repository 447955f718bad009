//! Old events and payloads go a few at a time, the oldest first: a delete of many would hold up the journal, which writes by the same
//! connection. What is to go is looked for by a reader. The file keeps its size; the room is used again.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::SqliteConnection;

use super::SqliteStore;
use crate::machine::seq::first_at;
use crate::store::fault::Fault;
use crate::store::{Step, StoreError};

/// Events counted at once.
const COUNTED: i64 = 10_000;

/// The first of the events behind `$1`, before `$2`, that all writers have settled and whose keys are forgotten.
const OLD_EVENTS: &str = "select max(seq), count(*) from (select seq from events where seq > $1 and seq < $2 \
     and seq <= coalesce((select value from meta where name = 'seen_forgotten_to'), 0) \
     and seq <= coalesce((select min(settled_to) from writers where ended_at is null), $2) order by seq limit $3)";

/// The first of the payloads, with their bytes; a payload is needed by no key.
const OLD_PAYLOADS: &str = "select p.seq, coalesce(e.bytes, 0) from payloads p left join events e on e.seq = p.seq \
     where p.seq > $1 and p.seq < $2 \
     and p.seq <= coalesce((select min(settled_to) from writers where ended_at is null), $2) order by p.seq limit $3";

/// Nothing of what lies behind `$1`, up to `$2`, is pending.
macro_rules! not_pending {
    () => {
        "seq not in (select seq from deliveries where seq > $1 and seq <= $2 and status in ('waiting', 'retrying'))"
    };
}

/// What lies behind `$1`, up to `$2`, and is not pending.
macro_rules! handled {
    () => {
        concat!("seq > $1 and seq <= $2 and ", not_pending!())
    };
}

/// The bytes of those payloads that were counted, and what follows.
macro_rules! sum_counted {
    () => {
        "select sum(e.bytes) from events e join payloads p on p.seq = e.seq \
         where e.seq <= coalesce((select value from meta where name = 'payloads_counted_to'), 0)"
    };
}

/// What is held of the walks through what is old: where the next step goes on, behind what stays since it is pending.
#[derive(Debug, Default)]
pub(super) struct Walks {
    events: AtomicI64,
    payloads: AtomicI64,
}

/// Where a walk stands, and that it has come to its end.
fn go_on(walk: &AtomicI64, to: i64, is_all: bool) {
    walk.store(if is_all { 0 } else { to }, Ordering::Relaxed);
}

impl SqliteStore {
    pub(super) async fn delete_old(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError> {
        self.told(self.delete_some(before_ms, limit)).await
    }

    /// As far as all is handled and all keys are forgotten.
    async fn delete_some(&self, before_ms: i64, limit: u32) -> Result<Step, Fault> {
        let after = self.walks.events.load(Ordering::Relaxed);
        let (to, found): (Option<i64>, i64) = sqlx::query_as(OLD_EVENTS)
            .bind(after)
            .bind(first_at(before_ms).0)
            .bind(i64::from(limit))
            .fetch_one(&mut *self.reader().await?)
            .await?;
        let (is_all, mut gone) = (found < i64::from(limit), 0);
        if let Some(to) = to {
            let mut tx = self.begin().await?;
            erase_handled(tx.db(), after, to).await?;
            for delete in [
                concat!("delete from deliveries where ", handled!()),
                concat!("delete from events where ", handled!()),
            ] {
                gone = sqlx::query(delete).bind(after).bind(to).execute(tx.db()).await?.rows_affected();
            }
            tx.commit().await?;
        }
        go_on(&self.walks.events, to.unwrap_or(0), is_all);
        Ok(Step { gone, is_all })
    }

    pub(super) async fn delete_old_payloads(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError> {
        self.told(self.delete_some_payloads(first_at(before_ms).0, limit, i64::MAX)).await
    }

    /// The first `limit` of them, or so many as have this many bytes.
    async fn delete_some_payloads(&self, before: i64, limit: u32, bytes: i64) -> Result<Step, Fault> {
        let after = self.walks.payloads.load(Ordering::Relaxed);
        let found: Vec<(i64, i64)> = sqlx::query_as(OLD_PAYLOADS)
            .bind(after)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let (mut sum, mut to) = (0_i64, None);
        for (seq, size) in &found {
            if sum >= bytes {
                break;
            }
            sum = sum.saturating_add(*size);
            to = Some(*seq);
        }
        // Where fewer were enough it is counted again before that was all: what is pending among them stays.
        let is_all = found.len() < limit as usize && to == found.last().map(|(seq, _)| *seq);
        let mut gone = 0;
        if let Some(to) = to {
            let mut tx = self.begin().await?;
            gone = erase_handled(tx.db(), after, to).await?;
            tx.commit().await?;
        }
        go_on(&self.walks.payloads, to.unwrap_or(0), is_all);
        Ok(Step { gone, is_all })
    }

    pub(super) async fn delete_too_many_payloads(
        &self,
        max_bytes: u64,
        limit: u32,
    ) -> Result<Step, StoreError> {
        self.told(self.delete_excess(i64::try_from(max_bytes).unwrap_or(i64::MAX), limit)).await
    }

    async fn delete_excess(&self, max_bytes: i64, limit: u32) -> Result<Step, Fault> {
        let Some(bytes) = self.count_payloads().await? else { return Ok(Step { gone: 0, is_all: false }) };
        if bytes <= max_bytes {
            go_on(&self.walks.payloads, 0, true);
            return Ok(Step { gone: 0, is_all: true });
        }
        self.delete_some_payloads(i64::MAX, limit, bytes - max_bytes).await
    }

    /// Bytes of payload that are stored, counted on by the events since; none while there are more of those than are counted at once.
    async fn count_payloads(&self) -> Result<Option<i64>, Fault> {
        let mut db = self.reader().await?;
        let (to, bytes) = counted(&mut db).await?;
        let (last, more, rows): (Option<i64>, Option<i64>, i64) = sqlx::query_as(
            "select max(seq), sum(bytes), count(*) from (select e.seq, case when exists (select 1 from payloads p where p.seq = e.seq) \
             then e.bytes else 0 end as bytes from events e where e.seq > $1 order by e.seq limit $2)",
        )
        .bind(to)
        .bind(COUNTED)
        .fetch_one(&mut *db)
        .await?;
        drop(db);
        let Some(last) = last else { return Ok(Some(bytes)) };
        let mut tx = self.begin().await?;
        // Behind what was counted before nothing was taken off.
        let (_, bytes) = counted(tx.db()).await?;
        let bytes = bytes.saturating_add(more.unwrap_or(0));
        set_counted(tx.db(), last, bytes).await?;
        tx.commit().await?;
        Ok(Some(bytes).filter(|_| rows < COUNTED))
    }

    /// Erases the payloads of these events, whoever still waits for them.
    pub(super) async fn erase(
        &self,
        db: &mut SqliteConnection,
        seqs: &str,
        first: i64,
        last: i64,
    ) -> Result<u64, Fault> {
        let bytes: Option<i64> = sqlx::query_scalar(concat!(
            sum_counted!(),
            " and e.seq >= $1 and e.seq <= $2 and e.seq in (select value from json_each($3))"
        ))
        .bind(first)
        .bind(last)
        .bind(seqs)
        .fetch_one(&mut *db)
        .await?;
        take_off(db, bytes.unwrap_or(0)).await?;
        let gone = sqlx::query("delete from payloads where seq in (select value from json_each($1))")
            .bind(seqs)
            .execute(db)
            .await?;
        Ok(gone.rows_affected())
    }
}

/// Erases the payloads behind `after`, up to `to`, that are not pending.
async fn erase_handled(db: &mut SqliteConnection, after: i64, to: i64) -> Result<u64, Fault> {
    let bytes: Option<i64> =
        sqlx::query_scalar(concat!(sum_counted!(), " and e.seq > $1 and e.seq <= $2 and e.", not_pending!()))
            .bind(after)
            .bind(to)
            .fetch_one(&mut *db)
            .await?;
    take_off(db, bytes.unwrap_or(0)).await?;
    let gone = sqlx::query(concat!("delete from payloads where ", handled!()))
        .bind(after)
        .bind(to)
        .execute(db)
        .await?;
    Ok(gone.rows_affected())
}

/// Up to which event payloads were counted, and their bytes.
async fn counted(db: &mut SqliteConnection) -> Result<(i64, i64), Fault> {
    Ok(sqlx::query_as(
        "select coalesce(max(case name when 'payloads_counted_to' then value end), 0), \
         coalesce(max(case name when 'payload_bytes' then value end), 0) from meta \
         where name in ('payloads_counted_to', 'payload_bytes')",
    )
    .fetch_one(db)
    .await?)
}

async fn set_counted(db: &mut SqliteConnection, to: i64, bytes: i64) -> Result<(), Fault> {
    sqlx::query(
        "insert into meta (name, value) values ('payloads_counted_to', $1), ('payload_bytes', $2) \
         on conflict (name) do update set value = excluded.value",
    )
    .bind(to)
    .bind(bytes)
    .execute(db)
    .await?;
    Ok(())
}

/// So many bytes of what was counted go.
async fn take_off(db: &mut SqliteConnection, bytes: i64) -> Result<(), Fault> {
    if bytes > 0 {
        sqlx::query("update meta set value = max(value - $1, 0) where name = 'payload_bytes'")
            .bind(bytes)
            .execute(db)
            .await?;
    }
    Ok(())
}
