//! Workspaces come, change and go while the node runs.

use std::time::Duration;

use serde_json::{Value, json};
use tautline::simulator::{AppRecord, How, Load, Outgoing, Side};
use tautline::status::{Code, State};

use super::harness::{Customer, Node, PROMISED, Stage, code_of, eventually};

#[actix::test]
async fn a_put_brings_a_workspace_online_and_the_same_again_changes_nothing() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let created = node.put("acme", &acme.body()).await;
    assert_eq!((created.status, created.headers["location"].as_str()), (201, "/api/v1/workspaces/acme"));
    node.ready("acme").await;
    // Slack is asked whose the bot token is; that is the last thing to change by itself.
    let known = async || Some(node.workspace("acme").await).filter(|shown| shown["team_id"] != Value::Null);
    let shown = eventually("the team is known", known).await;
    assert_eq!(
        (&shown["state"], &shown["health"], &shown["reason"]),
        (&json!("ready"), &json!("ok"), &Value::Null)
    );
    assert_eq!(shown["app_id"], json!(acme.app_id));

    let again = node.put("acme", &acme.body()).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["updated_at"], shown["updated_at"]);
    // A round trip through the node after the PUT: had it reconnected, Slack would have been asked.
    exchange(&stage, &node, &acme).await;
    assert_eq!(stage.look(&acme, |app| app.counts.opens), 1);
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn a_new_token_takes_over_under_load_without_a_gap() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { rate: Some(200.0), ..Load::default() }).unwrap();
    stage.until(&acme, "events flow", |app| app.counts.acked > 200).await;
    let token = stage.second_token(&acme);
    assert_eq!(node.put("acme", &json!({ "app_token": token })).await.status, 200);
    stage
        .until(&acme, "the old socket is closed", |app| app.sockets.iter().any(|s| s.tcp_closed_at.is_some()))
        .await;
    let acked = stage.look(&acme, |app| app.counts.acked);
    stage.until(&acme, "events flow over the new one", |app| app.counts.acked > acked + 200).await;
    stage.slack.stop_load(&acme.app_id).unwrap();
    stage.until_settled(&acme).await;
    stage.slack.with_record(|record| assert_eq!(record.app(&acme.app_id).unwrap().gaps(record.now), []));
    // What Slack had on the way when the old socket said goodbye comes again; nothing older may.
    stage.look(&acme, |app| {
        let goodbye = app.sockets.front().unwrap().live_until.unwrap();
        for event in app.events.iter().filter(|event| event.attempts.len() > 1) {
            let before = goodbye.since(event.attempts[0].at);
            assert!(before < Duration::from_millis(250), "{before:?} before the goodbye: {event:?}");
        }
        assert_eq!((app.counts.opens, app.counts.max_sockets, app.counts.late_acks), (2, 2, 0));
    });
    node.seen.assert_each_once(&stage, &[&acme]).await;
    node.assert_always_ready("acme").await;
    let hint = node.workspace("acme").await["tokens"]["app"]["hint"].clone();
    assert_eq!(hint, json!("3210"), "the new token is in force");
    node.stop().await;
}

#[actix::test]
async fn a_token_that_slack_refuses_leaves_the_old_one_in_force_and_a_warning() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let unknown = format!("xapp-1-{}-9-00000000", acme.app_id);
    assert_eq!(node.put("acme", &json!({ "app_token": unknown })).await.status, 200);
    let status = node.until("acme", |status| status.warnings == [Code::InvalidAuth], PROMISED).await;
    assert_eq!((status.state, code_of(&status)), (State::Ready, Some(Code::InvalidAuth)));
    exchange(&stage, &node, &acme).await;
    stage.assert_flawless(&acme);
    assert_eq!(node.workspace("acme").await["tokens"]["app"]["hint"], json!("cdef"));
    node.stop().await;

    // Nor does the next start try it again.
    let node = stage.node().await;
    assert_eq!(node.ready("acme").await.warnings, []);
    node.stop().await;
}

#[actix::test]
async fn deleting_a_workspace_closes_its_socket_with_a_close_frame() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    assert_eq!(node.delete("acme").await.status, 204);
    closed_by_us(&stage, &acme).await;
    assert_eq!(node.get("/api/v1/workspaces/acme").await.status, 404);
    assert_eq!(node.delete("acme").await.status, 404);
    exchange(&stage, &node, &globex).await;
    stage.assert_flawless(&globex);
    // It may come back at once.
    assert_eq!(node.put("acme", &acme.body()).await.status, 201);
    node.ready("acme").await;
    exchange(&stage, &node, &acme).await;
    node.stop().await;
}

#[actix::test]
async fn a_workspace_is_switched_off_and_on_by_what_is_desired() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    assert_eq!(node.put("acme", &json!({ "desired": "disconnected" })).await.status, 200);
    let off = node.until("acme", |status| status.state == State::Disconnected, PROMISED).await;
    assert_eq!(code_of(&off), Some(Code::OperatorDisconnect));
    closed_by_us(&stage, &acme).await;
    assert_eq!(node.put("acme", &json!({ "desired": "connected" })).await.status, 200);
    node.ready("acme").await;
    exchange(&stage, &node, &acme).await;
    assert_eq!(stage.look(&acme, |app| app.counts.opens), 2);
    node.stop().await;
}

