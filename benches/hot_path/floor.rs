//! What the store alone takes, by the size of a group: no socket, no JSON, no handler, nothing but events that are sealed, written
//! and synced, one group after the other. What a node costs beside that is the node's own.

use std::path::Path;
use std::process::id;
use std::sync::Arc;
use std::time::Duration;

use tautline::clock::Clock;
use tautline::config::KeySource;
use tautline::event::{DedupeKey, Event, Kind};
use tautline::ids::{AppId, Seq};
use tautline::machine::seq::SeqMaker;
use tautline::store::{self, OpenOptions};

use crate::machine::cpu;

const GROUPS: [usize; 4] = [1, 8, 50, 500];

/// Prints the table: each size for so long.
pub(crate) async fn table(address: &str, length: Duration) {
    println!("The store alone, CPU time of an event of 1 536 bytes:\n");
    println!("| events a group | CPU an event | CPU a group | groups a second |\n|---|---|---|---|");
    for size in GROUPS {
        let options = OpenOptions { address: address.to_owned(), key: KeySource::Beside, max_pages: None };
        let store = store::open(options).await.unwrap().store;
        let clock = Clock::start();
        let writer = store.begin_writer("bench", clock.now().wall_ms).await.unwrap();
        let mut seqs = SeqMaker::new(writer.number, writer.last);
        let (mut settled, mut groups) = (writer.settled_to, 0_u32);
        let (began, before) = (clock.mono(), cpu(id()));
        while clock.mono() - began < length {
            let group: Vec<_> =
                (0..size).map(|_| Arc::new(event(seqs.next(clock.now().wall_ms), clock))).collect();
            store.append(writer.id, &group, settled).await.unwrap();
            settled = group.last().unwrap().seq;
            groups += 1;
        }
        let a_group = (cpu(id()) - before).as_secs_f64() * 1e6 / f64::from(groups);
        println!(
            "| {size} | {:.1} µs | {a_group:.0} µs | {:.0} |",
            a_group / size as f64,
            f64::from(groups) / length.as_secs_f64()
        );
        store.end_writer(writer.id, settled, clock.now().wall_ms).await.unwrap();
        store.close().await;
    }
    println!();
}

/// Where a database for it is made anew.
pub(crate) fn address(folder: &Path) -> String {
    drop(std::fs::remove_dir_all(folder));
    std::fs::create_dir_all(folder).unwrap();
    format!("sqlite://{}", folder.join("floor.db").display())
}

fn event(seq: Seq, clock: Clock) -> Event {
    Event {
        seq,
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: format!("Ev{:09X}", seq.0).into(),
        dedupe: DedupeKey(rand::random()),
        retry: 0,
        received_ms: clock.now().wall_ms,
        payload: "x".repeat(1_400).into(),
    }
}
