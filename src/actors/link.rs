//! A link: one task that owns one socket whole. It drains what is readable, hands it on as a batch, and writes all acks that
//! are due with one flush. It never stops reading: who isn't read answers no ping and sees no `disconnect`. The rules of its
//! life are in [`machine::link`](crate::machine::link).

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::Recipient;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender};
use futures_util::{Stream as _, StreamExt as _};
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::exit::Exit;
use super::intake::{Counters, Intake, Learnt};
use super::ledger::Ledger;
use super::wire::Wire;
use crate::clock::{Clock, Now};
use crate::ids::Generation;
use crate::machine::link::{Action, Input, Link as Machine, RoundTrip, Settings, Told};
use crate::protocol::frame::{self, Frame};
use crate::protocol::hello::Hello;
use crate::secret::TicketUrl;
use crate::slack::socket::{Socket, cause_of_break, dial};
use crate::slack::web::Outside;
use crate::status::Code;
use crate::telemetry::Metrics;

/// Frames read in one turn at most, so that one busy socket leaves its neighbours on the thread their turn.
const TURN: usize = 64;

/// An ack that goes out later is late: Slack has given up on it (docs: Events API, "Responding to events").
const ACK_WITHIN: Duration = Duration::from_secs(3);

/// A link's queue of words. It needs no bound of its own: at most a verdict for every batch in the link's ledger waits in it, a word
/// about each of its envelopes that waits for an answer, and the few words of its connection.
pub(super) type Words = UnboundedSender<Word>;

/// What a link is told.
pub(super) enum Word {
    /// A batch is on disk, or has been before: its acks are due.
    Verdict {
        /// Which.
        batch: u64,
        /// Events that were there.
        duplicates: usize,
    },
    /// An envelope waits for an answer no longer.
    Answered {
        /// Which, by its ticket.
        ticket: u64,
        /// Its ack; none when it is not to be acked.
        ack: Option<Utf8Bytes>,
    },
    /// The successor is up; stay at most this long.
    Retire(Duration),
    /// End in order: verdicts, acks, close frame.
    Stop,
}

/// Shows what it is, never an answer.
impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict { batch, duplicates } => write!(f, "Verdict({batch}, {duplicates} duplicates)"),
            Self::Answered { ticket, ack } => write!(f, "Answered({ticket}, acked: {})", ack.is_some()),
            Self::Retire(within) => write!(f, "Retire({within:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// What a link tells its connection. Its end is told by the end of its task, so that not even a panic goes unheard.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(super) struct Report {
    pub(super) generation: Generation,
    pub(super) news: News,
}

/// The news of a link.
#[derive(Debug)]
pub(super) enum News {
    /// The socket is open.
    Opened,
    /// Hello is in.
    Up(Hello),
    /// Its end is announced.
    Draining(Code, Duration),
    /// How long Slack takes to answer pings.
    RoundTrip(RoundTrip),
    /// An event told whose it is.
    Learnt(Learnt),
}

/// What a link is made of.
pub(super) struct Parts {
    pub(super) generation: Generation,
    pub(super) clock: Clock,
    pub(super) outside: Arc<Outside>,
    pub(super) intake: Intake,
    pub(super) exit: Exit,
    pub(super) connection: Recipient<Report>,
    pub(super) words: UnboundedReceiver<Word>,
    /// The same queue's other end, for verdicts.
    pub(super) own_words: Words,
    /// Resolves when the connection's actor is gone.
    pub(super) connection_lives: oneshot::Receiver<()>,
    pub(super) counters: Arc<Counters>,
    pub(super) metrics: Arc<Metrics>,
}

/// Dials an address and lives until the socket is gone. Returns why it is.
pub(super) fn run(address: TicketUrl, parts: Parts) -> impl Future<Output = Code> {
    // Boxed: the state of the beginning is large, and this task lives for hours.
    let beginning = Box::pin(begin(address, parts));
    async move {
        match beginning.await {
            Ok(link) => link.await,
            Err(code) => code,
        }
    }
}

/// A link whose socket has just been opened, or why there is none.
async fn begin(address: TicketUrl, mut parts: Parts) -> Result<Box<Link>, Code> {
    let mut machine = Machine::new(parts.clock.now(), &Settings::NODE);
    let socket = dialled(&address, &mut machine, &mut parts).await?;
    let mut link = Box::new(Link {
        machine,
        socket,
        wire: Wire::default(),
        ledger: Ledger::default(),
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        hello: None,
        orphaned: false,
        deaf: false,
        parts,
    });
    link.feed(link.parts.clock.now(), Input::Dialed);
    Ok(link)
}

