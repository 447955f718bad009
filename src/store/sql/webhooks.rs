//! Who is told of changes.

use serde_json::{Value, json};
use sqlx::FromRow;

use super::{Backend, Connection, audit, notices};
use crate::ids::WebhookId;
use crate::machine::notice::Topic;
use crate::secret::WebhookSecret;
use crate::store::fault::Fault;
use crate::store::vault::Place;
use crate::store::webhooks::{KEPT_FOR_ADMINS, MAX_OF_LABEL};
use crate::store::{
    Action, Caller, Changes, Deed, LastPost, MAX_WEBHOOKS, Posts, StoreError, Webhook, WebhookSpec,
};

/// Selects [`WebhookRow`]s.
macro_rules! select_webhooks {
    ($rest:literal) => {
        concat!(
            "select w.id, w.url, w.topics, w.label_key, w.label_value, w.paused, w.last_error, w.last_error_at, ",
            "w.last_success_at, w.created_at, w.updated_at, w.posts_taken, w.posts_refused, w.notices_given_up, w.last_post_at, ",
            "w.last_post_status, w.old_secret_until, ",
            "(select count(*) from notices n where n.webhook_id = w.id and n.dead = 0) as waiting, ",
            "(select count(*) from notices n where n.webhook_id = w.id and n.dead = 1) as given_up ",
            "from webhooks w ",
            $rest
        )
    };
}

#[derive(FromRow)]
struct WebhookRow {
    id: i64,
    url: String,
    topics: String,
    label_key: Option<String>,
    label_value: Option<String>,
    paused: i64,
    last_error: Option<String>,
    last_error_at: Option<i64>,
    last_success_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
    posts_taken: i64,
    posts_refused: i64,
    notices_given_up: i64,
    last_post_at: Option<i64>,
    last_post_status: Option<i64>,
    old_secret_until: Option<i64>,
    waiting: i64,
    given_up: i64,
}

impl WebhookRow {
    fn into_webhook(self) -> Webhook {
        Webhook {
            id: WebhookId(self.id),
            spec: WebhookSpec {
                url: self.url,
                topics: topics(&self.topics),
                label: self.label_key.zip(self.label_value),
                is_paused: self.paused != 0,
            },
            waiting: self.waiting.unsigned_abs(),
            dead: self.given_up.unsigned_abs(),
            last_error: self.last_error.zip(self.last_error_at),
            last_success_ms: self.last_success_at,
            posts: Posts {
                taken: self.posts_taken.unsigned_abs(),
                refused: self.posts_refused.unsigned_abs(),
                given_up: self.notices_given_up.unsigned_abs(),
            },
            last_post: self.last_post_at.map(|at_ms| LastPost {
                at_ms,
                status: self.last_post_status.and_then(|status| u16::try_from(status).ok()),
            }),
            old_secret_until_ms: self.old_secret_until,
            created_ms: self.created_at,
            updated_ms: self.updated_at,
        }
    }
}

/// One that a newer version wrote and this one does not know is told of nothing here.
pub(super) fn topics(text: &str) -> Vec<Topic> {
    text.split(',').filter_map(Topic::parse).collect()
}

fn text_of(topics: &[Topic]) -> String {
    topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>().join(",")
}

const fn secret_place(webhook: WebhookId) -> Place {
    Place::new("webhooks", "secret_sealed", webhook.0)
}

const fn old_secret_place(webhook: WebhookId) -> Place {
    Place::new("webhooks", "old_secret_sealed", webhook.0)
}

/// Who sees one label alone is told of nothing else, by no webhook of theirs.
fn stays_in_scope(by: &Caller, spec: &WebhookSpec) -> Result<(), StoreError> {
    match &by.scope {
        Some(scope) if !spec.is_within(scope) => Err(StoreError::Forbidden(format!(
            "this token sees workspaces with the label {scope} alone, so its webhooks have 'label': '{scope}', and 'topics' that name \
             workspace.* alone"
        ))),
        _ => Ok(()),
    }
}

/// The webhook as this caller may change it: none where it is not there for them, refused where it is told of more than they see. That
/// one somebody who sees more has made, and its secret and its address are theirs.
fn to_change(by: &Caller, found: Option<Webhook>) -> Result<Option<Webhook>, StoreError> {
    let Some(scope) = &by.scope else { return Ok(found) };
    let Some(webhook) = found.filter(|found| found.spec.is_for(scope)) else { return Ok(None) };
    if webhook.spec.is_within(scope) {
        return Ok(Some(webhook));
    }
    Err(StoreError::Forbidden(format!(
        "the webhook whk_{} is told of more than the workspaces with the label {scope}, so this token may look at it alone",
        webhook.id
    )))
}

