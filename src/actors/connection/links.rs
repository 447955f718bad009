//! A connection's links: asking for addresses, dialling them, and the book it keeps of each.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use futures_channel::mpsc;
use tokio::sync::oneshot;

use super::Connection;
use crate::actors::intake::Intake;
use crate::actors::link::{self, Words};
use crate::actors::names::say;
use crate::ids::Generation;
use crate::machine::connection::{Input, OpenFailure, Which};
use crate::protocol::class::Class;
use crate::protocol::hello::Hello;
use crate::secret::TicketUrl;
use crate::status::{Code, Source};

/// A link, as its connection holds it.
pub(super) struct Handle {
    pub(super) generation: Generation,
    pub(super) words: Words,
    /// Since when it is dialled, by the monotonic clock.
    dialled: Duration,
    /// Is hello in?
    is_up: bool,
    /// Has Slack announced its end?
    is_announced: bool,
    /// Dropped with the handle, however that comes about: the link then ends in order.
    _alive: oneshot::Sender<()>,
}

impl Connection {
    pub(super) fn open(&mut self, generation: Generation, which: Which, ctx: &mut Context<Self>) {
        let Some(token) = self.tokens.get(which) else {
            let failure = OpenFailure { code: Code::NotAuthed, class: Class::Fatal, retry_after: None };
            return self.feed(Input::OpenFailed(generation, failure), ctx);
        };
        let (web, pacer) = (Rc::clone(&self.web), Arc::clone(&self.shared.pacer));
        // A successor must be up before Slack closes its predecessor, so it does not queue behind those that are down anyway.
        let succeeds = self.links.iter().any(|link| link.is_up);
        let app = self.id;
        let asking = async move {
            let turn = if succeeds { pacer.jump(app) } else { pacer.turn(app).await };
            let answer = web.open(&token).await;
            turn.end(answer.as_ref().is_err_and(|failure| failure.code == Code::Ratelimited));
            answer
        };
        let asking =
            asking.into_actor(self).map(move |answer, act, ctx| act.on_answer(generation, answer, ctx));
        self.opening.reserve_exact(1);
        self.opening.push((generation, ctx.spawn(asking)));
    }

    /// Nobody waits for this link's address any more.
    pub(super) fn take_asking(&mut self, generation: Generation) -> Option<SpawnHandle> {
        let at = self.opening.iter().position(|(asking, _)| *asking == generation)?;
        Some(self.opening.swap_remove(at).1)
    }

    fn link(&mut self, generation: Generation) -> Option<&mut Handle> {
        self.links.iter_mut().find(|link| link.generation == generation)
    }

    fn on_answer(
        &mut self,
        generation: Generation,
        answer: Result<TicketUrl, OpenFailure>,
        ctx: &mut Context<Self>,
    ) {
        self.take_asking(generation);
        self.shared.metrics.open(answer.as_ref().err().map(|failure| failure.code));
        match answer {
            Ok(address) => {
                self.issued = Some((generation, address));
                self.feed(Input::UrlIssued(generation), ctx);
                self.issued = None;
            }
            Err(failure) => self.feed(Input::OpenFailed(generation, failure), ctx),
        }
    }

    pub(super) fn dial(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        let Some((_, address)) = self.issued.take_if(|(issued, _)| *issued == generation) else {
            return self.feed(Input::LinkDown(generation, Code::DialFailed), ctx);
        };
        let (own_words, words) = mpsc::unbounded();
        let (alive, connection_lives) = oneshot::channel();
        let shared = &self.shared;
        let intake = Intake::new(
            self.id,
            Arc::clone(&self.roster),
            Arc::clone(&shared.budget),
            Arc::clone(&self.entry.counters),
            Arc::clone(&shared.metrics),
            shared.asks.as_ref().map(|asks| (Arc::clone(asks), own_words.clone())),
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
        self.links.reserve_exact(1);
        self.links.push(Handle {
            generation,
            words: own_words,
            dialled: shared.clock.mono(),
            is_up: false,
            is_announced: false,
            _alive: alive,
        });
        let task = self.entry.links.spawn_local(link::run(address, parts));
        let end = task.into_actor(self).map(move |end, act, ctx| {
            let code = end.unwrap_or_else(|_| {
                say!(error, act.who(), generation = generation.0, "a link panicked; it is replaced");
                Code::ConnectionLost
            });
            act.went_down(generation, code);
            act.feed(Input::LinkDown(generation, code), ctx);
        });
        ctx.spawn(end);
    }

    /// Counts a link, and why it was needed when it is not the first.
    pub(super) fn came_up(&mut self, generation: Generation, hello: &Hello) {
        let now = self.shared.clock.mono();
        if let Some(link) = self.link(generation) {
            link.is_up = true;
            let took = now.saturating_sub(link.dialled);
            self.shared.metrics.hello_seconds.took(took);
        }
        if let Some(code) = self.lost.take() {
            self.entry.counters.reconnects.fetch_add(1, Ordering::Relaxed);
            self.shared.metrics.reconnect(code);
        }
        let host = hello.host.as_deref();
        say!(
            info,
            self.who(),
            generation = generation.0,
            host,
            sockets = hello.num_connections,
            "link is up"
        );
    }

    pub(super) fn is_announced(&mut self, generation: Generation, code: Code) {
        self.lost = Some(code);
        if let Some(link) = self.link(generation) {
            link.is_announced = true;
        }
        say!(info, self.who(), generation = generation.0, reason = code.as_str(), "link is about to end");
    }

    fn went_down(&mut self, generation: Generation, code: Code) {
        let at = self.links.iter().position(|link| link.generation == generation);
        if let Some(link) = at.map(|at| self.links.swap_remove(at)).filter(|link| link.is_up) {
            if !link.is_announced && code.source() != Source::Operator {
                self.lost = Some(code);
            }
            say!(info, self.who(), generation = generation.0, reason = code.as_str(), "link ended");
        }
    }
}
