//! The dispatcher over a store that answers late, in any order, or not at all.

mod books;
mod schedule;
mod world;

use std::time::Duration;

use self::books::What;
use self::world::{Do, SMALL, World, in_order};
use super::Limits;
use crate::handlers::{Options, Retry};
use crate::store::{DeliveryStatus, Paused};

const AT_ONCE: Duration = Duration::ZERO;

#[actix::test]
async fn what_has_ended_is_not_read_back_while_its_end_is_not_written() {
    let mut world = stopped(Options::default(), SMALL).await;
    world.commit(&[(1, 1); 8], true);
    world.settle().await;
    assert_eq!(world.script.open(), [1, 2, 3, 4], "the others wait in the store");
    world.pass(Duration::from_secs(2)).await;
    assert!(world.row(1).is_some(), "what takes long has its row");
    world.books.hold(What::Write);
    for seq in 1..=4 {
        world.script.end(seq, Do::Done);
    }
    world.settle().await;
    assert_eq!(world.script.open(), [5, 6, 7, 8]);
    assert!(world.row(1).is_some(), "by the store's word it is not done");
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[actix::test]
async fn who_is_done_while_it_is_asked_who_holds_up_keys_holds_up_nobody() {
    let mut world = stopped(in_order(), SMALL).await;
    world.commit(&[(1, 1)], true);
    world.settle().await;
    world.script.end(1, Do::Again(Duration::from_secs(2)));
    world.settle().await;
    world.books.hold(What::Holders);
    while world.books.waiting().is_empty() {
        world.pass(Duration::from_millis(100)).await;
        if !world.script.open().is_empty() {
            world.script.end(1, Do::Again(Duration::from_secs(2)));
        }
    }
    assert!(world.books.let_go(What::Holders), "it is read while it holds");
    world.pass(Duration::from_secs(3)).await;
    assert!(world.script.end(1, Do::Done));
    world.settle().await;
    assert_eq!(world.row(1).map(|row| row.status), Some(DeliveryStatus::Done));
    assert!(world.books.let_go(What::Holders), "and told when it is done");
    world.settle().await;
    world.commit(&[(1, 1)], true);
    world.settle().await;
    assert_eq!(world.script.open(), [2]);
    world.end().await;
}

#[actix::test]
async fn who_fails_while_it_is_asked_who_holds_up_keys_holds_up_its_own() {
    let mut world = stopped(in_order(), SMALL).await;
    world.books.hold(What::Holders);
    while world.books.waiting().is_empty() {
        world.pass(Duration::from_secs(1)).await;
    }
    world.books.let_go(What::Holders);
    world.commit(&[(1, 1); 2], true);
    world.settle().await;
    world.script.end(1, Do::Again(Duration::from_secs(5)));
    world.settle().await;
    assert_eq!(world.row(1).map(|row| row.status), Some(DeliveryStatus::Retrying));
    world.books.let_go(What::Holders);
    world.pass(Duration::from_secs(2)).await;
    assert!(world.script.open().is_empty(), "the second waits for the first");
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2]);
}

#[actix::test]
async fn who_is_discarded_holds_up_nobody_from_the_next_look_on() {
    let mut world = stopped(Options { hold: None, ..in_order() }, SMALL).await;
    world.commit(&[(1, 1); 2], true);
    world.settle().await;
    world.script.end(1, Do::Again(Duration::from_hours(1)));
    world.settle().await;
    for row in world.books.pages().rows.values_mut().filter(|row| row.id.seq.0 == 1) {
        (row.status, row.hold_until_ms) = (DeliveryStatus::Cancelled, None);
    }
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.script.open(), [2]);
    world.end().await;
}

#[actix::test]
async fn who_waits_for_who_failed_leaves_the_memory_to_those_who_wait_for_nobody() {
    let mut world = stopped(in_order(), SMALL).await;
    let whose: Vec<_> = (0..48).map(|number| (1 + number / 4, 1)).collect();
    world.commit(&whose, true);
    world.settle().await;
    assert_eq!(world.look(|act, _| act.desks[0].in_hand.len()).await, 16);
    world.script.always(&Do::Again(Duration::from_secs(1)));
    world.pass(Duration::from_secs(20)).await;
    for first in (1..=48).step_by(4) {
        let tries = world.script.told().begun.iter().filter(|(seq, _)| *seq == first).count();
        assert!(tries > 2, "the first of a workspace is tried again: {tries}");
    }
    let in_hand = world.look(|act, _| act.desks[0].in_hand.len()).await;
    assert!(in_hand < 8, "they hold {in_hand} places of 16");
    world.script.always(&Do::Again(Duration::from_hours(1)));
    world.pass(Duration::from_secs(5)).await;
    world.script.always(&Do::Done);
    world.commit(&[(99, 1); 3], true);
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(world.script.told().done, [49, 50, 51]);
    world.pass(Duration::from_hours(1)).await;
    world.end().await;
    let told = world.script.told();
    for workspace in 1..=12 {
        let done: Vec<_> = told.done.iter().filter(|seq| (**seq - 1) / 4 + 1 == workspace).collect();
        assert!(done.is_sorted() && done.len() == 4, "{workspace}: {done:?}");
    }
}

