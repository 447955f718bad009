//! Troubles that were told: written where they are told, read by the API.

use sqlx::FromRow;

use super::rows::{code_of, name};
use super::{Backend, Connection};
use crate::ids::{WorkspaceId, WorkspaceName};
use crate::machine::notice::Told;
use crate::status::Code;
use crate::store::fault::Fault;
use crate::store::incidents::MOST_INCIDENTS;
use crate::store::{About, Incident, IncidentFilter, Label, Remember};

#[derive(FromRow)]
struct IncidentRow {
    id: i64,
    workspace: Option<String>,
    code: Option<String>,
    began_at: i64,
    ended_at: Option<i64>,
    peak: i64,
    told_at: Option<i64>,
}

impl IncidentRow {
    fn into_incident(self) -> Result<Incident, Fault> {
        Ok(Incident {
            id: self.id,
            workspace: self.workspace.as_deref().map(name).transpose()?,
            code: self.code.map(|code| code_of("incidents.code", &code)).transpose()?,
            began_ms: self.began_at,
            ended_ms: self.ended_at,
            peak: self.peak.unsigned_abs(),
            told_ms: self.told_at,
        })
    }
}

impl Backend {
    /// Newest first. Who sees one label alone finds those of workspaces that bear it.
    pub(super) async fn list_incidents(
        &self,
        filter: &IncidentFilter,
        scope: Option<&Label>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Incident>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<IncidentRow> = sqlx::query_as(
            "select i.id, w.name as workspace, i.code, i.began_at, i.ended_at, i.peak, i.told_at \
             from incidents i left join workspaces w on w.id = i.workspace_id \
             where i.id < $1 and (cast($2 as bigint) is null or (case when i.ended_at is null then 1 else 0 end) = $2) \
             and (cast($3 as text) is null or w.name = $3) and (i.ended_at is null or i.ended_at >= $4) \
             and (cast($5 as text) is null or exists (select 1 from workspace_labels l \
             where l.workspace_id = i.workspace_id and l.key = $5 and l.value = $6)) order by i.id desc limit $7",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(filter.is_open.map(i64::from))
        .bind(filter.workspace.as_ref().map(WorkspaceName::as_str))
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(scope.map(|scope| scope.key.as_str()))
        .bind(scope.map(|scope| scope.value.as_str()))
        .bind(i64::from(limit))
        .fetch_all(&mut *db)
        .await?;
        rows.into_iter().map(IncidentRow::into_incident).collect()
    }
}

/// Opens, changes or closes what a notice is about; which that is. None where it begins and ends nothing.
pub(super) async fn keep(db: &mut Connection, about: &About, now_ms: i64) -> Result<Option<i64>, Fault> {
    match about.told {
        Remember::Told(workspace, Told::Degraded | Told::Failed(_)) => {
            let changed: Option<i64> = sqlx::query_scalar(
                "update incidents set code = $2 where workspace_id = $1 and ended_at is null returning id",
            )
            .bind(workspace.0)
            .bind(about.code.map(Code::as_str))
            .fetch_optional(&mut *db)
            .await?;
            match changed {
                Some(id) => Ok(Some(id)),
                None => Ok(Some(open(db, Some(workspace), about).await?)),
            }
        }
        Remember::Told(workspace, Told::Ready) | Remember::Forget(workspace) => {
            close_of(db, workspace, now_ms).await
        }
        Remember::Incident(..) => Ok(Some(open(db, None, about).await?)),
        Remember::NoIncident => Ok(sqlx::query_scalar(
            "update incidents set ended_at = $1, peak = $2 where workspace_id is null and ended_at is null returning id",
        )
        .bind(now_ms)
        .bind(count(about.peak))
        .fetch_optional(db)
        .await?),
    }
}

/// A workspace's trouble is over, or no concern any more.
pub(super) async fn close_of(
    db: &mut Connection,
    workspace: WorkspaceId,
    now_ms: i64,
) -> Result<Option<i64>, Fault> {
    let closed = sqlx::query_scalar(
        "update incidents set ended_at = $2 where workspace_id = $1 and ended_at is null returning id",
    );
    Ok(closed.bind(workspace.0).bind(now_ms).fetch_optional(db).await?)
}

/// Somebody has taken a notice about it.
pub(super) async fn is_told(db: &mut Connection, notice: i64, now_ms: i64) -> Result<(), Fault> {
    sqlx::query(
        "update incidents set told_at = $2 where told_at is null \
         and id = (select incident_id from notices where id = $1)",
    )
    .bind(notice)
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

async fn open(db: &mut Connection, workspace: Option<WorkspaceId>, about: &About) -> Result<i64, Fault> {
    let id: i64 = sqlx::query_scalar(
        "insert into incidents (workspace_id, code, began_at, peak) values ($1, $2, $3, $4) returning id",
    )
    .bind(workspace.map(|workspace| workspace.0))
    .bind(about.code.map(Code::as_str))
    .bind(about.began_ms)
    .bind(count(about.peak))
    .fetch_one(&mut *db)
    .await?;
    sqlx::query("delete from incidents where id <= $1 and ended_at is not null")
        .bind(id.saturating_sub(MOST_INCIDENTS))
        .execute(db)
        .await?;
    Ok(id)
}

fn count(workspaces: usize) -> i64 {
    i64::try_from(workspaces).unwrap_or(i64::MAX)
}
