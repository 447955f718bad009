//! One socket, from its upgrade to the end of its TCP connection.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{sleep_until, timeout},
};

use super::{
    Shared,
    apps::{Out, State},
    faults::{Act, Ending, Fault},
    frame,
    options::Rules,
    record::{Announced, At, How, Side, SocketEnd, SocketRecord},
    wire::{Turn, Wire},
};

mod inbound;

/// Serves an upgraded socket until it is over.
pub(super) async fn run(shared: Arc<Shared>, wire: Wire, app: usize, life: Option<Duration>) {
    let (mut session, refused) = Session::open(&shared, wire, app, life);
    let finish = match refused {
        Some(finish) => finish,
        None => session.serve().await,
    };
    shared.changed();
    session.finish(finish).await;
}

/// The socket's place in the state. It is given up however the task ends.
struct Seat {
    shared: Arc<Shared>,
    number: u64,
    app: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let at = At(self.shared.now());
        let mut state = self.shared.state();
        state.retire(self.number, at);
        state.sockets.remove(&self.number);
        if let Some(record) = state.record.apps.get_mut(self.app).and_then(|app| app.socket_mut(self.number))
        {
            record.live_until.get_or_insert(at);
            record.tcp_closed_at = Some(at);
        }
        drop(state);
        self.shared.changed();
    }
}

struct Session {
    seat: Seat,
    wire: Wire,
    wake: Arc<Notify>,
    life: Duration,
    phase: Phase,
    timers: Timers,
    /// Frames still to be flooded, and their size.
    flood: Option<(u32, usize)>,
    /// The client is sending a message in parts.
    in_parts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our close frame is out; after the answer TCP is held for a while.
    Closing {
        hold: Duration,
    },
    /// The client's close frame is answered, or ignored; TCP is left to the client.
    Closed,
    /// Nothing is said or heard any more.
    Deaf,
}

#[derive(Default)]
struct Timers {
    hello: Option<Duration>,
    ping: Option<Duration>,
    /// When the planned end is announced.
    warning: Option<Duration>,
    end: Option<(Duration, Ending)>,
    /// When TCP is dropped, whatever the client does.
    drop: Option<Duration>,
    /// Pongs that are held back, with their payloads.
    pongs: VecDeque<(Duration, BytesMut)>,
}

impl Timers {
    fn next(&self) -> Option<Duration> {
        let end = self.end.map(|(at, _)| at);
        let pong = self.pongs.front().map(|(at, _)| *at);
        [self.hello, self.ping, self.warning, end, self.drop, pong].into_iter().flatten().min()
    }
}

/// What is done with TCP at the very end.
enum Finish {
    Fin,
    Reset,
}

/// How long a close frame waits for its answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long TCP is left to a client that has said goodbye.
const GOODBYE: Duration = Duration::from_mins(10);
/// A flood keeps so much waiting, not more.
const FLOOD_AHEAD: usize = 1 << 20;
const HOST: &str = "applink-1";

impl Session {
    /// Takes the socket up; one too many is over already.
    fn open(shared: &Arc<Shared>, wire: Wire, app: usize, life: Option<Duration>) -> (Self, Option<Finish>) {
        let now = shared.now();
        let wake = Arc::new(Notify::new());
        let mut state = shared.state();
        let number = state.number();
        if let Some(record) = state.record.apps.get_mut(app) {
            record.add_socket(SocketRecord::new(number, At(now)));
        }
        let too_many = state.add_socket(app, number, Arc::clone(&wake));
        let mut session = Self {
            seat: Seat { shared: Arc::clone(shared), number, app },
            wire,
            wake,
            life: life.unwrap_or_else(|| Duration::from_secs(state.rules.approximate_connection_time)),
            phase: Phase::Open,
            timers: Timers::default(),
            flood: None,
            in_parts: false,
        };
        if too_many {
            let refused = session.refuse(&mut state, now);
            return (session, refused);
        }
        session.timers.hello = session.hello_time(&mut state, now);
        (session, None)
    }

