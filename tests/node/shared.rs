//! Several workspaces on one Slack app, and one app that is registered twice.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;
use tautline::clock::Clock;
use tautline::ids::WorkspaceId;
use tautline::simulator::{Arm, Fault, NewApp, Outgoing, Team};
use tautline::status::{Code, State, Status};

use super::harness::{Customer, Node, PATIENCE, PROMISED, Stage, eventually};

#[actix::test]
async fn workspaces_of_one_app_share_its_socket_and_each_gets_its_own_team_s_events() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let globex = second_team(&stage, &acme, "globex", "T0GLOBEX");
    node.welcome(&[&acme, &globex]).await;
    until_team_is_known(&node, "globex").await;
    until_team_is_known(&node, "acme").await;
    for (team, workspace) in [("T0ACME", Some("acme")), ("T0GLOBEX", Some("globex")), ("T0NOBODY", None)] {
        let id = send_for(&stage, &acme, team);
        let owner = match workspace {
            Some(name) => Some(id_of(&stage, name).await),
            None => None,
        };
        assert_eq!(node.seen.until(&id).await.workspace, owner, "{team}");
    }
    assert_eq!(stage.look(&acme, |app| app.sockets.len()), 1, "one connection for both");
    assert_eq!(node.delete("globex").await.status, 204);
    eventually("whose workspace is gone is nobody's", async || {
        let id = send_for(&stage, &acme, "T0GLOBEX");
        node.seen.until(&id).await.workspace.is_none().then_some(())
    })
    .await;
    stage.until_settled(&acme).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn a_workspace_wanted_off_is_off_and_gets_nothing_while_another_keeps_the_app_on_line() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let globex = second_team(&stage, &acme, "globex", "T0GLOBEX");
    node.welcome(&[&acme, &globex]).await;
    until_team_is_known(&node, "acme").await;
    until_team_is_known(&node, "globex").await;
    let globex_id = id_of(&stage, "globex").await;
    let off = node.post("/api/v1/workspaces/globex/disconnect?wait=10s", None).await;
    assert_eq!(off.status, 200, "{off:?}");
    let shown = off.json();
    let told = |shown: &Value| json!([shown["state"], shown["health"], shown["sockets"]]);
    assert_eq!(told(&shown), json!(["disconnected", "off", []]));
    let id = send_for(&stage, &acme, "T0GLOBEX");
    assert_eq!(node.seen.until(&id).await.workspace, None);

    assert_eq!(node.post("/api/v1/workspaces/globex/connect?wait=10s", None).await.status, 200);
    assert_eq!(node.workspace("globex").await["state"], "ready");
    let id = send_for(&stage, &acme, "T0GLOBEX");
    assert_eq!(node.seen.until(&id).await.workspace, Some(globex_id));
    node.assert_always_ready("acme").await;
    stage.until_settled(&acme).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn an_organisation_s_install_gets_the_events_of_all_its_teams_but_those_with_a_workspace_of_their_own()
{
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    let org = second_team(&stage, &acme, "org", "E0ORG");
    node.welcome(&[&acme, &org]).await;
    until_team_is_known(&node, "org").await;
    until_team_is_known(&node, "acme").await;
    let (acme_id, org_id) = (id_of(&stage, "acme").await, id_of(&stage, "org").await);
    for (team, enterprise, owner) in
        [("T0SEVEN", Some("E0ORG"), org_id), ("T0ACME", None, acme_id), ("T0ANY", Some("E0ORG"), org_id)]
    {
        let id = format!("Ev0{team}");
        let payload = json!({
            "type": "event_callback", "event_id": id, "team_id": team, "enterprise_id": enterprise,
            "event": {"type": "message"},
            "authorizations": [{"team_id": team, "enterprise_id": enterprise, "is_enterprise_install": enterprise.is_some()}],
        });
        stage.slack.send(&acme.app_id, Outgoing { payload: Some(payload), ..Outgoing::default() }).unwrap();
        assert_eq!(node.seen.until(&id).await.workspace, Some(owner), "{team}");
    }
    node.stop().await;
}

