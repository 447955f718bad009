//! The journal's way out: events in order of seq, opened.

use sqlx::FromRow;

use super::Backend;
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceId};
use crate::store::StoreError;
use crate::store::fault::Fault;
use crate::store::inbox::{payload_place, reach};
use crate::store::vault::Vault;

impl Backend {
    pub(super) async fn read_journal(
        &self,
        after: Seq,
        limit: u32,
        max_bytes: usize,
    ) -> Result<Vec<Event>, Fault> {
        let mut after = after;
        loop {
            let mut db = self.reader().await?;
            let sizes = self.sizes_after(&mut db, after, limit).await?;
            let seqs = reach(&sizes, max_bytes);
            let Some(last) = seqs.last().copied() else { return Ok(Vec::new()) };
            let rows = self.rows_of(&mut db, after, &seqs).await?;
            let mut events = Vec::with_capacity(rows.len());
            for row in rows {
                match row.open(&self.vault) {
                    Ok(event) => events.extend(event),
                    // What lies before it comes first; the next call stops here.
                    Err(_) if !events.is_empty() => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if !events.is_empty() {
                return Ok(events);
            }
            // None of these can be read; what lies behind them still can.
            after = Seq(last);
        }
    }
}

/// An event as it is stored, with its payload.
#[derive(FromRow)]
pub(in crate::store) struct EventRow {
    seq: i64,
    app_id: i64,
    workspace_id: Option<i64>,
    kind: String,
    #[sqlx(rename = "type")]
    kind_type: String,
    slack_id: String,
    dedupe: Vec<u8>,
    retry: i32,
    at: i64,
    payload_sealed: Option<Vec<u8>>,
}

impl EventRow {
    pub(super) const fn seq(&self) -> i64 {
        self.seq
    }

    /// The event; none, and a line in the log, when its payload is gone or damaged: it must not stop those behind it. An error where it
    /// only wants another key: passed over it would be lost.
    pub(super) fn open(self, vault: &Vault) -> Result<Option<Event>, StoreError> {
        let lacks_key = self.payload_sealed.as_ref().is_some_and(|sealed| vault.lacks_key(sealed));
        let payload = match self
            .payload_sealed
            .map(|sealed| vault.open_text(payload_place(Seq(self.seq)), sealed))
        {
            Some(Ok(payload)) => payload,
            Some(Err(error)) if lacks_key => return Err(error),
            Some(Err(error)) => {
                tracing::error!(seq = self.seq, app_id = self.app_id, %error, "an event cannot be read; it is skipped");
                return Ok(None);
            }
            None => {
                tracing::error!(
                    seq = self.seq,
                    app_id = self.app_id,
                    "an event's payload is gone; it is skipped"
                );
                return Ok(None);
            }
        };
        let Ok(dedupe) = <[u8; 16]>::try_from(self.dedupe) else {
            tracing::error!(seq = self.seq, app_id = self.app_id, "an event's key is damaged; it is skipped");
            return Ok(None);
        };
        Ok(Some(Event {
            seq: Seq(self.seq),
            app: AppId(self.app_id),
            workspace: self.workspace_id.map(WorkspaceId),
            kind: Kind::of(&self.kind),
            kind_type: self.kind_type.into(),
            slack_id: self.slack_id.into(),
            dedupe: DedupeKey(dedupe),
            retry: u16::try_from(self.retry).unwrap_or(u16::MAX),
            received_ms: self.at,
            payload: payload.into(),
        }))
    }
}