    async fn serve(&mut self) -> Finish {
        let shared = Arc::clone(&self.seat.shared);
        loop {
            if let Some(finish) = self.work(shared.now()) {
                return finish;
            }
            // Who waits for the record must see what was done before this waits itself.
            shared.changed();
            let due = self.timers.next().map(|at| shared.clock.instant(at));
            let turn = tokio::select! {
                turn = self.wire.turn() => Some(turn),
                () = self.wake.notified() => None,
                () = async { if let Some(at) = due { sleep_until(at).await } else { std::future::pending().await } } => None,
            };
            let finish = match turn {
                None | Some(Ok(Turn::Wrote)) => None,
                Some(Ok(Turn::Read)) => self.read(shared.now()),
                Some(Ok(Turn::End)) => Some(self.client_gone(shared.now(), How::Fin)),
                Some(Err(_)) => Some(self.client_gone(shared.now(), How::Reset)),
            };
            if let Some(finish) = finish {
                return finish;
            }
        }
    }

    /// Does what is due and takes what is to be written.
    fn work(&mut self, now: Duration) -> Option<Finish> {
        let shared = Arc::clone(&self.seat.shared);
        let mut state = shared.state();
        let state = &mut *state;
        // What was put here before an end goes out before it.
        let finish = self.take_out(state, now).or_else(|| self.tick(state, now));
        if finish.is_some() {
            return finish;
        }
        self.pour();
        state.top_up(now, self.seat.number);
        if state.is_choked(self.seat.number) {
            state.odd(self.seat.app, At(now), "does_not_read", self.seat.number, "too much waits to be read");
            return self.end(state, now, Ending::Reset);
        }
        self.take_out(state, now)
    }

    /// Takes what others have put here, in their order.
    fn take_out(&mut self, state: &mut State, now: Duration) -> Option<Finish> {
        loop {
            let socket = state.sockets.get_mut(&self.seat.number)?;
            match socket.out.pop_front() {
                Some(Out::Write(piece)) if self.phase == Phase::Open => self.wire.queue(piece),
                Some(Out::Write(_)) => {}
                Some(Out::Do(act)) => {
                    let finish = self.act(state, now, act);
                    if finish.is_some() {
                        return finish;
                    }
                }
                None => {
                    socket.out_bytes = self.wire.backlog();
                    return None;
                }
            }
        }
    }

    fn tick(&mut self, state: &mut State, now: Duration) -> Option<Finish> {
        let is_due = |at: &mut Duration| *at <= now;
        if self.timers.hello.take_if(is_due).is_some() {
            self.hello(state, now);
        }
        if self.timers.ping.take_if(is_due).is_some() {
            self.ping(state, now);
        }
        if self.timers.warning.take_if(is_due).is_some() {
            self.announce(state, now, "warning", None, None);
        }
        while let Some((_, payload)) = self.timers.pongs.pop_front_if(|(at, _)| *at <= now) {
            self.put(frame::PONG, &payload);
        }
        if self.timers.drop.take_if(is_due).is_some() {
            return Some(Finish::Fin);
        }
        let (_, ending) = self.timers.end.take_if(|(at, _)| *at <= now)?;
        self.end(state, now, ending)
    }

    fn hello_time(&self, state: &mut State, now: Duration) -> Option<Duration> {
        let app = Some(self.seat.app);
        if state.faults.take(app, now, |fault| matches!(fault, Fault::NoHello).then_some(())).is_some() {
            return None;
        }
        let late = state
            .faults
            .take(app, now, |fault| if let Fault::LateHello { ms } = fault { Some(*ms) } else { None });
        Some(now + Duration::from_millis(late.unwrap_or_default()))
    }

    fn hello(&mut self, state: &mut State, now: Duration) {
        let app = Some(self.seat.app);
        let bare =
            state.faults.take(app, now, |fault| matches!(fault, Fault::HelloWithoutDebugInfo).then_some(()));
        let other = state.faults.take(app, now, |fault| {
            if let Fault::HelloOfApp { app_id } = fault { Some(app_id.clone()) } else { None }
        });
        let Some(id) = other.or_else(|| state.apps.get(self.seat.app).map(|app| app.id.clone())) else {
            return;
        };
        let mut hello = json!({
            "type": "hello", "num_connections": state.num_connections(self.seat.app),
            "debug_info": {"host": HOST, "build_number": 118, "approximate_connection_time": self.life.as_secs()},
            "connection_info": {"app_id": id},
        });
        if let (Some(()), Some(hello)) = (bare, hello.as_object_mut()) {
            hello.remove("debug_info");
        }
        self.say(&hello);
        if let Some(socket) = state.sockets.get_mut(&self.seat.number) {
            socket.hello = true;
        }
        self.with_record(state, |record| record.hello_at = Some(At(now)));
        self.timers.ping = Some(now + Duration::from_millis(state.rules.first_ping_ms));
        let warning = self.life.saturating_sub(Duration::from_millis(state.rules.warning_to_close_ms));
        self.timers.warning = Some(now + warning);
        state.send_waiting(now, self.seat.app);
        let act = state.faults.take(app, now, |fault| {
            if let Fault::AfterHello { act } = fault { Some(act.clone()) } else { None }
        });
        if let (Some(act), Some(socket)) = (act, state.sockets.get_mut(&self.seat.number)) {
            socket.out.push_back(Out::Do(act));
        }
    }