#[actix::test]
async fn an_organisation_s_install_without_a_bot_token_learns_its_organisation_from_its_first_event() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    assert_eq!(node.put("acme", &json!({ "app_token": acme.app_token })).await.status, 201);
    node.ready("acme").await;
    let acme_id = id_of(&stage, "acme").await;
    for team in ["T0SEVEN", "T0EIGHT"] {
        let id = send_for_organisation(&stage, &acme, team);
        assert_eq!(node.seen.until(&id).await.workspace, Some(acme_id), "{team}");
        until_team_is_known(&node, "acme").await;
    }
    let shown = node.workspace("acme").await;
    assert_eq!((&shown["team_id"], &shown["enterprise_id"]), (&Value::Null, &json!("E0ORG")));
    node.stop().await;
}

#[actix::test]
async fn what_slack_says_of_a_bot_token_overrides_what_was_learnt_before() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    assert_eq!(node.put("acme", &json!({ "app_token": acme.app_token })).await.status, 201);
    node.ready("acme").await;
    let id = send_for(&stage, &acme, "T0ELSE");
    node.seen.until(&id).await;
    until_team_is_known(&node, "acme").await;
    let org = second_team(&stage, &acme, "org", "E0ORG");
    assert_eq!(node.put("acme", &json!({ "bot_token": org.bot_token })).await.status, 200);
    eventually("the organisation is known", async || {
        let shown = node.workspace("acme").await;
        (shown["enterprise_id"] == "E0ORG" && shown["team_id"].is_null()).then_some(())
    })
    .await;
    let id = send_for_organisation(&stage, &acme, "T0SEVEN");
    assert_eq!(node.seen.until(&id).await.workspace, Some(id_of(&stage, "acme").await));
    node.stop().await;
}

#[actix::test]
async fn of_an_app_registered_twice_under_tokens_that_do_not_tell_the_younger_fails_at_hello() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (older, younger) = twins(&stage);
    node.welcome(&[&older]).await;
    assert_eq!(node.put("younger", &younger.body()).await.status, 201);
    node.failed("younger", Code::DuplicateInstallation).await;
    assert_eq!(node.ready("older").await.reason, None);
    stage.until(&older, "the younger's socket goes", |app| app.live_sockets() == 1).await;
    node.assert_always_ready("older").await;
    comes_back_when_the_older_is_removed(&node).await;
    node.stop().await;
}

#[actix::test]
async fn the_younger_fails_even_where_it_was_the_first_to_say_hello() {
    let stage = Stage::new();
    let node = stage.node().await;
    let (older, younger) = twins(&stage);
    let off = |customer: &Customer| {
        let mut body = customer.body();
        body["desired"] = "disconnected".into();
        body
    };
    assert_eq!(node.put("older", &off(&older)).await.status, 201);
    node.welcome(&[&younger]).await;
    let mut on = older.body();
    on["desired"] = "connected".into();
    assert_eq!(node.put("older", &on).await.status, 200);
    node.failed("younger", Code::DuplicateInstallation).await;
    node.ready("older").await;
    stage.until(&older, "the younger's socket goes", |app| app.live_sockets() == 1).await;
    assert_eq!(node.workspace("younger").await["reason"]["code"], "duplicate_installation");
    comes_back_when_the_older_is_removed(&node).await;
    node.stop().await;
}

/// What its reason tells to do helps, and nothing else has to be done.
async fn comes_back_when_the_older_is_removed(node: &Node) {
    assert_eq!(node.delete("older").await.status, 204);
    node.until("younger", |status| status.state == State::Ready, PATIENCE).await;
    eventually("the app is the younger's alone", async || {
        let younger = node.workspace("younger").await;
        (younger["health"] == "ok" && younger["app_id"] == "A0TWIN").then_some(())
    })
    .await;
}

#[actix::test]
async fn a_second_workspace_of_one_installation_fails_and_takes_nothing_from_the_first() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    until_team_is_known(&node, "acme").await;
    assert_eq!(node.put("again", &acme.body()).await.status, 201);
    let status = node.until("again", has_second, PROMISED).await;
    assert_eq!((status.state, status.warnings), (State::Ready, vec![]), "the app's connection is as it was");
    let again = node.workspace("again").await;
    assert_eq!((&again["state"], &again["health"]), (&json!("failed"), &json!("down")));
    assert_eq!(again["reason"]["code"], "duplicate_installation");
    let first = node.workspace("acme").await;
    assert_eq!(
        (&first["state"], &first["health"], &first["reason"]),
        (&json!("ready"), &json!("ok"), &Value::Null)
    );
    let id = send_for(&stage, &acme, "T0ACME");
    assert_eq!(node.seen.until(&id).await.workspace, Some(id_of(&stage, "acme").await));
    assert_eq!(node.delete("again").await.status, 204);
    node.until("acme", |status| !has_second(status), PROMISED).await;
    node.assert_always_ready("acme").await;
    node.stop().await;
}