/// How a field is read.
type Reading = fn(&WebhookSpec) -> Value;

fn deed(action: Action, id: WebhookId, from: Option<&WebhookSpec>, to: Option<&WebhookSpec>) -> Deed {
    let mut changes = Changes::default();
    let shown: [(&str, Reading); 4] = [
        ("url", |spec| json!(spec.url)),
        ("topics", |spec| spec.topics.iter().map(|topic| topic.as_str()).collect()),
        ("label", |spec| json!(spec.label.as_ref().map(|(key, value)| format!("{key}:{value}")))),
        ("paused", |spec| json!(spec.is_paused)),
    ];
    for (name, read) in shown {
        changes.field(name, &from.map_or(Value::Null, read), &to.map_or(Value::Null, read));
    }
    Deed { action, workspace: None, target: Some(format!("whk_{id}")), changes }
}

/// The secret, the one before it, and until when that signs.
type SecretsRow = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>);

impl Backend {
    pub(super) async fn list_webhooks(&self) -> Result<Vec<Webhook>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<WebhookRow> =
            sqlx::query_as(select_webhooks!("order by w.id")).fetch_all(&mut *db).await?;
        Ok(rows.into_iter().map(WebhookRow::into_webhook).collect())
    }

    pub(super) async fn find_webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Fault> {
        find(&mut *self.reader().await?, id).await
    }

    pub(super) async fn insert_webhook(
        &self,
        spec: &WebhookSpec,
        secret: &WebhookSecret,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Webhook, Fault> {
        stays_in_scope(by, spec)?;
        let mut tx = self.begin().await?;
        has_room(tx.db(), by).await?;
        let id: i64 = sqlx::query_scalar(
            "insert into webhooks (url, topics, label_key, label_value, paused, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $6) returning id",
        )
        .bind(&spec.url)
        .bind(text_of(&spec.topics))
        .bind(spec.label.as_ref().map(|(key, _)| key.as_str()))
        .bind(spec.label.as_ref().map(|(_, value)| value.as_str()))
        .bind(i64::from(spec.is_paused))
        .bind(now_ms)
        .fetch_one(tx.db())
        .await?;
        let id = WebhookId(id);
        sqlx::query("update webhooks set secret_sealed = $2 where id = $1")
            .bind(id.0)
            .bind(self.vault.seal(secret_place(id), secret.expose().as_bytes())?)
            .execute(tx.db())
            .await?;
        let webhook = find(tx.db(), id).await?.ok_or(sqlx::Error::RowNotFound)?;
        let deed = deed(Action::WebhookCreate, id, None, Some(&webhook.spec));
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(webhook)
    }

    pub(super) async fn update_webhook(
        &self,
        id: WebhookId,
        spec: &WebhookSpec,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Webhook>, Fault> {
        let mut tx = self.begin().await?;
        let Some(before) = to_change(by, find(tx.db(), id).await?)? else {
            tx.commit().await?;
            return Ok(None);
        };
        stays_in_scope(by, spec)?;
        if before.spec == *spec {
            tx.commit().await?;
            return Ok(Some(before));
        }
        sqlx::query(
            "update webhooks set url = $2, topics = $3, label_key = $4, label_value = $5, paused = $6, updated_at = $7 \
             where id = $1",
        )
        .bind(id.0)
        .bind(&spec.url)
        .bind(text_of(&spec.topics))
        .bind(spec.label.as_ref().map(|(key, _)| key.as_str()))
        .bind(spec.label.as_ref().map(|(_, value)| value.as_str()))
        .bind(i64::from(spec.is_paused))
        .bind(now_ms)
        .execute(tx.db())
        .await?;
        if (&before.spec.topics, &before.spec.label) != (&spec.topics, &spec.label) {
            notices::drop_unwanted(tx.db(), id, spec).await?;
        }
        let webhook = find(tx.db(), id).await?;
        let deed = deed(Action::WebhookUpdate, id, Some(&before.spec), Some(spec));
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(webhook)
    }

    pub(super) async fn delete_webhook(
        &self,
        id: WebhookId,
        by: &Caller,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        let Some(before) = to_change(by, find(tx.db(), id).await?)? else {
            tx.commit().await?;
            return Ok(false);
        };
        sqlx::query("delete from notices where webhook_id = $1").bind(id.0).execute(tx.db()).await?;
        sqlx::query("delete from webhooks where id = $1").bind(id.0).execute(tx.db()).await?;
        let deed = deed(Action::WebhookRemove, id, Some(&before.spec), None);
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn replace_webhook_secret(
        &self,
        id: WebhookId,
        secret: &WebhookSecret,
        old_until_ms: i64,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<Webhook>, Fault> {
        let mut tx = self.begin().await?;
        if to_change(by, find(tx.db(), id).await?)?.is_none() {
            tx.commit().await?;
            return Ok(None);
        }
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("select secret_sealed from webhooks where id = $1")
            .bind(id.0)
            .fetch_one(tx.db())
            .await?;
        // One that cannot be opened any more is replaced all the same.
        let old = sealed.and_then(|sealed| self.open_secret(secret_place(id), sealed).ok());
        let keeps = old.as_ref().filter(|_| old_until_ms > now_ms);
        let old_sealed =
            keeps.map(|old| self.vault.seal(old_secret_place(id), old.expose().as_bytes())).transpose()?;
        sqlx::query(
            "update webhooks set secret_sealed = $2, old_secret_sealed = $3, old_secret_until = $4, updated_at = $5 \
             where id = $1",
        )
        .bind(id.0)
        .bind(self.vault.seal(secret_place(id), secret.expose().as_bytes())?)
        .bind(old_sealed)
        .bind(keeps.map(|_| old_until_ms))
        .bind(now_ms)
        .execute(tx.db())
        .await?;
        let mut deed = deed(Action::WebhookRotate, id, None, None);
        deed.changes.field("secret", &json!(old.as_ref().map(hint)), &json!(hint(secret)));
        audit::write(tx.db(), by, &deed, now_ms).await?;
        let webhook = find(tx.db(), id).await?;
        tx.commit().await?;
        Ok(webhook)
    }

    pub(super) async fn read_webhook_secrets(
        &self,
        id: WebhookId,
        now_ms: i64,
    ) -> Result<Vec<WebhookSecret>, Fault> {
        let mut db = self.reader().await?;
        let row: Option<SecretsRow> = sqlx::query_as(
            "select secret_sealed, old_secret_sealed, old_secret_until from webhooks where id = $1",
        )
        .bind(id.0)
        .fetch_optional(&mut *db)
        .await?;
        let Some((sealed, old, until_ms)) = row else { return Ok(Vec::new()) };
        let mut secrets = Vec::new();
        if let Some(sealed) = sealed {
            secrets.push(self.open_secret(secret_place(id), sealed)?);
        }
        if let Some(old) = old.filter(|_| until_ms.is_some_and(|until_ms| now_ms < until_ms)) {
            secrets.push(self.open_secret(old_secret_place(id), old)?);
        }
        Ok(secrets)
    }

    fn open_secret(&self, place: Place, sealed: Vec<u8>) -> Result<WebhookSecret, StoreError> {
        let text = secrecy::SecretString::from(self.vault.open_text(place, sealed)?);
        WebhookSecret::parse(secrecy::ExposeSecret::expose_secret(&text)).ok_or_else(|| {
            StoreError::Data(format!("{}.{}, row {}: no secret", place.table, place.column, place.row))
        })
    }
}

/// Refuses one webhook more than there can be, for this caller: none of them takes up what the others need.
async fn has_room(db: &mut Connection, by: &Caller) -> Result<(), Fault> {
    let all: i64 = sqlx::query_scalar("select count(*) from webhooks").fetch_one(&mut *db).await?;
    let full = if let Some(scope) = &by.scope {
        let select = "select count(*) from webhooks where label_key = $1 and label_value = $2";
        let theirs: i64 =
            sqlx::query_scalar(select).bind(&scope.key).bind(&scope.value).fetch_one(db).await?;
        if theirs >= MAX_OF_LABEL {
            format!(
                "there are {theirs} webhooks with the label {scope}, and {MAX_OF_LABEL} is the most; remove one first"
            )
        } else if all >= MAX_WEBHOOKS - KEPT_FOR_ADMINS {
            "there is no room for webhooks of tokens that see one label; ask who runs the node".into()
        } else {
            return Ok(());
        }
    } else if all >= MAX_WEBHOOKS {
        format!("there are {MAX_WEBHOOKS} webhooks, which is all there can be; remove one first")
    } else {
        return Ok(());
    };
    Err(StoreError::Conflict(full).into())
}

/// Its last four characters.
fn hint(secret: &WebhookSecret) -> String {
    let text = secret.expose();
    text.chars().skip(text.chars().count().saturating_sub(4)).collect()
}

async fn find(db: &mut Connection, id: WebhookId) -> Result<Option<Webhook>, Fault> {
    let row: Option<WebhookRow> =
        sqlx::query_as(select_webhooks!("where w.id = $1")).bind(id.0).fetch_optional(db).await?;
    Ok(row.map(WebhookRow::into_webhook))
}
