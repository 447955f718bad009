//! Verbs, waits and patches, on a node that runs.

use serde_json::{Value, json};
use tautline::simulator::{Arm, Fault, Load};
use tautline::status::{Code, LinkState, Status};

use super::harness::{Answer, Node, PROMISED, Stage};

#[actix::test]
async fn a_put_that_waits_is_answered_when_events_flow() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let answer = node.put("acme?wait=30s", &acme.body()).await;
    let shown = answer.json();
    assert_eq!((answer.status, &shown["state"], &shown["health"]), (201, &json!("ready"), &json!("ok")));
    let off = act(&node, "acme", "disconnect?wait=30s").await;
    assert_eq!(
        (off.status, &off.json()["state"], &off.json()["health"]),
        (200, &json!("disconnected"), &json!("off"))
    );
    let on = act(&node, "acme", "connect?wait=30s").await;
    assert_eq!((on.status, &on.json()["state"]), (200, &json!("ready")));
    assert_eq!(stage.look(&acme, |app| app.counts.opens), 2);
    node.stop().await;
}

#[actix::test]
async fn a_wait_for_what_slack_refuses_ends_with_failed_and_why() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let wrong = json!({ "app_token": format!("xapp-1-{}-9-00000000", acme.app_id) });
    let answer = node.post("/api/v1/workspaces?wait=30s", Some(&wrong)).await;
    let shown = answer.json();
    assert_eq!((answer.status, &shown["state"]), (201, &json!("failed")));
    assert_eq!(shown["reason"]["code"], json!("invalid_auth"));
    // The right one, put in its place, heals it.
    let id = shown["id"].as_str().unwrap();
    let answer = node.patch(&format!("{id}?wait=30s"), &json!({ "app_token": acme.app_token })).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("ready")), "{answer:?}");
    node.stop().await;
}

#[actix::test]
async fn a_wait_for_what_does_not_come_is_202_with_the_state_so_far() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    stage.slack.arm(Some(&acme.app_id), Fault::ApiHang { method: None }).unwrap();
    let answer = node.put("acme?wait=100ms", &acme.body()).await;
    assert_eq!((answer.status, &answer.json()["state"]), (202, &json!("connecting")));
    node.stop_somehow().await;
}

#[actix::test]
async fn connect_tries_again_what_has_failed_though_it_was_wanted_on_all_along() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let refusal = Fault::ApiError { method: None, error: "access_denied".into() };
    stage.slack.arm(Some(&acme.app_id), Arm::once(refusal)).unwrap();
    node.put("acme", &acme.body()).await;
    node.failed("acme", Code::AccessDenied).await;
    assert_eq!(node.put("acme", &acme.body()).await.status, 200);
    assert_eq!(node.workspace("acme").await["state"], json!("failed"), "the same wish changes nothing");
    let answer = act(&node, "acme", "connect?wait=30s").await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("ready")));
    node.stop().await;
}

#[actix::test]
async fn reconnect_brings_a_fresh_socket_up_before_the_old_one_goes() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let old = node.workspace("acme").await["sockets"][0]["generation"].as_u64().unwrap();
    stage.slack.load(&acme.app_id, Load { rate: Some(100.0), ..Load::default() }).unwrap();
    stage.until_acked(&acme, 20).await;
    let answer = act(&node, "acme", "reconnect?wait=30s").await;
    let sockets = answer.json()["sockets"].clone();
    assert_eq!((answer.status, sockets.as_array().unwrap().len()), (200, 1), "{sockets}");
    assert!(sockets[0]["generation"].as_u64().unwrap() > old);
    stage.slack.stop_load(&acme.app_id).unwrap();
    stage.until_settled(&acme).await;
    stage.slack.with_record(|record| assert_eq!(record.app(&acme.app_id).unwrap().gaps(record.now), []));
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn a_patch_under_a_stale_tag_is_refused_and_the_socket_does_not_notice() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let first = node.patch("acme", &json!({ "labels": { "tenant": "42" } })).await;
    assert_eq!(first.status, 200);
    let tag = first.headers["etag"].clone();
    assert_eq!(node.patch("acme", &json!({ "name": "Acme" })).await.status, 200);
    let stale =
        node.ask_with("PATCH", "/api/v1/workspaces/acme", ("if-match", &tag), &json!({ "name": null })).await;
    assert_eq!((stale.status, &stale.json()["code"]), (412, &json!("precondition_failed")));
    let shown = node.workspace("acme").await;
    assert_eq!((&shown["name"], &shown["labels"]), (&json!("Acme"), &json!({ "tenant": "42" })));
    assert_eq!(stage.look(&acme, |app| app.counts.opens), 1);
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn a_wait_ends_when_the_node_does() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.arm(Some(&acme.app_id), Fault::ApiHang { method: None }).unwrap();
    let asked = actix_rt::spawn(node.post_apart("/api/v1/workspaces/acme/reconnect?wait=60s"));
    let asks = |status: &Status| status.links.iter().any(|link| link.state == LinkState::Opening);
    node.until("acme", asks, PROMISED).await;
    node.stop_somehow().await;
    assert_eq!(asked.await.unwrap(), 202);
}

async fn act(node: &Node, name: &str, verb: &str) -> Answer {
    let answer = node.post(&format!("/api/v1/workspaces/{name}/{verb}"), None::<&Value>).await;
    assert!(answer.status < 300, "{answer:?}");
    answer
}
