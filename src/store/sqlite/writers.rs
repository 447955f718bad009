//! Writers: one a process start, and how far each has settled.

use std::sync::atomic::Ordering;

use sqlx::SqliteConnection;

use super::SqliteStore;
use super::sql::note_late;
use crate::ids::{Seq, WriterId};
use crate::store::fault::{Fault, no_writer};
use crate::store::{StoreError, Writer};

impl SqliteStore {
    pub(super) async fn start_writer(&self, node: &str, now_ms: i64) -> Result<Writer, StoreError> {
        self.told(self.register(node, now_ms)).await
    }

    async fn register(&self, node: &str, now_ms: i64) -> Result<Writer, Fault> {
        let mut tx = self.write_side.begin().await?;
        let (last, owed): (i64, Option<i64>) = sqlx::query_as(
            "select max(coalesce((select max(seq) from events), 0), coalesce((select max(settled_to) from writers), 0)), \
             (select min(settled_to) from writers where ended_at is null)",
        )
        .fetch_one(tx.db())
        .await?;
        let settled_to = owed.unwrap_or(last);
        sqlx::query("update writers set ended_at = $1 where ended_at is null")
            .bind(now_ms)
            .execute(tx.db())
            .await?;
        let id = sqlx::query_scalar(
            "insert into writers (node, started_at, settled_to) values ($1, $2, $3) returning id",
        )
        .bind(node)
        .bind(now_ms)
        .bind(settled_to)
        .fetch_one(tx.db())
        .await?;
        note_late(tx.db(), settled_to, now_ms).await?;
        tx.commit().await?;
        self.writer.store(id, Ordering::Release);
        Ok(Writer { id: WriterId(id), number: 0, last: Seq(last), settled_to: Seq(settled_to) })
    }

    /// Only one writes a file, and this process holds its lock.
    pub(super) fn must_have_begun(&self, writer: WriterId) -> Result<(), Fault> {
        if self.writer.load(Ordering::Acquire) == writer.0 { Ok(()) } else { Err(no_writer(writer)) }
    }

    pub(super) async fn move_settled(
        &self,
        writer: WriterId,
        settled_to: Seq,
        ended_ms: Option<i64>,
    ) -> Result<(), Fault> {
        let mut tx = self.write_side.begin().await?;
        settle(tx.db(), writer, settled_to, ended_ms).await?;
        tx.commit().await
    }
}

/// Moves the writer's mark, only ever forward.
pub(super) async fn settle(
    db: &mut SqliteConnection,
    writer: WriterId,
    settled_to: Seq,
    ended_ms: Option<i64>,
) -> Result<(), Fault> {
    let done = sqlx::query(
        "update writers set settled_to = max(settled_to, $2), ended_at = coalesce($3, ended_at) where id = $1",
    )
    .bind(writer.0)
    .bind(settled_to.0)
    .bind(ended_ms)
    .execute(db)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(no_writer(writer))
}
