//! Backlogs of others: none is in the way of who looks for their own.

use std::collections::HashSet;

use super::super::sql::owed;
use super::*;
use crate::ids::WorkspaceId;
use crate::store::{
    Archive as _, Deliveries as _, DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Lane, Wanted,
};

/// Deliveries of another writer, in the same lane.
const OTHERS: i64 = 300_000;

/// Pages of a database that one look may touch: some of an index for each writer, and those of what is found.
const FEW: i64 = 60;

#[tokio::test]
async fn what_waits_for_another_node_is_not_looked_through() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let ours = one.begin_writer("one", 1).await.unwrap().id;
    let others = two.begin_writer("two", 1).await.unwrap().id;
    let log = one.declare_handlers(&["log"], 1).await.unwrap()[0].id;
    for seq in [1, OTHERS + 10] {
        one.append(ours, &[event(seq, &format!("k{seq}"), "ours")], Seq(0)).await.unwrap();
    }
    let row = |seq, status| DeliveryRow {
        id: DeliveryId { seq: Seq(seq), handler: log, run: 1 },
        lane: Lane { app: AppId(1), workspace: Some(WorkspaceId(7)) },
        status,
        attempts: 0,
        next_ms: seq,
        order_key: Some(1),
        hold_until_ms: (status == DeliveryStatus::Retrying).then_some(i64::MAX),
        last_error: None,
        created_ms: 1,
        updated_ms: 1,
    };
    let last = OTHERS + 10;
    let changes = [row(1, DeliveryStatus::Waiting), row(last, DeliveryStatus::Waiting)];
    one.write_deliveries(ours, &changes.map(DeliveryChange::Owed), 1).await.unwrap();
    let mut db = place.connect().await;
    db.execute("set search_path = tautline").await.unwrap();
    for (status, first) in [("waiting", 2), ("retrying", OTHERS + 100)] {
        let sql = format!(
            "insert into deliveries (seq, handler_id, run, writer, app_id, workspace_id, status, attempts, next_at, order_key, hold_until, \
             created_at, updated_at) select n, {log}, 1, {others}, 1, 7, '{status}', 0, 5, 1, case when '{status}' = 'retrying' then {max} end, \
             1, 1 from generate_series({first}, {first} + {OTHERS} - 1) as n on conflict do nothing",
            max = i64::MAX,
        );
        db.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    // Neither what is known of the tables nor that nothing is may lead astray.
    for analyze in ["select 1", "vacuum analyze deliveries"] {
        db.execute(analyze).await.unwrap();
        let (writer, handler) = (ours.0, log.0);
        let all = i64::MAX;
        for (what, statement, values) in [
            ("waiting", owed::WAITING, format!("{writer}, {handler}, 1, 7, '[]', '[]', 100")),
            ("due", owed::DUE, format!("{writer}, {handler}, {all}, 100, '[]'")),
            ("holding", owed::HOLDERS, format!("{writer}, 1, {all}")),
            ("line", owed::NEXT_LINE, format!("{handler}, 1, 7, {writer}")),
        ] {
            let pages = pages(&mut db, statement, &values).await;
            assert!(pages < FEW, "{what} after {analyze}: {pages} pages");
        }
    }
    let wanted = Wanted {
        handler: log,
        lane: Lane { app: AppId(1), workspace: Some(WorkspaceId(7)) },
        held: &[],
        here: &[],
        limit: 10,
        max_bytes: usize::MAX,
    };
    let read = one.read_waiting(wanted).await.unwrap();
    assert_eq!(read.iter().map(|owed| owed.row.id.seq.0).collect::<Vec<_>>(), [1, last]);
    assert_eq!(one.read_due(log, &HashSet::new(), &[], 10, i64::MAX).await.unwrap().len(), 0);
    assert_eq!(one.holders(1).await.unwrap(), []);
    let burden = one.burdens(1_000_000).await.unwrap().remove(0);
    assert_eq!((burden.waiting, burden.retrying), (300_002, 300_000), "what all owe is counted");
    assert_eq!(burden.oldest, Some(Seq(1)));
    one.close().await;
    two.close().await;
}

/// Pages that a statement with these values touches.
async fn pages(db: &mut PgConnection, statement: &str, values: &str) -> i64 {
    // The planner knows no values, as after the fifth time.
    db.execute(AssertSqlSafe(format!(
        "set plan_cache_mode = force_generic_plan; deallocate all; prepare look as {statement}"
    )))
    .await
    .unwrap();
    let explained = format!("explain (analyze, buffers, format json) execute look({values})");
    let plan: serde_json::Value =
        sqlx::query_scalar(AssertSqlSafe(explained)).persistent(false).fetch_one(db).await.unwrap();
    let of = |name: &str| plan[0]["Plan"][name].as_i64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}
