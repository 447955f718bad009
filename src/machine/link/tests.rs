use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_link_tells_that_it_is_open_then_that_it_is_up() {
    let mut socket = Socket::dialing();
    assert_eq!(socket.give(Input::Dialed), [Action::Tell(Told::Opened)]);
    assert_eq!(socket.link.state(), LinkState::Opening);
    assert_eq!(socket.give(Input::Hello), [Action::Tell(Told::Up)]);
    assert_eq!(socket.link.state(), LinkState::Live);
    assert_eq!(socket.give(Input::Hello), [], "a second hello is no news");
    assert_eq!(socket.give(Input::Dialed), [], "nor is a second opening");
}

#[test]
fn a_dial_that_takes_ten_seconds_is_given_up() {
    let mut socket = Socket::dialing();
    assert_eq!(socket.until(10 * SECOND), []);
    assert_eq!(socket.at(10 * SECOND, Input::Timeout), down(Code::DialTimeout));
}

#[test]
fn a_dial_that_fails_ends_the_link_for_that_reason() {
    assert_eq!(Socket::dialing().give(Input::Broken(Code::UpgradeRefused)), down(Code::UpgradeRefused));
}

#[test]
fn a_socket_without_hello_for_ten_seconds_is_closed() {
    let mut socket = Socket::dialing();
    socket.at(4 * SECOND, Input::Dialed);
    assert_eq!(socket.until(14 * SECOND), []);
    assert_eq!(socket.at(14 * SECOND, Input::Timeout), [Action::SendClose]);
    assert_eq!(socket.at(15 * SECOND, Input::Timeout), down(Code::NoHello));
}

#[test]
fn a_disconnect_before_hello_closes_the_link_and_hurts_nobody() {
    for reason in REASONS {
        let mut socket = Socket::dialing();
        socket.give(Input::Dialed);
        assert_eq!(socket.give(Input::Disconnect(reason)), [Action::SendClose]);
        assert_eq!(socket.give(Input::PeerClosed), down(reason.code()));
        assert_eq!(Socket::dialing().give(Input::Disconnect(reason)), [], "before the socket is open");
    }
}

#[test]
fn a_live_socket_is_pinged_every_ten_seconds_counted_from_its_opening() {
    let mut socket = Socket::dialing();
    socket.give(Input::Dialed);
    socket.at(3 * SECOND, Input::Hello);
    for n in 1..100 {
        assert_eq!(socket.until(10 * n * SECOND), []);
        assert_eq!(socket.at(10 * n * SECOND, Input::Timeout), [Action::Ping]);
        socket.give(Input::Activity);
    }
}

#[test]
fn an_idle_socket_that_answers_pings_is_alive_and_one_that_says_nothing_for_thirty_seconds_is_not() {
    let mut socket = Socket::live();
    socket.at(9 * SECOND, Input::Activity);
    assert_eq!(socket.until(39 * SECOND), [Action::Ping; 3]);
    assert_eq!(
        socket.at(39 * SECOND, Input::Timeout),
        [Action::SendClose],
        "Slack may hear it and free the place"
    );
    assert_eq!(socket.until(40 * SECOND), []);
    assert_eq!(socket.at(40 * SECOND, Input::Timeout), down(Code::Silent));
}

#[test]
fn after_sleep_the_socket_is_pinged_at_once_and_closed_if_five_seconds_bring_no_answer() {
    for phase in [Socket::live as fn() -> Socket, Socket::draining] {
        let mut socket = phase();
        socket.jump(SECOND, 3600 * 1000);
        assert_eq!(
            socket.give(Input::Activity),
            [Action::Ping],
            "what was buffered before the sleep is no answer"
        );
        assert_eq!(socket.until(6 * SECOND), []);
        assert_eq!(socket.at(6 * SECOND, Input::Timeout), [Action::SendClose]);
        assert_eq!(socket.at(7 * SECOND, Input::Timeout), down(Code::WokeUp));
    }
}

