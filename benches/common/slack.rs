//! The load: as much of Slack as a socket needs, made to cost little, since it shares the machine with what is measured. Frames
//! are made once and copied; only their ids differ. Every ack is read and must name an envelope that waits for one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use serde_json::json;
use tautline::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes of an envelope.
const ENVELOPE: usize = 1536;

/// An envelope id is a UUID whose last group is a number in hex.
const ID_HEAD: &str = "7f3c9a51-51ac-4000-8000-";

/// Bytes written ahead of the kernel on one socket.
const AHEAD: usize = 64 << 10;

/// What is acked later Slack sends again.
const IN_TIME: Duration = Duration::from_secs(3);

/// A listening Slack.
pub(crate) struct Slack {
    shared: Rc<Shared>,
    address: SocketAddr,
}

struct Shared {
    clock: Clock,
    sockets: RefCell<Vec<Rc<Socket>>>,
    /// Envelopes kept in flight on each socket; zero when events come by rate or not at all.
    window: Cell<usize>,
    next: Cell<u64>,
    /// What was sent before this one and never acked is given up: Slack would send it again.
    given_up_below: Cell<u64>,
    /// So long after its end a load's acks are waited for.
    patience: Cell<Duration>,
    began: Cell<Duration>,
    last_ack: Cell<Duration>,
    acked: Cell<u64>,
    late: Cell<u64>,
    stray: Cell<u64>,
    changed: Notify,
    latencies: RefCell<Vec<Duration>>,
    /// Where links are told to dial.
    links: RefCell<String>,
}

#[derive(Default)]
struct Socket {
    due: Cell<usize>,
    /// It is to be closed without a word.
    cut: Cell<bool>,
    /// How late its acks are is nobody's concern.
    floods: Cell<bool>,
    wake: Notify,
}

/// What a stretch of load brought.
pub(crate) struct Served {
    pub(crate) acked: u64,
    /// Of those, acked after more than three seconds.
    pub(crate) late: u64,
    /// Never acked: let go for want of room, or lost.
    pub(crate) unacked: usize,
    /// Until the last ack.
    pub(crate) took: Duration,
    /// From an envelope's write to its ack's read, sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Slack {
    /// Listens on a free port of this machine.
    pub(crate) async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Rc::new(Shared {
            clock: Clock::start(),
            sockets: RefCell::default(),
            window: Cell::new(0),
            next: Cell::new(1),
            given_up_below: Cell::new(0),
            patience: Cell::new(IN_TIME),
            began: Cell::default(),
            last_ack: Cell::default(),
            acked: Cell::new(0),
            late: Cell::new(0),
            stray: Cell::new(0),
            changed: Notify::new(),
            latencies: RefCell::default(),
            links: RefCell::new(format!("ws://{address}")),
        });
        let ours = Rc::clone(&shared);
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let ours = Rc::clone(&ours);
                spawn_local(async move { drop(ours.serve(tcp).await) });
            }
        });
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Links are told to dial this from now on.
    pub(crate) fn send_links_to(&self, place: String) {
        *self.shared.links.borrow_mut() = place;
    }

    /// Acks are waited for so long after a load, and not only as long as Slack would wait.
    pub(crate) fn be_patient(&self, patience: Duration) {
        self.shared.patience.set(patience);
    }

    /// Waits until so many sockets are open.
    pub(crate) async fn until_open(&self, sockets: usize) {
        while self.shared.sockets.borrow().len() != sockets {
            self.shared.changed.notified().await;
        }
    }

    /// Keeps `window` envelopes in flight on every socket for a while.
    pub(crate) async fn saturate(&self, window: usize, length: Duration) -> Served {
        self.shared.begin();
        self.shared.window.set(window);
        self.shared.wake_all();
        tokio::time::sleep(length).await;
        self.shared.window.set(0);
        self.shared.end().await
    }

    /// Sends so many events a second, each socket in turn.
    pub(crate) async fn pace(&self, rate: u32, length: Duration) -> Served {
        self.shared.begin();
        let sockets = self.shared.sockets.borrow().clone();
        let at_once = (rate / 1000).max(1);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) * at_once / rate);
        let events = rate as usize * length.as_secs() as usize;
        for (number, socket) in sockets.iter().cycle().take(events).enumerate() {
            if number % at_once as usize == 0 {
                ticks.tick().await;
            }
            socket.due.set(socket.due.get() + 1);
            socket.wake.notify_one();
        }
        self.shared.end().await
    }

    /// The same beside one socket more that is sent `flood` events a second; the latencies are those of the others.
    pub(crate) async fn pace_beside_flood(&self, rate: u32, flood: u32, length: Duration) -> Served {
        let flooded = self.shared.sockets.borrow().first().cloned().unwrap();
        flooded.floods.set(true);
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let flooding = async {
            loop {
                ticks.tick().await;
                flooded.due.set(flooded.due.get() + flood as usize / 200);
                flooded.wake.notify_one();
            }
        };
        let served = tokio::select! {
            served = self.pace(rate, length) => served,
            () = flooding => unreachable!("it goes on as long as it may"),
        };
        flooded.floods.set(false);
        served
    }

    /// Closes every socket without a word.
    pub(crate) fn cut_all(&self) {
        for socket in self.shared.sockets.borrow().iter() {
            socket.cut.set(true);
        }
        self.shared.wake_all();
    }
}

