//! The journal's way out: events in order of seq, opened.

use sqlx::{FromRow, SqliteConnection};

use super::SqliteStore;
use super::fault::Fault;
use super::journal::payload_place;
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceId};
use crate::store::vault::Vault;

impl SqliteStore {
    pub(super) async fn read_journal(
        &self,
        after: Seq,
        limit: u32,
        max_bytes: usize,
    ) -> Result<Vec<Event>, Fault> {
        let mut after = after;
        loop {
            let mut db = self.reader().await?;
            let Some(to) = reach(&mut db, after, limit, max_bytes).await? else {
                return Ok(Vec::new());
            };
            let rows: Vec<EventRow> = sqlx::query_as(
                "select e.seq, e.app_id, e.workspace_id, e.kind, e.type, e.slack_id, e.dedupe, e.retry, e.at, \
                 p.payload_sealed from events e left join payloads p on p.seq = e.seq \
                 where e.seq > $1 and e.seq <= $2 order by e.seq",
            )
            .bind(after.0)
            .bind(to.0)
            .fetch_all(&mut *db)
            .await?;
            let events: Vec<Event> = rows.into_iter().filter_map(|row| row.open(&self.vault)).collect();
            if !events.is_empty() {
                return Ok(events);
            }
            // None of these can be read; what lies behind them still can.
            after = to;
        }
    }
}

#[derive(FromRow)]
struct EventRow {
    seq: i64,
    app_id: i64,
    workspace_id: Option<i64>,
    kind: String,
    #[sqlx(rename = "type")]
    kind_type: String,
    slack_id: String,
    dedupe: Vec<u8>,
    retry: u16,
    at: i64,
    payload_sealed: Option<Vec<u8>>,
}

impl EventRow {
    /// The event; none, and a line in the log, when its payload is gone or cannot be opened: it must not stop those behind it.
    fn open(self, vault: &Vault) -> Option<Event> {
        let payload = match self
            .payload_sealed
            .map(|sealed| vault.open_text(payload_place(Seq(self.seq)), sealed))
        {
            Some(Ok(payload)) => payload,
            Some(Err(error)) => {
                tracing::error!(seq = self.seq, app_id = self.app_id, %error, "an event cannot be read; it is skipped");
                return None;
            }
            None => {
                tracing::error!(
                    seq = self.seq,
                    app_id = self.app_id,
                    "an event's payload is gone; it is skipped"
                );
                return None;
            }
        };
        let Ok(dedupe) = <[u8; 16]>::try_from(self.dedupe) else {
            tracing::error!(seq = self.seq, app_id = self.app_id, "an event's key is damaged; it is skipped");
            return None;
        };
        Some(Event {
            seq: Seq(self.seq),
            app: AppId(self.app_id),
            workspace: self.workspace_id.map(WorkspaceId),
            kind: Kind::of(&self.kind),
            kind_type: self.kind_type.into(),
            slack_id: self.slack_id.into(),
            dedupe: DedupeKey(dedupe),
            retry: self.retry,
            received_ms: self.at,
            payload: payload.into(),
        })
    }
}

/// Up to which seq a read goes: `limit` events, and as many as fit into `max_bytes`, but one at least. None at the end.
async fn reach(
    db: &mut SqliteConnection,
    after: Seq,
    limit: u32,
    max_bytes: usize,
) -> Result<Option<Seq>, sqlx::Error> {
    let sizes: Vec<(i64, i64)> =
        sqlx::query_as("select seq, bytes from events where seq > $1 order by seq limit $2")
            .bind(after.0)
            .bind(limit)
            .fetch_all(db)
            .await?;
    let mut to = None;
    let mut sum = 0_usize;
    for (seq, bytes) in sizes {
        sum = sum.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        if to.is_some() && sum > max_bytes {
            break;
        }
        to = Some(Seq(seq));
    }
    Ok(to)
}
