//! The store's methods, each one transaction; this file is their table of contents.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::Backend;
use super::behalf::OnBehalf;
use crate::event::Event;
use crate::ids::{AppId, HandlerId, RouteName, Seq, WebhookId, WorkspaceId, WorkspaceName, WriterId};
use crate::machine::routes::{NamedWorkspace, Route};
use crate::secret::{AppToken, BotToken, WebhookSecret};
use crate::status::{Code, Standing, Trouble};
use crate::store::{
    App, Backlog, Caller, Cleared, Deliveries, DeliveryChange, DeliveryId, DeliveryRow, Inbox, Incident,
    IncidentFilter, KeptNotice, KnownHandler, Label, Memory, NewNotice, Notice, Order, Owed, Paused, Place,
    Put, PutRoute, Remember, Resealed, Resealing, Retention, RouteStore, Settled, Step, Store, StoreError,
    StoredRoute, Taken, Transition, Wanted, Webhook, WebhookSpec, Webhooks, When, Workspace, WorkspaceSpec,
    Workspaces, Writer,
};
use crate::telemetry::Pool;

#[async_trait]
impl Workspaces for Backend {
    async fn workspaces(
        &self,
        order: Order,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        self.told(self.list_workspaces(None, order, after, limit)).await
    }

    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError> {
        self.told(self.list_standings()).await
    }

    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        self.told(self.find_workspace(name)).await
    }

    async fn seated(&self, app: AppId) -> Result<Vec<Workspace>, StoreError> {
        self.told(self.list_seated(app)).await
    }

    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.told(self.put(name, spec, when, None, now_ms)).await
    }

    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.told(self.remove(name, when, false, None, now_ms)).await
    }

    async fn purge_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.told(self.remove(name, when, true, None, now_ms)).await
    }

    async fn bot_token(&self, workspace: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        self.told(self.read_bot_token(workspace)).await
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.told(self.list_apps()).await
    }

    async fn apps_after(&self, after: AppId, limit: u32) -> Result<Vec<App>, StoreError> {
        self.told(self.list_apps_after(after, limit)).await
    }

    async fn slack_app(&self, slack_app_id: &str) -> Result<Option<App>, StoreError> {
        self.told(self.find_slack_app(slack_app_id)).await
    }

    async fn app(&self, id: AppId) -> Result<Option<App>, StoreError> {
        self.told(self.find_app(id)).await
    }

    async fn changed_apps(&self, after: Option<i64>) -> Result<(Vec<AppId>, i64), StoreError> {
        self.told(self.list_changed(after)).await
    }

    async fn other_nodes(&self) -> Result<u32, StoreError> {
        self.told(self.count_other_nodes()).await
    }

    async fn promote_candidate(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.promote(app, tried, now_ms)).await
    }

    async fn drop_candidate(&self, app: AppId, tried: &AppToken, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.forget_candidate(app, tried, now_ms)).await
    }

    async fn learn_slack_app_id(
        &self,
        app: AppId,
        slack_app_id: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.set_slack_app_id(app, slack_app_id, now_ms)).await
    }

    async fn learn_team(
        &self,
        workspace: WorkspaceId,
        team_id: Option<&str>,
        enterprise_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.set_team(workspace, team_id, enterprise_id, now_ms)).await
    }

    async fn note_trouble(&self, workspace: WorkspaceId, trouble: Trouble) -> Result<bool, StoreError> {
        self.told(self.set_trouble(workspace, trouble)).await
    }

    async fn forgive(&self, name: &WorkspaceName, now_ms: i64) -> Result<bool, StoreError> {
        self.told(self.forgive_workspace(name, None, now_ms)).await
    }

    async fn disprove(&self, workspace: WorkspaceId, code: Code, asked_ms: i64) -> Result<bool, StoreError> {
        self.told(self.disprove_trouble(workspace, code, asked_ms)).await
    }

    async fn note_limit(&self, workspace: WorkspaceId, until_ms: i64) -> Result<bool, StoreError> {
        self.told(self.set_limit(workspace, until_ms)).await
    }

    async fn record(&self, transitions: &[Transition]) -> Result<(), StoreError> {
        self.told(self.add_history(transitions)).await
    }

    async fn history(
        &self,
        app: AppId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Transition)>, StoreError> {
        self.told(self.read_history(app, before, limit)).await
    }
}

