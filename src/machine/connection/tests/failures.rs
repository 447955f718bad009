//! Law 3: back-off, halts and probes; law 5: whose app it is.

use super::*;

#[test]
fn the_first_retry_comes_within_a_second_and_no_wait_is_longer_than_twelve() {
    let mut world = refused(refusal(Code::Unreachable, Class::Transient));
    world.run(HOUR);
    let waits = waits(&world);
    assert!(waits[0] <= SECOND + world.slack.open_takes, "{:?}", waits[0]);
    assert!(waits.iter().all(|wait| *wait <= 12 * SECOND + world.slack.open_takes));
    assert!(waits.iter().any(|wait| *wait > 10 * SECOND), "they grow");
    assert!(waits.len() < 900, "{} attempts an hour", waits.len());
}

#[test]
fn ready_is_back_within_fifteen_seconds_of_an_outages_end_however_long_it_was() {
    for seed in 0..100 {
        let mut world = World::ready(1);
        world.connection.dice = Dice::new(seed);
        world.slack.refuses = Some(refusal(Code::Unreachable, Class::Transient));
        world.give(Input::LinkDown(world.live(), Code::ConnectionLost));
        world.run(HOUR);
        assert_eq!(world.health(), Health::Down);
        world.slack.refuses = None;
        world.run_until(15 * SECOND, |world| world.state() == State::Ready);
    }
}

#[test]
fn neither_an_address_nor_an_open_socket_nor_hello_clears_the_back_off_but_thirty_stable_seconds_do() {
    let mut world = refused(refusal(Code::Unreachable, Class::Transient));
    world.run_until(HOUR, |world| world.status().attempt == 6);
    world.slack.refuses = None;
    world.run_until(MINUTE, |world| world.state() == State::Ready);
    world.run(29 * SECOND);
    assert_eq!(world.status().attempt, 6);
    world.give(Input::LinkDown(world.live(), Code::ConnectionLost));
    assert_eq!(world.status().attempt, 7, "it was not stable yet");
    world.run_until(MINUTE, |world| world.state() == State::Ready);
    world.run(30 * SECOND);
    assert_eq!(world.status().attempt, 0);
}

#[test]
fn a_slack_that_issues_addresses_but_says_no_hello_is_asked_ever_more_slowly() {
    let mut world = World::off(1);
    world.slack.no_hello = Some(Code::NoHello);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(HOUR);
    assert!(world.opens() < 900, "{} in an hour", world.opens());
    assert!(!world.went_through().contains(&State::Ready));
}

#[test]
fn an_attempt_that_hung_is_followed_within_twelve_seconds_of_its_beginning() {
    let mut world = World::off(1);
    world.slack.no_hello = Some(Code::NoHello);
    world.slack.hello_takes = 11 * SECOND;
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(HOUR);
    let waits = waits(&world);
    assert!(waits.iter().all(|wait| *wait <= 12 * SECOND), "{waits:?}");
    assert!(waits.len() < 330, "{} in an hour", waits.len());
}

#[test]
fn a_stable_link_does_not_clear_the_back_off_of_another_that_keeps_failing() {
    let mut world = World::ready(1);
    world.run(HOUR);
    world.slack.refuses = Some(refusal(Code::Unreachable, Class::Transient));
    world.room = 3;
    world.want_links(2);
    world.run(HOUR);
    assert!(world.opens() < 900, "{} in an hour", world.opens());
    assert!(world.status().attempt > 100);
}

#[test]
fn a_network_that_takes_all_links_at_once_is_one_failure() {
    let mut world = World::ready(9);
    for generation in world.links(LinkState::Live) {
        world.give(Input::LinkDown(generation, Code::ConnectionLost));
    }
    assert_eq!((world.state(), world.status().attempt), (State::Reconnecting, 1));
    assert_eq!(world.reason(), Some(Code::ConnectionLost));
    world.run_until(SECOND, |world| world.opens() == 10);
    assert_eq!(world.links(LinkState::Opening).len(), 1, "one goes ahead");
    world.run(5 * SECOND);
    assert_eq!(world.links(LinkState::Live).len(), 9, "the others follow");
}

