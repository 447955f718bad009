//! What an operator or the supervisor asks for.

use super::*;

#[test]
fn connect_tries_again_at_once_what_failed_or_waits() {
    for class in [Class::Transient, Class::Unknown, Class::Slow, Class::Fatal, Class::FatalForever] {
        let mut world = World::off(1);
        world.slack.refuses = Some(refusal(Code::InternalError, class));
        world.give(Input::Connect(Code::OperatorConnect));
        world.run_until(SECOND, |world| world.links(LinkState::Opening).is_empty());
        let opens = world.opens();
        world.give(Input::Connect(Code::OperatorConnect));
        assert_eq!((world.opens(), world.state()), (opens + 1, State::Connecting), "{class:?}");
    }
}

#[test]
fn connect_changes_nothing_where_all_is_well() {
    let mut world = World::stable();
    let before = world.status();
    assert_eq!(world.give(Input::Connect(Code::OperatorConnect)), []);
    assert_eq!(world.status(), before);
}

#[test]
fn connect_takes_back_the_warnings_that_somebody_has_now_seen() {
    let mut world = World::stable();
    world.give(Input::LinkDown(world.live(), Code::FrameTooLarge));
    world.run(2 * SECOND);
    world.slack.refuses_candidate = Some(refusal(Code::NotAllowedTokenType, Class::Fatal));
    world.new_token();
    world.run(SECOND);
    assert_eq!(world.status().warnings, [Code::NotAllowedTokenType, Code::FrameTooLarge]);
    world.give(Input::Connect(Code::OperatorConnect));
    assert_eq!((world.health(), world.status().warnings), (Health::Ok, vec![]));
}

#[test]
fn off_and_on_again_before_the_old_links_are_down_comes_up_with_new_ones() {
    let mut world = World::ready(1);
    let old = world.live();
    world.slack.stop_takes = 3 * SECOND;
    world.give(Input::Disconnect(Code::OperatorDisconnect));
    world.give(Input::Connect(Code::OperatorConnect));
    assert_eq!(world.state(), State::Connecting);
    world.run(SECOND);
    assert_eq!(world.state(), State::Ready);
    assert_ne!(world.live(), old);
    world.run(MINUTE);
    assert_eq!((world.state(), world.status().links.len()), (State::Ready, 1));
}

#[test]
fn reconnect_brings_up_each_successor_before_an_old_link_goes() {
    for links in [1, 3, 9] {
        let mut world = World::ready(links);
        let old = world.links(LinkState::Live);
        world.give(Input::Reconnect);
        world.run(MINUTE);
        let new = world.links(LinkState::Live);
        assert_eq!(new.len(), usize::from(links));
        assert!(new.iter().all(|generation| !old.contains(generation)));
        assert!(old.iter().all(|generation| world.did(&Action::Stop(*generation))));
        assert_eq!(world.went_through().last(), Some(&State::Ready));
        assert_eq!(world.went_through().len(), 4, "ready all along");
    }
}

#[test]
fn reconnect_of_what_is_off_does_nothing() {
    let mut world = World::off(1);
    assert_eq!(world.give(Input::Reconnect), []);
    assert_eq!(world.state(), State::Disconnected);
}

#[test]
fn a_reconnect_whose_successor_fails_keeps_the_old_link() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses = Some(refusal(Code::TokenRevoked, Class::Fatal));
    world.give(Input::Reconnect);
    world.run(HOUR);
    assert_eq!((world.state(), world.links(LinkState::Live)), (State::Ready, vec![old]));
    assert_eq!(world.status().warnings, [Code::TokenRevoked]);
}

#[test]
fn without_a_token_it_fails_until_there_is_one() {
    let mut world = World::connecting(1);
    world.configure(|wish| wish.token = Token::Unreadable);
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::TokenUnreadable)));
    world.run(100 * HOUR);
    assert_eq!((world.opens(), world.status().links), (1, vec![]));
    world.new_token();
    world.run(SECOND);
    assert_eq!(world.state(), State::Ready);
}

#[test]
fn without_a_token_live_links_live_on() {
    let mut world = World::stable();
    let old = world.live();
    world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
    world.configure(|wish| wish.token = Token::Unreadable);
    assert_eq!((world.state(), world.status().warnings), (State::Ready, vec![Code::TokenUnreadable]));
    world.give(Input::LinkDown(old, Code::RefreshRequested));
    assert_eq!(world.state(), State::Failed);
}

#[test]
fn halted_every_link_is_stopped_and_only_connect_a_new_token_or_the_end_of_the_cause_starts_again() {
    let connect = |world: &mut World| world.give(Input::Connect(Code::OperatorConnect));
    let lift = |world: &mut World| world.give(Input::Lift(Code::DuplicateInstallation));
    for again in [connect, lift, World::new_token as fn(&mut World) -> Vec<Action>] {
        let mut world = World::ready(2);
        world.give(Input::Halt(Code::DuplicateInstallation));
        assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::DuplicateInstallation)));
        world.give(Input::Lift(Code::Crashed));
        world.run(100 * HOUR);
        assert_eq!((world.opens(), world.status().links), (2, vec![]));
        again(&mut world);
        world.run(SECOND);
        assert_eq!((world.state(), world.health()), (State::Ready, Health::Ok));
    }
}

#[test]
fn an_app_id_that_another_app_has_is_asked_for_again_when_told_to_connect() {
    let mut world = World::with(Settings { links: 1, slack_app_id: None, timing: &Timing::NODE });
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    world.give(Input::Halt(Code::DuplicateInstallation));
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    let learnt = world.log.iter().filter(|(_, action)| matches!(action, Action::LearnAppId(_))).count();
    assert_eq!(learnt, 2);
}

#[test]
fn halted_during_a_trial_of_a_new_token_it_stays_halted() {
    let mut world = World::stable();
    world.new_token();
    world.give(Input::Halt(Code::DuplicateInstallation));
    world.run(HOUR);
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::DuplicateInstallation)));
}

#[test]
fn a_link_that_never_says_it_is_down_is_stopped_once_and_waited_for() {
    let mut world = World::ready(1);
    let stuck = world.live();
    world.slack.stop_takes = 1000 * HOUR;
    world.give(Input::Reconnect);
    world.run(HOUR);
    assert_eq!(world.links(LinkState::Closing), [stuck]);
    let stops = world.log.iter().filter(|(_, action)| *action == Action::Stop(stuck)).count();
    assert_eq!((stops, world.opens(), world.state()), (1, 2, State::Ready));
}
