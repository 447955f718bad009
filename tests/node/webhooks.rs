//! What is told to the operator's systems: signed, tried again, and not lost by a restart.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::{Bytes, Data, to};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tautline::simulator::{NewApp, Outgoing, Team, Template};

use super::harness::{ADMIN_TOKEN, Customer, Node, Stage, eventually};

#[actix::test]
async fn what_becomes_of_a_workspace_is_told_signed_and_without_a_secret() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    let secret = subscribe(&node, &receiver, &json!({})).await;
    let acme = stage.customer("acme");
    let body =
        json!({ "app_token": acme.app_token, "bot_token": acme.bot_token, "labels": {"tenant": "42"} });
    assert_eq!(node.put("acme", &body).await.status, 201);
    let ready = receiver.until("workspace.ready").await;
    assert_eq!(ready.data()["workspace"], "acme");

    uninstall(&stage, &acme);
    let told = receiver.until("workspace.uninstalled").await;
    let data = told.data();
    assert_eq!((&data["state"], &data["health"]), (&json!("failed"), &json!("down")));
    assert_eq!(data["reason"]["code"], "app_uninstalled");
    assert_eq!(data["reason"]["actor"], "customer");
    assert_eq!((&data["labels"], &data["team_id"]), (&json!({"tenant": "42"}), &json!(acme.team_id)));

    let new_token = reinstall(&stage, &acme);
    node.put("acme", &json!({ "bot_token": new_token, "labels": {"tenant": "42"} })).await;
    let recovered = receiver.until("workspace.recovered").await;
    assert_eq!(recovered.data()["health"], "ok");

    let all = receiver.seen();
    let topics: Vec<_> = all.iter().map(Got::topic).collect();
    assert_eq!(topics, ["workspace.ready", "workspace.uninstalled", "workspace.recovered"]);
    for got in &all {
        got.assert_signed(&secret);
        for hidden in [&acme.app_token, &acme.bot_token, &new_token] {
            assert!(!got.body.contains(hidden.as_str()), "{}", got.body);
        }
    }
    assert_eq!(shown(&node).await["waiting"], 0);
    node.stop().await;
}

#[actix::test]
async fn the_second_workspace_of_an_installation_is_told_as_failed() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    subscribe(&node, &receiver, &json!({ "topics": ["workspace.failed"] })).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let known = async || (!node.workspace("acme").await["team_id"].is_null()).then_some(());
    eventually("whose it is is known", known).await;
    assert_eq!(node.put("again", &acme.body()).await.status, 201);
    let data = receiver.until("workspace.failed").await.data();
    assert_eq!(
        (&data["workspace"], &data["reason"]["code"]),
        (&json!("again"), &json!("duplicate_installation"))
    );
    node.stop().await;
}

#[actix::test]
async fn a_notice_that_is_not_taken_is_posted_again_under_the_same_id() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    receiver.answer([500, 302]);
    let secret = subscribe(&node, &receiver, &json!({ "topics": ["workspace.ready"] })).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let three = async || (receiver.seen().len() == 3).then_some(());
    eventually("the notice is posted three times", three).await;
    let all = receiver.seen();
    assert!(all.iter().all(|got| got.id == all[0].id && got.body == all[0].body));
    for got in &all {
        got.assert_signed(&secret);
    }
    let settled = async || (shown(&node).await["waiting"] == 0).then_some(());
    eventually("it is taken", settled).await;
    assert_eq!(shown(&node).await["last_error"], "it answers with HTTP status 302");
    node.stop().await;
}

#[actix::test]
async fn a_restart_loses_no_notice_even_one_that_was_on_its_way_and_tells_nothing_twice() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    subscribe(&node, &receiver, &json!({})).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    receiver.until("workspace.ready").await;
    let taken = async || (shown(&node).await["waiting"] == 0).then_some(());
    eventually("it is taken", taken).await;
    // It gets the notice and never answers.
    receiver.answer([HANG]);
    uninstall(&stage, &acme);
    let first = receiver.until("workspace.uninstalled").await;
    node.stop().await;

    let node = stage.node().await;
    let twice = async || {
        let told = receiver.seen().into_iter().filter(|got| got.topic() == "workspace.uninstalled");
        let ids: Vec<_> = told.map(|got| got.id).collect();
        (ids.len() == 2).then_some(ids)
    };
    assert_eq!(eventually("it is posted again", twice).await, [first.id.clone(), first.id]);
    let taken = async || (shown(&node).await["waiting"] == 0).then_some(());
    eventually("it is taken", taken).await;
    let topics: Vec<_> = receiver.seen().iter().map(Got::topic).collect();
    assert_eq!(topics, ["workspace.ready", "workspace.uninstalled", "workspace.uninstalled"]);
    node.stop().await;
}

#[actix::test]
async fn many_workspaces_down_at_once_are_one_incident() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    let customers: Vec<_> = (0..6).map(|n| stage.customer(&format!("c{n}"))).collect();
    node.welcome(&customers.iter().collect::<Vec<_>>()).await;
    subscribe(&node, &receiver, &json!({ "topics": ["incident.opened", "incident.closed", "workspace.degraded", "workspace.failed"] }))
        .await;
    stage.slack.outage(Duration::from_secs(2), true);
    let opened = receiver.until("incident.opened").await;
    assert_eq!(opened.data()["workspaces"], 6);
    assert!(opened.data()["down"].as_u64().unwrap() >= 5, "{}", opened.body);
    receiver.until("incident.closed").await;
    assert_eq!(receiver.seen().len(), 2, "nothing beside the incident");
    node.stop().await;
}

