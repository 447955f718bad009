//! Handlers as the database knows them: by which number, whether anything is given to them, and what weighs on each.

use serde_json::json;

use super::owed::{LinePlace, next_line};
use super::{Backend, Connection, audit};
use crate::ids::{HandlerId, Seq, WorkspaceId};
use crate::store::archive::COUNTED_DEAD;
use crate::store::fault::Fault;
use crate::store::{Action, Burden, Caller, Changes, Deed, KnownHandler, Paused};

pub(in crate::store) const COUNT_WAITING: &str = "select count(*) from \
    (select 1 from deliveries where handler_id = $1 and status = 'waiting' limit $2) as x";
pub(in crate::store) const COUNT_RETRYING: &str = "select count(*) from \
    (select 1 from deliveries where handler_id = $1 and status = 'retrying' limit $2) as x";
/// Bounded before it is asked whether a row is the newest run: however many were replayed, no more are looked at.
pub(in crate::store) const COUNT_DEAD: &str = "select x.handler_id, count(*) from (select d.seq, d.handler_id, d.run from deliveries d \
     where d.status in ('dead', 'expired') order by d.seq desc limit $1) as x \
     where x.run = (select max(n.run) from deliveries n where n.seq = x.seq and n.handler_id = x.handler_id) \
     group by x.handler_id";
/// The first of the next workspace's (behind `$2`) that are to be tried again.
pub(in crate::store) const NEXT_RETRYING: &str = "select workspace_id, seq from deliveries where handler_id = $1 and status = 'retrying' and workspace_id > $2 \
     order by workspace_id, seq limit 1";

/// Lines, and workspaces, that are looked at for the oldest of a handler.
const LINES: usize = 2000;

type HandlerRow = (i64, String, Option<i64>, i64);

fn known((id, name, paused_ms, created_ms): HandlerRow) -> KnownHandler {
    KnownHandler { id: HandlerId(id), name, paused_ms, created_ms }
}

impl Backend {
    pub(super) async fn make_handlers_known(
        &self,
        names: &[&str],
        now_ms: i64,
    ) -> Result<Vec<KnownHandler>, Fault> {
        let mut tx = self.begin().await?;
        let mut handlers = Vec::with_capacity(names.len());
        for name in names {
            sqlx::query(
                "insert into handlers (name, created_at) values ($1, $2) on conflict (name) do nothing",
            )
            .bind(name)
            .bind(now_ms)
            .execute(tx.db())
            .await?;
            let row: HandlerRow =
                sqlx::query_as("select id, name, paused_at, created_at from handlers where name = $1")
                    .bind(name)
                    .fetch_one(tx.db())
                    .await?;
            handlers.push(known(row));
        }
        tx.commit().await?;
        Ok(handlers)
    }

    pub(super) async fn list_handlers(&self) -> Result<Vec<KnownHandler>, Fault> {
        let rows: Vec<HandlerRow> =
            sqlx::query_as("select id, name, paused_at, created_at from handlers order by name")
                .fetch_all(&mut *self.reader().await?)
                .await?;
        Ok(rows.into_iter().map(known).collect())
    }

    pub(super) async fn note_pause(&self, name: &str, paused_ms: Option<i64>) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("update handlers set paused_at = $2 where name = $1")
            .bind(name)
            .bind(paused_ms)
            .execute(tx.db())
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn list_paused(&self) -> Result<Paused, Fault> {
        let mut db = self.reader().await?;
        let handlers: Vec<i64> =
            sqlx::query_scalar("select id from handlers where paused_at is not null order by id")
                .fetch_all(&mut *db)
                .await?;
        let workspaces: Vec<i64> = sqlx::query_scalar(
            "select id from workspaces where delivery = 'paused' and deleted_at is null \
             union all select workspace_id from removals order by 1",
        )
        .fetch_all(&mut *db)
        .await?;
        Ok(Paused {
            handlers: handlers.into_iter().map(HandlerId).collect(),
            workspaces: workspaces.into_iter().map(WorkspaceId).collect(),
        })
    }

