//! What is owed, on its way out: rows with the events they are about.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::rows::unknown;
use super::{Backend, Connection, EventRow, first_of_ours, json_numbers, next_line, one_of, ours};
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId};
use crate::store::fault::Fault;
use crate::store::inbox::reach;
use crate::store::{Backlog, DeliveryId, DeliveryRow, DeliveryStatus, Lane, Owed, Wanted};

/// The columns of an [`OwedRow`].
macro_rules! columns {
    () => {
        "d.seq, d.handler_id, d.run, d.app_id, d.workspace_id, d.status, d.attempts, d.next_at, d.order_key, d.hold_until, \
         d.last_error, d.created_at, d.updated_at"
    };
}

/// Lines are read in their order, and what is held or in memory is passed over.
pub(in crate::store) const WAITING: &str = first_of_ours!(
    columns!(),
    concat!(
        "d.handler_id = $2 and d.app_id = $3 and d.workspace_id = $4 and d.status = 'waiting' \
         and (d.order_key is null or d.order_key not in (",
        json_numbers!("$5"),
        ")) and d.seq not in (",
        json_numbers!("$6"),
        ")"
    ),
    "d.seq",
    "$7"
);

pub(in crate::store) const DUE: &str = first_of_ours!(
    columns!(),
    concat!(
        "d.handler_id = $2 and d.status = 'retrying' and d.next_at <= $3 and d.workspace_id not in (",
        json_numbers!("$5"),
        ")"
    ),
    "d.next_at, d.seq",
    "$4"
);

pub(in crate::store) const HOLDERS: &str = first_of_ours!(
    columns!(),
    "d.status = 'retrying' and d.hold_until is not null and d.hold_until > $2",
    "d.hold_until, d.seq",
    "$3"
);

const ABOVE: &str = concat!(
    "select d.seq, d.handler_id, d.run from deliveries d where ",
    ours!(),
    " and d.seq >= $2 and (d.seq, d.handler_id, d.run) > ($2, $3, $4) order by d.seq, d.handler_id, d.run limit $5"
);

pub(in crate::store) const NEXT_LINE: &str = next_line!();

pub(in crate::store) const SIZES: &str = concat!(
    "select seq, bytes from events where seq >= $2 and seq <= $3 and seq ",
    one_of!(json_numbers!("$1")),
    " order by seq"
);

/// The bounds are for finding the partitions. What stands among the columns is looked for by its key, whatever is known of the tables.
pub(in crate::store) const EVENTS: &str = concat!(
    "select e.seq, e.app_id, e.workspace_id, e.kind, e.type, e.slack_id, e.dedupe, e.retry, e.at, \
     (select p.payload_sealed from payloads p where p.seq = e.seq and p.seq >= $2 and p.seq <= $3) as payload_sealed \
     from events e where e.seq >= $2 and e.seq <= $3 and e.seq ",
    one_of!(json_numbers!("$1"))
);

/// A row of deliveries.
#[derive(FromRow)]
pub(super) struct OwedRow {
    seq: i64,
    handler_id: i64,
    run: i64,
    app_id: i64,
    workspace_id: i64,
    status: String,
    attempts: i64,
    next_at: i64,
    order_key: Option<i64>,
    hold_until: Option<i64>,
    last_error: Option<String>,
    created_at: i64,
    updated_at: i64,
}

impl OwedRow {
    pub(super) fn read(self) -> Result<DeliveryRow, Fault> {
        let status =
            DeliveryStatus::of(&self.status).ok_or_else(|| unknown("deliveries.status", &self.status))?;
        Ok(DeliveryRow {
            id: id((self.seq, self.handler_id, self.run)),
            lane: lane(self.app_id, self.workspace_id),
            status,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            next_ms: self.next_at,
            order_key: self.order_key,
            hold_until_ms: self.hold_until,
            last_error: self.last_error,
            created_ms: self.created_at,
            updated_ms: self.updated_at,
        })
    }
}

