//! A store that is not open yet: every question is answered with why.

use async_trait::async_trait;

use crate::ids::{AppId, RouteName, Seq, WebhookId, WorkspaceId, WorkspaceName};
use crate::machine::routes::{NamedWorkspace, Route};
use crate::secret::{AppToken, BotToken, WebhookSecret};
use crate::status::{Code, Standing, Trouble};
use crate::store::{
    Accounts, AnswerKey, AnswerPlace, ApiToken, App, Archive, AuditEntry, AuditFilter, Burden, Caller, Deed,
    DeliveryFilter, DeliveryId, EventFilter, Incident, IncidentFilter, KeptNotice, KnownHandler, Label,
    Memory, NewNotice, NewToken, Notice, Order, Page, Place, Put, PutRoute, Remedy, Remember, ReplayTo,
    Replayed, Reserved, RouteStore, Settled, Stepped, StoreError, StoredDelivery, StoredEvent, StoredRoute,
    TokenDigest, TokenId, Transition, Webhook, WebhookSpec, Webhooks, When, Workspace, WorkspaceSpec,
    Workspaces,
};

/// In the place of a store whose database does not answer yet.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("the database does not answer yet; the node waits for it".into()))
}

#[async_trait]
impl Workspaces for Absent {
    async fn workspaces(&self, _: Order, _: Option<&Place>, _: u32) -> Result<Vec<Workspace>, StoreError> {
        away()
    }

    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError> {
        away()
    }

    async fn workspace(&self, _: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        away()
    }

    async fn seated(&self, _: AppId) -> Result<Vec<Workspace>, StoreError> {
        away()
    }

    async fn put_workspace(
        &self,
        _: &WorkspaceName,
        _: &WorkspaceSpec,
        _: When,
        _: i64,
    ) -> Result<Put, StoreError> {
        away()
    }

    async fn remove_workspace(
        &self,
        _: &WorkspaceName,
        _: When,
        _: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        away()
    }

    async fn purge_workspace(
        &self,
        _: &WorkspaceName,
        _: When,
        _: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        away()
    }

    async fn bot_token(&self, _: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        away()
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        away()
    }

    async fn apps_after(&self, _: AppId, _: u32) -> Result<Vec<App>, StoreError> {
        away()
    }

    async fn slack_app(&self, _: &str) -> Result<Option<App>, StoreError> {
        away()
    }

    async fn app(&self, _: AppId) -> Result<Option<App>, StoreError> {
        away()
    }

    async fn changed_apps(&self, _: Option<i64>) -> Result<(Vec<AppId>, i64), StoreError> {
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

    async fn forgive(&self, _: &WorkspaceName, _: i64) -> Result<bool, StoreError> {
        away()
    }

    async fn disprove(&self, _: WorkspaceId, _: Code, _: i64) -> Result<bool, StoreError> {
        away()
    }

    async fn note_limit(&self, _: WorkspaceId, _: i64) -> Result<bool, StoreError> {
        away()
    }

    async fn record(&self, _: &[Transition]) -> Result<(), StoreError> {
        away()
    }

    async fn history(&self, _: AppId, _: Option<i64>, _: u32) -> Result<Vec<(i64, Transition)>, StoreError> {
        away()
    }
}

#[async_trait]
impl Accounts for Absent {
    async fn create_token(&self, _: &NewToken, _: &Caller, _: i64) -> Result<ApiToken, StoreError> {
        away()
    }

    async fn tokens(&self, _: Option<TokenId>, _: u32) -> Result<Vec<ApiToken>, StoreError> {
        away()
    }

    async fn token(&self, _: TokenId) -> Result<Option<ApiToken>, StoreError> {
        away()
    }

    async fn living_tokens(&self) -> Result<Vec<(TokenDigest, ApiToken)>, StoreError> {
        away()
    }