    pub(super) async fn note_steering(
        &self,
        name: &str,
        is_paused: bool,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<KnownHandler>, Fault> {
        let mut tx = self.begin().await?;
        let found: Option<HandlerRow> =
            sqlx::query_as("select id, name, paused_at, created_at from handlers where name = $1")
                .bind(name)
                .fetch_optional(tx.db())
                .await?;
        let Some(handler) = found.map(known) else { return Ok(None) };
        let before = handler.paused_ms;
        let paused_ms = if is_paused { before.or(Some(now_ms)) } else { None };
        if paused_ms != before {
            sqlx::query("update handlers set paused_at = $2 where id = $1")
                .bind(handler.id.0)
                .bind(paused_ms)
                .execute(tx.db())
                .await?;
            let mut changes = Changes::default();
            changes.field("paused", &json!(before.is_some()), &json!(is_paused));
            let action = if is_paused { Action::HandlerPause } else { Action::HandlerResume };
            let deed = Deed { action, workspace: None, target: Some(name.to_owned()), changes };
            audit::write(tx.db(), by, &deed, now_ms).await?;
            tx.commit().await?;
        }
        Ok(Some(KnownHandler { paused_ms, ..handler }))
    }

    pub(super) async fn weigh_handlers(&self, most: u32) -> Result<Vec<Burden>, Fault> {
        let handlers = self.list_handlers().await?;
        let mut db = self.reader().await?;
        let dead: Vec<(i64, i64)> =
            sqlx::query_as(COUNT_DEAD).bind(i64::from(most.min(COUNTED_DEAD))).fetch_all(&mut *db).await?;
        let mut burdens = Vec::with_capacity(handlers.len());
        for handler in handlers {
            let waiting = count(&mut db, COUNT_WAITING, &handler, most).await?;
            let retrying = count(&mut db, COUNT_RETRYING, &handler, most).await?;
            let oldest =
                [oldest_waiting(&mut db, &handler).await?, oldest_retrying(&mut db, &handler).await?];
            let dead = dead.iter().find(|(id, _)| *id == handler.id.0).map_or(0, |(_, dead)| *dead);
            burdens.push(Burden {
                waiting,
                retrying,
                dead: dead.unsigned_abs(),
                oldest: oldest.into_iter().flatten().min(),
                handler,
            });
        }
        Ok(burdens)
    }
}

async fn count(
    db: &mut Connection,
    statement: &'static str,
    handler: &KnownHandler,
    most: u32,
) -> Result<u64, Fault> {
    let count: i64 =
        sqlx::query_scalar(statement).bind(handler.id.0).bind(i64::from(most)).fetch_one(db).await?;
    Ok(count.unsigned_abs())
}

/// By leaps from line to line.
async fn oldest_waiting(db: &mut Connection, handler: &KnownHandler) -> Result<Option<Seq>, Fault> {
    let (mut last, mut oldest) = (LinePlace::before(handler.id.0), None);
    for _ in 0..LINES {
        let Some((place, seq)) = next_line(db, last).await? else { break };
        if place.handler != handler.id.0 {
            break;
        }
        last = place;
        oldest = oldest.into_iter().chain([seq]).min();
    }
    Ok(oldest)
}

/// By leaps from workspace to workspace.
async fn oldest_retrying(db: &mut Connection, handler: &KnownHandler) -> Result<Option<Seq>, Fault> {
    let (mut last, mut oldest) = (i64::MIN, None);
    for _ in 0..LINES {
        let next: Option<(i64, i64)> =
            sqlx::query_as(NEXT_RETRYING).bind(handler.id.0).bind(last).fetch_optional(&mut *db).await?;
        let Some((workspace, seq)) = next else { break };
        last = workspace;
        oldest = oldest.into_iter().chain([Seq(seq)]).min();
    }
    Ok(oldest)
}
