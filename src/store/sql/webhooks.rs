//! Who is told of changes.

use sqlx::FromRow;

use super::{Backend, Connection};
use crate::ids::WebhookId;
use crate::machine::notice::Topic;
use crate::secret::WebhookSecret;
use crate::store::fault::Fault;
use crate::store::vault::Place;
use crate::store::{StoreError, Webhook, WebhookSpec};

/// Selects [`WebhookRow`]s.
macro_rules! select_webhooks {
    ($rest:literal) => {
        concat!(
            "select w.id, w.url, w.topics, w.label_key, w.label_value, w.paused, w.last_error, w.last_error_at, ",
            "w.last_success_at, w.created_at, w.updated_at, ",
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
        now_ms: i64,
    ) -> Result<Webhook, Fault> {
        let mut tx = self.begin().await?;
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
        tx.commit().await?;
        Ok(webhook)
    }

    pub(super) async fn update_webhook(
        &self,
        id: WebhookId,
        spec: &WebhookSpec,
        now_ms: i64,
    ) -> Result<Option<Webhook>, Fault> {
        let mut tx = self.begin().await?;
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
        let webhook = find(tx.db(), id).await?;
        tx.commit().await?;
        Ok(webhook)
    }

    pub(super) async fn delete_webhook(&self, id: WebhookId) -> Result<bool, Fault> {
        let mut tx = self.begin().await?;
        sqlx::query("delete from notices where webhook_id = $1").bind(id.0).execute(tx.db()).await?;
        let done = sqlx::query("delete from webhooks where id = $1").bind(id.0).execute(tx.db()).await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn read_webhook_secret(&self, id: WebhookId) -> Result<Option<WebhookSecret>, Fault> {
        let mut db = self.reader().await?;
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("select secret_sealed from webhooks where id = $1")
            .bind(id.0)
            .fetch_optional(&mut *db)
            .await?
            .flatten();
        let Some(sealed) = sealed else { return Ok(None) };
        let text = secrecy::SecretString::from(self.vault.open_text(secret_place(id), sealed)?);
        let secret = WebhookSecret::parse(secrecy::ExposeSecret::expose_secret(&text))
            .ok_or_else(|| StoreError::Data(format!("webhooks.secret_sealed, row {id}: no secret")))?;
        Ok(Some(secret))
    }
}

async fn find(db: &mut Connection, id: WebhookId) -> Result<Option<Webhook>, Fault> {
    let row: Option<WebhookRow> =
        sqlx::query_as(select_webhooks!("where w.id = $1")).bind(id.0).fetch_optional(db).await?;
    Ok(row.map(WebhookRow::into_webhook))
}