fn id((seq, handler, run): (i64, i64, i64)) -> DeliveryId {
    DeliveryId { seq: Seq(seq), handler: HandlerId(handler), run: u32::try_from(run).unwrap_or(u32::MAX) }
}

fn lane(app: i64, workspace: i64) -> Lane {
    Lane { app: AppId(app), workspace: Some(WorkspaceId(workspace)).filter(|workspace| workspace.0 != 0) }
}

/// A line of deliveries that wait, and on Postgres whose they are to see to: each writer's part of it is in an order of its own.
#[derive(Clone, Copy)]
pub(super) struct LinePlace {
    pub(super) handler: i64,
    app: i64,
    workspace: i64,
    writer: i64,
}

impl LinePlace {
    /// Before all.
    const FIRST: Self = Self::before(i64::MIN);

    /// Before all of a handler's.
    pub(super) const fn before(handler: i64) -> Self {
        Self { handler, app: i64::MIN, workspace: i64::MIN, writer: i64::MIN }
    }

    /// Behind all of a line.
    fn behind(one: &Backlog) -> Self {
        let workspace = one.lane.workspace.map_or(0, |workspace| workspace.0);
        Self { handler: one.handler.0, app: one.lane.app.0, workspace, writer: i64::MAX }
    }
}

/// The next line behind one, and the first that waits in it.
pub(super) async fn next_line(
    db: &mut Connection,
    after: LinePlace,
) -> Result<Option<(LinePlace, Seq)>, Fault> {
    let next: Option<(i64, i64, i64, i64, i64)> = sqlx::query_as(NEXT_LINE)
        .bind(after.handler)
        .bind(after.app)
        .bind(after.workspace)
        .bind(after.writer)
        .fetch_optional(db)
        .await?;
    Ok(next.map(|(handler, app, workspace, writer, seq)| {
        (LinePlace { handler, app, workspace, writer }, Seq(seq))
    }))
}

impl Backend {
    pub(super) async fn list_rows_above(
        &self,
        after: DeliveryId,
        limit: u32,
    ) -> Result<Vec<DeliveryId>, Fault> {
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(ABOVE)
            .bind(self.own_writer())
            .bind(after.seq.0)
            .bind(after.handler.0)
            .bind(i64::from(after.run))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        Ok(rows.into_iter().map(id).collect())
    }

    /// By leaps from line to line, so that no number of rows makes it long.
    pub(super) async fn list_backlogs(
        &self,
        after: Option<&Backlog>,
        limit: u32,
    ) -> Result<Vec<Backlog>, Fault> {
        let mut db = self.reader().await?;
        let mut last = after.map_or(LinePlace::FIRST, LinePlace::behind);
        let mut backlogs: Vec<Backlog> = Vec::new();
        while let Some((place, oldest)) = next_line(&mut db, last).await? {
            last = place;
            let (handler, lane) = (HandlerId(place.handler), lane(place.app, place.workspace));
            let is_full = backlogs.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            match backlogs.last_mut() {
                Some(one) if (one.handler, one.lane) == (handler, lane) => {
                    one.oldest = one.oldest.min(oldest);
                }
                Some(_) | None if is_full => break,
                Some(_) | None => backlogs.push(Backlog { handler, lane, oldest }),
            }
        }
        Ok(backlogs)
    }

    pub(super) async fn list_waiting(&self, wanted: Wanted<'_>) -> Result<Vec<Owed>, Fault> {
        let mut db = self.reader().await?;
        let here: Vec<i64> = wanted.here.iter().map(|seq| seq.0).collect();
        let rows: Vec<OwedRow> = sqlx::query_as(WAITING)
            .bind(self.own_writer())
            .bind(wanted.handler.0)
            .bind(wanted.lane.app.0)
            .bind(wanted.lane.workspace.map_or(0, |workspace| workspace.0))
            .bind(numbers(wanted.held))
            .bind(numbers(&here))
            .bind(i64::from(wanted.limit))
            .fetch_all(&mut *db)
            .await?;
        self.with_events(&mut db, rows, wanted.max_bytes, false).await
    }