#[actix::test]
async fn what_is_read_back_does_not_pass_what_was_given_back_since_the_read_began() {
    let mut world = stopped(in_order(), SMALL).await;
    world.commit(&[(1, 1); 6], true);
    world.settle().await;
    world.books.hold(What::ReadWaiting);
    for seq in 1..=2 {
        assert!(world.script.end(seq, Do::Done));
        world.settle().await;
    }
    assert!(world.books.let_go(What::ReadWaiting), "it is read while the fourth is in memory");
    assert!(world.script.end(3, Do::Again(Duration::from_secs(2))));
    world.pass(Duration::from_secs(4)).await;
    assert_eq!(world.look(|act, _| act.desks[0].in_hand.len()).await, 1, "the fourth is in the store again");
    assert!(world.books.let_go(What::ReadWaiting), "and told when it is not");
    world.settle().await;
    assert!(world.script.end(3, Do::Done));
    world.settle().await;
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 6]);
}

#[actix::test]
async fn what_is_given_back_while_its_row_is_on_its_way_is_read_back() {
    let mut world = stopped(Options { concurrency: 1, ..in_order() }, SMALL).await;
    world.books.hold(What::Write);
    world.commit(&[(1, 1); 3], true);
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(world.books.waiting(), [(What::Write, false)], "the rows of all three are on their way");
    world.pause(&[1], false);
    world.pass(Duration::from_secs(2)).await;
    world.books.free(What::Write);
    world.pause(&[], false);
    world.pass(Duration::from_secs(2)).await;
    for seq in 1..=3 {
        assert!(world.script.end(seq, Do::Done), "{seq} is handled");
        world.settle().await;
    }
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3]);
}

#[actix::test]
async fn what_comes_again_after_a_crash_goes_behind_what_it_came_before_and_is_not_passed_by_rows() {
    let mut world = stopped(in_order(), SMALL).await;
    world.commit(&[(1, 1); 8], true);
    world.settle().await;
    assert!(world.row(5).is_some() && world.row(4).is_none(), "rows are of the later ones");
    world.books.hold(What::Write);
    world.crash().await;
    world.pass(Duration::from_secs(2)).await;
    assert!(world.script.open().is_empty(), "the first ones are on their way to the store");
    world.books.free(What::Write);
    world.settle().await;
    assert_eq!(world.script.open(), [1]);
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[actix::test]
async fn nothing_passes_what_was_asked_back_and_is_not_back_yet() {
    let mut world = stopped(Options { concurrency: 1, ..in_order() }, SMALL).await;
    world.commit(&[(1, 1); 2], true);
    world.settle().await;
    world
        .look(|act, ctx| {
            let workspaces = vec![crate::ids::WorkspaceId(1)];
            act.on_paused(&Paused { workspaces, handlers: vec![] });
            act.on_paused(&Paused::default());
            act.go_on(ctx);
        })
        .await;
    world.commit(&[(1, 1)], true);
    world.settle().await;
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3]);
}

#[actix::test]
async fn what_cannot_be_read_any_more_is_given_up_and_holds_up_nobody() {
    let mut world = stopped(in_order(), SMALL).await;
    world.commit(&[(1, 1); 8], true);
    world.settle().await;
    world.books.pages().gone.insert(crate::ids::Seq(6));
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 7, 8]);
    let row = world.row(6).unwrap();
    assert_eq!(
        (row.status, row.last_error.as_deref()),
        (DeliveryStatus::Dead, Some("the event's payload is gone"))
    );
}

#[actix::test]
async fn more_that_is_due_than_is_read_at_once_does_not_wait_for_the_next_tick() {
    let mut world = stopped(Options::default(), SMALL).await;
    world.commit(&[(1, 1), (1, 1), (2, 1), (2, 1), (3, 1), (3, 1)], true);
    world.settle().await;
    for seq in 1..=6 {
        world.script.end(seq, Do::Again(Duration::from_millis(500)));
    }
    world.script.always(&Do::Done);
    world.pass(Duration::from_millis(700)).await;
    assert_eq!(world.script.told().done.len(), 6);
    world.end().await;
}

