//! Old events go a few at a time, the oldest first: a delete of many would hold up the journal, which writes by the same connection.
//! The file keeps its size; the room is used again.

use super::SqliteStore;
use crate::machine::seq::first_at;
use crate::store::StoreError;
use crate::store::fault::Fault;

impl SqliteStore {
    pub(super) async fn delete_old(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.told(self.delete_some(before_ms, limit)).await
    }

    /// As far as all is handled and all keys are forgotten.
    async fn delete_some(&self, before_ms: i64, limit: u32) -> Result<u64, Fault> {
        let mut tx = self.begin().await?;
        let to: Option<i64> = sqlx::query_scalar(
            "select max(seq) from (select seq from events where seq < $1 \
             and seq <= coalesce((select value from meta where name = 'seen_forgotten_to'), 0) \
             and seq <= coalesce((select min(settled_to) from writers where ended_at is null), $1) order by seq limit $2)",
        )
        .bind(first_at(before_ms).0)
        .bind(limit)
        .fetch_one(tx.db())
        .await?;
        let Some(to) = to else {
            tx.commit().await?;
            return Ok(0);
        };
        sqlx::query("delete from payloads where seq <= $1").bind(to).execute(tx.db()).await?;
        let gone = sqlx::query("delete from events where seq <= $1").bind(to).execute(tx.db()).await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }
}
