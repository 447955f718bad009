//! Two nodes on one database, both with the same app: Slack divides its events between their sockets.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tautline::clock::Clock;
use tautline::simulator::{Load, NewApp, Outcome};

use crate::postgres::suite::harness::eventually;
use crate::postgres::suite::process::{Customer, Handled, Process, Site, ask_as};
use crate::postgres::suite::webhooks::{Got, HANG, Receiver, join, leave};

#[test]
fn two_nodes_on_one_database_handle_each_event_once() {
    let site = busy_site();
    let (one, two, customer) = two_nodes(&site);
    for node in [&one, &two] {
        let lines = node.lines();
        node.line_after(lines + 100, |line| Handled::read(line).is_some());
    }
    settle(&site, &customer);
    let mut runs = Vec::new();
    for node in [one, two] {
        let ended = node.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.output.text());
        runs.push(ended.output.handled());
    }
    // What a stop left is the next start's.
    let last = site.serve();
    until_handled(&site, &last, &runs);
    runs.push(last.stop().output.handled());
    assert!(runs.iter().take(2).all(|run| !run.is_empty()), "both took part");
    let mut seqs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in runs.iter().flatten() {
        seqs.entry(&event.id).or_default().push(&event.seq);
    }
    let wrong: Vec<_> = seqs.iter().filter(|(_, seqs)| seqs.len() != 1).collect();
    assert!(wrong.is_empty(), "not handled once: {wrong:?}");
    let all: BTreeSet<&str> = runs.iter().flatten().map(|event| &*event.seq).collect();
    assert_eq!(all.len(), seqs.len(), "no two events have one seq");
}

#[test]
fn a_token_revoked_at_one_node_opens_nothing_at_the_other_within_five_seconds() {
    let site = Site::new(|_| {});
    let (one, two) = (site.serve(), site.serve());
    let new = json!({"name": "ci", "role": "viewer"});
    let (status, made) = one.ask("POST", "/api/v1/tokens", Some(&new));
    assert_eq!(status, 201, "{made}");
    let text = made["token"].as_str().unwrap();
    let open = |node: &Process| ask_as(text, node.address(), "GET", "/api/v1/workspaces", None).0;
    assert_eq!((open(&one), open(&two)), (200, 200), "at once on both");
    let (clock, within) = (Clock::start(), std::time::Duration::from_secs(5));
    let (status, _) = one.ask("DELETE", &format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()), None);
    assert_eq!((status, open(&one)), (204, 401));
    while open(&two) == 200 {
        assert!(clock.mono() < within, "it is still open");
        two.run_for(std::time::Duration::from_millis(100));
    }
    one.stop();
    two.stop();
}

#[test]
fn a_route_made_at_one_node_is_in_force_at_the_other_within_five_seconds() {
    let site = Site::new(|_| {});
    let (one, two) = (site.serve(), site.serve());
    let lines = two.lines();
    let clock = Clock::start();
    let (status, made) = one.ask("PUT", "/api/v1/routes/all", Some(&json!({"handler": "log"})));
    assert_eq!(status, 201, "{made}");
    two.line_after(lines, |line| line.contains("these routes are in force"));
    assert!(clock.mono() < std::time::Duration::from_secs(5));
    one.stop();
    two.stop();
}

#[test]
fn what_one_nodes_api_is_told_the_others_do_too() {
    let site = Site::new(|_| {});
    let customer = site.customer(0);
    let (one, two) = (site.serve(), site.serve());
    one.register("acme", &customer);
    one.state("acme", "ready");
    two.state("acme", "ready");

    // A new token, at the other one: both leave the sockets of the old one.
    let token = format!("xapp-1-{}-2-fedcba9876543210", customer.app_id);
    let teams = Vec::new();
    let app = NewApp { app_token: token.clone(), slack_app_id: Some(customer.app_id.clone()), teams };
    site.slack.add_app(app).unwrap();
    let (status, answer) = two.ask("PUT", "/api/v1/workspaces/acme", Some(&json!({"app_token": token})));
    assert_eq!(status, 200, "{answer}");
    site.until("both have left their first sockets", |record| {
        let sockets = &record.app(&customer.app_id).unwrap().sockets;
        sockets.len() == 4 && sockets.iter().take(2).all(|socket| socket.live_until.is_some())
    });
    assert_eq!(site.slack.record().app(&customer.app_id).unwrap().live_sockets(), 2);

    let (status, _) = two.ask("DELETE", "/api/v1/workspaces/acme", None);
    assert_eq!(status, 204);
    site.until("no socket is left", |record| record.app(&customer.app_id).unwrap().live_sockets() == 0);
    for node in [one, two] {
        let ended = node.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    }
}