#[actix::test]
async fn what_the_store_refuses_is_written_again_whether_it_was_written_or_not() {
    tokio::time::pause();
    for is_made in [false, true] {
        let mut world = World::new(in_order(), SMALL).await;
        world.books.hold(What::Write);
        world.commit(&[(1, 1); 6], true);
        world.settle().await;
        if is_made {
            world.books.let_go(What::Write);
            world.settle().await;
        }
        assert_eq!(world.books.waiting(), [(What::Write, is_made)]);
        world.books.refuse(What::Write);
        world.pass(Duration::from_millis(300)).await;
        assert_eq!(world.books.waiting(), [(What::Write, false)], "it is tried again");
        world.check_settled();
        world.script.end(1, Do::Again(AT_ONCE));
        world.end().await;
        assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 6]);
    }
}

#[actix::test]
async fn a_read_that_fails_is_tried_again() {
    let mut world = stopped(Options::default(), SMALL).await;
    let reads =
        [What::ReadEvents, What::ReadWaiting, What::ReadDue, What::Holders, What::Backlogs, What::Paused];
    for what in reads {
        world.books.hold(what);
    }
    world.commit(&[(1, 1); 8], true);
    world.commit(&[(2, 1); 8], false);
    world.script.always(&Do::Again(Duration::from_secs(1)));
    for _ in 0..40 {
        world.pass(Duration::from_millis(500)).await;
        while !world.books.waiting().is_empty() {
            world.books.settle(0, false);
        }
    }
    assert!(world.script.told().begun.len() <= 8);
    world.end().await;
}

#[actix::test]
async fn what_shares_a_held_key_is_not_given_by_a_handler_that_was_started_again() {
    let retry = Retry { first: Duration::from_secs(30), ..Retry::default() };
    let mut world = stopped(Options { retry, ..in_order() }, SMALL).await;
    world.commit(&[(1, 1); 3], true);
    world.settle().await;
    world.script.end(1, Do::Panic);
    world.settle().await;
    assert!(world.script.open().is_empty(), "the others wait at the handler");
    world.kill_handler().await;
    world.pass(Duration::from_secs(5)).await;
    assert!(world.script.open().is_empty(), "and at the next one: {:?}", world.script.open());
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3]);
}

#[actix::test]
async fn a_stop_writes_down_what_no_handler_has_begun_also_where_the_handler_has_just_died() {
    tokio::time::pause();
    for dies in [false, true] {
        let mut world = World::new(Options { concurrency: 1, ..in_order() }, SMALL).await;
        world.commit(&[(1, 1); 3], true);
        world.settle().await;
        if dies {
            world.kill_handler().await;
        }
        let stopped = world.stop();
        world.pass(Duration::from_secs(3)).await;
        assert_eq!(world.script.end(1, Do::Done), !dies);
        world.settle().await;
        assert!(stopped.is_finished());
        assert_eq!(world.script.open(), [0; 0]);
        let statuses: Vec<_> = (1..=3).map(|seq| world.row(seq).map(|row| row.status)).collect();
        let waits = Some(DeliveryStatus::Waiting);
        assert_eq!(statuses, [waits.filter(|_| dies), waits, waits]);
        world.note_settled();
        world.crash().await;
        world.end().await;
        assert_eq!(world.script.told().done, [1, 2, 3]);
    }
}

#[actix::test]
async fn there_is_one_look_at_a_time_however_long_the_store_takes() {
    let mut world = stopped(in_order(), SMALL).await;
    world.books.hold(What::Paused);
    world.books.hold(What::Holders);
    world.pass(Duration::from_secs(40)).await;
    let mut waiting = world.books.waiting();
    waiting.sort_by_key(|(what, _)| *what == What::Paused);
    assert_eq!(waiting, [(What::Holders, false), (What::Paused, false)]);
    // One that fails is not the last one.
    world.books.refuse(What::Holders);
    world.books.refuse(What::Paused);
    world.pass(Duration::from_secs(20)).await;
    assert_eq!(world.books.waiting().len(), 2);
    world.end().await;
}

