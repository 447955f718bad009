use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn commands_views_and_menus_take_an_answer_and_nothing_else_does() {
    for (kind, kind_type, url, wanted) in [
        (Kind::SlashCommands, "/deploy", true, Some(Way::AckOrUrl)),
        (Kind::Interactive, "view_submission", true, Some(Way::AckOnly)),
        (Kind::Interactive, "block_suggestion", false, Some(Way::AckOnly)),
        (Kind::Interactive, "interactive_message", true, Some(Way::AckOrUrl)),
        (Kind::Interactive, "interactive_message", false, Some(Way::AckOnly)),
        (Kind::Interactive, "block_actions", true, None),
        (Kind::Interactive, "shortcut", false, None),
        (Kind::Interactive, "message_action", true, None),
        (Kind::Interactive, "view_closed", false, None),
        (Kind::EventsApi, "view_submission", false, None),
        (Kind::Unknown, "view_submission", false, None),
    ] {
        assert_eq!(way(kind, kind_type, url), wanted, "{kind:?} {kind_type}");
    }
}

#[test]
fn after_a_start_commands_run_for_half_an_hour_and_what_only_an_ack_could_answer_not_at_all() {
    let minute = 60_000;
    let stale = |kind, kind_type, received, now| is_stale(kind, kind_type, received, 10 * minute, now);
    let command = |received, now| stale(Kind::SlashCommands, "/deploy", received, now);
    assert!(!command(5 * minute, 11 * minute), "from before the start");
    assert!(!command(5 * minute, 35 * minute));
    assert!(command(5 * minute, 35 * minute + 1));
    let view = |received, now| stale(Kind::Interactive, "view_submission", received, now);
    assert!(view(10 * minute - 1, 10 * minute), "from before the start");
    assert!(!view(10 * minute, 11 * minute));
    assert!(view(10 * minute, 11 * minute + 1));
    assert!(!stale(Kind::EventsApi, "message", 0, 1000 * minute));
    assert!(!stale(Kind::Interactive, "block_actions", 0, 1000 * minute));
}

#[test]
fn the_ack_waits_for_the_answer_and_the_disk_in_either_order() {
    for way in WAYS {
        let mut exchange = asked(way);
        exchange.stored();
        assert_eq!(told(&mut exchange), []);
        assert_eq!(exchange.reply(FITS), None);
        assert_eq!(told(&mut exchange), [Action::Ack(1, With::Answer), Action::Close(Fate::Acked)]);

        let mut exchange = asked(way);
        assert_eq!(exchange.reply(FITS), None);
        assert_eq!(told(&mut exchange), []);
        exchange.stored();
        assert_eq!(told(&mut exchange), [Action::Ack(1, With::Answer), Action::Close(Fate::Acked)]);
        assert!(exchange.is_over());
    }
}

#[test]
fn at_the_deadline_an_answer_goes_out_while_the_insert_is_open() {
    for way in WAYS {
        let mut exchange = asked(way);
        exchange.reply(FITS);
        exchange.due();
        assert_eq!(told(&mut exchange), [Action::Ack(1, With::Answer), Action::Close(Fate::Acked)]);

        let mut exchange = asked(way);
        assert_eq!(exchange.reply(Reply::Done), Some(Fate::Nothing));
        assert_eq!(told(&mut exchange), []);
        exchange.due();
        assert_eq!(told(&mut exchange), [Action::Ack(1, With::Nothing)]);
    }
}

#[test]
fn without_an_answer_a_command_is_acked_bare_when_it_is_stored_and_a_later_one_goes_by_url() {
    let mut exchange = asked(Way::AckOrUrl);
    exchange.due();
    assert_eq!(told(&mut exchange), [], "a bare ack says that it is on disk");
    exchange.stored();
    assert_eq!(told(&mut exchange), [Action::Ack(1, With::Nothing)]);
    assert_eq!(exchange.reply(FITS), Some(Fate::ByUrl));
    assert_eq!(told(&mut exchange), []);
}

#[test]
fn without_an_answer_what_only_an_ack_could_answer_is_not_acked_and_expires() {
    let mut exchange = asked(Way::AckOnly);
    exchange.stored();
    exchange.due();
    assert_eq!(told(&mut exchange), [Action::Drop(1)]);
    assert_eq!(exchange.reply(FITS), Some(Fate::Expired));
    assert!(exchange.has_expired() && exchange.is_over());
}

#[test]
fn a_handler_that_fails_leaves_a_command_to_a_later_try_and_lets_the_rest_expire_at_once() {
    let mut command = asked(Way::AckOrUrl);
    command.stored();
    assert_eq!(command.reply(Reply::Failed), Some(Fate::Nothing));
    assert_eq!(told(&mut command), [Action::Ack(1, With::Nothing)]);
    let mut view = asked(Way::AckOnly);
    assert_eq!(view.reply(Reply::Failed), Some(Fate::Expired));
    assert_eq!(told(&mut view), [Action::Drop(1)]);
}

