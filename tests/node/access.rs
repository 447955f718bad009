//! Who may use the admin API of a real node, what they see, and what is written down of what they do.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use tautline::simulator::{Outgoing, Template};

use super::harness::{ADMIN_TOKEN, Node, PATIENCE, Stage, eventually};
use super::uninstall::install;

#[actix::test]
async fn a_tenants_token_brings_its_workspace_online_and_sees_nothing_else() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, globex) = (stage.customer("acme"), stage.customer("globex"));
    node.welcome(&[&globex]).await;
    let new = json!({"name": "tenant 42", "role": "operator", "scope": "tenant:42"});
    let theirs = create(&node, &new).await;
    let mut body = acme.body();
    let path = "/api/v1/workspaces/acme";
    assert_eq!(node.ask("PUT", path, Some(&theirs), Some(&body)).await.status, 403, "without its label");
    body["labels"] = json!({"tenant": "42"});
    assert_eq!(node.ask("PUT", path, Some(&theirs), Some(&body)).await.status, 201);
    node.ready("acme").await;
    let check = node.ask("POST", "/api/v1/workspaces/check", Some(&theirs), Some(&acme.body())).await;
    assert_eq!((check.status, &check.json()["app_id"]), (200, &json!(acme.app_id)), "{check:?}");
    let lines = "id,app_token,label.tenant\nglobex,xapp-new,42\nnew,xapp-new,43\nmine,xapp-new,42\n";
    for query in ["?dry_run=true", ""] {
        let path = format!("/api/v1/workspaces/import{query}");
        let told = node.post_text(&path, &theirs, "text/csv", lines.to_owned()).await.json();
        let outcomes: Vec<_> =
            told["lines"].as_array().unwrap().iter().map(|line| line["code"].clone()).collect();
        assert_eq!(outcomes, [json!("not_found"), json!("forbidden"), Value::Null], "{query}: {told}");
        assert_eq!(told["lines"][2]["outcome"], "created");
    }
    assert_eq!(node.delete("mine").await.status, 204);
    let list = node.ask("GET", "/api/v1/workspaces", Some(&theirs), None).await.json();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, ["acme"]);
    for method in ["GET", "DELETE"] {
        let answer = node.ask(method, "/api/v1/workspaces/globex", Some(&theirs), None).await;
        assert_eq!(answer.status, 404, "{method}");
    }
    assert_eq!(node.ask("GET", "/metrics", Some(&theirs), None).await.status, 403);
    node.ready("globex").await;

    let audit = node.get("/api/v1/audit?workspace=acme").await.json();
    let entry = &audit["data"][0];
    assert_eq!((&entry["action"], &entry["actor"]), (&json!("workspace.create"), &json!("tok_1 tenant 42")));
    assert_eq!(entry["changes"]["labels"], json!({"from": null, "to": {"tenant": "42"}}));
    assert!(!audit.to_string().contains("0123456789abcdef"), "{audit}");
    node.stop().await;
}

#[actix::test]
async fn a_tenant_with_an_invented_token_does_not_sit_down_on_anothers_app() {
    let stage = Stage::new();
    let node = stage.node().await;
    let victim = stage.customer("victim");
    node.welcome(&[&victim]).await;
    let new = json!({"name": "tenant 42", "role": "operator", "scope": "tenant:42"});
    let theirs = create(&node, &new).await;
    let invented = format!("xapp-1-{}-1-invented", victim.app_id);
    let body = json!({"app_token": invented, "labels": {"tenant": "42"}, "links": 9});
    let put = node.ask("PUT", "/api/v1/workspaces/mine", Some(&theirs), Some(&body)).await;
    assert_eq!((put.status, &put.json()["code"]), (403, &json!("forbidden")), "{put:?}");
    node.assert_always_ready("victim").await;
    assert_eq!(stage.look(&victim, |app| app.counts.sockets), 1);
    let check = node.ask("POST", "/api/v1/workspaces/check", Some(&theirs), Some(&victim.body())).await;
    assert_eq!((check.status, &check.json()["ok"]), (200, &json!(true)), "no word of another's workspace");
    node.stop().await;
}

#[actix::test]
async fn a_stream_tells_each_state_on_the_way_and_ends_when_the_node_stops() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let address = format!("http://{}/api/v1/stream", node.app.address());
    let request = awc::Client::default().get(address).bearer_auth(ADMIN_TOKEN).timeout(PATIENCE);
    let mut answer = request.send().await.expect("the node answers");
    assert_eq!(answer.status(), 200);
    node.welcome(&[&acme]).await;
    let mut text = String::new();
    while !text.contains("\"state\":\"ready\"") {
        text.push_str(&chunk(&mut answer).await.expect("the stream goes on"));
    }
    let states: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter_map(|data: Value| data.get("state").cloned())
        .collect();
    assert_eq!(states.first(), Some(&json!("connecting")), "{text}");
    let (stopped, rest) = futures_util::join!(node.stop(), async {
        let mut rest = String::new();
        while let Some(chunk) = chunk(&mut answer).await {
            rest.push_str(&chunk);
        }
        rest
    });
    let () = stopped;
    assert!(rest.ends_with("event: stream.end\ndata: {\"reason\":\"stopping\"}\n\n"), "{rest}");
}

