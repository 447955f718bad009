//! A connection, a Slack that answers as its fields say, and a clock that only this test moves.

mod failures;
mod properties;
mod refresh;
mod states;
mod steering;
mod tokens;
mod truth;

use std::collections::BTreeMap;

use super::*;
use crate::status::{Health, LinkState, Status};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const ZERO: Duration = Duration::ZERO;

/// Slack's answers and how long they take.
struct Slack {
    /// To the next openings; `None` issues an address.
    refuses: Option<OpenFailure>,
    /// The same with the candidate for the token.
    refuses_candidate: Option<OpenFailure>,
    /// Ends a socket in place of hello.
    no_hello: Option<Code>,
    hello: Hello,
    open_takes: Duration,
    dial_takes: Duration,
    hello_takes: Duration,
    stop_takes: Duration,
    /// What each socket gets so long after hello.
    disconnects: Option<(Duration, Code)>,
    /// From announcing an end to closing.
    closes_after: Duration,
}

struct World {
    connection: Connection,
    slack: Slack,
    now: Now,
    /// What is on its way to the connection.
    coming: BTreeMap<(Duration, u64), Input>,
    sent: u64,
    /// All it did, and when.
    log: Vec<(Duration, Action)>,
    /// Links it may hold: wanted and one more.
    room: usize,
    held: Vec<Generation>,
    /// Events that have come in all.
    heard: u64,
}

impl World {
    /// A connection that is off.
    fn off(links: u8) -> Self {
        Self::with(Settings { links, slack_app_id: Some("A1".into()), timing: &Timing::NODE })
    }

    fn with(settings: Settings) -> Self {
        let now = Now { mono: HOUR, wall_ms: 1_700_000_000_000 };
        let room = usize::from(settings.links) + 1;
        let connection = Connection::new(now, settings, 42, Generations::default());
        let slack = Slack {
            refuses: None,
            refuses_candidate: None,
            no_hello: None,
            hello: Hello {
                app_id: Some("A1".into()),
                host: Some("applink-1".into()),
                num_connections: Some(1),
                lifetime: None,
            },
            open_takes: Duration::from_millis(100),
            dial_takes: Duration::from_millis(100),
            hello_takes: Duration::from_millis(100),
            stop_takes: Duration::from_millis(50),
            disconnects: None,
            closes_after: 10 * SECOND,
        };
        let (coming, log, held) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { connection, slack, now, coming, sent: 0, log, room, held, heard: 0 }
    }

    /// A connection that was just told to connect.
    fn connecting(links: u8) -> Self {
        let mut world = Self::off(links);
        world.give(Input::Connect(Code::OperatorConnect));
        world
    }

    /// A connection whose links are all live.
    fn ready(links: u8) -> Self {
        let mut world = Self::connecting(links);
        world.run(SECOND);
        assert_eq!((world.state(), world.health()), (State::Ready, Health::Ok));
        world
    }

    /// A connection with one link, live for a minute.
    fn stable() -> Self {
        let mut world = Self::ready(1);
        world.run(MINUTE);
        world
    }

    fn give(&mut self, input: Input) -> Vec<Action> {
        if let Input::LinkDown(generation, _) | Input::OpenFailed(generation, _) = &input {
            self.held.retain(|held| held != generation);
        }
        self.connection.handle(self.now, input);
        let mut actions: Vec<_> = std::iter::from_fn(|| self.connection.poll_action()).collect();
        // The shell's answer comes at once, and is of no concern to anything else.
        if actions.contains(&Action::Count) {
            actions.retain(|action| *action != Action::Count);
            self.connection.handle(self.now, Input::Counted(self.heard));
        }
        for action in &actions {
            self.log.push((self.now.mono, action.clone()));
            self.perform(action);
        }
        let wanted_at = self.connection.poll_timeout();
        assert!(wanted_at.is_none_or(|at| at > self.now.mono), "a timer in the past");
        actions
    }

    /// The app is stored differently now.
    fn configure(&mut self, change: impl FnOnce(&mut Wish)) -> Vec<Action> {
        let candidate = if self.connection.candidate.is_some() { Token::Same } else { Token::Absent };
        let (on, links) = (self.connection.on, self.connection.settings.links);
        let mut wish = Wish { on, links, token: Token::Same, candidate };
        change(&mut wish);
        self.give(Input::Configure(wish))
    }

    fn new_token(&mut self) -> Vec<Action> {
        self.configure(|wish| wish.candidate = Token::Changed)
    }

    fn want_links(&mut self, count: u8) {
        self.configure(|wish| wish.links = count);
    }

