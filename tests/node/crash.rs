//! The end of a node, with and without notice: every event that Slack was told "got it" for is handled.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tautline::simulator::{EventRecord, Fault, How, Load, Outcome, Side};

use super::process::{ADMIN_TOKEN, Handled, Output, PATIENCE, Site, block_on};

/// Customers that send at the same time.
const CUSTOMERS: u8 = 3;
/// Events a second of all of them.
const RATE: u32 = 600;
/// A stop takes no longer, whatever is under way.
const STOPPED: Duration = Duration::from_secs(10);
/// How often a node is killed.
const KILLS: usize = 20;

/// A pipe holds some 300 lines, half a second's events; what comes after that waits on disk.
const BEHIND: Duration = Duration::from_secs(1);

#[test]
fn twenty_kills_in_a_row_lose_no_event_that_was_acked() {
    let seed: u64 = rand::random();
    println!("the moments are drawn from seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let site = busy_site();
    let mut runs: Vec<Vec<Handled>> = Vec::new();
    let mut unsettled = Vec::new();
    for round in 0..KILLS {
        let node = site.serve();
        if round == 0 {
            begin(&site, &node);
        }
        match round % 4 {
            // As it starts, while it hands on what its predecessor left.
            3 => {}
            // Behind: what is stored and acked is far ahead of what is handled.
            1 => {
                node.line(|line| Handled::read(line).is_some());
                node.stop_listening();
                node.run_for(BEHIND);
            }
            // While events flow.
            _ => drop(node.line(|line| Handled::read(line).is_some())),
        }
        node.run_for(Duration::from_millis(dice.random_range(0..1_000)));
        runs.push(node.kill().handled());
        unsettled.push(unsettled_in(&site));
    }
    runs.push(last_run(&site, &runs));

    let sent = sent(&site);
    println!(
        "{} events sent, {} acked, {} sent again; handled by run {:?}; unsettled at each kill {unsettled:?}",
        sent.len(),
        acked(&sent).len(),
        sent.iter().filter(|event| event.attempts.len() > 1).count(),
        runs.iter().map(Vec::len).collect::<Vec<_>>(),
    );
    // In the moment between a note and the next event there is nothing to lose, and a kill may hit it.
    let worthwhile = unsettled.iter().filter(|events| **events > 0).count();
    assert!(worthwhile >= KILLS - 2, "a kill with nothing to lose proves nothing: {unsettled:?}");
    assert!(unsettled.iter().any(|events| *events > 100), "no node was behind: {unsettled:?}");
    every_acked_event_was_handled(&sent, &runs);
    every_event_has_one_place_in_the_journal(&runs);
    let repeats = repeats(&runs);
    println!("handled again after each kill: {repeats:?}");
    // What is handled is noted with the next group, at the latest after a second.
    assert!(repeats.iter().sum::<usize>() <= KILLS * RATE as usize, "{repeats:?}");
}

#[test]
fn each_conversation_stays_in_order_through_ten_kills_though_events_fail_at_times() {
    let seed: u64 = rand::random();
    println!("the moments are drawn from seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let site = busy_site();
    let mut runs: Vec<Vec<Handled>> = Vec::new();
    let mut panics = 0;
    for round in 0..KILLS / 2 {
        let node = site.serve_example("ordered");
        if round == 0 {
            begin(&site, &node);
        }
        node.line(|line| Handled::read(line).is_some());
        node.run_for(Duration::from_millis(dice.random_range(0..1_500)));
        let output = node.kill();
        panics += panics_in(&output);
        runs.push(output.handled());
    }
    assert!(panics > 0, "a handler that never panicked proves nothing");
    runs.push(last_run_of(&site, &runs, site.serve_example("ordered")));
    every_acked_event_was_handled(&sent(&site), &runs);
    println!("handled again after each kill: {:?}", repeats(&runs));
    // Each customer has one channel; what comes again after a kill has been there before.
    let mut last = BTreeMap::new();
    let mut before = BTreeSet::new();
    for event in runs.iter().flatten() {
        if before.insert(&event.id) {
            let seq: i64 = event.seq.parse().unwrap();
            let behind = last.insert(event.workspace.clone(), seq).filter(|last| *last > seq);
            assert_eq!(behind, None, "{} of {} came behind a later one", event.id, event.workspace);
        }
    }
    assert_eq!(last.len(), usize::from(CUSTOMERS));
}

#[test]
fn a_stop_by_either_signal_closes_every_socket_in_order_and_the_next_start_repeats_nothing() {
    let site = busy_site();
    let mut runs = Vec::new();
    for signal in ["TERM", "INT"] {
        let node = site.serve();
        if runs.is_empty() {
            begin(&site, &node);
        }
        for number in 0..CUSTOMERS {
            node.state(&format!("customer-{number}"), "ready");
        }
        let lines = node.lines();
        node.line_after(lines + 300, |line| Handled::read(line).is_some());
        node.signal(signal);
        let ended = node.ended_within(STOPPED);
        assert_eq!(ended.code, Some(0), "{}", ended.output.text());
        runs.push(ended.output.handled());
    }
    runs.push(last_run(&site, &runs));

    every_acked_event_was_handled(&sent(&site), &runs);
    assert_eq!(repeats(&runs), [0, 0, 0], "a stop in order notes all that was handled");
    for app in site.slack.record().apps {
        assert_eq!(app.sockets.len(), 3);
        for socket in &app.sockets {
            let end = socket.end.expect("the node is gone");
            assert_eq!((end.by, end.how), (Side::Client, How::CloseFrame), "{socket:?}");
        }
    }
}

#[test]
fn a_stopping_node_is_unready_first_ends_its_streams_and_says_what_is_left() {
    let site = Site::new(|_| {});
    let node = site.serve();
    node.register("acme", &site.customer(0));
    node.state("acme", "ready");
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    let head =
        format!("GET /api/v1/stream HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream).lines().map(|line| line.expect("the stream is whole"));
    assert!(stream.any(|line| line == "event: stream.open"));
    // The close frame stays unanswered for as long as a link waits for that: time to look at it.
    site.slack.arm(None, Fault::CloseUnanswered).unwrap();
    node.signal("TERM");
    node.line(|line| line.contains("stopping") && line.contains("\"signal\":\"TERM\""));
    let (status, told) = node.ask("GET", "/readyz", None);
    assert_eq!(status, 503, "{told}");
    assert!(told.as_str().unwrap().contains("the node is stopping"), "{told}");
    assert_eq!(node.ask("GET", "/livez", None).0, 200, "a probe that were red would have it killed");
    assert!(stream.any(|line| line == "event: stream.end"), "the streams end while the links still close");
    let left = node.line(|line| line.contains("\"message\":\"stopped\""));
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!((&left["links_left"], &left["events_left"]), (&json!(0), &json!(0)), "{left}");
    assert!(left["ms"].is_u64() && left["links_closed"] == true, "{left}");
    assert_eq!(node.ended().code, Some(0));
}

#[test]
fn a_second_signal_ends_at_once_what_the_first_one_began() {
    let site = Site::new(|_| {});
    let node = site.serve();
    node.register("acme", &site.customer(0));
    node.state("acme", "ready");
    // The close frame stays unanswered for as long as a link waits for that: time for the second signal.
    site.slack.arm(None, Fault::CloseUnanswered).unwrap();
    node.signal("TERM");
    node.line(|line| line.contains("stopping"));
    node.signal("TERM");
    let ended = node.ended();
    assert_eq!(ended.code, Some(1));
    let text = ended.output.text();
    assert!(text.contains("ended at once by a second signal") && !text.contains("\"stopped\""), "{text}");
}

/// How often a handler has panicked, each time in a line of the log like any other and without a word of the event.
fn panics_in(output: &Output) -> usize {
    let whole = output.stderr.split_last().map_or(&[][..], |(_, whole)| whole);
    let lines = whole.iter().map(|line| serde_json::from_str::<Value>(line).map_err(|_| line).unwrap());
    let panics: Vec<Value> = lines.filter(|line| line["message"] == "panicked").collect();
    for panic in &panics {
        let place = panic["place"].as_str().unwrap_or_default();
        assert!(place.contains("ordered.rs:") && panic.get("text").is_none(), "{panic}");
    }
    panics.len()
}

fn busy_site() -> Site {
    Site::new(|rules| {
        // A minute is 600 ms, and acks are due within a second: who is unheard is repeated soon.
        rules.time_scale = 0.01;
        rules.ack_deadline_ms = 1_000;
    })
}

/// Registers the customers and lets them send.
fn begin(site: &Site, node: &super::process::Process) {
    for number in 0..CUSTOMERS {
        let customer = site.customer(number);
        node.register(&format!("customer-{number}"), &customer);
        let load = Load { rate: Some(f64::from(RATE) / f64::from(CUSTOMERS)), ..Load::default() };
        site.slack.load(&customer.app_id, load).unwrap();
    }
}

/// A node without new load that ends once each event is acked or given up, and each acked one was handled by some run. A stop
/// would leave what no handler has begun to the next start.
fn last_run(site: &Site, runs: &[Vec<Handled>]) -> Vec<Handled> {
    last_run_of(site, runs, site.serve())
}

fn last_run_of(site: &Site, runs: &[Vec<Handled>], node: super::process::Process) -> Vec<Handled> {
    for number in 0..CUSTOMERS {
        site.slack.stop_load(&format!("A0REAL{number}")).unwrap();
    }
    site.until("every event is acked or given up", |record| {
        record.apps.iter().all(|app| {
            let counts = &app.counts;
            counts.sent == counts.acked + counts.given_up + counts.timed_out
        })
    });
    let mut missing = acked(&sent(site));
    for event in runs.iter().flatten() {
        missing.remove(&event.id);
    }
    if !missing.is_empty() {
        node.line(|line| {
            Handled::read(line).is_some_and(|event| missing.remove(&event.id)) && missing.is_empty()
        });
    }
    let ended = node.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    ended.output.handled()
}

fn sent(site: &Site) -> Vec<EventRecord> {
    site.slack.record().apps.into_iter().flat_map(|app| app.events).collect()
}

/// What Slack was told "got it" for.
fn acked(sent: &[EventRecord]) -> BTreeSet<String> {
    sent.iter().filter(|event| event.outcome == Outcome::Acked).map(|event| event.id.clone()).collect()
}

fn every_acked_event_was_handled(sent: &[EventRecord], runs: &[Vec<Handled>]) {
    let mut lost = acked(sent);
    for event in runs.iter().flatten() {
        lost.remove(&event.id);
    }
    assert!(lost.is_empty(), "{} acked events were handled by nobody: {lost:?}", lost.len());
}

/// Also what was stored, and not acked, and sent again by Slack, is one event and not two.
fn every_event_has_one_place_in_the_journal(runs: &[Vec<Handled>]) {
    let mut seqs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in runs.iter().flatten() {
        seqs.entry(&event.id).or_default().insert(&event.seq);
    }
    let twice: Vec<_> = seqs.iter().filter(|(_, seqs)| seqs.len() > 1).collect();
    assert!(twice.is_empty(), "sent again by Slack and not recognised: {twice:?}");
}

/// How many events each run handled that an earlier one had handled.
fn repeats(runs: &[Vec<Handled>]) -> Vec<usize> {
    let mut before = BTreeSet::new();
    let count = |run: &Vec<Handled>| run.iter().filter(|event| !before.insert(event.id.clone())).count();
    runs.iter().map(count).collect()
}

/// How many events of a killed node are stored and not noted as handled.
fn unsettled_in(site: &Site) -> i64 {
    block_on(async {
        let (mut db, _folder) = site.database.remains().await;
        let unsettled = sqlx::query_scalar(
            "select count(*) from events where seq > (select min(settled_to) from writers where ended_at is null)",
        );
        let unsettled = unsettled.fetch_one(&mut db).await.unwrap();
        db.close().await.unwrap();
        unsettled
    })
}
