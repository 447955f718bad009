//! One socket's life, from dialling to the dropped TCP connection. It never sees an envelope: only that frames come in,
//! and how many envelopes still wait for their verdict.
//!
//! | phase | open | hello | disconnect | retire | stop | peer's close | broken | time is up |
//! |---|---|---|---|---|---|---|---|---|
//! | dialing | → greeting | – | – | end | end | end | end | end `dial_timeout` |
//! | greeting | – | → live | close, its code | settle | settle | end `closed_by_slack` | end; settle | close `no_hello` |
//! | live | – | – | → draining; `link_disabled`, `too_many_websockets`: settle | → draining | settle | end `closed_by_slack` | end; settle | ping; silence: close |
//! | draining | – | – | ends no later; the first reason stands | stays no longer than that | settle | end, the first reason | end; settle | ping; silence: close; overstayed: settle |
//! | settling | – | – | – | – | – | end | end; – | close |
//! | closing | – | – | – | – | – | end | end; – | end |
//! | parting | – | – | – | – | – | – | end | close, end |
//! | dead | – | – | – | – | – | – | – | – |
//!
//! *Settle*: those envelopes taken may get their verdict, then close. Slack goes on sending until it reads the close frame, so
//! what comes meanwhile is taken too, but only for a while, since on a busy socket the last verdict would never be in. *Close*: the close frame is
//! sent, so that Slack frees the app's place for another socket, and TCP is dropped a second later at most: Slack answers
//! a close but doesn't always hang up. *End*: TCP is dropped now. A link that is broken for what it *says* (no JSON, a
//! frame too large, bad WebSocket) still has a working TCP connection, so it settles rather than ends: what it said before was
//! in order, and its acks are nearly due.
//!
//! A peer that closes while envelopes of its wait for their verdict gets the acks before its close frame is answered: the link is
//! *parting*, for as long as a closing one lasts at most. Else an event that crosses the close frame would be sent again.
//!
//! `Down` is told when TCP is dropped and not when the close frame is sent: until then Slack counts the socket, and the
//! connection must not open one too many. That costs a second at most.
//!
//! Any inbound frame, a pong included, is a sign of life; the lack of events never means anything (quiet workspaces
//! would reconnect for ever). Our own pings make a quiet socket answer.

mod pongs;

use std::collections::VecDeque;
use std::time::Duration;

use self::pongs::Pongs;
pub use self::pongs::RoundTrip;
use crate::clock::Now;
use crate::protocol::disconnect::DisconnectReason;
use crate::status::{Code, LinkState};

/// The times a link keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From the start until the socket must be open.
    pub dial: Duration,
    /// From there until hello must be in.
    pub hello: Duration,
    /// Between our pings.
    pub ping: Duration,
    /// Without any inbound frame for so long the socket is dead.
    pub silence: Duration,
    /// The clocks are apart by more than this: the machine slept, or somebody set its clock.
    pub clock_gap: Duration,
    /// After that the socket must show a sign of life within this.
    pub wake_answer: Duration,
    /// What remains of a socket after Slack's `disconnect`. Slack announces ten seconds, and may take less.
    pub announced_end: Duration,
    /// So long past its announced end a link waits for Slack to close it.
    pub overstay: Duration,
    /// A stopped link waits so long for verdicts: Slack gives up on an ack after three seconds.
    pub settle: Duration,
    /// For so long a stopped link takes what still comes, while it waits for verdicts.
    pub last_call: Duration,
    /// From our close frame until TCP is dropped.
    pub close: Duration,
}

impl Settings {
    /// The times of a node. Shared by all its links: there may be thousands.
    pub const NODE: Self = Self {
        dial: Duration::from_secs(10),
        hello: Duration::from_secs(10),
        ping: Duration::from_secs(10),
        silence: Duration::from_secs(30),
        clock_gap: Duration::from_secs(5),
        wake_answer: Duration::from_secs(5),
        announced_end: Duration::from_secs(10),
        overstay: Duration::from_mins(1),
        settle: Duration::from_millis(2500),
        last_call: Duration::from_secs(1),
        close: Duration::from_secs(1),
    };
}