#[test]
fn an_answer_that_fits_into_no_ack_goes_by_url_or_is_refused() {
    let mut command = asked(Way::AckOrUrl);
    command.stored();
    assert_eq!(command.reply(Reply::Answer { fits: false }), Some(Fate::ByUrl));
    assert_eq!(told(&mut command), [Action::Ack(1, With::Nothing)]);
    let mut view = asked(Way::AckOnly);
    view.stored();
    assert_eq!(view.reply(Reply::Answer { fits: false }), Some(Fate::TooLarge));
    assert_eq!(told(&mut view), [Action::Drop(1)]);
}

#[test]
fn a_repeat_waits_for_the_same_answer_and_a_later_one_gets_what_the_first_got() {
    let mut exchange = asked(Way::AckOnly);
    exchange.stored();
    exchange.join(2);
    exchange.reply(FITS);
    let acks = [1, 2].map(|waiter| Action::Ack(waiter, With::Answer));
    assert_eq!(told(&mut exchange), [acks[0], acks[1], Action::Close(Fate::Acked)]);
    exchange.join(3);
    assert_eq!(told(&mut exchange), [Action::Ack(3, With::Answer)]);
}

#[test]
fn an_answer_whose_link_is_gone_goes_by_url_unless_a_repeat_waits_elsewhere() {
    let mut command = asked(Way::AckOrUrl);
    command.leave(1);
    assert_eq!(command.reply(FITS), None);
    assert_eq!(told(&mut command), [Action::Close(Fate::ByUrl)]);
    command.stored();
    command.join(2);
    assert_eq!(told(&mut command), [Action::Ack(2, With::Nothing)], "it is not answered twice");

    let mut view = asked(Way::AckOnly);
    view.join(2);
    view.leave(1);
    view.stored();
    view.reply(FITS);
    assert_eq!(told(&mut view), [Action::Ack(2, With::Answer), Action::Close(Fate::Acked)]);
    let mut view = asked(Way::AckOnly);
    view.reply(FITS);
    view.leave(1);
    assert_eq!(told(&mut view), [Action::Close(Fate::Expired)], "while the answer waited for the disk");
}

#[test]
fn paused_a_command_is_told_so_and_the_rest_expires() {
    for (may_say, with) in [(true, With::Pause), (false, With::Nothing)] {
        let mut command = asked(Way::AckOrUrl);
        command.paused(may_say);
        command.due();
        assert_eq!(told(&mut command), [], "it is kept when it is on disk");
        command.stored();
        assert_eq!(told(&mut command), [Action::Ack(1, with)]);
        let mut view = asked(Way::AckOnly);
        view.paused(may_say);
        assert_eq!(told(&mut view), [Action::Drop(1)]);
    }
}

#[test]
fn what_nobody_answers_is_acked_when_it_is_stored() {
    for way in WAYS {
        let mut exchange = asked(way);
        exchange.asked(0);
        assert_eq!(told(&mut exchange), []);
        exchange.stored();
        assert_eq!(told(&mut exchange), [Action::Ack(1, With::Nothing)]);
    }
}

#[test]
fn of_several_handlers_the_first_answer_counts_and_silence_only_when_all_are_silent() {
    let mut exchange = asked(Way::AckOnly);
    exchange.stored();
    exchange.asked(3);
    assert_eq!(exchange.reply(Reply::Failed), Some(Fate::Nothing), "another may answer");
    assert_eq!(exchange.reply(Reply::Done), Some(Fate::Nothing));
    assert_eq!(told(&mut exchange), []);
    exchange.reply(FITS);
    assert_eq!(told(&mut exchange), [Action::Ack(1, With::Answer), Action::Close(Fate::Acked)]);
    assert_eq!(exchange.reply(FITS), Some(Fate::Beaten));
    assert!(exchange.is_beaten(), "who failed and tries again is too late too");

    let mut exchange = asked(Way::AckOnly);
    exchange.asked(2);
    exchange.reply(Reply::Done);
    exchange.due();
    assert_eq!(told(&mut exchange), [Action::Drop(1)], "the other has said nothing");
}

#[test]
fn where_one_of_several_failed_silence_is_acked_when_it_is_stored_and_not_before() {
    for way in WAYS {
        for replies in [[Reply::Done, Reply::Failed], [Reply::Failed, Reply::Done]] {
            let mut exchange = asked(way);
            exchange.asked(2);
            assert_eq!(replies.map(|reply| exchange.reply(reply)), [Some(Fate::Nothing); 2]);
            exchange.due();
            assert_eq!(told(&mut exchange), []);
            exchange.stored();
            assert_eq!(told(&mut exchange), [Action::Ack(1, With::Nothing)]);
        }
    }
}

