//! What the node says of a socket that seems well, as the API shows it.

use std::time::Duration;

use serde_json::json;
use tautline::simulator::{Act, Which};
use tautline::status::{Code, Health, Status};

use super::harness::{Customer, Stage};

#[actix::test]
async fn slow_how_long_slack_takes_to_answer_a_ping_is_shown() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let measured = |status: &Status| status.links.iter().any(|link| link.pong_ms.is_some());
    node.until("acme", measured, Duration::from_secs(15)).await;
    let pong = node.workspace("acme").await["sockets"][0]["pong_ms"].as_u64().expect("a number");
    assert!(pong < 2_000, "{pong}");
    node.stop().await;
}

#[actix::test]
async fn slow_sockets_that_are_not_this_node_s_are_warned_of_and_the_warning_leaves_with_them() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    stage.slack.ghosts(&acme.app_id, 2).expect("Slack knows the app");
    node.welcome(&[&acme]).await;
    assert_eq!(node.workspace("acme").await["warnings"], json!([]), "one hello is no proof");
    // Nothing happens that could be waited for: two hellos that count have a minute between them.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let foreign = |wanted: bool| {
        move |status: &Status| {
            status.warnings.contains(&Code::ForeignSockets) == wanted
                && (status.health == Health::Degraded) == wanted
        }
    };
    refresh(&stage, &acme);
    node.until("acme", foreign(true), Duration::from_secs(15)).await;
    stage.slack.ghosts(&acme.app_id, 0).expect("Slack knows the app");
    refresh(&stage, &acme);
    node.until("acme", foreign(false), Duration::from_secs(15)).await;
    node.stop().await;
}

fn refresh(stage: &Stage, customer: &Customer) {
    let act = Act::Disconnect { reason: "refresh_requested".into(), after_ms: None, then: None };
    assert_eq!(stage.slack.act(Some(&customer.app_id), Which::Newest, &act), Ok(1));
}