#[test]
fn after_sleep_any_frame_saves_the_socket() {
    let mut socket = Socket::live();
    socket.jump(SECOND, 3600 * 1000);
    assert_eq!(socket.give(Input::Timeout), [Action::Ping]);
    socket.at(5 * SECOND, Input::Activity);
    assert_eq!(socket.until(11 * SECOND), []);
    assert_eq!(socket.link.state(), LinkState::Live);
}

#[test]
fn clocks_set_back_count_as_a_jump_and_a_drift_of_five_seconds_does_not() {
    let mut socket = Socket::live();
    socket.jump(SECOND, 1000 + 5000);
    assert_eq!(socket.give(Input::Activity), []);
    socket.jump(2 * SECOND, -5001);
    assert_eq!(socket.give(Input::Activity), [Action::Ping]);
}

#[test]
fn a_clock_that_keeps_jumping_does_not_put_the_answer_off() {
    let mut socket = Socket::live();
    for n in 1..=6 {
        socket.jump(n * SECOND, 60_000);
        socket.give(Input::Timeout);
    }
    assert_eq!(socket.link.state(), LinkState::Closing);
}

#[test]
fn an_announced_end_is_told_and_the_link_goes_on_until_slack_closes_it() {
    for reason in [DisconnectReason::Warning, DisconnectReason::RefreshRequested, DisconnectReason::Other] {
        let mut socket = Socket::live();
        let told = Told::Draining { code: reason.code(), ends_within: 10 * SECOND };
        assert_eq!(socket.give(Input::Disconnect(reason)), [Action::Tell(told)]);
        assert!(socket.link.accepts_envelopes(), "{reason:?}");
        assert_eq!(socket.link.state(), LinkState::Draining);
        assert_eq!(socket.at(8 * SECOND, Input::PeerClosed), down(reason.code()));
    }
}

#[test]
fn of_two_announcements_the_first_stands() {
    let mut socket = Socket::draining();
    for reason in REASONS {
        assert_eq!(socket.give(Input::Disconnect(reason)), []);
    }
    assert_eq!(socket.give(Input::PeerClosed), down(Code::DisconnectWarning));
}

#[test]
fn a_link_that_slack_does_not_close_stops_itself_sixty_seconds_past_its_announced_end() {
    let mut socket = Socket::draining();
    assert_eq!(socket.chat_until(70 * SECOND), [Action::Ping; 6]);
    assert_eq!(socket.at(70 * SECOND, Input::Timeout), [Action::SendClose]);
    assert_eq!(socket.at(71 * SECOND, Input::Timeout), down(Code::DisconnectWarning));
}

#[test]
fn a_draining_link_is_still_pinged_and_found_dead() {
    let mut socket = Socket::draining();
    assert_eq!(socket.until(30 * SECOND), [Action::Ping; 2]);
    assert_eq!(socket.at(30 * SECOND, Input::Timeout), [Action::SendClose]);
    assert_eq!(socket.at(31 * SECOND, Input::Timeout), down(Code::Silent));
}

#[test]
fn a_switched_off_or_crowded_app_gets_its_link_closed_at_once() {
    for reason in [DisconnectReason::LinkDisabled, DisconnectReason::TooManyWebsockets] {
        let mut socket = Socket::live();
        assert_eq!(socket.give(Input::Disconnect(reason)), [Action::SendClose]);
        assert_eq!(socket.give(Input::PeerClosed), down(reason.code()));
    }
}

#[test]
fn a_switched_off_app_still_gets_its_acks() {
    let mut socket = Socket::live();
    socket.give(Input::InFlight(1));
    assert_eq!(socket.give(Input::Disconnect(DisconnectReason::LinkDisabled)), []);
    assert_eq!(socket.give(Input::InFlight(0)), [Action::SendClose]);
}