    /// What the shell and Slack do.
    fn perform(&mut self, action: &Action) {
        let slack = &self.slack;
        match action {
            Action::Open { generation, token } => {
                self.held.push(*generation);
                assert!(self.held.len() <= self.room, "{} sockets, {} allowed", self.held.len(), self.room);
                let refusal = match token {
                    Which::InForce => slack.refuses,
                    Which::Candidate => slack.refuses_candidate,
                };
                let answer = match refusal {
                    Some(failure) => Input::OpenFailed(*generation, failure),
                    None => Input::UrlIssued(*generation),
                };
                self.send(self.slack.open_takes, answer);
            }
            Action::Dial(generation) => {
                let generation = *generation;
                let (dialled, greeted) = (slack.dial_takes, slack.dial_takes + slack.hello_takes);
                let (hello, no_hello, disconnects) = (slack.hello.clone(), slack.no_hello, slack.disconnects);
                let closes_after = slack.closes_after;
                self.send(dialled, Input::LinkOpened(generation));
                if let Some(code) = no_hello {
                    self.send(greeted, Input::LinkDown(generation, code));
                    return;
                }
                self.send(greeted, Input::LinkUp(generation, hello));
                if let Some((after, code)) = disconnects {
                    self.send(greeted + after, Input::LinkDraining(generation, code, closes_after));
                    self.send(greeted + after + closes_after, Input::LinkDown(generation, code));
                }
            }
            Action::Stop(generation) => {
                self.forget(*generation);
                self.send(self.slack.stop_takes, Input::LinkDown(*generation, Code::OperatorDisconnect));
            }
            Action::Retire(generation, within) => {
                self.forget(*generation);
                self.send(*within, Input::LinkDown(*generation, Code::PlannedRefresh));
            }
            Action::Abandon(generation) => {
                self.forget(*generation);
                self.held.retain(|held| held != generation);
            }
            Action::Promote => self.slack.refuses = self.slack.refuses_candidate,
            Action::DropCandidate(_) | Action::LearnAppId(_) | Action::Count | Action::Changed { .. } => {}
        }
    }

    fn send(&mut self, after: Duration, input: Input) {
        self.sent += 1;
        self.coming.insert((self.now.mono + after, self.sent), input);
    }

    fn forget(&mut self, generation: Generation) {
        self.coming.retain(|_, input| input.generation() != Some(generation));
    }

    /// The next thing that happens before `end`.
    fn step(&mut self, end: Duration) -> bool {
        let timer = self.connection.poll_timeout().unwrap_or(Duration::MAX);
        let next = self.coming.first_key_value().map_or(Duration::MAX, |((at, _), _)| *at);
        let at = timer.min(next);
        if at > end {
            return false;
        }
        self.now = self.now.after(at.saturating_sub(self.now.mono));
        if next <= timer {
            let (_, input) = self.coming.pop_first().unwrap();
            self.give(input);
        } else {
            self.give(Input::Timeout);
        }
        true
    }

    /// Lets everything happen that happens within `time`.
    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 100_000, "it never comes to rest");
        }
        self.now = self.now.after(end.saturating_sub(self.now.mono));
    }

    /// The same for at most `time`, until `is`; how long it took.
    fn run_until(&mut self, time: Duration, is: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now.mono;
        while !is(self) {
            assert!(self.step(start + time), "it never came to be: {:?}", self.status());
        }
        self.now.mono.saturating_sub(start)
    }

    fn status(&self) -> Status {
        self.connection.status()
    }

    fn state(&self) -> State {
        self.status().state
    }

    fn health(&self) -> Health {
        self.status().health
    }

    fn reason(&self) -> Option<Code> {
        self.status().reason.map(|reason| reason.code)
    }

    /// Links in this state, oldest first.
    fn links(&self, state: LinkState) -> Vec<Generation> {
        let links = self.status().links;
        links.into_iter().filter(|link| link.state == state).map(|link| link.generation).collect()
    }

    fn live(&self) -> Generation {
        self.links(LinkState::Live)[0]
    }

    fn opening(&self) -> Generation {
        self.links(LinkState::Opening)[0]
    }

    /// How often an address was asked for.
    fn opens(&self) -> usize {
        self.log.iter().filter(|(_, action)| matches!(action, Action::Open { .. })).count()
    }

    /// Every state it went through, in order.
    fn went_through(&self) -> Vec<State> {
        let to = |(_, action): &(Duration, Action)| {
            if let Action::Changed { to, .. } = action { Some(*to) } else { None }
        };
        self.log.iter().filter_map(to).collect()
    }

    fn did(&self, action: &Action) -> bool {
        self.log.iter().any(|(_, done)| done == action)
    }
}

fn refusal(code: Code, class: Class) -> OpenFailure {
    OpenFailure { code, class, retry_after: None }
}
