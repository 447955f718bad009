//! Both machines at work: a connection over real links, a Slack that speaks their inputs, one virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::{self, Connection, Timing};
use super::link::{self, Link, Told};
use crate::clock::Now;
use crate::ids::{Generation, Generations};
use crate::protocol::disconnect::DisconnectReason;
use crate::protocol::hello::Hello;
use crate::status::{Code, Health, State};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_day_of_refreshes_by_slack_leaves_no_moment_without_a_live_socket() {
    let mut world = World::start(1);
    for n in 0..24_u32 {
        world.run(HOUR);
        let reason = [DisconnectReason::Warning, DisconnectReason::RefreshRequested][n as usize % 2];
        world.slack_ends_every_socket(reason, 2 * SECOND);
    }
    world.run(HOUR);
    assert_eq!(world.not_ready, Duration::ZERO);
    assert_eq!((world.sockets.len(), world.dialled, world.most_at_once), (1, 25, 2));
}

#[test]
fn a_day_of_our_own_refreshes_lets_slack_close_every_old_socket() {
    let mut world = World::start(3);
    world.run(24 * HOUR);
    assert_eq!(world.not_ready, Duration::ZERO);
    assert!(world.dialled >= 3 * 4, "{} sockets in all", world.dialled);
    assert!(world.most_at_once <= 4);
    assert_eq!(world.connection.status().health, Health::Ok);
}

#[test]
fn a_dead_network_is_found_within_half_a_minute_and_left_behind_within_fifteen_seconds_of_its_end() {
    for outage in 0..120_u32 {
        let mut world = World::start(1);
        world.run(HOUR);
        world.network = false;
        world.run(32 * SECOND);
        assert_eq!(world.connection.status().health, Health::Down);
        world.run(10 * MINUTE + outage * SECOND / 2);
        world.network = true;
        // An attempt that began in the dark hangs for ten seconds at most, and a second to close; the next begins
        // twelve seconds after it did at the latest, and needs less than one.
        world.run(15 * SECOND);
        assert_eq!(world.connection.status().state, State::Ready, "after {outage} half seconds more");
    }
}

#[test]
fn a_slack_that_takes_sockets_and_says_no_hello_is_left_behind_within_fifteen_seconds_of_its_change_of_mind()
{
    for outage in 0..120_u32 {
        let mut world = World::start(1);
        world.run(HOUR);
        world.mute = true;
        world.slack_ends_every_socket(DisconnectReason::Warning, 2 * SECOND);
        world.run(10 * MINUTE + outage * SECOND / 2);
        assert_eq!(world.connection.status().health, Health::Down);
        world.mute = false;
        world.run(15 * SECOND);
        assert_eq!(world.connection.status().state, State::Ready, "after {outage} half seconds more");
    }
}

#[test]
fn turned_off_every_socket_says_goodbye_and_is_gone() {
    let mut world = World::start(9);
    world.run(HOUR);
    world.give(connection::Input::Disconnect(Code::Shutdown));
    world.run(2 * SECOND);
    assert_eq!(world.connection.status().state, State::Disconnected);
    assert_eq!((world.sockets.len(), world.goodbyes), (0, 9));
}

struct World {
    connection: Connection,
    sockets: BTreeMap<Generation, Link>,
    now: Now,
    /// What comes to a link, or to the connection where none is named.
    coming: BTreeMap<(Duration, u64), Event>,
    sent: u64,
    network: bool,
    /// Sockets open, but hello never comes.
    mute: bool,
    dialled: usize,
    most_at_once: usize,
    goodbyes: usize,
    not_ready: Duration,
}

enum Event {
    Connection(connection::Input),
    Link(Generation, link::Input),
}

impl World {
    /// Started, and ready.
    fn start(links: u8) -> Self {
        let settings = connection::Settings { links, slack_app_id: None, timing: &Timing::NODE };
        let now = Now { mono: HOUR, wall_ms: 1_700_000_000_000 };
        let mut world = Self {
            connection: Connection::new(now, settings, 7, Generations::default()),
            sockets: BTreeMap::new(),
            now,
            coming: BTreeMap::new(),
            sent: 0,
            network: true,
            mute: false,
            dialled: 0,
            most_at_once: 0,
            goodbyes: 0,
            not_ready: Duration::ZERO,
        };
        world.give(connection::Input::Connect(Code::OperatorConnect));
        world.run(5 * SECOND);
        world.not_ready = Duration::ZERO;
        world
    }

