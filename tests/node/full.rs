//! A database without room: nothing is acked that is not on disk, everybody can see why, and it ends by itself.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tautline::admin::AdminToken;
use tautline::app::{App, Options};
use tautline::config::Ack;
use tautline::config::KeySource;
use tautline::handlers::Registry;
use tautline::simulator::{Counts, Load, Outcome, Record};
use tautline::store::Keep;
use tautline::telemetry::Metrics;

use super::process::{ADMIN_TOKEN, PATIENCE, Site, ask};

/// 1.6 MiB: room for the largest group there is, and not for all that comes.
const PAGES: u32 = 200;
const EVENTS: u64 = 1_000;

#[actix_web::test]
async fn a_full_database_acks_nothing_says_so_and_goes_on_once_there_is_room() {
    let site = Site::new(|rules| {
        rules.ack_deadline_ms = 500;
        rules.retry_after_ms = vec![100; 600];
    });
    let customer = site.customer(0);
    let app = App::start(options(&site)).await.expect("there is room for a beginning");
    let body = json!({"app_token": customer.app_token});
    let (status, answer) = ask_apart(&app, "PUT", "/api/v1/workspaces/acme", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    let load = Load { rate: Some(400.0), count: Some(EVENTS), ..Load::default() };
    site.slack.load(&customer.app_id, load).unwrap();

    // What is refused is sent again; each time that happens the node is asked.
    let mut repeats = 0;
    let answer = loop {
        let more = |record: &Record| std::mem::replace(&mut repeats, counts(record).retried) != repeats;
        site.slack.until(more, PATIENCE).await.expect("it fills up");
        let (status, answer) = ask_apart(&app, "GET", "/readyz?verbose", None).await;
        if status == 503 {
            break answer;
        }
    };
    assert!(answer.to_string().contains("the database takes no writes"), "{answer}");
    let (_, shown) = ask_apart(&app, "GET", "/api/v1/workspaces/acme", None).await;
    assert_eq!(
        (&shown["state"], &shown["health"], &shown["reason"]["code"]),
        (&json!("ready"), &json!("degraded"), &json!("journal_stuck")),
        "{shown}"
    );
    let acked = acked(&site);
    assert!(!acked.is_empty(), "there was room for some");
    let mut db = site.database.connect().await;
    assert!(acked.is_subset(&stored(&mut db).await), "what is acked is stored");

    let mut acks = 0;
    while acks < EVENTS {
        sqlx::query("delete from payloads").execute(&mut db).await.unwrap();
        let more = |record: &Record| std::mem::replace(&mut acks, counts(record).acked) < acks;
        site.slack.until(more, PATIENCE).await.expect("there is room again");
    }
    let (status, answer) = ask_apart(&app, "GET", "/readyz?verbose", None).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(stored(&mut db).await.len(), 1_000);
    db.close().await.unwrap();
    assert!(app.stop().await.journal_ended);
}

/// A request from another thread: the answer needs this one.
async fn ask_apart(app: &App, method: &'static str, path: &'static str, body: Option<Value>) -> (u16, Value) {
    let address = app.address();
    actix_web::web::block(move || ask(address, method, path, body.as_ref())).await.expect("it answers")
}

fn options(site: &Site) -> Options {
    let mut handlers = Registry::default();
    handlers.register_builtin("log").unwrap();
    Options {
        database: site.database.address(),
        key: KeySource::Beside,
        max_pages: Some(PAGES),
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        admin_token: AdminToken::new(ADMIN_TOKEN),
        slack_api: site.slack.api_url().parse().unwrap(),
        extra_ca_file: None,
        ack: Ack::Stored,
        handlers,
        routes: Vec::new(),
        links: 1,
        opens: tautline::machine::pace::Limits::default(),
        threads: 1,
        workspace: None,
        keep: Keep::default(),
        webhooks_allow_private: true,
        metrics: Arc::new(Metrics::new().unwrap()),
    }
}

fn counts(record: &Record) -> &Counts {
    &record.apps.first().expect("there is one app").counts
}

fn acked(site: &Site) -> BTreeSet<String> {
    let events = site.slack.record().apps.into_iter().flat_map(|app| app.events);
    events.filter(|event| event.outcome == Outcome::Acked).map(|event| event.id).collect()
}

async fn stored(db: &mut SqliteConnection) -> BTreeSet<String> {
    let ids: Vec<String> = sqlx::query_scalar("select slack_id from events").fetch_all(db).await.unwrap();
    let (events, ids) = (ids.len(), BTreeSet::from_iter(ids));
    assert_eq!(ids.len(), events, "each event once");
    ids
}
