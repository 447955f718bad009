//! The audit log. A change and its row are one transaction, so that neither is there without the other.

use sqlx::FromRow;

use super::rows::unknown;
use super::{Backend, Connection};
use crate::ids::WorkspaceName;
use crate::store::fault::Fault;
use crate::store::{Action, AuditEntry, AuditFilter, Caller, Changes, Deed, Role, StoreError, TokenId};

/// Rows kept, and for how long: milliseconds, 400 days.
const KEPT: i64 = 200_000;
const KEPT_MS: i64 = 400 * 86_400_000;
/// The oldest rows are looked at so many at a time, one time a new row.
const STEP: i64 = 50;

#[derive(FromRow)]
struct AuditRow {
    id: i64,
    at: i64,
    actor: String,
    role: String,
    token_id: Option<i64>,
    action: String,
    workspace: Option<String>,
    target: Option<String>,
    changes: String,
    reason: Option<String>,
    request_id: Option<String>,
    address: Option<String>,
}

impl AuditRow {
    fn into_entry(self) -> Result<AuditEntry, Fault> {
        let name = |text: String| WorkspaceName::parse(&text).map_err(|_| unknown("audit.workspace", &text));
        let changes = serde_json::from_str(&self.changes)
            .map_err(|error| StoreError::Unavailable(format!("cannot read audit.changes: {error}")))?;
        Ok(AuditEntry {
            id: self.id,
            at_ms: self.at,
            actor: self.actor,
            role: Role::parse(&self.role).ok_or_else(|| unknown("audit.role", &self.role))?,
            token: self.token_id.map(TokenId),
            deed: Deed {
                action: Action::parse(&self.action).ok_or_else(|| unknown("audit.action", &self.action))?,
                workspace: self.workspace.map(name).transpose()?,
                target: self.target,
                changes: Changes(changes),
            },
            reason: self.reason,
            request_id: self.request_id,
            address: self.address,
        })
    }
}

/// Writes down who did what, in the transaction in which it is done.
pub(super) async fn write(db: &mut Connection, by: &Caller, deed: &Deed, now_ms: i64) -> Result<(), Fault> {
    sqlx::query(
        "insert into audit (at, actor, role, token_id, action, workspace, target, changes, reason, request_id, address) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(now_ms)
    .bind(&by.name)
    .bind(by.role.as_str())
    .bind(by.token.map(|token| token.0))
    .bind(deed.action.as_str())
    .bind(deed.workspace.as_ref().map(WorkspaceName::as_str))
    .bind(&deed.target)
    .bind(serde_json::Value::Object(deed.changes.0.clone()).to_string())
    .bind(&by.reason)
    .bind(&by.request_id)
    .bind(by.address.map(|address| address.to_string()))
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "delete from audit where id in (select o.id from (select id, at from audit order by id limit $1) as o \
         where o.at < $2 or o.id <= (select max(id) from audit) - $3)",
    )
    .bind(STEP)
    .bind(now_ms.saturating_sub(KEPT_MS))
    .bind(KEPT)
    .execute(db)
    .await?;
    Ok(())
}

impl Backend {
    pub(super) async fn read_audit(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<AuditRow> = sqlx::query_as(
            "select id, at, actor, role, token_id, action, workspace, target, changes, reason, request_id, address from audit \
             where id < $1 and (cast($2 as text) is null or workspace = $2) and (cast($3 as bigint) is null or token_id = $3) \
             and (cast($4 as text) is null or action = $4) and (cast($5 as text) is null or request_id = $5) \
             and at >= $6 and at < $7 order by id desc limit $8",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(filter.workspace.as_ref().map(WorkspaceName::as_str))
        .bind(filter.token.map(|token| token.0))
        .bind(filter.action.map(Action::as_str))
        .bind(&filter.request_id)
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(filter.until_ms.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&mut *db)
        .await?;
        rows.into_iter().map(AuditRow::into_entry).collect()
    }

    pub(super) async fn add_audit(&self, by: &Caller, deed: &Deed, now_ms: i64) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        write(tx.db(), by, deed, now_ms).await?;
        tx.commit().await
    }
}
