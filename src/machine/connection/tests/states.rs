//! The table of states, row by row, and the table of inputs.

use super::*;

/// Makes a world whose one link is in a certain phase.
type Phase = fn() -> World;

#[test]
fn from_off_to_ready_each_state_is_told_in_its_order_with_its_link() {
    let mut world = World::off(1);
    assert_eq!((world.state(), world.health()), (State::Disconnected, Health::Off));
    world.give(Input::Connect(Code::OperatorConnect));
    assert_eq!((world.state(), world.health()), (State::Connecting, Health::Down));
    world.run(SECOND);
    let changes: Vec<_> =
        world.log.iter().filter(|(_, action)| matches!(action, Action::Changed { .. })).cloned().collect();
    let change = |ms, from, to, code| {
        let generation = Some(Generation(1));
        (HOUR + Duration::from_millis(ms), Action::Changed { from, to, code, generation })
    };
    let asked = Some(Code::OperatorConnect);
    let expected = [
        change(0, State::Disconnected, State::Connecting, asked),
        change(100, State::Connecting, State::Authenticated, asked),
        change(200, State::Authenticated, State::Connected, asked),
        change(300, State::Connected, State::Ready, None),
    ];
    assert_eq!(changes, expected);
    assert_eq!(world.health(), Health::Ok);
}

#[test]
fn a_ready_connection_tells_all_there_is_to_say() {
    let world = World::ready(1);
    let status = world.status();
    assert_eq!(status.since_ms, 1_700_000_000_300);
    assert_eq!((status.reason, status.attempt, status.next_attempt_ms), (None, 0, None));
    assert_eq!((status.warnings, status.slack_app_id), (vec![], Some("A1".into())));
    let link = &status.links[0];
    assert_eq!(
        (link.generation, link.state, link.num_connections),
        (Generation(1), LinkState::Live, Some(1))
    );
    assert_eq!((link.opened_ms, link.host.as_deref()), (Some(1_700_000_000_300), Some("applink-1")));
}

#[test]
fn the_furthest_of_several_opening_links_is_the_state() {
    let mut world = World::connecting(3);
    let [one, two, _] = world.links(LinkState::Opening)[..] else { panic!("three open at once") };
    world.give(Input::UrlIssued(two));
    assert_eq!(world.state(), State::Authenticated);
    world.give(Input::LinkOpened(two));
    world.give(Input::UrlIssued(one));
    assert_eq!(world.state(), State::Connected);
    world.give(Input::LinkDown(two, Code::NoHello));
    assert_eq!(world.state(), State::Authenticated);
}

#[test]
fn waiting_for_the_next_attempt_is_reconnecting_with_its_time_and_reason() {
    let mut world = World::off(1);
    world.slack.refuses = Some(refusal(Code::InternalError, Class::Transient));
    world.give(Input::Connect(Code::OperatorConnect));
    world.run_until(SECOND, |world| world.state() == State::Reconnecting);
    let status = world.status();
    assert_eq!(
        (world.health(), world.reason(), status.attempt),
        (Health::Down, Some(Code::InternalError), 1)
    );
    let wait = status.next_attempt_ms.unwrap() - world.now.wall_ms;
    assert!((0..=1000).contains(&wait), "{wait}");
}

#[test]
fn turned_off_it_disconnects_its_links_and_is_disconnected_when_they_are_down() {
    let mut world = World::ready(2);
    world.give(Input::Disconnect(Code::OperatorDisconnect));
    assert_eq!((world.state(), world.health()), (State::Disconnecting, Health::Off));
    assert_eq!(world.links(LinkState::Closing).len(), 2);
    world.run(MINUTE);
    assert_eq!((world.state(), world.reason()), (State::Disconnected, Some(Code::OperatorDisconnect)));
    assert_eq!(world.connection.poll_timeout(), None);
    assert_eq!(world.opens(), 2, "nothing opens while off");
}

#[test]
fn turned_off_while_asking_nothing_is_left_and_a_late_answer_changes_nothing() {
    let mut world = World::connecting(1);
    let generation = world.opening();
    let actions = world.give(Input::Disconnect(Code::Shutdown));
    assert_eq!(actions[0], Action::Abandon(generation));
    assert_eq!(world.state(), State::Disconnected);
    assert_eq!(world.give(Input::UrlIssued(generation)), []);
}