#[test]
fn a_lost_link_waits_a_moment_before_the_next() {
    let mut world = World::stable();
    let actions = world.give(Input::LinkDown(world.live(), Code::Silent));
    assert!(matches!(actions[..], [Action::Changed { to: State::Reconnecting, .. }]), "{actions:?}");
    world.run_until(SECOND, |world| world.opens() == 2);
}

#[test]
fn retry_after_is_waited_out_even_when_somebody_asks_for_a_connection() {
    let failure =
        OpenFailure { code: Code::Ratelimited, class: Class::Transient, retry_after: Some(45 * SECOND) };
    let mut world = refused(failure);
    world.run(SECOND);
    world.give(Input::Connect(Code::OperatorConnect));
    world.give(Input::Reconnect);
    world.run(44 * SECOND);
    assert_eq!((world.opens(), world.state()), (1, State::Reconnecting));
    world.run(SECOND);
    assert_eq!(world.opens(), 2);
}

#[test]
fn a_retry_after_of_days_is_taken_as_an_hour() {
    let failure =
        OpenFailure { code: Code::Ratelimited, class: Class::Transient, retry_after: Some(100 * HOUR) };
    let mut world = refused(failure);
    world.run(2 * HOUR);
    assert_eq!(world.opens(), 2);
}

#[test]
fn retry_after_of_a_second_failure_prolongs_the_wait_of_the_first() {
    let mut world = World::connecting(2);
    let [one, two] = world.links(LinkState::Opening)[..] else { panic!("two open at once") };
    world.give(Input::OpenFailed(one, refusal(Code::InternalError, Class::Transient)));
    let retry_after = Some(30 * SECOND);
    let limited = OpenFailure { code: Code::Ratelimited, class: Class::Transient, retry_after };
    world.give(Input::OpenFailed(two, limited));
    world.run(29 * SECOND);
    assert_eq!(world.opens(), 2);
    world.run(SECOND);
    assert!(world.opens() > 2);
}

#[test]
fn a_fatal_code_fails_and_is_probed_every_quarter_of_an_hour_until_it_is_put_right() {
    let mut world = refused(refusal(Code::MissingScope, Class::Fatal));
    world.run(SECOND);
    assert_eq!(
        (world.state(), world.health(), world.reason()),
        (State::Failed, Health::Down, Some(Code::MissingScope))
    );
    let next = world.status().next_attempt_ms.unwrap() - world.now.wall_ms;
    assert!((11 * 60_000..=18 * 60_000).contains(&next), "{next}");
    world.run(10 * HOUR);
    assert!((33..=50).contains(&world.opens()), "{}", world.opens());
    assert_eq!(world.went_through(), [State::Connecting, State::Failed], "failed while it is probed");
    assert!(world.status().attempt >= 33, "each is a failed attempt");
    world.slack.refuses = None;
    world.run(18 * MINUTE);
    assert_eq!((world.state(), world.health(), world.reason()), (State::Ready, Health::Ok, None));
    assert_eq!(world.went_through(), [State::Connecting, State::Failed, State::Ready]);
}

#[test]
fn a_probe_that_learns_nothing_leaves_the_failure_and_its_reason_as_they_are() {
    let mut world = refused(refusal(Code::InvalidAuth, Class::Fatal));
    world.run(SECOND);
    world.slack.refuses = Some(refusal(Code::Unreachable, Class::Transient));
    world.run(5 * HOUR);
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::InvalidAuth)));
    assert!((16..=27).contains(&world.opens()), "{}", world.opens());
    assert_eq!(world.status().attempt as usize, world.opens());
}

#[test]
fn a_retry_after_puts_a_probe_off() {
    let failure = OpenFailure { code: Code::AccessDenied, class: Class::Fatal, retry_after: Some(HOUR) };
    let mut world = refused(failure);
    world.run(HOUR);
    assert_eq!(world.opens(), 1);
    world.run(SECOND);
    assert_eq!(world.opens(), 2);
}

