//! What can be wrong with a database that is a file, and with the key file beside it.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tautline::config::KeySource;
use tautline::event::{DedupeKey, Event, Kind};
use tautline::ids::{AppId, Seq};
use tautline::simulator::Outgoing;
use tautline::store::{self, OpenOptions};

use super::process::{Handled, Process, Site, block_on, limited, refused, used_site};

#[test]
fn a_key_file_that_is_gone_or_open_to_others_is_refused_in_one_line_with_the_remedy() {
    let site = used_site();
    let mut command = site.tautline(&["serve"]);
    command.env("TAUTLINE_KEY_FILE", "nowhere.key");
    let line = refused(command);
    assert!(line.contains("cannot read the key file nowhere.key"), "{line}");

    set_mode(&site.folder.path().join("tautline.db.key"), 0o644);
    let line = refused(site.tautline(&["serve"]));
    assert!(line.contains("mode 0644") && line.contains("chmod 600"), "{line}");
}

#[test]
fn a_read_only_database_is_refused_in_one_line() {
    let site = used_site();
    set_mode(site.database.path(), 0o444);
    let line = refused(site.tautline(&["serve"]));
    assert!(line.contains("tautline.db is read-only"), "{line}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let site = Site::new(|_| {});
    fs::write(site.database.path(), "the accounts of 1987").unwrap();
    let line = refused(site.tautline(&["serve"]));
    assert!(line.contains("is not a SQLite database"), "{line}");
    assert_eq!(fs::read_to_string(site.database.path()).unwrap(), "the accounts of 1987");
}

#[test]
fn a_second_node_on_a_database_is_refused_by_name_and_the_first_goes_on() {
    let site = Site::new(|_| {});
    let customer = site.customer(0);
    let first = site.serve();
    first.register("acme", &customer);
    first.state("acme", "ready");
    let line = refused(site.tautline(&["serve"]));
    assert!(line.contains(&format!("process {}", first.id())), "{line}");
    assert!(line.contains("tautline.db is in use by another node"), "{line}");

    let id = site.slack.send(&customer.app_id, Outgoing::default()).unwrap();
    first.line(|line| Handled::read(line).is_some_and(|event| event.id == id));
    assert_eq!(first.stop().code, Some(0));
}

#[test]
fn check_goes_on_after_a_failure_and_ends_with_code_2() {
    let site = used_site();
    set_mode(site.database.path(), 0o444);
    let ended = Process::start(limited(&site, "128")).ended();
    let lines = ended.output.stdout;
    let starts: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["ok    settings", "FAIL  database and key", "FAIL  file limit", "ok    slack"]);
    assert_eq!((ended.code, ended.output.stderr.len()), (Some(2), 1), "{:?}", ended.output.stderr);
}

#[test]
fn a_node_without_the_key_of_an_event_that_it_has_to_handle_is_not_ready_and_handles_it_once_it_has_the_key()
{
    let site = used_site();
    // What a node left that had the new key already.
    let new_key = store::generate_key_text();
    let both = KeySource::Both(Box::new(KeySource::Text(new_key.clone())), Box::new(site.database.key()));
    let event = Event {
        seq: Seq(1),
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: "Ev0LEFT".into(),
        dedupe: DedupeKey([1; 16]),
        retry: 0,
        received_ms: 1,
        payload: "{}".into(),
    };
    block_on(async {
        let options = OpenOptions { address: site.database.address(), key: both, max_pages: None };
        let store = store::open(options).await.unwrap().store;
        let writer = store.begin_writer("other", 1).await.unwrap();
        store.append(writer.id, &[Arc::new(event)], Seq(0)).await.unwrap();
        store.close().await;
    });

    let node = site.serve();
    node.line(|line| line.contains("sealed with a key that this node does not have"));
    let (status, text) = node.ask("GET", "/readyz?verbose", None);
    assert_eq!(status, 503);
    assert!(text.as_str().is_some_and(|text| text.contains("[-] journal failed: events wait")), "{text}");
    assert_eq!(node.stop().output.handled(), []);

    let mut command = site.tautline(&["serve"]);
    command.env("TAUTLINE_OTHER_KEY", new_key.expose_secret());
    let node = Process::start(command);
    node.line(|line| Handled::read(line).is_some_and(|event| event.id == "Ev0LEFT"));
    assert_eq!(node.ask("GET", "/readyz", None).0, 200);
    assert_eq!(node.stop().code, Some(0));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
