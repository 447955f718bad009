//! One workspace that floods beside many quiet ones, live: judged by whose turn it was, not by how long it took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tautline::config::Ack;
use tautline::handlers::{Delivery, Handler, Options as Limits, Outcome, Registry};
use tautline::ids::{Seq, WorkspaceId};
use tautline::simulator::Load;
use tokio::sync::watch;

use super::harness::{Stage, eventually};

/// What the one sends, at once and in all: as fast as it is acked.
const FLOOD: (u32, u64) = (64, 3_000);
/// What each of the others sends, one a second.
const QUIET: u32 = 5;
const OTHERS: usize = 20;

/// Tries at once, and how long each takes: 400 a second.
const WORK: (usize, Duration) = (2, Duration::from_millis(5));

/// How much of the flood has come, and waits, when the first of each of the others comes.
const BEHIND: u64 = 2_000;

/// How many of the flood are begun at most when one of the others has come and waits for its turn: one before each of its own, had they
/// come at once, and what is being tried. As many again are for a busy machine.
const FEW: usize = 2 * (QUIET as usize + WORK.0);

#[actix::test]
async fn beside_a_flood_of_thousands_each_quiet_workspace_has_its_turn_at_once() {
    let stage = Stage::new();
    let (works, _) = watch::channel(false);
    let slow = Slow { begun: Arc::default(), works, hurries: Arc::default() };
    let mut handlers = Registry::default();
    let plugin = slow.clone();
    let limits = Limits { concurrency: WORK.0, ..Limits::default() };
    handlers.register("slow", limits, move |_| plugin.clone()).unwrap();
    let porter = Porter { slow: slow.clone(), came: Arc::default() };
    let plugin = porter.clone();
    handlers.register("porter", Limits::default(), move |_| plugin.clone()).unwrap();
    let node = stage.bare_node(Ack::Stored, handlers).await;
    let flooder = stage.customer("flooder");
    let others: Vec<_> = (0..OTHERS).map(|number| stage.customer(&format!("quiet{number}"))).collect();
    node.welcome(&others.iter().chain([&flooder]).collect::<Vec<_>>()).await;
    let flood = Load { window: Some(FLOOD.0), count: Some(FLOOD.1), ..Load::default() };
    stage.slack.load(&flooder.app_id, flood).unwrap();
    // More waits than there is room for in memory.
    for part in 1..=4 {
        stage.until_acked(&flooder, BEHIND / 4 * part).await;
    }
    for other in &others {
        let trickle = Load { rate: Some(1.0), count: Some(u64::from(QUIET)), ..Load::default() };
        stage.slack.load(&other.app_id, trickle).unwrap();
    }
    eventually("one of each has come", async || {
        let whose: BTreeSet<_> = porter.came.lock().unwrap().iter().map(|came| came.of).collect();
        (whose.len() > OTHERS).then_some(())
    })
    .await;
    slow.works.send_replace(true);
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
    let mut waited: Vec<(usize, usize)> = Vec::new();
    for Came { seq, begun_before, .. } in porter.came.lock().unwrap().iter().filter(|came| came.of != loud) {
        let turn = begun.iter().position(|(_, other)| other == seq).unwrap();
        let of_the_flood = |some: &[Begun]| some.iter().filter(|(of, _)| *of == loud).count();
        let since: Vec<_> = begun.iter().skip(*begun_before).copied().collect();
        let there: Vec<_> = since.iter().filter(|(_, other)| other < seq).copied().collect();
        let passed = begun.get(*begun_before..turn).unwrap_or_default();
        waited.push((of_the_flood(&there), of_the_flood(passed)));
    }
    waited.sort_unstable();
    println!("of the flood waited when a quiet one came, and was begun before its turn: {waited:?}");
    assert_eq!(waited.len(), theirs);
    let behind = waited.iter().filter(|(there, _)| *there as u64 >= BEHIND - 2 * WORK.0 as u64).count();
    assert!(behind >= OTHERS, "the flood waited when one of each came: {waited:?}");
    assert!(waited.iter().all(|(_, passed)| *passed <= FEW), "none of them stood in its line: {waited:?}");
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

/// Takes its time once it works, and notes what it begins.
#[derive(Clone)]
struct Slow {
    begun: Arc<Mutex<Vec<Begun>>>,
    works: watch::Sender<bool>,
    hurries: Arc<AtomicBool>,
}

#[async_trait(?Send)]
impl Handler for Slow {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        self.begun.lock().unwrap().push((delivery.event.workspace, delivery.event.seq));
        self.works.subscribe().wait_for(|works| *works).await.unwrap();
        if !self.hurries.load(Ordering::Relaxed) {
            tokio::time::sleep(WORK.1).await;
        }
        Outcome::Done
    }
}

/// Notes what comes, and is never busy.
#[derive(Clone)]
struct Porter {
    slow: Slow,
    came: Arc<Mutex<Vec<Came>>>,
}

#[derive(Clone, Copy)]
struct Came {
    of: Option<WorkspaceId>,
    seq: Seq,
    /// How many the slow handler had begun by then.
    begun_before: usize,
}

#[async_trait(?Send)]
impl Handler for Porter {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let begun_before = self.slow.begun.lock().unwrap().len();
        let came = Came { of: delivery.event.workspace, seq: delivery.event.seq, begun_before };
        self.came.lock().unwrap().push(came);
        Outcome::Done
    }
}