#[async_trait]
impl Inbox for Backend {
    async fn begin_writer(&self, node: &str, now_ms: i64) -> Result<Writer, StoreError> {
        self.start_writer(node, now_ms).await
    }

    async fn append(
        &self,
        writer: WriterId,
        group: &[Arc<Event>],
        settled_to: Seq,
    ) -> Result<Vec<Taken>, StoreError> {
        self.told(self.append_group(writer, group, settled_to)).await
    }

    async fn settle(&self, writer: WriterId, settled_to: Seq) -> Result<(), StoreError> {
        self.told(self.move_settled(writer, settled_to, None)).await
    }

    async fn end_writer(&self, writer: WriterId, settled_to: Seq, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.move_settled(writer, settled_to, Some(now_ms))).await
    }

    async fn read_events(&self, after: Seq, limit: u32, max_bytes: usize) -> Result<Vec<Event>, StoreError> {
        self.told(self.read_journal(after, limit, max_bytes)).await
    }

    async fn quarantine(&self, event: &Event, error: &str, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.put_aside(event, error, now_ms)).await
    }

    async fn forget_seen(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.told(self.forget(before_ms, limit)).await
    }

    async fn keep_house(&self, now_ms: i64) -> Result<(), StoreError> {
        self.told(self.keep(now_ms)).await
    }
}

