//! What keeps one workspace down, or slow, whatever its app's connection does.

use serde_json::{Value, json};

use super::apps::touch;
use super::rows::trouble;
use super::workspaces::{find, is_seen};
use super::{Backend, Connection, audit};
use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::status::{Code, Trouble};
use crate::store::fault::Fault;
use crate::store::{Action, Caller, Changes, Deed};

impl Backend {
    pub(super) async fn set_trouble(&self, workspace: WorkspaceId, new: Trouble) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        let there: Option<(i64, Option<String>, Option<i64>, i64)> = sqlx::query_as(
            "select app_id, trouble, trouble_at, coalesce(forgiven_at, created_at) from workspaces \
             where id = $1 and deleted_at is null",
        )
        .bind(workspace.0)
        .fetch_optional(tx.db())
        .await?;
        let app = match there {
            None => None,
            Some((app, code, at_ms, forgiven_ms)) => {
                let there = trouble(code.as_deref(), at_ms)?;
                if there.is_some_and(|there| there.code == new.code && there.since_ms < new.since_ms) {
                    write(tx.db(), workspace, new).await?;
                }
                (new.since_ms >= forgiven_ms && new.replaces(there)).then_some(AppId(app))
            }
        };
        if let Some(app) = app {
            write(tx.db(), workspace, new).await?;
            // Slack says it on a socket of one node: the others learn it here.
            touch(tx.db(), [app; 2]).await?;
        }
        tx.commit().await?;
        Ok(app.is_some())
    }

    /// For who sees the workspace; it is not theirs to know of where they do not.
    pub(super) async fn forgive_workspace(
        &self,
        name: &WorkspaceName,
        by: Option<&Caller>,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        let found = find(tx.db(), name).await?.filter(|found| is_seen(by, found));
        let forgiven = found.and_then(|found| Some((found.id, found.app, found.trouble?.code)));
        if let Some((id, app, code)) = forgiven {
            forgive(tx.db(), id, now_ms).await?;
            touch(tx.db(), [app; 2]).await?;
            if let Some(by) = by {
                let mut changes = Changes::default();
                changes.field("trouble", &json!(code.as_str()), &Value::Null);
                let (action, workspace) = (Action::WorkspaceUpdate, Some(name.clone()));
                audit::write(tx.db(), by, &Deed { action, workspace, target: None, changes }, now_ms).await?;
            }
        }
        tx.commit().await?;
        Ok(forgiven.is_some())
    }

    pub(super) async fn disprove_trouble(
        &self,
        workspace: WorkspaceId,
        code: Code,
        asked_ms: i64,
    ) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        let app: Option<i64> = sqlx::query_scalar(
            "update workspaces set trouble = null, trouble_at = null, forgiven_at = $3 \
             where id = $1 and deleted_at is null and trouble = $2 and trouble_at <= $3 returning app_id",
        )
        .bind(workspace.0)
        .bind(code.as_str())
        .bind(asked_ms)
        .fetch_optional(tx.db())
        .await?;
        if let Some(app) = app {
            touch(tx.db(), [AppId(app); 2]).await?;
        }
        tx.commit().await?;
        Ok(app.is_some())
    }

    pub(super) async fn set_limit(&self, workspace: WorkspaceId, until_ms: i64) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        let app: Option<i64> = sqlx::query_scalar(
            "update workspaces set limited_until = $2 \
             where id = $1 and deleted_at is null and coalesce(limited_until, 0) < $2 returning app_id",
        )
        .bind(workspace.0)
        .bind(until_ms)
        .fetch_optional(tx.db())
        .await?;
        if let Some(app) = app.map(AppId) {
            touch(tx.db(), [app; 2]).await?;
        }
        tx.commit().await?;
        Ok(app.is_some())
    }
}

/// What was in the way is over; what Slack says later of earlier times too.
pub(super) async fn forgive(db: &mut Connection, workspace: WorkspaceId, now_ms: i64) -> Result<(), Fault> {
    sqlx::query("update workspaces set trouble = null, trouble_at = null, forgiven_at = $2 where id = $1")
        .bind(workspace.0)
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

async fn write(db: &mut Connection, workspace: WorkspaceId, trouble: Trouble) -> Result<(), Fault> {
    sqlx::query("update workspaces set trouble = $2, trouble_at = $3 where id = $1")
        .bind(workspace.0)
        .bind(trouble.code.as_str())
        .bind(trouble.since_ms)
        .execute(db)
        .await?;
    Ok(())
}
