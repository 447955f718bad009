//! The commands that speak to a running node, or beside it to its database.
use std::process::Command;

use serde_json::{Value, json};

use super::process::{ADMIN_TOKEN, Customer, Ended, Process, Site};

#[test]
fn workspaces_are_steered_from_the_command_line() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let customer = site.customer(0);
    let mut add =
        asking(&site, &node, &["workspace", "add", "acme", "--label", "tenant:42", "--name", "Acme"]);
    tokens_of(&mut add, &customer);
    assert_eq!(ended(add).code, Some(0));
    node.state("acme", "ready");
    let mut again = asking(&site, &node, &["workspace", "add", "acme"]);
    tokens_of(&mut again, &customer);
    assert_eq!(ended(again).code, Some(2), "it is there already");

    let list = ended(asking(&site, &node, &["workspace", "list"]));
    assert_eq!(list.output.stdout.len(), 2, "{list:?}");
    assert!(list.output.stdout[0].starts_with("ID    STATE  HEALTH"), "{list:?}");
    assert!(list.output.stdout[1].starts_with("acme  ready  ok"), "{list:?}");
    let shown = json_of(asking(&site, &node, &["workspace", "show", "acme", "--json"]));
    assert_eq!((&shown["name"], &shown["labels"]), (&json!("Acme"), &json!({"tenant": "42"})));

    let off = ["workspace", "disconnect", "acme", "--reason", "too loud", "--json"];
    let off = json_of(asking(&site, &node, &off));
    assert_eq!((&off["desired"], &off["name"]), (&json!("disconnected"), &json!("Acme")));
    node.state("acme", "disconnected");
    let lines = node.lines();
    assert_eq!(ended(asking(&site, &node, &["workspace", "connect", "acme"])).code, Some(0));
    node.line_after(lines, |line| line.contains("\"message\":\"ready\""));
    let (_, audit) = node.ask("GET", "/api/v1/audit?workspace=acme", None);
    assert_eq!(audit["data"][1]["reason"], "too loud");
    assert_eq!(audit["data"][1]["changes"], json!({"desired": {"from": "connected", "to": "disconnected"}}));

    assert_eq!(ended(asking(&site, &node, &["workspace", "remove", "acme"])).code, Some(0));
    let gone = ended(asking(&site, &node, &["workspace", "show", "acme"]));
    assert_eq!(gone.code, Some(3), "{gone:?}");
    assert!(gone.output.stderr[0].contains("no workspace 'acme'"), "{gone:?}");
    node.stop();
}

#[test]
fn tokens_are_made_listed_and_revoked_from_the_command_line() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let create = ["token", "create", "ci", "--role", "viewer", "--expires-in", "30"];
    let made = ended(asking(&site, &node, &create));
    assert_eq!((made.code, made.output.stdout.len()), (Some(0), 1), "{made:?}");
    let text = made.output.stdout[0].clone();
    assert!(text.starts_with("tl_"), "the text alone is on stdout");
    let as_viewer = |arguments: &[&str]| {
        let mut command = asking(&site, &node, arguments);
        command.env("TAUTLINE_ADMIN_TOKEN", &text);
        ended(command)
    };
    assert_eq!(as_viewer(&["workspace", "list"]).code, Some(0));
    let refused = as_viewer(&["workspace", "remove", "acme"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.output.stderr[0].contains("takes the role operator"), "{refused:?}");
    let list = ended(asking(&site, &node, &["token", "list"]));
    assert!(list.output.stdout[1].starts_with("tok_1  ci    viewer  -      active"), "{list:?}");
    assert_eq!(ended(asking(&site, &node, &["token", "revoke", "tok_1"])).code, Some(0));
    assert_eq!(as_viewer(&["workspace", "list"]).code, Some(2));
    assert_eq!(ended(asking(&site, &node, &["token", "revoke", "tok_9"])).code, Some(3));
    node.stop();
}

#[test]
fn a_node_that_is_not_there_and_a_token_that_is_not_given_are_told() {
    let site = Site::new(|_| {});
    let mut command = site.tautline(&["workspace", "list"]);
    command.env("TAUTLINE_NODE", "http://127.0.0.1:1");
    let away = ended(command);
    assert_eq!((away.code, away.output.stderr.len()), (Some(1), 1), "{away:?}");
    assert!(away.output.stderr[0].contains("http://127.0.0.1:1"), "{away:?}");
    let mut command = site.tautline(&["workspace", "list"]);
    command.env("TAUTLINE_ADMIN_TOKEN", "");
    let without = ended(command);
    assert_eq!(without.code, Some(2));
    assert!(without.output.stderr[0].contains("TAUTLINE_ADMIN_TOKEN"), "{without:?}");
}

#[test]
fn the_key_is_changed_while_a_node_runs() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let customer = site.customer(0);
    node.register("acme", &customer);
    node.state("acme", "ready");
    node.stop();

    let made = site.folder.path().join("new.key");
    let generate = site.tautline(&["key", "generate", "--file", made.to_str().unwrap()]);
    assert_eq!(ended(generate).code, Some(0));
    let rotate = |command: &mut Command| {
        let given = site.database.environment().into_iter().find(|(name, _)| *name == "TAUTLINE_KEY");
        match given {
            Some((_, old)) => command.env("TAUTLINE_OTHER_KEY", old).env_remove("TAUTLINE_KEY"),
            None => command.env("TAUTLINE_OTHER_KEY_FILE", site.folder.path().join("tautline.db.key")),
        };
        command.env("TAUTLINE_KEY_FILE", &made);
    };
    let alone = ended(site.tautline(&["key", "rotate"]));
    assert_eq!(alone.code, Some(2), "one key is not enough: {alone:?}");
    let mut command = site.tautline(&["serve"]);
    rotate(&mut command);
    let node = Process::start(command);
    node.state("acme", "ready");
    let mut command = site.tautline(&["key", "rotate", "--json"]);
    rotate(&mut command);
    let outcome = json_of(command);
    assert_eq!((&outcome["resealed"], &outcome["unreadable"]), (&json!(2), &json!(0)), "{outcome}");
    let (_, audit) = node.ask("GET", "/api/v1/audit?action=key.rotate", None);
    assert_eq!(audit["data"][0]["changes"]["sealed_anew"]["to"], json!(2));
    node.stop();

    // The old key can go.
    let mut command = site.tautline(&["serve"]);
    command.env("TAUTLINE_KEY_FILE", &made).env_remove("TAUTLINE_KEY");
    let node = Process::start(command);
    node.state("acme", "ready");
    node.stop();
    let old = ended(site.tautline(&["serve"]));
    assert_eq!(old.code, Some(2), "{old:?}");
}

/// A command that asks this node.
fn asking(site: &Site, node: &Process, arguments: &[&str]) -> Command {
    let mut command = site.tautline(arguments);
    command
        .env("TAUTLINE_NODE", format!("http://{}", node.address()))
        .env("TAUTLINE_ADMIN_TOKEN", ADMIN_TOKEN);
    command
}

fn tokens_of(command: &mut Command, customer: &Customer) {
    command.env("SLACK_APP_TOKEN", &customer.app_token).env("SLACK_BOT_TOKEN", &customer.bot_token);
}

fn ended(command: Command) -> Ended {
    Process::start(command).ended()
}

/// What a command that ended well printed.
fn json_of(command: Command) -> Value {
    let ended = ended(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.output.stdout.join("\n")).expect("JSON")
}
