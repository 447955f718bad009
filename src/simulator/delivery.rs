//! From "send this" to its ack: which socket, how long, how often again. Slack's rules, with its times as settings.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io::Write,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    apps::{Out, State},
    faults::{Fault, Shape},
    frame,
    options::Recording,
    payloads::Body,
    record::{At, Attempt, EventRecord, Outcome},
    wire::Piece,
};

/// Something to be delivered.
pub(super) struct Submission {
    pub(super) id: String,
    pub(super) kind: Arc<str>,
    pub(super) body: Body,
    pub(super) accepts: bool,
    pub(super) shape: Shape,
    /// The envelope id asked for.
    pub(super) envelope_id: Option<String>,
}

/// What is under way.
pub(super) struct Delivery {
    /// The first 24 characters of every envelope id of this run.
    prefix: String,
    jobs: HashMap<u64, Job>,
    flights: HashMap<u64, Flight>,
    /// Envelope ids that were asked for, and their numbers.
    named: HashMap<String, u64>,
    /// When envelopes are due, in the order they went out: the deadline is the same for all.
    deadlines: VecDeque<(Duration, u64)>,
    timers: BTreeMap<(Duration, u64), Timer>,
    /// Envelopes whose deadline passed, to tell a late ack from a double one.
    late: HashSet<u64>,
    late_order: VecDeque<u64>,
    next_envelope: u64,
    next_job: u64,
    scratch: Vec<u8>,
    planned: Option<Duration>,
    alarm: Arc<Notify>,
}

struct Job {
    app: usize,
    /// The number of its record among the app's events.
    event: u64,
    kind: Arc<str>,
    body: Body,
    accepts: bool,
    shape: Shape,
    envelope_id: Option<String>,
    retry: u8,
    /// The newest envelope it went out in.
    envelope: Option<u64>,
}

struct Flight {
    job: u64,
    app: usize,
    socket: u64,
}

enum Timer {
    /// The job's next attempt begins.
    Retry(u64),
    /// The job has waited in vain for a socket at this attempt.
    Waiting(u64, u8),
}

/// How many event records an app keeps; the oldest go first.
const KEPT_EVENTS: usize = 500_000;
/// How much may be neither acked nor given up; more is left out.
const MAX_OPEN: usize = 1_000_000;
/// How many envelopes past their deadline are remembered.
const KEPT_LATE: usize = 100_000;
/// A client that reads so slowly that this much waits for it gets no more.
const MAX_WAITING_BYTES: usize = 64 << 20;

impl Delivery {
    pub(super) fn new(run: u32, alarm: Arc<Notify>) -> Self {
        Self {
            prefix: format!("{run:08x}-51ac-4000-8000-"),
            jobs: HashMap::new(),
            flights: HashMap::new(),
            named: HashMap::new(),
            deadlines: VecDeque::new(),
            timers: BTreeMap::new(),
            late: HashSet::new(),
            late_order: VecDeque::new(),
            next_envelope: 1,
            next_job: 1,
            scratch: Vec::new(),
            planned: None,
            alarm,
        }
    }

    /// A new event id, of one length for all.
    pub(super) fn event_id(&mut self) -> String {
        let run = self.prefix.get(..8).unwrap_or_default();
        format!("Ev{}{:08X}", run.to_ascii_uppercase(), self.next_job)
    }

    /// How many are not settled.
    pub(super) fn open(&self) -> usize {
        self.jobs.len()
    }

    /// When the next deadline or retry is.
    pub(super) fn due(&self) -> Option<Duration> {
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        deadline.into_iter().chain(timer).min()
    }

    /// The clock sleeps until then; something due earlier must wake it.
    pub(super) fn plan(&mut self, due: Option<Duration>) {
        self.planned = due;
    }

    pub(super) fn wake_before(&self, due: Duration) {
        if self.planned.is_none_or(|planned| due < planned) {
            self.alarm.notify_one();
        }
    }

    fn set(&mut self, at: Duration, timer: Timer) {
        let number = self.next_envelope;
        self.next_envelope += 1;
        self.timers.insert((at, number), timer);
        self.wake_before(at);
    }

    fn number_of(&self, envelope_id: &str) -> Option<u64> {
        match envelope_id.strip_prefix(&self.prefix) {
            Some(number) if number.len() == 12 => u64::from_str_radix(number, 16).ok(),
            Some(_) | None => self.named.get(envelope_id).copied(),
        }
    }

    fn remember_late(&mut self, envelope: u64) {
        self.late.insert(envelope);
        self.late_order.push_back(envelope);
        if self.late_order.len() > KEPT_LATE
            && let Some(oldest) = self.late_order.pop_front()
        {
            self.late.remove(&oldest);
        }
    }
}