/// What happened to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The WebSocket is open.
    Dialed,
    /// Slack's hello came.
    Hello,
    /// Slack announced the end.
    Disconnect(DisconnectReason),
    /// Any frame came in, pings and pongs included. Hello and disconnect need not be told twice.
    Activity,
    /// A pong came in. Whose it is doesn't matter: Slack's bear texts of its own.
    Pong,
    /// So many envelopes have no verdict yet or an ack that isn't flushed.
    InFlight(usize),
    /// The successor is up: stay for this long at most, then go as by `Stop`.
    Retire {
        /// From now.
        within: Duration,
    },
    /// Let what is in flight finish, then close.
    Stop,
    /// The peer's close frame came, or the end of the stream.
    PeerClosed,
    /// The dial failed, the transport broke, or what came can't be worked with.
    Broken(Code),
    /// The timer of [`Link::poll_timeout`] fired.
    Timeout,
}

/// What the shell is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a WebSocket ping.
    Ping,
    /// Flush the acks that are due, then send a close frame, or answer the peer's.
    SendClose,
    /// Drop TCP; the link's task ends.
    Drop,
    /// Tell the connection.
    Tell(Told),
}

/// What the connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The socket is open; hello is awaited.
    Opened,
    /// Hello is in.
    Up,
    /// Slack announced the end of a live link.
    Draining {
        /// Why.
        code: Code,
        /// From now until Slack closes it.
        ends_within: Duration,
    },
    /// How long Slack takes to answer our pings; told when it has changed by a quarter, or from swift to slow and back.
    RoundTrip(RoundTrip),
    /// TCP is dropped. Told exactly once, and last.
    Down(Code),
}

/// One socket's life.
#[derive(Debug)]
pub struct Link {
    settings: &'static Settings,
    phase: Phase,
    pulse: Pulse,
    in_flight: usize,
    seen: Now,
    pongs: Pongs,
    actions: VecDeque<Action>,
}

/// Moments are monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialing { until: Duration },
    Greeting { until: Duration },
    Live,
    Draining { code: Code, until: Duration },
    Settling { code: Code, last_call: Duration, until: Duration },
    Closing { code: Code, until: Duration },
    Parting { code: Code, until: Duration },
    Dead,
}

/// The signs of life of an open socket.
#[derive(Clone, Copy, Debug, Default)]
struct Pulse {
    last_inbound: Duration,
    next_ping: Duration,
    answer_by: Option<Duration>,
}

impl Link {
    /// A link whose dial begins now.
    pub fn new(now: Now, settings: &'static Settings) -> Self {
        let until = now.mono.saturating_add(settings.dial);
        Self {
            settings,
            phase: Phase::Dialing { until },
            pulse: Pulse::default(),
            in_flight: 0,
            seen: now,
            pongs: Pongs::default(),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened. Afterwards poll the actions, then the timeout.
    pub fn handle(&mut self, now: Now, input: Input) {
        let woke = self.clocks_parted(now);
        self.seen = now;
        match input {
            Input::Dialed => self.dialed(now),
            Input::Hello => self.hello(now),
            Input::Disconnect(reason) => self.disconnect(now, reason),
            Input::Activity => self.alive(now),
            Input::Pong => self.pong(now),
            Input::InFlight(count) => self.in_flight(now, count),
            Input::Retire { within } => self.retire(now, within),
            Input::Stop => self.stop(now),
            Input::PeerClosed => self.peer_closed(now),
            Input::Broken(code) => self.broken(now, code),
            Input::Timeout => self.timeout(now),
        }
        // After the input: a frame that lay in the socket's buffer while the machine slept proves nothing.
        if woke {
            self.woke(now);
        }
    }

    /// The next thing to do. To be polled until `None` after each [`handle`](Self::handle).
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to give the input [`Input::Timeout`] (monotonic). To be polled after the actions.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Dialing { until }
            | Phase::Greeting { until }
            | Phase::Settling { until, .. }
            | Phase::Closing { until, .. }
            | Phase::Parting { until, .. } => Some(until),
            Phase::Live => Some(self.next_beat()),
            Phase::Draining { until, .. } => Some(until.min(self.next_beat())),
            Phase::Dead => None,
        }
    }

    /// May an envelope that came in be taken? Otherwise it is let go without an ack, and Slack sends it elsewhere.
    pub fn accepts_envelopes(&self) -> bool {
        match self.phase {
            // Slack sends none before hello; should it, there is no reason to lose it.
            Phase::Greeting { .. } | Phase::Live | Phase::Draining { .. } => true,
            Phase::Settling { last_call, .. } => self.seen.mono < last_call,
            Phase::Dialing { .. } | Phase::Closing { .. } | Phase::Parting { .. } | Phase::Dead => false,
        }
    }

    /// In an operator's words.
    pub const fn state(&self) -> LinkState {
        match self.phase {
            Phase::Dialing { .. } | Phase::Greeting { .. } => LinkState::Opening,
            Phase::Live => LinkState::Live,
            Phase::Draining { .. } => LinkState::Draining,
            Phase::Settling { .. } | Phase::Closing { .. } | Phase::Parting { .. } | Phase::Dead => {
                LinkState::Closing
            }
        }
    }

