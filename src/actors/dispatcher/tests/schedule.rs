//! Laws that hold whatever happens in whatever order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::books::What;
use super::world::{Do, SMALL, World};
use crate::handlers::{Options, Order, Retry};

/// Something that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    /// Events come, of these workspaces and conversations, and are handed over or missed.
    Commit(Vec<(i64, u8)>, bool),
    /// A handler ends one of those it is at work on.
    End(usize, Do),
    /// A call to the store goes on.
    LetGo(usize),
    /// It fails.
    Refuse(usize),
    /// All calls that wait go on.
    LetAllGo,
    /// These and no others are paused from now on.
    Pause(Vec<i64>, bool),
    /// Time passes, milliseconds.
    Pass(u64),
    Crash,
    KillHandler,
}

fn steps(deadly: bool) -> impl Strategy<Value = Vec<Step>> {
    let whose = proptest::collection::vec((1..3_i64, 1..3_u8), 1..6);
    let how = prop_oneof![
        6 => Just(Do::Done),
        2 => prop_oneof![Just(0), Just(300), Just(1500)].prop_map(|ms| Do::Again(Duration::from_millis(ms))),
        1 => Just(Do::Reject),
        1 => Just(Do::Panic),
    ];
    let deaths = u32::from(deadly);
    let step = prop_oneof![
        8 => (whose, prop::bool::weighted(0.8)).prop_map(|(whose, handed)| Step::Commit(whose, handed)),
        16 => (any::<usize>(), how).prop_map(|(at, how)| Step::End(at, how)),
        16 => any::<usize>().prop_map(Step::LetGo),
        3 => any::<usize>().prop_map(Step::Refuse),
        4 => Just(Step::LetAllGo),
        2 => (proptest::collection::vec(1..3_i64, 0..2), prop::bool::weighted(0.2))
            .prop_map(|(whose, all)| Step::Pause(whose, all)),
        10 => prop_oneof![Just(1), Just(7), Just(60), Just(400), Just(1100), Just(16_000)].prop_map(Step::Pass),
        deaths => Just(Step::Crash),
        deaths => Just(Step::KillHandler),
    ];
    proptest::collection::vec(step, 1..80)
}

fn options() -> impl Strategy<Value = Options> {
    let order = prop_oneof![Just(Order::None), Just(Order::Conversation), Just(Order::Workspace)];
    let hold = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Duration::ZERO)),
        1 => Just(Some(Duration::from_millis(1200))),
    ];
    (order, hold, 1..6_usize).prop_map(|(order, hold, concurrency)| Options {
        order,
        hold,
        concurrency,
        retry: Retry { first: Duration::from_millis(700), most: Duration::from_secs(2), attempts: 4 },
        ..Options::default()
    })
}

async fn run(options: Options, steps: Vec<Step>) {
    let mut world = World::new(options, SMALL).await;
    let mut keys = BTreeMap::new();
    for what in What::ALL {
        world.books.hold(what);
    }
    let mut dies = false;
    for step in steps {
        match step {
            Step::Commit(whose, handed) => {
                for (workspace, conversation) in &whose {
                    let key = match options.order {
                        Order::None => None,
                        Order::Conversation => Some((*workspace, *conversation)),
                        Order::Workspace => Some((*workspace, 0)),
                    };
                    keys.insert(i64::try_from(keys.len()).unwrap() + 1, key);
                }
                world.commit(&whose, handed);
            }
            Step::End(at, how) => {
                let open = world.script.open();
                if !open.is_empty() {
                    world.script.end(open[at % open.len()], how);
                }
            }
            Step::LetGo(at) | Step::Refuse(at) => {
                let waiting = world.books.waiting().len();
                if waiting > 0 {
                    world.books.settle(at % waiting, matches!(step, Step::LetGo(_)));
                }
            }
            Step::LetAllGo => {
                while !world.books.waiting().is_empty() {
                    world.books.settle(0, true);
                }
            }
            Step::Pause(workspaces, all) => world.pause(&workspaces, all),
            Step::Pass(ms) => world.pass(Duration::from_millis(ms)).await,
            Step::Crash => {
                dies = true;
                world.crash().await;
            }
            Step::KillHandler => {
                dies = true;
                world.kill_handler().await;
            }
        }
        tokio::task::yield_now().await;
        world.check_settled();
    }
    world.end().await;
    let told = world.script.told();
    let mut handled = BTreeSet::new();
    for seq in &told.done {
        assert!(handled.insert(*seq) || dies, "{seq} was handled twice");
    }
    let (mut ended, mut last) = (BTreeSet::new(), BTreeMap::new());
    for seq in told.ended.iter().filter(|seq| ended.insert(**seq)) {
        let Some(key) = keys[seq] else { continue };
        if options.hold.is_none()
            && let Some(before) = last.insert(key, *seq)
        {
            assert!(before < *seq, "{seq} has ended after {before}, which shares its key");
        }
    }
    let mut tries = BTreeSet::new();
    for one in &told.begun {
        assert!(tries.insert(*one) || dies, "a try was begun twice: {one:?}");
    }
}

fn law(options: Options, steps: Vec<Step>) {
    actix_rt::System::new().block_on(async {
        tokio::time::pause();
        run(options, steps).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn without_a_crash_all_is_handled_once_and_in_order(options in options(), steps in steps(false)) {
        law(options, steps);
    }

    #[test]
    fn through_crashes_all_is_handled_and_first_in_order(options in options(), steps in steps(true)) {
        law(options, steps);
    }
}
