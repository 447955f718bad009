//! Law 1, no gap at a refresh, and law 2, how many links.

use super::*;

#[test]
fn an_announced_end_opens_the_successor_at_once_and_leaves_the_old_link_to_slack() {
    for code in [Code::DisconnectWarning, Code::RefreshRequested, Code::UnknownDisconnect] {
        let mut world = World::stable();
        let old = world.live();
        world.slack.open_takes = Duration::from_millis(700);
        let actions = world.give(Input::LinkDraining(old, code, 10 * SECOND));
        assert!(matches!(actions[..], [Action::Open { token: Which::InForce, .. }]), "{actions:?}");
        assert_eq!((world.state(), world.health(), world.reason()), (State::Ready, Health::Ok, None));
        world.run(9 * SECOND);
        assert!(!world.did(&Action::Stop(old)));
        assert_eq!(world.links(LinkState::Draining), [old]);
        assert_eq!(world.links(LinkState::Live).len(), 1);
        world.give(Input::LinkDown(old, code));
        world.run(MINUTE);
        assert_eq!(world.went_through().last(), Some(&State::Ready));
        assert_eq!(world.opens(), 2);
    }
}

#[test]
fn several_refreshes_in_a_row_leave_no_gap_and_an_endless_row_is_slowed_down() {
    let mut world = World::stable();
    let mut waited = Vec::new();
    for _ in 0..12 {
        let (old, opens) = (world.live(), world.opens());
        world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
        waited.push(world.run_until(MINUTE, |world| world.opens() > opens));
        world.run_until(SECOND, |world| !world.links(LinkState::Live).is_empty());
        world.give(Input::LinkDown(old, Code::RefreshRequested));
        world.run(SECOND);
    }
    assert_eq!(waited[..9], [Duration::ZERO; 9], "the first had lived long, eight had not");
    assert!(waited[9..].iter().any(|wait| *wait > Duration::ZERO), "{waited:?}");
    assert_eq!(world.went_through().last(), Some(&State::Ready));
}

#[test]
fn when_slack_hangs_up_before_the_successor_is_up_the_reason_is_slacks() {
    let mut world = World::stable();
    let old = world.live();
    world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
    let actions = world.give(Input::LinkDown(old, Code::RefreshRequested));
    let (from, to, code) = (State::Ready, State::Connecting, Some(Code::RefreshRequested));
    assert_eq!(actions, [Action::Changed { from, to, code, generation: Some(old) }]);
    world.run(SECOND);
    assert_eq!(world.opens(), 2, "one successor is enough");
}

#[test]
fn a_late_close_of_the_old_link_does_not_touch_its_successor() {
    let mut world = World::stable();
    let old = world.live();
    world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
    world.run(SECOND);
    let new = world.live();
    world.give(Input::LinkDown(old, Code::RefreshRequested));
    world.give(Input::LinkDown(old, Code::ConnectionLost));
    assert_eq!(world.links(LinkState::Live), [new]);
    assert_eq!(world.opens(), 2);
}

#[test]
fn our_own_refresh_comes_in_the_last_minutes_of_the_links_time_successor_first() {
    let lifetime = Duration::from_mins(301);
    let mut leads = Vec::new();
    for seed in 0..50 {
        let mut world = World::off(1);
        world.connection.dice = Dice::new(seed);
        world.slack.hello.lifetime = Some(lifetime);
        world.give(Input::Connect(Code::OperatorConnect));
        world.run(SECOND);
        let old = world.live();
        let up_at = world.log.last().unwrap().0;
        world.run_until(lifetime, |world| world.opens() == 2);
        let lead = (up_at + lifetime).saturating_sub(world.now.mono);
        assert!(lead >= 150 * SECOND && lead <= 600 * SECOND, "{lead:?}");
        assert!(!world.log.iter().any(|(_, action)| matches!(action, Action::Retire(..))), "successor first");
        leads.push(lead);
        world.run(SECOND);
        let retired = world.log.iter().find_map(|(at, action)| {
            let Action::Retire(generation, within) = action else { return None };
            Some((*at, *generation, *within))
        });
        let (at, generation, within) = retired.unwrap();
        assert_eq!((generation, at + within), (old, up_at + lifetime + MINUTE));
        assert_eq!(world.links(LinkState::Draining), [old]);
        assert_eq!(world.health(), Health::Ok);
        world.run(2 * MINUTE);
        assert_eq!(world.went_through().len(), 4, "ready all along");
    }
    leads.sort_unstable();
    assert!(leads[0] < 240 * SECOND && leads[49] > 510 * SECOND, "spread over the window: {leads:?}");
}

