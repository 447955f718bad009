//! A new customer: the check before, the import of many.

use serde_json::{Value, json};
use tautline::simulator::{Fault, How, Side};

use super::harness::{ADMIN_TOKEN, Customer, Node, Stage};

#[actix::test]
async fn a_customer_who_would_come_online_is_found_fine_and_nothing_is_stored() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let told =
        check(&node, &acme, &json!({ "team_id": acme.team_id, "required_scopes": ["chat:write"] })).await;
    assert_eq!(
        (&told["ok"], &told["app_id"], &told["team_id"]),
        (&json!(true), &json!(acme.app_id), &json!(acme.team_id)),
        "{told}"
    );
    let looked_at: Vec<_> =
        told["findings"].as_array().unwrap().iter().map(|finding| finding["check"].clone()).collect();
    assert_eq!(looked_at, ["socket", "app_id", "other_sockets", "bot_token", "same_app", "scopes", "team"]);
    // The trial's socket was closed as a socket should be.
    stage.until(&acme, "the socket is closed", |app| app.sockets.len() == 1 && app.live_sockets() == 0).await;
    let end = stage.look(&acme, |app| app.sockets.back().and_then(|socket| socket.end)).unwrap();
    assert_eq!((end.by, end.how), (Side::Client, How::CloseFrame));
    let list = node.get("/api/v1/workspaces").await.json();
    assert_eq!(list["data"], json!([]));
    node.stop().await;
}

#[actix::test]
async fn each_thing_that_is_wrong_is_told_with_what_to_do() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    let told = check(&node, &acme, &json!({ "required_scopes": ["chat:write", "users:read"] })).await;
    assert_eq!(wrong(&told), [("scopes", "missing_scope")]);
    let told = check(&node, &acme, &json!({ "bot_token": globex.bot_token, "team_id": acme.team_id })).await;
    assert_eq!(wrong(&told), [("same_app", "app_mismatch"), ("team", "team_mismatch")]);
    let told = check(&node, &acme, &json!({ "bot_token": "xoxb-nobodys-0123456789" })).await;
    assert_eq!(wrong(&told), [("bot_token", "invalid_auth")]);
    let told = check(&node, &acme, &json!({ "bot_token": null, "required_scopes": ["chat:write"] })).await;
    assert_eq!(wrong(&told), [("scopes", "no_bot_token")]);
    let told = check(&node, &acme, &json!({ "app_token": "xapp-nobodys-0123456789" })).await;
    assert_eq!(wrong(&told), [("socket", "invalid_auth")]);
    let fault = stage.slack.arm(Some(&acme.app_id), Fault::HelloOfApp { app_id: "A0OTHER".into() }).unwrap();
    let told = check(&node, &acme, &json!({})).await;
    assert_eq!(wrong(&told), [("app_id", "app_mismatch"), ("same_app", "app_mismatch")]);
    stage.slack.disarm(fault);
    for finding in told["findings"].as_array().unwrap() {
        let says = |field: &str| finding[field].as_str().is_some_and(|text| text.ends_with('.'));
        assert!(says("message") && says("action"), "{finding}");
    }
    node.stop().await;
}

#[actix::test]
async fn an_installation_that_is_registered_is_named_unless_it_is_the_one_that_is_checked() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    super::harness::eventually("team and app are known", async || {
        let is_app_known = node.get(&format!("/api/v1/apps/{}", acme.app_id)).await.status == 200;
        (is_app_known && node.workspace("acme").await["team_id"] != Value::Null).then_some(())
    })
    .await;
    let told = check(&node, &acme, &json!({})).await;
    assert_eq!(wrong(&told), [("registered", "duplicate_installation")]);
    assert_eq!(wrong(&check(&node, &acme, &json!({ "id": "acme" })).await), []);
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn imported_workspaces_come_online() {
    let stage = Stage::new();
    let node = stage.node().await;
    let customers = [stage.customer("acme"), stage.customer("globex")];
    let line = |customer: &Customer| {
        json!({ "id": customer.name, "app_token": customer.app_token, "bot_token": customer.bot_token })
            .to_string()
    };
    let lines = customers.each_ref().map(line).join("\n");
    let answer = node.post_text("/api/v1/workspaces/import", ADMIN_TOKEN, "application/jsonl", lines).await;
    assert_eq!((answer.status, &answer.json()["created"]), (200, &json!(2)), "{answer:?}");
    for customer in &customers {
        node.ready(&customer.name).await;
    }
    node.stop().await;
}

/// Checks a customer, with other fields over theirs.
async fn check(node: &Node, customer: &Customer, over: &Value) -> Value {
    let mut body = customer.body();
    for (field, value) in over.as_object().unwrap() {
        body[field] = value.clone();
    }
    let answer = node.post("/api/v1/workspaces/check", Some(&body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for secret in [&customer.app_token, &customer.bot_token] {
        assert!(!answer.text.contains(secret.as_str()), "{answer:?}");
    }
    answer.json()
}

fn wrong(told: &Value) -> Vec<(&str, &str)> {
    let findings = told["findings"].as_array().unwrap().iter();
    let wrong: Vec<_> = findings
        .filter(|finding| finding["ok"] == json!(false))
        .map(|finding| (finding["check"].as_str().unwrap(), finding["code"].as_str().unwrap()))
        .collect();
    assert_eq!(told["ok"], json!(wrong.is_empty()));
    wrong
}
