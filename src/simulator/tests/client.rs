//! A client as plain as can be: nothing in it knows Tautline.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use crate::simulator::{Handle, NewApp, Options, Rules, Simulator, Team};

pub(super) const APP: &str = "A0001";
pub(super) const TOKEN: &str = "xapp-1-A0001-1-aaaa";
pub(super) const BOT: &str = "xoxb-1-bot";
/// Far longer than anything here takes; only a failing test waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A simulator that knows one app with one team.
pub(super) fn start(change: impl FnOnce(&mut Rules)) -> Handle {
    let mut options = Options { seed: Some(7), ..Options::default() };
    change(&mut options.rules);
    let slack = Simulator::start(options).expect("a port is free");
    let team = Team { team_id: "T0001".into(), bot_token: Some(BOT.into()), enterprise_id: None };
    let app = NewApp { app_token: TOKEN.into(), slack_app_id: None, teams: vec![team] };
    assert_eq!(slack.add_app(app).as_deref(), Ok(APP));
    slack
}

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// One request on a connection of its own.
pub(super) async fn http(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Reply> {
    let mut tcp = TcpStream::connect(at).await?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    tcp.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Reply { status, head: head.into(), body: body.into() })
}

/// A Web API call with a form body.
pub(super) async fn call(slack: &Handle, method: &str, token: &str, form: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    http(slack.address(), "POST", &format!("/api/{method}"), &headers, form).await.expect("an answer")
}

pub(super) async fn open(slack: &Handle) -> Reply {
    call(slack, "apps.connections.open", TOKEN, "").await
}

/// A control call.
pub(super) async fn control(slack: &Handle, method: &str, path: &str, body: &Value) -> Reply {
    http(slack.address(), method, &format!("/control/{path}"), &[], &body.to_string())
        .await
        .expect("an answer")
}

/// Opens and dials.
pub(super) async fn dial(slack: &Handle) -> Result<Client, Error> {
    let url = open(slack).await.json()["url"].as_str().expect("a url").to_owned();
    dial_url(slack, &url).await
}

pub(super) async fn dial_url(slack: &Handle, url: &str) -> Result<Client, Error> {
    let tcp = TcpStream::connect(slack.address()).await?;
    let mut config = WebSocketConfig::default();
    (config.max_frame_size, config.max_message_size) = (None, None);
    let dialled = client_async_with_config(url, tcp, Some(config));
    let (ws, _) = timeout(PATIENCE, dialled).await.expect("an answer to the upgrade")?;
    Ok(Client { ws })
}

/// A socket that has had its hello.
pub(super) async fn connect(slack: &Handle) -> Client {
    let mut client = dial(slack).await.expect("upgraded");
    assert_eq!(client.json().await["type"], "hello");
    client
}

pub(super) struct Client {
    pub(super) ws: WebSocketStream<TcpStream>,
}

impl Client {
    /// The next message; pings are answered on the way.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.ws.next()).await.expect("a message")
    }

    /// The next message that is text.
    pub(super) async fn text(&mut self) -> String {
        loop {
            match self.next().await.expect("the socket is open").expect("a sound frame") {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The next envelope, acked.
    pub(super) async fn ack_next(&mut self) -> Value {
        let envelope = self.json().await;
        self.ack(&envelope).await;
        envelope
    }

    pub(super) async fn ack(&mut self, envelope: &Value) {
        self.say(json!({"envelope_id": envelope["envelope_id"]}).to_string()).await;
    }

    pub(super) async fn say(&mut self, text: String) {
        self.send(Message::text(text)).await;
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.ws.send(message).await.expect("the socket is open");
    }

    /// Reads until the end and tells what it was: the code of a close frame, or none.
    pub(super) async fn end(&mut self) -> Option<u16> {
        let mut code = None;
        loop {
            match self.next().await {
                Some(Ok(Message::Close(frame))) => code = frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return code,
            }
        }
    }
}