#[actix::test]
async fn the_stream_tells_of_one_workspace_what_its_app_s_connection_does_not_notice() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    let address = format!("http://{}/api/v1/stream", node.app.address());
    let request = awc::Client::default().get(address).bearer_auth(ADMIN_TOKEN).timeout(PATIENCE);
    let mut answer = request.send().await.expect("the node answers");
    let template = Some(Template::AppUninstalled);
    let event = Outgoing { template, team_id: Some(acme.team_id.clone()), ..Outgoing::default() };
    stage.slack.send(&acme.app_id, event).unwrap();
    let told = until_told(&mut answer, |data| data["state"] == "failed").await;
    assert_eq!((&told["workspace"], &told["previous"]), (&json!("acme"), &json!("ready")));
    assert_eq!((&told["health"], &told["reason"]["code"]), (&json!("down"), &json!("app_uninstalled")));
    let stats = node.get("/api/v1/stats").await.json();
    assert_eq!(stats["workspaces"]["by_reason"], json!({"app_uninstalled": 1}));
    eventually("the timeline has it", async || {
        let timeline = node.get("/api/v1/workspaces/acme/timeline").await.json();
        let newest = &timeline["data"][0];
        let codes = (newest["from"] == "ready", newest["to"] == "failed", &newest["reason"]["code"]);
        (codes == (true, true, &json!("app_uninstalled"))).then_some(())
    })
    .await;
    // Wanted off and on mends it.
    node.put("acme", &json!({ "desired": "disconnected" })).await;
    until_told(&mut answer, |data| data["state"] == "disconnected").await;
    // Slack is asked about the bot token then, and takes it from who has installed the app again.
    install(&stage, &acme, &acme.bot_token);
    node.put("acme", &json!({ "desired": "connected" })).await;
    until_told(&mut answer, |data| data["state"] == "ready").await;
    node.stop().await;
}

#[actix::test]
async fn the_stream_tells_of_a_workspace_that_is_held_back_or_wanted_off_beside_others_of_its_app() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    let address = format!("http://{}/api/v1/stream", node.app.address());
    let request = awc::Client::default().get(address).bearer_auth(ADMIN_TOKEN).timeout(PATIENCE);
    let mut answer = request.send().await.expect("the node answers");
    assert_eq!(node.put("beta", &json!({ "app_token": acme.app_token })).await.status, 201);
    until_told(&mut answer, |data| data["workspace"] == "beta" && data["state"] == "ready").await;
    let template = Some(Template::AppRateLimited);
    let event = Outgoing { template, team_id: Some(acme.team_id.clone()), ..Outgoing::default() };
    stage.slack.send(&acme.app_id, event).unwrap();
    // Beta, which has no bot token on a shared app, is degraded for that, sooner or later than this.
    let is_acme = |data: &Value| data["workspace"] == "acme" && data["health"] == "degraded";
    let told = until_told(&mut answer, is_acme).await;
    assert_eq!(
        (&told["workspace"], &told["state"], &told["reason"]["code"]),
        (&json!("acme"), &json!("ready"), &json!("app_rate_limited"))
    );
    assert_eq!(node.put("beta", &json!({ "desired": "disconnected" })).await.status, 200);
    let told = until_told(&mut answer, |data| data["health"] == "off").await;
    assert_eq!(
        (&told["workspace"], &told["state"], &told["previous"]),
        (&json!("beta"), &json!("disconnected"), &json!("ready"))
    );
    assert_eq!(node.workspace("beta").await["health"], "off");
    node.assert_always_ready("acme").await;
    node.stop().await;
}

async fn known(node: &Node, name: &str) {
    let known = async || (node.workspace(name).await["team_id"] != Value::Null).then_some(());
    eventually("whose it is is known", known).await;
}

/// The last of what the stream says that is meant.
async fn until_told<S>(answer: &mut S, is_meant: impl Fn(&Value) -> bool) -> Value
where
    S: futures_util::Stream<Item = Result<actix_web::web::Bytes, awc::error::PayloadError>> + Unpin,
{
    let mut text = String::new();
    loop {
        text.push_str(&chunk(answer).await.expect("the stream goes on"));
        let mut lines =
            text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
        if let Some(told) = lines.rfind(&is_meant) {
            return told;
        }
    }
}

/// Has a token made; its text.
async fn create(node: &Node, new: &Value) -> String {
    let made = node.ask("POST", "/api/v1/tokens", Some(ADMIN_TOKEN), Some(new)).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["token"].as_str().expect("its text").to_owned()
}

async fn chunk<S>(answer: &mut S) -> Option<String>
where
    S: futures_util::Stream<Item = Result<actix_web::web::Bytes, awc::error::PayloadError>> + Unpin,
{
    let next = tokio::time::timeout(PATIENCE, answer.next()).await;
    let bytes = next.expect("something comes")?.expect("the stream is whole");
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
