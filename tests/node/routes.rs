//! Routes: who gets which events, changed while a node runs, and what an ack means by them.

use std::fs;

use serde_json::{Value, json};
use sqlx::Connection as _;
use tautline::config::Ack;
use tautline::handlers::Options as Limits;
use tautline::simulator::{AppRecord, Outcome as Fate, Outgoing, Template};

use super::harness::{ADMIN_TOKEN, Answer, Customer, Node, Seen, Stage, eventually};
use super::process::{self, Process, Site};

#[actix::test]
async fn a_route_changed_at_run_time_sends_the_next_events_elsewhere() {
    let stage = Stage::new();
    let (node, bridge) = with_bridge(&stage, Ack::Stored).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let first = send(&stage, &acme, Template::Message);
    node.seen.until(&first).await;
    bridge.until(&first).await;

    assert_eq!(put(&node, "all", &json!({"handler": "bridge"})).await.status, 201);
    let second = send(&stage, &acme, Template::Message);
    bridge.until(&second).await;
    let elsewhere = json!({"handler": "recorder", "match": {"types": ["mess*"]}});
    assert_eq!(put(&node, "all", &elsewhere).await.status, 200);
    let third = send(&stage, &acme, Template::Message);
    node.seen.until(&third).await;
    assert_eq!(delete(&node, "all").await.status, 204);
    let fourth = send(&stage, &acme, Template::Message);
    node.seen.until(&fourth).await;
    bridge.until(&fourth).await;
    assert_eq!(ids(&node.seen), [&*first, &*third, &*fourth]);
    assert_eq!(ids(&bridge), [&*first, &*second, &*fourth]);
    stage.until_settled(&acme).await;
    stage.assert_flawless(&acme);
    node.stop().await;
}

#[actix::test]
async fn what_no_route_gives_anybody_is_acked_kept_and_counted_and_nobody_gets_it() {
    let stage = Stage::new();
    let (node, bridge) = with_bridge(&stage, Ack::Stored).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    put(&node, "mentions", &json!({"handler": "bridge", "match": {"types": ["app_mention"]}})).await;
    let unwanted = send(&stage, &acme, Template::Message);
    stage.until(&acme, "it is acked", |app| fate(app, &unwanted) == Some(Fate::Acked)).await;
    assert!(node.has_on_disk(&unwanted).await);
    let wanted = send(&stage, &acme, Template::AppMention);
    bridge.until(&wanted).await;
    let counted = "tautline_events_unrouted_total 1";
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    put(&node, "all", &json!({"handler": "recorder"})).await;
    let last = send(&stage, &acme, Template::Message);
    node.seen.until(&last).await;
    assert_eq!((ids(&node.seen), ids(&bridge)), (vec![last], vec![wanted]));
    node.stop().await;
}

#[actix::test]
async fn interactions_and_commands_find_their_handlers_by_their_ids() {
    let stage = Stage::new();
    let (node, bridge) = with_bridge(&stage, Ack::Stored).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let payload = |id: &str| json!({"type": "shortcut", "callback_id": id, "team": {"id": acme.team_id}, "user": {"id": "U1"}, "is_enterprise_install": false});
    let shortcut = |id: &str| Outgoing {
        kind: Some("interactive".to_owned()),
        payload: Some(payload(id)),
        ..Outgoing::default()
    };
    put(&node, "ids", &json!({"handler": "bridge", "match": {"callback_ids": ["deploy_*"]}})).await;
    put(&node, "commands", &json!({"handler": "recorder", "match": {"commands": ["*"]}})).await;
    stage.slack.send(&acme.app_id, shortcut("other")).unwrap();
    stage.slack.send(&acme.app_id, shortcut("deploy_now")).unwrap();
    send(&stage, &acme, Template::SlashCommand);
    let got = bridge.until_any("the shortcut", |_| true).await;
    assert!(got.payload.contains("deploy_now"), "{}", got.payload);
    let command = node.seen.until_any("the command", |_| true).await;
    assert_eq!(command.kind.as_str(), "slash_commands");
    stage.until_settled(&acme).await;
    node.stop().await;
}

