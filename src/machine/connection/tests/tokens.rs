//! Law 7: a new token is tried beside the old one.

use super::*;

#[test]
fn a_new_token_proves_itself_on_a_link_of_its_own_before_the_old_link_goes() {
    let mut world = World::stable();
    let old = world.live();
    let actions = world.give(Input::NewToken);
    assert!(matches!(actions[..], [Action::Open { token: Which::Candidate, .. }]), "{actions:?}");
    world.run(200 * SECOND / 1000);
    assert!(!world.did(&Action::Promote) && !world.did(&Action::Stop(old)));
    world.run(SECOND);
    assert!(world.did(&Action::Promote) && world.did(&Action::Stop(old)));
    assert_ne!(world.live(), old);
    assert_eq!(world.went_through().len(), 4, "ready all along");
    assert_eq!((world.health(), world.status().links.len()), (Health::Ok, 1));
}

#[test]
fn with_several_links_every_one_is_replaced_one_after_the_other() {
    let mut world = World::ready(3);
    let old = world.links(LinkState::Live);
    world.give(Input::NewToken);
    world.run(MINUTE);
    let new = world.links(LinkState::Live);
    assert_eq!(new.len(), 3);
    assert!(new.iter().all(|generation| !old.contains(generation)));
    let candidates = world
        .log
        .iter()
        .filter(|(_, action)| matches!(action, Action::Open { token: Which::Candidate, .. }))
        .count();
    assert_eq!(candidates, 1, "once it is promoted it is the token in force");
}

#[test]
fn a_new_token_that_slack_refuses_is_dropped_and_the_old_link_stays_ready() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses_candidate = Some(refusal(Code::NotAllowedTokenType, Class::Fatal));
    world.give(Input::NewToken);
    world.run(HOUR);
    assert!(world.did(&Action::DropCandidate(Code::NotAllowedTokenType)) && !world.did(&Action::Promote));
    assert_eq!((world.state(), world.links(LinkState::Live)), (State::Ready, vec![old]));
    assert_eq!(
        (world.health(), world.status().warnings),
        (Health::Degraded, vec![Code::NotAllowedTokenType])
    );
    assert_eq!(world.opens(), 2, "it is not tried again");
}

#[test]
fn the_warning_about_a_refused_token_goes_with_the_next_token() {
    let mut world = World::stable();
    world.slack.refuses_candidate = Some(refusal(Code::NotAllowedTokenType, Class::Fatal));
    world.give(Input::NewToken);
    world.run(SECOND);
    world.slack.refuses_candidate = None;
    world.give(Input::NewToken);
    world.run(SECOND);
    assert_eq!((world.health(), world.status().warnings), (Health::Ok, vec![]));
}

#[test]
fn a_new_token_of_another_app_is_dropped() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.hello.app_id = Some("A2".into());
    world.give(Input::NewToken);
    world.run(MINUTE);
    assert!(world.did(&Action::DropCandidate(Code::AppMismatch)) && !world.did(&Action::Promote));
    assert_eq!((world.state(), world.links(LinkState::Live)), (State::Ready, vec![old]));
}

#[test]
fn a_trial_that_fails_for_a_passing_reason_is_repeated_by_back_off() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses_candidate = Some(refusal(Code::InternalError, Class::Transient));
    world.give(Input::NewToken);
    world.run(10 * MINUTE);
    assert!((50..200).contains(&world.opens()), "{}", world.opens());
    assert_eq!((world.links(LinkState::Live), world.health()), (vec![old], Health::Ok));
    world.slack.refuses_candidate = None;
    world.run(15 * SECOND);
    assert!(world.did(&Action::Promote));
}

#[test]
fn while_a_trial_waits_the_old_token_still_opens_successors() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses_candidate = Some(refusal(Code::InternalError, Class::Unknown));
    world.give(Input::NewToken);
    world.run(SECOND);
    let actions = world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
    assert!(matches!(actions[..], [Action::Open { token: Which::InForce, .. }]), "{actions:?}");
    world.run(5 * SECOND);
    assert_eq!(world.links(LinkState::Live).len(), 1);
}

