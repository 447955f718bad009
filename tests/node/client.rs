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
    let on = json_of(asking(&site, &node, &["workspace", "connect", "acme", "--wait", "--json"]));
    assert_eq!(on["state"], "ready", "the answer comes when it is so");
    let fresh = json_of(asking(&site, &node, &["workspace", "reconnect", "acme", "--wait=20s", "--json"]));
    let generation = |shown: &Value| shown["sockets"][0]["generation"].as_u64().unwrap();
    assert!(generation(&fresh) > generation(&on), "{on} {fresh}");
    let timeline = ended(asking(&site, &node, &["workspace", "timeline", "acme", "--limit", "2"]));
    assert_eq!(timeline.output.stdout.len(), 3, "{timeline:?}");
    assert!(timeline.output.stdout[0].starts_with("AT  "), "{timeline:?}");
    let (_, audit) = node.ask("GET", "/api/v1/audit?workspace=acme", None);
    assert_eq!(audit["data"][1]["reason"], "too loud");
    assert_eq!(audit["data"][1]["changes"], json!({"desired": {"from": "connected", "to": "disconnected"}}));
    let told =
        json_of(asking(&site, &node, &["audit", "list", "--workspace", "acme", "--limit", "2", "--json"]));
    assert_eq!(&told[0], &audit["data"][0]);
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");

    let paused = json_of(asking(&site, &node, &["workspace", "pause", "acme", "--wait", "--json"]));
    assert_eq!((&paused["delivery"], &paused["state"]), (&json!("paused"), &json!("ready")));
    let timeline = ended(asking(&site, &node, &["workspace", "timeline", "acme", "--limit", "1"]));
    assert!(timeline.output.stdout[1].contains("Somebody paused the workspace"), "{timeline:?}");
    let all =
        json_of(asking(&site, &node, &["workspace", "resume", "--delivery", "paused", "--wait", "--json"]));
    assert_eq!((&all["kind"], &all["done"]), (&json!("workspaces.resume"), &json!(1)), "{all}");
    let shown = json_of(asking(&site, &node, &["workspace", "show", "acme", "--json"]));
    assert_eq!(shown["delivery"], "active");

    assert_eq!(ended(asking(&site, &node, &["workspace", "remove", "acme", "--purge"])).code, Some(0));
    let (_, audit) = node.ask("GET", "/api/v1/audit?workspace=acme&limit=1", None);
    assert_eq!(audit["data"][0]["changes"]["purge"], json!({"from": false, "to": true}));
    let gone = ended(asking(&site, &node, &["workspace", "show", "acme"]));
    assert_eq!(gone.code, Some(3), "{gone:?}");
    assert!(gone.output.stderr[0].contains("no workspace 'acme'"), "{gone:?}");
    node.stop();
}

#[test]
fn a_wait_for_a_workspace_that_fails_ends_with_code_4_and_says_what_to_do() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let mut add = asking(&site, &node, &["workspace", "add", "acme", "--wait=20s"]);
    add.env("SLACK_APP_TOKEN", "xapp-1-A0NOBODY-1-0123456789abcdef");
    let failed = ended(add);
    assert_eq!(failed.code, Some(4), "{failed:?}");
    assert!(failed.output.stderr[0].contains("'acme' has failed: "), "{failed:?}");
    let nobody = ended(asking(&site, &node, &["workspace", "connect", "nobody"]));
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    for wrong in [&["connect"][..], &["connect", "acme", "--all"], &["connect", "--all", "--state", "failed"]]
    {
        let wrong: Vec<_> = ["workspace"].iter().chain(wrong).copied().collect();
        assert_eq!(ended(asking(&site, &node, &wrong)).code, Some(2), "{wrong:?}");
    }
    node.stop();
}

#[test]
fn many_workspaces_are_imported_listed_by_filter_and_steered_by_one_command() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let file = site.folder.path().join("customers.csv");
    let mut lines = String::from("id,app_token,label.tenant,desired\n");
    for number in 0..3 {
        let customer = site.customer(number);
        let tenant = if number == 2 { "b" } else { "a" };
        lines += &[format!("ws{number}").as_str(), &customer.app_token, tenant, "disconnected\n"].join(",");
    }
    std::fs::write(&file, &lines).unwrap();
    let import = ["workspace", "import", file.to_str().unwrap(), "--dry-run"];
    let dry = ended(asking(&site, &node, &import));
    assert_eq!(dry.code, Some(0), "{dry:?}");
    let would = "nothing is done; it would be: 3 created, 0 updated, 0 unchanged, 0 refused";
    assert_eq!(dry.output.stdout, [would]);
    std::fs::write(&file, lines + "ws3,xoxb-of-another-kind,a,disconnected\n").unwrap();
    let import = ended(asking(&site, &node, &import[..3]));
    assert_eq!(import.code, Some(4), "{import:?}");
    assert!(import.output.stdout[1].starts_with("5     ws3  invalid_fields  app_token: "), "{import:?}");
    assert_eq!(import.output.stdout[2], "3 created, 0 updated, 0 unchanged, 1 refused");
    assert!(!import.output.text().contains("another-kind"), "{import:?}");

    let ids = |filter: &[&str]| -> Vec<String> {
        let command: Vec<_> = ["workspace", "list", "--json"].iter().chain(filter).copied().collect();
        let list = json_of(asking(&site, &node, &command));
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--sort", "-id"]), ["ws2", "ws1", "ws0"]);
    assert_eq!(ids(&["--label", "tenant:a", "--state", "ready", "--state", "disconnected"]), ["ws0", "ws1"]);
    assert_eq!(ids(&["--q", "S1"]), ["ws1"]);
    let odd = ended(asking(&site, &node, &["workspace", "list", "--state", "odd"]));
    assert_eq!(odd.code, Some(2), "{odd:?}");

    let connect = ["workspace", "connect", "--label", "tenant:a"];
    let dry: Vec<_> = connect.iter().chain(&["--dry-run"]).copied().collect();
    let dry = ended(asking(&site, &node, &dry));
    assert_eq!(dry.output.stdout, ["connect would be done to 2 workspaces: ws0, ws1"]);
    let wait: Vec<_> = connect.iter().chain(&["--wait", "--json"]).copied().collect();
    let job = json_of(asking(&site, &node, &wait));
    assert_eq!((&job["state"], &job["done"], &job["failed"]), (&json!("done"), &json!(2), &json!(0)));
    node.state("ws0", "ready");
    node.state("ws1", "ready");
    assert_eq!(ids(&["--state", "disconnected"]), ["ws2"]);
    let jobs = ended(asking(&site, &node, &["job", "list"]));
    assert!(jobs.output.stdout[1].contains("workspaces.connect  done"), "{jobs:?}");
    let off = json_of(asking(&site, &node, &["workspace", "disconnect", "--all", "--wait", "--json"]));
    assert_eq!(off["done"], 3);
    node.stop();
}

