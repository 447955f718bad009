//! HTTP/1.1 over a [`Wire`]: requests in, answers out, keep-alive, and the upgrade of sockets.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Shared, control_api,
    faults::Fault,
    record::{Anomaly, At, push_bounded},
    socket, webapi,
    wire::{Turn, Wire},
};

/// A request.
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(super) body: BytesMut,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Does a header that lists words hold this one?
    fn has(&self, name: &str, word: &str) -> bool {
        self.header(name)
            .is_some_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    }

    /// The token of `Authorization: Bearer`.
    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Where the client reached us; what we hand out leads back there.
    pub(super) fn host(&self) -> &str {
        self.header("host").unwrap_or("127.0.0.1")
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.into())], body: body.into() }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(super) fn html(status: u16) -> Self {
        let page = format!(
            "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body>{status}</body></html>\n"
        );
        Self::new(status, "text/html; charset=utf-8", page)
    }

    fn write(&self, wire: &mut Wire, keep_alive: bool) {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.extend([*name, ": ", value, "\r\n"]);
        }
        let length = self.body.len().to_string();
        head.extend(["Content-Length: ", &length, "\r\nConnection: ", connection, "\r\n\r\n"]);
        wire.write(head.as_bytes());
        wire.write(&self.body);
    }
}

/// What becomes of a request.
pub(super) enum Answer {
    Now(Response),
    Never,
    Reset,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

/// Bigger bodies are refused.
const MAX_BODY: usize = 32 << 20;
const MAX_HEAD: usize = 64 * 1024;

/// Serves one TCP connection.
pub(super) async fn serve(shared: Arc<Shared>, mut wire: Wire) {
    loop {
        let request = match read_request(&mut wire).await {
            Ok(Some(request)) => request,
            Ok(None) => return wire.fin().await,
            Err(status) => {
                Response::json(status, &json!({"ok": false, "error": "bad_request"})).write(&mut wire, false);
                if wire.flush().await.is_ok() {
                    wire.fin().await;
                }
                return;
            }
        };
        let keep_alive = !request.has("connection", "close");
        if request.path.trim_end_matches('/') == "/link" {
            return upgrade(shared, wire, request).await;
        }
        let answer = match request.path.split('/').nth(1) {
            Some("api") => webapi::call(&shared, &request).await,
            Some("response") => webapi::response_url(&shared, &request).into(),
            Some("control") => control_api::answer(&shared, &request).into(),
            Some(_) | None => Response::json(404, &json!({"ok": false, "error": "not_found"})).into(),
        };
        shared.changed();
        match answer {
            Answer::Never => return wire.drain().await,
            Answer::Reset => return wire.reset(),
            Answer::Now(response) => {
                response.write(&mut wire, keep_alive);
                if wire.flush().await.is_err() {
                    return;
                }
                if !keep_alive {
                    return wire.fin().await;
                }
            }
        }
    }
}

async fn upgrade(shared: Arc<Shared>, mut wire: Wire, request: Request) {
    let now = shared.now();
    let used = {
        let mut state = shared.state();
        let ticket = request.query("ticket").and_then(|ticket| state.tickets.remove(ticket));
        let used = ticket.filter(|ticket| {
            let hash = state.apps.get(ticket.app).map(|app| app.hash.as_str());
            now < ticket.until && hash == request.query("app_id")
        });
        if used.is_none() {
            let detail = "the ticket is unknown, used, too old or another app's".into();
            push_bounded(
                &mut state.record.anomalies,
                Anomaly { at: At(now), what: "bad_ticket", socket: None, detail },
            );
        }
        used
    };
    let Some(ticket) = used else {
        return refuse(wire, Response::json(401, &json!({"ok": false, "error": "invalid_ticket"}))).await;
    };
    let delay = shared.state().faults.take(Some(ticket.app), now, |fault| {
        if let Fault::DialDelay { ms } = fault { Some(Duration::from_millis(*ms)) } else { None }
    });
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    let fault = shared.state().faults.take(Some(ticket.app), now, dial_answer);
    match fault {
        Some(Answer::Now(response)) => return refuse(wire, response).await,
        Some(Answer::Never) => return wire.drain().await,
        Some(Answer::Reset) => return wire.reset(),
        None => {}
    }
    let asked = request.method == "GET"
        && request.has("upgrade", "websocket")
        && request.has("connection", "upgrade")
        && request.header("sec-websocket-version") == Some("13");
    let Some(key) = request.header("sec-websocket-key").filter(|_| asked) else {
        return refuse(wire, Response::json(426, &json!({"ok": false, "error": "upgrade_required"}))).await;
    };
    let accept = derive_accept_key(key.as_bytes());
    wire.write(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    );
    // The docs' way to see a refresh soon (ASM: about 360 s).
    let life = (request.query("debug_reconnects") == Some("true")).then_some(Duration::from_mins(6));
    socket::run(shared, wire, ticket.app, life).await;
}

/// What an armed fault makes of an upgrade.
#[expect(clippy::wildcard_enum_match_arm, reason = "other faults are other places' business")]
fn dial_answer(fault: &Fault) -> Option<Answer> {
    match fault {
        Fault::DialStatus { status, body } => Some(Answer::Now(match body {
            Some(body) => Response::new(*status, "text/plain", body.as_str()),
            None if *status == 200 => Response::html(200),
            None => Response { status: *status, headers: vec![("Server", "envoy".into())], body: Vec::new() },
        })),
        Fault::DialHang => Some(Answer::Never),
        Fault::DialReset => Some(Answer::Reset),
        _ => None,
    }
}

async fn refuse(mut wire: Wire, response: Response) {
    response.write(&mut wire, false);
    if wire.flush().await.is_ok() {
        wire.fin().await;
    }
}

/// The next request; none when the client has no more, a status when it can't be understood.
async fn read_request(wire: &mut Wire) -> Result<Option<Request>, u16> {
    let (mut request, length) = loop {
        if let Some(found) = parse_head(&mut wire.read)? {
            break found;
        }
        if wire.read.len() > MAX_HEAD {
            return Err(431);
        }
        if !more(wire).await {
            return Ok(None);
        }
    };
    if request.has("expect", "100-continue") {
        wire.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        if wire.flush().await.is_err() {
            return Ok(None);
        }
    }
    let complete = match length {
        Length::Known(length) => read_known(wire, length, &mut request.body).await?,
        Length::Chunked => read_chunks(wire, &mut request.body).await?,
    };
    Ok(complete.then_some(request))
}

enum Length {
    Known(usize),
    Chunked,
}

fn parse_head(read: &mut BytesMut) -> Result<Option<(Request, Length)>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut head = httparse::Request::new(&mut headers);
    let end = match head.parse(read).map_err(|_| 400_u16)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(end) => end,
    };
    let (path, query) = {
        let target = head.path.unwrap_or("/");
        target.split_once('?').unwrap_or((target, ""))
    };
    let request = Request {
        method: head.method.unwrap_or_default().into(),
        path: path.into(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: head
            .headers
            .iter()
            .map(|header| (header.name.into(), String::from_utf8_lossy(header.value).trim().into()))
            .collect(),
        body: BytesMut::new(),
    };
    let length = if request.has("transfer-encoding", "chunked") {
        Length::Chunked
    } else {
        let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| 400_u16)?;
        if length > MAX_BODY {
            return Err(413);
        }
        Length::Known(length)
    };
    read.advance(end);
    Ok(Some((request, length)))
}

