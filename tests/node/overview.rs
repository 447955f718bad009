//! The node seen from above: apps, figures, timelines, and one verb for many.

use serde_json::{Value, json};
use tautline::simulator::Outgoing;
use tautline::status::{Code, State};

use super::harness::{PROMISED, Stage, eventually};

#[actix::test]
async fn apps_and_figures_tell_what_is_connected_and_what_has_come() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    node.put("acme-emea", &json!({ "app_token": acme.app_token })).await;
    let id = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    node.seen.until(&id).await;
    stage.until_settled(&acme).await;

    let app = eventually("the app's id is known", async || {
        let found = node.get(&format!("/api/v1/apps/{}", acme.app_id)).await;
        (found.status == 200).then(|| found.json())
    })
    .await;
    let seats: Vec<_> = app["workspaces"].as_array().unwrap().iter().map(|seat| seat["id"].clone()).collect();
    assert_eq!((&app["state"], seats), (&json!("ready"), vec![json!("acme"), json!("acme-emea")]));
    assert_eq!((app["sockets"].as_array().unwrap().len(), &app["counters"]["events"]), (1, &json!(1)));
    let list = node.get("/api/v1/apps").await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);

    let stats = node.get("/api/v1/stats").await.json();
    assert_eq!((&stats["workspaces"]["by_state"]["ready"], &stats["apps"]), (&json!(2), &json!(1)));
    assert_eq!((&stats["events"]["stored"], &stats["events"]["shed"]), (&json!(1), &json!(0)));
    assert_eq!((&stats["sockets"]["live"], &stats["node"]["ack"]), (&json!(1), &json!("stored")));
    node.stop().await;
}

#[actix::test]
async fn the_timeline_tells_each_change_with_who_must_act_and_what_to_do() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let wrong = json!({ "app_token": format!("xapp-1-{}-9-00000000", acme.app_id) });
    node.put("acme?wait=30s", &wrong).await;
    node.patch("acme?wait=30s", &json!({ "app_token": acme.app_token })).await;
    let told = async || {
        let page = node.get("/api/v1/workspaces/acme/timeline").await.json();
        let data = page["data"].as_array().unwrap().clone();
        data.first().is_some_and(|newest| newest["to"] == "ready").then_some(data)
    };
    let told = eventually("the timeline says ready", told).await;
    let failed = told.iter().find(|change| change["to"] == "failed").expect("it has failed");
    assert_eq!(failed["reason"]["actor"], json!("customer"));
    assert_eq!(failed["reason"]["action"], json!(Code::InvalidAuth.action()));
    assert_eq!((&told.last().unwrap()["from"], &told[0]["reason"]), (&json!("disconnected"), &Value::Null));
    node.stop().await;
}

#[actix::test]
async fn one_verb_brings_those_down_whom_a_filter_means_and_no_other() {
    let stage = Stage::new();
    let node = stage.node().await;
    let customers = [stage.customer("acme"), stage.customer("globex"), stage.customer("initech")];
    node.welcome(&customers.each_ref()).await;
    for name in ["acme", "globex"] {
        node.patch(name, &json!({ "labels": { "plan": "trial" } })).await;
    }
    let mut body = json!({ "action": "disconnect", "filter": { "label": "plan:trial" }, "dry_run": true });
    let told = node.post("/api/v1/workspaces/actions", Some(&body)).await.json();
    assert_eq!((&told["matched"], &told["sample"]), (&json!(2), &json!(["acme", "globex"])));
    body["dry_run"] = json!(false);
    let accepted = node.post("/api/v1/workspaces/actions", Some(&body)).await;
    assert_eq!(accepted.status, 202);
    let place = accepted.headers["location"].clone();
    let ended = async || Some(node.get(&place).await.json()).filter(|job| job["state"] != "running");
    let job = eventually("the job ends", ended).await;
    assert_eq!((&job["state"], &job["done"], &job["failed"]), (&json!("done"), &json!(2), &json!(0)));
    for name in ["acme", "globex"] {
        node.until(name, |status| status.state == State::Disconnected, PROMISED).await;
    }
    node.assert_always_ready("initech").await;
    let off = node.get("/api/v1/workspaces?health=off").await.json();
    assert_eq!(off["data"].as_array().unwrap().len(), 2);
    node.stop().await;
}
