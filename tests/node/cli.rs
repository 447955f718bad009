//! What the commands say and how they end: what somebody sees who starts the binary for the first time, and what they see when it
//! cannot do as they ask.
use std::process::Command;

use serde_json::json;
use sqlx::Connection as _;
use tautline::simulator::{Act, Outgoing, Template, Which};

use super::process::{ADMIN_TOKEN, Handled, Process, Site, block_on, limited, refused, used_site};

/// 32 bytes that are nobody's key.
const OTHER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn a_token_with_the_wrong_prefix_is_refused_in_one_line_that_does_not_show_it() {
    let site = Site::new(|_| {});
    let mut command = site.tautline(&["serve"]);
    command.env("SLACK_APP_TOKEN", "xoxb-1-secret");
    let line = refused(command);
    assert!(line.contains("SLACK_APP_TOKEN") && line.contains("xapp-"), "{line}");
    assert!(!line.contains("secret"), "{line}");
    assert!(block_on(site.database.is_untouched()), "nothing is made for a node that does not start");
}

#[test]
fn a_wrong_key_is_refused_in_one_line_and_the_right_one_still_opens() {
    let site = used_site();
    let mut command = site.tautline(&["serve"]);
    command.env("TAUTLINE_KEY", OTHER_KEY);
    let line = refused(command);
    assert!(line.contains("TAUTLINE_KEY") && !line.contains(OTHER_KEY), "{line}");
    site.serve().stop();
}

#[test]
fn a_taken_port_is_refused_in_one_line_before_anything_is_begun() {
    let site = used_site();
    let before = begun(&site);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["TAUTLINE_LISTEN", "TAUTLINE_METRICS_LISTEN"] {
        let mut command = site.tautline(&["serve"]);
        // Not even a word about the database's settings stands beside it.
        command.env("TAUTLINE_LOG", "error");
        command.env(setting, &address).env("SLACK_APP_TOKEN", "xapp-1-A0NEW-1-0123456789abcdef");
        let line = refused(command);
        assert!(line.contains(&address) && line.contains(setting), "{line}");
        assert_eq!(begun(&site), before, "neither a writer nor a workspace");
    }
    site.serve().stop();
}

#[test]
fn an_app_token_alone_is_enough_to_be_online() {
    let site = Site::new(|_| {});
    let customer = site.customer(0);
    let node = Process::start(online(&site, &customer.app_token));
    node.state("default", "ready");
    let (status, workspace) = node.ask("GET", "/api/v1/workspaces/default", None);
    assert_eq!((status, &workspace["state"]), (200, &json!("ready")), "{workspace}");
    let id = site.slack.send(&customer.app_id, Outgoing::default()).unwrap();
    node.line(|line| Handled::read(line).is_some_and(|event| event.id == id));
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn a_token_that_slack_refuses_is_told_and_the_node_stays_up() {
    let site = Site::new(|_| {});
    let node = Process::start(online(&site, "xapp-1-A0NOBODY-1-0123456789abcdef"));
    node.line(|line| line.contains("\"reason\":\"invalid_auth\""));
    let (status, workspace) = node.ask("GET", "/api/v1/workspaces/default", None);
    assert_eq!((status, &workspace["state"]), (200, &json!("failed")), "{workspace}");
    assert_eq!(workspace["reason"]["code"], "invalid_auth", "{workspace}");
    assert_eq!(node.ask("GET", "/livez", None).0, 200);
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn check_says_one_line_for_each_thing_and_ends_well_where_a_node_would_start() {
    let site = Site::new(|_| {});
    let ended = Process::start(limited(&site, "$(ulimit -Hn)")).ended();
    let lines = ended.output.stdout;
    assert_eq!(ended.code, Some(0), "{lines:#?}");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("ok ")), "{lines:#?}");
    assert!(lines[2].contains("enough for "), "{lines:#?}");
    assert!(ended.output.stderr.is_empty(), "{:?}", ended.output.stderr);
}

#[test]
fn not_even_at_trace_a_token_a_ticket_or_a_payload_is_shown() {
    let site = Site::new(|_| {});
    let customer = site.customer(0);
    let mut command = online(&site, &customer.app_token);
    command
        .env("SLACK_BOT_TOKEN", &customer.bot_token)
        .env("TAUTLINE_LOG", "trace")
        .env("TAUTLINE_HANDLERS", "log,echo");
    let node = Process::start(command);
    node.state("default", "ready");
    let secret = "what-was-said";
    for template in [Template::Message, Template::AppMention, Template::SlashCommand] {
        let said = Outgoing { text: Some(secret.into()), ..Outgoing::template(template) };
        site.slack.send(&customer.app_id, said).unwrap();
    }
    // An answer that fits into no ack is posted.
    let much = Outgoing { text: Some(secret.repeat(2_000)), ..Outgoing::template(Template::SlashCommand) };
    site.slack.send(&customer.app_id, much).unwrap();
    site.until(
        "the mention and the commands are answered, one in its ack and one by its address",
        |record| {
            record.apps.iter().any(|app| {
                let in_ack = app.events.iter().any(|event| event.ack_payload.is_some());
                in_ack && !app.calls.is_empty() && !app.responses.is_empty()
            })
        },
    );
    let body = json!({"app_token": "xoxp-a-token-of-another-kind"});
    assert_eq!(node.ask("PUT", "/api/v1/workspaces/wrong", Some(&body)).0, 422);
    // A refresh, and then the end of a link by what no Slack would say.
    let refresh = Act::Disconnect { reason: "refresh_requested".into(), after_ms: None, then: None };
    site.slack.act(None, Which::All, &refresh).unwrap();
    site.until("the link is replaced", |record| record.apps.iter().any(|app| app.counts.sockets == 2));
    site.until("the new one alone is live", |record| record.apps.iter().all(|app| app.live_sockets() == 1));
    site.slack.send(&customer.app_id, Outgoing::frame(format!("{{\"{secret}"))).unwrap();
    site.until("the link is replaced again", |record| record.apps.iter().any(|app| app.counts.sockets == 3));
    let ended = node.stop();
    let text = ended.output.text();
    assert_eq!(ended.code, Some(0), "{text}");
    assert!(text.contains("\"level\":\"TRACE\""), "the log is as fine as can be");
    let secrets = [
        &customer.app_token,
        &customer.bot_token,
        ADMIN_TOKEN,
        secret,
        "another-kind",
        "ticket=",
        "/response/",
    ];
    for secret in secrets {
        let shown = text.lines().find(|line| line.contains(secret));
        assert_eq!(shown, None, "{secret} is shown");
    }
}

/// `serve` with what a stranger has: an app-level token.
fn online(site: &Site, app_token: &str) -> Command {
    let mut command = site.tautline(&["serve"]);
    command.env("SLACK_APP_TOKEN", app_token);
    command
}

/// What nodes have begun on a database: writers and workspaces.
fn begun(site: &Site) -> (i64, i64) {
    block_on(async {
        let mut db = site.database.connect().await;
        let counts =
            sqlx::query_as("select (select count(*) from writers), (select count(*) from workspaces)");
        let counts = counts.fetch_one(&mut db).await.unwrap();
        db.close().await.unwrap();
        counts
    })
}
