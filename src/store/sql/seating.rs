//! On which app a workspace is seated, and what a token it brings does to that app.
//!
//! A token is looked for among the living apps: by its fingerprint, then by the Slack app id in its text among those that a hello has
//! proven. Where it is known the workspace is seated. An unknown token is taken for a new one of the app in place, if that app carries
//! nobody else and the token's text does not name another Slack app; else it makes an app of its own.
//!
//! Anybody can write any app's id into a text. So an id that no hello has proven leads nobody to an app and keeps nobody from one, and
//! whoever sees one label's workspaces alone comes to an app by the id alone, and erases its tokens, only where all who sit there bear
//! the label.

use super::Connection;
use super::rows::{candidate_place, open_token, token_place};
use crate::ids::AppId;
use crate::secret::AppToken;
use crate::store::fault::Fault;
use crate::store::vault::Vault;
use crate::store::{Label, Secret, StoreError};

/// Where a workspace sits.
pub(super) struct Seating {
    /// The app.
    pub(super) app: AppId,
    /// Is anything about the app's tokens new?
    pub(super) changed: bool,
}

/// Finds or makes the app for a workspace that sits on `current`, if it is there already, for somebody who sees the workspaces with
/// this label alone, or all.
pub(super) async fn seat(
    db: &mut Connection,
    vault: &Vault,
    current: Option<AppId>,
    token: &Secret<AppToken>,
    scope: Option<&Label>,
    now_ms: i64,
) -> Result<Seating, Fault> {
    let token = match (token, current) {
        (Secret::Set(token), _) => token,
        (Secret::Keep, Some(app)) => return Ok(Seating { app, changed: false }),
        (Secret::Remove, Some(app)) => {
            is_theirs(db, app, scope).await?;
            return Ok(Seating { app, changed: erase_tokens(db, app, now_ms).await? });
        }
        (Secret::Keep | Secret::Remove, None) => {
            return Ok(Seating { app: insert_app(db, now_ms).await?, changed: true });
        }
    };
    let known = match app_of_token(db, token).await? {
        Some((app, Known::ByToken)) => Some(app),
        Some((app, Known::ById)) => {
            is_theirs(db, app, scope).await?;
            Some(app)
        }
        None => match current {
            Some(app) if may_be_of(db, app, token).await? => Some(app),
            Some(_) | None => None,
        },
    };
    if let Some(app) = known {
        return Ok(Seating { app, changed: offer(db, vault, app, token, now_ms).await? });
    }
    let app = insert_app(db, now_ms).await?;
    put_in_force(db, vault, app, token, now_ms).await?;
    Ok(Seating { app, changed: true })
}