impl State {
    /// Sends something to one live socket of the app, or keeps it until there is one; to `socket` if one is named.
    pub(super) fn submit(&mut self, now: Duration, app: usize, what: Submission, socket: Option<u64>) {
        let Some(owner) = self.apps.get_mut(app) else { return };
        let Some(record) = self.record.apps.get_mut(app) else { return };
        record.counts.sent += 1;
        if self.delivery.jobs.len() >= MAX_OPEN {
            record.counts.given_up += 1;
            return record.odd(At(now), "too_many_open", None, "nobody acks what is sent; this was left out");
        }
        let event = owner.recorded;
        owner.recorded += 1;
        if self.recording == Recording::Full {
            record.events.push_back(EventRecord {
                id: what.id,
                kind: what.kind.as_ref().into(),
                sent_at: At(now),
                attempts: Vec::new(),
                outcome: Outcome::Pending,
                acked_at: None,
                acked_on: None,
                ack_payload: None,
                user_error: None,
            });
            if record.events.len() > KEPT_EVENTS {
                record.events.pop_front();
                owner.forgotten += 1;
            }
        }
        let number = self.delivery.next_job;
        self.delivery.next_job += 1;
        let Submission { kind, body, accepts, shape, envelope_id, id: _ } = what;
        let job = Job { app, event, kind, body, accepts, shape, envelope_id, retry: 0, envelope: None };
        self.delivery.jobs.insert(number, job);
        self.attempt(now, number, socket);
    }

    /// Makes the job's attempt on a live socket, or lets it wait for one until the deadline.
    fn attempt(&mut self, now: Duration, number: u64, socket: Option<u64>) {
        let Some(job) = self.delivery.jobs.get(&number) else { return };
        let (app, event, retry) = (job.app, job.event, job.retry);
        if retry > 0
            && let Some(record) = self.record.apps.get_mut(app)
        {
            record.counts.retried += 1;
        }
        let attempt = Attempt { retry, at: At(now), socket: None, envelope_id: String::new() };
        self.with_event(app, event, |record| record.attempts.push(attempt));
        if let Some(socket) = socket.or_else(|| self.pick(app)) {
            return self.put(now, number, socket);
        }
        if let Some(owner) = self.apps.get_mut(app) {
            owner.waiting.push_back(number);
        }
        let deadline = now + self.rules.ack_deadline();
        self.delivery.set(deadline, Timer::Waiting(number, retry));
    }

    /// A socket of the app is live: what waits for one goes out.
    pub(super) fn send_waiting(&mut self, now: Duration, app: usize) {
        loop {
            let Some(socket) = self.pick(app) else { return };
            let Some(number) = self.apps.get_mut(app).and_then(|app| app.waiting.pop_front()) else { return };
            if self.delivery.jobs.contains_key(&number) {
                self.put(now, number, socket);
            }
        }
    }

    /// Writes the job's envelope, as often as its shape says.
    fn put(&mut self, now: Duration, number: u64, socket: u64) {
        let Some(job) = self.delivery.jobs.get(&number) else { return };
        let app = job.app;
        let fault = self
            .faults
            .take(Some(app), now, |fault| if let Fault::Shape(shape) = fault { Some(*shape) } else { None });
        let shape = job.shape.or(fault.unwrap_or_default());
        for copy in 0..shape.copies.unwrap_or(1).max(1) {
            self.put_once(now, number, socket, shape, copy > 0);
        }
    }

    fn put_once(&mut self, now: Duration, number: u64, socket_number: u64, shape: Shape, copy: bool) {
        let Some(job) = self.delivery.jobs.get_mut(&number) else { return };
        let Some(socket) = self.sockets.get_mut(&socket_number) else { return };
        let (app, event) = (job.app, job.event);
        let reused = if self.rules.new_envelope_id || copy { None } else { job.envelope };
        let envelope = reused.unwrap_or(self.delivery.next_envelope);
        if reused.is_none() {
            self.delivery.next_envelope += 1;
        }
        if !copy {
            job.envelope = Some(envelope);
        }
        let wanted = if copy || (job.retry > 0 && self.rules.new_envelope_id) {
            None
        } else {
            job.envelope_id.clone()
        };
        let envelope_id = wanted.unwrap_or_else(|| format!("{}{envelope:012x}", self.delivery.prefix));
        if !envelope_id.starts_with(&self.delivery.prefix) {
            if self.delivery.named.len() >= KEPT_LATE {
                self.delivery.named.clear();
            }
            self.delivery.named.insert(envelope_id.clone(), envelope);
        }
        let scratch = &mut self.delivery.scratch;
        scratch.clear();
        write_envelope(scratch, job, &envelope_id, &self.rules.retry_reason);
        write_shaped(&mut socket.out, scratch, shape);
        socket.out_bytes += scratch.len();
        socket.wake.notify_one();
        socket.in_flight += 1;
        self.delivery.flights.insert(envelope, Flight { job: number, app, socket: socket_number });
        let deadline = now + self.rules.ack_deadline();
        self.delivery.deadlines.push_back((deadline, envelope));
        self.delivery.wake_before(deadline);
        if let Some(record) = self.record.apps.get_mut(app) {
            record.counts.delivered += 1;
            if let Some(record) = record.socket_mut(socket_number) {
                record.delivered += 1;
            }
        }
        self.with_event(app, event, |record| {
            if let Some(attempt) = record.attempts.last_mut() {
                attempt.socket.get_or_insert(socket_number);
                if attempt.envelope_id.is_empty() {
                    attempt.envelope_id.clone_from(&envelope_id);
                }
            }
            if record.id.is_empty() {
                record.id = envelope_id;
            }
        });
    }

