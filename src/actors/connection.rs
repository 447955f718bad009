//! A connection: the actor that keeps one app online. A thin shell: it translates for [`machine::connection`](crate::machine::connection),
//! asks Slack for addresses, starts links, and publishes what the machine says.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use super::directory::Entry;
use super::intake::Intake;
use super::link::{self, News, Report, WORDS, Word};
use super::roster::Roster;
use super::shared::Shared;
use super::tripwire::Tripwire;
use crate::ids::{AppId, Generation};
use crate::machine::connection::{
    Action, Connection as Machine, Input, OpenFailure, Settings, Timing, Which,
};
use crate::protocol::hello::Hello;
use crate::secret::{AppToken, TicketUrl};
use crate::slack::web::WebApi;
use crate::status::{Code, Source, State};
use crate::store::{App, Desired, Transition};

/// The app as it is stored now: compare and act.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Configure(pub(super) App);

/// Off, for good: the node stops, or the app has no workspace any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop(pub(super) Code);

/// What a connection is made of.
pub(super) struct Parts {
    pub(super) app: App,
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) tripwire: Tripwire,
}

/// A link, as its connection holds it.
struct Handle {
    words: mpsc::Sender<Word>,
    /// Is hello in?
    is_up: bool,
    /// Has Slack announced its end?
    is_announced: bool,
    /// Dropped with the handle, however that comes about: the link then ends in order.
    _alive: oneshot::Sender<()>,
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
    token: Option<AppToken>,
    candidate: Option<AppToken>,
    is_on: bool,
    /// Why the last link that was up ended or is about to, until its successor is up.
    lost: Option<Code>,
    /// Addresses that were issued and are not dialled yet.
    addresses: HashMap<Generation, TicketUrl>,
    opening: HashMap<Generation, SpawnHandle>,
    links: HashMap<Generation, Handle>,
    roster: watch::Sender<Arc<Roster>>,
    timer: Option<(Duration, SpawnHandle)>,
    tripwire: Tripwire,
}

impl Connection {
    /// The connection of an app. To be made on the arbiter it will live on.
    pub(super) fn new(Parts { app, shared, entry, tripwire }: Parts) -> Self {
        let settings = Settings {
            links: app.links,
            slack_app_id: app.slack_app_id.as_deref().map(Into::into),
            timing: Timing::default(),
        };
        let seed = rand::random();
        let machine = Machine::new(shared.clock.now(), settings, seed, shared.generations.clone());
        let roster = watch::Sender::new(Arc::new(Roster::new(app.seats.clone())));
        Self {
            id: app.id,
            machine,
            web: WebApi::here(&shared.outside),
            shared,
            entry,
            app,
            token: None,
            candidate: None,
            is_on: false,
            lost: None,
            addresses: HashMap::new(),
            opening: HashMap::new(),
            links: HashMap::new(),
            roster,
            timer: None,
            tripwire,
        }
    }

