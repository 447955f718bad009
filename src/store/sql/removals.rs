//! What is left to do for workspaces that were removed, and where it stands: a row for each until it is done, so that a crash costs one step.

use std::collections::HashSet;

use super::{Backend, Connection, json_numbers, keyed_by, one_of};
use crate::ids::WorkspaceId;
use crate::machine::seq::first_at;
use crate::store::fault::Fault;
use crate::store::{Cleared, LATE, Step};

/// What a clock may be behind others of the same database, and a commit behind its seq: events younger than this are not looked through yet,
/// since one with a lower seq may still come in.
const SETTLING_MS: i64 = 60_000;

/// Deliveries to be tried again are found by handler and workspace, those that wait by their line.
const CANCEL: &str = concat!(
    "with these as materialized \
     (select * from (select d.seq, d.handler_id, d.run from removals r cross join handlers h \
     join deliveries d on d.handler_id = h.id and d.workspace_id = r.workspace_id and d.status = 'retrying' limit $1) as retrying \
     union all select * from (select d.seq, d.handler_id, d.run from removals r join workspaces w on w.id = r.workspace_id \
     cross join handlers h join deliveries d on d.handler_id = h.id and d.app_id = w.app_id and d.workspace_id = w.id \
     and d.status = 'waiting' limit $1) as waiting) \
     update deliveries set status = 'cancelled', hold_until = null, updated_at = $2 where status in ('waiting', 'retrying') and ",
    keyed_by!("select seq, handler_id, run from these")
);

/// In a line of an app that the workspace has left.
const CANCEL_LINE: &str = concat!(
    "with these as materialized (select seq, handler_id, run from deliveries where handler_id = $1 and app_id = $2 \
     and workspace_id = $3 and status = 'waiting' limit $4) \
     update deliveries set status = 'cancelled', hold_until = null, updated_at = $5 where status = 'waiting' and ",
    keyed_by!("select seq, handler_id, run from these")
);

/// Only of those that were looked for.
const PURGED: &str = concat!(
    "update removals set purged_to = $2 where purged_to < $2 and workspace_id ",
    one_of!(json_numbers!("$1"))
);

/// Notes that a workspace was removed, in the transaction that removes it.
pub(super) async fn note(
    db: &mut Connection,
    workspace: WorkspaceId,
    purge: bool,
    now_ms: i64,
) -> Result<(), Fault> {
    let late_ms = i64::try_from(LATE.as_millis()).unwrap_or(i64::MAX);
    let purge_to = if purge {
        // The seqs of a clock that was ahead lie beyond the time.
        let newest: Option<i64> =
            sqlx::query_scalar("select max(seq) from events").fetch_one(&mut *db).await?;
        let ahead = first_at(now_ms.saturating_add(late_ms)).0.saturating_sub(first_at(now_ms).0);
        Some(newest.unwrap_or(0).max(first_at(now_ms).0).saturating_add(ahead))
    } else {
        None
    };
    sqlx::query("insert into removals (workspace_id, until, purge_to, purged_to) values ($1, $2, $3, 0)")
        .bind(workspace.0)
        .bind(now_ms.saturating_add(late_ms))
        .bind(purge_to)
        .execute(db)
        .await?;
    Ok(())
}