    fn ping(&mut self, state: &mut State, now: Duration) {
        self.timers.ping = Some(now + Duration::from_millis(state.rules.ping_every_ms));
        let app = Some(self.seat.app);
        if state.faults.take(app, now, |fault| matches!(fault, Fault::NoPings).then_some(())).is_some() {
            return;
        }
        let bytes = state
            .faults
            .take(app, now, |fault| if let Fault::PingBytes { bytes } = fault { Some(*bytes) } else { None });
        match bytes {
            Some(bytes) => self.send_ping(state, &b"x".repeat(bytes.min(125))),
            None => self.send_ping(state, format!("Ping from {HOST}").as_bytes()),
        }
    }

    fn send_ping(&mut self, state: &mut State, payload: &[u8]) {
        self.put(frame::PING, payload);
        self.with_record(state, |record| record.pings += 1);
    }

    /// Sends `disconnect` and sets the time of the end.
    fn announce(
        &mut self,
        state: &mut State,
        now: Duration,
        reason: &str,
        after_ms: Option<u64>,
        then: Option<Ending>,
    ) {
        let mut message = json!({"type": "disconnect", "reason": reason, "debug_info": {"host": HOST}});
        if reason == "too_many_websockets"
            && let Some(message) = message.as_object_mut()
            && let Some(app) = state.apps.get(self.seat.app)
        {
            message.insert("num_connections".into(), state.num_connections(self.seat.app).into());
            message.insert("connection_info".into(), json!({"app_id": app.id}));
        }
        self.say(&message);
        if let Some(socket) = state.sockets.get_mut(&self.seat.number) {
            socket.announced = true;
        }
        self.with_record(state, |record| {
            record.announced.push(Announced { at: At(now), reason: reason.into() });
        });
        let (ms, ending) = usual_end(&state.rules, reason);
        self.timers.warning = None;
        self.timers.end = Some((now + Duration::from_millis(after_ms.unwrap_or(ms)), then.unwrap_or(ending)));
    }

    /// One socket too many is told so and dropped, without hello and without a close frame (seen as 1006).
    fn refuse(&mut self, state: &mut State, now: Duration) -> Option<Finish> {
        self.announce(state, now, "too_many_websockets", None, None);
        self.end(state, now, Ending::Fin)
    }

    fn act(&mut self, state: &mut State, now: Duration, act: Act) -> Option<Finish> {
        match act {
            Act::Disconnect { reason, after_ms, then } => self.announce(state, now, &reason, after_ms, then),
            Act::End { how } => return self.end(state, now, how),
            Act::Silence => self.fall_silent(state, now),
            Act::Text { text } => self.put(frame::TEXT, text.as_bytes()),
            Act::Binary { bytes } => self.put(frame::BINARY, &vec![0; bytes]),
            Act::InvalidUtf8 => self.put(frame::TEXT, b"{\"type\":\"\xFF\xFE\"}"),
            Act::ReservedOpcode => self.put(0x3, b"{}"),
            Act::ReservedBit => self.put(0x40 | frame::TEXT, b"{}"),
            Act::MaskedFrame => self.wire.write(&[frame::FIN | frame::TEXT, 0x82, 0, 0, 0, 0, b'{', b'}']),
            Act::LoneContinuation => self.put(frame::CONTINUATION, b"{}"),
            Act::HugeFrame { bytes } => self.put(frame::TEXT, padded("huge", bytes).as_bytes()),
            Act::Ping { bytes } => self.send_ping(state, &b"x".repeat(bytes.min(125))),
            Act::Flood { frames, bytes } => self.flood = Some((frames, bytes)),
            Act::Raw { hex } => self.wire.write(&bytes_of(&hex)),
        }
        None
    }