    fn feed(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.machine.handle(self.shared.clock.now(), input);
        // First of all: who reads of a change in the log and asks finds it so.
        self.entry.publish(self.machine.status());
        while let Some(action) = self.machine.poll_action() {
            self.act(action, ctx);
        }
        self.arm(ctx);
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Open { generation, token } => self.open(generation, token, ctx),
            Action::Dial(generation) => self.dial(generation, ctx),
            Action::Abandon(generation) => {
                self.addresses.remove(&generation);
                if let Some(opening) = self.opening.remove(&generation) {
                    ctx.cancel_future(opening);
                }
            }
            Action::Stop(generation) => self.say(generation, Word::Stop),
            Action::Retire(generation, within) => self.say(generation, Word::Retire(within)),
            Action::Promote => self.promote(ctx),
            Action::DropCandidate(code) => self.drop_candidate(code, ctx),
            Action::LearnAppId(id) => self.learn_app_id(id, ctx),
            Action::Changed { from, to, code, generation } => {
                let at_ms = self.shared.clock.now().wall_ms;
                self.shared.tell_history(Transition { app: self.id, at_ms, from, to, code, generation });
                announce(&self.app, from, to, code);
            }
        }
    }

    /// One timer, re-armed when the machine's next deadline has moved.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = self.machine.poll_timeout();
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
                act.feed(Input::Timeout, ctx);
            });
            self.timer = Some((due, timer));
        }
    }

    fn say(&self, generation: Generation, word: Word) {
        if let Some(link) = self.links.get(&generation)
            && link.words.try_send(word).is_err()
        {
            tracing::debug!(%generation, "the link has ended already");
        }
    }

    fn open(&mut self, generation: Generation, which: Which, ctx: &mut Context<Self>) {
        let token = match which {
            Which::InForce => &self.token,
            Which::Candidate => &self.candidate,
        };
        let Some(token) = token.clone() else {
            return self.feed(Input::NoToken(Code::NotAuthed), ctx);
        };
        let (web, pace) = (Rc::clone(&self.web), Arc::clone(&self.shared.pace));
        let asking = async move {
            // Never closed; without a permit the call is merely not paced.
            let _permit = pace.acquire_owned().await;
            web.open(&token).await
        };
        let asking =
            asking.into_actor(self).map(move |answer, act, ctx| act.on_answer(generation, answer, ctx));
        self.opening.insert(generation, ctx.spawn(asking));
    }

    fn on_answer(
        &mut self,
        generation: Generation,
        answer: Result<TicketUrl, OpenFailure>,
        ctx: &mut Context<Self>,
    ) {
        self.opening.remove(&generation);
        self.shared.metrics.open(answer.as_ref().err().map(|failure| failure.code));
        match answer {
            Ok(address) => {
                self.addresses.insert(generation, address);
                self.feed(Input::UrlIssued(generation), ctx);
                self.addresses.remove(&generation);
            }
            Err(failure) => self.feed(Input::OpenFailed(generation, failure), ctx),
        }
    }

    fn dial(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        let Some(address) = self.addresses.remove(&generation) else {
            return self.feed(Input::LinkDown(generation, Code::DialFailed), ctx);
        };
        let (own_words, words) = mpsc::channel(WORDS);
        let (alive, connection_lives) = oneshot::channel();
        let shared = &self.shared;
        let intake = Intake::new(
            self.id,
            self.roster.subscribe(),
            Arc::clone(&shared.budget),
            Arc::clone(&self.entry.counters),
            Arc::clone(&shared.metrics),
        );
        let parts = link::Parts {
            generation,
            clock: shared.clock,
            outside: Arc::clone(&shared.outside),
            intake,
            exit: shared.exit.clone(),
            connection: ctx.address().recipient(),
            words,
            own_words: own_words.clone(),
            connection_lives,
            counters: Arc::clone(&self.entry.counters),
            metrics: Arc::clone(&shared.metrics),
        };
        self.links.insert(
            generation,
            Handle { words: own_words, is_up: false, is_announced: false, _alive: alive },
        );
        let task = self.entry.links.spawn_local(link::run(address, parts));
        let end = task.into_actor(self).map(move |end, act, ctx| {
            let code = end.unwrap_or_else(|_| {
                tracing::error!(app = %act.id, %generation, "a link panicked; it is replaced");
                Code::ConnectionLost
            });
            if let Some(link) = act.links.remove(&generation).filter(|link| link.is_up) {
                if !link.is_announced && code.source() != Source::Operator {
                    act.lost = Some(code);
                }
                tracing::info!(workspace = workspace(&act.app), %generation, reason = code.as_str(), "link ended");
            }
            act.feed(Input::LinkDown(generation, code), ctx);
        });
        ctx.spawn(end);
    }

    /// Counts a link, and why it was needed when it is not the first.
    fn came_up(&mut self, generation: Generation, hello: &Hello) {
        if let Some(link) = self.links.get_mut(&generation) {
            link.is_up = true;
        }
        if let Some(code) = self.lost.take() {
            self.entry.counters.reconnects.fetch_add(1, Ordering::Relaxed);
            self.shared.metrics.reconnect(code);
        }
        let host = hello.host.as_deref();
        tracing::info!(workspace = workspace(&self.app), %generation, host, sockets = hello.num_connections, "link is up");
    }

    fn promote(&mut self, ctx: &mut Context<Self>) {
        let Some(token) = self.candidate.take() else { return };
        self.token = Some(token.clone());
        let (store, id, now) = (Arc::clone(&self.shared.store), self.id, self.shared.clock.now().wall_ms);
        let noting = async move { store.promote_candidate(id, &token, now).await };
        ctx.spawn(noting.into_actor(self).map(|noted, act, _| act.noted(noted, "the new token is in force")));
    }

    fn drop_candidate(&mut self, code: Code, ctx: &mut Context<Self>) {
        tracing::warn!(app = %self.id, code = code.as_str(), "Slack refuses the new token; the old one stays in force");
        let Some(token) = self.candidate.take() else { return };
        let (store, id, now) = (Arc::clone(&self.shared.store), self.id, self.shared.clock.now().wall_ms);
        let noting = async move { store.drop_candidate(id, &token, now).await };
        ctx.spawn(noting.into_actor(self).map(|noted, act, _| act.noted(noted, "the new token is refused")));
    }

    fn learn_app_id(&mut self, slack_app_id: Box<str>, ctx: &mut Context<Self>) {
        let (store, id, now) = (Arc::clone(&self.shared.store), self.id, self.shared.clock.now().wall_ms);
        let noting = async move { store.learn_slack_app_id(id, &slack_app_id, now).await };
        ctx.spawn(noting.into_actor(self).map(|noted, act, _| act.noted(noted, "the app's id is known")));
    }

    fn learn_team(&mut self, learnt: super::intake::Learnt, ctx: &mut Context<Self>) {
        let (store, now) = (Arc::clone(&self.shared.store), self.shared.clock.now().wall_ms);
        for seat in &mut self.app.seats {
            if seat.workspace == learnt.workspace {
                seat.team_id = learnt.team_id.as_deref().map(str::to_owned);
                seat.enterprise_id = learnt.enterprise_id.as_deref().map(str::to_owned);
            }
        }
        self.roster.send_replace(Arc::new(Roster::new(self.app.seats.clone())));
        let noting = async move {
            let (team, enterprise) = (learnt.team_id.as_deref(), learnt.enterprise_id.as_deref());
            store.learn_team(learnt.workspace, team, enterprise, now).await
        };
        ctx.spawn(
            noting.into_actor(self).map(|noted, act, _| act.noted(noted, "the workspace's team is known")),
        );
    }

    fn noted(&self, noted: Result<(), crate::store::StoreError>, what: &str) {
        if let Err(error) = noted {
            tracing::error!(app = %self.id, %error, "this could not be stored: {what}");
        }
    }

    /// Compares the app as stored with what is running.
    fn configure(&mut self, app: App, ctx: &mut Context<Self>) {
        self.roster.send_replace(Arc::new(Roster::new(app.seats.clone())));
        let (was_on, is_on) = (self.is_on, app.desired == Desired::Connected);
        self.is_on = is_on;
        self.feed(Input::Links(app.links), ctx);
        let wanted = app.candidate.clone().or_else(|| app.token.clone());
        let tried_beside = app.candidate.is_some();
        self.app = app;
        let mut connect = is_on && !was_on;
        match wanted {
            Some(Ok(token))
                if self.token.as_ref() == Some(&token) || self.candidate.as_ref() == Some(&token) => {}
            Some(Ok(token)) if self.token.is_none() && !tried_beside => {
                self.token = Some(token);
                connect = is_on;
            }
            Some(Ok(token)) => {
                self.candidate = Some(token);
                self.feed(Input::NewToken, ctx);
            }
            Some(Err(error)) => {
                tracing::error!(app = %self.id, %error, "the stored token cannot be read");
                self.feed(Input::NoToken(Code::TokenUnreadable), ctx);
                connect = false;
            }
            None => {
                self.token = None;
                self.feed(Input::NoToken(Code::NotAuthed), ctx);
                connect = false;
            }
        }
        if connect {
            self.feed(Input::Connect(Code::OperatorConnect), ctx);
        } else if was_on && !is_on {
            self.feed(Input::Disconnect(Code::OperatorDisconnect), ctx);
        }
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
                Input::LinkUp(generation, hello)
            }
            News::Draining(code, within) => {
                self.lost = Some(code);
                if let Some(link) = self.links.get_mut(&generation) {
                    link.is_announced = true;
                }
                tracing::info!(workspace = workspace(&self.app), %generation, reason = code.as_str(), "link is about to end");
                Input::LinkDraining(generation, code, within)
            }
            News::Learnt(learnt) => return self.learn_team(learnt, ctx),
        };
        self.feed(input, ctx);
    }
}