#[actix::test]
async fn a_workspace_that_is_off_stays_off_over_a_restart() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&acme, &globex]).await;
    node.put("acme", &json!({ "desired": "disconnected" })).await;
    node.until("acme", |status| status.state == State::Disconnected, PROMISED).await;
    node.stop().await;
    let node = stage.node().await;
    node.ready("globex").await;
    assert_eq!(node.workspace("acme").await["state"], json!("disconnected"));
    assert_eq!(stage.look(&acme, |app| app.counts.opens), 1);
    node.stop().await;
}

#[actix::test]
async fn more_links_come_up_beside_the_first_and_go_again_without_a_gap() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.load(&acme.app_id, Load { rate: Some(100.0), ..Load::default() }).unwrap();
    assert_eq!(node.put("acme", &json!({ "links": 3 })).await.status, 200);
    stage.until(&acme, "three sockets are live", |app| app.live_sockets() == 3).await;
    assert_eq!(node.put("acme", &json!({ "links": 1 })).await.status, 200);
    stage.until(&acme, "one socket is left", |app| app.live_sockets() == 1).await;
    stage.slack.stop_load(&acme.app_id).unwrap();
    stage.until_settled(&acme).await;
    stage.assert_flawless(&acme);
    node.seen.assert_each_once(&stage, &[&acme]).await;
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn the_list_names_every_workspace_and_a_wrong_token_opens_nothing() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&globex, &acme]).await;
    let list = node.get("/api/v1/workspaces").await.json();
    let names: Vec<_> = list["data"].as_array().unwrap().iter().map(|workspace| &workspace["id"]).collect();
    assert_eq!(names, ["acme", "globex"]);
    for token in [None, Some("wrong")] {
        let answer = node.ask("GET", "/api/v1/workspaces", token, None).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["code"], json!("unauthorized"));
        let body = acme.body();
        assert_eq!(node.ask("PUT", "/api/v1/workspaces/new", token, Some(&body)).await.status, 401);
    }
    assert_eq!(node.get("/api/v1/workspaces/new").await.status, 404);
    node.stop().await;
}

#[actix::test]
async fn a_token_of_another_app_moves_the_workspace_there_and_the_app_it_leaves_goes_offline() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, other) = (stage.customer("acme"), stage.customer("other"));
    node.welcome(&[&acme]).await;
    exchange(&stage, &node, &acme).await;
    assert_eq!(node.put("acme", &json!({ "app_token": other.app_token })).await.status, 200);
    node.ready("acme").await;
    closed_by_us(&stage, &acme).await;
    assert_eq!(node.workspace("acme").await["app_id"], json!(other.app_id));
    stage.until(&other, "the other app is online", |app| app.live_sockets() == 1).await;
    exchange(&stage, &node, &other).await;
    node.stop().await;
}

#[actix::test]
async fn two_workspaces_of_one_app_share_its_socket_and_neither_gets_what_is_not_its_own() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let first = exchange(&stage, &node, &acme).await;
    assert_eq!(node.put("acme-emea", &json!({ "app_token": acme.app_token })).await.status, 201);
    node.ready("acme-emea").await;
    let of_nobody = Outgoing { team_id: Some("T0NOBODY".into()), ..Outgoing::default() };
    let of_nobody = stage.slack.send(&acme.app_id, of_nobody).unwrap();
    let second = exchange(&stage, &node, &acme).await;
    let owner = async |id: &str| node.seen.until(id).await.workspace;
    assert_eq!(owner(&first).await, owner(&second).await);
    assert!(owner(&first).await.is_some());
    assert_eq!(owner(&of_nobody).await, None);
    assert_eq!(stage.look(&acme, |app| app.counts.opens), 1);
    // The one goes, the other stays online.
    assert_eq!(node.delete("acme").await.status, 204);
    exchange(&stage, &node, &acme).await;
    assert_eq!(stage.look(&acme, AppRecord::live_sockets), 1);
    node.stop().await;
}

/// One event there and its ack back: the connection works.
async fn exchange(stage: &Stage, node: &Node, customer: &Customer) -> String {
    let id = stage.slack.send(&customer.app_id, Outgoing::default()).unwrap();
    node.seen.until(&id).await;
    stage.until_settled(customer).await;
    id
}

/// The node has said goodbye to the customer's only socket.
async fn closed_by_us(stage: &Stage, customer: &Customer) {
    stage.until(customer, "the socket is closed", |app| app.live_sockets() == 0).await;
    let end = stage.look(customer, |app| app.sockets.back().and_then(|socket| socket.end)).unwrap();
    assert_eq!((end.by, end.how, end.code), (Side::Client, How::CloseFrame, Some(1000)));
}