#[actix::test]
async fn a_workspace_comes_and_goes_from_a_route_with_its_labels() {
    let stage = Stage::new();
    let (node, bridge) = with_bridge(&stage, Ack::Stored).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    put(&node, "gold", &json!({"handler": "bridge", "match": {"labels": ["tier:gold"]}})).await;
    put(&node, "silver", &json!({"handler": "recorder", "match": {"labels": ["tier:silver"]}})).await;
    assert_eq!(node.patch("acme", &json!({"labels": {"tier": "gold"}})).await.status, 200);
    let comes = async |seen: &Seen| {
        send(&stage, &acme, Template::Message);
        (!seen.events().is_empty()).then_some(())
    };
    eventually("the label counts", async || comes(&bridge).await).await;
    assert!(node.seen.events().is_empty());
    assert_eq!(node.patch("acme", &json!({"labels": {"tier": "silver"}})).await.status, 200);
    eventually("the other label counts", async || comes(&node.seen).await).await;
    node.stop().await;
}

#[actix::test]
async fn a_route_may_have_its_events_acked_before_they_are_on_disk_and_others_wait() {
    let stage = Stage::new();
    let (node, bridge) = with_bridge(&stage, Ack::Stored).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let mentions = json!({"handler": "bridge", "match": {"types": ["app_mention"]}, "ack": "received"});
    put(&node, "mentions", &mentions).await;
    put(&node, "messages", &json!({"handler": "bridge", "match": {"types": ["message"]}})).await;
    let mut other = stage.database.hold().await;
    let stored = send(&stage, &acme, Template::Message);
    let received = send(&stage, &acme, Template::AppMention);
    stage.until(&acme, "it is acked", |app| fate(app, &received) == Some(Fate::Acked)).await;
    assert!(!node.has_on_disk(&received).await);
    assert_ne!(stage.look(&acme, |app| fate(app, &stored)), Some(Fate::Acked), "it came before and waits");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    bridge.until(&received).await;
    bridge.until(&stored).await;
    assert!(node.has_on_disk(&received).await && node.has_on_disk(&stored).await);
    stage.until_settled(&acme).await;
    node.stop().await;
}

#[actix::test]
async fn where_nothing_is_kept_what_nobody_gets_takes_up_no_room() {
    let stage = Stage::new();
    let (node, bridge) = with_bridge(&stage, Ack::Unkept).await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    put(&node, "mentions", &json!({"handler": "bridge", "match": {"types": ["app_mention"]}})).await;
    let unwanted = send(&stage, &acme, Template::Message);
    let wanted = send(&stage, &acme, Template::AppMention);
    bridge.until(&wanted).await;
    stage.until(&acme, "it is acked", |app| fate(app, &unwanted) == Some(Fate::Acked)).await;
    let empty = "tautline_envelopes_in_memory_bytes 0";
    let given_back = async || node.get("/metrics").await.text.lines().any(|line| line == empty).then_some(());
    eventually("its room is given back", given_back).await;
    assert_eq!((ids(&node.seen), ids(&bridge)), (Vec::new(), vec![wanted]));
    node.stop().await;
}