#[test]
fn a_stopped_link_waits_for_its_verdicts_and_closes_when_they_are_in() {
    let mut socket = Socket::live();
    socket.give(Input::InFlight(2));
    assert_eq!(socket.give(Input::Stop), []);
    assert_eq!(socket.at(SECOND, Input::InFlight(1)), []);
    assert_eq!(socket.at(2 * SECOND, Input::InFlight(0)), [Action::SendClose]);
    assert_eq!(socket.at(2 * SECOND, Input::PeerClosed), down(Code::OperatorDisconnect));
}

#[test]
fn a_stopped_link_takes_what_still_comes_for_a_second() {
    let mut socket = Socket::live();
    socket.give(Input::InFlight(1));
    socket.give(Input::Stop);
    socket.at(SECOND / 2, Input::Activity);
    assert!(socket.link.accepts_envelopes());
    assert_eq!(socket.at(SECOND, Input::Activity), []);
    assert!(!socket.link.accepts_envelopes(), "on a busy socket the last verdict would never be in");
}

#[test]
fn a_stopped_link_waits_two_and_a_half_seconds_at_most() {
    let mut socket = Socket::live();
    socket.give(Input::InFlight(2));
    socket.give(Input::Stop);
    let deadline = Duration::from_millis(2500);
    assert_eq!(socket.until(deadline), []);
    assert_eq!(socket.at(deadline, Input::Timeout), [Action::SendClose]);
}

#[test]
fn a_link_with_nothing_in_flight_closes_as_soon_as_it_is_stopped() {
    let mut socket = Socket::live();
    socket.give(Input::InFlight(2));
    socket.give(Input::InFlight(0));
    assert_eq!(socket.give(Input::Stop), [Action::SendClose]);
    assert_eq!(socket.give(Input::Stop), [], "once");
}

#[test]
fn tcp_is_dropped_a_second_after_our_close_when_slack_does_not_hang_up() {
    let mut socket = Socket::live();
    socket.give(Input::Stop);
    assert_eq!(socket.until(SECOND), []);
    assert_eq!(socket.at(SECOND, Input::Timeout), down(Code::OperatorDisconnect));
}

#[test]
fn a_dial_that_is_stopped_is_dropped_at_once() {
    assert_eq!(Socket::dialing().give(Input::Stop), down(Code::OperatorDisconnect));
}

#[test]
fn a_draining_link_that_is_stopped_ends_for_the_reason_it_drained() {
    let mut socket = Socket::draining();
    assert_eq!(socket.give(Input::Stop), [Action::SendClose]);
    assert_eq!(socket.give(Input::PeerClosed), down(Code::DisconnectWarning));
}

#[test]
fn a_retired_link_goes_on_until_slack_closes_it_or_its_time_is_over() {
    let mut socket = Socket::live();
    assert_eq!(socket.give(Input::Retire { within: 5 * SECOND }), []);
    assert_eq!(socket.link.state(), LinkState::Draining);
    assert!(socket.link.accepts_envelopes());
    assert_eq!(socket.until(5 * SECOND), []);
    assert_eq!(socket.at(5 * SECOND, Input::Timeout), [Action::SendClose]);
    assert_eq!(socket.give(Input::PeerClosed), down(Code::PlannedRefresh));
}

#[test]
fn a_retired_link_never_stays_longer_than_it_may_already() {
    let mut socket = Socket::draining();
    socket.give(Input::Retire { within: 3600 * SECOND });
    socket.chat_until(70 * SECOND);
    assert_eq!(socket.at(70 * SECOND, Input::Timeout), [Action::SendClose]);
    let mut socket = Socket::draining();
    socket.give(Input::Retire { within: SECOND });
    assert_eq!(socket.at(SECOND, Input::Timeout), [Action::SendClose]);
}

#[test]
fn a_retired_link_whose_end_slack_announces_stays_sixty_seconds_past_that() {
    let mut socket = Socket::live();
    socket.give(Input::Retire { within: 600 * SECOND });
    assert_eq!(socket.give(Input::Disconnect(DisconnectReason::Warning)), [], "its successor is up already");
    socket.chat_until(70 * SECOND);
    assert_eq!(socket.at(70 * SECOND, Input::Timeout), [Action::SendClose]);
    assert_eq!(socket.give(Input::PeerClosed), down(Code::PlannedRefresh));
}