#[actix::test]
async fn a_refused_question_whose_the_bot_token_is_is_asked_again_when_slack_allows_and_warned_of_until_then()
{
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    until_team_is_known(&node, "acme").await;
    let globex = second_team(&stage, &acme, "globex", "T0GLOBEX");
    let limit = || Fault::ApiStatus {
        method: Some("auth.test".into()),
        status: 429,
        retry_after: Some(2),
        body: None,
    };
    stage.slack.arm(Some(&acme.app_id), Arm::once(limit())).unwrap();
    let clock = Clock::start();
    let began = clock.mono();
    node.welcome(&[&globex]).await;
    eventually("the workspace is not well", async || {
        (node.workspace("globex").await["health"] == "degraded").then_some(())
    })
    .await;
    let shown = node.workspace("globex").await;
    assert_eq!(shown["warnings"], json!(["bot_token_unchecked"]));
    assert_eq!(node.workspace("acme").await["health"], "ok", "the other notices nothing");
    until_team_is_known(&node, "globex").await;
    let took = clock.mono().saturating_sub(began);
    assert!(took >= Duration::from_secs(2), "not before Slack allows: {took:?}");
    let id = send_for(&stage, &acme, "T0GLOBEX");
    assert_eq!(node.seen.until(&id).await.workspace, Some(id_of(&stage, "globex").await));
    let shown = node.workspace("globex").await;
    assert_eq!((&shown["health"], &shown["warnings"]), (&json!("ok"), &json!([])));
    node.stop().await;
}

#[actix::test]
async fn a_workspace_on_a_shared_app_that_nothing_tells_apart_is_not_well_until_it_has_a_bot_token() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    until_team_is_known(&node, "acme").await;
    let globex = second_team(&stage, &acme, "globex", "T0GLOBEX");
    assert_eq!(node.put("globex", &json!({"app_token": globex.app_token})).await.status, 201);
    let gist = async |name: &str| {
        let shown = node.workspace(name).await;
        (shown["health"].clone(), shown["reason"]["code"].clone(), shown["warnings"].clone())
    };
    let (well, missing) = ((json!("ok"), Value::Null, json!([])), json!("bot_token_missing"));
    let unwell = (json!("degraded"), missing.clone(), json!([missing]));
    eventually("it is not well", async || (gist("globex").await == unwell).then_some(())).await;
    assert_eq!(gist("acme").await, well, "the other notices nothing");
    let id = send_for(&stage, &acme, "T0GLOBEX");
    assert_eq!(node.seen.until(&id).await.workspace, None);

    assert_eq!(node.put("globex", &globex.body()).await.status, 200);
    until_team_is_known(&node, "globex").await;
    eventually("it is well", async || (gist("globex").await == well).then_some(())).await;
    // Its team is known now: nothing more is asked of its bot token.
    assert_eq!(node.put("globex", &json!({"bot_token": null})).await.status, 200);
    let id = send_for(&stage, &acme, "T0GLOBEX");
    assert_eq!(node.seen.until(&id).await.workspace, Some(id_of(&stage, "globex").await));
    assert_eq!(gist("globex").await, well);
    node.stop().await;
}

#[actix::test]
async fn a_refused_bot_token_is_noticed_though_the_first_question_was_in_vain() {
    let stage = Stage::with_options(|options| options.auto_register = false);
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    until_team_is_known(&node, "acme").await;
    let broken =
        Fault::ApiStatus { method: Some("auth.test".into()), status: 503, retry_after: None, body: None };
    stage.slack.arm(None, Arm::once(broken)).unwrap();
    assert_eq!(node.put("acme", &json!({ "bot_token": "xoxb-nobody-knows-this" })).await.status, 200);
    eventually("the refusal is noticed", async || {
        (node.workspace("acme").await["reason"]["code"] == "bot_token_revoked").then_some(())
    })
    .await;
    node.stop().await;
}