#[test]
fn a_planned_refresh_that_fails_keeps_the_old_link() {
    let mut world = World::off(1);
    world.slack.hello.lifetime = Some(HOUR);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    let old = world.live();
    world.slack.refuses = Some(refusal(Code::ServiceUnavailable, Class::Transient));
    world.run(HOUR.saturating_sub(2 * SECOND));
    assert!(world.opens() > 3, "tried again by back-off");
    assert_eq!((world.links(LinkState::Live), world.state()), (vec![old], State::Ready));
    world.slack.refuses = None;
    world.run(15 * SECOND);
    assert_ne!(world.live(), old);
}

#[test]
fn a_lifetime_too_short_to_plan_by_is_no_reason_to_refresh() {
    for lifetime in [ZERO, SECOND, 14 * SECOND] {
        let mut world = World::off(1);
        world.slack.hello.lifetime = Some(lifetime);
        world.give(Input::Connect(Code::OperatorConnect));
        world.run(HOUR);
        assert_eq!(world.opens(), 1);
    }
}

#[test]
fn with_all_room_taken_the_oldest_draining_link_makes_way_for_a_needed_successor() {
    let mut world = World::stable();
    let first = world.live();
    world.give(Input::LinkDraining(first, Code::RefreshRequested, 10 * SECOND));
    world.run(SECOND);
    let second = world.live();
    let actions = world.give(Input::LinkDraining(second, Code::RefreshRequested, 10 * SECOND));
    assert_eq!(actions, [Action::Stop(first)]);
    let actions = world.give(Input::LinkDown(first, Code::RefreshRequested));
    assert!(matches!(actions[..], [Action::Open { .. }]), "{actions:?}");
    assert_eq!((world.state(), world.links(LinkState::Draining)), (State::Ready, vec![second]));
}

#[test]
fn a_slack_that_says_hello_and_disconnect_in_turn_is_not_hammered() {
    let mut world = World::off(1);
    world.slack.disconnects = Some((ZERO, Code::RefreshRequested));
    world.slack.closes_after = ZERO;
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(10 * MINUTE);
    let opens = world.opens();
    // With waits of six seconds on average a hundred in ten minutes.
    assert!((50..150).contains(&opens), "{opens}");
}

#[test]
fn a_link_that_is_refreshed_soon_after_hello_once_gets_its_successor_at_once() {
    let mut world = World::ready(1);
    let actions = world.give(Input::LinkDraining(world.live(), Code::RefreshRequested, 10 * SECOND));
    assert!(matches!(actions[..], [Action::Open { .. }]), "{actions:?}");
}

#[test]
fn refreshes_every_fifteen_seconds_never_make_the_successor_wait() {
    let mut world = World::off(1);
    world.slack.disconnects = Some((15 * SECOND, Code::RefreshRequested));
    world.slack.closes_after = 2 * SECOND;
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(10 * MINUTE);
    assert_eq!(world.went_through().len(), 4, "ready all along: {:?}", world.went_through());
    assert!(world.opens() >= 38);
}

#[test]
fn several_links_are_refreshed_without_ever_having_more_than_one_too_many() {
    let mut world = World::off(9);
    world.slack.hello.lifetime = Some(HOUR);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(6 * HOUR);
    assert_eq!(world.went_through().len(), 4, "ready all along");
    assert!(world.opens() > 9 * 6);
    assert_eq!(world.links(LinkState::Live).len(), 9);
}

#[test]
fn more_wanted_links_open_and_fewer_let_the_oldest_go() {
    let mut world = World::ready(1);
    let first = world.live();
    world.room = 4;
    world.want_links(3);
    world.run(SECOND);
    assert_eq!(world.links(LinkState::Live).len(), 3);
    world.want_links(2);
    assert_eq!(world.links(LinkState::Closing), [first]);
    world.run(MINUTE);
    assert_eq!((world.links(LinkState::Live).len(), world.health()), (2, Health::Ok));
}

#[test]
fn fewer_wanted_links_are_not_opened_in_the_first_place() {
    let mut world = World::connecting(3);
    world.want_links(1);
    world.run(MINUTE);
    assert_eq!((world.links(LinkState::Live).len(), world.status().links.len()), (1, 1));
}

#[test]
fn the_number_of_links_is_at_least_one_and_at_most_nine() {
    let mut world = World::off(1);
    world.room = 10;
    world.want_links(200);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    assert_eq!(world.links(LinkState::Live).len(), 9);
    world.want_links(0);
    world.run(SECOND);
    assert_eq!(world.links(LinkState::Live).len(), 1);
}