    pub(super) async fn list_due(
        &self,
        handler: HandlerId,
        here: &HashSet<DeliveryId>,
        but: &[WorkspaceId],
        limit: u32,
        now_ms: i64,
    ) -> Result<Vec<Owed>, Fault> {
        let mut db = self.reader().await?;
        let but: Vec<i64> = but.iter().map(|workspace| workspace.0).collect();
        let mut rows: Vec<OwedRow> = sqlx::query_as(DUE)
            .bind(self.own_writer())
            .bind(handler.0)
            .bind(now_ms)
            .bind(i64::from(limit).saturating_add(i64::try_from(here.len()).unwrap_or(i64::MAX)))
            .bind(numbers(&but))
            .fetch_all(&mut *db)
            .await?;
        rows.retain(|row| !here.contains(&id((row.seq, row.handler_id, row.run))));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        self.with_events(&mut db, rows, MAX_BYTES, true).await
    }

    pub(super) async fn hurry_all(&self, now_ms: i64) -> Result<u64, Fault> {
        let mut tx = self.begin_owed().await?;
        let done = sqlx::query(concat!(
            "update deliveries as d set next_at = $2, updated_at = $2 where ",
            ours!(),
            " and status = 'retrying' and updated_at > $2"
        ))
        .bind(self.own_writer())
        .bind(now_ms)
        .execute(tx.db())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    pub(super) async fn list_holders(&self, now_ms: i64) -> Result<Vec<DeliveryRow>, Fault> {
        let mut rows: Vec<OwedRow> = sqlx::query_as(HOLDERS)
            .bind(self.own_writer())
            .bind(now_ms)
            .bind(i64::MAX)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.sort_unstable_by_key(|row| row.seq);
        rows.into_iter().map(OwedRow::read).collect()
    }

    /// The rows, as many as fit, with their events. One whose event wants another key is passed over, or stops those behind it.
    async fn with_events(
        &self,
        db: &mut Connection,
        rows: Vec<OwedRow>,
        max_bytes: usize,
        passes_over: bool,
    ) -> Result<Vec<Owed>, Fault> {
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        let bounds = (seqs.iter().copied().min(), seqs.iter().copied().max());
        let (Some(first), Some(last)) = bounds else { return Ok(Vec::new()) };
        let sizes: HashMap<i64, i64> = sqlx::query_as(SIZES)
            .bind(numbers(&seqs))
            .bind(first)
            .bind(last)
            .fetch_all(&mut *db)
            .await?
            .into_iter()
            .collect();
        let lengths: Vec<_> = seqs.iter().map(|seq| (*seq, sizes.get(seq).copied().unwrap_or(0))).collect();
        let seqs = reach(&lengths, max_bytes);
        let found: Vec<EventRow> =
            sqlx::query_as(EVENTS).bind(numbers(&seqs)).bind(first).bind(last).fetch_all(db).await?;
        let mut events: HashMap<i64, _> =
            found.into_iter().map(|row| (row.seq(), row.open(&self.vault))).collect();
        let mut owed = Vec::with_capacity(seqs.len());
        for row in rows.into_iter().take(seqs.len()) {
            let event = match events.remove(&row.seq) {
                None => None,
                Some(Ok(event)) => event,
                Some(Err(error)) if passes_over => {
                    tracing::warn!(seq = row.seq, %error, "a delivery that is due waits for its key");
                    continue;
                }
                Some(Err(_)) if !owed.is_empty() => break,
                Some(Err(error)) => return Err(error.into()),
            };
            owed.push(Owed { row: row.read()?, event });
        }
        Ok(owed)
    }
}

/// What is read of those that are due at once.
const MAX_BYTES: usize = 4 << 20;

fn numbers(numbers: &[i64]) -> String {
    serde_json::json!(numbers).to_string()
}
