//! Apps: what connections are made of, and what they learn.

use super::rows::{AppRow, select_apps};
use super::{Backend, Connection, json_rows, seating};
use crate::ids::AppId;
use crate::secret::AppToken;
use crate::store::App;
use crate::store::fault::Fault;

impl Backend {
    pub(super) async fn list_apps(&self) -> Result<Vec<App>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<AppRow> = sqlx::query_as(select_apps!("order by a.id")).fetch_all(&mut *db).await?;
        rows.into_iter().map(|row| row.into_app(&self.vault)).collect()
    }

    pub(super) async fn list_apps_after(&self, after: AppId, limit: u32) -> Result<Vec<App>, Fault> {
        let rows: Vec<AppRow> = sqlx::query_as(select_apps!("and a.id > $1 order by a.id limit $2"))
            .bind(after.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.into_iter().map(|row| row.into_app(&self.vault)).collect()
    }

    pub(super) async fn find_slack_app(&self, slack_app_id: &str) -> Result<Option<App>, Fault> {
        let row: Option<AppRow> = sqlx::query_as(select_apps!("and a.slack_app_id = $1"))
            .bind(slack_app_id)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(|row| row.into_app(&self.vault)).transpose()
    }

    pub(super) async fn find_app(&self, id: AppId) -> Result<Option<App>, Fault> {
        let mut db = self.reader().await?;
        let row: Option<AppRow> =
            sqlx::query_as(select_apps!("and a.id = $1")).bind(id.0).fetch_optional(&mut *db).await?;
        row.map(|row| row.into_app(&self.vault)).transpose()
    }

    pub(super) async fn list_changed(&self, after: Option<i64>) -> Result<(Vec<AppId>, i64), Fault> {
        let mut db = self.reader().await?;
        let Some(after) = after else {
            let now: Option<i64> =
                sqlx::query_scalar("select max(change) from apps").fetch_one(&mut *db).await?;
            return Ok((Vec::new(), now.unwrap_or(0)));
        };
        let rows: Vec<(i64, i64)> =
            sqlx::query_as("select id, change from apps where change > $1 order by change")
                .bind(after)
                .fetch_all(&mut *db)
                .await?;
        let mark = rows.last().map_or(after, |(_, change)| *change);
        Ok((rows.into_iter().map(|(id, _)| AppId(id)).collect(), mark))
    }

    pub(super) async fn promote(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        if is_candidate(tx.db(), app, tried).await? {
            seating::put_in_force(tx.db(), &self.vault, app, tried, now_ms).await?;
            touch(tx.db(), [app; 2]).await?;
        }
        tx.commit().await
    }

    pub(super) async fn forget_candidate(
        &self,
        app: AppId,
        tried: &AppToken,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        if is_candidate(tx.db(), app, tried).await? {
            seating::forget_candidate(tx.db(), app, now_ms).await?;
            touch(tx.db(), [app; 2]).await?;
        }
        tx.commit().await
    }

    pub(super) async fn set_slack_app_id(
        &self,
        app: AppId,
        slack_app_id: &str,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "update apps set slack_app_id = $2, updated_at = $3 \
             where id = $1 and deleted_at is null and slack_app_id is distinct from $2",
        )
        .bind(app.0)
        .bind(slack_app_id)
        .bind(now_ms)
        .execute(tx.db())
        .await
        .map_err(|error| {
            Fault::from(error).or_conflict(|| {
                format!("the Slack app {slack_app_id} is registered already, with another token; remove one of the two")
            })
        })?;
        tx.commit().await
    }
}

/// Numbers a change of these apps. Changes come one after the other, in all nodes, so the number rises in the order they are seen.
pub(super) async fn touch(db: &mut Connection, [one, other]: [AppId; 2]) -> Result<(), Fault> {
    sqlx::query(
        "update apps set change = (select coalesce(max(change), 0) + 1 from apps) where id = $1 or id = $2",
    )
    .bind(one.0)
    .bind(other.0)
    .execute(db)
    .await?;
    Ok(())
}

async fn is_candidate(db: &mut Connection, app: AppId, token: &AppToken) -> Result<bool, Fault> {
    let found: i64 = sqlx::query_scalar("select count(*) from apps where id = $1 and candidate_fp = $2")
        .bind(app.0)
        .bind(token.fingerprint())
        .fetch_one(db)
        .await?;
    Ok(found == 1)
}