#[actix::test]
async fn a_webhook_is_tried_paused_and_removed_and_its_secret_is_shown_once() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    let secret =
        subscribe(&node, &receiver, &json!({ "label": "tenant:42", "topics": ["workspace.ready"] })).await;
    let one = shown(&node).await;
    let path = format!("/api/v1/webhooks/{}", one["id"].as_str().unwrap());
    assert_eq!(
        (&one["label"], &one["topics"], &one["secret"]),
        (&json!("tenant:42"), &json!(["workspace.ready"]), &Value::Null)
    );

    let tried = ask(&node, "POST", &format!("{path}/test"), None).await;
    assert_eq!(tried, json!({ "taken": true, "status": 200, "error": null }));
    receiver.until("webhook.test").await.assert_signed(&secret);
    receiver.answer([404]);
    let tried = ask(&node, "POST", &format!("{path}/test"), None).await;
    assert_eq!(tried["error"], "it answers with HTTP status 404");

    ask(&node, "PATCH", &path, Some(&json!({ "paused": true, "label": null }))).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let waits = async || (shown(&node).await["waiting"] == 1).then_some(());
    eventually("the notice waits", waits).await;
    assert!(receiver.seen().iter().all(|got| got.topic() == "webhook.test"));
    ask(&node, "PATCH", &path, Some(&json!({ "paused": false }))).await;
    receiver.until("workspace.ready").await;

    assert_eq!(node.ask("DELETE", &path, Some(ADMIN_TOKEN), None).await.status, 204);
    assert_eq!(node.get(&path).await.status, 404);
    node.stop().await;
}

/// An answer that never comes.
const HANG: u16 = 0;

/// Somebody's system that is told of changes.
struct Receiver {
    address: SocketAddr,
    inner: Data<Inner>,
}

#[derive(Default)]
struct Inner {
    seen: Mutex<Vec<Got>>,
    /// The next answers' statuses; then 200.
    answers: Mutex<VecDeque<u16>>,
}

/// What came.
#[derive(Clone, Debug)]
struct Got {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let inner: Data<Inner> = Data::from(Arc::<Inner>::default());
        let shared = inner.clone();
        let server = HttpServer::new(move || App::new().app_data(shared.clone()).default_service(to(take)))
            .workers(1)
            .disable_signals()
            .shutdown_timeout(0)
            .listen(listener)
            .expect("it listens")
            .run();
        drop(actix_rt::spawn(server));
        // Its threads run from here on, so that a node's can be told from them.
        let first = awc::Client::default().post(format!("http://{address}/")).send_body("{}").await;
        assert!(first.expect("it answers").status().is_success());
        inner.seen.lock().unwrap().clear();
        Self { address, inner }
    }

    fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.inner.answers.lock().unwrap().extend(statuses);
    }

    fn seen(&self) -> Vec<Got> {
        self.inner.seen.lock().unwrap().clone()
    }

    async fn until(&self, topic: &str) -> Got {
        eventually(topic, async || self.seen().into_iter().find(|got| got.topic() == topic)).await
    }
}

async fn take(request: HttpRequest, body: Bytes, inner: Data<Inner>) -> HttpResponse {
    let header =
        |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let got = Got {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    inner.seen.lock().unwrap().push(got);
    let status = inner.answers.lock().unwrap().pop_front().unwrap_or(200);
    match status {
        HANG => std::future::pending().await,
        302 => HttpResponse::Found().insert_header(("location", "/elsewhere")).finish(),
        status => HttpResponse::build(status.try_into().unwrap()).finish(),
    }
}

impl Got {
    fn topic(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    fn data(&self) -> Value {
        self.json()["data"].clone()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn assert_signed(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let tag = STANDARD.decode(self.signature.strip_prefix("v1,").unwrap()).unwrap();
        let text = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes(), &tag).expect("it is signed");
        assert!(self.id.starts_with("msg_") && self.timestamp.parse::<i64>().unwrap() > 1_600_000_000);
    }
}

/// Makes a webhook; its secret.
async fn subscribe(node: &Node, receiver: &Receiver, with: &Value) -> String {
    let mut body = with.clone();
    body["url"] = format!("http://{}/hook", receiver.address).into();
    let answer = node.ask("POST", "/api/v1/webhooks", Some(ADMIN_TOKEN), Some(&body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["secret"].as_str().unwrap().to_owned()
}

/// The only webhook.
async fn shown(node: &Node) -> Value {
    node.get("/api/v1/webhooks").await.json()["data"][0].clone()
}

async fn ask(node: &Node, method: &str, path: &str, body: Option<&Value>) -> Value {
    let answer = node.ask(method, path, Some(ADMIN_TOKEN), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn uninstall(stage: &Stage, customer: &Customer) {
    let event = Outgoing { template: Some(Template::AppUninstalled), ..Outgoing::default() };
    stage.slack.send(&customer.app_id, event).unwrap();
}

/// The customer installs the app again: a new bot token.
fn reinstall(stage: &Stage, customer: &Customer) -> String {
    let bot_token = format!("{}-again", customer.bot_token);
    let team =
        Team { team_id: customer.team_id.clone(), bot_token: Some(bot_token.clone()), enterprise_id: None };
    let app = NewApp {
        app_token: customer.app_token.clone(),
        slack_app_id: Some(customer.app_id.clone()),
        teams: vec![team],
    };
    stage.slack.add_app(app).unwrap();
    bot_token
}