#[actix::test]
async fn what_was_asked_ahead_is_not_read_back_beside_that_nor_after_its_end() {
    tokio::time::pause();
    for (is_done, is_written) in [(false, false), (true, false), (true, true)] {
        let options = Options { answers: true, ..Options::default() };
        let mut world = World::new(options, SMALL).await;
        world.commit(&[(1, 1); 6], true);
        world.settle().await;
        world.books.hold(What::ReadWaiting);
        for seq in 1..=4 {
            assert!(world.script.end(seq, Do::Done));
        }
        world.settle().await;
        assert_eq!(world.books.waiting(), [(What::ReadWaiting, false)], "of the two that wait");
        let (event, ticket) = world.ask(1);
        world.settle().await;
        world.commit_asked(event, &ticket);
        world.pass(Duration::from_secs(2)).await;
        assert_eq!(world.script.open(), [7]);
        assert!(world.row(7).is_some(), "it takes long");
        world.books.let_go(What::ReadWaiting);
        if is_done {
            if !is_written {
                world.books.hold(What::Write);
            }
            assert!(world.script.end(7, Do::Done));
            world.settle().await;
            assert_eq!(world.row(7).is_none(), is_written);
        }
        world.books.let_go(What::ReadWaiting);
        world.settle().await;
        world.end().await;
        assert_eq!(world.script.told().begun.iter().filter(|(seq, _)| *seq == 7).count(), 1);
    }
}

#[actix::test]
async fn what_was_read_before_a_pause_is_not_given_in_it() {
    tokio::time::pause();
    for due in [false, true] {
        let what = if due { What::ReadDue } else { What::ReadWaiting };
        let mut world = World::new(Options::default(), SMALL).await;
        world.commit(&[(1, 1); 6], true);
        world.settle().await;
        world.books.hold(what);
        for seq in 1..=4 {
            world.script.end(seq, if due { Do::Again(AT_ONCE) } else { Do::Done });
        }
        world.pass(Duration::from_secs(1)).await;
        assert!(world.books.let_go(what), "it is read");
        let before = world.script.told().begun.len();
        world.pause(&[1], false);
        world.pass(Duration::from_secs(2)).await;
        world.books.free(what);
        world.settle().await;
        assert_eq!(world.script.told().begun.len(), before);
        world.end().await;
    }
}

#[actix::test]
async fn what_was_read_while_something_before_it_was_given_back_does_not_pass_it() {
    let mut world = stopped(Options { concurrency: 1, ..in_order() }, SMALL).await;
    world.commit(&[(1, 1); 8], true);
    world.settle().await;
    world.books.hold(What::ReadWaiting);
    for seq in 1..=2 {
        world.script.end(seq, Do::Done);
        world.settle().await;
    }
    assert!(world.books.let_go(What::ReadWaiting), "the fifth is read");
    world.settle().await;
    world.books.hold(What::Write);
    world
        .look(|act, ctx| {
            let workspaces = vec![crate::ids::WorkspaceId(1)];
            act.on_paused(&Paused { workspaces, handlers: vec![] });
            act.on_paused(&Paused::default());
            act.go_on(ctx);
        })
        .await;
    world.settle().await;
    world.books.free(What::ReadWaiting);
    world.settle().await;
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[actix::test]
async fn after_a_crash_rows_rule_over_what_the_journal_gives_again() {
    let mut world = stopped(in_order(), SMALL).await;
    world.commit(&[(1, 1), (2, 1), (1, 1), (1, 1)], true);
    world.settle().await;
    assert_eq!(world.script.open(), [1, 2]);
    world.script.end(2, Do::Reject);
    world.script.end(1, Do::Again(Duration::from_secs(5)));
    world.settle().await;
    world.crash().await;
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.script.told().begun, [(1, 1), (2, 1)], "one is given up, and one holds up the others");
    world.end().await;
    assert_eq!(world.script.told().done, [1, 3, 4]);
}

#[actix::test]
async fn after_a_crash_what_has_a_row_is_not_given_again_by_the_journal() {
    let mut world = stopped(Options::default(), SMALL).await;
    world.commit(&[(1, 1); 2], true);
    world.settle().await;
    world.script.end(2, Do::Reject);
    world.settle().await;
    world.crash().await;
    world.settle().await;
    assert_eq!(world.script.told().begun, [(1, 1), (2, 1), (1, 1)]);
    world.end().await;
}

#[actix::test]
async fn after_a_crash_no_row_is_read_before_the_journal_has_given_again_what_comes_before_it() {
    let mut world = stopped(in_order(), SMALL).await;
    world.commit(&[(1, 1); 8], true);
    world.settle().await;
    world.books.hold(What::ReadEvents);
    world.crash().await;
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.books.waiting(), [(What::ReadEvents, false)]);
    assert_eq!(world.script.open(), [0; 0], "rows are of the later ones");
    world.end().await;
    assert_eq!(world.script.told().done, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// A world in a time that passes by hand alone.
async fn stopped(options: Options, limits: Limits) -> World {
    tokio::time::pause();
    World::new(options, limits).await
}
