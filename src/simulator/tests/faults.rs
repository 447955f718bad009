//! Each fault of opens, upgrades and sessions.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::{APP, BOT, Client, PATIENCE, call, connect, dial, http, open, start};
use crate::clock::Clock;
use crate::simulator::{Act, Arm, Fault, Handle, Outgoing, Template, Which};

#[tokio::test]
async fn open_may_answer_500_with_a_page_429_with_retry_after_or_a_proxys_login() {
    let slack = start(|_| ());
    once(&slack, status(500, None));
    let failed = open(&slack).await;
    assert_eq!(failed.status, 500);
    assert!(failed.body.contains("<html>"));
    once(&slack, status(429, Some(30)));
    let limited = open(&slack).await;
    assert_eq!(limited.status, 429);
    assert!(limited.head.contains("Retry-After: 30"));
    assert_eq!(limited.json(), json!({"ok": false, "error": "ratelimited"}));
    once(&slack, status(200, None));
    assert!(open(&slack).await.head.contains("text/html"));
    assert_eq!(open(&slack).await.json()["ok"], true);
    let record = slack.record();
    let opens: Vec<_> = record.app(APP).unwrap().opens.iter().map(|open| open.result.as_str()).collect();
    assert_eq!(opens, ["status 500", "status 429", "status 200", "ok"]);
}

#[tokio::test]
async fn open_may_answer_any_error_or_garbage() {
    let slack = start(|_| ());
    once(&slack, Fault::ApiError { method: None, error: "internal_error".into() });
    assert_eq!(open(&slack).await.json(), json!({"ok": false, "error": "internal_error"}));
    once(&slack, Fault::ApiGarbage { method: None });
    assert!(serde_json::from_str::<Value>(&open(&slack).await.body).is_err());
}