    async fn note_use(&self, _: TokenId, _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn revoke_token(&self, _: TokenId, _: &Caller, _: i64) -> Result<Option<ApiToken>, StoreError> {
        away()
    }

    async fn write_audit(&self, _: &Caller, _: &Deed, _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn audit(&self, _: &AuditFilter, _: Option<i64>, _: u32) -> Result<Vec<AuditEntry>, StoreError> {
        away()
    }

    async fn reserve_answer(&self, _: &AnswerKey, _: i64) -> Result<Reserved, StoreError> {
        away()
    }

    async fn keep_answer(&self, _: AnswerPlace, _: &[u8]) -> Result<(), StoreError> {
        away()
    }

    async fn release_answer(&self, _: AnswerPlace) -> Result<(), StoreError> {
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

    async fn add_webhook(
        &self,
        _: &WebhookSpec,
        _: &WebhookSecret,
        _: &Caller,
        _: i64,
    ) -> Result<Webhook, StoreError> {
        away()
    }

    async fn change_webhook(
        &self,
        _: WebhookId,
        _: &WebhookSpec,
        _: &Caller,
        _: i64,
    ) -> Result<Option<Webhook>, StoreError> {
        away()
    }

    async fn remove_webhook(&self, _: WebhookId, _: &Caller, _: i64) -> Result<bool, StoreError> {
        away()
    }

    async fn rotate_webhook_secret(
        &self,
        _: WebhookId,
        _: &WebhookSecret,
        _: i64,
        _: &Caller,
        _: i64,
    ) -> Result<Option<Webhook>, StoreError> {
        away()
    }

    async fn webhook_secrets(&self, _: WebhookId, _: i64) -> Result<Vec<WebhookSecret>, StoreError> {
        away()
    }

    async fn notices(
        &self,
        _: WebhookId,
        _: Option<bool>,
        _: Option<i64>,
        _: u32,
    ) -> Result<Vec<KeptNotice>, StoreError> {
        away()
    }

    async fn resend_notice(&self, _: WebhookId, _: &str, _: i64) -> Result<Option<KeptNotice>, StoreError> {
        away()
    }

    async fn may_post(&self) -> Result<bool, StoreError> {
        away()
    }

    async fn publish(&self, _: &[NewNotice], _: &[Remember], _: i64) -> Result<(), StoreError> {
        away()
    }

    async fn next_notice(&self, _: WebhookId) -> Result<Option<Notice>, StoreError> {
        away()
    }

    async fn settle_notice(
        &self,
        _: WebhookId,
        _: i64,
        _: &Settled,
        _: Option<u16>,
        _: i64,
    ) -> Result<(), StoreError> {
        away()
    }

    async fn incidents(
        &self,
        _: &IncidentFilter,
        _: Option<&Label>,
        _: Option<i64>,
        _: u32,
    ) -> Result<Vec<Incident>, StoreError> {
        away()
    }

    async fn memory(&self) -> Result<Memory, StoreError> {
        away()
    }
}

#[async_trait]
impl Archive for Absent {
    async fn events(
        &self,
        _: &EventFilter,
        _: Option<&Label>,
        _: Option<Seq>,
        _: u32,
    ) -> Result<Page<StoredEvent, Seq>, StoreError> {
        away()
    }

    async fn event(&self, _: Seq, _: Option<&Label>) -> Result<Option<StoredEvent>, StoreError> {
        away()
    }

    async fn deliveries_of(&self, _: &[Seq]) -> Result<Vec<StoredDelivery>, StoreError> {
        away()
    }

    async fn deliveries(
        &self,
        _: &DeliveryFilter,
        _: Option<&Label>,
        _: Option<DeliveryId>,
        _: u32,
    ) -> Result<Page<StoredDelivery, DeliveryId>, StoreError> {
        away()
    }

    async fn remedy_delivery(
        &self,
        _: DeliveryId,
        _: Remedy,
        _: &Caller,
        _: i64,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        away()
    }

    async fn replay_event(
        &self,
        _: Seq,
        _: &ReplayTo,
        _: &Caller,
        _: i64,
    ) -> Result<Option<Replayed>, StoreError> {
        away()
    }

    async fn count_remedies(
        &self,
        _: Remedy,
        _: &DeliveryFilter,
        _: Option<Seq>,
        _: i64,
    ) -> Result<Stepped, StoreError> {
        away()
    }

    async fn remedy_some(
        &self,
        _: Remedy,
        _: &DeliveryFilter,
        _: Option<Seq>,
        _: i64,
    ) -> Result<Stepped, StoreError> {
        away()
    }

    async fn count_replays(
        &self,
        _: &ReplayTo,
        _: &EventFilter,
        _: Option<Seq>,
        _: i64,
    ) -> Result<Stepped, StoreError> {
        away()
    }

    async fn replay_some(
        &self,
        _: &ReplayTo,
        _: &EventFilter,
        _: Option<Seq>,
        _: i64,
    ) -> Result<Stepped, StoreError> {
        away()
    }

    async fn known_handlers(&self) -> Result<Vec<KnownHandler>, StoreError> {
        away()
    }

    async fn burdens(&self, _: u32) -> Result<Vec<Burden>, StoreError> {
        away()
    }

    async fn steer_handler(
        &self,
        _: &str,
        _: bool,
        _: &Caller,
        _: i64,
    ) -> Result<Option<KnownHandler>, StoreError> {
        away()
    }
}

#[async_trait]
impl RouteStore for Absent {
    async fn routes(&self) -> Result<Vec<StoredRoute>, StoreError> {
        away()
    }

    async fn route(&self, _: &RouteName) -> Result<Option<StoredRoute>, StoreError> {
        away()
    }

    async fn put_route(&self, _: &Route, _: When, _: &Caller, _: i64) -> Result<PutRoute, StoreError> {
        away()
    }

    async fn remove_route(&self, _: &RouteName, _: When, _: &Caller, _: i64) -> Result<bool, StoreError> {
        away()
    }

    async fn routes_mark(&self) -> Result<i64, StoreError> {
        away()
    }

    async fn named_workspaces(
        &self,
        _: &[&str],
        _: &[(&str, &str)],
    ) -> Result<Vec<NamedWorkspace>, StoreError> {
        away()
    }
}
