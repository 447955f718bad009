//! A store that is not open yet: every question is answered with why.

use async_trait::async_trait;

use crate::ids::{AppId, WebhookId, WorkspaceId, WorkspaceName};
use crate::secret::{AppToken, BotToken, WebhookSecret};
use crate::status::Trouble;
use crate::store::{
    App, Memory, NewNotice, Notice, Put, Remember, Settled, StoreError, Transition, Webhook, WebhookSpec,
    Webhooks, Workspace, WorkspaceSpec, Workspaces,
};

/// In the place of a store whose database does not answer yet.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("the database does not answer yet; the node waits for it".into()))
}

#[async_trait]
impl Workspaces for Absent {
    async fn workspaces(&self, _: Option<&WorkspaceName>, _: u32) -> Result<Vec<Workspace>, StoreError> {
        away()
    }

    async fn workspaces_of(&self, _: AppId) -> Result<Vec<Workspace>, StoreError> {
        away()
    }

    async fn workspace(&self, _: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        away()
    }

    async fn put_workspace(&self, _: &WorkspaceName, _: &WorkspaceSpec, _: i64) -> Result<Put, StoreError> {
        away()
    }

    async fn remove_workspace(&self, _: &WorkspaceName, _: i64) -> Result<Option<Workspace>, StoreError> {
        away()
    }

    async fn bot_token(&self, _: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        away()
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        away()
    }

    async fn app(&self, _: AppId) -> Result<Option<App>, StoreError> {
        away()
    }

    async fn promote_candidate(&self, _: AppId, _: &AppToken, _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn drop_candidate(&self, _: AppId, _: &AppToken, _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn learn_slack_app_id(&self, _: AppId, _: &str, _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn learn_team(
        &self,
        _: WorkspaceId,
        _: Option<&str>,
        _: Option<&str>,
        _: i64,
    ) -> Result<(), StoreError> {
        away()
    }

    async fn note_trouble(&self, _: WorkspaceId, _: Trouble) -> Result<bool, StoreError> {
        away()
    }

    async fn note_limit(&self, _: WorkspaceId, _: i64) -> Result<bool, StoreError> {
        away()
    }

    async fn record(&self, _: &[Transition]) -> Result<(), StoreError> {
        away()
    }

    async fn history(&self, _: AppId, _: u32) -> Result<Vec<Transition>, StoreError> {
        away()
    }
}

#[async_trait]
impl Webhooks for Absent {
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        away()
    }

    async fn webhook(&self, _: WebhookId) -> Result<Option<Webhook>, StoreError> {
        away()
    }

    async fn add_webhook(&self, _: &WebhookSpec, _: &WebhookSecret, _: i64) -> Result<Webhook, StoreError> {
        away()
    }

    async fn change_webhook(
        &self,
        _: WebhookId,
        _: &WebhookSpec,
        _: i64,
    ) -> Result<Option<Webhook>, StoreError> {
        away()
    }

    async fn remove_webhook(&self, _: WebhookId) -> Result<bool, StoreError> {
        away()
    }

    async fn webhook_secret(&self, _: WebhookId) -> Result<Option<WebhookSecret>, StoreError> {
        away()
    }

    async fn publish(&self, _: &[NewNotice], _: &[Remember], _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn next_notice(&self, _: WebhookId) -> Result<Option<Notice>, StoreError> {
        away()
    }

    async fn settle_notice(&self, _: WebhookId, _: i64, _: &Settled, _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn memory(&self) -> Result<Memory, StoreError> {
        away()
    }
}