#[actix::test]
async fn the_second_workspace_of_one_installation_is_ready_once_the_first_is_removed() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    until_team_is_known(&node, "acme").await;
    assert_eq!(node.put("again", &acme.body()).await.status, 201);
    node.until("again", has_second, PROMISED).await;
    assert_eq!(node.delete("acme").await.status, 204);
    node.until("again", |status| !has_second(status), PROMISED).await;
    until_team_is_known(&node, "again").await;
    let again = node.workspace("again").await;
    assert_eq!((&again["state"], &again["health"]), (&json!("ready"), &json!("ok")));
    let id = send_for(&stage, &acme, "T0ACME");
    assert_eq!(node.seen.until(&id).await.workspace, Some(id_of(&stage, "again").await));
    node.stop().await;
}

/// Two customers with tokens of one app whose texts do not tell.
fn twins(stage: &Stage) -> (Customer, Customer) {
    let twin = |name: &str| {
        let customer = Customer {
            name: name.to_owned(),
            app_id: "A0TWIN".to_owned(),
            app_token: format!("xapp-{name}-0123456789abcdef"),
            team_id: format!("T0{}", name.to_ascii_uppercase()),
            bot_token: format!("xoxb-{name}-0123456789abcdef"),
        };
        let team = Team {
            team_id: customer.team_id.clone(),
            bot_token: Some(customer.bot_token.clone()),
            enterprise_id: None,
        };
        add(stage, &customer, team);
        customer
    };
    (twin("older"), twin("younger"))
}

/// The app of a customer, installed in one more team.
fn second_team(stage: &Stage, of: &Customer, name: &str, team: &str) -> Customer {
    let bot_token = format!("xoxb-{name}-0123456789abcdef");
    let customer = Customer {
        name: name.to_owned(),
        team_id: team.to_owned(),
        bot_token: bot_token.clone(),
        ..of.clone()
    };
    add(stage, &customer, Team { team_id: team.to_owned(), bot_token: Some(bot_token), enterprise_id: None });
    customer
}

fn add(stage: &Stage, customer: &Customer, team: Team) {
    let (app_token, slack_app_id) = (customer.app_token.clone(), Some(customer.app_id.clone()));
    stage
        .slack
        .add_app(NewApp { app_token, slack_app_id, teams: vec![team] })
        .expect("the app is well formed");
}

fn send_for(stage: &Stage, customer: &Customer, team: &str) -> String {
    let what = Outgoing { team_id: Some(team.to_owned()), ..Outgoing::default() };
    stage.slack.send(&customer.app_id, what).expect("there is a socket")
}

/// An event of an installation in a whole organisation that happened in this team.
fn send_for_organisation(stage: &Stage, customer: &Customer, team: &str) -> String {
    let id = format!("Ev0{team}");
    let payload = json!({
        "type": "event_callback", "event_id": id, "team_id": team, "enterprise_id": "E0ORG",
        "event": {"type": "message"},
        "authorizations": [{"team_id": team, "enterprise_id": "E0ORG", "is_enterprise_install": true}],
    });
    let what = Outgoing { payload: Some(payload), ..Outgoing::default() };
    stage.slack.send(&customer.app_id, what).expect("there is a socket");
    id
}

async fn id_of(stage: &Stage, name: &str) -> WorkspaceId {
    let mut db = stage.database.connect().await;
    let id = sqlx::query_scalar(
        "select cast(id as bigint) from workspaces where name = $1 and deleted_at is null",
    )
    .bind(name)
    .fetch_one(&mut db)
    .await
    .expect("the workspace is stored");
    db.close().await.expect("the reader closes");
    WorkspaceId(id)
}

async fn until_team_is_known(node: &Node, name: &str) {
    eventually("the team is known", async || {
        let workspace = node.workspace(name).await;
        (!workspace["team_id"].is_null() || !workspace["enterprise_id"].is_null()).then_some(())
    })
    .await;
}

/// Is one of the app's workspaces the second in its team?
fn has_second(status: &Status) -> bool {
    status.marks.iter().any(|(_, code)| *code == Code::DuplicateInstallation)
}
