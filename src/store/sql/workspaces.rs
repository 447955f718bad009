//! Workspaces: what users register, list and remove.

use serde_json::json;

use super::apps::touch;
use super::audit;
use super::history::add_to_history;
use super::removals;
use super::rows::{StandingRow, WorkspaceRow, bot_place, select_workspaces};
use super::seating::{retire_if_empty, seat};
use super::trouble::forgive;
use super::{Backend, Connection, json_rows};
use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::secret::BotToken;
use crate::status::{Code, Standing};
use crate::store::fault::Fault;
use crate::store::vault::Vault;
use crate::store::{
    Action, By, Caller, Change, Changes, Deed, DeliveryMode, Desired, Label, Order, Place, Put, Secret,
    StoreError, When, Workspace, WorkspaceSpec,
};

/// One page of workspaces: where it begins, and in which order.
macro_rules! page {
    ($from:literal, $order:literal) => {
        select_workspaces!(
            "and ",
            $from,
            " and (cast($3 as text) is null or exists (select 1 from workspace_labels b \
             where b.workspace_id = w.id and b.key = $3 and b.value = $4)) order by ",
            $order,
            " limit $2"
        )
    };
}

impl Backend {
    /// Those that bear the label, where one is given.
    pub(super) async fn list_workspaces(
        &self,
        label: Option<&Label>,
        order: Order,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Workspace>, Fault> {
        let select = match (order.by, order.descending) {
            (By::Name, false) => page!("w.name > $1", "w.name"),
            (By::Name, true) => page!("w.name < $1", "w.name desc"),
            (By::Created, false) => page!("(w.created_at, w.name) > ($5, $1)", "w.created_at, w.name"),
            (By::Created, true) => {
                page!("(w.created_at, w.name) < ($5, $1)", "w.created_at desc, w.name desc")
            }
            (By::Updated, false) => page!("(w.updated_at, w.name) > ($5, $1)", "w.updated_at, w.name"),
            (By::Updated, true) => {
                page!("(w.updated_at, w.name) < ($5, $1)", "w.updated_at desc, w.name desc")
            }
        };
        let after = after.cloned().unwrap_or_else(|| order.beginning());
        let select = sqlx::query_as(select)
            .bind(&*after.name)
            .bind(i64::from(limit))
            .bind(label.map(|label| &label.key))
            .bind(label.map(|label| &label.value));
        let select = match order.by {
            By::Name => select,
            By::Created | By::Updated => select.bind(after.ms),
        };
        let rows: Vec<WorkspaceRow> = select.fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(WorkspaceRow::into_workspace).collect()
    }

    pub(super) async fn list_standings(&self) -> Result<Vec<(AppId, Standing)>, Fault> {
        let rows: Vec<StandingRow> = sqlx::query_as(
            "select app_id, id, desired, trouble, trouble_at, limited_until, updated_at from workspaces \
             where deleted_at is null",
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.into_iter().map(StandingRow::into_standing).collect()
    }

    pub(super) async fn list_seated(&self, app: AppId) -> Result<Vec<Workspace>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<WorkspaceRow> = sqlx::query_as(select_workspaces!("and w.app_id = $1 order by w.name"))
            .bind(app.0)
            .fetch_all(&mut *db)
            .await?;
        rows.into_iter().map(WorkspaceRow::into_workspace).collect()
    }

    pub(super) async fn find_workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, Fault> {
        find(&mut *self.reader().await?, name).await
    }

    pub(super) async fn put(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        by: Option<&Caller>,
        now_ms: i64,
    ) -> Result<Put, Fault> {
        let mut tx = self.begin().await?;
        let before = find(tx.db(), name).await?;
        let labels = labels_by_key(&spec.labels);
        if let Some(by) = by {
            by.stays_in_scope(name, before.as_ref(), &labels)?;
        }
        when.check(before.as_ref())?;
        let current = before.as_ref().map(|before| before.app);
        let scope = by.and_then(|by| by.scope.as_ref());
        let seating = seat(tx.db(), &self.vault, current, &spec.app_token, scope, now_ms).await?;
        let bot_changes = bot_changes(tx.db(), &self.vault, before.as_ref(), &spec.bot_token).await?;
        if let Some(before) = &before {
            let same = !seating.changed
                && !bot_changes
                && seating.app == before.app
                && spec.title == before.title
                && spec.desired == before.desired
                && spec.delivery == before.delivery
                && spec.links == before.links
                && labels == before.labels;
            if same {
                tx.commit().await?;
                return Ok(Put { workspace: before.clone(), change: Change::Unchanged, left: None });
            }
        }

        let id = match &before {
            None => insert(tx.db(), name, seating.app, spec, now_ms).await?,
            Some(before) => {
                update(tx.db(), before, seating.app, spec, now_ms).await?;
                before.id
            }
        };
        set_labels(tx.db(), id, &labels).await?;
        if bot_changes {
            set_bot(tx.db(), &self.vault, id, &spec.bot_token, now_ms).await?;
        }
        if let Some(before) = &before {
            retire_if_empty(tx.db(), before.app, now_ms).await?;
            let goes_on = before.desired == Desired::Disconnected && spec.desired == Desired::Connected;
            let has_new_bot = bot_changes && matches!(spec.bot_token, Secret::Set(_));
            if goes_on || has_new_bot || seating.app != before.app {
                forgive(tx.db(), id, now_ms).await?;
            }
        }
        if before.as_ref().map_or(DeliveryMode::Active, |before| before.delivery) != spec.delivery {
            let code = match spec.delivery {
                DeliveryMode::Active => Code::Resumed,
                DeliveryMode::Paused => Code::Paused,
            };
            add_to_history(tx.db(), seating.app, id, code, now_ms).await?;
        }
        touch(tx.db(), [seating.app, before.as_ref().map_or(seating.app, |before| before.app)]).await?;
        let workspace = find(tx.db(), name).await?.ok_or(sqlx::Error::RowNotFound)?;
        if let Some(by) = by {
            let action = if before.is_some() { Action::WorkspaceUpdate } else { Action::WorkspaceCreate };
            let changes = Changes::of_workspace(before.as_ref(), Some((spec, &workspace)));
            let deed = Deed { action, workspace: Some(name.clone()), target: None, changes };
            audit::write(tx.db(), by, &deed, now_ms).await?;
        }
        tx.commit().await?;
        let left = current.filter(|current| *current != workspace.app);
        Ok(Put { workspace, change: if before.is_some() { Change::Updated } else { Change::Created }, left })
    }

    pub(super) async fn remove(
        &self,
        name: &WorkspaceName,
        when: When,
        purge: bool,
        by: Option<&Caller>,
        now_ms: i64,
    ) -> Result<Option<Workspace>, Fault> {
        let mut tx = self.begin().await?;
        let found = find(tx.db(), name).await?.filter(|found| is_seen(by, found));
        if let Some(workspace) = &found {
            when.check(Some(workspace))?;
            sqlx::query(
                "update workspaces set deleted_at = $2, updated_at = $2, bot_sealed = null, bot_hint = null, bot_at = null \
                 where id = $1",
            )
            .bind(workspace.id.0)
            .bind(now_ms)
            .execute(tx.db())
            .await?;
            set_labels(tx.db(), workspace.id, &[]).await?;
            removals::note(tx.db(), workspace.id, purge, now_ms).await?;
            retire_if_empty(tx.db(), workspace.app, now_ms).await?;
            touch(tx.db(), [workspace.app; 2]).await?;
            if let Some(by) = by {
                let mut changes = Changes::of_workspace(Some(workspace), None);
                changes.field("purge", &json!(false), &json!(purge));
                let (action, workspace) = (Action::WorkspaceRemove, Some(name.clone()));
                let deed = Deed { action, workspace, target: None, changes };
                audit::write(tx.db(), by, &deed, now_ms).await?;
            }
        }
        tx.commit().await?;
        Ok(found)
    }

    pub(super) async fn read_bot_token(&self, workspace: WorkspaceId) -> Result<Option<BotToken>, Fault> {
        Ok(stored_bot(&mut *self.reader().await?, &self.vault, workspace).await?.transpose()?)
    }

    pub(super) async fn set_team(
        &self,
        workspace: WorkspaceId,
        team_id: Option<&str>,
        enterprise_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "update workspaces set team_id = $2, enterprise_id = $3, updated_at = $4 where id = $1 and deleted_at is null \
             and (team_id is distinct from $2 or enterprise_id is distinct from $3)",
        )
        .bind(workspace.0)
        .bind(team_id)
        .bind(enterprise_id)
        .bind(now_ms)
        .execute(tx.db())
        .await
        .map_err(|error| {
            Fault::from(error).or_conflict(|| {
                let team = team_id.or(enterprise_id).unwrap_or_default();
                format!("another workspace of the same app already stands for team {team}; remove one of the two")
            })
        })?;
        tx.commit().await
    }
}

