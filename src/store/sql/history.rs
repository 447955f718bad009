//! The history of the connections' states.

use std::collections::BTreeSet;

use super::Backend;
use super::rows::TransitionRow;
use crate::ids::AppId;
use crate::status::Code;
use crate::store::Transition;
use crate::store::fault::Fault;

/// Rows kept an app.
const KEPT: i64 = 1000;

impl Backend {
    pub(super) async fn add_history(&self, transitions: &[Transition]) -> Result<(), Fault> {
        if transitions.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for transition in transitions {
            sqlx::query(
                "insert into transitions (app_id, n, at, from_state, to_state, code, generation, workspace_id) \
                 select $1, coalesce(max(n), 0) + 1, $2, $3, $4, $5, $6, $7 from transitions where app_id = $1",
            )
            .bind(transition.app.0)
            .bind(transition.at_ms)
            .bind(transition.from.as_str())
            .bind(transition.to.as_str())
            .bind(transition.code.map(Code::as_str))
            .bind(transition.generation.map(|generation| generation.0.cast_signed()))
            .bind(transition.workspace.map(|workspace| workspace.0))
            .execute(tx.db())
            .await?;
        }
        let apps: BTreeSet<AppId> = transitions.iter().map(|transition| transition.app).collect();
        for app in apps {
            sqlx::query(
                "delete from transitions where app_id = $1 \
                 and n <= (select max(n) from transitions where app_id = $1) - $2",
            )
            .bind(app.0)
            .bind(KEPT)
            .execute(tx.db())
            .await?;
        }
        tx.commit().await
    }

    pub(super) async fn read_history(
        &self,
        app: AppId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Transition)>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<TransitionRow> = sqlx::query_as(
            "select n, app_id, at, from_state, to_state, code, generation, workspace_id from transitions \
             where app_id = $1 and n < $2 order by n desc limit $3",
        )
        .bind(app.0)
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&mut *db)
        .await?;
        rows.into_iter().map(TransitionRow::into_transition).collect()
    }
}
