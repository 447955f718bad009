//! Promises about the journal.

use std::sync::Arc;

use super::{Ground, event, writer};
use crate::event::{Event, Kind};
use crate::ids::{Seq, WorkspaceId, WriterId};
use crate::machine::seq::first_at;
use crate::store::{Store, StoreError, Taken};

use Taken::{Duplicate, Fresh};

pub(in crate::store) async fn events_come_back_as_they_went_in_odd_bytes_included(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    let odd = Event {
        workspace: Some(WorkspaceId(9)),
        kind: Kind::Interactive,
        kind_type: "block_actions 'quoted' 🪢".into(),
        slack_id: "Ev\"; drop table events; --".into(),
        retry: 3,
        received_ms: i64::MAX,
        ..Event::clone(&event(1, "odd", "a NUL \u{0}, a surrogate pair 🪢 and \u{feff}"))
    };
    let group = [
        Arc::new(odd),
        event(2, "empty", ""),
        event(3, "large", &"ü".repeat(512 * 1024)),
        event(i64::MAX, "last", "x"),
    ];
    assert_eq!(store.append(writer, &group, Seq(0)).await.unwrap(), [Fresh; 4]);
    assert_same(&all(&*store).await, &group);
    store.close().await;
}

pub(in crate::store) async fn a_key_seen_before_is_a_duplicate_and_not_stored_again(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    let first = [event(1, "a", "1"), event(2, "b", "2")];
    store.append(writer, &first, Seq(0)).await.unwrap();
    let second = [event(3, "b", "again"), event(4, "c", "3"), event(5, "a", "again")];
    assert_eq!(store.append(writer, &second, Seq(0)).await.unwrap(), [Duplicate, Fresh, Duplicate]);
    assert_eq!(payloads(&*store).await, ["1", "2", "3"]);
    store.close().await;
}

pub(in crate::store) async fn duplicates_inside_a_group_are_found(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    let group = [event(1, "a", "1"), event(2, "a", "2"), event(3, "b", "3"), event(4, "a", "4")];
    assert_eq!(store.append(writer, &group, Seq(0)).await.unwrap(), [Fresh, Duplicate, Fresh, Duplicate]);
    assert_eq!(payloads(&*store).await, ["1", "3"]);
    store.close().await;
}

pub(in crate::store) async fn the_same_group_with_the_same_seqs_is_fresh_again_and_stored_once(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    store.append(writer, &[event(1, "old", "0")], Seq(0)).await.unwrap();
    let group = [event(2, "a", "1"), event(3, "old", "again"), event(4, "b", "2"), event(5, "b", "twice")];
    let taken = store.append(writer, &group, Seq(0)).await.unwrap();
    assert_eq!(taken, [Fresh, Duplicate, Fresh, Duplicate]);
    assert_eq!(store.append(writer, &group, Seq(0)).await.unwrap(), taken);
    // A part of it with something new beside.
    let mixed = [Arc::clone(&group[2]), event(6, "c", "3")];
    assert_eq!(store.append(writer, &mixed, Seq(0)).await.unwrap(), [Fresh, Fresh]);
    assert_eq!(payloads(&*store).await, ["0", "1", "2", "3"]);
    store.close().await;
}

pub(in crate::store) async fn a_group_of_any_size_is_taken_whole(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    let mut next = 1;
    let mut expected = vec![];
    for size in [0, 1, 5, 85, 300] {
        let group: Vec<_> =
            (next..next + size).map(|seq| event(seq, &seq.to_string(), &format!("p{seq}"))).collect();
        assert_eq!(store.append(writer, &group, Seq(0)).await.unwrap(), vec![Fresh; group.len()]);
        next += size;
        expected.extend(group);
    }
    assert_same(&all(&*store).await, &expected);
    store.close().await;
}

