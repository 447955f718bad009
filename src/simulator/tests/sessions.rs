//! The life of a socket: hello, pings, how many, how long.

use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::{APP, PATIENCE, connect, dial, open, start};
use crate::simulator::{Act, Arm, Fault, Outgoing, Record, Shape, Spread, Template, Which};

#[tokio::test]
async fn hello_names_the_app_and_counts_its_sockets() {
    let slack = start(|_| ());
    let _first = connect(&slack).await;
    let hello = dial(&slack).await.unwrap().json().await;
    assert_eq!(hello["num_connections"], 2);
    assert_eq!(hello["connection_info"]["app_id"], APP);
    assert_eq!(hello["debug_info"]["approximate_connection_time"], 18_060);
    assert!(hello["debug_info"]["host"].is_string());
}

#[tokio::test]
async fn ghosts_count_as_connections_and_against_the_limit() {
    let slack = start(|_| ());
    slack.ghosts(APP, 9).unwrap();
    assert_eq!(dial(&slack).await.unwrap().json().await["num_connections"], 10);
    slack.ghosts(APP, 10).unwrap();
    assert_eq!(dial(&slack).await.unwrap().json().await["reason"], "too_many_websockets");
}

#[tokio::test]
async fn the_eleventh_socket_is_told_there_are_too_many_and_dropped_without_hello() {
    let slack = start(|_| ());
    let mut ten = Vec::new();
    for _ in 0..10 {
        ten.push(connect(&slack).await);
    }
    let mut eleventh = dial(&slack).await.unwrap();
    let told = eleventh.json().await;
    assert_eq!((&told["type"], &told["reason"]), (&json!("disconnect"), &json!("too_many_websockets")));
    assert_eq!(told["connection_info"]["app_id"], APP);
    assert_eq!(eleventh.end().await, None);
    assert_eq!(slack.record().app(APP).unwrap().counts.max_sockets, 10);
    drop(ten);
}

