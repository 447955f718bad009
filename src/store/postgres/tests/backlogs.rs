//! Backlogs of others: none is in the way of who looks for their own.

use std::collections::HashSet;

use super::super::session;
use super::super::sql::{deliveries, owed};
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

/// Rows that have come since a plan was made.
const COME: i64 = 100_000;

#[tokio::test]
async fn what_is_looked_for_by_its_key_is_found_by_it_though_the_tables_were_empty_when_the_plan_was_made() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let writer = store.begin_writer("one", 1).await.unwrap().id;
    store.append(writer, &[event(1, "k1", "the day's partition")], Seq(0)).await.unwrap();
    // Set up as a session of the node's.
    let db = &mut session::writer(&store.options, &store.database).await.unwrap();
    db.execute("analyze deliveries").await.unwrap();
    db.execute("analyze events").await.unwrap();
    let these = "'[[70000, 1, 1], [70001, 1, 1]]'";
    let seqs = format!("'[70000, 70001]', 1, {COME}");
    let looks = [
        ("done", deliveries::DONE, format!("{these}, 1")),
        ("done at once", deliveries::DONE_AT_ONCE, these.to_owned()),
        ("sizes", owed::SIZES, seqs.clone()),
        ("events", owed::EVENTS, seqs),
    ];
    for (number, (_, statement, values)) in looks.iter().enumerate() {
        plan(db, &format!("look{number}"), statement).await;
        pages_of(db, &format!("look{number}"), values).await;
    }
    for table in [
        format!(
            "insert into deliveries (seq, handler_id, run, writer, app_id, workspace_id, status, attempts, next_at, created_at, updated_at) \
             select n, 1, 1, {writer}, 1, 7, 'waiting', 0, 5, 1, 1 from generate_series(2, {COME}) as n",
            writer = writer.0
        ),
        format!(
            "insert into events (seq, writer, app_id, kind, type, slack_id, dedupe, retry, at, bytes) \
             select n, {writer}, 1, 'events_api', 'message', '', decode(lpad(to_hex(n), 32, '0'), 'hex'), 0, 1, 1 \
             from generate_series(2, {COME}) as n",
            writer = writer.0
        ),
        format!(
            "insert into payloads (seq, payload_sealed) select n, '' from generate_series(2, {COME}) as n"
        ),
    ] {
        db.execute(AssertSqlSafe(table)).await.unwrap();
    }
    for (number, (what, _, values)) in looks.iter().enumerate() {
        let pages = pages_of(db, &format!("look{number}"), values).await;
        assert!(pages < FEW, "{what}: {pages} pages");
    }
    store.close().await;
}

/// Pages that a statement with these values touches.
async fn pages(db: &mut PgConnection, statement: &str, values: &str) -> i64 {
    db.execute("deallocate all").await.unwrap();
    plan(db, "look", statement).await;
    pages_of(db, "look", values).await
}

/// Has a plan made that knows no values, as after the fifth time.
async fn plan(db: &mut PgConnection, name: &str, statement: &str) {
    db.execute(AssertSqlSafe(format!(
        "set plan_cache_mode = force_generic_plan; prepare {name} as {statement}"
    )))
    .await
    .unwrap();
}

async fn pages_of(db: &mut PgConnection, name: &str, values: &str) -> i64 {
    let explained = format!("explain (analyze, buffers, format json) execute {name}({values})");
    let plan: serde_json::Value =
        sqlx::query_scalar(AssertSqlSafe(explained)).persistent(false).fetch_one(db).await.unwrap();
    let of = |name: &str| plan[0]["Plan"][name].as_i64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}
