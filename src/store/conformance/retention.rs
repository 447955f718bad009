//! Promises about what goes, and what stays all the same.

use std::collections::HashSet;

use std::sync::Arc;

use super::{Ground, behind, event, name, put, spec, writer};
use crate::event::Event;
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId};
use crate::machine::seq::first_at;
use crate::store::{
    DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, LATE, Lane, Step, Store, StoreError, When,
};

use DeliveryChange::{Done, Owed as Owe, Tried};

const FIRST_MS: i64 = 1_600_000_000_000;
const DAY_MS: i64 = 86_400_000;
/// Long after all of it.
const LATER_MS: i64 = FIRST_MS + 20 * DAY_MS;

pub(in crate::store) async fn payloads_go_before_their_events_and_never_what_is_still_owed(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (ours, log) = (writer(&*store).await, handler(&*store).await);
    let days: Vec<_> = (0..4).map(|day| on(day, None, &format!("day {day}"))).collect();
    store.append(ours, &days, Seq(0)).await.unwrap();
    assert_eq!(drain(async || store.delete_payloads(LATER_MS, 2).await).await, 0, "nobody has handled them");
    store.write_deliveries(ours, &[Owe(owed(&days[1], log))], 5).await.unwrap();
    store.settle(ours, days[3].seq).await.unwrap();
    assert_eq!(drain(async || store.delete_payloads(FIRST_MS, 2).await).await, 0, "none is older");
    let before_last = FIRST_MS + 3 * DAY_MS;
    assert_eq!(drain(async || store.delete_payloads(before_last, 1).await).await, 2);
    assert_eq!(payloads(&*store).await, ["day 1", "day 3"], "one is owed, one is young");
    store.write_deliveries(ours, &[Done(owed(&days[1], log).id)], 6).await.unwrap();
    assert_eq!(drain(async || store.delete_payloads(before_last, 1).await).await, 1);
    assert_eq!(payloads(&*store).await, ["day 3"]);
    store.forget_seen(LATER_MS, 100).await.unwrap();
    assert_eq!(
        drain(async || store.delete_events(LATER_MS, 100).await).await,
        4,
        "what is left of them goes"
    );
    store.close().await;
}

pub(in crate::store) async fn old_events_go_with_what_became_of_their_deliveries_and_never_what_is_still_owed(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (ours, log) = (writer(&*store).await, handler(&*store).await);
    let days: Vec<_> = (0..4).map(|day| on(day, None, &format!("day {day}"))).collect();
    store.append(ours, &days, Seq(0)).await.unwrap();
    let dead = DeliveryRow { status: DeliveryStatus::Dead, attempts: 3, ..owed(&days[0], log) };
    let retrying = DeliveryRow { status: DeliveryStatus::Retrying, attempts: 1, ..owed(&days[2], log) };
    let rows = [Tried(dead), Owe(owed(&days[1], log)), Tried(retrying)];
    store.write_deliveries(ours, &rows, 5).await.unwrap();
    store.settle(ours, days[3].seq).await.unwrap();
    store.forget_seen(LATER_MS, 100).await.unwrap();
    assert_eq!(drain(async || store.delete_events(LATER_MS, 1).await).await, 2);
    assert_eq!(payloads(&*store).await, ["day 1", "day 2"], "each is owed, one by one");
    assert_eq!(
        rows_left(&*store).await,
        [days[1].seq, days[2].seq],
        "the dead one's row went with its event"
    );
    store.write_deliveries(ours, &[1, 2].map(|day| Done(owed(&days[day], log).id)), 6).await.unwrap();
    assert_eq!(drain(async || store.delete_events(LATER_MS, 1).await).await, 2);
    assert_eq!(rows_left(&*store).await, []);
    store.close().await;
}