/// Is the workspace there for this caller?
pub(super) fn is_seen(by: Option<&Caller>, workspace: &Workspace) -> bool {
    let scope = by.and_then(|by| by.scope.as_ref());
    scope.is_none_or(|scope| scope.is_in(&workspace.labels))
}

pub(super) async fn find(db: &mut Connection, name: &WorkspaceName) -> Result<Option<Workspace>, Fault> {
    let row: Option<WorkspaceRow> =
        sqlx::query_as(select_workspaces!("and w.name = $1")).bind(name.as_str()).fetch_optional(db).await?;
    row.map(WorkspaceRow::into_workspace).transpose()
}

async fn insert(
    db: &mut Connection,
    name: &WorkspaceName,
    app: AppId,
    spec: &WorkspaceSpec,
    now_ms: i64,
) -> Result<WorkspaceId, Fault> {
    let id = sqlx::query_scalar(
        "insert into workspaces (name, title, app_id, desired, links, created_at, updated_at, delivery) \
         values ($1, $2, $3, $4, $5, $6, $6, $7) returning id",
    )
    .bind(name.as_str())
    .bind(spec.title.as_deref())
    .bind(app.0)
    .bind(spec.desired.as_str())
    .bind(i16::from(spec.links))
    .bind(now_ms)
    .bind(spec.delivery.as_str())
    .fetch_one(db)
    .await?;
    Ok(WorkspaceId(id))
}