async fn read_known(wire: &mut Wire, length: usize, body: &mut BytesMut) -> Result<bool, u16> {
    while wire.read.len() < length {
        if !more(wire).await {
            return Ok(false);
        }
    }
    body.unsplit(wire.read.split_to(length));
    Ok(true)
}

async fn read_chunks(wire: &mut Wire, body: &mut BytesMut) -> Result<bool, u16> {
    loop {
        let (head, size) = loop {
            match httparse::parse_chunk_size(&wire.read).map_err(|_| 400_u16)? {
                httparse::Status::Complete((head, size)) => break (head, size),
                httparse::Status::Partial if !more(wire).await => return Ok(false),
                httparse::Status::Partial => {}
            }
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if body.len().saturating_add(size) > MAX_BODY {
            return Err(413);
        }
        // Trailers are not understood here, and no client of Slack sends any.
        while wire.read.len() < head + size + 2 {
            if !more(wire).await {
                return Ok(false);
            }
        }
        wire.read.advance(head);
        body.extend_from_slice(&wire.read.split_to(size));
        wire.read.advance(2);
        if size == 0 {
            return Ok(true);
        }
    }
}

async fn more(wire: &mut Wire) -> bool {
    loop {
        match wire.turn().await {
            Ok(Turn::Read) => return true,
            Ok(Turn::Wrote) => {}
            Ok(Turn::End) | Err(_) => return false,
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
