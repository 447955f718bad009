//! What Slack says of one workspace: uninstalled, its bot token revoked, its events held back. The app's other workspaces notice
//! nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tautline::simulator::{NewApp, Outgoing, Team, Template};

use super::harness::{Customer, Node, Stage, eventually};

#[actix::test]
async fn an_uninstalled_workspace_has_failed_and_the_other_on_its_app_notices_nothing() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, beta) = two_on_one_app(&stage, &node).await;
    let id = send(&stage, &acme, &acme, Template::AppUninstalled);
    until_failed(&node, "acme", "app_uninstalled").await;
    let event = node.seen.until(&id).await;
    assert_eq!(&*event.kind_type, "app_uninstalled", "it is handed on like any event");
    let shown = node.workspace("acme").await;
    assert_eq!(shown["reason"]["actor"], "customer");
    assert_eq!(shown["next_attempt_at"], Value::Null);

    let other = node.workspace("beta").await;
    assert_eq!(told(&other), json!(["ready", "ok", null, []]));
    let after = send(&stage, &acme, &beta, Template::Message);
    node.seen.until(&after).await;
    assert_eq!(stage.look(&acme, |app| app.counts.sockets), 1, "the socket is the app's");
    node.assert_always_ready("beta").await;
    node.stop().await;
}

#[actix::test]
async fn a_workspace_stays_uninstalled_over_a_restart_and_leaves_by_a_new_bot_token() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    send(&stage, &acme, &acme, Template::AppUninstalled);
    until_failed(&node, "acme", "app_uninstalled").await;
    node.stop().await;

    let node = stage.node().await;
    node.ready("acme").await;
    assert_eq!(told(&node.workspace("acme").await), json!(["failed", "down", "app_uninstalled", []]));
    // The same body again says nothing new.
    node.put("acme", &acme.body()).await;
    assert_eq!(node.workspace("acme").await["state"], "failed");

    let new_token = reinstall(&stage, &acme);
    assert_eq!(node.put("acme", &json!({ "bot_token": new_token })).await.status, 200);
    assert_eq!(told(&node.workspace("acme").await), json!(["ready", "ok", null, []]));
    node.stop().await;
}

#[actix::test]
async fn an_uninstalled_workspace_that_slack_takes_again_leaves_by_connect_reconnect_and_the_action_for_many()
{
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    let many = json!({ "action": "connect", "filter": { "state": "failed" } });
    for (verb, body) in
        [("acme/connect", None), ("acme/reconnect", None), ("actions", Some(&many)), ("acme/connect", None)]
    {
        send(&stage, &acme, &acme, Template::AppUninstalled);
        until_failed(&node, "acme", "app_uninstalled").await;
        install(&stage, &acme, &acme.bot_token);
        let answer = node.post(&format!("/api/v1/workspaces/{verb}"), body).await;
        assert!(answer.status < 300, "{answer:?}");
        let mended =
            async || (told(&node.workspace("acme").await) == json!(["ready", "ok", null, []])).then_some(());
        eventually(verb, mended).await;
    }
    let audit = node.get("/api/v1/audit?workspace=acme&limit=1").await.json();
    let changes = &audit["data"][0]["changes"];
    assert_eq!(changes, &json!({ "trouble": { "from": "app_uninstalled", "to": null } }));
    node.stop().await;
}

#[actix::test]
async fn a_workspace_that_slack_still_refuses_has_failed_again_soon_after_it_was_connected() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    send(&stage, &acme, &acme, Template::AppUninstalled);
    until_failed(&node, "acme", "app_uninstalled").await;
    assert_eq!(node.post("/api/v1/workspaces/acme/connect", None).await.status, 200);
    until_failed(&node, "acme", "bot_token_revoked").await;
    node.stop().await;
}

#[actix::test]
async fn an_uninstalled_workspace_leaves_by_being_wanted_off_and_on() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    send(&stage, &acme, &acme, Template::AppUninstalled);
    until_failed(&node, "acme", "app_uninstalled").await;
    install(&stage, &acme, &acme.bot_token);
    node.put("acme", &json!({ "desired": "disconnected" })).await;
    let off = async || (node.workspace("acme").await["state"] == "disconnected").then_some(());
    eventually("the workspace is off", off).await;
    node.put("acme", &json!({ "desired": "connected" })).await;
    node.ready("acme").await;
    assert_eq!(told(&node.workspace("acme").await), json!(["ready", "ok", null, []]));
    node.stop().await;
}

