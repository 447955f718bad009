//! What the simulator saw and did: the record tests judge by.
//!
//! Times are durations since the simulator's start, in JSON milliseconds with a fraction.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Since the simulator's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub Duration);

impl At {
    /// How long after an earlier moment this one is.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64() * 1000.0)
    }
}

/// Everything, of all apps.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// When it was read; its times end here.
    pub now: At,
    /// The wall clock at the simulator's start, milliseconds since 1970.
    pub started_at_ms: i64,
    /// One entry an app, in the order they became known.
    pub apps: Vec<AppRecord>,
    /// Calls whose token belongs to no known app.
    pub calls: VecDeque<Call>,
    /// What was odd and belongs to no app.
    pub anomalies: VecDeque<Anomaly>,
}

impl Record {
    /// One app's part, by Slack's id of it.
    pub fn app(&self, slack_app_id: &str) -> Option<&AppRecord> {
        self.apps.iter().find(|app| app.slack_app_id == slack_app_id)
    }
}

/// What happened to one app.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AppRecord {
    /// Slack's id of it, `A…`.
    pub slack_app_id: String,
    /// Figures over its whole life; complete whatever of the lists below was let go.
    pub counts: Counts,
    /// Its `apps.connections.open` calls.
    pub opens: VecDeque<Open>,
    /// Its sockets, oldest first.
    pub sockets: VecDeque<SocketRecord>,
    /// What was sent, oldest first; empty when only counts are kept.
    pub events: VecDeque<EventRecord>,
    /// Its other Web API calls.
    pub calls: VecDeque<Call>,
    /// What was posted to its `response_url`s.
    pub responses: VecDeque<ResponsePost>,
    /// What a well-behaved client does not do.
    pub anomalies: VecDeque<Anomaly>,
    /// Socket lives that were let go from `sockets`; kept so that gaps stay true.
    #[serde(skip)]
    pub(super) old_lives: Vec<(Duration, Duration)>,
}

/// An app's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events, interactions and commands the simulator was told to send.
    pub sent: u64,
    /// Envelopes put on a socket, repeats included.
    pub delivered: u64,
    /// Sent ones that were acked in time, at whichever attempt.
    pub acked: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Interactions and commands nobody acked in time: the user saw an error.
    pub timed_out: u64,
    /// Events that were not acked at their last attempt either.
    pub given_up: u64,
    /// Acks after the deadline; Slack does not say what they do, here they do nothing.
    pub late_acks: u64,
    /// `apps.connections.open` calls.
    pub opens: u64,
    /// Sockets that were upgraded.
    pub sockets: u64,
    /// The most sockets registered at one time.
    pub max_sockets: u64,
    /// How often each kind of anomaly was seen.
    pub anomalies: BTreeMap<&'static str, u64>,
}

/// One `apps.connections.open`.
#[derive(Clone, Debug, Serialize)]
pub struct Open {
    /// When the call came in.
    pub at: At,
    /// The HTTP status of the answer; none when there was no answer.
    pub status: Option<u16>,
    /// `ok`, Slack's error code, or what the fault did.
    pub result: String,
}

/// One socket's life.
#[derive(Clone, Debug, Serialize)]
pub struct SocketRecord {
    /// Its number; rising over all apps.
    pub id: u64,
    /// When it was upgraded.
    pub opened_at: At,
    /// When hello was sent.
    pub hello_at: Option<At>,
    /// The `disconnect` messages it was sent.
    pub announced: Vec<Announced>,
    /// When it stopped being live: closed by either side, or gone silent. Payloads go nowhere after it.
    pub live_until: Option<At>,
    /// Who ended it and how.
    pub end: Option<SocketEnd>,
    /// When the simulator was done with its TCP connection.
    pub tcp_closed_at: Option<At>,
    /// Envelopes put on it.
    pub delivered: u64,
    /// Acks read from it that settled an envelope.
    pub acked: u64,
    /// Pings sent to the client.
    pub pings: u64,
    /// Pongs read.
    pub pongs: u64,
    /// Pings read from the client.
    pub client_pings: u64,
}

/// One `disconnect` message.
#[derive(Clone, Debug, Serialize)]
pub struct Announced {
    /// When it was sent.
    pub at: At,
    /// Its reason.
    pub reason: String,
}

