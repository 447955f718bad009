//! One workspace that floods beside many quiet ones, live: judged by whose turn it was, not by how long it took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tautline::config::Ack;
use tautline::handlers::{Delivery, Handler, Options as Limits, Outcome, Registry};
use tautline::ids::{Seq, WorkspaceId};
use tautline::simulator::Load;

use super::harness::{Stage, eventually};

/// What the one sends, a second and in all: more than its handler can do.
const FLOOD: (f64, u64) = (2_000.0, 6_000);
/// What each of the others sends, one a second.
const QUIET: u64 = 5;
const OTHERS: usize = 20;

/// Tries at once, and how long each takes: 400 a second.
const WORK: (usize, Duration) = (2, Duration::from_millis(5));

#[actix::test]
async fn beside_a_flood_of_thousands_each_quiet_workspace_has_its_turn_at_once() {
    let stage = Stage::new();
    let slow = Slow::default();
    let mut handlers = Registry::default();
    let plugin = slow.clone();
    let limits = Limits { concurrency: WORK.0, ..Limits::default() };
    handlers.register("slow", limits, move |_| plugin.clone()).unwrap();
    let node = stage.bare_node(Ack::Stored, handlers).await;
    let flooder = stage.customer("flooder");
    let others: Vec<_> = (0..OTHERS).map(|number| stage.customer(&format!("quiet{number}"))).collect();
    node.welcome(&others.iter().chain([&flooder]).collect::<Vec<_>>()).await;
    let flood = Load { rate: Some(FLOOD.0), count: Some(FLOOD.1), ..Load::default() };
    stage.slack.load(&flooder.app_id, flood).unwrap();
    // More waits than there is room for in memory.
    stage.until_acked(&flooder, 3_000).await;
    for other in &others {
        let trickle = Load { rate: Some(1.0), count: Some(QUIET), ..Load::default() };
        stage.slack.load(&other.app_id, trickle).unwrap();
    }
    for customer in others.iter().chain([&flooder]) {
        stage.until_settled(customer).await;
        stage.assert_flawless(customer);
        node.assert_always_ready(&customer.name).await;
    }
    let theirs = OTHERS * usize::try_from(QUIET).unwrap();
    eventually("the quiet ones are handled", async || {
        let begun = slow.begun.lock().unwrap();
        let loud = loud(&begun);
        (begun.iter().filter(|(of, _)| *of != loud).count() >= theirs).then_some(())
    })
    .await;
    // What is left shows nothing more.
    slow.hurries.store(true, Ordering::Relaxed);
    let all = usize::try_from(FLOOD.1).unwrap() + theirs;
    eventually("all is handled", async || (slow.begun.lock().unwrap().len() >= all).then_some(())).await;

    let begun = slow.begun.lock().unwrap().clone();
    assert_eq!(begun.len(), all, "each once");
    let loud = loud(&begun);
    let mut overtaken: Vec<usize> = Vec::new();
    for (at, (_, seq)) in begun.iter().enumerate().filter(|(_, (of, _))| *of != loud) {
        let is_earlier = |(of, other): &&Begun| *of == loud && other < seq;
        overtaken.push(begun.iter().skip(at).filter(is_earlier).count());
    }
    overtaken.sort_unstable();
    println!(
        "events of the flood that had come before a quiet one and were handled behind it: {overtaken:?}"
    );
    // The flood was thousands behind for as long as the others sent, and none of them stood in its line.
    assert!(overtaken.first().is_some_and(|least| *least > 1_000), "{overtaken:?}");
    node.stop().await;
}

/// Who has sent the most.
fn loud(begun: &[Begun]) -> Option<WorkspaceId> {
    let mut each: BTreeMap<Option<WorkspaceId>, usize> = BTreeMap::new();
    for (of, _) in begun {
        *each.entry(*of).or_default() += 1;
    }
    each.into_iter().max_by_key(|(_, count)| *count).and_then(|(of, _)| of)
}

/// Whose event was begun, and which.
type Begun = (Option<WorkspaceId>, Seq);

/// Takes its time, and notes what it begins.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<Mutex<Vec<Begun>>>,
    hurries: Arc<AtomicBool>,
}

#[async_trait(?Send)]
impl Handler for Slow {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        self.begun.lock().unwrap().push((delivery.event.workspace, delivery.event.seq));
        if !self.hurries.load(Ordering::Relaxed) {
            tokio::time::sleep(WORK.1).await;
        }
        Outcome::Done
    }
}