#[test]
fn a_running_retry_after_is_waited_out_even_when_the_links_that_are_there_prove_stable() {
    let mut world = World::stable();
    let retry_after = Some(HOUR);
    world.slack.refuses = Some(OpenFailure { code: Code::Ratelimited, class: Class::Transient, retry_after });
    world.room = 3;
    world.want_links(2);
    world.run(SECOND);
    world.want_links(1);
    world.run(MINUTE);
    assert_eq!(world.status().attempt, 0);
    world.want_links(2);
    assert_eq!(world.opens(), 2);
}

#[test]
fn what_no_probe_can_mend_is_not_probed() {
    let mut world = refused(refusal(Code::InvalidArguments, Class::FatalForever));
    world.run(100 * HOUR);
    assert_eq!((world.opens(), world.state(), world.status().next_attempt_ms), (1, State::Failed, None));
    assert_eq!(world.connection.poll_timeout(), None);
}

#[test]
fn socket_mode_switched_off_fails_and_is_probed() {
    let mut world = World::stable();
    world.slack.no_hello = Some(Code::LinkDisabled);
    world.give(Input::LinkDown(world.live(), Code::LinkDisabled));
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::LinkDisabled)));
    world.run(10 * HOUR);
    assert!((33..=51).contains(&world.opens()), "{}", world.opens());
    world.slack.no_hello = None;
    world.run(18 * MINUTE);
    assert_eq!(world.state(), State::Ready);
}

#[test]
fn while_another_link_is_live_a_fatal_code_is_a_warning_and_fails_when_that_link_goes() {
    let mut world = World::stable();
    let old = world.live();
    world.slack.refuses = Some(refusal(Code::TokenRevoked, Class::Fatal));
    world.give(Input::LinkDraining(old, Code::RefreshRequested, 10 * SECOND));
    world.run(SECOND);
    assert_eq!((world.state(), world.health()), (State::Ready, Health::Degraded));
    assert_eq!(
        (world.status().warnings, world.reason()),
        (vec![Code::TokenRevoked], Some(Code::TokenRevoked))
    );
    world.give(Input::LinkDown(old, Code::RefreshRequested));
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::TokenRevoked)));
}

#[test]
fn a_probe_waits_until_a_link_is_missing() {
    let mut world = World::ready(1);
    world.slack.refuses = Some(refusal(Code::TokenRevoked, Class::Fatal));
    world.room = 3;
    world.want_links(2);
    world.run(SECOND);
    world.want_links(1);
    world.run(HOUR);
    assert_eq!((world.opens(), world.status().next_attempt_ms), (2, None));
    world.give(Input::LinkDown(world.live(), Code::ClosedBySlack));
    assert_eq!((world.opens(), world.state()), (3, State::Failed), "what is overdue comes at once");
}

#[test]
fn a_workspace_that_moves_into_an_organisation_is_waited_for_in_slacks_steps() {
    let mut world = refused(refusal(Code::TeamAddedToOrg, Class::Slow));
    world.run(10 * MINUTE);
    for (wait, step) in waits(&world).into_iter().zip([1, 3, 10, 30, 60, 60]) {
        let step = step * SECOND;
        assert!(wait >= step && wait <= step * 6 / 5 + world.slack.open_takes, "{wait:?} for {step:?}");
    }
}

#[test]
fn an_unknown_code_is_tried_again_after_a_minute_doubling_to_a_quarter_of_an_hour() {
    let mut world = refused(refusal(Code::UnknownSlackError, Class::Unknown));
    world.run(3 * HOUR);
    for (wait, step) in waits(&world).into_iter().zip([1, 2, 4, 8, 15, 15]) {
        let step = step * MINUTE;
        assert!(wait >= step && wait <= step * 6 / 5 + world.slack.open_takes, "{wait:?} for {step:?}");
    }
    assert_eq!(world.state(), State::Reconnecting);
}