pub(in crate::store) async fn the_oldest_payloads_go_while_there_are_too_many_bytes_of_them(
    ground: &impl Ground,
) {
    const MOST: u64 = 2_600_000;
    let store = ground.open().await;
    let (ours, log) = (writer(&*store).await, handler(&*store).await);
    let large = |day: i64| on(day, None, &day.to_string().repeat(1_000_000));
    let days: Vec<_> = (0..4).map(large).collect();
    store.append(ours, &days, days[3].seq).await.unwrap();
    store.settle(ours, days[3].seq).await.unwrap();
    assert_eq!(drain(async || store.delete_payloads_over(10_000_000, 100).await).await, 0);
    assert_eq!(drain(async || store.delete_payloads_over(MOST, 100).await).await, 2);
    assert_eq!(drain(async || store.delete_payloads_over(MOST, 100).await).await, 0, "that was enough");
    store.write_deliveries(ours, &[Owe(owed(&days[2], log))], 5).await.unwrap();
    let next = large(4);
    store.append(ours, &[Arc::clone(&next)], next.seq).await.unwrap();
    store.settle(ours, next.seq).await.unwrap();
    assert_eq!(drain(async || store.delete_payloads_over(MOST, 1).await).await, 1);
    let left: Vec<_> = payloads(&*store).await.iter().map(|payload| payload[..1].to_owned()).collect();
    assert_eq!(left, ["2", "4"], "what is owed stays, and the next goes in its place");
    store.close().await;
}

pub(in crate::store) async fn what_was_put_aside_goes_by_its_age(ground: &impl Ground) {
    let store = ground.open().await;
    for at_ms in [1, 2, 3] {
        store.quarantine(&event(0, "poison", "x"), "CHECK constraint failed", at_ms).await.unwrap();
    }
    assert_eq!(store.delete_quarantine(3, 1).await.unwrap(), Step { gone: 1, is_all: false });
    assert_eq!(drain(async || store.delete_quarantine(3, 1).await).await, 1);
    assert_eq!(drain(async || store.delete_quarantine(i64::MAX, 9).await).await, 1);
    store.close().await;
}

pub(in crate::store) async fn what_is_owed_of_a_removed_workspace_is_called_off_also_what_comes_late(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (ours, log) = (writer(&*store).await, handler(&*store).await);
    let acme = put(&*store, "acme", &spec("xapp-acme"), 1).await.workspace;
    let other = put(&*store, "other", &spec("xapp-other"), 1).await.workspace;
    let theirs: Vec<_> = (0..3).map(|day| on_of(day, (acme.app, acme.id), "x")).collect();
    let others = on_of(3, (other.app, other.id), "y");
    store.append(ours, &[theirs.clone(), vec![Arc::clone(&others)]].concat(), Seq(0)).await.unwrap();
    let retrying = DeliveryRow { status: DeliveryStatus::Retrying, attempts: 1, ..owed(&theirs[1], log) };
    let rows = [Owe(owed(&theirs[0], log)), Tried(retrying), Owe(owed(&others, log))];
    store.write_deliveries(ours, &rows, 5).await.unwrap();
    assert_eq!(store.clear_removed(100, 6).await.unwrap().cancelled, 0, "nobody was removed");

    store.remove_workspace(&name("acme"), When::Always, 10).await.unwrap().unwrap();
    assert_eq!(store.paused().await.unwrap().workspaces, [acme.id], "nothing of it is given to handlers");
    let cleared = store.clear_removed(100, 11).await.unwrap();
    assert_eq!((cleared.cancelled, cleared.erased, cleared.is_all), (2, 0, true));
    assert_eq!(waiting(&*store).await, [others.seq], "what others wait for is theirs");
    assert_eq!(store.read_due(log, &HashSet::new(), &[], 9, i64::MAX).await.unwrap().len(), 0);
    store.write_deliveries(ours, &[Owe(owed(&theirs[2], log))], 12).await.unwrap();
    let late_ms = 10 + i64::try_from(LATE.as_millis()).unwrap();
    assert_eq!(store.clear_removed(100, late_ms - 1).await.unwrap().cancelled, 1);
    assert_eq!(store.paused().await.unwrap().workspaces, [acme.id]);
    store.clear_removed(100, late_ms).await.unwrap();
    assert_eq!(store.paused().await.unwrap().workspaces, [], "all is done");
    assert_eq!(payloads(&*store).await.len(), 4, "payloads stay where nobody wants them erased");
    store.close().await;
}

