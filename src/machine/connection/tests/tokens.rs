//! Law 7: a new token is tried beside the old one.

use super::*;

#[test]
fn a_new_token_proves_itself_on_a_link_of_its_own_before_the_old_link_goes() {
    let mut world = World::stable();
    let old = world.live();
    let actions = world.new_token();
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
    world.new_token();
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
    world.new_token();
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
    world.new_token();
    world.run(SECOND);
    world.slack.refuses_candidate = None;
    world.new_token();
    world.run(SECOND);
    assert_eq!((world.health(), world.status().warnings), (Health::Ok, vec![]));
}

#[test]
fn a_new_token_of_another_app_is_dropped() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.hello.app_id = Some("A2".into());
    world.new_token();
    world.run(MINUTE);
    assert!(world.did(&Action::DropCandidate(Code::AppMismatch)) && !world.did(&Action::Promote));
    assert_eq!((world.state(), world.links(LinkState::Live)), (State::Ready, vec![old]));
}

#[test]
fn a_trial_that_fails_for_a_passing_reason_is_repeated_by_back_off() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses_candidate = Some(refusal(Code::InternalError, Class::Transient));
    world.new_token();
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
    world.new_token();
    world.run(SECOND);
    let actions = world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
    assert!(matches!(actions[..], [Action::Open { token: Which::InForce, .. }]), "{actions:?}");
    world.run(5 * SECOND);
    assert_eq!(world.links(LinkState::Live).len(), 1);
}

#[test]
fn a_trial_under_way_is_the_successor_of_a_link_that_ends() {
    let mut world = World::stable();
    world.new_token();
    world.give(Input::LinkDraining(world.live(), Code::RefreshRequested, 10 * SECOND));
    assert_eq!(world.opens(), 2);
    world.run(SECOND);
    assert_eq!((world.opens(), world.links(LinkState::Live).len()), (2, 1));
}

#[test]
fn without_a_live_link_a_new_token_is_tried_at_once_and_the_old_one_kept_until_its_hello() {
    for class in [Class::Fatal, Class::FatalForever, Class::Unknown, Class::Transient] {
        let mut world = World::off(1);
        let retry_after = Some(HOUR);
        world.slack.refuses = Some(OpenFailure { code: Code::InvalidAuth, class, retry_after });
        world.give(Input::Connect(Code::OperatorConnect));
        world.run(SECOND);
        let actions = world.new_token();
        assert!(matches!(actions[0], Action::Open { token: Which::Candidate, .. }), "{actions:?}");
        assert_eq!((world.state(), world.reason()), (State::Connecting, Some(Code::NewToken)));
        assert!(!world.did(&Action::Promote));
        world.run(SECOND);
        assert!(world.did(&Action::Promote));
        assert_eq!((world.state(), world.status().attempt), (State::Ready, 0));
    }
}

#[test]
fn a_mistyped_token_put_while_the_network_is_away_never_takes_the_place_of_the_good_one() {
    let mut world = World::stable();
    let away = Some(refusal(Code::Unreachable, Class::Transient));
    (world.slack.refuses, world.slack.refuses_candidate) = (away, away);
    world.give(Input::LinkDown(world.live(), Code::ConnectionLost));
    world.new_token();
    world.run(HOUR);
    assert!(!world.did(&Action::Promote));
    world.slack.refuses = None;
    world.slack.refuses_candidate = Some(refusal(Code::InvalidAuth, Class::Fatal));
    world.run(15 * SECOND);
    assert!(world.did(&Action::DropCandidate(Code::InvalidAuth)) && !world.did(&Action::Promote));
    assert_eq!((world.state(), world.status().warnings), (State::Ready, vec![Code::InvalidAuth]));
}

#[test]
fn a_new_token_refused_where_the_old_one_had_failed_is_dropped_and_its_code_is_what_failed() {
    let mut world = World::off(1);
    world.slack.refuses = Some(refusal(Code::TokenRevoked, Class::Fatal));
    world.slack.refuses_candidate = Some(refusal(Code::NotAllowedTokenType, Class::Fatal));
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    world.new_token();
    world.run(SECOND);
    assert!(world.did(&Action::DropCandidate(Code::NotAllowedTokenType)));
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::NotAllowedTokenType)));
}

#[test]
fn without_a_live_link_asking_with_the_old_token_is_called_off_to_make_room() {
    let mut world = World::connecting(1);
    let asking = world.opening();
    let actions = world.new_token();
    assert_eq!(actions[0], Action::Abandon(asking));
    assert!(matches!(actions[1], Action::Open { token: Which::Candidate, .. }), "{actions:?}");
    world.run(SECOND);
    assert_eq!((world.state(), world.status().links.len()), (State::Ready, 1));
}

#[test]
fn a_new_token_for_what_is_off_waits_and_is_the_first_to_be_tried_when_on() {
    let mut world = World::off(1);
    assert_eq!(world.new_token(), []);
    assert_eq!(world.state(), State::Disconnected);
    let actions = world.configure(|wish| wish.on = true);
    assert!(matches!(actions[0], Action::Open { token: Which::Candidate, .. }), "{actions:?}");
    assert_eq!(world.opens(), 1);
}

#[test]
fn a_trial_interrupted_by_off_begins_again_when_on_again() {
    let mut world = World::stable();
    world.new_token();
    world.configure(|wish| wish.on = false);
    world.run(SECOND);
    world.configure(|wish| wish.on = true);
    assert!(!world.did(&Action::Promote));
    world.run(SECOND);
    assert!(world.did(&Action::Promote));
}

