//! A database server that is not there: at the start, and while events flow.
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sqlx::Connection as _;
use tautline::simulator::{Load, Outcome, Record};

use crate::postgres::suite::process::{Handled, PATIENCE, Process, Site, block_on, refused, used_site};
use crate::proxy::{Proxy, Way};

/// A signal's end is no waiting for anything.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Between two looks.
const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn a_node_started_before_its_database_waits_says_so_once_and_begins_by_itself() {
    let site = Site::new(|_| {});
    let proxy = Proxy::to(&site.database.server(), Way::Cut);
    let node = Process::start(serve_by(&site, &proxy));
    assert_eq!(node.ask("GET", "/livez", None).0, 200);
    let (status, text) = node.ask("GET", "/readyz?verbose", None);
    assert_eq!(status, 503);
    assert!(
        text.as_str().is_some_and(|text| text.contains("[-] database failed: it does not answer yet")),
        "{text}"
    );
    let customer = site.customer(0);
    let body = json!({"app_token": customer.app_token});
    for (method, path, body) in
        [("PUT", "/api/v1/workspaces/acme", Some(&body)), ("GET", "/api/v1/workspaces", None)]
    {
        let (status, problem) = node.ask(method, path, body);
        assert_eq!((status, &problem["code"]), (503, &json!("store_unavailable")), "{problem}");
    }
    // Some tries more.
    node.run_for(Duration::from_secs(1));

    proxy.set(Way::Open);
    node.line(|line| line.contains("the database answers; the node starts"));
    assert_eq!(node.ask("GET", "/readyz", None).0, 200);
    node.register("acme", &customer);
    node.state("acme", "ready");
    let ended = node.stop();
    assert_eq!(ended.code, Some(0));
    let text = ended.output.text();
    assert_eq!(text.matches("cannot be used yet").count(), 1, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_signal_ends_a_node_that_waits_for_its_database_at_once() {
    let site = Site::new(|_| {});
    for way in [Way::Cut, Way::Silent] {
        let proxy = Proxy::to(&site.database.server(), way);
        let node = Process::start(serve_by(&site, &proxy));
        node.line(|line| line.contains("cannot be used yet"));
        node.signal("TERM");
        let ended = node.ended_within(AT_ONCE);
        assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    }
}

#[test]
fn a_wrong_key_that_shows_when_the_database_comes_ends_the_node_with_code_2() {
    let site = used_site();
    let proxy = Proxy::to(&site.database.server(), Way::Cut);
    let mut command = serve_by(&site, &proxy);
    command.env("TAUTLINE_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let node = Process::start(command);
    node.line(|line| line.contains("cannot be used yet"));
    proxy.set(Way::Open);
    let ended = node.ended();
    let text = ended.output.text();
    assert_eq!(ended.code, Some(2), "{text}");
    assert!(
        text.contains("tautline: the database postgres://") && text.contains("was sealed with the key"),
        "{text}"
    );
}

#[test]
fn what_a_person_must_put_right_ends_a_start_in_one_line_without_the_password() {
    let site = Site::new(|_| {});
    let mut command = site.tautline(&["serve"]);
    command.env_remove("TAUTLINE_KEY");
    let line = refused(command);
    assert!(line.contains("TAUTLINE_KEY or TAUTLINE_KEY_FILE"), "{line}");

    let mut nowhere = site.database.server();
    nowhere.set_path("nowhere-at-all");
    let mut nobody = site.database.server();
    nobody.set_username("nobody-at-all").unwrap();
    for (mut address, word) in [(nowhere, "does not exist"), (nobody, "refuses this user")] {
        address.set_password(Some("hunter2")).unwrap();
        let mut command = site.tautline(&["serve"]);
        command.env("DATABASE_URL", address.as_str());
        let line = refused(command);
        assert!(line.contains(word) && !line.contains("hunter2"), "{line}");
        let mut command = site.tautline(&["check"]);
        command.env("DATABASE_URL", address.as_str());
        let ended = Process::start(command).ended();
        let text = ended.output.text();
        assert!(ended.code == Some(2) && text.contains(word) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_database_that_is_cut_off_under_load_stops_acks_and_nothing_else() {
    goes_away_under_load(Way::Cut, |node, lines| {
        node.line_after(lines, |line| line.contains("nothing is acked until it can"));
        node.run_for(Duration::from_secs(5));
    });
}

#[test]
fn a_database_that_falls_silent_under_load_stops_acks_and_nothing_else() {
    goes_away_under_load(Way::Silent, |node, lines| {
        node.line_after(lines, |line| line.contains("does not answer within 10s"));
    });
}

#[test]
fn a_database_that_goes_while_lanes_are_full_and_deliveries_fail_costs_nothing_but_time() {
    let site = Site::new(|rules| rules.retry_after_ms = vec![1_000; 120]);
    let proxy = Proxy::to(&site.database.server(), Way::Open);
    let mut command = site.example("ordered");
    command.env("DATABASE_URL", proxy.instead_of(&site.database.server()));
    let node = Process::start(command);
    for number in 0..3 {
        let customer = site.customer(number);
        node.register(&format!("customer-{number}"), &customer);
        node.state(&format!("customer-{number}"), "ready");
        site.slack.load(&customer.app_id, Load { rate: Some(300.0), ..Load::default() }).unwrap();
    }
    for way in [Way::Cut, Way::Silent, Way::Cut] {
        let (lines, acked) = (node.lines(), acks(&site.slack.record()));
        node.line_after(lines + 300, |line| Handled::read(line).is_some());
        // A handler that cannot get rid of its lines stands still, and its lanes fill: more than they hold in memory has come.
        node.stop_listening();
        site.until("the lanes are full", |record| acks(record) > acked + 5_000);
        assert!(owed(&site) > 500, "what the lanes have no room for is on disk");
        proxy.set(way);
        let repeats = |record: &Record| record.apps.iter().map(|app| app.counts.retried).sum::<u64>();
        let before = repeats(&site.slack.record());
        site.until("Slack sends again", |record| repeats(record) > before + 20);
        let mut waited = Duration::ZERO;
        while node.ask("GET", "/readyz", None).0 != 503 {
            assert!(waited < PATIENCE, "it says that it is ready though nothing can be written down");
            node.run_for(MOMENT);
            waited += MOMENT;
        }
        // It handles what it has while nothing can be written down.
        node.listen_again();
        node.run_for(Duration::from_secs(2));
        let acked = acks(&site.slack.record());
        proxy.set(Way::Open);
        site.until("what comes is acked again", |record| acks(record) > acked + 500);
    }
    for number in 0..3 {
        site.slack.stop_load(&format!("A0REAL{number}")).unwrap();
    }
    site.until("every event is acked", |record| {
        record.apps.iter().all(|app| app.counts.sent == app.counts.acked)
    });
    let record = site.slack.record();
    let mut missing: BTreeSet<_> =
        record.apps.iter().flat_map(|app| &app.events).map(|event| event.id.clone()).collect();
    node.line(|line| {
        if let Some(handled) = Handled::read(line) {
            missing.remove(&handled.id);
        }
        missing.is_empty()
    });
    let ended = node.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    assert!(record.apps.iter().all(|app| app.counts.sockets == 1), "the sockets stay");
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for event in ended.output.handled() {
        let seq = event.seq.parse().unwrap();
        let before = last.insert(event.workspace.clone(), seq);
        assert!(before.is_none_or(|before| before < seq), "{} came twice or too late", event.id);
    }
}

fn acks(record: &Record) -> u64 {
    record.apps.iter().map(|app| app.counts.acked).sum()
}

/// Deliveries that are written down and not over.
fn owed(site: &Site) -> i64 {
    block_on(async {
        let mut db = site.database.connect().await;
        let owed =
            sqlx::query_scalar("select count(*) from deliveries where status in ('waiting', 'retrying')");
        let owed = owed.fetch_one(&mut db).await.unwrap();
        db.close().await.unwrap();
        owed
    })
}

/// Events flow; the database goes and comes back. Judged: the node says so, acks nothing meanwhile, keeps its sockets, and in the end
/// every event was acked and handled once.
fn goes_away_under_load(way: Way, away: impl Fn(&Process, usize)) {
    let site = Site::new(|rules| rules.retry_after_ms = vec![1_000; 120]);
    let customer = site.customer(0);
    let proxy = Proxy::to(&site.database.server(), Way::Open);
    let node = Process::start(serve_by(&site, &proxy));
    node.register("acme", &customer);
    node.state("acme", "ready");
    site.slack.load(&customer.app_id, Load { rate: Some(100.0), ..Load::default() }).unwrap();
    let lines = node.lines();
    node.line_after(lines + 50, |line| Handled::read(line).is_some());

    let lines = node.lines();
    proxy.set(way);
    away(&node, lines);
    let acked = counts(&site).0;
    let (status, text) = node.ask("GET", "/readyz?verbose", None);
    assert!(status == 503 && text.to_string().contains("the database takes no writes"), "{status} {text}");
    assert_eq!(node.ask("GET", "/livez", None).0, 200);
    assert_eq!(node.ask("GET", "/api/v1/workspaces", None).0, 503);
    assert_eq!(counts(&site).0, acked, "nothing is acked that is not stored");

    let lines = node.lines();
    proxy.set(Way::Open);
    node.line_after(lines, |line| Handled::read(line).is_some());
    site.slack.stop_load(&customer.app_id).unwrap();
    site.until("every event is acked", |record| {
        record.apps.iter().all(|app| app.counts.sent == app.counts.acked)
    });
    assert_eq!(node.ask("GET", "/readyz", None).0, 200);
    assert_eq!(counts(&site).1, 1, "the socket stays");
    let app = site.slack.record().apps.remove(0);
    let mut missing: Vec<_> = app.events.iter().map(|event| event.id.clone()).collect();
    assert!(app.events.iter().all(|event| event.outcome == Outcome::Acked));
    node.line(|line| {
        if let Some(handled) = Handled::read(line) {
            missing.retain(|id| *id != handled.id);
        }
        missing.is_empty()
    });
    let ended = node.stop();
    let text = ended.output.text();
    assert_eq!(ended.code, Some(0), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for handled in ended.output.handled() {
        *times.entry(handled.id).or_default() += 1;
    }
    times.retain(|_, times| *times != 1);
    assert_eq!(times, BTreeMap::new(), "handled more than once");
}

/// Acks, and sockets, of the one app there is.
fn counts(site: &Site) -> (u64, u64) {
    let app = site.slack.record().apps.remove(0);
    (app.counts.acked, app.counts.sockets)
}

/// A node that reaches its database by this way.
fn serve_by(site: &Site, proxy: &Proxy) -> Command {
    let mut command = site.tautline(&["serve"]);
    command.env("DATABASE_URL", proxy.instead_of(&site.database.server()));
    command
}
