//! The journal's way in: groups of events, what has been seen of them before, and what no database would take.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::SqliteStore;
use super::batch::{SEE, STORE, bind};
use super::fault::Fault;
use super::writers::settle;
use crate::event::Event;
use crate::ids::{Seq, WriterId};
use crate::store::vault::{Place, Vault};
use crate::store::{StoreError, Taken};

/// An event on its way in, sealed.
struct Entry<'a> {
    /// Its place in the group.
    at: usize,
    event: &'a Event,
    sealed: Vec<u8>,
    found: Found,
}

/// What `seen` says of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It was not there.
    New,
    /// It was there with this very seq: an earlier try of the same group came through.
    Own,
    /// It was there with another seq.
    Other,
}

impl SqliteStore {
    pub(super) async fn append_group(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, Fault> {
        let mut entries = seal_first_of_each_key(&self.vault, group)?;
        let mut tx = self.write_side.begin().await?;
        see(tx.db(), &mut entries).await?;
        entries.retain(|entry| entry.found != Found::Other);
        let mut taken = vec![Taken::Duplicate; group.len()];
        for entry in &entries {
            if let Some(taken) = taken.get_mut(entry.at) {
                *taken = Taken::Fresh;
            }
        }
        store(tx.db(), writer, entries).await?;
        settle(tx.db(), writer, settled_to, None).await?;
        tx.commit().await?;
        Ok(taken)
    }

    pub(super) async fn put_aside(&self, event: &Event, error: &str, now_ms: i64) -> Result<(), Fault> {
        let whole = serde_json::json!({
            "workspace": event.workspace,
            "kind": event.kind,
            "type": event.kind_type,
            "slack_id": event.slack_id,
            "dedupe": event.dedupe.0,
            "retry": event.retry,
            "received_ms": event.received_ms,
            "payload": event.payload,
        });
        let sealed = self.vault.seal(quarantine_place(event.seq), whole.to_string().as_bytes())?;
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

/// Sealing is done before the write lock is asked for. Later events of the same key are left out: duplicates.
fn seal_first_of_each_key<'a>(vault: &Vault, group: &'a [Arc<Event>]) -> Result<Vec<Entry<'a>>, StoreError> {
    let mut keys = HashSet::with_capacity(group.len());
    group
        .iter()
        .enumerate()
        .filter(|(_, event)| keys.insert(event.dedupe))
        .map(|(at, event)| {
            let sealed = vault.seal(payload_place(event.seq), event.payload.as_bytes())?;
            Ok(Entry { at, event, sealed, found: Found::New })
        })
        .collect()
}

/// Notes the entries as seen, and finds out which were.
async fn see(db: &mut SqliteConnection, entries: &mut [Entry<'_>]) -> Result<(), Fault> {
    let mut done = 0;
    let mut rest = entries.iter();
    for (rows, sql) in SEE.pieces(entries.len()) {
        let mut values = SqliteArguments::default();
        for entry in rest.by_ref().take(rows) {
            bind(&mut values, entry.event.dedupe.0.as_slice())?;
            bind(&mut values, entry.event.seq.0)?;
        }
        done += sqlx::query_with(sql, values).execute(&mut *db).await?.rows_affected();
    }
    if usize::try_from(done) == Ok(entries.len()) {
        return Ok(());
    }
    let keys = vec!["?"; entries.len()].join(",");
    let mut query = sqlx::query_as(AssertSqlSafe(format!("select key, seq from seen where key in ({keys})")));
    for entry in &*entries {
        query = query.bind(entry.event.dedupe.0.as_slice());
    }
    let rows: Vec<(Vec<u8>, i64)> = query.persistent(false).fetch_all(db).await?;
    let seqs: HashMap<Vec<u8>, i64> = rows.into_iter().collect();
    // An entry that was not there has its own seq now too: whether `New` or `Own` makes no difference once one was found.
    for entry in entries {
        let own = seqs.get(entry.event.dedupe.0.as_slice()) == Some(&entry.event.seq.0);
        entry.found = if own { Found::Own } else { Found::Other };
    }
    Ok(())
}

/// Writes the entries' rows. Rows of an earlier try are left as they are.
async fn store(db: &mut SqliteConnection, writer: WriterId, entries: Vec<Entry<'_>>) -> Result<(), Fault> {
    let all_new = entries.iter().all(|entry| entry.found == Found::New);
    let count = entries.len();
    let mut done = 0;
    let mut rest = entries.into_iter();
    for (rows, sql) in STORE.pieces(count) {
        let mut values = SqliteArguments::default();
        let mut payloads = Vec::with_capacity(rows);
        for Entry { event, sealed, .. } in rest.by_ref().take(rows) {
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
            bind(&mut values, i64::try_from(event.payload.len()).unwrap_or(i64::MAX))?;
            payloads.push((event.seq, sealed));
        }
        for (seq, sealed) in payloads {
            bind(&mut values, seq.0)?;
            bind(&mut values, sealed)?;
        }
        done += sqlx::query_with(sql, values).execute(&mut *db).await?.rows_affected();
    }
    // `do nothing` is for what an earlier try wrote. Where nothing was, a row not written is an event lost.
    if all_new && usize::try_from(done) != Ok(count * 2) {
        return Err(StoreError::Data("the seq of an event is taken by another event".into()).into());
    }
    Ok(())
}

/// Where an event's payload is sealed.
pub(super) const fn payload_place(seq: Seq) -> Place {
    Place::new("payloads", "payload_sealed", seq.0)
}

const fn quarantine_place(seq: Seq) -> Place {
    Place::new("quarantine", "event_sealed", seq.0)
}