pub(in crate::store) async fn what_waits_in_a_line_that_a_removed_workspace_has_left_is_called_off_too(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (ours, log) = (writer(&*store).await, handler(&*store).await);
    let acme = put(&*store, "acme", &spec("xapp-acme"), 1).await.workspace;
    let of_before = on_of(0, (AppId(acme.app.0 + 1000), acme.id), "x");
    store.append(ours, &[Arc::clone(&of_before)], Seq(0)).await.unwrap();
    store.write_deliveries(ours, &[Owe(owed(&of_before, log))], 5).await.unwrap();
    store.remove_workspace(&name("acme"), When::Always, 10).await.unwrap().unwrap();
    assert_eq!(store.clear_removed(100, i64::MAX).await.unwrap().cancelled, 1);
    assert_eq!(waiting(&*store).await, []);
    assert_eq!(store.paused().await.unwrap().workspaces, [acme.id], "until nothing is left");
    store.clear_removed(100, i64::MAX).await.unwrap();
    assert_eq!(store.paused().await.unwrap().workspaces, []);
    store.close().await;
}

pub(in crate::store) async fn what_a_start_takes_up_of_a_workspace_that_was_removed_long_ago_is_called_off(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (ours, log) = (writer(&*store).await, handler(&*store).await);
    let acme = put(&*store, "acme", &spec("xapp-acme"), 1).await.workspace;
    let gone = put(&*store, "gone", &spec("xapp-gone"), 1).await.workspace;
    let (done, left) = (on_of(0, (gone.app, gone.id), "x"), on_of(1, (acme.app, acme.id), "y"));
    store.append(ours, &[Arc::clone(&done), Arc::clone(&left)], done.seq).await.unwrap();
    store.settle(ours, done.seq).await.unwrap();
    for name in ["acme", "gone"].map(name) {
        store.remove_workspace(&name, When::Always, 10).await.unwrap().unwrap();
    }
    let late_ms = i64::try_from(LATE.as_millis()).unwrap();
    store.clear_removed(100, 10 + late_ms).await.unwrap();
    assert_eq!(store.paused().await.unwrap().workspaces, [], "all was done that was known of");
    // The node died with an event in hand.
    store.close().await;
    drop(store);

    let store = ground.open().await;
    let now_ms = 10 + 2 * late_ms;
    let ours = store.begin_writer("node", now_ms).await.unwrap();
    assert_eq!(ours.settled_to, done.seq);
    let removed = async || store.paused().await.unwrap().workspaces;
    assert_eq!(removed().await, [acme.id], "nothing of it is given to handlers");
    store.clear_removed(100, now_ms + 1).await.unwrap();
    store.write_deliveries(ours.id, &[Owe(owed(&left, log))], now_ms + 2).await.unwrap();
    assert_eq!(store.clear_removed(100, now_ms + 3).await.unwrap().cancelled, 1);
    assert_eq!(removed().await, [acme.id], "as long as some may still be written down");
    store.clear_removed(100, now_ms + late_ms).await.unwrap();
    assert_eq!(removed().await, []);
    store.close().await;
}

pub(in crate::store) async fn who_is_purged_has_no_payload_left_and_others_keep_theirs(ground: &impl Ground) {
    let store = ground.open().await;
    let ours = writer(&*store).await;
    let acme = put(&*store, "acme", &spec("xapp-acme"), 1).await.workspace;
    let (theirs, others) = ((acme.app, acme.id), (acme.app, WorkspaceId(acme.id.0 + 1)));
    let events = [
        on_of(0, theirs, "theirs"),
        on_of(1, others, "others"),
        on(2, None, "nobody's"),
        on_of(3, theirs, "theirs"),
    ];
    store.append(ours, &events, Seq(0)).await.unwrap();
    let now_ms = FIRST_MS + 4 * DAY_MS;
    store.purge_workspace(&name("acme"), When::Always, now_ms).await.unwrap().unwrap();
    let mut erased = Vec::new();
    for _ in 0..3 {
        let cleared = store.clear_removed(2, now_ms).await.unwrap();
        erased.push((cleared.erased, cleared.is_all));
    }
    assert_eq!(erased, [(1, false), (1, false), (0, true)], "a few events at a time");
    assert_eq!(payloads(&*store).await, ["others", "nobody's"]);
    // Somebody had it in hand when the workspace was removed.
    let mut late = Event::clone(&on_of(5, theirs, "late"));
    late.seq = first_at(now_ms + 1000);
    store.append(ours, &[Arc::new(late)], Seq(0)).await.unwrap();
    assert_eq!(store.clear_removed(2, now_ms + DAY_MS).await.unwrap().erased, 1);
    assert_eq!(payloads(&*store).await, ["others", "nobody's"]);
    store.clear_removed(2, now_ms + DAY_MS).await.unwrap();
    assert_eq!(store.paused().await.unwrap().workspaces, [], "all is done");
    store.close().await;
}