#[test]
fn routes_of_the_settings_file_are_put_at_each_start_and_stay_when_they_go_from_it() {
    let site = Site::new(|_| {});
    let file = site.folder.path().join("tautline.toml");
    let billing = "[[routes]]\nname = \"billing\"\nhandler = \"log\"\nmatch.types = [\"message\"]\n";
    fs::write(&file, billing).unwrap();
    let node = site.serve();
    let (_, made) = node.ask("GET", "/api/v1/routes/billing", None);
    assert_eq!((&made["handler"], &made["match"]["types"]), (&json!("log"), &json!(["message"])));
    let (status, _) = node.ask("PUT", "/api/v1/routes/billing", Some(&json!({"handler": "log"})));
    assert_eq!(status, 200);
    node.stop();
    let again = site.serve();
    let (_, put) = again.ask("GET", "/api/v1/routes/billing", None);
    assert_eq!(put["match"]["types"], json!(["message"]), "over what was changed");
    let (_, audit) = again.ask("GET", "/api/v1/audit?action=route.update&limit=1", None);
    assert_eq!(audit["data"][0]["actor"], "settings file");
    again.stop();
    fs::write(&file, "").unwrap();
    let last = site.serve();
    assert_eq!(last.ask("GET", "/api/v1/routes/billing", None).1, put);
    last.stop();
    fs::write(&file, "[[routes]]\nname = \"billing\"\nhandler = \"lgo\"\n").unwrap();
    let refused = Process::start(site.tautline(&["serve"])).ended();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.output.text().contains("line 1: routes has 'billing', whose handler is none of this node's")
    );
}

#[test]
fn routes_are_set_shown_and_removed_from_the_command_line() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let route = |arguments: &[&str]| {
        let mut command = site.tautline(&[&["route"], arguments].concat());
        command.env("TAUTLINE_NODE", format!("http://{}", node.address()));
        command.env("TAUTLINE_ADMIN_TOKEN", process::ADMIN_TOKEN);
        Process::start(command).ended()
    };
    let set = [
        "set",
        "billing",
        "--handler",
        "log",
        "--type",
        "message",
        "--label",
        "tier:gold",
        "--ack",
        "stored",
    ];
    let made = route(&set);
    assert_eq!((made.code, &*made.output.stdout), (Some(0), &["billing is made".to_owned()][..]), "{made:?}");
    let list = route(&["list"]);
    assert_eq!(
        list.output.stdout[1], "billing  log      labels=tier:gold types=message  stored  true",
        "{list:?}"
    );
    let off = route(&["set", "billing", "--handler", "log", "--off", "--json"]);
    let off: Value = serde_json::from_str(&off.output.stdout.join("\n")).unwrap();
    assert_eq!(
        (&off["enabled"], &off["ack"], &off["match"]["types"]),
        (&json!(false), &Value::Null, &json!([]))
    );
    let shown = route(&["show", "billing", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&shown.output.stdout.join("\n")).unwrap(), off);
    let wrong = route(&["set", "billing", "--handler", "lgo"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.output.stderr[0].contains("it has: log"), "{wrong:?}");
    assert_eq!(route(&["remove", "billing"]).code, Some(0));
    assert_eq!(route(&["show", "billing"]).code, Some(3));
    node.stop();
}

/// A node with two handlers, `recorder` and `bridge`, and what the latter got.
async fn with_bridge(stage: &Stage, ack: Ack) -> (Node, Seen) {
    let bridge = Seen::default();
    let node = stage.node_with(ack, |handlers| bridge.register(handlers, "bridge", Limits::default())).await;
    (node, bridge)
}

fn send(stage: &Stage, customer: &Customer, template: Template) -> String {
    let outgoing = Outgoing { template: Some(template), ..Outgoing::default() };
    stage.slack.send(&customer.app_id, outgoing).unwrap()
}

async fn put(node: &Node, name: &str, body: &Value) -> Answer {
    let answer = node.ask("PUT", &format!("/api/v1/routes/{name}"), Some(ADMIN_TOKEN), Some(body)).await;
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    answer
}

async fn delete(node: &Node, name: &str) -> Answer {
    node.ask("DELETE", &format!("/api/v1/routes/{name}"), Some(ADMIN_TOKEN), None).await
}

fn ids(seen: &Seen) -> Vec<String> {
    seen.events().iter().map(|event| event.slack_id.to_string()).collect()
}

fn fate(app: &AppRecord, id: &str) -> Option<Fate> {
    app.event(id).map(|event| event.outcome)
}