#[test]
fn of_those_that_failed_and_try_again_the_first_to_answer_counts() {
    let mut exchange = asked(Way::AckOrUrl);
    exchange.stored();
    exchange.asked(2);
    exchange.reply(Reply::Failed);
    assert!(!exchange.is_beaten());
    assert_eq!(told(&mut exchange), [Action::Ack(1, With::Nothing)]);
    assert_eq!(exchange.reply(FITS), Some(Fate::Beaten));
    assert!(exchange.is_beaten());

    let mut view = asked(Way::AckOnly);
    view.stored();
    view.asked(2);
    view.reply(Reply::Failed);
    assert!(!view.is_beaten());
    view.reply(FITS);
    assert_eq!(told(&mut view), [Action::Ack(1, With::Answer), Action::Close(Fate::Acked)]);
}

#[test]
fn a_repeat_of_what_was_over_long_ago_is_acked_bare_when_it_is_stored_or_not_at_all() {
    let mut acked = Exchange::over(Way::AckOrUrl, true, true);
    acked.join(7);
    acked.due();
    assert_eq!(told(&mut acked), []);
    acked.stored();
    assert_eq!(told(&mut acked), [Action::Ack(7, With::Nothing)]);
    assert!(acked.is_over() && acked.is_beaten());
    let mut dropped = Exchange::over(Way::AckOnly, false, false);
    dropped.join(7);
    assert_eq!(told(&mut dropped), [Action::Drop(7)]);
    assert!(dropped.is_over() && dropped.has_expired());
}

const WAYS: [Way; 2] = [Way::AckOrUrl, Way::AckOnly];
const FITS: Reply = Reply::Answer { fits: true };

/// One envelope waits, one handler is asked.
fn asked(way: Way) -> Exchange {
    let mut exchange = Exchange::new(way);
    exchange.join(1);
    exchange.asked(1);
    exchange
}

fn told(exchange: &mut Exchange) -> Vec<Action> {
    std::iter::from_fn(|| exchange.poll_action()).collect()
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Join,
    Leave(u64),
    Stored,
    Due,
    Asked(usize),
    Failed,
    Paused(bool),
    Again,
    Reply(Reply),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => Just(Input::Join),
        2 => (1..6_u64).prop_map(Input::Leave),
        2 => Just(Input::Stored),
        2 => Just(Input::Due),
        2 => (0..3_usize).prop_map(Input::Asked),
        1 => Just(Input::Failed),
        1 => any::<bool>().prop_map(Input::Paused),
        1 => Just(Input::Again),
        4 => prop::sample::select(vec![
            FITS,
            Reply::Answer { fits: false },
            Reply::Done,
            Reply::Failed,
        ]).prop_map(Input::Reply),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_each_envelope_is_told_once_and_nothing_is_both_answered_and_expired(
        way in prop::sample::select(WAYS.to_vec()),
        inputs in prop::collection::vec(input(), 1..24),
    ) {
        let mut exchange = Exchange::new(way);
        let (mut joined, mut stored, mut due) = (0, false, false);
        let (mut told, mut fates) = (BTreeSet::new(), Vec::new());
        let (mut answered, mut dropped) = (0, 0);
        for input in inputs {
            match input {
                Input::Join => { joined += 1; exchange.join(joined); }
                Input::Leave(waiter) => exchange.leave(waiter),
                Input::Stored => { stored = true; exchange.stored(); }
                Input::Due => { due = true; exchange.due(); }
                Input::Asked(handlers) => exchange.asked(handlers),
                Input::Failed => exchange.failed(),
                Input::Paused(may_say) => exchange.paused(may_say),
                Input::Again => {
                    let is_beaten = exchange.is_beaten();
                    if !is_beaten && way == Way::AckOrUrl { fates.push(Fate::ByUrl); }
                }
                Input::Reply(reply) => fates.extend(exchange.reply(reply)),
            }
            while let Some(action) = exchange.poll_action() {
                match action {
                    Action::Ack(waiter, with) => {
                        prop_assert!(told.insert(waiter) && waiter <= joined, "{} twice", waiter);
                        prop_assert!(stored || due, "an ack before the disk and before the deadline");
                        prop_assert!(stored || with != With::Pause, "it says that it is kept");
                        answered += usize::from(with == With::Answer);
                    }
                    Action::Drop(waiter) => {
                        prop_assert!(told.insert(waiter) && waiter <= joined, "{} twice", waiter);
                        prop_assert_eq!(way, Way::AckOnly);
                        dropped += 1;
                    }
                    Action::Close(fate) => fates.push(fate),
                }
            }
        }
        let count = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
        prop_assert!(count(Fate::Acked) + count(Fate::ByUrl) <= 1, "answered twice: {:?}", fates);
        prop_assert!(answered == 0 || dropped == 0);
        prop_assert_eq!(answered > 0, count(Fate::Acked) == 1, "{:?}", fates);
        prop_assert!(way == Way::AckOrUrl || count(Fate::ByUrl) == 0);
    }
}
