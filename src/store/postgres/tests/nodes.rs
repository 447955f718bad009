//! Several nodes on one database, and nodes that die.

use std::collections::HashSet;

use super::*;
use crate::ids::WriterId;
use crate::store::{
    Archive as _, Caller, Deliveries as _, DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Lane,
    Remedy,
};

#[tokio::test]
async fn two_living_nodes_have_numbers_of_their_own_and_read_what_is_theirs() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap();
    one.append(first.id, &[event(10, "a", "of one")], Seq(0)).await.unwrap();
    let second = two.begin_writer("two", 2).await.unwrap();
    assert_ne!(first.number, second.number);
    assert_eq!((one.other_nodes().await, two.other_nodes().await), (Ok(1), Ok(1)));
    assert_eq!((second.last, second.settled_to), (Seq(10), Seq(10)), "nothing is taken from a living node");
    let group = [event(20, "b", "of two"), event(21, "a", "again")];
    assert_eq!(two.append(second.id, &group, Seq(10)).await, Ok(vec![Taken::Fresh, Taken::Duplicate]));
    one.append(first.id, &[event(30, "c", "of one")], Seq(0)).await.unwrap();
    assert_eq!(payloads(&one, 0).await, ["of one", "of one"]);
    assert_eq!(payloads(&two, 0).await, ["of two"]);
    one.close().await;
    assert_eq!(two.other_nodes().await, Ok(0));
    two.close().await;
}

#[tokio::test]
async fn what_dead_nodes_left_undone_is_taken_over_by_the_next_start_and_by_one_alone() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap().id;
    let second = two.begin_writer("two", 1).await.unwrap().id;
    one.append(first, &[event(10, "a", "done"), event(40, "b", "left by one")], Seq(10)).await.unwrap();
    two.append(second, &[event(20, "c", "done"), event(30, "d", "left by two")], Seq(20)).await.unwrap();
    one.close().await;
    two.close().await;

    let three = place.opened().await.store;
    let third = three.begin_writer("three", 2).await.unwrap();
    assert_eq!((third.last, third.settled_to), (Seq(40), Seq(10)));
    assert_eq!(payloads(&three, 10).await, ["left by two", "left by one"], "from each one's own mark on");
    let four = place.opened().await.store;
    let fourth = four.begin_writer("four", 3).await.unwrap();
    assert_eq!(fourth.settled_to, Seq(40), "three lives and answers for them");
    assert_eq!(payloads(&four, 0).await, Vec::<String>::new());

    // Three handles the first of them and dies as well: its heir goes on from there.
    three.settle(third.id, Seq(30)).await.unwrap();
    three.close().await;
    let five = place.opened().await.store;
    let fifth = five.begin_writer("five", 4).await.unwrap();
    assert_eq!(payloads(&five, fifth.settled_to.0).await, ["left by one"]);
    five.settle(fifth.id, Seq(40)).await.unwrap();
    five.keep_house(5).await.unwrap();
    four.close().await;
    five.close().await;

    // The dead were let go of when nothing of theirs was left.
    let six = place.opened().await.store;
    assert_eq!(six.begin_writer("six", 6).await.unwrap().settled_to, Seq(40));
    six.close().await;
    let ended: Vec<i32> =
        sqlx::query_scalar("select id from tautline.writers where ended_at is not null order by id")
            .fetch_all(&mut place.connect().await)
            .await
            .unwrap();
    for writer in [first, second] {
        assert!(ended.iter().any(|id| i64::from(*id) == writer.0), "{ended:?}");
    }
}

