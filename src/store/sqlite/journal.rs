//! The journal's way in: groups of events, what has been seen of them before, and what no database would take.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::SqliteStore;
use super::batch::{BEGIN_AND_SEE, SEE, STORE, STORE_AGAIN, STORE_AND_COMMIT, bind};
use super::write_side::Tx;
use crate::event::Event;
use crate::ids::{Seq, WriterId};
use crate::store::fault::{Fault, no_writer};
use crate::store::inbox::{Entry, bytes_of, seal_first_of_each_key, seal_whole, taken};
use crate::store::{StoreError, Taken};

impl SqliteStore {
    pub(super) async fn append_group(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, Fault> {
        let mut entries = seal_first_of_each_key(&self.vault, group)?;
        if entries.is_empty() {
            self.move_settled(writer, settled_to, None).await?;
            return Ok(Vec::new());
        }
        let (mut tx, all_new) = self.begin_and_see(writer, &entries, settled_to).await?;
        if !all_new {
            leave_out_seen(tx.db(), &mut entries).await?;
        }
        let taken = taken(group.len(), entries.iter().map(|entry| entry.at));
        if all_new {
            store_and_commit(tx, writer, entries).await?;
        } else {
            store_again(tx.db(), writer, entries).await?;
            tx.commit().await?;
        }
        Ok(taken)
    }

    /// Moves the writer's mark and notes the entries as seen. Were all of them new?
    async fn begin_and_see(
        &self,
        writer: WriterId,
        entries: &[Entry<'_>],
        settled_to: Seq,
    ) -> Result<(Tx<'_>, bool), Fault> {
        let mut rest = entries.iter();
        let mut values = SqliteArguments::default();
        bind(&mut values, settled_to.0)?;
        bind(&mut values, writer.0)?;
        let Some((rows, sql)) = BEGIN_AND_SEE.pieces(entries.len()).next() else {
            return Err(StoreError::Data("a group of no events".into()).into());
        };
        bind_seen(&mut values, rest.by_ref().take(rows))?;
        let (mut tx, changed) = self.write_side.begin_with(sql, &values).await?;
        let &[1, mut done] = changed.as_slice() else { return Err(no_writer(writer)) };
        for (rows, sql) in SEE.pieces(entries.len() - rows) {
            let mut values = SqliteArguments::default();
            bind_seen(&mut values, rest.by_ref().take(rows))?;
            done += sqlx::query_with(sql, values).execute(tx.db()).await?.rows_affected();
        }
        Ok((tx, usize::try_from(done) == Ok(entries.len())))
    }

    pub(super) async fn put_aside(&self, event: &Event, error: &str, now_ms: i64) -> Result<(), Fault> {
        let sealed = seal_whole(&self.vault, event)?;
        let mut tx = self.write_side.begin().await?;
        sqlx::query(
            "insert into quarantine (seq, at, app_id, error, event_sealed) values ($1, $2, $3, $4, $5)",
        )
        .bind(event.seq.0)
        .bind(now_ms)
        .bind(event.app.0)
        .bind(error)
        .bind(sealed)
        .execute(tx.db())
        .await?;
        tx.commit().await
    }

    /// Walks the events in their order from where it last stopped, so that `seen` needs neither a time nor an index on it.
    pub(super) async fn forget(&self, before_ms: i64, limit: u32) -> Result<u64, Fault> {
        let mut tx = self.write_side.begin().await?;
        let mark: Option<i64> = sqlx::query_scalar("select value from meta where name = 'seen_forgotten_to'")
            .fetch_optional(tx.db())
            .await?;
        let next: Vec<(i64, i64)> =
            sqlx::query_as("select seq, at from events where seq > $1 order by seq limit $2")
                .bind(mark.unwrap_or(0))
                .bind(limit)
                .fetch_all(tx.db())
                .await?;
        // Up to the last old one: an event dated ahead by a clock that was wrong must not hold up those behind it.
        let Some((to, _)) = next.into_iter().rfind(|(_, at)| *at < before_ms) else {
            tx.commit().await?;
            return Ok(0);
        };
        let gone = sqlx::query(
            "delete from seen where (key, seq) in (select dedupe, seq from events where seq > $1 and seq <= $2)",
        )
        .bind(mark.unwrap_or(0))
        .bind(to)
        .execute(tx.db())
        .await?;
        sqlx::query(
            "insert into meta (name, value) values ('seen_forgotten_to', $1) \
             on conflict (name) do update set value = excluded.value",
        )
        .bind(to)
        .execute(tx.db())
        .await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }

    /// Reads, and commits a small write.
    pub(super) async fn try_out(&self) -> Result<(), Fault> {
        sqlx::query("select value from meta where name = 'key_id'")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        let mut tx = self.write_side.begin().await?;
        sqlx::query(
            "insert into meta (name, value) values ('pinged', 1) on conflict (name) do update set value = value + 1",
        )
        .execute(tx.db())
        .await?;
        tx.commit().await
    }
}

fn bind_seen<'a>(
    values: &mut SqliteArguments,
    entries: impl Iterator<Item = &'a Entry<'a>>,
) -> Result<(), Fault> {
    for entry in entries {
        bind(values, entry.event.dedupe.0.as_slice())?;
        bind(values, entry.event.seq.0)?;
    }
    Ok(())
}

/// Leaves out what was seen with another seq, after not all were new.
async fn leave_out_seen(db: &mut SqliteConnection, entries: &mut Vec<Entry<'_>>) -> Result<(), Fault> {
    let keys = vec!["?"; entries.len()].join(",");
    let mut query = sqlx::query_as(AssertSqlSafe(format!("select key, seq from seen where key in ({keys})")));
    for entry in &*entries {
        query = query.bind(entry.event.dedupe.0.as_slice());
    }
    let rows: Vec<(Vec<u8>, i64)> = query.persistent(false).fetch_all(db).await?;
    let seqs: HashMap<Vec<u8>, i64> = rows.into_iter().collect();
    // What was not there has its own seq now, as what an earlier try of the same group had brought in.
    entries.retain(|entry| seqs.get(entry.event.dedupe.0.as_slice()) == Some(&entry.event.seq.0));
    Ok(())
}

/// Writes the rows of entries that were all new, and makes them durable. A row that is there is another event's.
async fn store_and_commit(mut tx: Tx<'_>, writer: WriterId, entries: Vec<Entry<'_>>) -> Result<(), Fault> {
    let mut left = entries.len();
    let mut rest = entries.into_iter();
    for ((rows, sql), (_, last)) in STORE.pieces(left).zip(STORE_AND_COMMIT.pieces(left)) {
        let values = rows_to_store(writer, rest.by_ref().take(rows))?;
        left -= rows;
        if left == 0 {
            return tx.commit_with(last, values).await.map_err(Fault::or_seq_taken);
        }
        sqlx::query_with(sql, values)
            .execute(tx.db())
            .await
            .map_err(Fault::from)
            .map_err(Fault::or_seq_taken)?;
    }
    tx.commit().await
}

/// Writes the entries' rows. Rows of an earlier try are left as they are.
async fn store_again(
    db: &mut SqliteConnection,
    writer: WriterId,
    entries: Vec<Entry<'_>>,
) -> Result<(), Fault> {
    let count = entries.len();
    let mut rest = entries.into_iter();
    for (rows, sql) in STORE_AGAIN.pieces(count) {
        let values = rows_to_store(writer, rest.by_ref().take(rows))?;
        sqlx::query_with(sql, values).execute(&mut *db).await?;
    }
    Ok(())
}

fn rows_to_store<'a>(
    writer: WriterId,
    entries: impl Iterator<Item = Entry<'a>>,
) -> Result<SqliteArguments, Fault> {
    let mut values = SqliteArguments::default();
    let mut payloads = Vec::with_capacity(entries.size_hint().0);
    for Entry { event, sealed, .. } in entries {
        bind(&mut values, event.seq.0)?;
        bind(&mut values, writer.0)?;
        bind(&mut values, event.app.0)?;
        bind(&mut values, event.workspace.map(|workspace| workspace.0))?;
        bind(&mut values, event.kind.as_str())?;
        bind(&mut values, &*event.kind_type)?;
        bind(&mut values, &*event.slack_id)?;
        bind(&mut values, event.dedupe.0.as_slice())?;
        bind(&mut values, event.retry)?;
        bind(&mut values, event.received_ms)?;
        bind(&mut values, bytes_of(event))?;
        payloads.push((event.seq, sealed));
    }
    for (seq, sealed) in payloads {
        bind(&mut values, seq.0)?;
        bind(&mut values, sealed)?;
    }
    Ok(values)
}
