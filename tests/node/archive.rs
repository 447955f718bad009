//! What became of an event, and what operators do about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tautline::config::Ack;
use tautline::handlers::{Delivery, Handler, Options as Limits, Outcome, Registry, Retry};
use tautline::simulator::Outgoing;

use super::client::{asking, ended, json_of, tokens_of};
use super::harness::{Node, Seen, Stage, eventually};
use super::process::{Process, Site};

#[actix::test]
async fn what_has_died_is_retried_over_the_api_and_done_and_replayed_after_that() {
    let stage = Stage::new();
    let (node, moody) = moody_node(&stage).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let id = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    let dead = listed_once(&node, "/api/v1/deliveries?status=dead&workspace=acme").await;
    assert_eq!((&dead["attempts"], &dead["handler"]), (&json!(2), &json!("moody")));
    assert!(dead["last_error"].is_string(), "{dead}");
    let event = format!("/api/v1/events/{}", dead["event"].as_str().unwrap());
    let shown = node.get(&event).await.json();
    assert_eq!((&shown["status"], &shown["slack_id"]), (&json!("dead"), &json!(id)));

    moody.fails.store(false, Ordering::Relaxed);
    let delivery = format!("/api/v1/deliveries/{}", dead["id"].as_str().unwrap());
    let retried = node.post(&format!("{delivery}/retry"), None).await;
    assert_eq!(retried.status, 200, "{retried:?}");
    until_status(&node, &delivery, "done").await;
    // Pending until its writer's mark has moved past it.
    until_status(&node, &event, "done").await;
    assert_eq!(moody.seen.times()[&id], 1);

    let body = json!({"handlers": ["moody"]});
    let made = node.post(&format!("{event}/replay"), Some(&body)).await.json();
    let second = format!("/api/v1/deliveries/{}", made["deliveries"][0]["id"].as_str().unwrap());
    until_status(&node, &second, "done").await;
    assert_eq!(moody.seen.times()[&id], 2);
    let runs = node.get(&event).await.json()["deliveries"].as_array().unwrap().len();
    assert_eq!(runs, 2);
    node.stop().await;
}

#[actix::test]
async fn what_is_discarded_is_tried_no_more_and_a_paused_handler_gets_nothing_until_it_is_resumed() {
    let stage = Stage::new();
    let (node, moody) = moody_node(&stage).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let first = stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    let dead = listed_once(&node, "/api/v1/deliveries?status=dead").await;
    let delivery = format!("/api/v1/deliveries/{}", dead["id"].as_str().unwrap());
    assert_eq!(node.post(&format!("{delivery}/discard"), None).await.json()["status"], "cancelled");

    moody.fails.store(false, Ordering::Relaxed);
    let paused = node.post("/api/v1/handlers/moody/pause", None).await;
    assert_eq!((paused.status, &paused.json()["paused"]), (200, &json!(true)));
    // The node looks each second; until then what comes is handled.
    let waiting = async || {
        stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
        let handlers = node.get("/api/v1/handlers").await.json();
        (handlers["data"][0]["waiting"].as_u64().unwrap() > 0).then_some(())
    };
    eventually("something waits", waiting).await;
    node.post("/api/v1/handlers/moody/resume", None).await;
    stage.until_settled(&acme).await;
    let nothing_waits = async || {
        let handlers = node.get("/api/v1/handlers").await.json();
        (handlers["data"][0]["waiting"] == 0).then_some(())
    };
    eventually("nothing waits any more", nothing_waits).await;
    assert!(!moody.seen.times().contains_key(&first), "what was given up was not tried again");
    node.stop().await;
}

