//! Promises about what handlers owe.

use std::collections::HashSet;

use super::{Ground, behind, event, put, spec, writer};
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId};
use crate::status::Code;
use crate::store::{
    Change, DeliveryChange, DeliveryId, DeliveryMode, DeliveryRow, DeliveryStatus, Lane, Owed, Store,
    StoreError, Wanted, WorkspaceSpec,
};

use DeliveryChange::{Done, Owed as Owe, Tried};

const LANE: Lane = Lane { app: AppId(1), workspace: Some(WorkspaceId(7)) };

fn row(seq: i64, handler: HandlerId) -> DeliveryRow {
    DeliveryRow {
        id: DeliveryId { seq: Seq(seq), handler, run: 1 },
        lane: LANE,
        status: DeliveryStatus::Waiting,
        attempts: 0,
        next_ms: 0,
        order_key: None,
        hold_until_ms: None,
        last_error: None,
        created_ms: 5,
        updated_ms: 5,
    }
}

fn failed(seq: i64, handler: HandlerId, next_ms: i64) -> DeliveryRow {
    let (status, last_error) = (DeliveryStatus::Retrying, Some("busy \0 'quoted'".to_owned()));
    DeliveryRow { status, attempts: 1, next_ms, last_error, updated_ms: 6, ..row(seq, handler) }
}

async fn handler(store: &dyn Store) -> HandlerId {
    store.declare_handlers(&["log"], 1).await.unwrap().first().unwrap().id
}

/// All that waits in the lane, but for these keys.
async fn waiting(store: &dyn Store, handler: HandlerId, held: &[i64], here: &[Seq]) -> Vec<i64> {
    let wanted = Wanted { handler, lane: LANE, held, here, limit: 100, max_bytes: usize::MAX };
    seqs(&store.read_waiting(wanted).await.unwrap())
}

async fn due(store: &dyn Store, handler: HandlerId, now_ms: i64) -> Vec<i64> {
    seqs(&store.read_due(handler, &HashSet::new(), &[], 100, now_ms).await.unwrap())
}

fn seqs(owed: &[Owed]) -> Vec<i64> {
    owed.iter().map(|owed| owed.row.id.seq.0).collect()
}

pub(in crate::store) async fn a_handler_is_known_by_the_same_id_for_ever_and_can_be_paused(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let first = store.declare_handlers(&["log", "echo"], 1).await.unwrap();
    assert_eq!(
        store.declare_handlers(&["echo", "log"], 2).await.unwrap(),
        [first[1].clone(), first[0].clone()]
    );
    assert!(store.pause_handler("echo", Some(9)).await.unwrap());
    assert!(!store.pause_handler("nobody", Some(9)).await.unwrap());
    store.close().await;
    let store = ground.open().await;
    let paused = store.paused().await.unwrap();
    assert_eq!((paused.handlers, paused.workspaces), (vec![first[1].id], vec![]));
    let known = store.handlers().await.unwrap();
    let shown: Vec<_> = known.iter().map(|one| (one.name.as_str(), one.paused_ms)).collect();
    assert_eq!(shown, [("echo", Some(9)), ("log", None)]);
    store.close().await;
}

