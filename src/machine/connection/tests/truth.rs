//! What a connection says of itself while all seems well: sockets that are not ours, an app that fell silent, late pongs.

use super::*;

const QUARTER: Duration = Duration::from_mins(15);

#[test]
fn a_socket_of_somebody_else_is_told_once_a_second_hello_counts_it_too() {
    let mut world = World::off(1);
    world.slack.hello.lifetime = Some(5 * HOUR);
    world.slack.hello.num_connections = Some(2);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(MINUTE);
    let first = world.live();
    assert_eq!((world.warnings(), world.health()), (vec![], Health::Ok), "one hello is no proof");
    world.slack.hello.num_connections = Some(3);
    world.run(11 * MINUTE);
    assert_ne!(world.live(), first, "the next hello is brought about early");
    assert_eq!((world.warnings(), world.health()), (vec![Code::ForeignSockets], Health::Degraded));
    assert_eq!(world.reason(), Some(Code::ForeignSockets));
    let opens = world.opens();
    world.run(4 * HOUR);
    assert_eq!(world.opens(), opens, "once it is certain nothing is opened for it");
    assert!(!world.went_through().contains(&State::Reconnecting));
    world.slack.hello.num_connections = Some(1);
    world.give(Input::Reconnect);
    world.run(MINUTE);
    assert_eq!((world.warnings(), world.health()), (vec![], Health::Ok), "a later hello takes it back");
}

#[test]
fn sockets_of_other_nodes_of_ours_are_no_strangers_and_what_is_beyond_them_is() {
    let mut world = World::off(1);
    world.connection.stand_beside(1);
    world.slack.hello.num_connections = Some(3);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(30 * MINUTE);
    world.give(Input::Reconnect);
    world.run(30 * MINUTE);
    assert_eq!((world.warnings(), world.health()), (vec![], Health::Ok));
    world.slack.hello.num_connections = Some(9);
    world.give(Input::Reconnect);
    world.run(30 * MINUTE);
    assert_eq!(world.warnings(), [Code::ForeignSockets]);
}

#[test]
fn the_overlap_of_our_own_sockets_is_nobody_else_s() {
    let mut world = World::ready(3);
    world.slack.hello.num_connections = Some(4);
    for _ in 0..10 {
        world.give(Input::LinkDraining(world.live(), Code::RefreshRequested, 10 * SECOND));
        world.run(5 * MINUTE);
    }
    assert_eq!(world.warnings(), []);
}

#[test]
fn a_socket_of_ours_that_broke_may_be_counted_for_a_while() {
    let mut world = World::stable();
    world.slack.hello.num_connections = Some(2);
    for _ in 0..6 {
        let opens = world.opens();
        world.give(Input::LinkDown(world.live(), Code::ConnectionLost));
        world.run(90 * SECOND);
        assert_eq!((world.opens(), world.warnings()), (opens + 1, vec![]));
    }
    // The one before it overlaps with the one that counts.
    world.slack.hello.num_connections = Some(3);
    world.run(11 * MINUTE);
    assert_eq!(world.warnings(), [Code::ForeignSockets], "so long no socket fades");
}

#[test]
fn a_suspicion_that_the_next_hello_refutes_is_forgotten() {
    let mut world = World::off(1);
    world.slack.hello.num_connections = Some(2);
    world.give(Input::Connect(Code::OperatorConnect));
    world.run(SECOND);
    world.slack.hello.num_connections = Some(1);
    world.run(11 * MINUTE);
    let opens = world.opens();
    assert_eq!((opens, world.warnings()), (2, vec![]));
    world.run(HOUR);
    assert_eq!(world.opens(), opens);
}

#[test]
fn an_app_that_fell_silent_is_warned_of_and_left_as_it_is() {
    let mut world = World::stable();
    world.quarters(100, 400);
    let (opens, first) = (world.opens(), world.live());
    world.quarters(2, 0);
    assert_eq!((world.warnings(), world.health(), world.reason()), (vec![Code::Quiet], Health::Ok, None));
    assert_eq!((world.opens(), world.live()), (opens, first));
    world.quarters(2, 400);
    assert_eq!(world.warnings(), []);
}

#[test]
fn events_are_not_missed_while_there_is_no_link() {
    let mut world = World::stable();
    world.quarters(100, 400);
    world.slack.refuses = Some(refusal(Code::Unreachable, Class::Transient));
    world.give(Input::LinkDown(world.live(), Code::ConnectionLost));
    world.quarters(4, 0);
    world.slack.refuses = None;
    world.run(MINUTE);
    assert_eq!((world.state(), world.warnings()), (State::Ready, vec![]));
}

#[test]
fn late_pongs_degrade_until_they_come_in_time_again() {
    let mut world = World::stable();
    let live = world.live();
    let pong = |ms, is_slow| Input::LinkPong(live, RoundTrip { median: Duration::from_millis(ms), is_slow });
    world.give(pong(12, false));
    assert_eq!((world.status().links[0].pong_ms, world.health()), (Some(12), Health::Ok));
    world.give(pong(2_100, true));
    assert_eq!((world.warnings(), world.reason()), (vec![Code::SlowPong], Some(Code::SlowPong)));
    assert_eq!(world.health(), Health::Degraded);
    world.give(pong(300, false));
    assert_eq!((world.warnings(), world.health()), (vec![], Health::Ok));
}

impl World {
    fn warnings(&self) -> Vec<Code> {
        self.status().warnings
    }

    /// So many quarters of an hour with so many events each.
    fn quarters(&mut self, count: u32, events: u64) {
        for _ in 0..count {
            self.heard += events;
            self.run(QUARTER);
        }
    }
}
