//! Ten thousand connections behind one pace, and a Slack that counts how often it is asked; one virtual clock. Links are kept
//! short here: [`together`](super::together) has them in full.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::connection::{Action, Connection, Input, OpenFailure, Settings, Timing};
use super::dice::Dice;
use super::pace::{Limits, Pace, Ticket};
use crate::clock::Now;
use crate::ids::{AppId, Generation, Generations};
use crate::protocol::class::Class;
use crate::protocol::hello::Hello;
use crate::status::{Code, LinkState, State};

const SECOND: Duration = Duration::from_secs(1);
const APPS: usize = 10_000;

#[test]
fn ten_thousand_sockets_that_drop_at_once_come_back_without_a_429() {
    let mut fleet = Fleet::start(APPS, usize::MAX);
    fleet.run(SECOND * 40);
    assert_eq!((fleet.ready(), fleet.slack.asked.len()), (APPS, APPS));
    fleet.slack.asked.clear();
    fleet.drop_every_socket();
    fleet.run(SECOND * 40);
    assert_eq!((fleet.ready(), fleet.slack.limited), (APPS, 0));
    assert_eq!(fleet.slack.asked.len(), APPS, "each asks once");
    assert!(fleet.slack.busiest_second() <= 600, "{}", fleet.slack.busiest_second());
    assert!(fleet.slack.most_at_once <= 64, "{}", fleet.slack.most_at_once);
}

#[test]
fn a_thousand_are_back_within_five_seconds() {
    let mut fleet = Fleet::start(1000, usize::MAX);
    fleet.run(SECOND * 40);
    fleet.drop_every_socket();
    fleet.run(SECOND * 5);
    assert_eq!((fleet.ready(), fleet.slack.limited), (1000, 0));
}

#[test]
fn a_slack_that_takes_fewer_from_one_node_is_asked_more_slowly_and_all_come_back() {
    let mut fleet = Fleet::start(APPS, 100);
    fleet.run(SECOND * 240);
    assert_eq!(fleet.ready(), APPS);
    let limited = fleet.slack.limited;
    assert!(limited < APPS / 5, "{limited} of {} were told 429", fleet.slack.asked.len());
}

struct Fleet {
    connections: Vec<Connection>,
    pace: Pace,
    slack: Slack,
    now: Now,
    coming: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    sent: u64,
    /// When the pace wants to be woken.
    armed: Option<Duration>,
    waiting: HashMap<Ticket, (usize, Generation)>,
    opening: HashMap<Generation, Ticket>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Timeout(usize),
    Turn,
    Answer(usize, Generation, Ticket, bool),
    Opened(usize, Generation),
    Hello(usize, Generation),
}

/// Counts what it is asked.
struct Slack {
    dice: Dice,
    asked: Vec<Duration>,
    lately: VecDeque<Duration>,
    /// More than so many a second are told 429.
    takes: usize,
    limited: usize,
    at_once: usize,
    most_at_once: usize,
}

impl Fleet {
    fn start(apps: usize, takes: usize) -> Self {
        let now = Now { mono: SECOND * 3600, wall_ms: 1_700_000_000_000 };
        let generations = Generations::default();
        let connection = |seed: usize| {
            let settings = Settings { links: 1, slack_app_id: None, timing: &Timing::NODE };
            Connection::new(now, settings, seed as u64, generations.clone())
        };
        let mut fleet = Self {
            connections: (0..apps).map(connection).collect(),
            pace: Pace::new(Limits::default()),
            slack: Slack::new(takes),
            now,
            coming: BinaryHeap::new(),
            sent: 0,
            armed: None,
            waiting: HashMap::new(),
            opening: HashMap::new(),
        };
        for app in 0..apps {
            fleet.give(app, Input::Connect(Code::OperatorConnect));
        }
        fleet
    }

    fn ready(&self) -> usize {
        self.connections.iter().filter(|connection| connection.status().state == State::Ready).count()
    }

    fn drop_every_socket(&mut self) {
        for app in 0..self.connections.len() {
            for link in self.connections[app].status().links {
                assert_eq!(link.state, LinkState::Live);
                self.give(app, Input::LinkDown(link.generation, Code::ConnectionLost));
            }
        }
    }