#[tokio::test]
async fn a_node_hurries_what_is_its_own_and_what_it_has_inherited_alone() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap().id;
    let second = two.begin_writer("two", 1).await.unwrap().id;
    let log = one.declare_handlers(&["log"], 1).await.unwrap()[0].id;
    for (store, writer, seq) in [(&one, first, 10), (&two, second, 20)] {
        store.append(writer, &[event(seq, &format!("k{seq}"), "x")], Seq(0)).await.unwrap();
        let row = DeliveryRow {
            id: DeliveryId { seq: Seq(seq), handler: log, run: 1 },
            lane: Lane { app: AppId(1), workspace: None },
            status: DeliveryStatus::Retrying,
            attempts: 1,
            next_ms: 900,
            order_key: None,
            hold_until_ms: None,
            last_error: None,
            created_ms: 800,
            updated_ms: 800,
        };
        store.write_deliveries(writer, &[DeliveryChange::Tried(row)], 800).await.unwrap();
    }
    let due = async |store: &PostgresStore, now_ms| {
        let due = store.read_due(log, &HashSet::new(), &[], 10, now_ms).await.unwrap();
        due.iter().map(|owed| owed.row.id.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(one.hurry(500).await, Ok(1));
    assert_eq!(due(&one, 500).await, [10]);
    assert_eq!(due(&two, 899).await, [0; 0], "another node's clock says nothing of it");
    two.close().await;
    one.close().await;

    let three = place.opened().await.store;
    three.begin_writer("three", 2).await.unwrap();
    assert_eq!(three.hurry(499).await, Ok(2), "what the dead left is its own");
    assert_eq!(due(&three, 499).await, [10, 20]);
    three.close().await;
}

#[tokio::test]
async fn a_node_whose_clock_is_far_ahead_of_the_databases_waits_until_it_is_not() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let now_ms = crate::clock::Clock::start().now().wall_ms;
    let hours = |hours: i64| now_ms + hours * 3_600_000;
    let error = store.begin_writer("ahead", hours(25)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains("clock is 25 hours ahead")),
        "{error}"
    );
    let writers: i64 = sqlx::query_scalar("select count(*) from tautline.writers")
        .fetch_one(&mut place.connect().await)
        .await
        .unwrap();
    assert_eq!(writers, 0);
    store.begin_writer("a little ahead", hours(23)).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_start_waits_for_the_session_of_a_killed_node_that_is_still_at_work() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap().id;
    one.append(first, &[event(10, "a", "undone")], Seq(0)).await.unwrap();
    // Killed in the middle of something: the server learns of it when that is done.
    let mut held = one.journal().await.unwrap();
    let work = sqlx::query("select pg_sleep(1)").execute(held.db());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), work).await.is_err());
    drop(held);
    let second = two.begin_writer("two", 2).await.unwrap();
    assert_eq!(payloads(&two, second.settled_to.0).await, ["undone"]);
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_living_node_sees_that_another_has_died() {
    let place = Place::new().await;
    let (one, two) = (place.opened().await.store, place.opened().await.store);
    let first = one.begin_writer("one", 1).await.unwrap().id;
    let second = two.begin_writer("two", 1).await.unwrap().id;
    let seen = |store: &PostgresStore| store.station().unwrap().seen_dead.1;
    one.keep_house(31_000).await.unwrap();
    assert_eq!(seen(&one), [0_i32; 0]);
    two.close().await;
    let died = async || {
        let there: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks where classid = 1413567489 and objid::bigint = $1 \
             and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(second.0)
        .fetch_one(&mut place.connect().await)
        .await
        .unwrap();
        there == 0
    };
    while !died().await {
        tokio::task::yield_now().await;
    }
    one.keep_house(40_000).await.unwrap();
    assert_eq!(seen(&one), [0_i32; 0], "it is not looked all the time");
    one.keep_house(62_000).await.unwrap();
    assert_eq!(seen(&one).into_iter().map(i64::from).collect::<Vec<_>>(), [second.0]);
    assert_ne!(first, second);
    one.close().await;
}