/// A start takes up what was not settled: of what lies above this, events of workspaces that were removed are to be called off once they are
/// written down, however long ago that was.
pub(in super::super) async fn note_late(
    db: &mut Connection,
    settled_to: i64,
    now_ms: i64,
) -> Result<(), Fault> {
    let late_ms = i64::try_from(LATE.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(
        "insert into removals (workspace_id, until, purge_to, purged_to) \
         select w.id, cast($2 as bigint), cast(null as bigint), 0 from workspaces w where w.deleted_at is not null \
         and w.id in (select e.workspace_id from events e where e.seq > $1) \
         on conflict (workspace_id) do update set until = excluded.until where removals.until < excluded.until",
    )
    .bind(settled_to)
    .bind(now_ms.saturating_add(late_ms))
    .execute(db)
    .await?;
    Ok(())
}

/// A workspace that was removed, and what of it is done.
#[derive(sqlx::FromRow)]
struct Removal {
    workspace_id: i64,
    until: i64,
    purge_to: Option<i64>,
    purged_to: i64,
}

impl Removal {
    /// Payloads that are still to be looked for.
    fn to_purge(&self) -> Option<i64> {
        self.purge_to.filter(|to| *to > self.purged_to)
    }
}

impl Backend {
    pub(super) async fn clear(&self, limit: u32, now_ms: i64) -> Result<Cleared, Fault> {
        let removals: Vec<Removal> = sqlx::query_as(
            "select workspace_id, until, purge_to, purged_to from removals order by workspace_id",
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        if removals.is_empty() || !self.hold_posting().await? {
            return Ok(Cleared { is_all: true, ..Cleared::default() });
        }
        let mut tx = self.begin_owed().await?;
        let cancelled =
            sqlx::query(CANCEL).bind(i64::from(limit)).bind(now_ms).execute(tx.db()).await?.rows_affected();
        tx.commit().await?;
        let (erased, is_purged) = self.purge(&removals, limit, now_ms).await?;
        let is_called_off = cancelled < u64::from(limit);
        let mut cleared = Cleared { cancelled, erased, is_all: is_called_off && is_purged };
        let done = |one: &&Removal| one.until <= now_ms && one.to_purge().is_none();
        let done: HashSet<i64> = removals.iter().filter(done).map(|one| one.workspace_id).collect();
        if is_called_off && !done.is_empty() {
            cleared.cancelled += self.finish(&done, limit, now_ms).await?;
        }
        Ok(cleared)
    }

    /// Looks through the events of one step, for all who are to be purged of them, whenever they came to it.
    async fn purge(&self, removals: &[Removal], limit: u32, now_ms: i64) -> Result<(u64, bool), Fault> {
        let open = removals.iter().filter_map(|one| Some((one, one.to_purge()?)));
        let settled = first_at(now_ms.saturating_sub(SETTLING_MS)).0;
        let reach = open.clone().map(|(_, to)| to).max().unwrap_or(0).min(settled);
        let from = open.clone().map(|(one, _)| one.purged_to).min().unwrap_or(i64::MAX);
        if from >= reach {
            return Ok((0, true));
        }
        let events: Vec<(i64, Option<i64>)> = sqlx::query_as(
            "select seq, workspace_id from events where seq > $1 and seq <= $2 order by seq limit $3",
        )
        .bind(from)
        .bind(reach)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let is_full = events.len() >= limit as usize;
        let to = events.last().filter(|_| is_full).map_or(reach, |(seq, _)| *seq);
        let purged: HashSet<i64> = open.map(|(one, _)| one.workspace_id).collect();
        let theirs: Vec<i64> = events
            .iter()
            .filter(|(_, workspace)| workspace.is_some_and(|id| purged.contains(&id)))
            .map(|(seq, _)| *seq)
            .collect();
        let mut tx = self.begin_owed().await?;
        let mut erased = 0;
        if let (Some(first), Some(last)) = (theirs.first(), theirs.last()) {
            let seqs = serde_json::json!(theirs).to_string();
            erased = self.erase(tx.db(), &seqs, *first, *last).await?;
        }
        let purged: Vec<i64> = purged.into_iter().collect();
        sqlx::query(PURGED).bind(serde_json::json!(purged).to_string()).bind(to).execute(tx.db()).await?;
        tx.commit().await?;
        Ok((erased, !is_full))
    }

    /// Forgets those for whom all is done, unless something waits in a line where nobody has looked: it is called off first.
    async fn finish(&self, done: &HashSet<i64>, limit: u32, now_ms: i64) -> Result<u64, Fault> {
        let lanes = self.list_backlogs(None, u32::MAX).await?;
        let of_done = |id: Option<WorkspaceId>| id.is_some_and(|id| done.contains(&id.0));
        let left: Vec<_> = lanes.into_iter().filter(|one| of_done(one.lane.workspace)).collect();
        let mut tx = self.begin_owed().await?;
        let mut cancelled = 0;
        for one in &left {
            let gone = sqlx::query(CANCEL_LINE)
                .bind(one.handler.0)
                .bind(one.lane.app.0)
                .bind(one.lane.workspace.map_or(0, |workspace| workspace.0))
                .bind(i64::from(limit))
                .bind(now_ms)
                .execute(tx.db())
                .await?;
            cancelled += gone.rows_affected();
        }
        if left.is_empty() {
            let done: Vec<i64> = done.iter().copied().collect();
            sqlx::query(concat!("delete from removals where workspace_id ", one_of!(json_numbers!("$1"))))
                .bind(serde_json::json!(done).to_string())
                .execute(tx.db())
                .await?;
        }
        tx.commit().await?;
        Ok(cancelled)
    }

    /// Rows that were put aside, the oldest first.
    pub(super) async fn forget_quarantine(&self, before_ms: i64, limit: u32) -> Result<Step, Fault> {
        let mut tx = self.begin_owed().await?;
        let gone = sqlx::query(
            "delete from quarantine where at < $1 and id in (select id from quarantine order by id limit $2)",
        )
        .bind(before_ms)
        .bind(i64::from(limit))
        .execute(tx.db())
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(Step { gone, is_all: gone < u64::from(limit) })
    }
}
