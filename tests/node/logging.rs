//! What the log says: which lines, changed while a node runs, and whom each is about.
use std::process::Command;

use serde_json::{Value, json};
use tautline::simulator::{Act, Ending, Outgoing, Template, Which};

use super::process::{ADMIN_TOKEN, Process, Site};

const LOG: &str = "/api/v1/log";

#[test]
fn the_filter_of_a_running_node_is_changed_and_every_change_is_written_down() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let before = json!({"filter": "info", "until": null, "then": null, "at_start": "info"});
    assert_eq!(node.ask("GET", LOG, None), (200, before.clone()));
    let (status, refused) = node.ask("PUT", LOG, Some(&json!({"filter": "verbose"})));
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("filter")), "{refused}");
    assert_eq!(node.ask("GET", LOG, None).1, before, "nothing has changed");

    let mut command =
        site.tautline(&["log", "info,tautline=debug", "--for", "1h", "--json", "--reason", "odd"]);
    command
        .env("TAUTLINE_NODE", format!("http://{}", node.address()))
        .env("TAUTLINE_ADMIN_TOKEN", ADMIN_TOKEN);
    let changed = Process::start(command).ended();
    assert_eq!(changed.code, Some(0), "{changed:?}");
    let shown: Value = serde_json::from_str(&changed.output.stdout.join("\n")).unwrap();
    assert_eq!((&shown["filter"], &shown["then"]), (&json!("info,tautline=debug"), &json!("info")));
    node.register("acme", &site.customer(0));
    node.line(|line| line.contains("\"level\":\"DEBUG\"") && line.contains("\"workspace\":\"acme\""));

    // For as short as can be, and it goes by itself.
    let short = json!({"filter": "trace", "for": "1s"});
    assert_eq!(node.ask("PUT", LOG, Some(&short)).0, 200);
    node.line(|line| line.contains("is in force again") && line.contains("\"filter\":\"info\""));
    assert_eq!(node.ask("GET", LOG, None).1, before);
    let (_, audit) = node.ask("GET", "/api/v1/audit?action=log.update", None);
    assert_eq!(audit["data"].as_array().unwrap().len(), 2, "{audit}");
    assert_eq!(audit["data"][1]["reason"], "odd");
    let noted = &audit["data"][1]["changes"]["filter"];
    assert_eq!(*noted, json!({"from": "info", "to": "info,tautline=debug"}));

    let token = json!({"name": "ops", "role": "operator"});
    let (_, made) = node.ask("POST", "/api/v1/tokens", Some(&token));
    let mut command = site.tautline(&["log", "trace"]);
    command
        .env("TAUTLINE_NODE", format!("http://{}", node.address()))
        .env("TAUTLINE_ADMIN_TOKEN", made["token"].as_str().unwrap());
    let refused = Process::start(command).ended();
    assert_eq!(refused.code, Some(2), "it takes an admin: {refused:?}");
    node.stop();
}

#[test]
fn a_filter_put_while_a_node_runs_shows_no_token_no_ticket_and_no_payload() {
    let site = Site::new(|_| {});
    let node = site.serve();
    let finest = "trace,tungstenite=trace,tungstenite::protocol=trace,tokio_tungstenite=trace,awc=trace,\
                  actix_http=trace,h2=trace,rustls=trace,sqlx=trace";
    assert_eq!(node.ask("PUT", LOG, Some(&json!({"filter": finest}))).0, 200);
    let customer = site.customer(0);
    node.register("acme", &customer);
    node.state("acme", "ready");
    let secret = "what-was-said";
    let said = Outgoing { text: Some(secret.into()), ..Outgoing::template(Template::Message) };
    site.slack.send(&customer.app_id, said).unwrap();
    site.until("it is acked", |record| record.apps.iter().all(|app| app.counts.acked == 1));
    site.slack.send(&customer.app_id, Outgoing::frame(format!("{{\"{secret}"))).unwrap();
    site.until("the link is replaced", |record| record.apps.iter().any(|app| app.counts.sockets == 2));
    let text = node.stop().output.text();
    assert!(text.contains("\"level\":\"TRACE\""), "the log is as fine as can be");
    for secret in [&customer.app_token, &customer.bot_token, ADMIN_TOKEN, secret, "ticket="] {
        let shown = text.lines().find(|line| line.contains(secret));
        assert_eq!(shown, None, "{secret} is shown");
    }
}

#[test]
fn every_line_about_a_workspace_names_it_by_each_of_its_ids() {
    let site = Site::new(|_| {});
    let customer = site.customer(0);
    let mut command: Command = site.tautline(&["serve"]);
    command.env("TAUTLINE_LOG", "info,tautline=debug").env("TAUTLINE_HANDLERS", "log,echo");
    let node = Process::start(command);
    node.register("acme", &customer);
    node.state("acme", "ready");
    site.until("Slack has said whose bot token it is", |_| {
        node.ask("GET", "/api/v1/workspaces/acme", None).1["team_id"] == "T0REAL0"
    });
    let mut sockets = 1;
    let ends = [
        Act::Disconnect { reason: "refresh_requested".into(), after_ms: Some(10), then: None },
        Act::End { how: Ending::Reset },
        Act::InvalidUtf8,
        Act::Text { text: "UNAUTHENTICATED: cache_error".into() },
    ];
    for end in ends {
        site.slack.act(None, Which::All, &end).unwrap();
        sockets += 1;
        site.until("the link is replaced", |record| {
            record.apps.iter().all(|app| app.counts.sockets >= sockets && app.live_sockets() == 1)
        });
        sockets = site.slack.with_record(|record| record.apps[0].counts.sockets);
    }
    for template in [Template::AppMention, Template::AppRateLimited, Template::TokensRevoked] {
        site.slack.send(&customer.app_id, Outgoing::template(template)).unwrap();
    }
    node.line(|line| line.contains("\"reason\":\"bot_token_revoked\""));
    site.slack.refuse(&customer.app_id, Some("token_revoked")).unwrap();
    site.slack.act(None, Which::All, &Act::End { how: Ending::Fin }).unwrap();
    node.line(|line| line.contains("\"reason\":\"token_revoked\""));
    let text = node.stop().output.text();

    // From the second link on everything is known.
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let about = |line: &&Value| {
        let target = line["target"].as_str().unwrap_or_default();
        let whole = ["tautline::actors::journal", "tautline::actors::pacer", "tautline::actors::routing"]
            .contains(&target);
        !whole && (target.starts_with("tautline::actors") || target.starts_with("tautline::handlers"))
    };
    let about: Vec<_> = lines.iter().filter(about).collect();
    let known = about.iter().position(|line| line["message"] == "link is about to end").unwrap();
    assert!(about.len() > known + 20, "there is something to look at: {text}");
    for line in &about {
        assert_eq!((&line["workspace"], &line["app"]), (&json!("acme"), &json!("1")), "{line}");
    }
    for line in &about[known..] {
        assert_eq!((&line["app_id"], &line["team_id"]), (&json!("A0REAL0"), &json!("T0REAL0")), "{line}");
        let of_link = ["tautline::actors::connection", "tautline::actors::connection::links"];
        let of_link = of_link.contains(&line["target"].as_str().unwrap());
        let has_none = ["disconnected", "state"].contains(&line["message"].as_str().unwrap());
        assert!(!of_link || has_none || line["generation"].is_u64(), "{line}");
    }
}
