//! The journal's way in: groups of events, what has been seen of them before, and what no database would take. Each method is one
//! statement, so one transaction, on a connection of the journal's own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::postgres::PgConnection;

use super::PostgresStore;
use super::fault::lacks_partition;
use super::partitions::{self, Day};
use super::station::{Station, settle};
use crate::event::Event;
use crate::ids::{Seq, WriterId};
use crate::store::fault::{Fault, no_writer};
use crate::store::inbox::{Entry, ahead_from, bytes_of, seal_first_of_each_key, seal_whole, taken};
use crate::store::{StoreError, Taken};

/// Writes a group: the writers' marks, what is seen, and the rows of what was not seen before. Tells the seqs of those. Keys come in
/// their order, so that two nodes with the same keys never wait for each other in a circle. Without the writer's row nothing is
/// written. The list of new seqs is an array, which costs the same however the planner guesses at its length, and is looked through
/// only where something was seen.
const APPEND: &str = concat!(
    "with mark as (",
    settle!(),
    " returning w.id), \
     new as (insert into seen (key, seq) select i.key, i.seq from unnest($5::bytea[], $6::bigint[]) as i (key, seq) \
     where exists (select 1 from mark where id = $7) on conflict do nothing returning seq), \
     fresh as materialized \
     (select coalesce(array_agg(seq), '{}') as seqs, count(*) = cardinality($6) as is_all from new), \
     in_events as (insert into events \
     (seq, writer, app_id, workspace_id, kind, type, slack_id, dedupe, retry, at, bytes) \
     select i.seq, $7, i.app_id, i.workspace_id, i.kind, i.type, i.slack_id, i.dedupe, i.retry, i.at, i.bytes \
     from unnest($8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::bytea[], \
     $15::int[], $16::bigint[], $17::bigint[]) \
     as i (seq, app_id, workspace_id, kind, type, slack_id, dedupe, retry, at, bytes) \
     where (select is_all from fresh) or i.seq = any((select seqs from fresh)::bigint[])), \
     in_payloads as (insert into payloads (seq, payload_sealed) \
     select i.seq, i.sealed from unnest($8::bigint[], $18::bytea[]) as i (seq, sealed) \
     where (select is_all from fresh) or i.seq = any((select seqs from fresh)::bigint[])) \
     select (select count(*) from mark where id = $7), (select seqs from fresh)"
);

const SETTLE: &str = settle!();

