//! What is still to be told, and what was.

use serde_json::Value;

use super::rows::{code_of, unknown};
use super::webhooks::topics;
use super::{Backend, Connection, incidents};
use crate::ids::{WebhookId, WorkspaceId};
use crate::machine::notice::{Told, Topic};
use crate::status::Code;
use crate::store::fault::Fault;
use crate::store::webhooks::{MOST_DEAD, MOST_WAITING};
use crate::store::{KeptNotice, Memory, NewNotice, Notice, Remember, Settled, WebhookSpec};

/// Under this id lies the open incident.
const INCIDENT: i64 = 0;

/// Selects [`KeptRow`]s.
macro_rules! select_kept {
    ($rest:literal) => {
        concat!(
            "select id, message_id, topic, dead, attempts, next_at, created_at, last_error from notices where ",
            $rest
        )
    };
}

type KeptRow = (i64, String, String, i64, i64, i64, i64, Option<String>);

fn kept((id, message_id, topic, dead, attempts, next_ms, created_ms, last_error): KeptRow) -> KeptNotice {
    let (is_dead, attempts) = (dead != 0, attempts.unsigned_abs());
    KeptNotice { id, message_id, topic, is_dead, attempts, next_ms, created_ms, last_error }
}

type SpecRow = (i64, String, Option<String>, Option<String>);

impl Backend {
    pub(super) async fn add_notices(
        &self,
        notices: &[NewNotice],
        remember: &[Remember],
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        let rows: Vec<SpecRow> =
            sqlx::query_as("select id, topics, label_key, label_value from webhooks order by id")
                .fetch_all(tx.db())
                .await?;
        let mut news = Vec::new();
        for notice in notices {
            if let Some(about) = &notice.about {
                if is_told(tx.db(), about.told).await? {
                    continue;
                }
                note(tx.db(), about.told, now_ms).await?;
                news.push((notice, incidents::keep(tx.db(), about, now_ms).await?));
            } else {
                news.push((notice, None));
            }
        }
        for (id, names, key, value) in rows {
            let topics = topics(&names);
            // Topics that only another version knows are none of these, which is not the same as all.
            if topics.is_empty() && !names.is_empty() {
                continue;
            }
            let spec = WebhookSpec { url: String::new(), topics, label: key.zip(value), is_paused: false };
            let mut is_full = false;
            for (notice, incident) in &news {
                if spec.wants(notice.topic, notice.labels.as_deref()) {
                    insert(tx.db(), id, notice, *incident, now_ms).await?;
                    is_full = true;
                }
            }
            if is_full {
                keep_bounds(tx.db(), id).await?;
            }
        }
        for one in remember {
            note(tx.db(), *one, now_ms).await?;
            if let Remember::Forget(workspace) = one {
                incidents::close_of(tx.db(), *workspace, now_ms).await?;
            }
        }
        tx.commit().await
    }

    pub(super) async fn first_notice(&self, webhook: WebhookId) -> Result<Option<Notice>, Fault> {
        let mut db = self.reader().await?;
        let row: Option<(i64, String, String, i64, i64, i64)> = sqlx::query_as(
            "select n.id, n.message_id, n.body, n.attempts, n.next_at, n.created_at \
             from notices n join webhooks w on w.id = n.webhook_id \
             where n.webhook_id = $1 and n.dead = 0 and w.paused = 0 order by n.next_at, n.id limit 1",
        )
        .bind(webhook.0)
        .fetch_optional(&mut *db)
        .await?;
        Ok(row.map(|(id, message_id, body, attempts, next_ms, created_ms)| Notice {
            id,
            message_id,
            body,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            next_ms,
            created_ms,
        }))
    }

