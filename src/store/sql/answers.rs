//! Answers to requests with an `Idempotency-Key`, sealed: one may hold a token's text.

use sqlx::FromRow;

use super::Backend;
use crate::store::accounts::{ANSWERS_KEPT_MS, AnswerKey, Place, Reserved, UNDER_WAY_MS};
use crate::store::fault::Fault;
use crate::store::vault;

/// Old answers go, so many at a time, one time a new one.
const STEP: i64 = 50;

#[derive(FromRow)]
struct AnswerRow {
    id: i64,
    request_digest: Vec<u8>,
    attempt: i64,
    at: i64,
    answer_sealed: Option<Vec<u8>>,
}

/// Where an answer is sealed.
const fn place_of(id: i64) -> vault::Place {
    vault::Place::new("answers", "answer_sealed", id)
}

impl Backend {
    pub(super) async fn reserve(&self, key: &AnswerKey, now_ms: i64) -> Result<Reserved, Fault> {
        let owner = key.owner.map_or(0, |owner| owner.0);
        let mut tx = self.begin().await?;
        sqlx::query(
            "delete from answers where id in (select id from answers where at < $1 order by at limit $2)",
        )
        .bind(now_ms.saturating_sub(ANSWERS_KEPT_MS))
        .bind(STEP)
        .execute(tx.db())
        .await?;
        let found: Option<AnswerRow> = sqlx::query_as(
            "select id, request_digest, attempt, at, answer_sealed from answers where owner = $1 and key_digest = $2",
        )
        .bind(owner)
        .bind(key.key.as_slice())
        .fetch_optional(tx.db())
        .await?;
        let reserved = match found {
            None => {
                let id = sqlx::query_scalar(
                    "insert into answers (owner, key_digest, request_digest, attempt, at) values ($1, $2, $3, 1, $4) \
                     returning id",
                )
                .bind(owner)
                .bind(key.key.as_slice())
                .bind(key.request.as_slice())
                .bind(now_ms)
                .fetch_one(tx.db())
                .await?;
                Reserved::Free(Place { id, attempt: 1 })
            }
            Some(row) => {
                let age = now_ms.saturating_sub(row.at);
                let is_over = age >= ANSWERS_KEPT_MS || (row.answer_sealed.is_none() && age >= UNDER_WAY_MS);
                match row.answer_sealed {
                    _ if is_over => {
                        let attempt = row.attempt + 1;
                        sqlx::query(
                            "update answers set request_digest = $2, attempt = $3, at = $4, answer_sealed = null where id = $1",
                        )
                        .bind(row.id)
                        .bind(key.request.as_slice())
                        .bind(attempt)
                        .bind(now_ms)
                        .execute(tx.db())
                        .await?;
                        Reserved::Free(Place { id: row.id, attempt })
                    }
                    _ if row.request_digest != key.request => Reserved::Other,
                    Some(sealed) => Reserved::Answered(self.vault.open(place_of(row.id), sealed)?),
                    None => Reserved::UnderWay,
                }
            }
        };
        tx.commit().await?;
        Ok(reserved)
    }

    pub(super) async fn keep_sealed(&self, place: Place, answer: &[u8]) -> Result<(), Fault> {
        let sealed = self.vault.seal(place_of(place.id), answer)?;
        let mut tx = self.begin().await?;
        sqlx::query("update answers set answer_sealed = $3 where id = $1 and attempt = $2")
            .bind(place.id)
            .bind(place.attempt)
            .bind(sealed)
            .execute(tx.db())
            .await?;
        tx.commit().await
    }

    pub(super) async fn release(&self, place: Place) -> Result<(), Fault> {
        let mut tx = self.begin().await?;
        sqlx::query("delete from answers where id = $1 and attempt = $2 and answer_sealed is null")
            .bind(place.id)
            .bind(place.attempt)
            .execute(tx.db())
            .await?;
        tx.commit().await
    }
}