    fn give(&mut self, app: usize, input: Input) {
        self.connections[app].handle(self.now, input);
        while let Some(action) = self.connections[app].poll_action() {
            match action {
                Action::Open { generation, .. } => {
                    let ticket = self.pace.queue(self.now.mono);
                    self.waiting.insert(ticket, (app, generation));
                    self.opening.insert(generation, ticket);
                }
                Action::Dial(generation) => self.send(SECOND / 20, Event::Opened(app, generation)),
                Action::Abandon(generation) => {
                    if let Some(ticket) = self.opening.remove(&generation) {
                        self.pace.leave(self.now.mono, ticket, None);
                    }
                }
                Action::Stop(generation) => self.give(app, Input::LinkDown(generation, Code::ClosedBySlack)),
                Action::Retire(..)
                | Action::Promote
                | Action::DropCandidate(_)
                | Action::LearnAppId(_)
                | Action::Count
                | Action::Changed { .. } => {}
            }
        }
        if let Some(at) = self.connections[app].poll_timeout() {
            self.send(at.saturating_sub(self.now.mono), Event::Timeout(app));
        }
        self.take_turns();
    }

    fn take_turns(&mut self) {
        while let Some(ticket) = self.pace.poll_turn() {
            let (app, generation) = self.waiting.remove(&ticket).expect("each has one turn");
            let (fine, takes) = self.slack.ask(self.now.mono);
            self.send(takes, Event::Answer(app, generation, ticket, fine));
        }
        let due = self.pace.poll_timeout(self.now.mono);
        if let Some(at) = due.filter(|_| due != self.armed) {
            self.armed = due;
            self.send(at.saturating_sub(self.now.mono), Event::Turn);
        }
    }

    fn answer(&mut self, app: usize, generation: Generation, ticket: Ticket, fine: bool) {
        self.slack.at_once -= 1;
        let id = AppId(i64::try_from(app).unwrap());
        let slows = self.pace.leave(self.now.mono, ticket, (!fine).then_some(id));
        assert!(!slows || self.slack.takes < usize::MAX, "nobody was told 429");
        let failure =
            OpenFailure { code: Code::Ratelimited, class: Class::Transient, retry_after: Some(SECOND * 5) };
        let input = if fine { Input::UrlIssued(generation) } else { Input::OpenFailed(generation, failure) };
        self.give(app, input);
    }

    fn send(&mut self, after: Duration, event: Event) {
        self.sent += 1;
        self.coming.push(Reverse((self.now.mono + after, self.sent, event)));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(Reverse((at, _, event))) = self.coming.pop() {
            if at > end {
                self.coming.push(Reverse((at, 0, event)));
                break;
            }
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            match event {
                // Only what is due: the connection may have been given a later moment since.
                Event::Timeout(app) => {
                    if self.connections[app].poll_timeout().is_some_and(|due| due <= at) {
                        self.give(app, Input::Timeout);
                    }
                }
                Event::Turn => {
                    self.armed = self.armed.filter(|armed| *armed != at);
                    self.pace.wake(at);
                    self.take_turns();
                }
                Event::Answer(app, generation, ticket, fine) => self.answer(app, generation, ticket, fine),
                Event::Opened(app, generation) => {
                    self.give(app, Input::LinkOpened(generation));
                    self.send(SECOND / 20, Event::Hello(app, generation));
                }
                Event::Hello(app, generation) => {
                    let hello = Hello { lifetime: Some(SECOND * 18_060), ..Hello::default() };
                    self.give(app, Input::LinkUp(generation, hello));
                }
            }
        }
        self.now = self.now.after(end.saturating_sub(self.now.mono));
    }
}

impl Slack {
    fn new(takes: usize) -> Self {
        let (asked, lately) = (Vec::new(), VecDeque::new());
        Self { dice: Dice::new(7), asked, lately, takes, limited: 0, at_once: 0, most_at_once: 0 }
    }

    /// Will there be an address, and how long it takes to say so.
    fn ask(&mut self, now: Duration) -> (bool, Duration) {
        self.asked.push(now);
        self.at_once += 1;
        self.most_at_once = self.most_at_once.max(self.at_once);
        self.lately.retain(|at| *at + SECOND > now);
        let fine = self.lately.len() < self.takes;
        if fine {
            self.lately.push_back(now);
        } else {
            self.limited += 1;
        }
        (fine, self.dice.between(SECOND / 20, SECOND * 3 / 10))
    }

    fn busiest_second(&self) -> usize {
        let within = |n: usize| self.asked[n..].iter().take_while(|at| **at < self.asked[n] + SECOND).count();
        (0..self.asked.len()).map(within).max().unwrap_or_default()
    }
}