/// Whose doing the end of a socket was, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SocketEnd {
    /// Which side was first.
    pub by: Side,
    /// What it did.
    pub how: How,
    /// The code of its close frame, if there was one with a code.
    pub code: Option<u16>,
    /// Did the other side answer the close frame?
    pub answered: bool,
}

/// A side of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The client under test.
    Client,
    /// The simulator.
    Slack,
}

/// How a side ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With a close frame.
    CloseFrame,
    /// TCP's FIN without a close frame.
    Fin,
    /// TCP's RST.
    Reset,
    /// By saying nothing any more while TCP stays open.
    Hold,
}

/// One sent event, interaction or command.
#[derive(Clone, Debug, Serialize)]
pub struct EventRecord {
    /// `event_id`, or, of what has none, the envelope id of the first attempt.
    pub id: String,
    /// The envelope's `type`.
    pub kind: String,
    /// When the simulator was told to send it.
    pub sent_at: At,
    /// The attempts so far.
    pub attempts: Vec<Attempt>,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was acked.
    pub acked_at: Option<At>,
    /// The socket its ack came on.
    pub acked_on: Option<u64>,
    /// What the ack carried.
    pub ack_payload: Option<Value>,
    /// What its user was shown instead of an answer; none where all is well, and for what no user waits for.
    pub user_error: Option<&'static str>,
}

/// One attempt to deliver.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// `retry_attempt`: 0 is the first.
    pub retry: u8,
    /// When it was made, or, while no socket was live, when it began to wait for one.
    pub at: At,
    /// The socket it went to; none when no socket came in time.
    pub socket: Option<u64>,
    /// The envelope id it bore.
    pub envelope_id: String,
}

/// What became of something sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Still to be acked.
    Pending,
    /// Acked in time.
    Acked,
    /// Not acked, and its kind isn't sent again.
    TimedOut,
    /// Not acked at the last attempt.
    GivenUp,
}

/// One Web API call.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// When it came in.
    pub at: At,
    /// Its method, `chat.postMessage`.
    pub method: String,
    /// The team whose bot token it bore.
    pub team_id: Option<String>,
    /// The arguments, without the token.
    pub args: Value,
    /// The HTTP status of the answer; none when there was no answer.
    pub status: Option<u16>,
    /// `ok`, Slack's error code, or what the fault did.
    pub result: String,
}

/// One POST to a `response_url`.
#[derive(Clone, Debug, Serialize)]
pub struct ResponsePost {
    /// When it came in.
    pub at: At,
    /// The id of the event whose payload held the URL.
    pub event_id: String,
    /// How many times this URL has been used, this one included.
    pub uses: u32,
    /// The status of the answer: 404 when used up or too old.
    pub status: u16,
    /// Its body.
    pub body: Value,
}

/// Something a well-behaved client does not do.
#[derive(Clone, Debug, Serialize)]
pub struct Anomaly {
    /// When.
    pub at: At,
    /// A word for it: `unknown_envelope`, `double_ack`, `oversized_ack`…
    pub what: &'static str,
    /// On which socket.
    pub socket: Option<u64>,
    /// More words.
    pub detail: String,
}

/// A time without a live socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When the last socket ended.
    pub start: At,
    /// How long until the next hello, or until now.
    pub length: At,
    /// Is there a live socket again?
    pub over: bool,
}

impl AppRecord {
    /// When at least one socket was live, since the first hello: merged, in order, open lives ending at `now`.
    pub fn live(&self, now: At) -> Vec<(At, At)> {
        let mut lives = self.old_lives.clone();
        lives.extend(self.sockets.iter().filter_map(|socket| {
            let from = socket.hello_at?.0;
            Some((from, socket.live_until.unwrap_or(now).0))
        }));
        lives.sort_unstable();
        let mut merged: Vec<(At, At)> = Vec::new();
        for (from, until) in lives {
            match merged.last_mut() {
                Some(last) if from <= last.1.0 => last.1 = last.1.max(At(until)),
                Some(_) | None => merged.push((At(from), At(until))),
            }
        }
        merged
    }