impl PostgresStore {
    pub(super) async fn append_group(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, Fault> {
        let entries = seal_first_of_each_key(&self.vault, group)?;
        if entries.is_empty() {
            self.move_settled(writer, settled_to, None).await?;
            return Ok(Vec::new());
        }
        let last = entries.iter().map(|entry| entry.event.seq.0).max().unwrap_or_default();
        self.last_tried.fetch_max(last, Ordering::AcqRel);
        let mut held = self.journal().await?;
        // Behind the connection: a new one may have made another writer of it.
        let station = match self.station_of(writer, settled_to) {
            Ok(station) => station,
            Err(error) => return held.after(Err(error)),
        };
        let outcome = self.write(held.db(), &station, &entries, settled_to).await;
        let fresh = held.after(outcome)?;
        Ok(taken(group.len(), fresh.into_iter()))
    }

    /// Writes the entries; the places of those that are fresh.
    async fn write(
        &self,
        db: &mut PgConnection,
        station: &Station,
        entries: &[Entry<'_>],
        settled_to: Seq,
    ) -> Result<Vec<usize>, Fault> {
        self.have_days(db, entries.iter().map(|entry| Day::of(entry.event.seq)).collect()).await?;
        let new = append(db, station, entries, settled_to).await.map_err(|fault| {
            if lacks_partition(&fault) {
                // Somebody took one away. The next try makes it anew.
                self.forget_days();
                return StoreError::Unavailable("a partition of the journal is gone".into()).into();
            }
            fault.or_seq_taken()
        })?;
        let is_new = |entry: &Entry<'_>| new.contains(&entry.event.seq.0);
        if new.len() == entries.len() {
            return Ok(entries.iter().map(|entry| entry.at).collect());
        }
        // What was there with this very seq came in by an earlier try of the same group, rows and all.
        let old: Vec<&[u8]> = entries
            .iter()
            .filter(|entry| !is_new(entry))
            .map(|entry| entry.event.dedupe.0.as_slice())
            .collect();
        let rows: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("select key, seq from seen where key = any($1)").bind(&old).fetch_all(db).await?;
        let seqs: HashMap<Vec<u8>, i64> = rows.into_iter().collect();
        let is_own =
            |entry: &Entry<'_>| seqs.get(entry.event.dedupe.0.as_slice()) == Some(&entry.event.seq.0);
        Ok(entries.iter().filter(|entry| is_new(entry) || is_own(entry)).map(|entry| entry.at).collect())
    }

    pub(super) async fn move_settled(
        &self,
        writer: WriterId,
        settled_to: Seq,
        ended_ms: Option<i64>,
    ) -> Result<(), Fault> {
        let mut held = self.journal().await?;
        let station = match self.station_of(writer, settled_to) {
            Ok(station) => station,
            Err(error) => return held.after(Err(error)),
        };
        let (ids, tops) = station.marks();
        let done = sqlx::query(SETTLE)
            .bind(ids)
            .bind(tops)
            .bind(settled_to.0)
            .bind(ended_ms)
            .execute(held.db())
            .await
            .map_err(Fault::from);
        match held.after(done)?.rows_affected() {
            0 => Err(no_writer(writer)),
            _ => Ok(()),
        }
    }

    pub(super) async fn put_aside(&self, event: &Event, error: &str, now_ms: i64) -> Result<(), Fault> {
        let sealed = seal_whole(&self.vault, event)?;
        let mut held = self.journal().await?;
        let done = sqlx::query(
            "insert into quarantine (seq, at, app_id, error, event_sealed) values ($1, $2, $3, $4, $5)",
        )
        .bind(event.seq.0)
        .bind(now_ms)
        .bind(event.app.0)
        .bind(error.replace('\0', ""))
        .bind(sealed)
        .execute(held.db())
        .await;
        held.after(done.map(|_| ()).map_err(Fault::from))
    }

    /// Walks the events in their order from where it last stopped, so that `seen` needs neither a time nor an index on it. Up to the
    /// last old one: an event dated ahead by a clock that was wrong must not hold up those behind it. Where a whole page is dated ahead
    /// the next look is at the page behind it.
    pub(super) async fn forget(&self, before_ms: i64, limit: u32) -> Result<u64, Fault> {
        let mut held = self.journal().await?;
        let done = sqlx::query_as::<_, (i64, Option<i64>)>(
            "with mark as materialized (select coalesce((select value::bigint from meta where name = 'seen_forgotten_to'), 0) \
             as seq), \
             next as materialized (select seq, at from events where seq > (select greatest(seq, $3) from mark) \
             order by seq limit $2), \
             old as materialized (select seq, dedupe from events where seq > (select seq from mark) \
             and seq <= (select max(seq) from next where at < $1) order by seq limit $2), \
             gone as (delete from seen where key = any(array(select dedupe from old)) \
             and ((key, seq) in (select dedupe, seq from old)) is true returning 1), \
             moved as (insert into meta (name, value) select 'seen_forgotten_to', max(seq)::text from old having count(*) > 0 \
             on conflict (name) do update set value = excluded.value) \
             select (select count(*) from gone), (select max(seq) from next having count(*) = $2 and min(at) > $4)",
        )
        .bind(before_ms)
        .bind(i64::from(limit))
        .bind(self.ahead_to.load(Ordering::Relaxed))
        .bind(ahead_from(before_ms))
        .fetch_one(held.db())
        .await;
        let (gone, ahead_to) = held.after(done.map_err(Fault::from))?;
        if let Some(ahead_to) = ahead_to {
            self.ahead_to.store(ahead_to, Ordering::Relaxed);
        }
        Ok(u64::try_from(gone).unwrap_or_default())
    }

    /// Makes the partitions of these days where they are not known to be there.
    pub(super) async fn have_days(
        &self,
        db: &mut PgConnection,
        mut days: BTreeSet<Day>,
    ) -> Result<(), Fault> {
        {
            let known = self.days.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            days.retain(|day| !known.contains(day));
        }
        if days.is_empty() {
            return Ok(());
        }
        partitions::make(db, &days).await?;
        self.days.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(days);
        Ok(())
    }

    fn forget_days(&self) {
        self.days.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

/// Writes what was not seen; the seqs of that.
async fn append(
    db: &mut PgConnection,
    station: &Station,
    entries: &[Entry<'_>],
    settled_to: Seq,
) -> Result<Vec<i64>, Fault> {
    let mut by_key: Vec<_> =
        entries.iter().map(|entry| (entry.event.dedupe.0.as_slice(), entry.event.seq.0)).collect();
    by_key.sort_unstable();
    let (keys, seqs): (Vec<&[u8]>, Vec<i64>) = by_key.into_iter().unzip();
    let (ids, tops) = station.marks();
    let (there, new): (i64, Vec<i64>) = sqlx::query_as(APPEND)
        .bind(ids)
        .bind(tops)
        .bind(settled_to.0)
        .bind(None::<i64>)
        .bind(keys)
        .bind(seqs)
        .bind(station.writer)
        .bind(column(entries, |event| event.seq.0))
        .bind(column(entries, |event| event.app.0))
        .bind(column(entries, |event| event.workspace.map(|workspace| workspace.0)))
        .bind(column(entries, |event| event.kind.as_str()))
        .bind(column(entries, |event| &*event.kind_type))
        .bind(column(entries, |event| &*event.slack_id))
        .bind(column(entries, |event| event.dedupe.0.as_slice()))
        .bind(column(entries, |event| i32::from(event.retry)))
        .bind(column(entries, |event| event.received_ms))
        .bind(column(entries, bytes_of))
        .bind(entries.iter().map(|entry| entry.sealed.as_slice()).collect::<Vec<_>>())
        .fetch_one(db)
        .await?;
    if there == 0 {
        return Err(no_writer(WriterId(i64::from(station.writer))));
    }
    Ok(new)
}

fn column<'a, T>(entries: &'a [Entry<'_>], of: impl Fn(&'a Event) -> T) -> Vec<T> {
    entries.iter().map(|entry| of(entry.event)).collect()
}