#[test]
fn at_the_start_the_token_in_force_goes_first_and_the_candidate_is_tried_beside_its_link() {
    let mut world = World::off(1);
    let actions = world.give(start());
    assert!(matches!(actions[..], [Action::Open { token: Which::InForce, .. }, _]), "{actions:?}");
    world.run_until(SECOND, |world| world.state() == State::Ready);
    assert!(!world.did(&Action::Promote));
    assert_eq!(world.opens(), 2);
    world.run(SECOND);
    assert!(world.did(&Action::Promote));
}

#[test]
fn at_the_start_the_candidate_is_tried_when_the_token_in_force_does_not_work() {
    for class in [Class::Fatal, Class::FatalForever, Class::Unknown, Class::Transient] {
        let mut world = World::off(1);
        world.slack.refuses = Some(refusal(Code::InvalidAuth, class));
        world.give(start());
        world.run(SECOND);
        assert_eq!(world.state(), State::Ready, "{class:?}");
        assert!(world.did(&Action::Promote));
    }
}

#[test]
fn a_withdrawn_candidate_is_tried_no_more_and_its_link_is_stopped() {
    let mut world = World::stable();
    let old = world.live();
    world.new_token();
    let trial = world.opening();
    assert_eq!(world.configure(|wish| wish.candidate = Token::Absent), [Action::Abandon(trial)]);
    world.new_token();
    world.run(Duration::from_millis(150));
    let trial = world.opening();
    assert_eq!(world.configure(|wish| wish.candidate = Token::Absent), [Action::Stop(trial)]);
    world.run(HOUR);
    assert!(!world.did(&Action::Promote));
    assert_eq!((world.opens(), world.links(LinkState::Live)), (3, vec![old]));
}

#[test]
fn an_erased_token_keeps_no_socket_and_its_candidate_is_tried_no_more() {
    let mut world = World::stable();
    world.new_token();
    world.configure(|wish| (wish.token, wish.candidate) = (Token::Absent, Token::Absent));
    world.run(HOUR);
    assert_eq!((world.status().links, world.opens()), (vec![], 2));
    assert_eq!(
        (world.state(), world.health(), world.reason()),
        (State::Failed, Health::Down, Some(Code::NotAuthed))
    );
    world.configure(|wish| wish.token = Token::Changed);
    assert_eq!((world.state(), world.reason()), (State::Connecting, Some(Code::NewToken)));
    world.run(SECOND);
    assert_eq!(world.health(), Health::Ok);
}

#[test]
fn turned_on_without_a_usable_token_it_is_failed_and_stays_so_when_told_to_connect() {
    for (token, code) in [(Token::Absent, Code::NotAuthed), (Token::Unreadable, Code::TokenUnreadable)] {
        let mut world = World::off(1);
        world.configure(|wish| wish.token = token);
        assert_eq!((world.state(), world.health()), (State::Disconnected, Health::Off));
        world.configure(|wish| (wish.on, wish.token) = (true, token));
        for _ in 0..2 {
            assert_eq!(
                (world.state(), world.health(), world.reason()),
                (State::Failed, Health::Down, Some(code))
            );
            world.give(Input::Connect(Code::OperatorConnect));
        }
        assert_eq!(world.opens(), 0);
    }
}

#[test]
fn a_candidate_that_cannot_be_read_is_a_warning_and_the_token_in_force_goes_on() {
    let mut world = World::off(1);
    world.configure(|wish| (wish.on, wish.token, wish.candidate) = (true, Token::Changed, Token::Unreadable));
    world.run(SECOND);
    assert_eq!((world.state(), world.status().warnings), (State::Ready, vec![Code::TokenUnreadable]));
    world.configure(|wish| wish.candidate = Token::Absent);
    assert_eq!(world.health(), Health::Ok);
}

#[test]
fn the_same_app_again_changes_nothing() {
    let mut world = World::stable();
    world.slack.refuses_candidate = Some(refusal(Code::NotAllowedTokenType, Class::Fatal));
    world.new_token();
    assert_eq!(world.configure(|_| {}), [], "its trial goes on");
    world.run(SECOND);
    let before = world.status();
    assert_eq!(world.configure(|_| {}), []);
    assert_eq!(world.status(), before, "the warning of the refused one stays");
}

#[test]
fn another_token_in_force_replaces_every_link_without_a_gap() {
    let mut world = World::ready(3);
    let old = world.links(LinkState::Live);
    world.configure(|wish| wish.token = Token::Changed);
    world.run(MINUTE);
    let new = world.links(LinkState::Live);
    assert!(new.len() == 3 && new.iter().all(|generation| !old.contains(generation)));
    assert_eq!(world.went_through().len(), 4, "ready all along");
}

#[test]
fn when_the_old_token_dies_during_a_trial_the_new_one_takes_its_place() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses_candidate = Some(refusal(Code::InternalError, Class::Unknown));
    world.new_token();
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
    world.new_token();
    let first = world.opening();
    let actions = world.new_token();
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
    world.new_token();
    world.run(SECOND);
    assert_eq!((world.state(), world.health()), (State::Ready, Health::Ok));
}

/// A node that starts and finds both tokens stored.
fn start() -> Input {
    Input::Configure(Wish { on: true, links: 1, token: Token::Changed, candidate: Token::Changed })
}
