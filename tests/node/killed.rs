//! Nodes that are killed while acks wait for answers: what was acked is answered, if late; what only an ack could answer never is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::Connection as _;
use tautline::simulator::{AppRecord, EventRecord, Outcome, Outgoing, Record, Template};

use super::process::{Handled, Process, Site, block_on};

const COMMANDS: &str = "A0REAL0";
/// What only an ack can answer.
const QUESTIONS: [&str; 2] = ["A0REAL1", "A0REAL2"];
const KILLS: usize = 4;

#[test]
fn what_was_acked_before_a_kill_is_answered_by_url_and_what_was_not_expires() {
    let seed: u64 = rand::random();
    println!("the moments are drawn from seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let site = Site::new(|_| {});
    let mut runs: Vec<Vec<Handled>> = Vec::new();
    let mut unanswered = 0;
    let mut unacked = 0;
    for round in 0..KILLS {
        let node = site.serve_example("answering");
        if round == 0 {
            begin(&site, &node);
        }
        site.until("all are on line", |record| record.apps.iter().all(|app| app.live_sockets() == 1));
        // Some are acked without their answers,
        send(&site);
        let sent = app(&site.slack.record(), COMMANDS).counts.sent;
        site.until("the commands are acked", |record| {
            let counts = &app(record, COMMANDS).counts;
            counts.acked + counts.timed_out == sent
        });
        // and some are being asked.
        send(&site);
        node.run_for(Duration::from_millis(dice.random_range(50..2_400)));
        runs.push(node.kill().handled());
        let record = site.slack.record();
        unanswered += bare(app(&record, COMMANDS)).len();
        unacked += QUESTIONS.map(|id| pending(app(&record, id))).iter().sum::<usize>();
    }
    println!("{unanswered} commands were acked and not answered, {unacked} questions waited");
    assert!(unanswered > KILLS && unacked > KILLS, "kills with nothing to lose prove nothing");

    let node = site.serve_example("answering");
    site.until("all is over, and whatever was acked bare is answered", |record| {
        let is_over = |app: &AppRecord| app.events.iter().all(|event| event.outcome != Outcome::Pending);
        record.apps.iter().all(is_over) && bare(app(record, COMMANDS)).is_empty()
    });
    let ended = node.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    runs.push(ended.output.handled());

    let record = site.slack.record();
    let asked: BTreeSet<&str> = runs.iter().flatten().map(|event| event.id.as_str()).collect();
    for event in &app(&record, COMMANDS).events {
        let is_acked = event.outcome == Outcome::Acked;
        assert!(!is_acked || asked.contains(name(event)), "{} was acked and is lost", event.id);
    }
    for id in QUESTIONS {
        let app = app(&record, id);
        assert_eq!((app.counts.late_acks, app.responses.len()), (0, 0), "nobody is answered too late");
        for event in &app.events {
            let is_answered = event.ack_payload.is_some();
            assert_eq!(
                is_answered,
                event.outcome == Outcome::Acked,
                "{}: an ack of it is an answer",
                event.id
            );
            let times = runs.iter().filter(|run| run.iter().any(|asked| asked.id == name(event))).count();
            assert!(times <= 1, "{} was asked again after a kill", event.id);
        }
        assert!(app.events.iter().any(|event| event.outcome == Outcome::Acked), "some came in time");
    }
    every_question_without_its_ack_has_expired(&site, &record);
}

const APPS: [(&str, Template); 3] = [
    (COMMANDS, Template::SlashCommand),
    (QUESTIONS[0], Template::ViewSubmission),
    (QUESTIONS[1], Template::BlockSuggestion),
];

fn begin(site: &Site, node: &Process) {
    for number in 0..3 {
        let customer = site.customer(number);
        node.register(&format!("customer-{number}"), &customer);
    }
}

fn send(site: &Site) {
    for _ in 0..10 {
        for (app, template) in APPS {
            site.slack.send(app, Outgoing::template(template)).unwrap();
        }
    }
}

fn app<'a>(record: &'a Record, id: &str) -> &'a AppRecord {
    record.app(id).expect("Slack knows the app")
}

/// What the node calls it.
fn name(event: &EventRecord) -> &str {
    event.attempts.first().map_or("", |attempt| &attempt.envelope_id)
}

/// Acked without an answer, and not answered since.
fn bare(app: &AppRecord) -> Vec<&str> {
    let answered: BTreeSet<&str> = app.responses.iter().map(|response| response.event_id.as_str()).collect();
    let bare =
        app.events.iter().filter(|event| event.outcome == Outcome::Acked && event.ack_payload.is_none());
    bare.map(|event| event.id.as_str()).filter(|id| !answered.contains(id)).collect()
}

/// On their way or being asked.
fn pending(app: &AppRecord) -> usize {
    app.events.iter().filter(|event| event.outcome == Outcome::Pending && !event.attempts.is_empty()).count()
}

/// Also those that were being asked when their node was killed.
fn every_question_without_its_ack_has_expired(site: &Site, record: &Record) {
    let rows: Vec<(String, Option<String>)> = block_on(async {
        let mut db = site.database.connect().await;
        let rows = sqlx::query_as(
            "select e.slack_id, d.status from events e left join deliveries d on d.seq = e.seq where e.kind = 'interactive'",
        );
        let rows = rows.fetch_all(&mut db).await.unwrap();
        db.close().await.unwrap();
        rows
    });
    assert!(!rows.is_empty());
    let events = QUESTIONS.iter().flat_map(|id| &app(record, id).events);
    let fates: BTreeMap<&str, Outcome> = events.map(|event| (name(event), event.outcome)).collect();
    let mut expired = 0;
    for (id, status) in &rows {
        if fates.get(id.as_str()) == Some(&Outcome::Acked) {
            assert!(!matches!(status.as_deref(), Some("waiting" | "retrying")), "{id} was answered");
        } else {
            assert_eq!(status.as_deref(), Some("expired"), "{id} was not acked");
            expired += 1;
        }
    }
    println!("{expired} of {} questions have expired", rows.len());
}
