//! The store as one caller of the API sees it: what lies outside of their scope is not there, also while it changes, since it is
//! looked at in the transaction that changes it.

use std::sync::Arc;

use async_trait::async_trait;

use super::Backend;
use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::secret::{AppToken, BotToken};
use crate::status::{Code, Standing, Trouble};
use crate::store::fault::Fault;
use crate::store::{
    App, Caller, Label, Order, Place, Put, StoreError, Transition, When, Workspace, WorkspaceSpec, Workspaces,
};

/// The store in the hands of a caller.
pub(super) struct OnBehalf {
    pub(super) store: Arc<Backend>,
    pub(super) caller: Caller,
}

impl OnBehalf {
    /// Does a workspace that the caller sees sit on the app?
    async fn sees(&self, app: AppId) -> Result<bool, StoreError> {
        let Some(scope) = &self.caller.scope else { return Ok(true) };
        self.store.told(self.store.app_bears(app, scope)).await
    }

    /// What no caller of the API asks for: connections and the journal do.
    fn not_for_callers<T>() -> Result<T, StoreError> {
        Err(StoreError::Forbidden("this is for the node itself".into()))
    }
}

impl Backend {
    async fn app_bears(&self, app: AppId, scope: &Label) -> Result<bool, Fault> {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from workspaces w join workspace_labels l on l.workspace_id = w.id \
             where w.app_id = $1 and w.deleted_at is null and l.key = $2 and l.value = $3",
        )
        .bind(app.0)
        .bind(&scope.key)
        .bind(&scope.value)
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok(found > 0)
    }
}

#[async_trait]
impl Workspaces for OnBehalf {
    async fn workspaces(
        &self,
        order: Order,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        let scope = self.caller.scope.as_ref();
        self.store.told(self.store.list_workspaces(scope, order, after, limit)).await
    }

    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError> {
        match self.caller.scope {
            None => self.store.standings().await,
            Some(_) => Self::not_for_callers(),
        }
    }

    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        let found = self.store.workspace(name).await?;
        let scope = self.caller.scope.as_ref();
        Ok(found.filter(|found| scope.is_none_or(|scope| scope.is_in(&found.labels))))
    }

    async fn seated(&self, app: AppId) -> Result<Vec<Workspace>, StoreError> {
        let mut seated = self.store.seated(app).await?;
        if let Some(scope) = &self.caller.scope {
            seated.retain(|one| scope.is_in(&one.labels));
        }
        Ok(seated)
    }

    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.store.told(self.store.put(name, spec, when, Some(&self.caller), now_ms)).await
    }

    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.store.told(self.store.remove(name, when, false, Some(&self.caller), now_ms)).await
    }

    async fn purge_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.store.told(self.store.remove(name, when, true, Some(&self.caller), now_ms)).await
    }

    async fn bot_token(&self, _: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        Self::not_for_callers()
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        match self.caller.scope {
            None => self.store.apps().await,
            Some(_) => Self::not_for_callers(),
        }
    }

    async fn apps_after(&self, after: AppId, limit: u32) -> Result<Vec<App>, StoreError> {
        match self.caller.scope {
            None => self.store.apps_after(after, limit).await,
            Some(_) => Self::not_for_callers(),
        }
    }

    /// With the seats alone that the caller sees.
    async fn slack_app(&self, slack_app_id: &str) -> Result<Option<App>, StoreError> {
        let Some(mut app) = self.store.slack_app(slack_app_id).await? else { return Ok(None) };
        if self.caller.scope.is_some() {
            let seen = self.seated(app.id).await?;
            app.seats.retain(|seat| seen.iter().any(|one| one.id == seat.workspace));
        }
        Ok(Some(app).filter(|app| !app.seats.is_empty()))
    }

    async fn app(&self, id: AppId) -> Result<Option<App>, StoreError> {
        if self.sees(id).await? { self.store.app(id).await } else { Ok(None) }
    }

    async fn changed_apps(&self, _: Option<i64>) -> Result<(Vec<AppId>, i64), StoreError> {
        Self::not_for_callers()
    }

    async fn promote_candidate(&self, _: AppId, _: &AppToken, _: i64) -> Result<(), StoreError> {
        Self::not_for_callers()
    }

    async fn drop_candidate(&self, _: AppId, _: &AppToken, _: i64) -> Result<(), StoreError> {
        Self::not_for_callers()
    }

    async fn learn_slack_app_id(&self, _: AppId, _: &str, _: i64) -> Result<(), StoreError> {
        Self::not_for_callers()
    }

    async fn learn_team(
        &self,
        _: WorkspaceId,
        _: Option<&str>,
        _: Option<&str>,
        _: i64,
    ) -> Result<(), StoreError> {
        Self::not_for_callers()
    }

    async fn note_trouble(&self, _: WorkspaceId, _: Trouble) -> Result<bool, StoreError> {
        Self::not_for_callers()
    }

    async fn forgive(&self, name: &WorkspaceName, now_ms: i64) -> Result<bool, StoreError> {
        self.store.told(self.store.forgive_workspace(name, Some(&self.caller), now_ms)).await
    }

    async fn disprove(&self, _: WorkspaceId, _: Code, _: i64) -> Result<bool, StoreError> {
        Self::not_for_callers()
    }

    async fn note_limit(&self, _: WorkspaceId, _: i64) -> Result<bool, StoreError> {
        Self::not_for_callers()
    }

    async fn record(&self, _: &[Transition]) -> Result<(), StoreError> {
        Self::not_for_callers()
    }

    async fn history(
        &self,
        app: AppId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Transition)>, StoreError> {
        if self.sees(app).await? { self.store.history(app, before, limit).await } else { Ok(Vec::new()) }
    }
}