#[test]
fn a_list_of_more_than_a_page_is_shown_whole() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let file = site.folder.path().join("many.jsonl");
    let line = |number| {
        let token = format!("xapp-1-A0MANY{number}-1-0123456789abcdef");
        json!({"id": format!("ws{number:03}"), "app_token": token, "desired": "disconnected"}).to_string()
    };
    std::fs::write(&file, (0..205).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let import = ended(asking(&site, &node, &["workspace", "import", file.to_str().unwrap()]));
    assert_eq!(import.output.stdout, ["205 created, 0 updated, 0 unchanged, 0 refused"]);
    let list = json_of(asking(&site, &node, &["workspace", "list", "--state", "disconnected", "--json"]));
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), ids[0], ids[204]), (205, "ws000", "ws204"));
    node.stop();
}

#[test]
fn a_customer_is_tried_out_and_their_app_made_from_the_command_line() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let customer = site.customer(0);
    let mut check = asking(&site, &node, &["workspace", "check", "--team", "T0REAL0"]);
    tokens_of(&mut check, &customer);
    let fine = ended(check);
    assert_eq!(fine.code, Some(0), "{fine:?}");
    assert!(fine.output.stdout[1].starts_with("socket"), "{fine:?}");
    let mut check = asking(&site, &node, &["workspace", "check", "--team", "T0OTHER"]);
    tokens_of(&mut check, &customer);
    let other = ended(check);
    assert_eq!(other.code, Some(4), "{other:?}");
    assert!(other.output.stdout.iter().any(|line| line.contains("team_mismatch")), "{other:?}");
    let manifest =
        ["workspace", "manifest", "--name", "Acme", "--event", "app_mention", "--command", "/acme"];
    let made = ended(asking(&site, &node, &manifest));
    assert_eq!(made.code, Some(0), "{made:?}");
    for wanted in ["\"app_mentions:read\"", "share_link: https://api.slack.com/apps?", "5. POST both"] {
        assert!(made.output.stdout.iter().any(|line| line.contains(wanted)), "{wanted}: {made:?}");
    }
    assert_eq!(
        json_of(asking(&site, &node, &["workspace", "list", "--json"])),
        json!([]),
        "nothing is stored"
    );
    node.stop();
}

#[test]
fn webhooks_are_made_tried_and_removed_from_the_command_line() {
    let site = Site::new(|_| {});
    let mut command = site.tautline(&["serve"]);
    command.env("TAUTLINE_WEBHOOKS_ALLOW_PRIVATE", "true");
    let node = Process::start(command);
    let create = ["webhook", "create", "http://127.0.0.1:1/hook", "--topic", "workspace.failed"];
    let made = ended(asking(&site, &node, &create));
    assert_eq!((made.code, made.output.stdout.len()), (Some(0), 1), "{made:?}");
    assert!(made.output.stdout[0].starts_with("whsec_"), "the secret alone is on stdout");
    let list = json_of(asking(&site, &node, &["webhook", "list", "--json"]));
    assert_eq!(list[0]["topics"], json!(["workspace.failed"]));
    let id = list[0]["id"].as_str().unwrap();
    let refused = ended(asking(&site, &node, &["webhook", "test", id]));
    assert_eq!(refused.code, Some(4), "nobody listens there: {refused:?}");
    assert_eq!(ended(asking(&site, &node, &["webhook", "delete", id])).code, Some(0));
    assert_eq!(ended(asking(&site, &node, &["webhook", "delete", id])).code, Some(3));
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
pub(super) fn asking(site: &Site, node: &Process, arguments: &[&str]) -> Command {
    let mut command = site.tautline(arguments);
    command
        .env("TAUTLINE_NODE", format!("http://{}", node.address()))
        .env("TAUTLINE_ADMIN_TOKEN", ADMIN_TOKEN);
    command
}

pub(super) fn tokens_of(command: &mut Command, customer: &Customer) {
    command.env("SLACK_APP_TOKEN", &customer.app_token).env("SLACK_BOT_TOKEN", &customer.bot_token);
}

pub(super) fn ended(command: Command) -> Ended {
    Process::start(command).ended()
}

/// What a command that ended well printed.
pub(super) fn json_of(command: Command) -> Value {
    let ended = ended(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.output.stdout.join("\n")).expect("JSON")
}