    /// Takes an ack. Slack answers none; what is odd about it is written down.
    pub(super) fn acked(&mut self, now: Duration, socket: u64, envelope_id: &str, payload: Option<Value>) {
        let Some(app) = self.sockets.get(&socket).map(|socket| socket.app) else { return };
        let at = At(now);
        let Some(envelope) =
            self.delivery.number_of(envelope_id).filter(|n| *n < self.delivery.next_envelope)
        else {
            return self.odd(app, at, "unknown_envelope", socket, envelope_id);
        };
        match self.delivery.flights.get(&envelope).map(|flight| (flight.app == app, flight.job)) {
            Some((true, job)) => self.settle(at, socket, envelope, job, payload),
            Some((false, _)) => self.odd(app, at, "foreign_envelope", socket, envelope_id),
            None if self.delivery.late.remove(&envelope) => {
                if let Some(record) = self.record.apps.get_mut(app) {
                    record.counts.late_acks += 1;
                }
            }
            None => self.odd(app, at, "double_ack", socket, envelope_id),
        }
    }

    fn settle(&mut self, at: At, socket: u64, envelope: u64, number: u64, payload: Option<Value>) {
        self.land(envelope);
        let Some(job) = self.delivery.jobs.remove(&number) else { return };
        // Slack's own SDK for Node sends an empty one with every ack.
        let says_something =
            payload.as_ref().is_some_and(|payload| payload.as_object().is_none_or(|all| !all.is_empty()));
        if says_something && !job.accepts {
            self.odd(job.app, at, "unwanted_payload", socket, &job.kind);
        }
        if let Some(record) = self.record.apps.get_mut(job.app) {
            record.counts.acked += 1;
            if let Some(record) = record.socket_mut(socket) {
                record.acked += 1;
            }
        }
        self.with_event(job.app, job.event, |record| {
            record.outcome = Outcome::Acked;
            record.acked_at = Some(at);
            record.acked_on = Some(socket);
            record.ack_payload = payload;
        });
    }

    /// An envelope is no longer in flight.
    fn land(&mut self, envelope: u64) -> Option<Flight> {
        let flight = self.delivery.flights.remove(&envelope)?;
        if let Some(socket) = self.sockets.get_mut(&flight.socket) {
            socket.in_flight = socket.in_flight.saturating_sub(1);
        }
        Some(flight)
    }