#[actix::test]
async fn a_revoked_bot_token_is_told_by_its_event_where_slack_refuses_the_stored_one() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    send(&stage, &acme, &acme, Template::TokensRevoked);
    until_failed(&node, "acme", "bot_token_revoked").await;
    // Uninstalling says more, whichever comes first.
    send(&stage, &acme, &acme, Template::AppUninstalled);
    until_failed(&node, "acme", "app_uninstalled").await;
    node.stop().await;
}

#[actix::test]
async fn a_bot_token_that_slack_refuses_when_it_is_put_in_place_fails_its_workspace_and_a_good_one_mends_it()
{
    let stage = Stage::with_options(|options| options.auto_register = false);
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    known(&node, "acme").await;
    node.put("acme", &json!({ "bot_token": "xoxb-nobody-knows-this" })).await;
    until_failed(&node, "acme", "bot_token_revoked").await;
    node.put("acme", &json!({ "bot_token": acme.bot_token })).await;
    assert_eq!(told(&node.workspace("acme").await), json!(["ready", "ok", null, []]));
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn a_limited_workspace_is_degraded_and_the_other_is_not() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (acme, _) = two_on_one_app(&stage, &node).await;
    let before = tautline::clock::Clock::start().now().wall_ms;
    send(&stage, &acme, &acme, Template::AppRateLimited);
    let limited = async || (node.workspace("acme").await["health"] == "degraded").then_some(());
    eventually("the limit shows", limited).await;
    let shown = node.workspace("acme").await;
    assert_eq!(told(&shown), json!(["ready", "degraded", "app_rate_limited", ["app_rate_limited"]]));
    assert_eq!(told(&node.workspace("beta").await), json!(["ready", "ok", null, []]));
    let mut db = node.reader().await;
    let until: i64 = sqlx::query_scalar("select limited_until from workspaces where name = 'acme'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let lasts = Duration::from_millis(until.saturating_sub(before).unsigned_abs());
    assert!(lasts <= Duration::from_mins(2), "it ends by itself: {lasts:?}");
    sqlx::Connection::close(db).await.unwrap();
    node.stop().await;
}

/// Two customers' workspaces on the first one's app, both known to be theirs.
async fn two_on_one_app(stage: &Stage, node: &Node) -> (Customer, Customer) {
    let (acme, beta) = (stage.customer("acme"), stage.customer("beta"));
    let teams = [&acme, &beta].map(|customer| Team {
        team_id: customer.team_id.clone(),
        bot_token: Some(customer.bot_token.clone()),
        enterprise_id: None,
    });
    let app = NewApp {
        app_token: acme.app_token.clone(),
        slack_app_id: Some(acme.app_id.clone()),
        teams: teams.into(),
    };
    stage.slack.add_app(app).unwrap();
    for customer in [&acme, &beta] {
        let body = json!({ "app_token": acme.app_token, "bot_token": customer.bot_token });
        assert_eq!(node.put(&customer.name, &body).await.status, 201);
        node.ready(&customer.name).await;
        known(node, &customer.name).await;
    }
    (acme, beta)
}

async fn known(node: &Node, name: &str) {
    let known = async || (node.workspace(name).await["team_id"] != Value::Null).then_some(());
    eventually("whose it is is known", known).await;
}

/// The customer installs the app again: a new bot token.
fn reinstall(stage: &Stage, customer: &Customer) -> String {
    let bot_token = format!("{}-again", customer.bot_token);
    install(stage, customer, &bot_token);
    bot_token
}

/// Slack takes this bot token from now on.
pub(super) fn install(stage: &Stage, customer: &Customer, bot_token: &str) {
    let team =
        Team { team_id: customer.team_id.clone(), bot_token: Some(bot_token.into()), enterprise_id: None };
    let app = NewApp {
        app_token: customer.app_token.clone(),
        slack_app_id: Some(customer.app_id.clone()),
        teams: vec![team],
    };
    stage.slack.add_app(app).unwrap();
}

/// Sends an event on `on`'s app for `of`'s team.
fn send(stage: &Stage, on: &Customer, of: &Customer, template: Template) -> String {
    let event =
        Outgoing { template: Some(template), team_id: Some(of.team_id.clone()), ..Outgoing::default() };
    stage.slack.send(&on.app_id, event).unwrap()
}

async fn until_failed(node: &Node, name: &str, code: &str) {
    let failed = async || {
        let shown = node.workspace(name).await;
        (shown["state"] == "failed" && shown["reason"]["code"] == code).then_some(())
    };
    eventually("the workspace has failed", failed).await;
}

fn told(shown: &Value) -> Value {
    json!([shown["state"], shown["health"], shown["reason"]["code"], shown["warnings"]])
}
