//! Acks, deadlines, retries, streams.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::{APP, PATIENCE, TOKEN, connect, start};
use crate::simulator::{
    Handle, Load, NewApp, Options, Outcome, Outgoing, Recording, Rules, Simulator, Template,
};

#[tokio::test]
async fn an_event_acked_in_time_is_sent_once_and_recorded_with_its_ack() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    let id = slack.send(APP, Outgoing::template(Template::AppMention)).unwrap();
    let envelope = client.json().await;
    assert_eq!((&envelope["retry_attempt"], &envelope["retry_reason"]), (&json!(0), &json!("")));
    assert_eq!(
        (&envelope["type"], &envelope["accepts_response_payload"]),
        (&json!("events_api"), &json!(false))
    );
    assert_eq!(envelope["payload"]["event_id"], id);
    client.say(json!({"envelope_id": envelope["envelope_id"], "payload": {"text": "hi"}}).to_string()).await;
    acked(&slack, 1).await;
    let record = slack.record();
    let event = record.app(APP).unwrap().event(&id).unwrap();
    assert_eq!((event.outcome, &event.ack_payload), (Outcome::Acked, &Some(json!({"text": "hi"}))));
    assert_eq!(event.attempts.len(), 1);
    assert_eq!(event.attempts[0].socket, event.acked_on);
}

#[tokio::test]
async fn an_unacked_event_comes_again_three_times_with_its_event_id_and_is_then_given_up() {
    let slack = start(hurried);
    let mut client = connect(&slack).await;
    let id = slack.send(APP, Outgoing::default()).unwrap();
    let mut envelopes = Vec::new();
    for retry in 0..4 {
        let envelope = client.json().await;
        assert_eq!(envelope["retry_attempt"], retry);
        assert_eq!(envelope["retry_reason"], if retry == 0 { "" } else { "timeout" });
        assert_eq!(envelope["payload"]["event_id"], id);
        assert!(!envelopes.contains(&envelope["envelope_id"]));
        envelopes.push(envelope["envelope_id"].clone());
    }
    slack.until(|record| record.app(APP).unwrap().counts.given_up == 1, PATIENCE).await.unwrap();
    let record = slack.record();
    let app = record.app(APP).unwrap();
    assert_eq!((app.counts.retried, app.event(&id).unwrap().outcome), (3, Outcome::GivenUp));
    let attempts = &app.event(&id).unwrap().attempts;
    let pauses: Vec<Duration> = attempts.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    // 20 ms to the deadline, then 0, 6 and 30 ms.
    assert!(pauses[1] >= Duration::from_millis(26) && pauses[2] >= Duration::from_millis(50), "{pauses:?}");
}

#[tokio::test]
async fn a_retry_keeps_its_envelope_id_where_the_rules_say_so() {
    let slack = start(|rules| {
        hurried(rules);
        rules.new_envelope_id = false;
    });
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing::default()).unwrap();
    let first = client.json().await;
    assert_eq!(client.ack_next().await["envelope_id"], first["envelope_id"]);
    acked(&slack, 1).await;
}

#[tokio::test]
async fn interactions_and_commands_are_not_sent_again() {
    let slack = start(hurried);
    let mut client = connect(&slack).await;
    for template in [Template::BlockActions, Template::SlashCommand] {
        slack.send(APP, Outgoing::template(template)).unwrap();
        assert!(client.json().await.get("retry_attempt").is_none());
    }
    slack.until(|record| record.app(APP).unwrap().counts.timed_out == 2, PATIENCE).await.unwrap();
    assert_eq!(slack.record().app(APP).unwrap().counts.retried, 0);
}

#[tokio::test]
async fn what_is_sent_while_no_socket_is_open_goes_out_at_hello() {
    let slack = start(|_| ());
    slack.send(APP, Outgoing::default()).unwrap();
    let mut client = connect(&slack).await;
    assert_eq!(client.ack_next().await["retry_attempt"], 0);
    acked(&slack, 1).await;
}

#[tokio::test]
async fn without_a_socket_the_schedule_runs_on_and_a_retry_may_be_the_only_delivery() {
    let slack = start(|rules| {
        hurried(rules);
        rules.retry_after_ms = vec![0, 3_000_000];
    });
    let id = slack.send(APP, Outgoing::default()).unwrap();
    slack.until(|record| record.app(APP).unwrap().counts.retried == 1, PATIENCE).await.unwrap();
    // The next attempt is 300 ms away and waits for a socket as long as it takes.
    slack.set_rules(|rules| rules.ack_deadline_ms = 60_000);
    slack.until(|record| record.app(APP).unwrap().counts.retried == 2, PATIENCE).await.unwrap();
    let mut client = connect(&slack).await;
    let only = client.ack_next().await;
    assert_eq!((&only["payload"]["event_id"], &only["retry_attempt"]), (&json!(id), &json!(2)));
    acked(&slack, 1).await;
    let record = slack.record();
    let sockets: Vec<_> =
        record.app(APP).unwrap().event(&id).unwrap().attempts.iter().map(|a| a.socket).collect();
    assert_eq!(sockets, [None, None, Some(record.app(APP).unwrap().sockets[0].id)]);
}

#[tokio::test]
async fn an_ack_too_late_changes_nothing_but_the_count() {
    let slack = start(|rules| {
        hurried(rules);
        rules.time_scale = 100.0;
    });
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing::default()).unwrap();
    let first = client.json().await;
    let second = client.json().await;
    client.ack(&first).await;
    client.ack(&second).await;
    slack.until(|record| record.app(APP).unwrap().counts.late_acks == 1, PATIENCE).await.unwrap();
    assert!(slack.record().app(APP).unwrap().anomalies.is_empty());
}

