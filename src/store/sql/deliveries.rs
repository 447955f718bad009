//! What is owed, on its way in: all changes of a group in one transaction, by a statement for each kind.

use serde_json::{Value, json};

use super::{Backend, Connection, json_elements, keyed_by};
use crate::ids::WriterId;
use crate::store::fault::Fault;
use crate::store::{DeliveryChange, DeliveryId, DeliveryRow};

/// Rows given as arrays of their columns.
macro_rules! insert {
    ($on_conflict:literal) => {
        concat!(
            "insert into deliveries (seq, handler_id, run, writer, app_id, workspace_id, status, attempts, next_at, order_key, \
             hold_until, last_error, created_at, updated_at) \
             select cast(e.value->>0 as bigint), cast(e.value->>1 as bigint), cast(e.value->>2 as bigint), cast(e.value->>3 as bigint), \
             cast(e.value->>4 as bigint), cast(e.value->>5 as bigint), e.value->>6, cast(e.value->>7 as bigint), \
             cast(e.value->>8 as bigint), cast(e.value->>9 as bigint), cast(e.value->>10 as bigint), e.value->>11, \
             cast(e.value->>12 as bigint), cast(e.value->>13 as bigint) from ",
            json_elements!(),
            " where true on conflict (seq, handler_id, run) do ",
            $on_conflict
        )
    };
}

/// Deliveries given as arrays of seq, handler and run, as a query.
macro_rules! these {
    () => {
        concat!(
            "select cast(e.value->>0 as bigint) as seq, cast(e.value->>1 as bigint) as handler_id, cast(e.value->>2 as bigint) as run from ",
            json_elements!()
        )
    };
}

const OWED: &str = insert!("nothing");

/// What has ended meanwhile stays as it ended.
const TRIED: &str = insert!(
    "update set writer = excluded.writer, status = excluded.status, attempts = excluded.attempts, next_at = excluded.next_at, \
     hold_until = excluded.hold_until, last_error = excluded.last_error, updated_at = excluded.updated_at \
     where deliveries.status in ('waiting', 'retrying')"
);

/// One that has a history is kept to be seen.
pub(in crate::store) const DONE: &str = concat!(
    "update deliveries set status = 'done', attempts = attempts + 1, hold_until = null, updated_at = $2 \
     where (attempts > 0 or run > 1 or last_error is not null) and status in ('waiting', 'retrying') and ",
    keyed_by!(these!())
);

pub(in crate::store) const DONE_AT_ONCE: &str = concat!(
    "delete from deliveries where attempts = 0 and run = 1 and last_error is null and ",
    keyed_by!(these!())
);

impl Backend {
    pub(super) async fn write_owed(
        &self,
        writer: WriterId,
        changes: &[DeliveryChange],
        now_ms: i64,
    ) -> Result<(), Fault> {
        let writer = self.stored_as(writer);
        let mut group = Group::default();
        for change in changes {
            match change {
                DeliveryChange::Owed(row) => group.owed.push(columns(writer, row)),
                DeliveryChange::Tried(row) => group.tried.push((row.id, columns(writer, row))),
                DeliveryChange::Done(id) => group.done.push(json!([id.seq.0, id.handler.0, id.run])),
            }
        }
        let mut tx = self.begin_owed().await?;
        group.write(tx.db(), now_ms).await?;
        tx.commit().await
    }
}

/// Changes by their kind: what is owed comes before what was tried of it, and that before its end.
#[derive(Default)]
struct Group {
    owed: Vec<Value>,
    tried: Vec<(DeliveryId, Value)>,
    done: Vec<Value>,
}

impl Group {
    async fn write(mut self, db: &mut Connection, now_ms: i64) -> Result<(), Fault> {
        if !self.owed.is_empty() {
            sqlx::query(OWED).bind(text(self.owed)).execute(&mut *db).await?;
        }
        if !self.tried.is_empty() {
            // A statement changes no row twice: the last word counts.
            self.tried.reverse();
            self.tried.sort_by_key(|(id, _)| *id);
            self.tried.dedup_by_key(|(id, _)| *id);
            let rows = self.tried.into_iter().map(|(_, row)| row).collect();
            sqlx::query(TRIED).bind(text(rows)).execute(&mut *db).await?;
        }
        if !self.done.is_empty() {
            let done = text(self.done);
            sqlx::query(DONE).bind(&done).bind(now_ms).execute(&mut *db).await?;
            sqlx::query(DONE_AT_ONCE).bind(&done).execute(db).await?;
        }
        Ok(())
    }
}

fn text(rows: Vec<Value>) -> String {
    Value::Array(rows).to_string()
}

fn columns(writer: WriterId, row: &DeliveryRow) -> Value {
    // No text of Postgres's holds a NUL.
    let error = row.last_error.as_ref().map(|error| error.replace('\0', ""));
    json!([
        row.id.seq.0,
        row.id.handler.0,
        row.id.run,
        writer.0,
        row.lane.app.0,
        row.lane.workspace.map_or(0, |workspace| workspace.0),
        row.status.as_str(),
        row.attempts,
        row.next_ms,
        row.order_key,
        row.hold_until_ms,
        error,
        row.created_ms,
        row.updated_ms,
    ])
}
