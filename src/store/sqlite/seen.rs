//! What Slack has sent within the last day, by which a repeat is recognised.
//!
//! Each key lies somewhere of its own in the table `seen`: written with its event it would rewrite a whole page. So the newest
//! keys are known by their events alone, and held in memory; thousands at a time they move into the table, in its order.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::SqliteStore;
use super::write_side::Tx;
use crate::event::{DedupeKey, Event};
use crate::ids::Seq;
use crate::store::fault::Fault;
use crate::store::inbox::ahead_from;

/// So many keys move into the table together: enough that those which share a page pay for it together, and few enough that the
/// next group does not wait long.
pub(super) const TOGETHER: usize = 16_384;

/// The keys that are not in the table yet. Lives and dies with the connection that writes: after an error nobody has to guess what
/// of a group is there, it is read again.
#[derive(Debug)]
pub(super) struct Recent(HashMap<DedupeKey, Seq>);

impl Recent {
    /// Reads them from the events behind the last one whose key is in the table.
    pub(super) async fn read(db: &mut SqliteConnection) -> Result<Self, Fault> {
        let noted_to = noted_to(db).await?;
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as("select dedupe, seq from events where seq > $1")
            .bind(noted_to.0)
            .fetch_all(db)
            .await?;
        let known = |(key, seq): (Vec<u8>, i64)| Some((DedupeKey(key.try_into().ok()?), Seq(seq)));
        Ok(Self(rows.into_iter().filter_map(known).collect()))
    }

    /// The event of this key.
    pub(super) fn find(&self, key: DedupeKey) -> Option<Seq> {
        self.0.get(&key).copied()
    }

    /// Are they enough to move into the table?
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= TOGETHER
    }

    /// These are on disk now.
    pub(super) fn add<'a>(&mut self, events: impl Iterator<Item = &'a Event>) {
        self.0.extend(events.map(|event| (event.dedupe, event.seq)));
    }
}

impl SqliteStore {
    /// Forgets what was received before `before_ms`, by walking the events in their order from where it last stopped: so `seen` needs
    /// neither a time nor an index on it. Where a whole page is dated ahead the next look is at the page behind it.
    pub(super) async fn forget(&self, before_ms: i64, limit: u32) -> Result<u64, Fault> {
        let mut tx = self.write_side.begin().await?;
        let mark = mark(tx.db(), FORGOTTEN_TO).await?;
        let next: Vec<(i64, i64)> =
            sqlx::query_as("select seq, at from events where seq > $1 order by seq limit $2")
                .bind(mark.0.max(self.ahead_to.load(Ordering::Relaxed)))
                .bind(limit)
                .fetch_all(tx.db())
                .await?;
        // Up to the last old one: an event dated ahead by a clock that was wrong must not hold up those behind it.
        let Some((old_to, _)) = next.iter().rfind(|(_, at)| *at < before_ms) else {
            let is_ahead = next.iter().all(|(_, at)| *at > ahead_from(before_ms));
            if let Some((to, _)) = next.last().filter(|_| is_ahead && u32::try_from(next.len()) == Ok(limit))
            {
                self.ahead_to.store(*to, Ordering::Relaxed);
            }
            tx.commit().await?;
            return Ok(0);
        };
        let to: i64 = sqlx::query_scalar(
            "select max(seq) from (select seq from events where seq > $1 and seq <= $2 order by seq limit $3)",
        )
        .bind(mark.0)
        .bind(old_to)
        .bind(limit)
        .fetch_one(tx.db())
        .await?;
        if Seq(to) > noted_to(tx.db()).await? {
            note(&mut tx).await?;
        }
        let gone = sqlx::query(
            "delete from seen where (key, seq) in (select dedupe, seq from events where seq > $1 and seq <= $2)",
        )
        .bind(mark.0)
        .bind(to)
        .execute(tx.db())
        .await?;
        set_mark(tx.db(), FORGOTTEN_TO, Seq(to)).await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }
}

/// Of these events, those whose keys are in the table, with the seqs that are there.
pub(super) async fn find_noted(
    db: &mut SqliteConnection,
    events: impl ExactSizeIterator<Item = &Event>,
) -> Result<HashMap<DedupeKey, Seq>, Fault> {
    let keys = vec!["?"; events.len()].join(",");
    let mut query = sqlx::query_as(AssertSqlSafe(format!("select key, seq from seen where key in ({keys})")));
    for event in events {
        query = query.bind(event.dedupe.0.as_slice());
    }
    let rows: Vec<(Vec<u8>, i64)> = query.persistent(false).fetch_all(db).await?;
    let found = |(key, seq): (Vec<u8>, i64)| Some((DedupeKey(key.try_into().ok()?), Seq(seq)));
    Ok(rows.into_iter().filter_map(found).collect())
}

/// Moves the recent keys into the table, in the transaction under way. They are read again by whoever next needs them.
pub(super) async fn note(tx: &mut Tx<'_>) -> Result<(), Fault> {
    tx.forget_recent();
    let db = tx.db();
    let from = noted_to(db).await?;
    sqlx::query(
        "insert into seen (key, seq) select dedupe, seq from events where seq > $1 order by dedupe on conflict do nothing",
    )
    .bind(from.0)
    .execute(&mut *db)
    .await?;
    let to: Option<i64> = sqlx::query_scalar("select max(seq) from events").fetch_one(&mut *db).await?;
    set_mark(db, NOTED_TO, Seq(to.unwrap_or(0))).await
}

const NOTED_TO: &str = "seen_noted_to";
const FORGOTTEN_TO: &str = "seen_forgotten_to";

/// Up to this event all keys are in the table.
async fn noted_to(db: &mut SqliteConnection) -> Result<Seq, Fault> {
    mark(db, NOTED_TO).await
}

async fn mark(db: &mut SqliteConnection, name: &'static str) -> Result<Seq, Fault> {
    let mark: Option<i64> =
        sqlx::query_scalar("select value from meta where name = $1").bind(name).fetch_optional(db).await?;
    Ok(Seq(mark.unwrap_or(0)))
}

async fn set_mark(db: &mut SqliteConnection, name: &'static str, to: Seq) -> Result<(), Fault> {
    sqlx::query("insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value")
        .bind(name)
        .bind(to.0)
        .execute(db)
        .await?;
    Ok(())
}