#[tokio::test]
async fn an_ended_socket_makes_room_for_another() {
    let slack = start(|rules| rules.max_sockets = 1);
    for ended in 1..=3 {
        let mut client = dial(&slack).await.unwrap();
        let hello = client.json().await;
        assert_eq!((&hello["type"], &hello["num_connections"]), (&json!("hello"), &json!(1)));
        drop(client);
        let ends = |record: &Record| {
            record.app(APP).unwrap().sockets.iter().filter(|s| s.end.is_some()).count() == ended
        };
        slack.until(ends, PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn the_simulator_pings_as_slack_does_and_counts_pongs() {
    let slack = start(|rules| (rules.first_ping_ms, rules.ping_every_ms) = (5, 5));
    let mut client = connect(&slack).await;
    for _ in 0..2 {
        let Some(Ok(Message::Ping(payload))) = client.next().await else { panic!("no ping") };
        assert_eq!(&payload[..], b"Ping from applink-1");
    }
    // tungstenite answers while it reads on.
    drop(tokio::time::timeout(std::time::Duration::from_millis(1), client.ws.next()).await);
    slack.until(|record| record.app(APP).unwrap().sockets[0].pongs > 0, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_clients_ping_is_answered_with_its_own_payload() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    client.send(Message::Ping("are you there".into())).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    assert_eq!(slack.record().app(APP).unwrap().sockets[0].client_pings, 1);
}

#[tokio::test]
async fn a_socket_ends_when_its_time_is_over_with_a_warning_first() {
    let slack = start(|rules| (rules.approximate_connection_time, rules.warning_to_close_ms) = (1, 990));
    let mut client = connect(&slack).await;
    assert_eq!(client.json().await["reason"], "warning");
    assert_eq!(client.end().await, Some(1000));
}

#[tokio::test]
async fn debug_reconnects_shortens_the_life_to_six_minutes() {
    let slack = start(|_| ());
    let url = open(&slack).await.json()["url"].as_str().unwrap().to_owned() + "&debug_reconnects=true";
    let hello = super::client::dial_url(&slack, &url).await.unwrap().json().await;
    assert_eq!(hello["debug_info"]["approximate_connection_time"], 360);
}

#[tokio::test]
async fn each_payload_goes_to_one_socket_in_turn() {
    let slack = start(|_| ());
    let (mut one, mut two) = (connect(&slack).await, connect(&slack).await);
    for _ in 0..4 {
        slack.send(APP, Outgoing::default()).unwrap();
    }
    for client in [&mut one, &mut two] {
        client.ack_next().await;
        client.ack_next().await;
    }
    slack.until(|record| record.app(APP).unwrap().counts.acked == 4, PATIENCE).await.unwrap();
    let record = slack.record();
    let delivered: Vec<_> = record.app(APP).unwrap().sockets.iter().map(|socket| socket.delivered).collect();
    assert_eq!(delivered, [2, 2]);
}

#[tokio::test]
async fn an_announced_socket_gets_payloads_only_while_there_is_no_other() {
    let slack = start(|_| ());
    let mut old = connect(&slack).await;
    let warning = Act::Disconnect { reason: "warning".into(), after_ms: None, then: None };
    slack.act(Some(APP), Which::All, &warning).unwrap();
    assert_eq!(old.json().await["reason"], "warning");
    slack.send(APP, Outgoing::default()).unwrap();
    old.ack_next().await;
    let mut new = connect(&slack).await;
    for _ in 0..3 {
        slack.send(APP, Outgoing::default()).unwrap();
        new.ack_next().await;
    }
    slack.until(|record| record.app(APP).unwrap().counts.acked == 4, PATIENCE).await.unwrap();
    assert_eq!(slack.record().app(APP).unwrap().gaps(slack.record().now), []);
}

#[tokio::test]
async fn envelopes_come_in_pieces_or_byte_by_byte_where_asked() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    let mut outgoing = Outgoing { fragment_bytes: Some(1), ..Outgoing::template(Template::AppMention) };
    slack.send(APP, outgoing.clone()).unwrap();
    assert_eq!(client.ack_next().await["payload"]["event"]["type"], "app_mention");
    (outgoing.fragment_bytes, outgoing.byte_pause_ms) = (None, Some(0));
    slack.send(APP, outgoing).unwrap();
    assert_eq!(client.ack_next().await["payload"]["event"]["type"], "app_mention");
}

#[tokio::test]
async fn a_slow_envelope_takes_its_time_and_what_follows_waits_behind_it() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    let frame = Outgoing { byte_pause_ms: Some(2), ..Outgoing::frame(r#"{"type":"slow"}"#) };
    slack.send(APP, frame).unwrap();
    slack.send(APP, Outgoing::default()).unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(client.json().await["type"], "slow");
    assert!(started.elapsed() > std::time::Duration::from_millis(20), "{:?}", started.elapsed());
    assert_eq!(client.ack_next().await["type"], "events_api");
}

#[tokio::test]
async fn a_megabyte_comes_whole() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing { bytes: Some(1 << 20), ..Outgoing::default() }).unwrap();
    assert_eq!(client.ack_next().await["payload"].to_string().len(), 1 << 20);
}

#[tokio::test]
async fn copies_bear_the_same_event_id_in_envelopes_of_their_own() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.arm(Some(APP), Arm::once(Fault::Shape(Shape { copies: Some(2), ..Shape::default() }))).unwrap();
    slack.send(APP, Outgoing::default()).unwrap();
    let (one, two) = (client.ack_next().await, client.ack_next().await);
    assert_eq!(one["payload"]["event_id"], two["payload"]["event_id"]);
    assert_ne!(one["envelope_id"], two["envelope_id"]);
    slack.until(|record| record.app(APP).unwrap().counts.acked == 1, PATIENCE).await.unwrap();
    assert!(slack.record().app(APP).unwrap().anomalies.is_empty());
}

#[tokio::test]
async fn announced_sockets_keep_their_turn_where_the_rules_say_so() {
    let slack = start(|rules| rules.deliver_to_draining = true);
    let (mut old, mut new) = (connect(&slack).await, connect(&slack).await);
    let warning = Act::Disconnect { reason: "warning".into(), after_ms: None, then: None };
    slack.act(Some(APP), Which::Oldest, &warning).unwrap();
    assert_eq!(old.json().await["reason"], "warning");
    for _ in 0..2 {
        slack.send(APP, Outgoing::default()).unwrap();
    }
    old.ack_next().await;
    new.ack_next().await;
}

#[tokio::test]
async fn payloads_may_be_spread_by_lot_and_still_each_goes_to_one_socket() {
    let slack = start(|rules| rules.spread = Spread::Random);
    let _two = (connect(&slack).await, connect(&slack).await);
    for _ in 0..64 {
        slack.send(APP, Outgoing::default()).unwrap();
    }
    let record = slack.record();
    let app = record.app(APP).unwrap();
    assert_eq!(app.counts.delivered, 64);
    let went: Vec<_> = app.events.iter().map(|event| event.attempts[0].socket.unwrap()).collect();
    assert!(went.windows(2).any(|pair| pair[0] == pair[1]) && went.windows(2).any(|pair| pair[0] != pair[1]));
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_before_it_eats_the_memory() {
    let slack = start(|_| ());
    let _deaf = connect(&slack).await;
    for _ in 0..40 {
        slack.send(APP, Outgoing { bytes: Some(4 << 20), ..Outgoing::default() }).unwrap();
    }
    let dropped = |record: &Record| record.app(APP).unwrap().sockets[0].tcp_closed_at.is_some();
    slack.until(dropped, PATIENCE).await.unwrap();
    assert_eq!(slack.record().app(APP).unwrap().anomalies[0].what, "does_not_read");
}
