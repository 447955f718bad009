//! How sockets end, and what the record says of it.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::client::{APP, PATIENCE, call, connect, open, start};
use crate::simulator::{Act, Arm, Ending, Fault, Handle, How, Record, Side, SocketEnd, Which};

#[tokio::test]
async fn warning_and_refresh_close_with_1000_after_their_time() {
    for (reason, at_least) in [("warning", 40), ("refresh_requested", 20), ("some_new_word", 40)] {
        let slack = start(|rules| (rules.warning_to_close_ms, rules.refresh_to_close_ms) = (40, 20));
        let mut client = connect(&slack).await;
        announce(&slack, reason, None);
        let told = client.json().await;
        assert_eq!((&told["type"], &told["reason"]), (&json!("disconnect"), &json!(reason)));
        assert!(told["debug_info"]["host"].is_string());
        assert_eq!(client.end().await, Some(1000), "{reason}");
        let record = slack.record();
        let socket = &record.app(APP).unwrap().sockets[0];
        let waited = socket.live_until.unwrap().since(socket.announced[0].at);
        assert!(waited >= Duration::from_millis(at_least), "{reason}: {waited:?}");
    }
}

#[tokio::test]
async fn after_a_close_frame_that_is_answered_tcp_is_closed() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    let how = Ending::Close { code: Some(1001), hold_ms: 0 };
    slack.act(Some(APP), Which::All, &Act::End { how }).unwrap();
    assert_eq!(client.end().await, Some(1001));
    let end = SocketEnd { by: Side::Slack, how: How::CloseFrame, code: Some(1001), answered: true };
    assert_eq!(ended(&slack).await, end);
}

#[tokio::test]
async fn tcp_is_held_open_after_the_close_frame_where_asked() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    let how = Ending::Close { code: Some(1000), hold_ms: 60 };
    slack.act(Some(APP), Which::All, &Act::End { how }).unwrap();
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    // The answer to the close frame goes out with the next read.
    drop(client.next().await);
    ended(&slack).await;
    let record = slack.record();
    let socket = &record.app(APP).unwrap().sockets[0];
    let held = socket.tcp_closed_at.unwrap().since(socket.live_until.unwrap());
    assert!(held >= Duration::from_millis(60), "{held:?}");
}

#[tokio::test]
async fn fin_without_a_close_frame_is_the_bare_end() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.act(Some(APP), Which::All, &Act::End { how: Ending::Fin }).unwrap();
    assert_eq!(client.end().await, None);
    assert_eq!(ended(&slack).await.how, How::Fin);
}

#[tokio::test]
async fn reset_is_seen_as_a_reset() {
    let slack = start(|_| ());
    let client = connect(&slack).await;
    slack.act(Some(APP), Which::All, &Act::End { how: Ending::Reset }).unwrap();
    ended(&slack).await;
    let mut tcp = client.ws.into_inner();
    let error = tcp.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_held_socket_answers_nothing_and_ends_after_its_time() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    announce(&slack, "refresh_requested", Some(Ending::Hold { ms: 50 }));
    slack.set_rules(|rules| rules.refresh_to_close_ms = 0);
    assert_eq!(client.json().await["reason"], "refresh_requested");
    assert_eq!(client.end().await, None);
    let end = ended(&slack).await;
    assert_eq!((end.by, end.how), (Side::Slack, How::Hold));
}

#[tokio::test]
async fn a_clients_close_is_answered_and_tcp_left_to_the_client() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    client.ws.close(None).await.unwrap();
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    let gone = |record: &Record| record.app(APP).unwrap().sockets[0].live_until.is_some();
    slack.until(gone, PATIENCE).await.unwrap();
    let mut tcp = client.ws.into_inner();
    let still_open = tokio::time::timeout(Duration::from_millis(30), tcp.read(&mut [0; 8])).await;
    assert!(still_open.is_err(), "{still_open:?}");
    tcp.shutdown().await.unwrap();
    let end = ended(&slack).await;
    assert_eq!((end.by, end.how, end.answered), (Side::Client, How::CloseFrame, true));
}

#[tokio::test]
async fn tcp_is_closed_after_the_clients_close_where_the_rules_say_so() {
    let slack = start(|rules| rules.keep_tcp_after_close = false);
    let mut client = connect(&slack).await;
    client.ws.close(None).await.unwrap();
    client.end().await;
    ended(&slack).await;
}

#[tokio::test]
async fn a_clients_close_may_go_unanswered() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.arm(None, Arm::once(Fault::CloseUnanswered)).unwrap();
    client.ws.close(None).await.unwrap();
    let gone = |record: &Record| record.app(APP).unwrap().sockets[0].live_until.is_some();
    slack.until(gone, PATIENCE).await.unwrap();
    drop(client);
    assert!(!ended(&slack).await.answered);
}

#[tokio::test]
async fn a_client_that_drops_tcp_is_told_apart_from_one_that_says_goodbye() {
    let slack = start(|_| ());
    drop(connect(&slack).await);
    let end = ended(&slack).await;
    assert_eq!((end.by, end.how), (Side::Client, How::Fin));
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_closed_with_1002() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    client.ws.get_mut().write_all(&[0x81, 0x02, b'{', b'}']).await.unwrap();
    assert_eq!(client.end().await, Some(1002));
    assert_eq!(slack.record().app(APP).unwrap().anomalies[0].what, "protocol_error");
}

#[tokio::test]
async fn a_disabled_app_is_told_so_and_opens_fail_until_it_is_enabled() {
    let slack = start(|rules| rules.disabled_error = "access_denied".into());
    let mut client = connect(&slack).await;
    slack.disable(APP).unwrap();
    assert_eq!(client.json().await["reason"], "link_disabled");
    assert_eq!(client.end().await, Some(1000));
    assert_eq!(open(&slack).await.json()["error"], "access_denied");
    slack.refuse(APP, None).unwrap();
    connect(&slack).await;
}

#[tokio::test]
async fn a_refused_app_keeps_its_sockets() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.refuse(APP, Some("token_revoked")).unwrap();
    assert_eq!(open(&slack).await.json()["error"], "token_revoked");
    assert_eq!(slack.record().app(APP).unwrap().opens[1].result, "token_revoked");
    assert_eq!(call(&slack, "auth.test", super::client::BOT, "").await.json()["ok"], true);
    slack.send(APP, crate::simulator::Outgoing::default()).unwrap();
    client.ack_next().await;
}

#[tokio::test]
async fn the_time_between_two_sockets_is_a_gap() {
    let slack = start(|_| ());
    let client = connect(&slack).await;
    drop(client);
    ended(&slack).await;
    let _next = connect(&slack).await;
    let record = slack.record();
    let gaps = record.app(APP).unwrap().gaps(record.now);
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].over && gaps[0].length.0 > Duration::ZERO);
}

fn announce(slack: &Handle, reason: &str, then: Option<Ending>) {
    let act = Act::Disconnect { reason: reason.into(), after_ms: then.map(|_| 0), then };
    assert_eq!(slack.act(Some(APP), Which::All, &act), Ok(1));
}

/// Waits until the simulator is done with the first socket.
async fn ended(slack: &Handle) -> SocketEnd {
    let done = |record: &Record| record.app(APP).unwrap().sockets[0].tcp_closed_at.is_some();
    slack.until(done, PATIENCE).await.unwrap();
    slack.record().app(APP).unwrap().sockets[0].end.unwrap()
}