impl Handler<Configure> for Connection {
    type Result = ();

    fn handle(&mut self, Configure(app): Configure, ctx: &mut Self::Context) {
        self.configure(app, ctx);
    }
}

impl Handler<Stop> for Connection {
    type Result = ();

    fn handle(&mut self, Stop(code): Stop, ctx: &mut Self::Context) {
        self.feed(Input::Disconnect(code), ctx);
        self.tripwire.disarm();
    }
}

/// By what an app is named in the log: the first workspace on it.
fn workspace(app: &App) -> &str {
    app.seats.first().map_or("none", |seat| seat.name.as_str())
}

/// Says a change of state aloud: once, at the level of who has to care.
fn announce(app: &App, from: State, to: State, code: Option<Code>) {
    let workspace = workspace(app);
    let reason = code.map(Code::as_str);
    match (to, code) {
        (State::Failed, Some(code)) => {
            tracing::error!(workspace, app = %app.id, reason, action = code.action(), "{}", code.message());
        }
        (State::Reconnecting, Some(code)) => {
            tracing::warn!(workspace, app = %app.id, reason, "{}", code.message());
        }
        (State::Ready | State::Disconnected, _) => {
            tracing::info!(workspace, app = %app.id, reason, "{}", to.as_str());
        }
        _ => {
            tracing::debug!(workspace, app = %app.id, from = from.as_str(), to = to.as_str(), reason, "state");
        }
    }
}