    pub(super) async fn close_try(
        &self,
        webhook: WebhookId,
        notice: i64,
        settled: &Settled,
        status: Option<u16>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        let taken = i64::from(*settled == Settled::Taken);
        sqlx::query(
            "update webhooks set last_post_at = $2, last_post_status = $3, posts_taken = posts_taken + $4, \
             posts_refused = posts_refused + $5 where id = $1",
        )
        .bind(webhook.0)
        .bind(now_ms)
        .bind(status.map(i64::from))
        .bind(taken)
        .bind(1 - taken)
        .execute(tx.db())
        .await?;
        let (error, next_ms, dead) = match settled {
            Settled::Taken => {
                incidents::is_told(tx.db(), notice, now_ms).await?;
                sqlx::query("delete from notices where id = $1").bind(notice).execute(tx.db()).await?;
                sqlx::query("update webhooks set last_success_at = $2 where id = $1")
                    .bind(webhook.0)
                    .bind(now_ms)
                    .execute(tx.db())
                    .await?;
                return tx.commit().await;
            }
            Settled::Again(error, next_ms) => (error, *next_ms, 0_i64),
            Settled::Dead(error) => (error, now_ms, 1),
        };
        sqlx::query(
            "update notices set attempts = attempts + 1, next_at = $2, last_error = $3, dead = $4 where id = $1",
        )
        .bind(notice)
        .bind(next_ms)
        .bind(error)
        .bind(dead)
        .execute(tx.db())
        .await?;
        sqlx::query(
            "update webhooks set last_error = $2, last_error_at = $3, notices_given_up = notices_given_up + $4 \
             where id = $1",
        )
        .bind(webhook.0)
        .bind(error)
        .bind(now_ms)
        .bind(dead)
        .execute(tx.db())
        .await?;
        keep_bounds(tx.db(), webhook.0).await?;
        tx.commit().await
    }

    pub(super) async fn list_notices(
        &self,
        webhook: WebhookId,
        is_dead: Option<bool>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<KeptNotice>, Fault> {
        let rows: Vec<KeptRow> = sqlx::query_as(select_kept!(
            "webhook_id = $1 and id < $2 and (cast($3 as bigint) is null or dead = $3) order by id desc limit $4"
        ))
        .bind(webhook.0)
        .bind(before.unwrap_or(i64::MAX))
        .bind(is_dead.map(i64::from))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(rows.into_iter().map(kept).collect())
    }

    pub(super) async fn hurry_notice(
        &self,
        webhook: WebhookId,
        message_id: &str,
        now_ms: i64,
    ) -> Result<Option<KeptNotice>, Fault> {
        let mut tx = self.begin().await?;
        sqlx::query("update notices set dead = 0, next_at = $3 where webhook_id = $1 and message_id = $2")
            .bind(webhook.0)
            .bind(message_id)
            .bind(now_ms)
            .execute(tx.db())
            .await?;
        let row: Option<KeptRow> = sqlx::query_as(select_kept!("webhook_id = $1 and message_id = $2"))
            .bind(webhook.0)
            .bind(message_id)
            .fetch_optional(tx.db())
            .await?;
        tx.commit().await?;
        Ok(row.map(kept))
    }

    pub(super) async fn read_told(&self) -> Result<Memory, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<(i64, String, Option<String>, i64, i64)> =
            sqlx::query_as("select workspace_id, what, code, at, peak from told order by workspace_id")
                .fetch_all(&mut *db)
                .await?;
        let mut memory = Memory::default();
        for (id, what, code, at, peak) in rows {
            if id == INCIDENT {
                memory.incident = Some((at, usize::try_from(peak).unwrap_or(usize::MAX)));
                continue;
            }
            let code = code.map(|code| code_of("told.code", &code)).transpose()?;
            let told = match (what.as_str(), code) {
                ("ready", _) => Told::Ready,
                ("degraded", _) => Told::Degraded,
                ("failed", Some(code)) => Told::Failed(code),
                _ => return Err(unknown("told.what", &what)),
            };
            memory.told.push((WorkspaceId(id), told));
        }
        Ok(memory)
    }
}