/// An app without living workspaces is done for: its tokens are erased.
pub(super) async fn retire_if_empty(db: &mut Connection, app: AppId, now_ms: i64) -> Result<(), Fault> {
    sqlx::query(
        "update apps set deleted_at = $2, updated_at = $2, token_fp = null, token_sealed = null, token_hint = null, \
         token_at = null, candidate_fp = null, candidate_sealed = null, candidate_hint = null \
         where id = $1 and deleted_at is null \
         and not exists (select 1 from workspaces where app_id = $1 and deleted_at is null)",
    )
    .bind(app.0)
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Seals the token as the one in force; a candidate is forgotten.
pub(super) async fn put_in_force(
    db: &mut Connection,
    vault: &Vault,
    app: AppId,
    token: &AppToken,
    now_ms: i64,
) -> Result<(), Fault> {
    sqlx::query(
        "update apps set named_app_id = $2, token_fp = $3, token_sealed = $4, token_hint = $5, \
         token_at = $6, candidate_fp = null, candidate_sealed = null, candidate_hint = null, updated_at = $6 \
         where id = $1",
    )
    .bind(app.0)
    .bind(token.slack_app_id())
    .bind(token.fingerprint())
    .bind(vault.seal(token_place(app), token.expose().as_bytes())?)
    .bind(token.hint())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets the candidate; was there one?
pub(super) async fn forget_candidate(db: &mut Connection, app: AppId, now_ms: i64) -> Result<bool, Fault> {
    let done = sqlx::query(
        "update apps set candidate_fp = null, candidate_sealed = null, candidate_hint = null, updated_at = $2 \
         where id = $1 and candidate_sealed is not null",
    )
    .bind(app.0)
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// By what an app is known to be a token's.
enum Known {
    /// The token is stored there: whoever brings it has it.
    ByToken,
    /// The token's text names an id that a hello has proven to be the app's.
    ById,
}

/// The living app of a token: the same token counts for more than the same Slack app. One arm an index.
async fn app_of_token(db: &mut Connection, token: &AppToken) -> Result<Option<(AppId, Known)>, Fault> {
    let found: Option<(i64, i64)> = sqlx::query_as(
        "select id, rank from ( \
         select id, cast(1 as bigint) as rank from apps where token_fp = $1 and deleted_at is null \
         union all select id, 2 from apps where candidate_fp = $1 and deleted_at is null \
         union all select id, 3 from apps where slack_app_id = $2 and deleted_at is null \
         ) as found order by rank limit 1",
    )
    .bind(token.fingerprint())
    .bind(token.slack_app_id())
    .fetch_optional(db)
    .await?;
    Ok(found.map(|(id, rank)| (AppId(id), if rank < 3 { Known::ByToken } else { Known::ById })))
}

/// Does all that lives on the app bear the label, where there is one?
async fn is_theirs(db: &mut Connection, app: AppId, scope: Option<&Label>) -> Result<(), Fault> {
    let Some(scope) = scope else { return Ok(()) };
    let strangers: i64 = sqlx::query_scalar(
        "select count(*) from workspaces w where w.app_id = $1 and w.deleted_at is null and not exists \
         (select 1 from workspace_labels l where l.workspace_id = w.id and l.key = $2 and l.value = $3)",
    )
    .bind(app.0)
    .bind(&scope.key)
    .bind(&scope.value)
    .fetch_one(db)
    .await?;
    if strangers == 0 {
        return Ok(());
    }
    let problem = format!(
        "workspaces without the label {scope} use the same Slack app, so this token may not change the app's token; \
         send the app token that is in use there, or have somebody who sees all of them change it"
    );
    Err(StoreError::Forbidden(problem).into())
}

/// Is the app nobody else's, and does the token name no other than a hello has told of it or, before that, its own token names?
async fn may_be_of(db: &mut Connection, app: AppId, token: &AppToken) -> Result<bool, Fault> {
    let (app_id, seats): (Option<String>, i64) = sqlx::query_as(
        "select coalesce(slack_app_id, named_app_id), (select count(*) from workspaces where app_id = $1 and deleted_at is null) \
         from apps where id = $1",
    )
    .bind(app.0)
    .fetch_one(db)
    .await?;
    let names_another = token.slack_app_id().zip(app_id.as_deref()).is_some_and(|(new, old)| new != old);
    Ok(seats == 1 && !names_another)
}

/// Gives the app a token: in force where none is, else as the candidate. The token in force called for again ends the
/// candidacy of another. Did anything change?
async fn offer(
    db: &mut Connection,
    vault: &Vault,
    app: AppId,
    token: &AppToken,
    now_ms: i64,
) -> Result<bool, Fault> {
    let (in_force, candidate): (Option<Vec<u8>>, Option<Vec<u8>>) =
        sqlx::query_as("select token_sealed, candidate_sealed from apps where id = $1")
            .bind(app.0)
            .fetch_one(&mut *db)
            .await?;
    let Some(in_force) = in_force else {
        put_in_force(db, vault, app, token, now_ms).await?;
        return Ok(true);
    };
    // A stored token that cannot be opened equals no other: putting it again heals it.
    if open_token(vault, token_place(app), in_force).as_ref() == Ok(token) {
        return forget_candidate(db, app, now_ms).await;
    }
    if candidate.is_some_and(|sealed| open_token(vault, candidate_place(app), sealed).as_ref() == Ok(token)) {
        return Ok(false);
    }
    sqlx::query(
        "update apps set candidate_fp = $2, candidate_sealed = $3, candidate_hint = $4, updated_at = $5 where id = $1",
    )
    .bind(app.0)
    .bind(token.fingerprint())
    .bind(vault.seal(candidate_place(app), token.expose().as_bytes())?)
    .bind(token.hint())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(true)
}

async fn insert_app(db: &mut Connection, now_ms: i64) -> Result<AppId, Fault> {
    let id = sqlx::query_scalar("insert into apps (created_at, updated_at) values ($1, $1) returning id")
        .bind(now_ms)
        .fetch_one(db)
        .await?;
    Ok(AppId(id))
}

/// Erases both tokens; were there any?
async fn erase_tokens(db: &mut Connection, app: AppId, now_ms: i64) -> Result<bool, Fault> {
    let done = sqlx::query(
        "update apps set token_fp = null, token_sealed = null, token_hint = null, token_at = null, candidate_fp = null, \
         candidate_sealed = null, candidate_hint = null, updated_at = $2 \
         where id = $1 and coalesce(token_sealed, candidate_sealed) is not null",
    )
    .bind(app.0)
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}