pub(in crate::store) async fn what_is_owed_waits_in_its_lane_in_order_until_it_is_done(ground: &impl Ground) {
    let store = ground.open().await;
    let (writer, log) = (writer(&*store).await, handler(&*store).await);
    let group = [event(1, "a", "1"), event(2, "b", "2"), event(3, "c", "3")];
    store.append(writer, &group, Seq(0)).await.unwrap();
    let owed = [Owe(row(3, log)), Owe(row(1, log)), Owe(row(2, log))];
    store.write_deliveries(writer, &owed, 5).await.unwrap();
    store.write_deliveries(writer, &owed, 5).await.unwrap();
    assert_eq!(waiting(&*store, log, &[], &[]).await, [1, 2, 3]);
    assert_eq!(waiting(&*store, log, &[], &[Seq(1), Seq(3)]).await, [2], "those here are passed over");
    let lanes = store.backlogs(None, 100).await.unwrap();
    assert_eq!(
        lanes.iter().map(|one| (one.handler, one.lane, one.oldest)).collect::<Vec<_>>(),
        [(log, LANE, Seq(1))]
    );
    store.write_deliveries(writer, &[Done(row(1, log).id)], 6).await.unwrap();
    store.write_deliveries(writer, &[Done(row(1, log).id)], 6).await.unwrap();
    assert_eq!(waiting(&*store, log, &[], &[]).await, [2, 3]);
    let wanted = Wanted { handler: log, lane: LANE, held: &[], here: &[], limit: 100, max_bytes: 1 };
    let read = store.read_waiting(wanted).await.unwrap();
    assert_eq!(read.len(), 1, "the bytes are bounded, but for the first");
    assert_eq!(&*read[0].event.as_ref().unwrap().payload, "2");
    assert_eq!(read[0].row, row(2, log));
    assert_eq!(store.rows_above(behind(2), 100).await.unwrap(), [row(3, log).id]);
    store.close().await;
}

pub(in crate::store) async fn what_failed_is_due_when_its_time_has_come_and_its_end_is_kept(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (writer, log) = (writer(&*store).await, handler(&*store).await);
    store.append(writer, &[event(1, "a", "1"), event(2, "b", "2")], Seq(0)).await.unwrap();
    // The second was never written down before it failed.
    let changes =
        [Owe(row(1, log)), Tried(failed(1, log, 90)), Tried(failed(1, log, 100)), Tried(failed(2, log, 50))];
    store.write_deliveries(writer, &changes, 6).await.unwrap();
    assert_eq!(waiting(&*store, log, &[], &[]).await, [0; 0]);
    assert_eq!(due(&*store, log, 99).await, [2]);
    assert_eq!(due(&*store, log, 100).await, [2, 1], "those due first come first");
    let read = store.read_due(log, &HashSet::from([row(2, log).id]), &[], 1, 100).await.unwrap();
    assert_eq!(seqs(&read), [1], "those here are passed over and take no place");
    assert_eq!(read[0].row.last_error.as_deref(), Some("busy  'quoted'"));
    let dead = DeliveryRow { status: DeliveryStatus::Dead, attempts: 2, ..failed(2, log, 0) };
    store.write_deliveries(writer, &[Done(row(1, log).id), Tried(dead)], 7).await.unwrap();
    assert_eq!(due(&*store, log, 1000).await, [0; 0]);
    assert_eq!(
        store.rows_above(behind(0), 100).await.unwrap().len(),
        2,
        "what has a history stays to be seen"
    );
    store.write_deliveries(writer, &[Tried(failed(1, log, 1)), Tried(failed(2, log, 1))], 8).await.unwrap();
    assert_eq!(due(&*store, log, 1000).await, [0; 0], "what has ended has ended");
    store.close().await;
}

pub(in crate::store) async fn what_a_clock_that_was_ahead_put_off_is_due_when_it_is_hurried(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (writer, log) = (writer(&*store).await, handler(&*store).await);
    store
        .append(writer, &[event(1, "a", "1"), event(2, "b", "2"), event(3, "c", "3")], Seq(0))
        .await
        .unwrap();
    let ahead = DeliveryRow { updated_ms: 50, ..failed(1, log, 90) };
    let changes = [Tried(ahead), Tried(failed(2, log, 90)), Owe(row(3, log))];
    store.write_deliveries(writer, &changes, 6).await.unwrap();
    assert_eq!(store.hurry(49).await, Ok(1));
    assert_eq!(store.hurry(49).await, Ok(0), "once");
    assert_eq!(due(&*store, log, 49).await, [1], "what was written before waits for its time");
    assert_eq!(waiting(&*store, log, &[], &[]).await, [3]);
    store.close().await;
}