async fn insert(
    db: &mut Connection,
    webhook: i64,
    notice: &NewNotice,
    incident: Option<i64>,
    now_ms: i64,
) -> Result<(), Fault> {
    sqlx::query(
        "insert into notices (webhook_id, message_id, topic, body, dead, attempts, next_at, created_at, incident_id) \
         values ($1, $2, $3, $4, 0, 0, $5, $5, $6)",
    )
    .bind(webhook)
    .bind(&notice.message_id)
    .bind(notice.topic.as_str())
    .bind(&notice.body)
    .bind(now_ms)
    .bind(incident)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes away what the webhook is told of no more, given up or not: who has it now may see less than who it was kept for. What waited
/// counts as given up.
pub(super) async fn drop_unwanted(
    db: &mut Connection,
    webhook: WebhookId,
    spec: &WebhookSpec,
) -> Result<(), Fault> {
    if spec.topics.is_empty() && spec.label.is_none() {
        return Ok(());
    }
    let rows: Vec<(i64, String, String, i64)> =
        sqlx::query_as("select id, topic, body, dead from notices where webhook_id = $1")
            .bind(webhook.0)
            .fetch_all(&mut *db)
            .await?;
    for (id, topic, body, dead) in rows {
        if Topic::parse(&topic).is_some_and(|topic| spec.wants(topic, labels_in(&body).as_deref())) {
            continue;
        }
        sqlx::query("delete from notices where id = $1").bind(id).execute(&mut *db).await?;
        sqlx::query("update webhooks set notices_given_up = notices_given_up + $2 where id = $1")
            .bind(webhook.0)
            .bind(i64::from(dead == 0))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// The labels of the workspace a notice is about, as its text tells them; none where it is about no workspace.
fn labels_in(body: &str) -> Option<Vec<(String, String)>> {
    let body: Value = serde_json::from_str(body).ok()?;
    let labels = body.get("data")?.get("labels")?.as_object()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(labels.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

/// Of too many that wait the oldest are given up; of too many that were given up the oldest go.
async fn keep_bounds(db: &mut Connection, webhook: i64) -> Result<(), Fault> {
    let given_up = sqlx::query(
        "update notices set dead = 1, last_error = 'too many notices wait for this webhook' \
         where webhook_id = $1 and dead = 0 and id <= \
         (select id from notices where webhook_id = $1 and dead = 0 order by id desc limit 1 offset $2)",
    )
    .bind(webhook)
    .bind(MOST_WAITING)
    .execute(&mut *db)
    .await?
    .rows_affected();
    if given_up > 0 {
        sqlx::query("update webhooks set notices_given_up = notices_given_up + $2 where id = $1")
            .bind(webhook)
            .bind(i64::try_from(given_up).unwrap_or(i64::MAX))
            .execute(&mut *db)
            .await?;
    }
    sqlx::query(
        "delete from notices where webhook_id = $1 and dead = 1 and id <= \
         (select id from notices where webhook_id = $1 and dead = 1 order by id desc limit 1 offset $2)",
    )
    .bind(webhook)
    .bind(MOST_DEAD)
    .execute(db)
    .await?;
    Ok(())
}

/// Has this been told? By another node, which sees the same of Slack as this one, or by a first try of which nobody learnt that it came in.
async fn is_told(db: &mut Connection, told: Remember) -> Result<bool, Fault> {
    let (id, row) = row_of(told, 0);
    let there: Option<(String, Option<String>)> =
        sqlx::query_as("select what, code from told where workspace_id = $1")
            .bind(id)
            .fetch_optional(db)
            .await?;
    Ok(there == row.map(|(what, code, ..)| (what.to_owned(), code.map(str::to_owned))))
}

type ToldRow = (&'static str, Option<&'static str>, i64, i64);

/// Under which id it is remembered, and as what.
fn row_of(remember: Remember, now_ms: i64) -> (i64, Option<ToldRow>) {
    match remember {
        Remember::Told(workspace, Told::Ready) => (workspace.0, Some(("ready", None, now_ms, 0))),
        Remember::Told(workspace, Told::Degraded) => (workspace.0, Some(("degraded", None, now_ms, 0))),
        Remember::Told(workspace, Told::Failed(code)) => {
            (workspace.0, Some(("failed", Some(Code::as_str(code)), now_ms, 0)))
        }
        Remember::Forget(workspace) => (workspace.0, None),
        Remember::Incident(since_ms, peak) => {
            (INCIDENT, Some(("incident", None, since_ms, i64::try_from(peak).unwrap_or(i64::MAX))))
        }
        Remember::NoIncident => (INCIDENT, None),
    }
}

async fn note(db: &mut Connection, remember: Remember, now_ms: i64) -> Result<(), Fault> {
    let (id, row) = row_of(remember, now_ms);
    sqlx::query("delete from told where workspace_id = $1").bind(id).execute(&mut *db).await?;
    if let Some((what, code, at, peak)) = row {
        sqlx::query("insert into told (workspace_id, what, code, at, peak) values ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(what)
            .bind(code)
            .bind(at)
            .bind(peak)
            .execute(db)
            .await?;
    }
    Ok(())
}