    /// Nothing is said or heard from now on, but Slack still counts the socket and sends it payloads.
    fn fall_silent(&mut self, state: &mut State, now: Duration) {
        self.phase = Phase::Deaf;
        self.wire.forget();
        self.timers = Timers::default();
        if let Some(socket) = state.sockets.get_mut(&self.seat.number) {
            socket.out.clear();
        }
        self.with_record(state, |record| {
            record.live_until.get_or_insert(At(now));
            record.end.get_or_insert(SocketEnd {
                by: Side::Slack,
                how: How::Hold,
                code: None,
                answered: false,
            });
        });
    }

    fn end(&mut self, state: &mut State, now: Duration, ending: Ending) -> Option<Finish> {
        let (how, code) = match ending {
            Ending::Close { code, .. } => (How::CloseFrame, code),
            Ending::Fin => (How::Fin, None),
            Ending::Reset => (How::Reset, None),
            Ending::Hold { .. } => (How::Hold, None),
        };
        state.retire(self.seat.number, At(now));
        self.with_record(state, |record| {
            record.end.get_or_insert(SocketEnd { by: Side::Slack, how, code, answered: false });
        });
        self.timers = Timers::default();
        match ending {
            Ending::Close { code, hold_ms } => {
                let hold = Duration::from_millis(hold_ms);
                self.put(frame::CLOSE, &frame::close_payload(code, ""));
                self.phase = Phase::Closing { hold };
                self.timers.drop = Some(now + CLOSE_PATIENCE.max(hold));
                None
            }
            Ending::Fin => Some(Finish::Fin),
            Ending::Reset => Some(Finish::Reset),
            Ending::Hold { ms } => {
                self.phase = Phase::Deaf;
                self.timers.drop = Some(now + Duration::from_millis(ms));
                None
            }
        }
    }

    /// The client closed or lost its TCP connection.
    fn client_gone(&mut self, now: Duration, how: How) -> Finish {
        let shared = Arc::clone(&self.seat.shared);
        let mut state = shared.state();
        state.retire(self.seat.number, At(now));
        self.with_record(&mut state, |record| {
            record.end.get_or_insert(SocketEnd { by: Side::Client, how, code: None, answered: false });
        });
        Finish::Fin
    }

    async fn finish(self, finish: Finish) {
        let Self { seat, mut wire, .. } = self;
        match finish {
            Finish::Fin => {
                // A client that does not read must not keep the task.
                if timeout(CLOSE_PATIENCE, wire.flush()).await.is_ok() {
                    wire.fin().await;
                    drop(seat);
                    // Unread bytes would turn the FIN into an RST.
                    drop(timeout(CLOSE_PATIENCE, wire.drain()).await);
                }
            }
            Finish::Reset => wire.reset(),
        }
    }

    /// Writes what a flood has left, as far ahead as is sensible.
    fn pour(&mut self) {
        let Some((left, bytes)) = &mut self.flood else { return };
        let text = padded("flood", *bytes);
        while *left > 0 && self.wire.backlog() < FLOOD_AHEAD {
            *left -= 1;
            let mut out = BytesMut::new();
            frame::put(&mut out, frame::TEXT, text.as_bytes());
            self.wire.write(&out);
        }
        if *left == 0 {
            self.flood = None;
        }
    }

    fn say(&mut self, message: &Value) {
        self.put(frame::TEXT, message.to_string().as_bytes());
    }

    fn put(&mut self, opcode: u8, payload: &[u8]) {
        let mut out = BytesMut::new();
        frame::put(&mut out, opcode, payload);
        self.wire.write(&out);
    }

    fn with_record(&self, state: &mut State, change: impl FnOnce(&mut SocketRecord)) {
        if let Some(record) =
            state.record.apps.get_mut(self.seat.app).and_then(|app| app.socket_mut(self.seat.number))
        {
            change(record);
        }
    }
}

/// After how many milliseconds and how Slack ends a socket by itself.
fn usual_end(rules: &Rules, reason: &str) -> (u64, Ending) {
    let close = Ending::Close { code: Some(1000), hold_ms: 0 };
    match reason {
        "refresh_requested" => (rules.refresh_to_close_ms, close),
        "link_disabled" => (0, close),
        "too_many_websockets" => (0, Ending::Fin),
        _ => (rules.warning_to_close_ms, close),
    }
}

/// A JSON object of this size.
fn padded(kind: &str, bytes: usize) -> String {
    let frame = format!(r#"{{"type":"{kind}","padding":""}}"#).len();
    format!(r#"{{"type":"{kind}","padding":"{}"}}"#, "x".repeat(bytes.saturating_sub(frame)))
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}
