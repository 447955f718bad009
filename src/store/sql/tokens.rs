//! Tokens of the admin API.

use serde_json::{Value, json};
use sqlx::FromRow;

use super::audit;
use super::rows::unknown;
use super::{Backend, Connection};
use crate::store::fault::Fault;
use crate::store::{
    Action, ApiToken, Caller, Changes, Deed, Label, MAX_TOKENS, NewToken, Role, StoreError, TokenDigest,
    TokenId,
};

/// Uses nearer to each other than this are one: milliseconds.
const USE_STEP: i64 = 60_000;

macro_rules! select_tokens {
    ($rest:literal) => {
        concat!(
            "select id, name, digest, hint, role, scope_key, scope_value, created_by, created_at, expires_at, used_at, ",
            "revoked_at from api_tokens ",
            $rest
        )
    };
}

#[derive(FromRow)]
struct TokenRow {
    id: i64,
    name: String,
    digest: Vec<u8>,
    hint: String,
    role: String,
    scope_key: Option<String>,
    scope_value: Option<String>,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
    used_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TokenRow {
    fn into_token(self) -> Result<(TokenDigest, ApiToken), Fault> {
        let scope = self.scope_key.zip(self.scope_value).map(|(key, value)| Label { key, value });
        let digest = self.digest.try_into().map_err(|_| unknown("api_tokens.digest", "another length"))?;
        let token = ApiToken {
            id: TokenId(self.id),
            name: self.name,
            hint: self.hint,
            role: Role::parse(&self.role).ok_or_else(|| unknown("api_tokens.role", &self.role))?,
            scope,
            created_by: self.created_by,
            created_ms: self.created_at,
            expires_ms: self.expires_at,
            used_ms: self.used_at,
            revoked_ms: self.revoked_at,
        };
        Ok((TokenDigest(digest), token))
    }
}

impl Backend {
    pub(super) async fn add_token(
        &self,
        new: &NewToken,
        by: &Caller,
        now_ms: i64,
    ) -> Result<ApiToken, Fault> {
        let mut tx = self.begin().await?;
        let living: i64 = sqlx::query_scalar("select count(*) from api_tokens where revoked_at is null")
            .fetch_one(tx.db())
            .await?;
        if living >= i64::from(MAX_TOKENS) {
            let full = format!("there are {MAX_TOKENS} tokens, which is all there can be; revoke some first");
            return Err(StoreError::Conflict(full).into());
        }
        let id: i64 = sqlx::query_scalar(
            "insert into api_tokens (name, digest, hint, role, scope_key, scope_value, created_by, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
        )
        .bind(&new.name)
        .bind(new.digest.0.as_slice())
        .bind(&new.hint)
        .bind(new.role.as_str())
        .bind(new.scope.as_ref().map(|scope| scope.key.as_str()))
        .bind(new.scope.as_ref().map(|scope| scope.value.as_str()))
        .bind(&by.name)
        .bind(now_ms)
        .bind(new.expires_ms)
        .fetch_one(tx.db())
        .await
        .map_err(|error| {
            Fault::from(error).or_conflict(|| {
                format!("a token is called '{}' already; revoke that one first, or choose another name", new.name)
            })
        })?;
        let made = find(tx.db(), TokenId(id)).await?.ok_or(sqlx::Error::RowNotFound)?;
        let deed = of_token(Action::TokenCreate, &made, |value| (Value::Null, value));
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(made)
    }

    pub(super) async fn list_tokens(
        &self,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<TokenRow> = sqlx::query_as(select_tokens!("where id > $1 order by id limit $2"))
            .bind(after.map_or(0, |after| after.0))
            .bind(i64::from(limit))
            .fetch_all(&mut *db)
            .await?;
        rows.into_iter().map(|row| Ok(row.into_token()?.1)).collect()
    }

    pub(super) async fn find_token(&self, id: TokenId) -> Result<Option<ApiToken>, Fault> {
        find(&mut *self.reader().await?, id).await
    }

    pub(super) async fn tokens_in_force(&self) -> Result<Vec<(TokenDigest, ApiToken)>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<TokenRow> =
            sqlx::query_as(select_tokens!("where revoked_at is null order by id limit $1"))
                .bind(i64::from(MAX_TOKENS))
                .fetch_all(&mut *db)
                .await?;
        rows.into_iter().map(TokenRow::into_token).collect()
    }

    pub(super) async fn mark_used(&self, id: TokenId, at_ms: i64) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "update api_tokens set used_at = $2 where id = $1 and (used_at is null or used_at <= $3)",
        )
        .bind(id.0)
        .bind(at_ms)
        .bind(at_ms.saturating_sub(USE_STEP))
        .execute(tx.db())
        .await?;
        tx.commit().await
    }

    pub(super) async fn revoke(
        &self,
        id: TokenId,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<ApiToken>, Fault> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("update api_tokens set revoked_at = $2 where id = $1 and revoked_at is null")
            .bind(id.0)
            .bind(now_ms)
            .execute(tx.db())
            .await?;
        let token = find(tx.db(), id).await?;
        if let Some(token) = token.as_ref().filter(|_| done.rows_affected() > 0) {
            let deed = of_token(Action::TokenRevoke, token, |value| (value, Value::Null));
            audit::write(tx.db(), by, &deed, now_ms).await?;
        }
        tx.commit().await?;
        Ok(token)
    }
}

/// What the audit log says of a token that comes or goes.
fn of_token(action: Action, token: &ApiToken, became: fn(Value) -> (Value, Value)) -> Deed {
    let mut changes = Changes::default();
    for (name, value) in [
        ("name", json!(token.name)),
        ("role", json!(token.role.as_str())),
        ("scope", json!(token.scope.as_ref().map(ToString::to_string))),
        ("hint", json!(token.hint)),
        ("expires_ms", json!(token.expires_ms)),
    ] {
        let (from, to) = became(value);
        changes.field(name, &from, &to);
    }
    Deed { action, workspace: None, target: Some(token.id.to_string()), changes }
}

async fn find(db: &mut Connection, id: TokenId) -> Result<Option<ApiToken>, Fault> {
    let row: Option<TokenRow> =
        sqlx::query_as(select_tokens!("where id = $1")).bind(id.0).fetch_optional(db).await?;
    Ok(row.map(TokenRow::into_token).transpose()?.map(|(_, token)| token))
}
