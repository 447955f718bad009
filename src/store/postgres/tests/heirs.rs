//! Who sees to what writers owed that live no more, or were taken for dead.

use super::super::locks::INHERIT;
use super::nodes::until_taken;
use super::*;
use crate::ids::{HandlerId, WorkspaceId, WriterId};
use crate::store::{
    Archive as _, Deliveries as _, DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Lane, Wanted,
};

#[tokio::test]
async fn a_writer_has_one_heir_and_none_while_it_or_its_heir_lives() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let us = number(one.begin_writer("one", 1).await.unwrap().id);
    let other = number(two.begin_writer("two", 1).await.unwrap().id);
    let mut db = place.connect().await;
    db.execute("set search_path = tautline").await.unwrap();
    let ended = Some(9);
    let dead_heir = make(&mut db, None, None).await;
    let ended_heir = make(&mut db, ended, Some(other)).await;
    // What is said of each, how it stands, whether it was seen dead twice, and whose it is then and after a start.
    let cases = [
        ("it was seen dead twice", None, None, true, Some(us), Some(us)),
        ("it was seen dead once", None, None, false, None, Some(us)),
        ("it ended in order", ended, None, false, Some(us), Some(us)),
        ("it ended in order, and its heir has died", ended, Some(dead_heir), false, Some(us), Some(us)),
        ("it ended in order, and its heir has ended", ended, Some(ended_heir), false, Some(us), Some(us)),
        ("its heir lives", ended, Some(other), false, Some(other), Some(other)),
        ("it is dead and its heir lives", None, Some(other), true, Some(other), Some(other)),
    ];
    let (mut writers, mut dead) = (Vec::new(), vec![dead_heir, other]);
    for (_, ended, heir, is_dead, ..) in cases {
        let writer = make(&mut db, ended, heir).await;
        writers.push(writer);
        dead.extend(is_dead.then_some(writer));
    }
    for (is_start, dead) in [(false, Some(dead)), (true, None)] {
        let mut held = one.journal().await.unwrap();
        sqlx::query(INHERIT).bind(us).bind(dead).execute(held.db()).await.unwrap();
        held.after(Ok(())).unwrap();
        for ((what, _, _, _, then, at_a_start), writer) in cases.iter().zip(&writers) {
            let wanted = if is_start { at_a_start } else { then };
            assert_eq!(heir_of(&mut db, *writer).await, *wanted, "{what}, at a start: {is_start}");
        }
        assert_eq!(heir_of(&mut db, us).await, None, "nobody is their own");
        assert_eq!(heir_of(&mut db, other).await, None, "it lives, whoever says it is dead");
    }
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_node_taken_for_dead_leaves_to_its_heir_what_it_owed_and_goes_on_as_a_new_writer() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap().id;
    let second = two.begin_writer("two", 1).await.unwrap().id;
    let log = one.declare_handlers(&["log"], 1).await.unwrap()[0].id;
    one.append(first, &[event(10, "a", "owed"), event(11, "b", "in hand")], Seq(0)).await.unwrap();
    one.write_deliveries(first, &[owed(10, log)], 1).await.unwrap();
    one.settle(first, Seq(10)).await.unwrap();
    assert_eq!(waiting(&one, log).await, [10]);

    place.end_session_of(first).await;
    two.keep_house(40_000).await.unwrap();
    assert_eq!(waiting(&two, log).await, [0; 0], "it may be back by the second look");
    two.keep_house(71_000).await.unwrap();
    assert_eq!(waiting(&two, log).await, [10], "seen dead twice");
    // It does not know yet, and asks by sessions that live.
    assert_eq!(waiting(&one, log).await, [0; 0], "what is the heir's is not handed over twice");

    until_taken(&one, first, &[event(20, "c", "later")]).await;
    one.write_deliveries(first, &[owed(20, log)], 2).await.unwrap();
    assert_eq!(waiting(&one, log).await, [20], "what it owes from now on is its own");
    assert_eq!(waiting(&two, log).await, [10], "and the rest stays the heir's");
    let left: Vec<_> = one.read_events(Seq(10), 9, 100).await.unwrap().iter().map(|one| one.seq.0).collect();
    assert_eq!(left, [11, 20], "nobody else has what it has not settled");
    assert_eq!(one.other_nodes().await, Ok(1));

    // It settles what it wrote as both.
    one.settle(first, Seq(20)).await.unwrap();
    one.keep_house(80_000).await.unwrap();
    one.end_writer(first, Seq(20), 81_000).await.unwrap();
    two.end_writer(second, Seq(0), 81_000).await.unwrap();
    one.close().await;
    two.close().await;
    let three = place.opened().await.store;
    let third = three.begin_writer("three", 90_000).await.unwrap();
    assert_eq!(third.settled_to, Seq(20), "nothing is left to be taken over");
    assert_eq!(waiting(&three, log).await, [10, 20], "but what was written down");
    three.close().await;
}