#[test]
fn events_are_looked_at_replayed_and_followed_from_the_command_line() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let customer = site.customer(0);
    let mut add = asking(&site, &node, &["workspace", "add", "acme"]);
    tokens_of(&mut add, &customer);
    assert_eq!(ended(add).code, Some(0));
    node.state("acme", "ready");
    for _ in 0..2 {
        site.slack.send(&customer.app_id, Outgoing::default()).unwrap();
    }
    let list = || json_of(asking(&site, &node, &["event", "list", "--workspace", "acme", "--json"]));
    let events = until(&node, list, |events| {
        let events = events.as_array().unwrap();
        events.len() == 2 && events.iter().all(|event| event["status"] == "done")
    });
    let id = events[0]["id"].as_str().unwrap();
    let shown = ended(asking(&site, &node, &["event", "show", id]));
    assert!(shown.output.stdout.iter().any(|line| line.starts_with("log ")), "{shown:?}");
    let many = ["event", "replay", "--workspace", "acme", "--since", "1h", "--handler", "log"];
    let dry: Vec<_> = many.iter().chain(&["--dry-run"]).copied().collect();
    let dry = ended(asking(&site, &node, &dry));
    assert_eq!(dry.output.stdout, ["replay would be done to 2 deliveries"], "{dry:?}");
    let wait: Vec<_> = many.iter().chain(&["--wait", "--json"]).copied().collect();
    assert_eq!(json_of(asking(&site, &node, &wait))["done"], 2);
    let runs = || json_of(asking(&site, &node, &["delivery", "list", "--status", "done", "--json"]));
    let runs = until(&node, runs, |runs| runs.as_array().unwrap().len() == 2);
    let run = runs[0]["id"].as_str().unwrap();
    let again = ended(asking(&site, &node, &["delivery", "retry", run]));
    assert_eq!(again.code, Some(2), "it is done: {again:?}");
    let nothing = ended(asking(&site, &node, &["delivery", "retry", "--status", "dead", "--dry-run"]));
    assert_eq!(nothing.output.stdout, ["retry would be done to 0 deliveries"]);
    assert_eq!(ended(asking(&site, &node, &["delivery", "discard"])).code, Some(2), "which?");
    assert_eq!(ended(asking(&site, &node, &["delivery", "show", "dlv_1-1-1"])).code, Some(3));
    let paused = ended(asking(&site, &node, &["handler", "pause", "log", "--reason", "migration"]));
    assert!(paused.output.stdout[1].starts_with("log   20"), "{paused:?}");
    let listed = ended(asking(&site, &node, &["handler", "list"])).output.stdout;
    let cells: Vec<_> = listed[1].split_whitespace().skip(7).collect();
    assert_eq!(cells, ["true", "64", "30000", "none", "60000", "30", "false"], "{listed:?}");
    let resumed = json_of(asking(&site, &node, &["handler", "resume", "log", "--json"]));
    assert_eq!(resumed["paused"], false);

    let tail = Process::start(asking(&site, &node, &["event", "tail"]));
    site.slack.send(&customer.app_id, Outgoing::default()).unwrap();
    until(&node, list, |events| events.as_array().unwrap().len() == 3);
    // It looks each second.
    tail.run_for(Duration::from_secs(3));
    let told = tail.kill().stdout;
    assert_eq!(told.len(), 3, "each once: {told:?}");
    assert!(told[1].starts_with(id) && told[1].contains("acme"), "the newest last: {told:?}");
    node.stop();
}

/// Looks until it is so.
fn until(node: &Process, look: impl Fn() -> Value, is: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let found = look();
        if is(&found) {
            return found;
        }
        node.run_for(Duration::from_millis(100));
    }
    panic!("it never comes: {}", look());
}

/// The one entry of a list, once it has one.
async fn listed_once(node: &Node, path: &str) -> Value {
    eventually("the list has one", async || {
        let list = node.get(path).await.json();
        let data = list["data"].as_array().unwrap();
        (data.len() == 1).then(|| data[0].clone())
    })
    .await
}

async fn until_status(node: &Node, path: &str, status: &str) {
    let is_so = async || (node.get(path).await.json()["status"] == status).then_some(());
    eventually("it has that status", is_so).await;
}

#[actix::test]
async fn what_a_handler_owes_is_among_the_figures() {
    let stage = Stage::new();
    let (node, moody) = moody_node(&stage).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    let figure = async |name: &str| -> Option<f64> {
        let text = node.get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    };
    let is = async |name: &str, wanted: fn(f64) -> bool| {
        eventually(name, async || figure(name).await.filter(|value| wanted(*value)).map(|_| ())).await;
    };
    let (dead, oldest) = (
        "tautline_handler_dead_letters{handler=\"moody\"}",
        "tautline_handler_oldest_seconds{handler=\"moody\"}",
    );
    is(dead, |dead| (0.9..1.1).contains(&dead)).await;
    assert!(figure(oldest).await.unwrap() < 0.001, "nothing waits");
    moody.fails.store(false, Ordering::Relaxed);
    node.post("/api/v1/handlers/moody/pause", None).await;
    let waits = async || {
        stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
        let handlers = node.get("/api/v1/handlers").await.json();
        (handlers["data"][0]["waiting"].as_u64().unwrap() > 0).then_some(())
    };
    eventually("something waits", waits).await;
    let waiting = "tautline_handler_backlog{handler=\"moody\",status=\"waiting\"}";
    is(waiting, |waiting| waiting > 0.0).await;
    is(oldest, |age| age > 0.0).await;
    node.post("/api/v1/handlers/moody/resume", None).await;
    is(waiting, |waiting| waiting < 1.0).await;
    assert!(figure(oldest).await.unwrap() < 0.001, "nothing waits any more");
    node.stop().await;
}

/// A node whose one handler fails until it is told not to, and gives up after two tries.
async fn moody_node(stage: &Stage) -> (Node, Moody) {
    let moody = Moody { seen: Seen::default(), fails: Arc::new(AtomicBool::new(true)) };
    let retry = Retry { first: Duration::from_millis(10), most: Duration::from_millis(20), attempts: 2 };
    let mut handlers = Registry::default();
    let plugin = moody.clone();
    handlers.register("moody", Limits { retry, ..Limits::default() }, move |_| plugin.clone()).unwrap();
    (stage.bare_node(Ack::Stored, handlers).await, moody)
}

#[derive(Clone)]
struct Moody {
    seen: Seen,
    fails: Arc<AtomicBool>,
}

#[async_trait(?Send)]
impl Handler for Moody {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        if self.fails.load(Ordering::Relaxed) {
            return Outcome::Retry { after: None };
        }
        self.seen.note(&delivery.event);
        Outcome::Done
    }
}
