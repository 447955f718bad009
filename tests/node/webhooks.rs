//! What is told to the operator's systems: signed, tried again, and not lost by a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
use super::process::{Customer as SiteCustomer, Process, Site};

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
    let taken = async || (shown(&node).await["waiting"] == 0).then_some(());
    eventually("all are taken", taken).await;

    let incidents = node.get("/api/v1/incidents?workspace=acme").await.json();
    let [incident] = incidents["data"].as_array().unwrap().as_slice() else { panic!("{incidents}") };
    let told = (&incident["kind"], &incident["state"], &incident["reason"]["code"]);
    assert_eq!(told, (&json!("workspace"), &json!("closed"), &json!("app_uninstalled")));
    assert!(incident["told_at"].is_string() && incident["since"].as_str() < incident["until"].as_str());
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
    let incidents = node.get("/api/v1/incidents?state=closed").await.json();
    let [incident] = incidents["data"].as_array().unwrap().as_slice() else { panic!("{incidents}") };
    assert_eq!((&incident["kind"], &incident["workspace"]), (&json!("many"), &Value::Null));
    assert!(incident["peak"].as_u64().unwrap() >= 5, "{incident}");
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

#[actix::test]
async fn a_rotated_secret_signs_beside_the_new_one_and_goes_at_once_where_nothing_is_kept() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    let old = subscribe(&node, &receiver, &json!({})).await;
    let path = format!("/api/v1/webhooks/{}", shown(&node).await["id"].as_str().unwrap());
    let rotated = ask(&node, "POST", &format!("{path}/rotate?keep_old_hours=2"), None).await;
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert!(new != old && rotated["old_secret_until"].is_string());
    ask(&node, "POST", &format!("{path}/test"), None).await;
    let both = receiver.until("webhook.test").await;
    both.assert_signed(&old);
    both.assert_signed(&new);

    let rotated = ask(&node, "POST", &format!("{path}/rotate?keep_old_hours=0"), None).await;
    assert_eq!(rotated["old_secret_until"], Value::Null);
    ask(&node, "POST", &format!("{path}/test"), None).await;
    let alone = receiver.seen().pop().unwrap();
    alone.assert_signed(rotated["secret"].as_str().unwrap());
    assert!(!alone.is_signed(&new) && !alone.is_signed(&old));
    assert_eq!(node.post(&format!("{path}/rotate?keep_old_hours=169"), None).await.status, 400);
    node.stop().await;
}

#[actix::test]
async fn a_notice_that_was_not_taken_is_shown_and_posted_again_when_it_is_asked_for() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    // The second failure makes it wait for four seconds and more.
    receiver.answer([500, 503]);
    subscribe(&node, &receiver, &json!({ "topics": ["workspace.ready"] })).await;
    node.welcome(&[&stage.customer("acme")]).await;
    let twice = async || {
        let shown = shown(&node).await;
        (shown["counters"]["posts_refused"] == 2).then_some(shown)
    };
    let one = eventually("it is not taken twice", twice).await;
    let last = &one["last_post"];
    let told = (&last["taken"], &last["status"], &last["error"]);
    assert_eq!(told, (&json!(false), &json!(503), &json!("it answers with HTTP status 503")));
    let path = format!("/api/v1/webhooks/{}/notices", one["id"].as_str().unwrap());
    let notice = node.get(&format!("{path}?state=waiting")).await.json()["data"][0].clone();
    let id = notice["id"].as_str().unwrap().to_owned();
    assert_eq!((&id, &notice["attempts"]), (&receiver.seen()[0].id, &json!(2)));
    let again = ask(&node, "POST", &format!("{path}/{id}/resend"), None).await;
    assert_eq!((&again["id"], &again["state"]), (&json!(id), &json!("waiting")));
    let taken = async || (shown(&node).await["counters"]["posts_taken"] == 1).then_some(());
    eventually("it is taken", taken).await;
    assert!(receiver.seen().iter().all(|got| got.id == id));
    assert_eq!(node.get(&path).await.json()["data"], json!([]));
    assert_eq!(node.post(&format!("{path}/{id}/resend"), None).await.status, 404);
    node.stop().await;
}