pub(in crate::store) async fn a_key_that_is_held_holds_up_its_own_alone(ground: &impl Ground) {
    let store = ground.open().await;
    let (writer, log) = (writer(&*store).await, handler(&*store).await);
    let group = [event(1, "a", "1"), event(2, "b", "2"), event(3, "c", "3"), event(4, "d", "4")];
    store.append(writer, &group, Seq(0)).await.unwrap();
    let keyed = |seq, key| Owe(DeliveryRow { order_key: Some(key), ..row(seq, log) });
    let holder = DeliveryRow { order_key: Some(-7), hold_until_ms: Some(500), ..failed(1, log, 100) };
    let changes = [Tried(holder.clone()), keyed(2, -7), keyed(3, 8), Owe(row(4, log))];
    store.write_deliveries(writer, &changes, 6).await.unwrap();
    assert_eq!(waiting(&*store, log, &[-7], &[]).await, [3, 4]);
    assert_eq!(waiting(&*store, log, &[], &[]).await, [2, 3, 4]);
    let holders = store.holders(499).await.unwrap();
    assert_eq!(
        holders.iter().map(|row| (row.id, row.order_key)).collect::<Vec<_>>(),
        [(holder.id, Some(-7))]
    );
    assert_eq!(store.holders(500).await.unwrap(), []);
    store.close().await;
}

pub(in crate::store) async fn an_owed_event_that_is_gone_is_told_and_one_that_wants_a_key_waits(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (writer, log) = (writer(&*store).await, handler(&*store).await);
    store.append(writer, &[event(2, "b", "2")], Seq(0)).await.unwrap();
    store.write_deliveries(writer, &[Owe(row(1, log)), Owe(row(2, log))], 5).await.unwrap();
    let wanted = Wanted { handler: log, lane: LANE, held: &[], here: &[], limit: 9, max_bytes: 1000 };
    let read = store.read_waiting(wanted).await.unwrap();
    let there: Vec<_> = read.iter().map(|owed| owed.event.is_some()).collect();
    assert_eq!(there, [false, true]);
    store.close().await;
}

pub(in crate::store) async fn what_is_owed_is_there_after_reopening(ground: &impl Ground) {
    let store = ground.open().await;
    let (first, log) = (writer(&*store).await, handler(&*store).await);
    store.append(first, &[event(1, "a", "1"), event(2, "b", "2")], Seq(0)).await.unwrap();
    store.write_deliveries(first, &[Owe(row(1, log)), Tried(failed(2, log, 100))], 5).await.unwrap();
    store.end_writer(first, Seq(2), 7).await.unwrap();
    store.close().await;
    let store = ground.open().await;
    let _second = writer(&*store).await;
    assert_eq!(waiting(&*store, log, &[], &[]).await, [1]);
    assert_eq!(due(&*store, log, 100).await, [2]);
    assert_eq!(store.backlogs(None, 100).await.unwrap().len(), 1);
    store.close().await;
    let closed = store.write_deliveries(first, &[Done(row(1, log).id)], 8).await;
    assert!(matches!(closed, Err(StoreError::Unavailable(_))), "{closed:?}");
}

pub(in crate::store) async fn a_workspace_is_paused_until_it_is_resumed_and_its_history_tells(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let off = WorkspaceSpec { delivery: DeliveryMode::Paused, ..spec("xapp-acme") };
    let acme = put(&*store, "acme", &off, 5).await.workspace;
    put(&*store, "other", &spec("xapp-other"), 5).await;
    assert_eq!(acme.delivery, DeliveryMode::Paused);
    assert_eq!(store.paused().await.unwrap().workspaces, [acme.id]);
    assert_eq!(put(&*store, "acme", &off, 6).await.change, Change::Unchanged);
    let on = put(&*store, "acme", &spec("xapp-acme"), 7).await;
    assert_eq!((on.change, on.workspace.delivery), (Change::Updated, DeliveryMode::Active));
    assert_eq!(store.paused().await.unwrap().workspaces, []);
    let lines = store.history(acme.app, None, 10).await.unwrap();
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| (line.at_ms, line.workspace, line.code)).collect();
    let of = Some(acme.id);
    assert_eq!(lines, [(7, of, Some(Code::Resumed)), (5, of, Some(Code::Paused))]);
    store.close().await;
}