/// The socket, or why there is none. The machine sets the deadline and may be told to stop meanwhile.
async fn dialled(address: &TicketUrl, machine: &mut Machine, parts: &mut Parts) -> Result<Socket, Code> {
    let mut dialling = pin!(dial(address, &parts.outside.tls));
    loop {
        while let Some(action) = machine.poll_action() {
            if let Action::Tell(Told::Down(code)) = action {
                return Err(code);
            }
        }
        let deadline = parts.clock.instant(machine.poll_timeout().unwrap_or(Duration::MAX / 4));
        let input = tokio::select! {
            dialled = &mut dialling => match dialled {
                Ok(socket) => return Ok(socket),
                Err(code) => Input::Broken(code),
            },
            word = parts.words.next() => match word {
                Some(Word::Retire(within)) => Input::Retire { within },
                Some(Word::Stop) => Input::Stop,
                // Nothing was handed over yet, and the queue's other end is ours.
                Some(Word::Verdict { .. } | Word::Answered { .. }) | None => continue,
            },
            _ = &mut parts.connection_lives => Input::Stop,
            () = tokio::time::sleep_until(deadline) => Input::Timeout,
        };
        machine.handle(parts.clock.now(), input);
    }
}

struct Link {
    machine: Machine,
    socket: Socket,
    wire: Wire,
    ledger: Ledger,
    timer: Pin<Box<Sleep>>,
    /// What hello said, until the machine says the link is up.
    hello: Option<Hello>,
    /// Its connection's actor is gone.
    orphaned: bool,
    /// What came could not be read, or was the peer's close: nothing more is read, and acks still go out.
    deaf: bool,
    parts: Parts,
}

/// However it ends.
impl Drop for Link {
    fn drop(&mut self) {
        let unsent = self.ledger.unacked() + self.wire.unsent_acks();
        self.parts.metrics.acks_lost.inc_by(unsent as u64);
    }
}

impl Future for Link {
    type Output = Code;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Code> {
        self.get_mut().turn(cx)
    }
}