#[actix::test]
async fn viewers_look_operators_change_and_who_sees_one_label_has_webhooks_for_it_alone() {
    let stage = Stage::new();
    let receiver = Receiver::start().await;
    let node = stage.node().await;
    subscribe(&node, &receiver, &json!({})).await;
    let token = async |role: &str, scope: Value| {
        let body = json!({ "name": format!("{role} {scope}"), "role": role, "scope": scope });
        let made = node.post("/api/v1/tokens", Some(&body)).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["token"].as_str().unwrap().to_owned()
    };
    let (viewer, tenant) = (token("viewer", Value::Null).await, token("operator", json!("tenant:42")).await);
    let list = async |token: &str| {
        let list = node.ask("GET", "/api/v1/webhooks", Some(token), None).await;
        assert!(!list.text.contains("whsec_"), "{}", list.text);
        list.json()["data"].as_array().unwrap().len()
    };
    assert_eq!((list(&viewer).await, list(&tenant).await), (1, 0));
    let url = format!("http://{}/hook", receiver.address);
    let post = async |token: &str, label: Value, topics: Value| {
        let body = json!({ "url": url, "label": label, "topics": topics });
        node.ask("POST", "/api/v1/webhooks", Some(token), Some(&body)).await
    };
    let failed = json!(["workspace.failed"]);
    assert_eq!(post(&viewer, Value::Null, failed.clone()).await.status, 403);
    for (label, topics) in [
        (Value::Null, failed.clone()),
        (json!("tenant:43"), failed.clone()),
        (json!("tenant:42"), json!([])),
        (json!("tenant:42"), json!(["incident.opened"])),
    ] {
        let refused = post(&tenant, label, topics).await;
        assert_eq!(refused.status, 403);
        assert!(refused.text.contains("tenant:42"), "it says what to send: {}", refused.text);
    }
    let made = post(&tenant, json!("tenant:42"), failed).await;
    assert_eq!((made.status, list(&tenant).await), (201, 1), "{made:?}");
    let others = shown(&node).await["id"].as_str().unwrap().to_owned();
    for (method, path) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test")]
    {
        let path = format!("/api/v1/webhooks/{others}{path}");
        let body = (method == "PATCH").then(|| json!({ "paused": true }));
        assert_eq!(
            node.ask(method, &path, Some(&tenant), body.as_ref()).await.status,
            404,
            "{method} {path}"
        );
    }
    let audit = node.get("/api/v1/audit?action=webhook.create&limit=1").await.json();
    // With their label, and told of everything: somebody who sees more has made it.
    let wide = node.post("/api/v1/webhooks", Some(&json!({ "url": url, "label": "tenant:42" }))).await.json();
    let wide = format!("/api/v1/webhooks/{}", wide["id"].as_str().unwrap());
    assert_eq!(node.ask("GET", &wide, Some(&tenant), None).await.status, 200);
    for (method, path) in [
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/test"),
        ("POST", "/notices/msg_1/resend"),
    ] {
        let body = (method == "PATCH")
            .then(|| json!({ "url": "http://other.example/", "topics": ["workspace.failed"] }));
        let refused = node.ask(method, &format!("{wide}{path}"), Some(&tenant), body.as_ref()).await;
        assert_eq!(refused.status, 403, "{method} {path}");
        assert!(!refused.text.contains("whsec_"), "{}", refused.text);
    }
    assert_eq!(audit["data"][0]["actor"].as_str().unwrap().split(' ').nth(1), Some("operator"));
    node.stop().await;
}

#[actix::test]
async fn what_was_due_when_a_node_was_killed_is_told_by_the_next_start_and_nothing_under_two_ids() {
    let receiver = Receiver::start().await;
    let site = Site::new(|_| {});
    let node = site.serve();
    let hook = json!({ "url": receiver.url(), "topics": ["workspace.uninstalled"] });
    assert_eq!(node.ask("POST", "/api/v1/webhooks", Some(&hook)).0, 201);
    let customers: Vec<_> = (0..3).map(|number| site.customer(number)).collect();
    for (number, customer) in customers.iter().enumerate() {
        join(&node, &format!("w{number}"), customer).await;
    }
    // The first gets no answer, so the others wait behind it, in the store or not there yet.
    receiver.answer([HANG]);
    for customer in &customers {
        leave(&site, customer);
    }
    receiver.until("workspace.uninstalled").await;
    drop(node.kill());

    let node = site.serve();
    let all = async || {
        let shown = node.ask("GET", "/api/v1/webhooks", None).1["data"][0].clone();
        let told: BTreeSet<_> = receiver.seen().iter().map(Got::workspace).collect();
        (told.len() == 3 && shown["waiting"] == 0 && shown["last_post"]["taken"] == true).then_some(())
    };
    eventually("all three are told", all).await;
    let ended = node.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    receiver.assert_one_id_each();
}

/// An answer that never comes.
pub(crate) const HANG: u16 = 0;

/// Registers a workspace and waits until it is ready and known whose it is.
pub(crate) async fn join(node: &Process, name: &str, customer: &SiteCustomer) {
    node.register(name, customer);
    node.state(name, "ready");
    let known = async || {
        let shown = node.ask("GET", &format!("/api/v1/workspaces/{name}"), None).1;
        shown["team_id"].is_string().then_some(())
    };
    eventually("whose it is is known", known).await;
}

/// The customer removes the app.
pub(crate) fn leave(site: &Site, customer: &SiteCustomer) {
    let event = Outgoing { template: Some(Template::AppUninstalled), ..Outgoing::default() };
    site.slack.send(&customer.app_id, event).unwrap();
}

/// Somebody's system that is told of changes.
pub(crate) struct Receiver {
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
pub(crate) struct Got {
    pub(crate) id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
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

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.inner.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn seen(&self) -> Vec<Got> {
        self.inner.seen.lock().unwrap().clone()
    }

    pub(crate) async fn until(&self, topic: &str) -> Got {
        eventually(topic, async || self.seen().into_iter().find(|got| got.topic() == topic)).await
    }
}

impl Receiver {
    /// What was told of each workspace was told under one id, however often it came.
    pub(crate) fn assert_one_id_each(&self) {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for got in self.seen() {
            ids.entry(got.workspace()).or_default().insert(got.id);
        }
        assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
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
    pub(crate) fn topic(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn workspace(&self) -> String {
        self.data()["workspace"].as_str().unwrap_or_default().to_owned()
    }

    fn data(&self) -> Value {
        self.json()["data"].clone()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn assert_signed(&self, secret: &str) {
        assert!(self.is_signed(secret), "{self:?}");
        assert!(self.id.starts_with("msg_") && self.timestamp.parse::<i64>().unwrap() > 1_600_000_000);
    }

    /// Is one of its signatures this secret's?
    fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let text = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        self.signature.split(' ').any(|signature| {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes(), &tag).is_ok()
        })
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