#[tokio::test]
async fn a_node_that_comes_back_before_it_has_an_heir_is_what_it_was() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap().id;
    two.begin_writer("two", 1).await.unwrap();
    let log = one.declare_handlers(&["log"], 1).await.unwrap()[0].id;
    one.append(first, &[event(10, "a", "owed")], Seq(0)).await.unwrap();
    one.write_deliveries(first, &[owed(10, log)], 1).await.unwrap();
    place.end_session_of(first).await;
    two.keep_house(40_000).await.unwrap();
    until_taken(&one, first, &[event(20, "b", "later")]).await;
    two.keep_house(71_000).await.unwrap();
    assert_eq!((waiting(&one, log).await, waiting(&two, log).await), (vec![10], vec![]));
    let writers: i64 = sqlx::query_scalar("select count(*) from tautline.writers")
        .fetch_one(&mut place.connect().await)
        .await
        .unwrap();
    assert_eq!(writers, 2, "as the same writer");
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn what_was_taken_over_and_done_meanwhile_is_not_read_again_by_who_comes_back() {
    let place = Place::new().await;
    let one = place.opened().await.store;
    let first = one.begin_writer("one", 1).await.unwrap().id;
    one.append(first, &[event(10, "a", "undone")], Seq(0)).await.unwrap();
    place.end_session_of(first).await;
    // A start takes all of it over, and is done with it.
    let two = place.opened().await.store;
    let second = two.begin_writer("two", 2).await.unwrap();
    two.settle(second.id, Seq(10)).await.unwrap();
    two.keep_house(3).await.unwrap();
    until_taken(&one, first, &[event(20, "b", "later")]).await;
    let left: Vec<_> = one.read_events(Seq(0), 9, 100).await.unwrap().iter().map(|one| one.seq.0).collect();
    assert_eq!(left, [20]);
    assert_eq!(one.known_handlers().await.unwrap(), []);
    one.close().await;
    two.close().await;
}

/// As the table of writers has it.
fn number(writer: WriterId) -> i32 {
    i32::try_from(writer.0).unwrap()
}

async fn make(db: &mut PgConnection, ended: Option<i64>, heir: Option<i32>) -> i32 {
    let made = "insert into writers (node, started_at, ended_at, settled_to, heir) values ('gone', 1, $1, 0, $2) returning id";
    sqlx::query_scalar(made).bind(ended).bind(heir).fetch_one(db).await.unwrap()
}

async fn heir_of(db: &mut PgConnection, writer: i32) -> Option<i32> {
    sqlx::query_scalar("select heir from writers where id = $1").bind(writer).fetch_one(db).await.unwrap()
}

const LANE: Lane = Lane { app: AppId(1), workspace: Some(WorkspaceId(7)) };

fn owed(seq: i64, handler: HandlerId) -> DeliveryChange {
    DeliveryChange::Owed(DeliveryRow {
        id: DeliveryId { seq: Seq(seq), handler, run: 1 },
        lane: LANE,
        status: DeliveryStatus::Waiting,
        attempts: 0,
        next_ms: 0,
        order_key: None,
        hold_until_ms: None,
        last_error: None,
        created_ms: 1,
        updated_ms: 1,
    })
}

async fn waiting(store: &PostgresStore, handler: HandlerId) -> Vec<i64> {
    let wanted = Wanted { handler, lane: LANE, held: &[], here: &[], limit: 100, max_bytes: usize::MAX };
    store.read_waiting(wanted).await.unwrap().iter().map(|owed| owed.row.id.seq.0).collect()
}