#[test]
fn too_many_websockets_waits_half_a_minute_doubling_to_ten_and_keeps_the_other_links() {
    let mut world = World::ready(1);
    world.run(MINUTE);
    let kept = world.live();
    world.slack.no_hello = Some(Code::TooManyWebsockets);
    world.room = 3;
    world.want_links(2);
    world.run(SECOND);
    assert_eq!((world.state(), world.health()), (State::Ready, Health::Degraded));
    assert_eq!(world.status().warnings, [Code::TooManyWebsockets]);
    world.run(2 * HOUR);
    let waits = waits(&world);
    for (wait, step) in waits.iter().skip(1).zip([30, 60, 120, 240, 480, 600, 600]) {
        let step = step * SECOND;
        assert!(*wait >= step && *wait <= step * 6 / 5 + SECOND, "{wait:?} for {step:?}");
    }
    assert_eq!(world.links(LinkState::Live), [kept]);
    world.slack.no_hello = None;
    world.run(20 * MINUTE);
    assert_eq!((world.health(), world.status().warnings), (Health::Ok, vec![]));
}

#[test]
fn a_worse_failure_during_a_short_wait_makes_it_long() {
    let mut world = World::connecting(2);
    let [one, two] = world.links(LinkState::Opening)[..] else { panic!("two open at once") };
    world.give(Input::OpenFailed(one, refusal(Code::InternalError, Class::Transient)));
    world.forget(two);
    world.give(Input::UrlIssued(two));
    world.forget(two);
    world.give(Input::LinkDown(two, Code::TooManyWebsockets));
    world.run(29 * SECOND);
    assert_eq!(world.opens(), 2);
}

#[test]
fn a_frame_too_large_reconnects_and_is_shown_for_an_hour() {
    let mut world = World::stable();
    world.give(Input::LinkDown(world.live(), Code::FrameTooLarge));
    world.run(2 * SECOND);
    assert_eq!((world.state(), world.health()), (State::Ready, Health::Degraded));
    assert_eq!(world.status().warnings, [Code::FrameTooLarge]);
    world.run(HOUR);
    assert_eq!((world.health(), world.status().warnings), (Health::Ok, vec![]));
}

#[test]
fn a_hello_of_another_app_is_never_ready_and_fails_without_a_probe() {
    let mut world = World::off(2);
    world.slack.hello.app_id = Some("A2".into());
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(100 * HOUR);
    assert!(!world.went_through().contains(&State::Ready));
    assert_eq!((world.state(), world.reason()), (State::Failed, Some(Code::AppMismatch)));
    assert_eq!((world.status().links, world.opens()), (vec![], 2));
}

#[test]
fn a_mismatch_is_not_softened_by_a_later_error_that_a_probe_could_mend() {
    let mut world = World::connecting(1);
    let generation = world.opening();
    world.give(Input::UrlIssued(generation));
    world.give(Input::LinkUp(generation, Hello { app_id: Some("A2".into()), ..Hello::default() }));
    world.run(100 * HOUR);
    assert_eq!((world.opens(), world.reason()), (1, Some(Code::AppMismatch)));
}

#[test]
fn the_app_id_of_the_first_hello_is_learnt_once_and_binds_the_next() {
    let mut world = World::with(Settings { links: 1, slack_app_id: None, timing: &Timing::NODE });
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    assert!(world.did(&Action::LearnAppId("A1".into())));
    assert_eq!(world.status().slack_app_id.as_deref(), Some("A1"));
    world.give(Input::LinkDraining(world.live(), Code::RefreshRequested, 10 * SECOND));
    world.run(SECOND);
    let learnt = world.log.iter().filter(|(_, action)| matches!(action, Action::LearnAppId(_))).count();
    assert_eq!(learnt, 1);
    world.slack.hello.app_id = Some("A2".into());
    world.give(Input::LinkDown(world.live(), Code::ConnectionLost));
    world.run(MINUTE);
    assert_eq!(world.reason(), Some(Code::AppMismatch));
}

#[test]
fn a_hello_that_names_no_app_is_taken() {
    let mut world = World::off(1);
    world.slack.hello = Hello::default();
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    assert_eq!(world.state(), State::Ready);
}

fn refused(failure: OpenFailure) -> World {
    let mut world = World::off(1);
    world.slack.refuses = Some(failure);
    world.give(Input::Connect(Code::OperatorConnect));
    world
}

/// From each asking for an address to the next.
fn waits(world: &World) -> Vec<Duration> {
    let opens = world.log.iter().filter(|(_, action)| matches!(action, Action::Open { .. }));
    let at: Vec<_> = opens.map(|(at, _)| *at).collect();
    at.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()
}