pub(in crate::store) async fn a_purge_that_broke_off_goes_on_where_it_was(ground: &impl Ground) {
    let store = ground.open().await;
    let ours = writer(&*store).await;
    let acme = put(&*store, "acme", &spec("xapp-acme"), 1).await.workspace;
    let events: Vec<_> = (0..4).map(|day| on_of(day, (acme.app, acme.id), &format!("day {day}"))).collect();
    store.append(ours, &events, Seq(0)).await.unwrap();
    let now_ms = FIRST_MS + 5 * DAY_MS;
    store.purge_workspace(&name("acme"), When::Always, now_ms).await.unwrap().unwrap();
    assert_eq!(store.clear_removed(1, now_ms).await.unwrap().erased, 1);
    store.close().await;
    drop(store);

    let store = ground.open().await;
    assert_eq!(payloads(&*store).await, ["day 1", "day 2", "day 3"]);
    // One that comes to it later begins at the first, and goes on with the other from where they meet.
    let beta = put(&*store, "beta", &spec("xapp-beta"), 1).await.workspace;
    store.purge_workspace(&name("beta"), When::Always, now_ms).await.unwrap().unwrap();
    let mut erased = 0;
    for _ in 0..9 {
        erased += store.clear_removed(1, now_ms).await.unwrap().erased;
    }
    assert_eq!((erased, payloads(&*store).await.len()), (3, 0));
    assert_eq!(store.paused().await.unwrap().workspaces, [acme.id, beta.id], "late ones are waited for");
    store.close().await;
}

/// Takes steps until that was all; what went.
async fn drain(step: impl AsyncFn() -> Result<Step, StoreError>) -> u64 {
    let mut gone = 0;
    for _ in 0..100 {
        let step = step().await.unwrap();
        gone += step.gone;
        if step.is_all {
            return gone;
        }
    }
    panic!("it never comes to its end");
}

/// An event of this day, of an app's workspace.
fn on_of(day: i64, (app, workspace): (AppId, WorkspaceId), payload: &str) -> Arc<Event> {
    on(day, Some((app, workspace)), payload)
}

fn on(day: i64, of: Option<(AppId, WorkspaceId)>, payload: &str) -> Arc<Event> {
    let at_ms = FIRST_MS + day * DAY_MS;
    let mut event = Event::clone(&event(first_at(at_ms).0, &day.to_string(), payload));
    event.received_ms = at_ms;
    if let Some((app, workspace)) = of {
        (event.app, event.workspace) = (app, Some(workspace));
    }
    Arc::new(event)
}

fn owed(event: &Event, handler: HandlerId) -> DeliveryRow {
    DeliveryRow {
        id: DeliveryId { seq: event.seq, handler, run: 1 },
        lane: Lane::of(event),
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

async fn handler(store: &dyn Store) -> HandlerId {
    store.declare_handlers(&["log"], 1).await.unwrap().first().unwrap().id
}

async fn payloads(store: &dyn Store) -> Vec<String> {
    let events = store.read_events(Seq(0), 10_000, usize::MAX).await.unwrap();
    events.into_iter().map(|event| event.payload.into()).collect()
}

async fn rows_left(store: &dyn Store) -> Vec<Seq> {
    store.rows_above(behind(0), 100).await.unwrap().into_iter().map(|id| id.seq).collect()
}

async fn waiting(store: &dyn Store) -> Vec<Seq> {
    store.backlogs(None, 100).await.unwrap().into_iter().map(|backlog| backlog.oldest).collect()
}