#[tokio::test]
async fn open_may_take_its_time() {
    let slack = start(|_| ());
    once(&slack, Fault::ApiDelay { method: None, ms: 30 });
    let started = tokio::time::Instant::now();
    assert_eq!(open(&slack).await.json()["ok"], true);
    assert!(started.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn open_may_hang_or_be_reset() {
    let slack = start(|_| ());
    once(&slack, Fault::ApiReset { method: None });
    let bearer = format!("Bearer {}", super::client::TOKEN);
    let headers = [("Authorization", bearer.as_str())];
    let path = "/api/apps.connections.open";
    assert!(http(slack.address(), "POST", path, &headers, "").await.is_err());
    once(&slack, Fault::ApiHang { method: None });
    let hung = http(slack.address(), "POST", path, &headers, "");
    assert!(tokio::time::timeout(Duration::from_millis(30), hung).await.is_err());
    assert_eq!(slack.record().app(APP).unwrap().opens[1].status, None);
}

#[tokio::test]
async fn a_fault_of_one_method_leaves_the_others_alone() {
    let slack = start(|_| ());
    once(&slack, Fault::ApiError { method: Some("chat.postMessage".into()), error: "ratelimited".into() });
    assert_eq!(open(&slack).await.json()["ok"], true);
    let posted = call(&slack, "chat.postMessage", BOT, "channel=C1&text=hi").await;
    assert_eq!(posted.json()["error"], "ratelimited");
}

#[tokio::test]
async fn an_upgrade_may_be_refused_with_any_status() {
    for status in [408, 409, 503, 200] {
        let slack = start(|_| ());
        once(&slack, Fault::DialStatus { status, body: None });
        match dial(&slack).await.err() {
            Some(Error::Http(response)) => assert_eq!(response.status(), status),
            other => panic!("{other:?} instead of {status}"),
        }
        connect(&slack).await;
    }
}

#[tokio::test]
async fn an_upgrade_may_be_reset_or_hang_or_take_its_time() {
    let slack = start(|_| ());
    once(&slack, Fault::DialReset);
    assert!(dial(&slack).await.is_err());
    once(&slack, Fault::DialHang);
    assert!(tokio::time::timeout(Duration::from_millis(30), dial(&slack)).await.is_err());
    once(&slack, Fault::DialDelay { ms: 20 });
    connect(&slack).await;
}

#[tokio::test]
async fn hello_may_be_missing_and_then_no_payload_comes() {
    let slack = start(|_| ());
    once(&slack, Fault::NoHello);
    let mut client = dial(&slack).await.unwrap();
    slack.send(APP, Outgoing::default()).unwrap();
    client.send(Message::Ping("all".into())).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("all".into()));
    assert_eq!(slack.record().app(APP).unwrap().live_sockets(), 0);
}

#[tokio::test]
async fn hello_may_be_late_or_bare_or_another_apps() {
    let slack = start(|_| ());
    once(&slack, Fault::LateHello { ms: 20 });
    connect(&slack).await;
    let record = slack.record();
    let socket = &record.app(APP).unwrap().sockets[0];
    assert!(socket.hello_at.unwrap().since(socket.opened_at) >= Duration::from_millis(20));
    once(&slack, Fault::HelloWithoutDebugInfo);
    assert!(dial(&slack).await.unwrap().json().await.get("debug_info").is_none());
    once(&slack, Fault::HelloOfApp { app_id: "A0666".into() });
    assert_eq!(dial(&slack).await.unwrap().json().await["connection_info"]["app_id"], "A0666");
}

#[tokio::test]
async fn pings_may_stop_be_big_or_go_unanswered() {
    let slack = start(|rules| (rules.first_ping_ms, rules.ping_every_ms) = (5, 5));
    once(&slack, Fault::NoPings);
    once(&slack, Fault::PingBytes { bytes: 125 });
    once(&slack, Fault::NoPongs);
    let mut client = connect(&slack).await;
    client.send(Message::Ping("one".into())).await;
    client.send(Message::Ping("two".into())).await;
    let mut pongs = Vec::new();
    let mut sizes = Vec::new();
    while pongs.is_empty() || sizes.len() < 2 {
        match client.next().await.unwrap().unwrap() {
            Message::Ping(payload) => sizes.push(payload.len()),
            Message::Pong(payload) => pongs.push(payload),
            other @ (Message::Text(_) | Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(pongs, ["two"]);
    assert!(sizes.contains(&125), "{sizes:?}");
}

#[tokio::test]
async fn pongs_may_come_late() {
    let slack = start(|_| ());
    once(&slack, Fault::LatePongs { ms: 20 });
    let mut client = connect(&slack).await;
    let clock = Clock::start();
    client.send(Message::Ping("one".into())).await;
    loop {
        if let Message::Pong(payload) = client.next().await.unwrap().unwrap() {
            assert_eq!(payload, "one");
            break;
        }
    }
    assert!(clock.mono() >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_silent_socket_says_and_hears_nothing_but_is_still_sent_payloads() {
    let slack = start(|rules| (rules.ack_deadline_ms, rules.time_scale) = (20, 0.0));
    let mut client = connect(&slack).await;
    act(&slack, &Act::Silence);
    let silent = |record: &crate::simulator::Record| record.app(APP).unwrap().sockets[0].live_until.is_some();
    slack.until(silent, PATIENCE).await.unwrap();
    let id = slack.send(APP, Outgoing::default()).unwrap();
    client.send(Message::Ping("hello?".into())).await;
    slack.until(|record| record.app(APP).unwrap().counts.given_up == 1, PATIENCE).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(20), client.ws.get_mut().read(&mut [0; 8])).await.is_err()
    );
    let record = slack.record();
    assert_eq!(record.app(APP).unwrap().event(&id).unwrap().attempts.len(), 4);
    assert_eq!(record.app(APP).unwrap().live_sockets(), 0);
    let second = dial(&slack).await.unwrap().json().await;
    assert_eq!(second["num_connections"], 2);
}

#[tokio::test]
async fn odd_texts_come_as_they_are() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    for text in ["UNAUTHENTICATED: cache_error", "", "\n", "{\"type\":\"hel"] {
        act(&slack, &Act::Text { text: text.into() });
        assert_eq!(client.text().await, text);
    }
    act(&slack, &Act::Binary { bytes: 3 });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(vec![0; 3].into()));
}

#[tokio::test]
async fn frames_may_break_the_protocol_in_every_way() {
    let broken = [
        Act::ReservedOpcode,
        Act::ReservedBit,
        Act::MaskedFrame,
        Act::LoneContinuation,
        Act::Raw { hex: "ff00".into() },
    ];
    for fault in broken {
        let slack = start(|_| ());
        let mut client = connect(&slack).await;
        act(&slack, &fault);
        assert!(matches!(client.next().await, Some(Err(Error::Protocol(_)))), "{fault:?}");
    }
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    act(&slack, &Act::InvalidUtf8);
    assert!(matches!(client.next().await, Some(Err(Error::Utf8(_)))));
}

#[tokio::test]
async fn a_frame_of_20_mib_comes_whole_and_what_follows_as_well() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    act(&slack, &Act::HugeFrame { bytes: 20 << 20 });
    slack.send(APP, Outgoing::default()).unwrap();
    assert_eq!(client.text().await.len(), 20 << 20);
    client.ack_next().await;
}

#[tokio::test]
async fn envelopes_of_an_unknown_type_without_an_event_and_with_a_payload_of_ones_own() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing::template(Template::UnknownType)).unwrap();
    assert_eq!(client.ack_next().await["type"], "something_new");
    slack.send(APP, Outgoing::template(Template::AppRateLimited)).unwrap();
    assert!(client.ack_next().await["payload"].get("event").is_none());
    let own = json!({"event_id": "Ev1", "text": "caf\u{e9}"});
    let outgoing =
        Outgoing { payload: Some(own.clone()), envelope_id: Some("mine".into()), ..Outgoing::default() };
    assert_eq!(slack.send(APP, outgoing).as_deref(), Ok("Ev1"));
    let envelope = client.ack_next().await;
    assert_eq!((&envelope["payload"], &envelope["envelope_id"]), (&own, &json!("mine")));
    slack.until(|record| record.app(APP).unwrap().counts.acked == 3, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_flood_reaches_a_client_that_reads_to_the_last_frame() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    act(&slack, &Act::Flood { frames: 5_000, bytes: 1_000 });
    for _ in 0..5_000 {
        assert_eq!(client.text().await.len(), 1_000);
    }
    act(&slack, &Act::Ping { bytes: 7 });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Ping(vec![b'x'; 7].into()));
}

#[tokio::test]
async fn an_act_may_wait_for_the_next_hello() {
    let slack = start(|_| ());
    once(&slack, Fault::AfterHello { act: Act::Text { text: "UNAUTHENTICATED: cache_error".into() } });
    let mut client = connect(&slack).await;
    assert_eq!(client.text().await, "UNAUTHENTICATED: cache_error");
}

#[tokio::test]
async fn in_an_outage_nothing_listens_and_afterwards_all_is_as_before() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.outage(Duration::from_millis(100), true);
    assert_eq!(client.end().await, None);
    let refused = tokio::net::TcpStream::connect(slack.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let back = async {
        while tokio::net::TcpStream::connect(slack.address()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    let mut client: Client = connect(&slack).await;
    slack.send(APP, Outgoing::default()).unwrap();
    client.ack_next().await;
}

fn once(slack: &Handle, fault: Fault) {
    slack.arm(Some(APP), Arm::once(fault)).unwrap();
}

fn status(status: u16, retry_after: Option<u32>) -> Fault {
    Fault::ApiStatus { method: None, status, retry_after, body: None }
}

fn act(slack: &Handle, act: &Act) {
    assert_eq!(slack.act(Some(APP), Which::All, act), Ok(1));
}