#[test]
fn hello_and_disconnect_are_signs_of_life_themselves() {
    for sign in [Input::Hello, Input::Disconnect(DisconnectReason::Warning)] {
        let mut socket = Socket::live();
        socket.until(29 * SECOND);
        socket.at(29 * SECOND, sign);
        assert!(socket.until(59 * SECOND).iter().all(|action| *action == Action::Ping), "{sign:?}");
        assert_eq!(socket.at(59 * SECOND, Input::Timeout), [Action::SendClose]);
    }
}

#[test]
fn a_link_that_is_not_up_has_nothing_to_retire_with() {
    assert_eq!(Socket::dialing().give(Input::Retire { within: SECOND }), down(Code::OperatorDisconnect));
}

#[test]
fn a_socket_that_slack_closes_or_the_network_breaks_is_dropped_at_once() {
    assert_eq!(Socket::live().give(Input::PeerClosed), down(Code::ClosedBySlack));
    assert_eq!(Socket::live().give(Input::Broken(Code::ConnectionLost)), down(Code::ConnectionLost));
    assert_eq!(Socket::draining().give(Input::Broken(Code::ConnectionLost)), down(Code::ConnectionLost));
}

#[test]
fn a_socket_that_talks_nonsense_is_closed_politely_within_a_second() {
    for code in [Code::NotJson, Code::FrameTooLarge, Code::ProtocolViolation] {
        let mut socket = Socket::live();
        assert_eq!(socket.give(Input::Broken(code)), [Action::SendClose]);
        assert_eq!(socket.give(Input::Broken(code)), [], "once");
        assert!(!socket.link.accepts_envelopes());
        assert_eq!(socket.at(SECOND, Input::Timeout), down(code));
    }
}

#[test]
fn a_socket_that_talks_nonsense_still_gets_the_acks_of_what_it_said_before() {
    for code in [Code::NotJson, Code::FrameTooLarge, Code::ProtocolViolation] {
        for phase in [Socket::live as fn() -> Socket, Socket::draining] {
            let mut socket = phase();
            socket.give(Input::InFlight(1));
            assert_eq!(socket.give(Input::Broken(code)), []);
            assert_eq!(socket.give(Input::Broken(Code::NotJson)), [], "more nonsense does not cut it short");
            assert_eq!(socket.give(Input::InFlight(0)), [Action::SendClose]);
            assert_eq!(socket.give(Input::PeerClosed), down(code));
        }
    }
}

#[test]
fn a_peer_that_closes_gets_the_acks_of_what_it_sent_before_and_then_its_answer() {
    for (phase, code) in
        [(Socket::live as fn() -> Socket, Code::ClosedBySlack), (Socket::draining, Code::DisconnectWarning)]
    {
        let close_and_end = [Action::SendClose, Action::Drop, Action::Tell(Told::Down(code))];
        let mut socket = phase();
        socket.give(Input::InFlight(2));
        assert_eq!(socket.give(Input::PeerClosed), []);
        assert!(!socket.link.accepts_envelopes());
        assert_eq!(socket.give(Input::InFlight(1)), []);
        assert_eq!(socket.give(Input::InFlight(0)), close_and_end);

        let mut stuck = phase();
        stuck.give(Input::InFlight(2));
        stuck.give(Input::PeerClosed);
        let by = stuck.now.mono + SECOND;
        assert_eq!(stuck.until(by), []);
        assert_eq!(stuck.at(by, Input::Timeout), close_and_end, "it does not wait for ever");

        let mut cut = phase();
        cut.give(Input::InFlight(2));
        cut.give(Input::PeerClosed);
        assert_eq!(cut.give(Input::Broken(Code::ConnectionLost)), down(code));
    }
}