    /// Does all that is due.
    pub(super) fn deliver_due(&mut self, now: Duration) {
        while let Some((_, envelope)) = self.delivery.deadlines.pop_front_if(|(at, _)| *at <= now) {
            if let Some(flight) = self.land(envelope) {
                self.delivery.remember_late(envelope);
                // A copy's deadline says nothing of the job.
                if self.delivery.jobs.get(&flight.job).is_some_and(|job| job.envelope == Some(envelope)) {
                    self.missed(now, flight.job);
                }
            }
        }
        while let Some(entry) = self.delivery.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Timer::Retry(number) => self.attempt(now, number, None),
                Timer::Waiting(number, retry) => {
                    let Some(job) = self.delivery.jobs.get(&number) else { continue };
                    let app = job.app;
                    let Some(owner) = self.apps.get_mut(app).filter(|_| job.retry == retry) else { continue };
                    // If it is not among the waiting any more, its envelope has a deadline of its own.
                    if let Some(at) = owner.waiting.iter().position(|waiting| *waiting == number) {
                        owner.waiting.remove(at);
                        self.missed(now, number);
                    }
                }
            }
        }
    }

    /// Nobody acked the job's attempt in time.
    fn missed(&mut self, now: Duration, number: u64) {
        let Some(job) = self.delivery.jobs.get_mut(&number) else { return };
        let (app, event) = (job.app, job.event);
        // Of an unknown type nothing is known; it is treated as the Events API is.
        let is_retried = !matches!(job.kind.as_ref(), "interactive" | "slash_commands");
        let pause = if is_retried { self.rules.pause_after(job.retry) } else { None };
        if let Some(pause) = pause {
            job.retry += 1;
            return self.delivery.set(now + pause, Timer::Retry(number));
        }
        let kind = Arc::clone(&job.kind);
        self.delivery.jobs.remove(&number);
        let outcome = if is_retried { Outcome::GivenUp } else { Outcome::TimedOut };
        if let Some(record) = self.record.apps.get_mut(app) {
            let count = if is_retried { &mut record.counts.given_up } else { &mut record.counts.timed_out };
            *count += 1;
        }
        let user_error = user_error(&kind);
        self.with_event(app, event, |record| {
            record.outcome = outcome;
            record.user_error = user_error;
        });
    }

    /// Puts a text frame on one live socket, whatever it says.
    pub(super) fn put_frame(&mut self, app: usize, text: &str, shape: Shape) -> bool {
        let Some(number) = self.pick(app) else { return false };
        let Some(socket) = self.sockets.get_mut(&number) else { return false };
        write_shaped(&mut socket.out, text.as_bytes(), shape);
        socket.wake.notify_one();
        true
    }

    pub(super) fn odd(&mut self, app: usize, at: At, what: &'static str, socket: u64, detail: &str) {
        if let Some(record) = self.record.apps.get_mut(app) {
            record.odd(at, what, Some(socket), detail.chars().take(200).collect::<String>());
        }
    }

    fn with_event(&mut self, app: usize, event: u64, change: impl FnOnce(&mut EventRecord)) {
        if self.recording == Recording::Counts {
            return;
        }
        let Some(forgotten) = self.apps.get(app).map(|app| app.forgotten) else { return };
        let place = event.checked_sub(forgotten).and_then(|place| usize::try_from(place).ok());
        if let Some(record) = place
            && let Some(record) = self.record.apps.get_mut(app).and_then(|app| app.events.get_mut(record))
        {
            change(record);
        }
    }

    /// Does too much wait for this socket's client?
    pub(super) fn is_choked(&self, socket: u64) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| socket.out_bytes > MAX_WAITING_BYTES)
    }
}

/// What a user sees when nobody acks what they did (docs: slash commands, user interaction).
fn user_error(kind: &str) -> Option<&'static str> {
    match kind {
        "slash_commands" => Some("operation_timeout"),
        "interactive" => Some("trouble_connecting"),
        _ => None,
    }
}

fn write_envelope(out: &mut Vec<u8>, job: &Job, envelope_id: &str, retry_reason: &str) {
    out.extend_from_slice(b"{\"envelope_id\":\"");
    out.extend_from_slice(envelope_id.as_bytes());
    out.extend_from_slice(b"\",\"payload\":");
    job.body.write(out);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(job.kind.as_bytes());
    out.extend_from_slice(b"\",\"accepts_response_payload\":");
    out.extend_from_slice(if job.accepts { b"true" } else { b"false" });
    if job.kind.as_ref() == "events_api" {
        let reason = if job.retry == 0 { "" } else { retry_reason };
        // Writing to a Vec cannot fail.
        drop(write!(out, ",\"retry_attempt\":{},\"retry_reason\":\"{reason}\"", job.retry));
    }
    out.push(b'}');
}

/// Writes a text message as its shape wants it; plain ones share one piece.
fn write_shaped(out: &mut VecDeque<Out>, text: &[u8], shape: Shape) {
    let mut whole = BytesMut::new();
    match (shape.fragment_bytes, shape.byte_pause_ms) {
        (None, None) => {
            if let Some(Out::Write(piece)) = out.back_mut()
                && piece.pause.is_zero()
            {
                return frame::put(&mut piece.bytes, frame::TEXT, text);
            }
            frame::put(&mut whole, frame::TEXT, text);
        }
        (Some(size), _) => frame::put_fragments(&mut whole, frame::TEXT, text, size),
        (None, Some(_)) => frame::put(&mut whole, frame::TEXT, text),
    }
    match shape.byte_pause_ms {
        None => out.push_back(Out::Write(Piece { bytes: whole, pause: Duration::ZERO })),
        Some(ms) => {
            let pause = Duration::from_millis(ms);
            out.extend(
                whole.iter().map(|byte| Out::Write(Piece { bytes: BytesMut::from(&[*byte][..]), pause })),
            );
        }
    }
}