pub(in crate::store) async fn a_row_no_database_takes_is_a_data_error_and_leaves_nothing_behind(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    // Zero is the seq of an event that was never given one.
    let group = [event(1, "good", "1"), event(0, "poison", "2")];
    let error = store.append(writer, &group, Seq(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error}");
    assert_eq!(payloads(&*store).await, Vec::<String>::new());
    assert_eq!(store.append(writer, &group[..1], Seq(0)).await.unwrap(), [Fresh]);
    store.close().await;
}

pub(in crate::store) async fn another_events_seq_is_never_overwritten(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    store.append(writer, &[event(1, "a", "1")], Seq(0)).await.unwrap();
    let error = store.append(writer, &[event(1, "b", "2")], Seq(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error}");
    assert_eq!(payloads(&*store).await, ["1"]);
    store.close().await;
}

pub(in crate::store) async fn reading_goes_by_seq_and_stops_at_the_limit_and_at_the_bytes(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    let group: Vec<_> = [10, 20, 30, 40].map(|seq| event(seq, &seq.to_string(), &"x".repeat(100))).into();
    store.append(writer, &group, Seq(0)).await.unwrap();
    for (after, limit, max_bytes, expected) in [
        (0, 10, 1000, &group[..]),
        (0, 2, 1000, &group[..2]),
        (0, 10, 299, &group[..2]),
        (0, 10, 300, &group[..3]),
        (0, 10, 0, &group[..1]),
        (10, 10, 1000, &group[1..]),
        (15, 1, 1000, &group[1..2]),
        (40, 10, 1000, &[]),
    ] {
        let read = store.read_events(Seq(after), limit, max_bytes).await.unwrap();
        assert_same(&read, expected);
    }
    store.close().await;
}

pub(in crate::store) async fn a_writer_that_never_ended_is_taken_over_from_where_it_had_settled(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let first = store.begin_writer("node", 1).await.unwrap();
    assert_eq!((first.last, first.settled_to), (Seq(0), Seq(0)));
    store.append(first.id, &[event(10, "a", ""), event(20, "b", "")], Seq(0)).await.unwrap();
    store.append(first.id, &[event(30, "c", "")], Seq(10)).await.unwrap();
    store.close().await;
    drop(store);

    let store = ground.open().await;
    let second = store.begin_writer("node", 2).await.unwrap();
    assert_eq!((second.last, second.settled_to), (Seq(30), Seq(10)));
    assert_ne!(second.id, first.id);
    // Taken over once: the third answers for the second alone.
    store.settle(second.id, Seq(20)).await.unwrap();
    let third = store.begin_writer("node", 3).await.unwrap();
    assert_eq!((third.last, third.settled_to), (Seq(30), Seq(20)));
    store.close().await;
}

pub(in crate::store) async fn a_writer_that_ended_in_order_leaves_nothing_to_take_over(ground: &impl Ground) {
    let store = ground.open().await;
    let first = store.begin_writer("node", 1).await.unwrap();
    store.append(first.id, &[event(10, "a", "")], Seq(0)).await.unwrap();
    store.end_writer(first.id, Seq(99), 2).await.unwrap();
    let second = store.begin_writer("node", 3).await.unwrap();
    assert_eq!((second.last, second.settled_to), (Seq(99), Seq(99)));
    store.close().await;
}

pub(in crate::store) async fn what_is_settled_never_moves_back(ground: &impl Ground) {
    let store = ground.open().await;
    let first = writer(&*store).await;
    store.append(first, &[event(10, "a", ""), event(20, "b", "")], Seq(15)).await.unwrap();
    store.settle(first, Seq(12)).await.unwrap();
    store.append(first, &[event(30, "c", "")], Seq(5)).await.unwrap();
    assert_eq!(store.begin_writer("node", 2).await.unwrap().settled_to, Seq(15));
    store.close().await;
}

pub(in crate::store) async fn a_writer_that_never_began_is_refused(ground: &impl Ground) {
    let store = ground.open().await;
    let stranger = WriterId(4711);
    assert!(store.append(stranger, &[event(1, "a", "")], Seq(0)).await.is_err());
    assert!(store.settle(stranger, Seq(1)).await.is_err());
    assert!(store.end_writer(stranger, Seq(1), 1).await.is_err());
    assert_same(&all(&*store).await, &[]);
    store.close().await;
}

pub(in crate::store) async fn what_was_seen_long_ago_is_forgotten_in_bounded_steps(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    // Received at 10, 20, … 50, but the second by a clock that was far ahead.
    let mut group: Vec<_> = (1..=5).map(|seq| event(seq, &seq.to_string(), "x")).collect();
    Arc::make_mut(&mut group[1]).received_ms = i64::MAX;
    store.append(writer, &group, Seq(0)).await.unwrap();
    assert_eq!(store.forget_seen(10, 100).await.unwrap(), 0);
    assert_eq!(store.forget_seen(50, 3).await.unwrap(), 3);
    assert_eq!(store.forget_seen(50, 3).await.unwrap(), 1);
    assert_eq!(store.forget_seen(50, 3).await.unwrap(), 0);
    let again: Vec<_> = (1..=5).map(|key| event(key + 10, &key.to_string(), "x")).collect();
    let taken = store.append(writer, &again, Seq(0)).await.unwrap();
    assert_eq!(taken, [Fresh, Fresh, Fresh, Fresh, Duplicate]);
    // The events themselves stay.
    assert_eq!(all(&*store).await.len(), 9);
    store.close().await;
}

pub(in crate::store) async fn any_number_of_events_dated_ahead_holds_up_no_forgetting(ground: &impl Ground) {
    let store = ground.open().await;
    let writer = writer(&*store).await;
    // Received at 10, 20, … 90, but the first five by a clock that was far ahead.
    let mut group: Vec<_> = (1..=9).map(|seq| event(seq, &seq.to_string(), "x")).collect();
    group.iter_mut().take(5).for_each(|event| Arc::make_mut(event).received_ms = i64::MAX);
    store.append(writer, &group, Seq(0)).await.unwrap();
    let mut forgotten = 0;
    for _ in 0..8 {
        let step = store.forget_seen(90, 2).await.unwrap();
        assert!(step <= 2, "in bounded steps");
        forgotten += step;
    }
    assert_eq!(forgotten, 8, "all but the last, which is not old");
    let again: Vec<_> = (1..=9).map(|key| event(key + 10, &key.to_string(), "x")).collect();
    let taken = store.append(writer, &again, Seq(0)).await.unwrap();
    assert_eq!(taken, [[Fresh; 8].as_slice(), &[Duplicate]].concat());
    store.close().await;
}

pub(in crate::store) async fn old_events_are_deleted_once_they_are_handled_and_their_keys_forgotten(
    ground: &impl Ground,
) {
    const FIRST_MS: i64 = 1_600_000_000_000;
    let day_ms = |day: i64| FIRST_MS + day * 86_400_000;
    let store = ground.open().await;
    let ours = writer(&*store).await;
    let group: Vec<_> = (0..3)
        .map(|day| {
            let mut event = event(first_at(day_ms(day)).0, &day.to_string(), &format!("day {day}"));
            Arc::make_mut(&mut event).received_ms = day_ms(day);
            event
        })
        .collect();
    store.append(ours, &group, Seq(0)).await.unwrap();
    let later = day_ms(10);
    assert_eq!(store.forget_seen(later, 100).await.unwrap(), 3);
    assert!(store.may_post().await.unwrap(), "a node that posts notices deletes as well");
    assert_eq!(store.delete_events(later, 100).await.unwrap().gone, 0, "nobody has handled them");
    store.settle(ours, group[1].seq).await.unwrap();
    assert_eq!(store.delete_events(day_ms(0), 100).await.unwrap().gone, 0, "none is older");
    assert_eq!(store.delete_events(later, 100).await.unwrap().gone, 2);
    assert_eq!(payloads(&*store).await, ["day 2"]);
    let mut next = event(first_at(day_ms(3)).0, "3", "day 3");
    Arc::make_mut(&mut next).received_ms = day_ms(3);
    store.append(ours, &[Arc::clone(&next)], group[2].seq).await.unwrap();
    store.settle(ours, next.seq).await.unwrap();
    assert_eq!(
        store.delete_events(later, 100).await.unwrap().gone,
        1,
        "a key that may come again keeps its event"
    );
    store.end_writer(ours, next.seq, 4).await.unwrap();
    store.close().await;
    drop(store);

    let store = ground.open().await;
    assert_eq!(payloads(&*store).await, ["day 3"]);
    let next_writer = store.begin_writer("node", 5).await.unwrap();
    assert_eq!(next_writer.last, next.seq);
    let again = store.append(next_writer.id, &[event(next.seq.0 + 1, "3", "again")], next.seq).await;
    assert_eq!(again.unwrap(), [Duplicate]);
    store.close().await;
}

pub(in crate::store) async fn a_poison_event_can_be_put_aside(ground: &impl Ground) {
    let store = ground.open().await;
    let poison = event(0, "poison", "\u{0}");
    store.quarantine(&poison, "CHECK constraint failed", 1).await.unwrap();
    store.quarantine(&poison, "CHECK constraint failed", 2).await.unwrap();
    assert_same(&all(&*store).await, &[]);
    store.close().await;
}

pub(in crate::store) async fn the_journal_is_there_after_reopening(ground: &impl Ground) {
    let store = ground.open().await;
    let first = writer(&*store).await;
    let group = [event(1, "a", "1"), event(2, "b", "2")];
    store.append(first, &group, Seq(0)).await.unwrap();
    store.close().await;
    drop(store);

    let store = ground.open().await;
    assert_same(&all(&*store).await, &group);
    let second = writer(&*store).await;
    assert_eq!(store.append(second, &[event(3, "a", "again")], Seq(0)).await.unwrap(), [Duplicate]);
    store.close().await;
}

pub(in crate::store) async fn a_ping_reads_and_writes(ground: &impl Ground) {
    let store = ground.open().await;
    store.ping().await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

async fn all(store: &dyn Store) -> Vec<Event> {
    store.read_events(Seq(0), 10_000, usize::MAX).await.unwrap()
}

async fn payloads(store: &dyn Store) -> Vec<String> {
    all(store).await.into_iter().map(|event| event.payload.into()).collect()
}

fn assert_same(read: &[Event], written: &[Arc<Event>]) {
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(written) {
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert_eq!((read.dedupe, read.received_ms), (written.dedupe, written.received_ms));
        assert!(read.payload == written.payload, "the payload of {} differs", read.seq);
    }
}
