//! A connection: the actor that keeps one app online. A thin shell: it translates for [`machine::connection`](crate::machine::connection),
//! asks Slack for addresses, starts links, and publishes what the machine says.

mod identity;
mod links;
mod notes;
mod tokens;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};

use self::links::Handle;
use self::notes::Note;
use self::tokens::Tokens;
use super::directory::Entry;
use super::link::{News, Report, Word};
use super::names::{Who, say};
use super::roster::Roster;
use super::shared::Shared;
use super::tripwire::Tripwire;
use crate::ids::{AppId, Generation, WorkspaceId};
use crate::machine::connection::{Action, Connection as Machine, Input, Settings, Timing, Token, Wish};
use crate::machine::inquiries::Inquiries;
use crate::secret::TicketUrl;
use crate::slack::web::WebApi;
use crate::status::{Code, Command, State, Status};
use crate::store::{App, Desired, Transition};

/// The app as it is stored now: compare and act.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Configure(pub(super) App);

/// Off, for good: the node stops, or the app has no workspace any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop(pub(super) Code);

/// A command, after whatever was to be configured.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Steer {
    pub(super) command: Command,
    /// Told when it is obeyed.
    pub(super) done: oneshot::Sender<Steered>,
}

/// A command is obeyed: what the connection says of itself from now on.
#[derive(Debug)]
pub struct Steered {
    /// What it says.
    pub status: watch::Receiver<Status>,
    /// Its youngest link before the command; none when it had none.
    pub youngest: Option<Generation>,
}

/// This older row is of the same Slack app: every link ends, until it is gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct YieldTo(pub(super) AppId);

/// Told the supervisor: two rows are of one Slack app.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Duplicate {
    pub(super) younger: AppId,
    /// The teller.
    pub(super) older: AppId,
}

/// What a connection is made of.
pub(super) struct Parts {
    pub(super) app: App,
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) tripwire: Tripwire,
    pub(super) duplicates: Recipient<Duplicate>,
}

/// The actor of one app.
pub(super) struct Connection {
    id: AppId,
    machine: Machine,
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    web: Rc<WebApi>,
    /// What it was configured by last.
    app: App,
    tokens: Tokens,
    /// Why the last link that was up ended or is about to, until its successor is up.
    lost: Option<Code>,
    /// The address that was issued and is to be dialled now or never.
    issued: Option<(Generation, TicketUrl)>,
    /// Few at any time, in an actor of which there may be thousands.
    opening: Vec<(Generation, SpawnHandle)>,
    links: Vec<Handle>,
    roster: Arc<Roster>,
    /// The bot tokens the workspaces had when it was configured last, by when they were put in place; none before the first time.
    bots: Option<HashMap<WorkspaceId, i64>>,
    timer: Option<(Duration, SpawnHandle)>,
    tripwire: Tripwire,
    duplicates: Recipient<Duplicate>,
    /// Workspaces whose team another workspace of the app has.
    second_seats: Vec<WorkspaceId>,
    /// Whose bot tokens are still to be found out.
    inquiries: Inquiries,
    /// The older row of the same Slack app that it is halted for.
    older: Option<AppId>,
    /// Off for good: what the store says is of no concern any more.
    stopped: bool,
}

impl Connection {
    /// The connection of an app. To be made on the arbiter it will live on.
    pub(super) fn new(Parts { app, shared, entry, tripwire, duplicates }: Parts) -> Self {
        let settings = Settings {
            links: app.links,
            slack_app_id: app.slack_app_id.as_deref().map(Into::into),
            timing: &Timing::NODE,
        };
        let seed = rand::random();
        let machine = Machine::new(shared.clock.now(), settings, seed, shared.generations.clone());
        let roster = Arc::new(Roster::new(app.seats.clone()));
        Self {
            id: app.id,
            machine,
            web: WebApi::here(&shared.outside),
            shared,
            entry,
            app,
            tokens: Tokens::default(),
            stopped: false,
            lost: None,
            issued: None,
            opening: Vec::new(),
            links: Vec::new(),
            roster,
            bots: None,
            timer: None,
            tripwire,
            duplicates,
            second_seats: Vec::new(),
            inquiries: Inquiries::default(),
            older: None,
        }
    }

    fn feed(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.machine.handle(self.shared.clock.now(), input);
        // First of all: who reads of a change in the log and asks finds it so.
        self.publish();
        while let Some(action) = self.machine.poll_action() {
            self.act(action, ctx);
        }
        self.arm(ctx);
    }

    /// Whom its lines in the log are about.
    fn who(&self) -> Who {
        self.shared.names.app(self.id)
    }

    /// Says a change of state aloud: once, at the level of who has to care.
    fn announce(&self, from: State, to: State, code: Option<Code>, generation: Option<Generation>) {
        let (who, reason) = (self.who(), code.map(Code::as_str));
        let generation = generation.map(|generation| generation.0);
        match (to, code) {
            (State::Failed, Some(code)) => {
                say!(error, who, generation, reason, action = code.action(), "{}", code.message());
            }
            (State::Reconnecting, Some(code)) => say!(warn, who, generation, reason, "{}", code.message()),
            (State::Ready | State::Disconnected, _) => say!(info, who, generation, reason, "{}", to.as_str()),
            _ => say!(debug, who, generation, from = from.as_str(), to = to.as_str(), reason, "state"),
        }
    }