    /// The times without a live socket, since the first hello.
    pub fn gaps(&self, now: At) -> Vec<Gap> {
        let lives = self.live(now);
        let mut gaps: Vec<Gap> = lives
            .iter()
            .zip(lives.iter().skip(1))
            .map(|(before, after)| Gap { start: before.1, length: At(after.0.since(before.1)), over: true })
            .collect();
        if let Some(last) = lives.last()
            && last.1 < now
        {
            gaps.push(Gap { start: last.1, length: At(now.since(last.1)), over: false });
        }
        gaps
    }

    /// How many sockets are live now.
    pub fn live_sockets(&self) -> usize {
        self.sockets.iter().filter(|socket| socket.hello_at.is_some() && socket.live_until.is_none()).count()
    }

    /// One sent thing, by its id.
    pub fn event(&self, id: &str) -> Option<&EventRecord> {
        self.events.iter().find(|event| event.id == id)
    }

    /// One socket, by its number.
    pub fn socket(&self, id: u64) -> Option<&SocketRecord> {
        self.sockets.iter().rev().find(|socket| socket.id == id)
    }

    /// The socket with this number, to be written to. Most often it is among the youngest.
    pub(super) fn socket_mut(&mut self, id: u64) -> Option<&mut SocketRecord> {
        self.sockets.iter_mut().rev().find(|socket| socket.id == id)
    }

    /// Writes down something odd.
    pub(super) fn odd(&mut self, at: At, what: &'static str, socket: Option<u64>, detail: impl Into<String>) {
        *self.counts.anomalies.entry(what).or_default() += 1;
        push_bounded(&mut self.anomalies, Anomaly { at, what, socket, detail: detail.into() });
    }

    /// Takes up a new socket and lets the oldest go when there are too many.
    pub(super) fn add_socket(&mut self, socket: SocketRecord) {
        self.counts.sockets += 1;
        self.sockets.push_back(socket);
        if self.sockets.len() > KEPT {
            let ended = self.sockets.iter().position(|socket| socket.tcp_closed_at.is_some());
            let old = ended.and_then(|at| self.sockets.remove(at));
            if let Some((Some(from), Some(until))) = old.map(|old| (old.hello_at, old.live_until)) {
                self.old_lives.push((from.0, until.0));
            }
        }
    }
}

/// How many of a list's entries are kept; the oldest go first.
const KEPT: usize = 100_000;

pub(super) fn push_bounded<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() >= KEPT {
        list.pop_front();
    }
    list.push_back(entry);
}

impl SocketRecord {
    /// A socket that was just upgraded.
    pub(super) fn new(id: u64, opened_at: At) -> Self {
        Self {
            id,
            opened_at,
            hello_at: None,
            announced: Vec::new(),
            live_until: None,
            end: None,
            tcp_closed_at: None,
            delivered: 0,
            acked: 0,
            pings: 0,
            pongs: 0,
            client_pings: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_lives_leave_no_gap_and_the_rest_is_counted() {
        let mut app = AppRecord::default();
        for (id, from, until) in [(1, 10, Some(50)), (2, 40, Some(60)), (3, 75, Some(80)), (4, 80, None)] {
            app.sockets.push_back(SocketRecord {
                hello_at: Some(ms(from)),
                live_until: until.map(ms),
                ..socket(id)
            });
        }
        assert_eq!(app.live(ms(100)), [(ms(10), ms(60)), (ms(75), ms(100))]);
        assert_eq!(app.gaps(ms(100)), [Gap { start: ms(60), length: ms(15), over: true }]);
    }

    #[test]
    fn a_gap_that_lasts_ends_now_and_is_not_over() {
        let mut app = AppRecord::default();
        app.sockets.push_back(SocketRecord { hello_at: Some(ms(10)), live_until: Some(ms(20)), ..socket(1) });
        assert_eq!(app.gaps(ms(50)), [Gap { start: ms(20), length: ms(30), over: false }]);
    }

    #[test]
    fn a_socket_without_hello_was_never_live() {
        let mut app = AppRecord::default();
        app.sockets.push_back(socket(1));
        assert_eq!(app.live(ms(50)), []);
        assert_eq!(app.live_sockets(), 0);
    }

    fn ms(ms: u64) -> At {
        At(Duration::from_millis(ms))
    }

    fn socket(id: u64) -> SocketRecord {
        SocketRecord::new(id, ms(0))
    }
}