#[test]
fn a_trial_under_way_is_the_successor_of_a_link_that_ends() {
    let mut world = World::stable();
    world.give(Input::NewToken);
    world.give(Input::LinkDraining(world.live(), Code::RefreshRequested, 10 * SECOND));
    assert_eq!(world.opens(), 2);
    world.run(SECOND);
    assert_eq!((world.opens(), world.links(LinkState::Live).len()), (2, 1));
}

#[test]
fn without_a_live_link_a_new_token_is_in_force_at_once_and_clears_what_failed_before() {
    for class in [Class::Fatal, Class::FatalForever, Class::Unknown, Class::Transient] {
        let mut world = World::off(1);
        let retry_after = Some(HOUR);
        world.slack.refuses = Some(OpenFailure { code: Code::InvalidAuth, class, retry_after });
        world.give(Input::Connect(Code::OperatorConnect));
        world.run(SECOND);
        let actions = world.give(Input::NewToken);
        assert_eq!(actions[0], Action::Promote);
        assert!(matches!(actions[1], Action::Open { token: Which::InForce, .. }), "{actions:?}");
        assert_eq!((world.state(), world.status().attempt), (State::Connecting, 0));
        assert_eq!(world.reason(), Some(Code::NewToken));
    }
}

#[test]
fn without_a_live_link_attempts_with_the_old_token_are_called_off() {
    let mut world = World::connecting(1);
    let asking = world.opening();
    let actions = world.give(Input::NewToken);
    assert_eq!(actions[..2], [Action::Promote, Action::Abandon(asking)]);
    world.run(SECOND);
    assert_eq!((world.state(), world.status().links.len()), (State::Ready, 1));
}

#[test]
fn a_new_token_for_what_is_off_is_in_force_and_opens_nothing() {
    let mut world = World::off(1);
    assert_eq!(world.give(Input::NewToken), [Action::Promote]);
    assert_eq!(world.state(), State::Disconnected);
}

#[test]
fn a_trial_interrupted_by_off_is_in_force_when_on_again() {
    let mut world = World::stable();
    world.give(Input::NewToken);
    world.give(Input::Disconnect(Code::OperatorDisconnect));
    world.run(SECOND);
    let actions = world.give(Input::Connect(Code::OperatorConnect));
    assert_eq!(actions[0], Action::Promote);
}

#[test]
fn when_the_old_token_dies_during_a_trial_the_new_one_takes_its_place() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses_candidate = Some(refusal(Code::InternalError, Class::Unknown));
    world.give(Input::NewToken);
    world.run(SECOND);
    world.slack.refuses = Some(refusal(Code::TokenRevoked, Class::Fatal));
    world.slack.refuses_candidate = None;
    world.give(Input::LinkDown(old, Code::ClosedBySlack));
    world.run(5 * SECOND);
    assert_eq!((world.state(), world.status().warnings), (State::Ready, vec![]));
    assert!(world.did(&Action::Promote));
}

#[test]
fn a_second_new_token_replaces_the_first_in_its_trial() {
    let mut world = World::stable();
    world.give(Input::NewToken);
    let first = world.opening();
    let actions = world.give(Input::NewToken);
    assert_eq!(actions[0], Action::Abandon(first));
    assert!(matches!(actions[1], Action::Open { token: Which::Candidate, .. }), "{actions:?}");
    world.run(SECOND);
    let promotions = world.log.iter().filter(|(_, action)| *action == Action::Promote).count();
    assert_eq!((promotions, world.links(LinkState::Live).len()), (1, 1));
}

#[test]
fn a_new_token_mends_a_warning_that_the_old_one_is_refused() {
    let mut world = World::stable();
    world.slack.refuses = Some(refusal(Code::TokenRevoked, Class::Fatal));
    world.give(Input::Reconnect);
    world.run(SECOND);
    assert_eq!(world.health(), Health::Degraded);
    world.give(Input::NewToken);
    world.run(SECOND);
    assert_eq!((world.state(), world.health()), (State::Ready, Health::Ok));
}