#[tokio::test]
async fn a_node_that_lost_its_session_goes_on_as_itself() {
    let place = Place::new().await;
    let one = place.opened().await.store;
    let first = one.begin_writer("one", 1).await.unwrap();
    one.append(first.id, &[event(10, "a", "x")], Seq(0)).await.unwrap();
    place.end_session_of(first.id).await;
    until_taken(&one, first.id, &[event(20, "b", "y")]).await;
    // Its number and its life are its own again.
    let two = place.opened().await.store;
    let second = two.begin_writer("two", 2).await.unwrap();
    assert_ne!(second.number, first.number);
    assert_eq!(second.settled_to, Seq(20));
    assert_eq!(payloads(&one, 0).await, ["x", "y"]);
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_node_that_lost_its_session_still_answers_for_whom_it_took_over() {
    let place = Place::new().await;
    let one = place.opened().await.store;
    let first = one.begin_writer("one", 1).await.unwrap().id;
    one.append(first, &[event(10, "a", "left")], Seq(0)).await.unwrap();
    one.close().await;
    let two = place.opened().await.store;
    let second = two.begin_writer("two", 2).await.unwrap();
    place.end_session_of(second.id).await;
    until_taken(&two, second.id, &[event(20, "b", "own")]).await;
    assert_eq!(payloads(&two, second.settled_to.0).await, ["left", "own"]);
    let three = place.opened().await.store;
    assert_eq!(three.begin_writer("three", 3).await.unwrap().settled_to, Seq(20), "nobody is dead");
    two.close().await;
    three.close().await;
}

#[tokio::test]
async fn a_session_that_the_server_still_takes_for_alive_is_ended_by_its_node() {
    let place = Place::new().await;
    let one = place.opened().await.store;
    let first = one.begin_writer("one", 1).await.unwrap().id;
    // As when the network swallows: gone on this side, there on the other.
    one.journal().await.unwrap().lose();
    until_taken(&one, first, &[event(10, "a", "x")]).await;
    one.close().await;
}

#[tokio::test]
async fn a_node_taken_for_dead_waits_for_its_heir_and_loses_nothing() {
    let place = Place::new().await;
    let one = place.opened().await.store;
    let first = one.begin_writer("one", 1).await.unwrap().id;
    one.append(first, &[event(10, "a", "undone")], Seq(0)).await.unwrap();
    place.end_session_of(first).await;
    let two = place.opened().await.store;
    let second = two.begin_writer("two", 2).await.unwrap();
    assert_eq!(payloads(&two, second.settled_to.0).await, ["undone"]);

    let group = [event(20, "b", "later")];
    // The first word of it is that the session is gone.
    for _ in 0..2 {
        let error = one.append(first, &group, Seq(0)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    two.settle(second.id, Seq(10)).await.unwrap();
    two.keep_house(3).await.unwrap();
    assert_eq!(one.append(first, &group, Seq(0)).await, Ok(vec![Taken::Fresh]));
    assert_eq!(payloads(&two, 0).await, Vec::<String>::new(), "what comes later is its own again");
    one.close().await;
    two.close().await;
    let three = place.opened().await.store;
    let third = three.begin_writer("three", 4).await.unwrap();
    assert_eq!(payloads(&three, third.settled_to.0).await, ["later"]);
    three.close().await;
}

impl Place {
    /// Ends the session of a living writer, as a server does that restarts.
    pub(super) async fn end_session_of(&self, writer: WriterId) {
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid, 5000)) from pg_locks \
             where locktype = 'advisory' and classid = 1413567489 and objid::bigint = $1 \
             and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(writer.0)
        .fetch_one(&mut self.connect().await)
        .await
        .unwrap();
        assert_eq!(ended, 1);
    }
}

/// Appends as the journal does: the same again until it is known. Bounded by the runner.
pub(super) async fn until_taken(store: &PostgresStore, writer: WriterId, group: &[Arc<Event>]) {
    loop {
        match store.append(writer, group, Seq(0)).await {
            Ok(taken) => return assert_eq!(taken, vec![Taken::Fresh; group.len()]),
            Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn payloads(store: &PostgresStore, after: i64) -> Vec<String> {
    let events = store.read_events(Seq(after), 100, usize::MAX).await.unwrap();
    events.into_iter().map(|event| event.payload.into()).collect()
}

#[tokio::test]
async fn a_delivery_that_is_handed_over_while_it_is_asked_for_again_stays_as_it_ended() {
    let place = Place::new().await;
    let store = place.opened().await.store;
    let log = store.declare_handlers(&["log"], 1).await.unwrap()[0].id;
    let writer = store.begin_writer("one", 1).await.unwrap().id;
    store.append(writer, &[event(1, "a", "of one")], Seq(0)).await.unwrap();
    let id = DeliveryId { seq: Seq(1), handler: log, run: 1 };
    let row = DeliveryRow {
        id,
        lane: Lane { app: AppId(1), workspace: None },
        status: DeliveryStatus::Retrying,
        attempts: 3,
        next_ms: 9,
        order_key: None,
        hold_until_ms: None,
        last_error: None,
        created_ms: 1,
        updated_ms: 1,
    };
    store.write_deliveries(writer, &[DeliveryChange::Tried(row)], 1).await.unwrap();
    for (remedy, end) in [(Remedy::Retry, "done"), (Remedy::Discard, "dead")] {
        let mut dispatcher = place.connect().await;
        let mut ends = dispatcher.begin().await.unwrap();
        let sql = format!("update tautline.deliveries set status = '{end}'");
        ends.execute(AssertSqlSafe(sql)).await.unwrap();
        let root = Caller::admin("root");
        let asked = store.remedy_delivery(id, remedy, &root, 5);
        let (outcome, ()) = tokio::join!(asked, async {
            place.until_somebody_waits_for_a_lock().await;
            ends.commit().await.unwrap();
        });
        assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{remedy:?}: {outcome:?}");
        let rows = store.deliveries_of(&[Seq(1)]).await.unwrap();
        assert_eq!(rows[0].row.status.as_str(), end, "{remedy:?}");
        place.connect().await.execute("update tautline.deliveries set status = 'retrying'").await.unwrap();
    }
    store.close().await;
}

impl Place {
    async fn until_somebody_waits_for_a_lock(&self) {
        let mut db = self.connect().await;
        let waits = "select count(*) from pg_stat_activity where datname = current_database() \
             and wait_event_type = 'Lock'";
        for _ in 0..1000 {
            let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut db).await.unwrap();
            if waiting > 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nobody waits for a lock");
    }
}