impl Link {
    /// One turn: words, frames, the batch, acks, timers, until nothing moves.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        let now = self.parts.clock.now();
        self.take_words(cx, now);
        self.read(cx, now);
        self.hand_over(now);
        loop {
            if let Err(code) = self.wire.write(&mut self.socket, cx) {
                self.feed(now, Input::Broken(code));
            }
            self.feed(now, Input::InFlight(self.in_flight()));
            let mut wrote = false;
            while let Some(action) = self.machine.poll_action() {
                match action {
                    Action::Ping => {
                        self.wire.ping();
                        wrote = true;
                    }
                    Action::SendClose => {
                        self.wire.close();
                        // At once: a link whose peer has closed ends with this.
                        if let Err(code) = self.wire.write(&mut self.socket, cx) {
                            self.feed(now, Input::Broken(code));
                        }
                        wrote = true;
                    }
                    Action::Tell(Told::Down(code)) => return Poll::Ready(code),
                    Action::Tell(told) => self.tell(told),
                    Action::Drop => {}
                }
            }
            if !wrote && !self.timer_fired(cx) {
                return Poll::Pending;
            }
        }
    }

    fn take_words(&mut self, cx: &mut Context<'_>, now: Now) {
        while let Poll::Ready(word) = self.parts.words.poll_next_unpin(cx) {
            match word {
                Some(Word::Verdict { batch, duplicates }) => {
                    self.acknowledge(batch, duplicates, now);
                }
                Some(Word::Answered { ticket, ack }) => {
                    if let Some(read_at) = self.ledger.answered(ticket) {
                        self.ack(ack.into_iter().collect(), now.mono.saturating_sub(read_at));
                    }
                }
                Some(Word::Retire(within)) => self.feed(now, Input::Retire { within }),
                Some(Word::Stop) => self.feed(now, Input::Stop),
                // The other end is our own.
                None => return,
            }
        }
        if !self.orphaned && Pin::new(&mut self.parts.connection_lives).poll(cx).is_ready() {
            self.orphaned = true;
            self.feed(now, Input::Stop);
        }
    }

    fn acknowledge(&mut self, batch: u64, duplicates: usize, now: Now) {
        let Some(entry) = self.ledger.settle(batch, duplicates) else { return };
        let waited = now.mono.saturating_sub(entry.read_at);
        self.parts.counters.duplicates.fetch_add(duplicates as u64, Ordering::Relaxed);
        self.ack(entry.acks, waited);
    }

    /// Queues acks that were due `waited` after their envelopes were read.
    fn ack(&mut self, acks: Vec<Utf8Bytes>, waited: Duration) {
        if acks.is_empty() {
            return;
        }
        let metrics = &self.parts.metrics;
        metrics.acks.inc_by(acks.len() as u64);
        metrics.receive_to_ack_seconds.took_each(waited, acks.len());
        if waited > ACK_WITHIN {
            metrics.acks_late.inc_by(acks.len() as u64);
        }
        self.parts.counters.acks.fetch_add(acks.len() as u64, Ordering::Relaxed);
        for ack in acks {
            self.wire.ack(ack);
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Now) {
        if self.deaf {
            return;
        }
        for _ in 0..TURN {
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    self.on_message(&message, now);
                    if self.deaf {
                        return;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.deaf = true;
                    return self.feed_after_batch(now, Input::Broken(cause_of_break(&error)));
                }
                Poll::Ready(None) => return self.feed(now, Input::Broken(Code::ConnectionLost)),
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    fn on_message(&mut self, message: &Message, now: Now) {
        self.feed(now, Input::Activity);
        match message {
            Message::Text(text) => self.on_text(text.as_str(), now),
            Message::Ping(_) => self.wire.wants_flush(),
            Message::Close(_) => {
                self.deaf = true;
                self.wire.peer_closed();
                self.feed_after_batch(now, Input::PeerClosed);
            }
            Message::Pong(_) => self.feed(now, Input::Pong),
            Message::Binary(_) | Message::Frame(_) => {}
        }
    }

    fn on_text(&mut self, text: &str, now: Now) {
        match frame::parse(text) {
            Frame::Envelope(envelope) => {
                if self.machine.accepts_envelopes() {
                    self.parts.intake.take(&envelope, &self.ledger, self.wire.has_room(), now);
                }
            }
            Frame::Hello(hello) => {
                self.hello = Some(hello);
                self.feed(now, Input::Hello);
            }
            Frame::Disconnect(reason) => self.feed_after_batch(now, Input::Disconnect(reason)),
            Frame::NotJson => self.feed_after_batch(now, Input::Broken(Code::NotJson)),
            Frame::Blank | Frame::Unknown => {}
        }
    }

    fn hand_over(&mut self, now: Now) {
        if let Some(learnt) = self.parts.intake.learnt() {
            self.report(News::Learnt(learnt));
        }
        let Some(turn) = self.parts.intake.finish_turn(now.wall_ms) else { return };
        let acks = self.parts.exit.hand_over(turn, &mut self.ledger, &self.parts.own_words, now);
        self.ack(acks, Duration::ZERO);
    }

    fn tell(&mut self, told: Told) {
        match told {
            Told::Opened => self.report(News::Opened),
            Told::Up => {
                let hello = self.hello.take().unwrap_or_default();
                self.report(News::Up(hello));
            }
            Told::Draining { code, ends_within } => self.report(News::Draining(code, ends_within)),
            Told::RoundTrip(pong) => self.report(News::RoundTrip(pong)),
            Told::Down(_) => {}
        }
    }

    /// A connection whose mailbox is full is stuck; a link it does not know about would be a ghost, so it ends.
    fn report(&mut self, news: News) {
        let report = Report { generation: self.parts.generation, news };
        if self.parts.connection.try_send(report).is_err() {
            tracing::warn!(app = %self.parts.intake.app(), generation = self.parts.generation.0, "the connection does not listen; its link ends");
            self.feed(self.parts.clock.now(), Input::Stop);
        }
    }

    /// Arms the timer for what the machine waits for; true when it has just fired and the machine was told.
    fn timer_fired(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.machine.poll_timeout() else { return false };
        let due = self.parts.clock.instant(due);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.feed(self.parts.clock.now(), Input::Timeout);
        true
    }

    /// For what may end the link: what came in before it in the same turn is in flight by then, and gets its acks.
    fn feed_after_batch(&mut self, now: Now, input: Input) {
        self.hand_over(now);
        self.feed(now, Input::InFlight(self.in_flight()));
        self.feed(now, input);
    }

    fn in_flight(&self) -> usize {
        self.ledger.len() + self.ledger.asked() + self.wire.unsent_acks()
    }

    fn feed(&mut self, now: Now, input: Input) {
        self.machine.handle(now, input);
    }
}