impl Shared {
    fn begin(&self) {
        self.acked.set(0);
        self.late.set(0);
        self.began.set(self.clock.now().mono);
        self.last_ack.set(self.began.get());
        self.given_up_below.set(self.next.get());
        self.latencies.borrow_mut().clear();
    }

    /// Waits for the acks that are still to come, for as long as Slack would or longer.
    async fn end(&self) -> Served {
        let unacked = || {
            let due = self.sockets.borrow().iter().map(|socket| socket.due.get()).sum::<usize>();
            // Those of sockets that are gone too.
            let sent = self.next.get() - self.given_up_below.get();
            due + usize::try_from(sent - self.acked.get()).unwrap()
        };
        let patience = self.clock.now().mono + self.patience.get();
        while unacked() > 0 && self.clock.now().mono < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.stray.get(), 0, "an ack named an envelope that did not wait for one");
        let mut latencies = std::mem::take(&mut *self.latencies.borrow_mut());
        latencies.sort_unstable();
        Served {
            acked: self.acked.get(),
            late: self.late.get(),
            unacked: unacked(),
            took: self.last_ack.get() - self.began.get(),
            latencies,
        }
    }

    fn wake_all(&self) {
        for socket in self.sockets.borrow().iter() {
            socket.wake.notify_one();
        }
    }

    async fn serve(self: Rc<Self>, mut tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        while let Some(request) = read_request(&mut tcp).await? {
            let header = |name: &str| {
                let line = request.lines().find(|line| {
                    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                })?;
                Some(line[name.len()..].trim())
            };
            if let Some(key) = header("sec-websocket-key:") {
                let accept = derive_accept_key(key.as_bytes());
                let app = request.split(['=', ' ']).nth(2).unwrap_or("0").to_owned();
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                tcp.write_all(answer.as_bytes()).await?;
                return self.link(tcp, &app).await;
            }
            // The app's number is the third part of its token.
            let app = header("authorization:").and_then(|token| token.split('-').nth(2)).unwrap_or("A0");
            let place = format!("{}/link/?app={}", self.links.borrow(), &app[1..]);
            let body = if request.contains("/auth.test ") {
                json!({"ok": true, "url": "https://bench.slack.com/", "team": "Bench", "user": "bench",
                    "team_id": "T000000", "user_id": "U0", "bot_id": "B0", "is_enterprise_install": false})
            } else {
                json!({"ok": true, "url": place})
            }
            .to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            tcp.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }

    async fn link(&self, mut tcp: TcpStream, app: &str) -> io::Result<()> {
        let frame = Frame::of(app);
        tcp.write_all(&hello(app)).await?;
        let socket = Rc::new(Socket::default());
        self.sockets.borrow_mut().push(Rc::clone(&socket));
        self.changed.notify_one();
        let end = self.exchange(&tcp, &socket, &frame).await;
        self.sockets.borrow_mut().retain(|other| !Rc::ptr_eq(other, &socket));
        self.changed.notify_one();
        end
    }

    async fn exchange(&self, tcp: &TcpStream, socket: &Socket, frame: &Frame) -> io::Result<()> {
        let mut flights = VecDeque::new();
        let (mut out, mut read) = (BytesMut::new(), BytesMut::new());
        while !socket.cut.get() {
            self.fill(socket, frame, &mut flights, &mut out);
            if !out.is_empty() {
                match tcp.try_write(&out) {
                    Ok(written) => out.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            let interest =
                if out.is_empty() { Interest::READABLE } else { Interest::READABLE.add(Interest::WRITABLE) };
            tokio::select! {
                ready = tcp.ready(interest) => { ready?; }
                () = socket.wake.notified() => continue,
            }
            read.reserve(16 << 10);
            match tcp.try_read_buf(&mut read) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    while let Some((opcode, payload)) = take(&mut read) {
                        match opcode {
                            1 => self.acked(&payload, socket, &mut flights),
                            9 => {
                                out.extend_from_slice(&[0x8A, u8::try_from(payload.len()).unwrap()]);
                                out.extend_from_slice(&payload);
                            }
                            8 => return Ok(()),
                            _ => {}
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill(&self, socket: &Socket, frame: &Frame, flights: &mut VecDeque<Flight>, out: &mut BytesMut) {
        let mut now = None;
        while flights.front().is_some_and(|flight| flight.number < self.given_up_below.get()) {
            flights.pop_front();
        }
        while out.len() < AHEAD && (flights.len() < self.window.get() || socket.due.get() > 0) {
            socket.due.set(socket.due.get().saturating_sub(1));
            let number = self.next.get();
            self.next.set(number + 1);
            frame.put(number, out);
            let sent = *now.get_or_insert_with(|| self.clock.now().mono);
            flights.push_back(Flight { number, sent });
        }
    }

    fn acked(&self, ack: &[u8], socket: &Socket, flights: &mut VecDeque<Flight>) {
        let from = memmem::find(ack, ID_HEAD.as_bytes()).map(|head| head + ID_HEAD.len());
        let hex = from.and_then(|from| std::str::from_utf8(ack.get(from..from + 12)?).ok());
        let number = hex.and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let is_given_up = number.is_some_and(|number| number < self.given_up_below.get());
        match flights.iter().position(|flight| Some(flight.number) == number) {
            _ if is_given_up => {}
            Some(at) => {
                let flight = flights.remove(at).unwrap();
                let now = self.clock.now().mono;
                self.acked.set(self.acked.get() + 1);
                self.last_ack.set(now);
                if now - flight.sent > IN_TIME {
                    self.late.set(self.late.get() + 1);
                }
                if self.window.get() == 0 && !socket.floods.get() {
                    self.latencies.borrow_mut().push(now - flight.sent);
                }
            }
            None => self.stray.set(self.stray.get() + 1),
        }
    }
}

struct Flight {
    number: u64,
    sent: Duration,
}

/// An envelope of one app's, ready but for its ids.
struct Frame {
    bytes: Vec<u8>,
    envelope_at: usize,
    event_at: usize,
}

impl Frame {
    fn of(app: &str) -> Self {
        let (envelope, event) = (format!("{ID_HEAD}{:012x}", 0), "Ev0000000000");
        let team = format!("T{app}");
        let mut envelope = json!({
            "envelope_id": envelope,
            "payload": {
                "token": "XXYYZZ", "team_id": team, "api_app_id": format!("A{app}"),
                "event": {
                    "type": "message", "channel": "C2147483705", "user": "U2147483697", "text": "",
                    "ts": "1355517523.000005", "event_ts": "1355517523.000005", "channel_type": "channel",
                },
                "type": "event_callback", "event_id": event, "event_time": 1_355_517_523,
                "authorizations": [{"enterprise_id": null, "team_id": team, "user_id": "U0", "is_bot": true,
                    "is_enterprise_install": false}],
                "is_ext_shared_channel": false, "event_context": "4-eyJldCI6Im1lc3NhZ2UifQ",
            },
            "type": "events_api", "accepts_response_payload": false, "retry_attempt": 0, "retry_reason": "",
        });
        let missing = ENVELOPE - envelope.to_string().len();
        envelope["payload"]["event"]["text"] =
            "the quick brown fox ".repeat(missing / 20 + 1)[..missing].into();
        let text = envelope.to_string();
        let bytes = framed(&text);
        let find = |what: &str| bytes.len() - text.len() + text.find(what).unwrap();
        Self { envelope_at: find(ID_HEAD) + ID_HEAD.len(), event_at: find(event) + 2, bytes }
    }

    fn put(&self, number: u64, out: &mut BytesMut) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        write_hex(&mut out[start + self.envelope_at..][..12], number);
        write_hex(&mut out[start + self.event_at..][..10], number);
    }
}

fn write_hex(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn hello(app: &str) -> Vec<u8> {
    framed(
        &json!({
            "type": "hello", "num_connections": 1, "connection_info": {"app_id": format!("A{app}")},
            "debug_info": {"host": "applink-1", "build_number": 118, "approximate_connection_time": 18060},
        })
        .to_string(),
    )
}

/// An unmasked text frame.
fn framed(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A client's frame; those of a client that only acks are short.
fn take(read: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let (length, head) = match *read.get(1)? & 0x7F {
        127 => unreachable!("an ack has no 64 KiB"),
        126 => (usize::from(u16::from_be_bytes([*read.get(2)?, *read.get(3)?])), 4),
        short => (usize::from(short), 2),
    };
    if read.len() < head + 4 + length {
        return None;
    }
    let opcode = read[0] & 0x0F;
    read.advance(head);
    let mask = [read[0], read[1], read[2], read[3]];
    read.advance(4);
    let mut payload = read.split_to(length);
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Some((opcode, payload))
}

/// Head of a request; its body is read and dropped.
async fn read_request(tcp: &mut TcpStream) -> io::Result<Option<String>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head
                .to_ascii_lowercase()
                .split("content-length:")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
            let mut body = vec![0; (end + 4 + length.unwrap_or(0)).saturating_sub(read.len())];
            tcp.read_exact(&mut body).await?;
            return Ok(Some(head));
        }
        if tcp.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
}
