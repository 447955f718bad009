//! The history of the connections' states.

use serde_json::json;

use super::rows::TransitionRow;
use super::{Backend, Connection, json_elements};
use crate::ids::{AppId, WorkspaceId};
use crate::status::{Code, State};
use crate::store::Transition;
use crate::store::fault::Fault;

/// Rows kept an app.
const KEPT: i64 = 1000;

/// Between the lines that two nodes write of one change of a workspace, milliseconds at most: the look for changes, and their clocks.
const SAME_MS: i64 = 30_000;

/// Adds rows, given as a JSON array of arrays, numbered on from the last of their apps. One statement however many they are: each costs a
/// round trip, under the lock that all changes of all nodes take. What the last line of a workspace says, it is not told again within `$2`
/// milliseconds: every node sees what is stored of it.
const ADD: &str = concat!(
    "insert into transitions (app_id, n, at, from_state, to_state, code, generation, workspace_id) \
     select r.app_id, coalesce((select max(o.n) from transitions o where o.app_id = r.app_id), 0) + r.nth, \
     r.at, r.from_state, r.to_state, r.code, r.generation, r.workspace_id from (select app_id, \
     row_number() over (partition by app_id order by place) as nth, at, from_state, to_state, code, generation, workspace_id \
     from (select cast(value ->> 0 as bigint) as app_id, place, cast(value ->> 1 as bigint) as at, value ->> 2 as from_state, \
     value ->> 3 as to_state, value ->> 4 as code, cast(value ->> 5 as bigint) as generation, \
     cast(value ->> 6 as bigint) as workspace_id from ",
    json_elements!(),
    ") as v where not exists (select 1 from transitions l where l.app_id = v.app_id and l.workspace_id = v.workspace_id \
     and l.n = (select max(o.n) from transitions o where o.app_id = v.app_id and o.workspace_id = v.workspace_id) \
     and l.from_state = v.from_state and l.to_state = v.to_state and l.code is not distinct from v.code \
     and abs(v.at - l.at) < $2)) as r"
);

/// Of the apps of those rows, what is more than is kept (`$2`).
const DROP: &str = concat!(
    "with newest as materialized (select a.app_id, (select max(o.n) from transitions o where o.app_id = a.app_id) as n \
     from (select distinct cast(value ->> 0 as bigint) as app_id from ",
    json_elements!(),
    ") as a) delete from transitions where (app_id, n) in \
     (select t.app_id, t.n from newest join transitions t on t.app_id = newest.app_id and t.n <= newest.n - $2)"
);

/// What was done to a workspace and changes nothing in the state of its connection: a line that stays in it.
const STAYS: &str = "insert into transitions (app_id, n, at, from_state, to_state, code, generation, workspace_id) \
     select $1, l.n + 1, $2, l.state, l.state, $3, null, $4 from (select \
     coalesce((select max(n) from transitions where app_id = $1), 0) as n, coalesce((select to_state from transitions \
     where app_id = $1 and (workspace_id is null or workspace_id = $4) order by n desc limit 1), $5) as state) as l";

/// Adds a line about a workspace to the history, in the transaction of what it tells.
pub(super) async fn add_to_history(
    db: &mut Connection,
    app: AppId,
    workspace: WorkspaceId,
    code: Code,
    now_ms: i64,
) -> Result<(), Fault> {
    sqlx::query(STAYS)
        .bind(app.0)
        .bind(now_ms)
        .bind(code.as_str())
        .bind(workspace.0)
        .bind(State::Disconnected.as_str())
        .execute(db)
        .await?;
    Ok(())
}

impl Backend {
    pub(super) async fn add_history(&self, transitions: &[Transition]) -> Result<(), Fault> {
        if transitions.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = transitions
            .iter()
            .map(|one| {
                let generation = one.generation.map(|generation| generation.0.cast_signed());
                let code = one.code.map(Code::as_str);
                let workspace = one.workspace.map(|workspace| workspace.0);
                json!([one.app.0, one.at_ms, one.from.as_str(), one.to.as_str(), code, generation, workspace])
            })
            .collect();
        let rows = serde_json::Value::from(rows).to_string();
        let mut tx = self.begin().await?;
        sqlx::query(ADD).bind(&rows).bind(SAME_MS).execute(tx.db()).await?;
        sqlx::query(DROP).bind(&rows).bind(KEPT).execute(tx.db()).await?;
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