#[test]
fn turned_off_while_dialling_the_socket_is_stopped_and_waited_for() {
    let mut world = World::connecting(1);
    let generation = world.opening();
    world.give(Input::UrlIssued(generation));
    world.give(Input::Disconnect(Code::OperatorDisconnect));
    assert!(world.did(&Action::Stop(generation)));
    assert_eq!(world.state(), State::Disconnecting);
    world.give(Input::LinkUp(generation, Hello::default()));
    assert_eq!(world.state(), State::Disconnecting, "a hello that comes late changes nothing");
    world.give(Input::LinkDown(generation, Code::OperatorDisconnect));
    assert_eq!(world.state(), State::Disconnected);
}

#[test]
fn what_does_not_concern_the_phase_of_its_link_changes_nothing() {
    let every_phase: [(Phase, &[usize]); 6] = [
        (|| World::connecting(1), &[0, 1, 5]),
        (dialling, &[1, 2, 3, 5]),
        (greeting, &[3, 5]),
        (|| World::ready(1), &[4, 5]),
        (draining, &[5]),
        (stopping, &[5]),
    ];
    for (phase, concerned) in every_phase {
        let generation = phase().status().links[0].generation;
        let inputs = [
            Input::UrlIssued(generation),
            Input::OpenFailed(generation, refusal(Code::InternalError, Class::Transient)),
            Input::LinkOpened(generation),
            Input::LinkUp(generation, Hello::default()),
            Input::LinkDraining(generation, Code::DisconnectWarning, 10 * SECOND),
            Input::LinkDown(generation, Code::ConnectionLost),
        ];
        for (at, input) in inputs.into_iter().enumerate() {
            let mut world = phase();
            let before = world.status();
            let actions = world.give(input.clone());
            let changed = !actions.is_empty() || world.status() != before;
            assert_eq!(changed, concerned.contains(&at), "{input:?} in {before:?}");
        }
    }
}

#[test]
fn a_word_about_a_link_that_is_gone_or_never_was_changes_nothing() {
    let mut world = World::ready(1);
    let old = world.live();
    world.give(Input::LinkDown(old, Code::ConnectionLost));
    world.run(5 * SECOND);
    let before = world.status();
    for generation in [old, Generation(0), Generation(99)] {
        for input in [
            Input::UrlIssued(generation),
            Input::OpenFailed(generation, refusal(Code::InvalidAuth, Class::Fatal)),
            Input::LinkOpened(generation),
            Input::LinkUp(generation, Hello { app_id: Some("A2".into()), ..Hello::default() }),
            Input::LinkDraining(generation, Code::DisconnectWarning, SECOND),
            Input::LinkDown(generation, Code::LinkDisabled),
        ] {
            assert_eq!(world.give(input), []);
            assert_eq!(world.status(), before);
        }
    }
}

#[test]
fn fewer_links_than_wanted_are_degraded_until_the_last_is_up() {
    let mut world = World::ready(3);
    let lost = world.live();
    world.give(Input::LinkDown(lost, Code::ConnectionLost));
    assert_eq!((world.state(), world.health()), (State::Ready, Health::Degraded));
    assert_eq!(world.reason(), Some(Code::ConnectionLost));
    world.run(5 * SECOND);
    assert_eq!((world.health(), world.reason()), (Health::Ok, None));
}

fn dialling() -> World {
    let mut world = World::connecting(1);
    world.give(Input::UrlIssued(world.opening()));
    world
}

fn greeting() -> World {
    let mut world = dialling();
    world.give(Input::LinkOpened(world.opening()));
    world
}

fn draining() -> World {
    let mut world = World::ready(1);
    world.give(Input::LinkDraining(world.live(), Code::DisconnectWarning, 10 * SECOND));
    world
}

fn stopping() -> World {
    let mut world = World::ready(1);
    world.give(Input::Disconnect(Code::OperatorDisconnect));
    world
}
