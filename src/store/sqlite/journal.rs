//! The journal's way in: groups of events, and what no database would take.

use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;

use super::SqliteStore;
use super::batch::{BEGIN_AND_STORE, STORE, STORE_AGAIN, bind, pieces};
use super::seen::{Recent, find_noted, note};
use super::write_side::Tx;
use crate::event::Event;
use crate::ids::{Seq, WriterId};
use crate::store::Taken;
use crate::store::fault::Fault;
use crate::store::inbox::{bytes_of, first_of_each_key, seal_payload, seal_whole, taken};

/// An event of a group that may be new.
#[derive(Clone, Copy)]
struct Entry<'a> {
    /// Its place in the group.
    at: usize,
    event: &'a Event,
    /// An earlier try of the same group came through.
    is_there: bool,
}

impl SqliteStore {
    pub(super) async fn append_group(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, Fault> {
        self.must_have_begun(writer)?;
        let mut tx = self.write_side.enter().await?;
        if tx.recent().is_some_and(|recent| recent.are_many()) {
            tx.begin().await?;
            note(&mut tx).await?;
            tx.end().await?;
        }
        let entries = not_seen_lately(tx.read_recent().await?, group);
        let (mut stored, rest) = if entries.iter().any(|entry| entry.is_there) {
            (Vec::new(), entries)
        } else {
            self.store_new(&mut tx, writer, &entries, settled_to).await?
        };
        if !rest.is_empty() {
            stored.extend(self.store_rest(&mut tx, writer, rest).await?);
        }
        if let Some(recent) = tx.recent() {
            recent.add(stored.iter().map(|entry| entry.event));
        }
        tx.leave();
        Ok(taken(group.len(), stored.iter().map(|entry| entry.at)))
    }

    /// The ordinary way: whatever was never seen is stored, and the writer's mark moved, by as few texts as can be. Gives those that
    /// were stored, and those of pieces in which something was seen before.
    async fn store_new<'a>(
        &self,
        tx: &mut Tx<'_>,
        writer: WriterId,
        entries: &[Entry<'a>],
        settled_to: Seq,
    ) -> Result<(Vec<Entry<'a>>, Vec<Entry<'a>>), Fault> {
        let (mut stored, mut rest) = (Vec::with_capacity(entries.len()), Vec::new());
        let mut pieces = pieces(entries).peekable();
        let mut is_first = true;
        while let Some(piece) = pieces.next() {
            let kind = if is_first { &BEGIN_AND_STORE } else { &STORE };
            let batch = if pieces.peek().is_some() { &kind.goes_on } else { &kind.commits };
            let text = batch.over(piece.len());
            let values = || self.values_to_store(writer, piece, is_first.then_some(settled_to));
            let changed = if is_first {
                tx.begin_with(text, values).await.map_err(Fault::or_seq_taken)?.into_iter().nth(1)
            } else {
                tx.run(text, values()?).await.map_err(Fault::or_seq_taken)?.into_iter().next()
            };
            is_first = false;
            if changed == Some(0) { &mut rest } else { &mut stored }.extend_from_slice(piece);
        }
        Ok((stored, rest))
    }

    /// The long way, one by one: of these some were seen before, in the table or by an earlier try of the same group. Gives those
    /// that were stored, now or then.
    async fn store_rest<'a>(
        &self,
        tx: &mut Tx<'_>,
        writer: WriterId,
        mut entries: Vec<Entry<'a>>,
    ) -> Result<Vec<Entry<'a>>, Fault> {
        tx.begin().await?;
        let noted = find_noted(tx.db(), entries.iter().map(|entry| entry.event)).await?;
        entries.retain(|Entry { event, .. }| noted.get(&event.dedupe).is_none_or(|seq| *seq == event.seq));
        for piece in pieces(&entries) {
            let mut values = SqliteArguments::default();
            bind_events(&mut values, writer, piece)?;
            self.bind_payloads(&mut values, piece)?;
            tx.run(STORE_AGAIN.over(piece.len()), values).await?;
        }
        tx.end().await?;
        Ok(entries)
    }

    /// What the texts of [`STORE`] want, in their order.
    fn values_to_store(
        &self,
        writer: WriterId,
        piece: &[Entry<'_>],
        settled_to: Option<Seq>,
    ) -> Result<SqliteArguments, Fault> {
        let mut values = SqliteArguments::default();
        if let Some(settled_to) = settled_to {
            bind(&mut values, settled_to.0)?;
            bind(&mut values, writer.0)?;
        }
        bind_events(&mut values, writer, piece)?;
        for entry in piece {
            bind(&mut values, entry.event.dedupe.0.as_slice())?;
        }
        self.bind_payloads(&mut values, piece)?;
        bind(&mut values, piece.first().map(|entry| entry.event.seq.0))?;
        Ok(values)
    }

    fn bind_payloads(&self, values: &mut SqliteArguments, piece: &[Entry<'_>]) -> Result<(), Fault> {
        for Entry { event, .. } in piece {
            bind(values, event.seq.0)?;
            bind(values, seal_payload(&self.vault, event)?)?;
        }
        Ok(())
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

    /// A file is one node's.
    #[expect(clippy::unused_async, reason = "as on Postgres")]
    pub(super) async fn count_other_nodes(&self) -> Result<u32, Fault> {
        Ok(0)
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

/// The first of each key that is not known to be another event's. What is left out is a duplicate.
fn not_seen_lately<'a>(recent: &Recent, group: &'a [Arc<Event>]) -> Vec<Entry<'a>> {
    let entry = |(at, event): (usize, &'a Event)| match recent.find(event.dedupe) {
        None => Some(Entry { at, event, is_there: false }),
        Some(seq) => (seq == event.seq).then_some(Entry { at, event, is_there: true }),
    };
    first_of_each_key(group).filter_map(entry).collect()
}

fn bind_events(values: &mut SqliteArguments, writer: WriterId, piece: &[Entry<'_>]) -> Result<(), Fault> {
    for Entry { event, .. } in piece {
        bind(values, event.seq.0)?;
        bind(values, writer.0)?;
        bind(values, event.app.0)?;
        bind(values, event.workspace.map(|workspace| workspace.0))?;
        bind(values, event.kind.as_str())?;
        bind(values, &*event.kind_type)?;
        bind(values, &*event.slack_id)?;
        bind(values, event.dedupe.0.as_slice())?;
        bind(values, event.retry)?;
        bind(values, event.received_ms)?;
        bind(values, bytes_of(event))?;
    }
    Ok(())
}