async fn update(
    db: &mut Connection,
    before: &Workspace,
    app: AppId,
    spec: &WorkspaceSpec,
    now_ms: i64,
) -> Result<(), Fault> {
    sqlx::query(
        "update workspaces set title = $2, app_id = $3, desired = $4, links = $5, updated_at = $6, \
         delivery = $7, version = version + 1 where id = $1",
    )
    .bind(before.id.0)
    .bind(spec.title.as_deref())
    .bind(app.0)
    .bind(spec.desired.as_str())
    .bind(i16::from(spec.links))
    .bind(now_ms)
    .bind(spec.delivery.as_str())
    .execute(db)
    .await
    .map_err(|error| {
        Fault::from(error).or_conflict(|| {
            let team = before.team_id.as_deref().or(before.enterprise_id.as_deref()).unwrap_or_default();
            format!(
                "the token belongs to an app on which another workspace already stands for team {team}, as '{}' does; \
                 remove one of the two",
                before.name
            )
        })
    })?;
    Ok(())
}

async fn set_labels(db: &mut Connection, id: WorkspaceId, labels: &[(String, String)]) -> Result<(), Fault> {
    sqlx::query("delete from workspace_labels where workspace_id = $1").bind(id.0).execute(&mut *db).await?;
    for (key, value) in labels {
        sqlx::query("insert into workspace_labels (workspace_id, key, value) values ($1, $2, $3)")
            .bind(id.0)
            .bind(key)
            .bind(value)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

async fn set_bot(
    db: &mut Connection,
    vault: &Vault,
    id: WorkspaceId,
    bot: &Secret<BotToken>,
    now_ms: i64,
) -> Result<(), Fault> {
    let (sealed, hint) = match bot {
        Secret::Keep => return Ok(()),
        Secret::Remove => (None, None),
        Secret::Set(token) => {
            (Some(vault.seal(bot_place(id), token.expose().as_bytes())?), Some(token.hint()))
        }
    };
    sqlx::query("update workspaces set bot_sealed = $2, bot_hint = $3, bot_at = $4 where id = $1")
        .bind(id.0)
        .bind(sealed)
        .bind(hint)
        .bind(now_ms)
        .execute(db)
        .await?;
    Ok(())
}

/// Does the change change anything? A stored token that cannot be opened differs from every other: putting it again heals it.
async fn bot_changes(
    db: &mut Connection,
    vault: &Vault,
    before: Option<&Workspace>,
    bot: &Secret<BotToken>,
) -> Result<bool, Fault> {
    Ok(match (bot, before) {
        (Secret::Keep, _) | (Secret::Remove, None) => false,
        (Secret::Remove, Some(before)) => before.bot_token.is_some(),
        (Secret::Set(_), None) => true,
        (Secret::Set(token), Some(before)) => {
            stored_bot(db, vault, before.id).await?.is_none_or(|stored| stored.as_ref() != Ok(token))
        }
    })
}

async fn stored_bot(
    db: &mut Connection,
    vault: &Vault,
    id: WorkspaceId,
) -> Result<Option<Result<BotToken, StoreError>>, Fault> {
    let sealed: Option<Vec<u8>> =
        sqlx::query_scalar("select bot_sealed from workspaces where id = $1 and deleted_at is null")
            .bind(id.0)
            .fetch_optional(db)
            .await?
            .flatten();
    Ok(sealed.map(|sealed| {
        let text = secrecy::SecretString::from(vault.open_text(bot_place(id), sealed)?);
        BotToken::parse(secrecy::ExposeSecret::expose_secret(&text))
            .map_err(|error| StoreError::Data(format!("workspaces.bot_sealed, row {id}: {error}")))
    }))
}

/// Sorted by key; of two with the same key the later one counts.
fn labels_by_key(labels: &[(String, String)]) -> Vec<(String, String)> {
    labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect()
}