#[tokio::test]
async fn an_ack_on_another_socket_of_the_app_counts() {
    let slack = start(|_| ());
    let (mut one, mut two) = (connect(&slack).await, connect(&slack).await);
    slack.send(APP, Outgoing::default()).unwrap();
    slack.send(APP, Outgoing::default()).unwrap();
    let (first, second) = (one.json().await, two.json().await);
    two.ack(&first).await;
    one.ack(&second).await;
    acked(&slack, 2).await;
}

#[tokio::test]
async fn unknown_and_foreign_and_double_and_malformed_acks_are_noticed() {
    let slack = start(|_| ());
    let new = NewApp { app_token: "xapp-1-A0002-1-b".into(), slack_app_id: None, teams: Vec::new() };
    slack.add_app(new).unwrap();
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing::default()).unwrap();
    let envelope = client.ack_next().await;
    client.ack(&envelope).await;
    client.ack(&json!({"envelope_id": "57d6a792-0000-4000-8000-000000000000"})).await;
    client.say("{\"envelope\":1}".into()).await;
    client.say("ack".into()).await;
    let seen = |record: &crate::simulator::Record| record.app(APP).unwrap().anomalies.len() == 4;
    slack.until(seen, PATIENCE).await.unwrap();
    let record = slack.record();
    let words: Vec<_> = record.app(APP).unwrap().anomalies.iter().map(|anomaly| anomaly.what).collect();
    assert_eq!(words, ["double_ack", "unknown_envelope", "malformed_ack", "malformed_ack"]);
}

#[tokio::test]
async fn an_ack_of_20_480_bytes_closes_the_socket_with_1009_and_one_byte_less_does_not() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing::template(Template::SlashCommand)).unwrap();
    let envelope = client.json().await;
    let ack = |bytes: usize| {
        let bare = json!({"envelope_id": envelope["envelope_id"], "payload": {"text": ""}}).to_string().len();
        json!({"envelope_id": envelope["envelope_id"], "payload": {"text": "x".repeat(bytes - bare)}})
            .to_string()
    };
    client.say(ack(20_479)).await;
    acked(&slack, 1).await;
    client.say(ack(20_480)).await;
    assert_eq!(client.end().await, Some(1009));
    assert_eq!(slack.record().app(APP).unwrap().anomalies[0].what, "oversized_frame");
}

#[tokio::test]
async fn an_ack_in_parts_or_in_binary_is_ignored_and_noticed() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.send(APP, Outgoing::default()).unwrap();
    let ack = json!({"envelope_id": client.json().await["envelope_id"]}).to_string();
    let (head, tail) = ack.split_at(10);
    let part =
        |text: &str, code, last| Message::Frame(Frame::message(text.to_owned(), OpCode::Data(code), last));
    client.send(part(head, Data::Text, false)).await;
    client.send(part(tail, Data::Continue, true)).await;
    client.send(Message::Binary(ack.clone().into())).await;
    slack.until(|record| record.app(APP).unwrap().anomalies.len() == 2, PATIENCE).await.unwrap();
    assert_eq!(slack.record().app(APP).unwrap().counts.acked, 0);
    client.say(ack).await;
    acked(&slack, 1).await;
}

#[tokio::test]
async fn a_stream_by_rate_sends_as_many_events_as_were_asked_each_with_its_own_id() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    let load = Load { rate: Some(2_000.0), count: Some(100), bytes: 2_000, ..Load::default() };
    slack.load(APP, load).unwrap();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let envelope = client.ack_next().await;
        assert_eq!(envelope["payload"].to_string().len(), 2_000);
        ids.insert(envelope["payload"]["event_id"].as_str().unwrap().to_owned());
    }
    acked(&slack, 100).await;
    let record = slack.record();
    let recorded: std::collections::HashSet<_> =
        record.app(APP).unwrap().events.iter().map(|e| e.id.clone()).collect();
    assert_eq!(ids, recorded);
    assert_eq!(record.app(APP).unwrap().counts.sent, 100);
}

#[tokio::test]
async fn a_stream_by_window_never_has_more_in_flight_than_the_window() {
    let slack = start(|_| ());
    let mut client = connect(&slack).await;
    slack.load(APP, Load { window: Some(8), count: Some(40), ..Load::default() }).unwrap();
    let mut unacked = Vec::new();
    for _ in 0..8 {
        unacked.push(client.json().await);
    }
    // A pong tells that all the simulator had to say before it has been said.
    client.send(Message::Ping("all".into())).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("all".into()));
    for envelope in &unacked {
        client.ack(envelope).await;
    }
    for _ in 8..40 {
        client.ack_next().await;
    }
    acked(&slack, 40).await;
    assert_eq!(slack.record().app(APP).unwrap().counts.sent, 40);
}

#[tokio::test]
async fn where_only_counts_are_kept_the_counts_are_the_same() {
    let options = Options { record: Recording::Counts, auto_register: true, ..Options::default() };
    let slack = Simulator::start(options).unwrap();
    slack.add_app(NewApp { app_token: TOKEN.into(), slack_app_id: None, teams: Vec::new() }).unwrap();
    let mut client = connect(&slack).await;
    slack.load(APP, Load { window: Some(4), count: Some(20), ..Load::default() }).unwrap();
    for _ in 0..20 {
        client.ack_next().await;
    }
    acked(&slack, 20).await;
    assert!(slack.record().app(APP).unwrap().events.is_empty());
}

/// 20 ms to ack, retries after 0, 6 and 30 ms.
fn hurried(rules: &mut Rules) {
    rules.ack_deadline_ms = 20;
    rules.time_scale = 0.000_1;
}

async fn acked(slack: &Handle, count: u64) {
    slack.until(|record| record.app(APP).unwrap().counts.acked == count, PATIENCE).await.unwrap();
}