    fn publish(&self) {
        let mark = |code: Code| move |workspace: WorkspaceId| (workspace, code);
        let marks = (self.inquiries.open().map(mark(Code::BotTokenUnchecked)))
            .chain(self.tokenless().map(mark(Code::BotTokenMissing)))
            .chain(self.second_seats.iter().copied().map(mark(Code::DuplicateInstallation)))
            .collect();
        self.entry.publish(Status { marks, ..self.machine.status() });
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Open { generation, token } => self.open(generation, token, ctx),
            Action::Dial(generation) => self.dial(generation, ctx),
            Action::Abandon(generation) => {
                if let Some(opening) = self.take_asking(generation) {
                    ctx.cancel_future(opening);
                }
            }
            Action::Stop(generation) => self.say(generation, Word::Stop),
            Action::Retire(generation, within) => self.say(generation, Word::Retire(within)),
            Action::Promote => self.promote(ctx),
            Action::DropCandidate(code) => self.drop_candidate(code, ctx),
            Action::LearnAppId(id) => {
                self.shared.names.is_called(self.id, &id);
                self.note(Note::AppId(id), ctx);
            }
            Action::Count => {
                let events = self.entry.counters.events.load(Ordering::Relaxed);
                self.feed(Input::Counted(events), ctx);
            }
            Action::Changed { from, to, code, generation } => {
                let at_ms = self.shared.clock.now().wall_ms;
                self.shared.tell_history(Transition {
                    app: self.id,
                    workspace: None,
                    at_ms,
                    from,
                    to,
                    code,
                    generation,
                });
                self.announce(from, to, code, generation);
            }
        }
    }

    /// One timer, re-armed when the machines' next deadline has moved.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = [self.machine.poll_timeout(), self.inquiries.poll_timeout()].into_iter().flatten().min();
        if self.timer.as_ref().map(|(at, _)| *at) == due {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = due {
            let wait = due.saturating_sub(self.shared.clock.now().mono);
            let timer = ctx.run_later(wait, |act, ctx| {
                act.timer = None;
                act.inquire(ctx);
                act.feed(Input::Timeout, ctx);
            });
            self.timer = Some((due, timer));
        }
    }

    fn say(&self, generation: Generation, word: Word) {
        if let Some(link) = self.links.iter().find(|link| link.generation == generation)
            && link.words.unbounded_send(word).is_err()
        {
            say!(debug, self.who(), generation = generation.0, "the link has ended already");
        }
    }

    /// Compares the app as stored with what is running.
    fn configure(&mut self, app: App, ctx: &mut Context<Self>) {
        self.roster.replace(app.seats.clone());
        // Who has gone or has learnt another team is none any more; the others are asked for again.
        self.second_seats.retain(|second| {
            app.seats.iter().any(|seat| seat.workspace == *second && seat.team_id.is_none())
        });
        let (token, candidate) = self.tokens.compare(&app);
        if token == Token::Unreadable || candidate == Token::Unreadable {
            say!(error, self.who(), "a stored token cannot be read with this node's key");
        }
        let (on, links) = (app.desired == Desired::Connected, app.links);
        self.app = app;
        self.feed(Input::Configure(Wish { on, links, token, candidate }), ctx);
        self.identify(ctx);
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(128);
        let app = self.app.clone();
        self.configure(app, ctx);
    }
}

impl Handler<Report> for Connection {
    type Result = ();

    fn handle(&mut self, Report { generation, news }: Report, ctx: &mut Self::Context) {
        let input = match news {
            News::Opened => Input::LinkOpened(generation),
            News::Up(hello) => {
                self.came_up(generation, &hello);
                self.machine.stand_beside(self.shared.other_nodes.load(Ordering::Relaxed));
                Input::LinkUp(generation, hello)
            }
            News::Draining(code, within) => {
                self.is_announced(generation, code);
                Input::LinkDraining(generation, code, within)
            }
            News::RoundTrip(pong) => {
                self.shared.metrics.pong_seconds.took(pong.median);
                Input::LinkPong(generation, pong)
            }
            News::Learnt(learnt) => return self.learn_team(learnt, ctx),
        };
        self.feed(input, ctx);
    }
}

impl Handler<Configure> for Connection {
    type Result = ();

    fn handle(&mut self, Configure(app): Configure, ctx: &mut Self::Context) {
        if !self.stopped {
            self.configure(app, ctx);
        }
    }
}

impl Handler<Steer> for Connection {
    type Result = ();

    fn handle(&mut self, Steer { command, done }: Steer, ctx: &mut Self::Context) {
        if self.stopped {
            return;
        }
        let youngest = self.machine.status().links.iter().map(|link| link.generation).max();
        match command {
            Command::Connect if self.app.desired == Desired::Connected => {
                self.feed(Input::Connect(Code::OperatorConnect), ctx);
            }
            Command::Reconnect => self.feed(Input::Reconnect, ctx),
            Command::Apply | Command::Connect => {}
        }
        // Who asked may have gone.
        drop(done.send(Steered { status: self.entry.status(), youngest }));
    }
}

impl Handler<YieldTo> for Connection {
    type Result = ();

    fn handle(&mut self, YieldTo(older): YieldTo, ctx: &mut Self::Context) {
        self.yield_to(older, ctx);
    }
}

impl Handler<Stop> for Connection {
    type Result = ();

    fn handle(&mut self, Stop(code): Stop, ctx: &mut Self::Context) {
        self.stopped = true;
        (self.inquiries, self.older) = (Inquiries::default(), None);
        self.feed(Input::Disconnect(code), ctx);
        self.tripwire.disarm();
    }
}