#[test]
fn a_socket_that_breaks_while_it_is_closed_ends_for_the_reason_it_was_closed() {
    let mut socket = Socket::live();
    socket.give(Input::Broken(Code::NotJson));
    assert_eq!(socket.give(Input::Broken(Code::ConnectionLost)), down(Code::NotJson));
}

#[test]
fn envelopes_are_taken_from_the_opening_until_the_stop() {
    let mut socket = Socket::dialing();
    assert!(!socket.link.accepts_envelopes());
    socket.give(Input::Dialed);
    assert!(socket.link.accepts_envelopes());
    socket.give(Input::Hello);
    assert!(socket.link.accepts_envelopes());
    socket.give(Input::Stop);
    assert!(!socket.link.accepts_envelopes());
}

#[test]
fn a_dead_link_says_nothing_and_wants_no_timer() {
    let mut socket = Socket::live();
    socket.give(Input::PeerClosed);
    for input in EVERY_INPUT {
        assert_eq!(socket.give(input), [], "{input:?}");
        assert_eq!(socket.link.poll_timeout(), None);
    }
    assert!(socket.link.is_dead());
}

proptest! {
    #[test]
    fn any_inputs_at_any_times_end_with_one_last_down_and_no_timer_ever_spins(
        steps in prop::collection::vec((0_usize..EVERY_INPUT.len(), 0_u64..40_000, prop::option::weighted(0.1, any::<i32>())), 0..60),
    ) {
        let mut socket = Socket::dialing();
        let mut told = Vec::new();
        for (input, wait, jump) in steps {
            socket.now = socket.now.after(Duration::from_millis(wait));
            socket.now.wall_ms += i64::from(jump.unwrap_or(0));
            told.extend(socket.give(EVERY_INPUT[input]));
        }
        // Nothing more comes: within two minutes it is dead by itself, in a bounded number of wake-ups.
        for _ in 0..40 {
            let Some(at) = socket.link.poll_timeout() else { break };
            let late = at.saturating_sub(socket.now.mono);
            socket.now = socket.now.after(late);
            told.extend(socket.give(Input::Timeout));
            prop_assert!(socket.link.poll_timeout().is_none_or(|next| next > socket.now.mono));
        }
        prop_assert!(socket.link.is_dead());
        let downs = told.iter().filter(|action| matches!(action, Action::Tell(Told::Down(_)))).count();
        prop_assert_eq!(downs, 1);
        prop_assert!(matches!(told.last(), Some(Action::Tell(Told::Down(_)))));
        prop_assert!(told.iter().filter(|action| **action == Action::SendClose).count() <= 1);
        let drop = told.iter().position(|action| *action == Action::Drop);
        prop_assert_eq!(drop, Some(told.len() - 2));
    }
}

const REASONS: [DisconnectReason; 5] = [
    DisconnectReason::Warning,
    DisconnectReason::RefreshRequested,
    DisconnectReason::LinkDisabled,
    DisconnectReason::TooManyWebsockets,
    DisconnectReason::Other,
];

const EVERY_INPUT: [Input; 19] = [
    Input::Dialed,
    Input::Dialed,
    Input::Hello,
    Input::Hello,
    Input::Disconnect(DisconnectReason::Warning),
    Input::Disconnect(DisconnectReason::RefreshRequested),
    Input::Disconnect(DisconnectReason::LinkDisabled),
    Input::Disconnect(DisconnectReason::TooManyWebsockets),
    Input::Disconnect(DisconnectReason::Other),
    Input::Activity,
    Input::Activity,
    Input::InFlight(0),
    Input::InFlight(3),
    Input::Retire { within: Duration::from_secs(20) },
    Input::Stop,
    Input::PeerClosed,
    Input::Broken(Code::ConnectionLost),
    Input::Broken(Code::NotJson),
    Input::Timeout,
];

/// A link and the time, which only this test moves. Times given are since the link began.
struct Socket {
    link: Link,
    now: Now,
}