#[async_trait]
impl Webhooks for Backend {
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.told(self.list_webhooks()).await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        self.told(self.find_webhook(id)).await
    }

    async fn add_webhook(
        &self,
        spec: &WebhookSpec,
        secret: &WebhookSecret,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Webhook, StoreError> {
        self.told(self.insert_webhook(spec, secret, by, now_ms)).await
    }

    async fn change_webhook(
        &self,
        id: WebhookId,
        spec: &WebhookSpec,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Webhook>, StoreError> {
        self.told(self.update_webhook(id, spec, by, now_ms)).await
    }

    async fn remove_webhook(&self, id: WebhookId, by: &Caller, now_ms: i64) -> Result<bool, StoreError> {
        self.told(self.delete_webhook(id, by, now_ms)).await
    }

    async fn rotate_webhook_secret(
        &self,
        id: WebhookId,
        secret: &WebhookSecret,
        old_until_ms: i64,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Webhook>, StoreError> {
        self.told(self.replace_webhook_secret(id, secret, old_until_ms, by, now_ms)).await
    }

    async fn webhook_secrets(&self, id: WebhookId, now_ms: i64) -> Result<Vec<WebhookSecret>, StoreError> {
        self.told(self.read_webhook_secrets(id, now_ms)).await
    }

    async fn notices(
        &self,
        webhook: WebhookId,
        is_dead: Option<bool>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<KeptNotice>, StoreError> {
        self.told(self.list_notices(webhook, is_dead, before, limit)).await
    }

    async fn resend_notice(
        &self,
        webhook: WebhookId,
        message_id: &str,
        now_ms: i64,
    ) -> Result<Option<KeptNotice>, StoreError> {
        self.told(self.hurry_notice(webhook, message_id, now_ms)).await
    }

    async fn may_post(&self) -> Result<bool, StoreError> {
        self.told(self.hold_posting()).await
    }

    async fn publish(
        &self,
        notices: &[NewNotice],
        remember: &[Remember],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.add_notices(notices, remember, now_ms)).await
    }

    async fn next_notice(&self, webhook: WebhookId) -> Result<Option<Notice>, StoreError> {
        self.told(self.first_notice(webhook)).await
    }

    async fn settle_notice(
        &self,
        webhook: WebhookId,
        notice: i64,
        settled: &Settled,
        status: Option<u16>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.close_try(webhook, notice, settled, status, now_ms)).await
    }

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        scope: Option<&Label>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError> {
        self.told(self.list_incidents(filter, scope, before, limit)).await
    }

    async fn memory(&self) -> Result<Memory, StoreError> {
        self.told(self.read_told()).await
    }
}

#[async_trait]
impl Deliveries for Backend {
    async fn declare_handlers(&self, names: &[&str], now_ms: i64) -> Result<Vec<KnownHandler>, StoreError> {
        self.told(self.make_handlers_known(names, now_ms)).await
    }

    async fn handlers(&self) -> Result<Vec<KnownHandler>, StoreError> {
        self.told(self.list_handlers()).await
    }

    async fn pause_handler(&self, name: &str, paused_ms: Option<i64>) -> Result<bool, StoreError> {
        self.told(self.note_pause(name, paused_ms)).await
    }

    async fn paused(&self) -> Result<Paused, StoreError> {
        self.told(self.list_paused()).await
    }

    async fn write_deliveries(
        &self,
        writer: WriterId,
        changes: &[DeliveryChange],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.told(self.write_owed(writer, changes, now_ms)).await
    }

    async fn rows_above(&self, after: DeliveryId, limit: u32) -> Result<Vec<DeliveryId>, StoreError> {
        self.told(self.list_rows_above(after, limit)).await
    }

    async fn backlogs(&self, after: Option<&Backlog>, limit: u32) -> Result<Vec<Backlog>, StoreError> {
        self.told(self.list_backlogs(after, limit)).await
    }

    async fn read_waiting(&self, wanted: Wanted<'_>) -> Result<Vec<Owed>, StoreError> {
        self.told(self.list_waiting(wanted)).await
    }

    async fn read_due(
        &self,
        handler: HandlerId,
        here: &HashSet<DeliveryId>,
        but: &[WorkspaceId],
        limit: u32,
        now_ms: i64,
    ) -> Result<Vec<Owed>, StoreError> {
        self.told(self.list_due(handler, here, but, limit, now_ms)).await
    }

    async fn hurry(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.told(self.hurry_all(now_ms)).await
    }

    async fn holders(&self, now_ms: i64) -> Result<Vec<DeliveryRow>, StoreError> {
        self.told(self.list_holders(now_ms)).await
    }
}

#[async_trait]
impl Retention for Backend {
    async fn delete_events(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError> {
        self.delete_old(before_ms, limit).await
    }

    async fn delete_payloads(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError> {
        self.delete_old_payloads(before_ms, limit).await
    }

    async fn delete_payloads_over(&self, max_bytes: u64, limit: u32) -> Result<Step, StoreError> {
        self.delete_too_many_payloads(max_bytes, limit).await
    }

    async fn delete_quarantine(&self, before_ms: i64, limit: u32) -> Result<Step, StoreError> {
        self.told(self.forget_quarantine(before_ms, limit)).await
    }

    async fn clear_removed(&self, limit: u32, now_ms: i64) -> Result<Cleared, StoreError> {
        self.told(self.clear(limit, now_ms)).await
    }
}

#[async_trait]
impl RouteStore for Backend {
    async fn routes(&self) -> Result<Vec<StoredRoute>, StoreError> {
        self.told(self.list_routes()).await
    }

    async fn route(&self, name: &RouteName) -> Result<Option<StoredRoute>, StoreError> {
        self.told(self.find_route(name)).await
    }

    async fn put_route(
        &self,
        route: &Route,
        when: When,
        by: &Caller,
        now_ms: i64,
    ) -> Result<PutRoute, StoreError> {
        self.told(self.write_route(route, when, by, now_ms)).await
    }

    async fn remove_route(
        &self,
        name: &RouteName,
        when: When,
        by: &Caller,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.told(self.delete_route(name, when, by, now_ms)).await
    }

    async fn routes_mark(&self) -> Result<i64, StoreError> {
        self.told(self.read_routes_mark()).await
    }

    async fn named_workspaces(
        &self,
        names: &[&str],
        labels: &[(&str, &str)],
    ) -> Result<Vec<NamedWorkspace>, StoreError> {
        self.told(self.list_named(names, labels)).await
    }
}

#[async_trait]
impl Store for Backend {
    fn on_behalf(self: Arc<Self>, caller: Caller) -> Arc<dyn Workspaces> {
        Arc::new(OnBehalf { store: self, caller })
    }

    async fn reseal(&self, from: Option<Resealing>) -> Result<Resealed, StoreError> {
        self.told(self.reseal_some(from)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.told(self.try_out()).await
    }

    fn pool(&self) -> Pool {
        let (open, idle) = (self.readers.size() as usize, self.readers.num_idle());
        let most = self.readers.options().get_max_connections() as usize;
        Pool { busy: open.saturating_sub(idle), idle, most }
    }

    async fn close(&self) {
        self.end().await;
    }
}
