//! What an event costs on its way to the disk. Run by hand, on a real disk and in release:
//! `TMPDIR=/var/tmp cargo test --release --lib store::sqlite::cost -- --ignored --nocapture --test-threads=1`

use std::sync::Arc;
use std::time::Duration;

use super::{OpenOptions, SqliteStore};
use crate::clock::Clock;
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceId};

use crate::store::{Inbox as _, KeySource, Store as _, Taken};

const PAYLOAD_BYTES: usize = 1500;

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn append_costs_this_much_cpu() {
    for (group, groups) in [(256, 400), (512, 200), (64, 800), (1, 3000)] {
        measure(group, groups).await;
    }
}

async fn measure(group: usize, groups: usize) {
    let dir = tempfile::tempdir().unwrap();
    let address = dir.path().join("t.db").display().to_string();
    let store = SqliteStore::open(OpenOptions { address, key: KeySource::Beside, max_pages: None })
        .await
        .unwrap()
        .store;
    let writer = store.begin_writer("cost", 0).await.unwrap();
    let payload = "x".repeat(PAYLOAD_BYTES);
    let mut seq = 0;
    let (clock, cpu) = (Clock::start(), cpu_time());
    for _ in 0..groups {
        // Making the events is measured too: a few hundred nanoseconds each.
        let events: Vec<Arc<Event>> = (0..group)
            .map(|_| {
                seq += 1;
                Arc::new(event(seq, &payload))
            })
            .collect();
        let taken = store.append(writer.id, &events, Seq(seq - 1)).await.unwrap();
        assert!(taken.iter().all(|taken| *taken == Taken::Fresh));
    }
    let (spent, waited) = (cpu_time().checked_sub(cpu).unwrap(), clock.now().mono);
    store.close().await;
    let events = u32::try_from(group * groups).unwrap();
    println!("groups of {group:>3}: {:>6.1?} CPU, {:>6.1?} an event", spent / events, waited / events);
}

/// Key and id differ as in life: random to the index.
fn event(seq: i64, payload: &str) -> Event {
    let mixed = u128::from(seq.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: Some(WorkspaceId(1)),
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: format!("Ev{mixed:011X}").chars().take(13).collect::<String>().into(),
        dedupe: DedupeKey(mixed.rotate_left(61).to_be_bytes()),
        retry: 0,
        received_ms: 1_790_000_000_000 + seq,
        payload: payload.into(),
    }
}

/// User and system time of every thread of this process.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.map(|task| {
        // A thread may end between the listing and the reading.
        let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        stat.split_whitespace().next().map_or(0, |nanos| nanos.parse::<u64>().unwrap())
    });
    Duration::from_nanos(nanos.sum())
}