#[test]
fn the_median_of_the_last_five_pongs_is_told_when_it_has_changed_notably() {
    let mut socket = Socket::live();
    assert_eq!(socket.pong(40), [told(40, false)]);
    assert_eq!(socket.pong(44), [], "hardly any change");
    assert_eq!(socket.pong(900), [], "one late answer is none of the median's");
    for _ in 0..2 {
        assert_eq!(socket.pong(42), []);
    }
    assert_eq!((socket.pong(90), socket.pong(80)), (vec![], vec![told(80, false)]));
    assert_eq!(socket.give(Input::Pong), [], "a pong nobody asked for");
}

#[test]
fn three_pongs_later_than_two_seconds_are_slow_and_three_swift_ones_are_not() {
    let mut socket = Socket::live();
    assert_eq!(socket.pong(2_001), [told(2_001, false)]);
    assert_eq!(socket.pong(2_001), []);
    assert_eq!(socket.pong(2_001), [told(2_001, true)]);
    assert_eq!((socket.pong(50), socket.pong(50)), (vec![], vec![]));
    assert_eq!(socket.pong(50), [told(50, false)]);
}

#[test]
fn a_pong_counts_for_every_ping_before_it() {
    let mut socket = Socket::live();
    let mut actions = Vec::new();
    for second in [10, 20] {
        socket.at(second * SECOND, Input::Activity);
        actions.extend(socket.at(second * SECOND, Input::Timeout));
    }
    assert_eq!(actions, [Action::Ping, Action::Ping]);
    assert_eq!(socket.at(22 * SECOND, Input::Pong), [told(12_000, false)]);
    assert_eq!(socket.give(Input::Pong), []);
}

fn told(ms: u64, is_slow: bool) -> Action {
    Action::Tell(Told::RoundTrip(RoundTrip { median: Duration::from_millis(ms), is_slow }))
}

impl Socket {
    /// The next ping, and its answer so long after it.
    fn pong(&mut self, ms: u64) -> Vec<Action> {
        let at = self.link.poll_timeout().unwrap();
        assert_eq!(self.at(at, Input::Timeout), [Action::Ping]);
        self.at(at + Duration::from_millis(ms), Input::Pong)
    }

    fn dialing() -> Self {
        let now = Now { mono: Duration::ZERO, wall_ms: 1_700_000_000_000 };
        Self { link: Link::new(now, &Settings::NODE), now }
    }

    fn live() -> Self {
        let mut socket = Self::dialing();
        socket.give(Input::Dialed);
        socket.give(Input::Hello);
        assert_eq!(socket.link.state(), LinkState::Live);
        socket
    }

    fn draining() -> Self {
        let mut socket = Self::live();
        socket.give(Input::Disconnect(DisconnectReason::Warning));
        assert_eq!(socket.link.state(), LinkState::Draining);
        socket
    }

    fn give(&mut self, input: Input) -> Vec<Action> {
        self.link.handle(self.now, input);
        std::iter::from_fn(|| self.link.poll_action()).collect()
    }

    fn at(&mut self, mono: Duration, input: Input) -> Vec<Action> {
        self.now = self.now.after(mono.saturating_sub(self.now.mono));
        self.give(input)
    }

    /// Both clocks move, the wall clock by `wall_ms`.
    fn jump(&mut self, mono: Duration, wall_ms: i64) {
        self.now = Now { mono, wall_ms: self.now.wall_ms + wall_ms };
    }

    /// Fires every timer due before `end`.
    fn until(&mut self, end: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(at) = self.link.poll_timeout().filter(|at| *at < end) {
            actions.extend(self.at(at, Input::Timeout));
        }
        actions
    }

    /// The same, with a peer that answers.
    fn chat_until(&mut self, end: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(at) = self.link.poll_timeout().filter(|at| *at < end) {
            actions.extend(self.at(at, Input::Timeout));
            self.give(Input::Activity);
        }
        actions
    }
}

fn down(code: Code) -> [Action; 2] {
    [Action::Drop, Action::Tell(Told::Down(code))]
}