    /// Has TCP been dropped?
    pub const fn is_dead(&self) -> bool {
        matches!(self.phase, Phase::Dead)
    }

    fn dialed(&mut self, now: Now) {
        match self.phase {
            Phase::Dialing { .. } => {
                self.phase = Phase::Greeting { until: now.mono.saturating_add(self.settings.hello) };
                self.pulse = Pulse {
                    last_inbound: now.mono,
                    next_ping: now.mono.saturating_add(self.settings.ping),
                    answer_by: None,
                };
                self.tell(Told::Opened);
            }
            Phase::Greeting { .. }
            | Phase::Live
            | Phase::Draining { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => {}
        }
    }

    fn hello(&mut self, now: Now) {
        self.alive(now);
        match self.phase {
            Phase::Greeting { .. } => {
                self.phase = Phase::Live;
                self.tell(Told::Up);
            }
            Phase::Dialing { .. }
            | Phase::Live
            | Phase::Draining { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => {}
        }
    }

    fn disconnect(&mut self, now: Now, reason: DisconnectReason) {
        self.alive(now);
        let code = reason.code();
        let ends_within = self.settings.announced_end;
        let last_moment = now.mono.saturating_add(ends_within).saturating_add(self.settings.overstay);
        match self.phase {
            Phase::Greeting { .. } => self.close(now, code),
            Phase::Live => match reason {
                DisconnectReason::Warning | DisconnectReason::RefreshRequested | DisconnectReason::Other => {
                    self.phase = Phase::Draining { code, until: last_moment };
                    self.tell(Told::Draining { code, ends_within });
                }
                // No successor would fare better, so there is nothing to wait for.
                DisconnectReason::LinkDisabled | DisconnectReason::TooManyWebsockets => {
                    self.settle(now, code);
                }
            },
            // The first reason stands, but what Slack means to close sooner need not stay longer.
            Phase::Draining { code, until } => {
                self.phase = Phase::Draining { code, until: until.min(last_moment) };
            }
            Phase::Dialing { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => {}
        }
    }

    fn in_flight(&mut self, now: Now, count: usize) {
        self.in_flight = count;
        match self.phase {
            Phase::Settling { code, .. } if count == 0 => self.close(now, code),
            Phase::Parting { code, .. } if count == 0 => self.part(code),
            Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Live
            | Phase::Draining { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => {}
        }
    }

    fn retire(&mut self, now: Now, within: Duration) {
        let by = now.mono.saturating_add(within);
        match self.phase {
            Phase::Live => self.phase = Phase::Draining { code: Code::PlannedRefresh, until: by },
            Phase::Draining { code, until } => self.phase = Phase::Draining { code, until: until.min(by) },
            // What isn't up carries nothing, so it needs no time.
            Phase::Dialing { .. } | Phase::Greeting { .. } => self.stop(now),
            Phase::Settling { .. } | Phase::Closing { .. } | Phase::Parting { .. } | Phase::Dead => {}
        }
    }

    fn stop(&mut self, now: Now) {
        match self.phase {
            Phase::Dialing { .. } => self.end(Code::OperatorDisconnect),
            Phase::Greeting { .. } | Phase::Live => self.settle(now, Code::OperatorDisconnect),
            Phase::Draining { code, .. } => self.settle(now, code),
            Phase::Settling { .. } | Phase::Closing { .. } | Phase::Parting { .. } | Phase::Dead => {}
        }
    }

    fn peer_closed(&mut self, now: Now) {
        let code = match self.phase {
            Phase::Live if self.in_flight > 0 => Code::ClosedBySlack,
            Phase::Draining { code, .. } | Phase::Settling { code, .. } if self.in_flight > 0 => code,
            Phase::Parting { .. } => return,
            Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Live
            | Phase::Draining { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Dead => return self.end(Code::ClosedBySlack),
        };
        self.phase = Phase::Parting { code, until: now.mono.saturating_add(self.settings.close) };
    }

    fn broken(&mut self, now: Now, code: Code) {
        let tcp_works = matches!(code, Code::NotJson | Code::FrameTooLarge | Code::ProtocolViolation);
        match self.phase {
            Phase::Greeting { .. } | Phase::Live | Phase::Draining { .. } if tcp_works => {
                self.settle(now, code);
            }
            Phase::Settling { .. } | Phase::Closing { .. } if tcp_works => {}
            Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Live
            | Phase::Draining { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => self.end(code),
        }
    }

    fn timeout(&mut self, now: Now) {
        match self.phase {
            Phase::Dialing { until } if now.mono >= until => self.end(Code::DialTimeout),
            Phase::Greeting { until } if now.mono >= until => self.close(now, Code::NoHello),
            Phase::Draining { code, until } if now.mono >= until => self.settle(now, code),
            Phase::Live | Phase::Draining { .. } => self.beat(now),
            Phase::Settling { code, until, .. } if now.mono >= until => self.close(now, code),
            Phase::Closing { until, .. } if now.mono >= until => self.end(Code::ConnectionLost),
            Phase::Parting { code, until } if now.mono >= until => self.part(code),
            Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => {}
        }
    }

    /// Pings when it is time, and gives up on a socket that doesn't answer.
    fn beat(&mut self, now: Now) {
        if self.pulse.answer_by.is_some_and(|by| now.mono >= by) {
            self.close(now, Code::WokeUp);
        } else if now.mono >= self.dies_at() {
            self.close(now, Code::Silent);
        } else if now.mono >= self.pulse.next_ping {
            self.ping(now);
        }
    }

    fn alive(&mut self, now: Now) {
        self.pulse.last_inbound = now.mono;
        self.pulse.answer_by = None;
    }

    fn pong(&mut self, now: Now) {
        self.alive(now);
        let is_up = matches!(self.phase, Phase::Live | Phase::Draining { .. });
        if let Some(news) = self.pongs.answered(now.mono).filter(|_| is_up) {
            self.tell(Told::RoundTrip(news));
        }
    }

    fn ping(&mut self, now: Now) {
        self.pulse.next_ping = now.mono.saturating_add(self.settings.ping);
        self.pongs.asked(now.mono);
        self.actions.push_back(Action::Ping);
    }

    fn woke(&mut self, now: Now) {
        match self.phase {
            Phase::Live | Phase::Draining { .. } => {
                self.ping(now);
                // A clock that keeps jumping doesn't put the answer off.
                let by = now.mono.saturating_add(self.settings.wake_answer);
                self.pulse.answer_by = Some(self.pulse.answer_by.map_or(by, |earlier| earlier.min(by)));
            }
            // These end by themselves within seconds.
            Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Parting { .. }
            | Phase::Dead => {}
        }
    }

    /// The wall clock runs on while the machine sleeps, the monotonic one doesn't.
    fn clocks_parted(&self, now: Now) -> bool {
        let mono = i64::try_from(now.mono.saturating_sub(self.seen.mono).as_millis()).unwrap_or(i64::MAX);
        let wall = now.wall_ms.saturating_sub(self.seen.wall_ms);
        Duration::from_millis(wall.abs_diff(mono)) > self.settings.clock_gap
    }

    fn dies_at(&self) -> Duration {
        self.pulse.last_inbound.saturating_add(self.settings.silence)
    }

    fn next_beat(&self) -> Duration {
        let beat = self.pulse.next_ping.min(self.dies_at());
        self.pulse.answer_by.map_or(beat, |by| beat.min(by))
    }

    fn settle(&mut self, now: Now, code: Code) {
        if self.in_flight == 0 {
            self.close(now, code);
        } else {
            let last_call = now.mono.saturating_add(self.settings.last_call);
            self.phase =
                Phase::Settling { code, last_call, until: now.mono.saturating_add(self.settings.settle) };
        }
    }

    fn close(&mut self, now: Now, code: Code) {
        self.phase = Phase::Closing { code, until: now.mono.saturating_add(self.settings.close) };
        self.actions.push_back(Action::SendClose);
    }

    fn part(&mut self, code: Code) {
        self.actions.push_back(Action::SendClose);
        self.end(code);
    }

    /// The one way to the end. A link that was ending already ends for the reason it had.
    fn end(&mut self, code: Code) {
        let code = match self.phase {
            Phase::Draining { code: drain, .. } if code == Code::ClosedBySlack => drain,
            Phase::Settling { code, .. } | Phase::Closing { code, .. } | Phase::Parting { code, .. } => code,
            Phase::Dialing { .. } | Phase::Greeting { .. } | Phase::Live | Phase::Draining { .. } => code,
            Phase::Dead => return,
        };
        self.phase = Phase::Dead;
        self.actions.push_back(Action::Drop);
        self.tell(Told::Down(code));
    }

    fn tell(&mut self, told: Told) {
        self.actions.push_back(Action::Tell(told));
    }
}

#[cfg(test)]
mod tests;