#[test]
fn what_a_killed_node_had_not_handled_is_handled_by_the_next_start_while_the_other_lives() {
    let site = busy_site();
    let (one, two, customer) = two_nodes(&site);
    let lines = two.lines();
    two.line_after(lines + 100, |line| Handled::read(line).is_some());
    // Behind: what it has acked is ahead of what it handles.
    two.stop_listening();
    let lines = one.lines();
    one.line_after(lines + 400, |line| Handled::read(line).is_some());
    let mut runs = vec![two.kill().handled()];
    settle(&site, &customer);
    let next = site.serve();
    let of_one = one.stop();
    assert_eq!(of_one.code, Some(0), "{}", of_one.output.text());
    runs.push(of_one.output.handled());
    until_handled(&site, &next, &runs);
    let taken_over = next.stop().output.handled();
    assert!(!taken_over.is_empty(), "the killed one had left something");
    // What the other had handled was its own: nobody repeats it.
    let others: BTreeSet<_> = runs.last().unwrap().iter().map(|event| event.id.clone()).collect();
    let repeated: Vec<_> = taken_over.iter().filter(|event| others.contains(&event.id)).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

#[actix::test]
async fn what_two_nodes_see_alike_is_told_once() {
    let receiver = Receiver::start().await;
    let site = Site::new(|_| {});
    let one = site.serve();
    let topics = json!(["incident.opened", "incident.closed"]);
    let hook = json!({ "url": receiver.url(), "topics": topics });
    assert_eq!(one.ask("POST", "/api/v1/webhooks", Some(&hook)).0, 201);
    let names: Vec<_> = (0..6).map(|number| format!("w{number}")).collect();
    for (number, name) in (0..).zip(&names) {
        one.register(name, &site.customer(number));
    }
    for name in &names {
        one.state(name, "ready");
    }
    let two = site.serve();
    for name in &names {
        two.state(name, "ready");
    }
    let lines = [one.lines(), two.lines()];
    site.slack.outage(std::time::Duration::from_secs(2), true);
    // Each says in its log what it sees.
    for (node, lines) in [&one, &two].into_iter().zip(lines) {
        node.line_after(lines, |line| line.contains("incident.closed"));
    }
    receiver.until("incident.closed").await;
    for node in [one, two] {
        let ended = node.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    }
    let topics: Vec<_> = receiver.seen().iter().map(Got::topic).collect();
    assert_eq!(topics, ["incident.opened", "incident.closed"]);
}

#[actix::test]
async fn of_two_nodes_one_posts_and_the_other_goes_on_under_the_same_id_when_it_is_killed() {
    let receiver = Receiver::start().await;
    let site = Site::new(|_| {});
    // It posts, since it is there first.
    let one = site.serve();
    let hook = json!({ "url": receiver.url(), "topics": ["workspace.uninstalled"] });
    assert_eq!(one.ask("POST", "/api/v1/webhooks", Some(&hook)).0, 201);
    let customers: Vec<_> = (0..2).map(|number| site.customer(number)).collect();
    for (number, customer) in customers.iter().enumerate() {
        join(&one, &format!("w{number}"), customer).await;
    }
    let two = site.serve();
    two.state("w0", "ready");
    two.state("w1", "ready");
    let waiting = |node: &Process| node.ask("GET", "/api/v1/webhooks", None).1["data"][0]["waiting"].clone();
    leave(&site, &customers[0]);
    receiver.until("workspace.uninstalled").await;
    eventually("it is taken", async || (waiting(&two) == 0).then_some(())).await;

    receiver.answer([HANG]);
    leave(&site, &customers[1]);
    eventually("the next is on its way", async || (receiver.seen().len() == 2).then_some(())).await;
    drop(one.kill());
    eventually("the other takes over", async || (receiver.seen().len() == 3).then_some(())).await;
    eventually("it is taken", async || (waiting(&two) == 0).then_some(())).await;
    let ended = two.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    let told: Vec<_> = receiver.seen().iter().map(Got::workspace).collect();
    assert_eq!(told, ["w0", "w1", "w1"]);
    receiver.assert_one_id_each();
}

fn busy_site() -> Site {
    Site::new(|rules| {
        rules.time_scale = 0.01;
        rules.ack_deadline_ms = 1_000;
    })
}

/// Two nodes that are both connected, and events that flow.
fn two_nodes(site: &Site) -> (Process, Process, Customer) {
    let customer = site.customer(0);
    let one = site.serve();
    one.register("acme", &customer);
    one.state("acme", "ready");
    let two = site.serve();
    two.state("acme", "ready");
    site.slack.load(&customer.app_id, Load { rate: Some(400.0), ..Load::default() }).unwrap();
    (one, two, customer)
}

/// Nothing new is sent, and everything is acked or given up.
fn settle(site: &Site, customer: &Customer) {
    site.slack.stop_load(&customer.app_id).unwrap();
    site.until("every event is acked or given up", |record| {
        record.apps.iter().all(|app| {
            let counts = &app.counts;
            counts.sent == counts.acked + counts.given_up + counts.timed_out
        })
    });
}

/// Waits until the last run has handled every acked event that no other has.
fn until_handled(site: &Site, last: &Process, runs: &[Vec<Handled>]) {
    let mut missing = acked(site);
    for event in runs.iter().flatten() {
        missing.remove(&event.id);
    }
    if !missing.is_empty() {
        last.line(|line| {
            Handled::read(line).is_some_and(|event| missing.remove(&event.id)) && missing.is_empty()
        });
    }
}

fn acked(site: &Site) -> BTreeSet<String> {
    let events = site.slack.record().apps.into_iter().flat_map(|app| app.events);
    events.filter(|event| event.outcome == Outcome::Acked).map(|event| event.id).collect()
}