    fn give(&mut self, input: connection::Input) {
        self.connection.handle(self.now, input);
        while let Some(action) = self.connection.poll_action() {
            match action {
                connection::Action::Open { generation, .. } => {
                    // Even when opening takes 700 ms.
                    self.send(
                        Duration::from_millis(700),
                        Event::Connection(connection::Input::UrlIssued(generation)),
                    );
                }
                connection::Action::Dial(generation) => {
                    self.dialled += 1;
                    self.sockets.insert(generation, Link::new(self.now, &link::Settings::NODE));
                    self.most_at_once = self.most_at_once.max(self.sockets.len());
                    self.send(SECOND / 10, Event::Link(generation, link::Input::Dialed));
                    if !self.mute {
                        self.send(SECOND / 5, Event::Link(generation, link::Input::Hello));
                    }
                }
                connection::Action::Stop(generation) => self.give_link(generation, link::Input::Stop),
                connection::Action::Retire(generation, within) => {
                    self.give_link(generation, link::Input::Retire { within });
                }
                connection::Action::Abandon(_)
                | connection::Action::Promote
                | connection::Action::DropCandidate(_)
                | connection::Action::LearnAppId(_)
                | connection::Action::Count
                | connection::Action::Changed { .. } => {}
            }
        }
    }

    fn give_link(&mut self, generation: Generation, input: link::Input) {
        let Some(link) = self.sockets.get_mut(&generation) else { return };
        link.handle(self.now, input);
        let actions: Vec<_> = std::iter::from_fn(|| link.poll_action()).collect();
        for action in actions {
            match action {
                link::Action::Ping => self.send(SECOND / 20, Event::Link(generation, link::Input::Activity)),
                link::Action::SendClose => {
                    self.goodbyes += 1;
                    self.send(SECOND / 20, Event::Link(generation, link::Input::PeerClosed));
                }
                link::Action::Drop => {}
                link::Action::Tell(told) => {
                    let input = match told {
                        Told::Opened => connection::Input::LinkOpened(generation),
                        Told::Up => connection::Input::LinkUp(generation, hello()),
                        Told::Draining { code, ends_within } => {
                            connection::Input::LinkDraining(generation, code, ends_within)
                        }
                        Told::RoundTrip(pong) => connection::Input::LinkPong(generation, pong),
                        Told::Down(code) => {
                            self.sockets.remove(&generation);
                            connection::Input::LinkDown(generation, code)
                        }
                    };
                    self.give(input);
                }
            }
        }
    }

    fn slack_ends_every_socket(&mut self, reason: DisconnectReason, closes_after: Duration) {
        let sockets: Vec<_> = self.sockets.keys().copied().collect();
        for generation in sockets {
            self.give_link(generation, link::Input::Disconnect(reason));
            self.send(closes_after, Event::Link(generation, link::Input::PeerClosed));
        }
    }

    fn send(&mut self, after: Duration, event: Event) {
        self.sent += 1;
        self.coming.insert((self.now.mono + after, self.sent), event);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            let message = self.coming.first_key_value().map(|((at, _), _)| *at);
            let links = self
                .sockets
                .iter()
                .filter_map(|(generation, link)| Some((link.poll_timeout()?, *generation)));
            let link = links.min();
            let connection = self.connection.poll_timeout();
            let next = [message, link.map(|(at, _)| at), connection].into_iter().flatten().min();
            let at = next.unwrap_or(end).min(end);
            let passed = at.saturating_sub(self.now.mono);
            if self.connection.status().state != State::Ready {
                self.not_ready += passed;
            }
            self.now = self.now.after(passed);
            if next.is_none_or(|next| next > end) {
                return;
            }
            if message == next {
                let (_, event) = self.coming.pop_first().unwrap();
                match event {
                    Event::Connection(input) => self.give(input),
                    Event::Link(generation, input) if self.network => self.give_link(generation, input),
                    // What a dead network carries is lost.
                    Event::Link(..) => {}
                }
            } else if let Some((_, generation)) = link.filter(|(at, _)| Some(*at) == next) {
                self.give_link(generation, link::Input::Timeout);
            } else {
                self.give(connection::Input::Timeout);
            }
        }
    }
}

/// As real hosts say it: five hours and a minute.
fn hello() -> Hello {
    Hello { app_id: Some("A1".into()), lifetime: Some(Duration::from_mins(301)), ..Hello::default() }
}
