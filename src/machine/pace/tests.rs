use proptest::prelude::*;

use super::*;

#[test]
fn a_second_s_worth_is_begun_at_once_and_the_rest_at_the_pace() {
    let mut node = Node::new(10, 1000);
    for _ in 0..35 {
        node.queue();
    }
    assert_eq!(node.began_within(Duration::ZERO), 10);
    node.run(SECOND);
    assert_eq!(node.began.len(), 20);
    node.run(SECOND * 3 / 2);
    assert_eq!(node.began.len(), 35);
}

#[test]
fn no_more_ask_at_once_than_may_and_an_answer_lets_the_next_one() {
    let mut node = Node::new(1000, 3);
    let tickets: Vec<_> = (0..5).map(|_| node.queue()).collect();
    node.run(SECOND);
    assert_eq!(node.turns(), tickets[..3]);
    assert_eq!(node.pace.poll_timeout(node.now), None, "it waits for an answer, not for time");
    node.leave(tickets[1], None);
    assert_eq!(node.turns(), tickets[..4]);
}

#[test]
fn who_gives_up_leaves_no_hole() {
    let mut node = Node::new(1000, 1);
    let [first, second, third] = [node.queue(), node.queue(), node.queue()];
    node.leave(second, None);
    node.leave(first, None);
    assert_eq!(node.turns(), [first, third]);
    node.leave(third, None);
    node.leave(third, None);
    let [fourth, fifth] = [node.queue(), node.queue()];
    assert_eq!(node.turns(), [first, third, fourth], "a ticket given back twice makes no second place");
    node.leave(fourth, None);
    assert_eq!(node.turns().last(), Some(&fifth));
}

#[test]
fn a_turn_nobody_has_heard_of_yet_is_given_to_the_next() {
    let mut pace = Pace::new(Limits { per_second: 1000, at_once: 1 });
    let [first, second] = [pace.queue(Duration::ZERO), pace.queue(Duration::ZERO)];
    pace.leave(Duration::ZERO, first, None);
    assert_eq!((pace.poll_turn(), pace.poll_turn()), (Some(second), None));
}

#[test]
fn a_successor_does_not_queue_and_the_others_give_back_what_it_took() {
    let mut node = Node::new(10, 2);
    for _ in 0..2 {
        node.queue();
    }
    let waits = node.queue();
    for _ in 0..28 {
        node.pace.jump(node.now);
    }
    node.run(SECOND / 2);
    assert!(!node.turns().contains(&waits), "two ask already");
    for ticket in node.turns() {
        node.leave(ticket, None);
    }
    assert!(!node.turns().contains(&waits), "the jumpers still ask");
}

#[test]
fn what_jumpers_took_is_held_against_the_queue_for_a_second_at_most() {
    let mut node = Node::new(10, 100);
    for _ in 0..1000 {
        let ticket = node.pace.jump(node.now);
        node.leave(ticket, None);
    }
    node.queue();
    node.run(SECOND * 11 / 10);
    assert_eq!(node.began.len(), 1);
}

#[test]
fn a_429_of_one_app_is_its_own_affair_however_often_it_is_told() {
    let mut node = Node::new(100, 64);
    for _ in 0..50 {
        node.be_limited(1);
    }
    assert_eq!(node.pace.share(node.now), FULL);
    for app in 2..=9 {
        node.be_limited(app);
    }
    assert_eq!(node.pace.share(node.now), FULL, "nine apps are not many");
}

#[test]
fn many_429s_halve_the_pace_for_a_while_and_it_comes_back_step_by_step() {
    let mut node = Node::new(100, 1000);
    node.run(MINUTE);
    (1..=10).for_each(|app| node.be_limited(app));
    assert_eq!(node.pace.share(node.now), FULL / 2);
    for _ in 0..2000 {
        node.queue();
    }
    let started = node.began.len();
    node.run(10 * SECOND);
    assert!((490..=501).contains(&(node.began.len() - started)), "{}", node.began.len() - started);
    node.run(19 * SECOND);
    assert_eq!(node.pace.share(node.now), FULL / 2);
    let shares: Vec<_> = (0..9)
        .map(|_| {
            node.run(5 * SECOND);
            node.pace.share(node.now)
        })
        .collect();
    assert!(shares.is_sorted() && shares[0] < shares[4] && shares[8] == FULL, "{shares:?}");
}

#[test]
fn the_429s_of_what_was_asked_before_it_slowed_down_slow_it_no_further() {
    let mut node = Node::new(1000, 64);
    let tickets: Vec<_> = (0..64).map(|_| node.queue()).collect();
    node.run(SECOND);
    for (app, ticket) in (1..).zip(tickets) {
        node.leave(ticket, Some(AppId(app)));
    }
    assert_eq!(node.pace.share(node.now), FULL / 2);
    (1..=10).for_each(|app| node.be_limited(app));
    assert_eq!(node.pace.share(node.now), FULL / 4);
}

#[test]
fn however_many_429s_come_it_never_stands_still() {
    let mut node = Node::new(1, 64);
    for round in 0..20 {
        node.run(SECOND);
        (1..=10).for_each(|app| node.be_limited(round * 10 + app));
    }
    let ticket = node.queue();
    node.run(5 * SECOND);
    assert!(node.turns().contains(&ticket));
}

/// What callers do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Queue,
    /// The one of those that wait or ask, and whether it was told 429.
    Leave(usize, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Queue),
        3 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(which, limited)| Step::Leave(which, limited)),
        1 => prop_oneof![0_u64..50, 0_u64..5_000, 0_u64..60_000].prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn any_callers_in_any_order_keep_to_the_pace_and_nobody_starves(
        per_second in 1_u32..50,
        at_once in 1_u32..8,
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let mut node = Node::new(per_second, at_once);
        let mut held = BTreeSet::new();
        for (app, step) in (0..).zip(steps) {
            match step {
                Step::Queue => {
                    held.insert(node.queue());
                }
                Step::Leave(which, limited) => {
                    if let Some(ticket) = held.iter().nth(which % held.len().max(1)).copied() {
                        held.remove(&ticket);
                        node.leave(ticket, limited.then_some(AppId(app)));
                    }
                }
                Step::Wait(ms) => node.run(Duration::from_millis(ms)),
            }
            let asking = node.began.iter().filter(|(ticket, _)| held.contains(ticket)).count();
            prop_assert!(asking <= at_once as usize, "{asking} at once");
            let is_owed = node.pace.poll_timeout(node.now).is_some_and(|at| at <= node.now);
            prop_assert!(!is_owed, "somebody waits without a reason");
        }
        let times: Vec<_> = node.began.iter().map(|(_, at)| *at).collect();
        for (n, from) in times.iter().enumerate() {
            let within = times[n..].iter().take_while(|at| **at < *from + SECOND).count();
            prop_assert!(within <= 2 * per_second as usize, "{within} within a second");
        }
        // From here on everybody is answered.
        while let Some(ticket) = held.iter().copied().find(|held| node.turns().contains(held)).or_else(|| held.first().copied()) {
            let mut patience = 10 * MINUTE;
            while !node.turns().contains(&ticket) {
                prop_assert!(patience > Duration::ZERO, "{ticket:?} starves");
                node.run(SECOND);
                patience -= SECOND;
            }
            held.remove(&ticket);
            node.leave(ticket, None);
        }
        let turns = node.turns();
        prop_assert!(turns.is_sorted(), "first come first served: {turns:?}");
    }
}

const MINUTE: Duration = Duration::from_mins(1);

/// A pace and its callers.
struct Node {
    pace: Pace,
    now: Duration,
    /// Whose turn it was, and when.
    began: Vec<(Ticket, Duration)>,
}

impl Node {
    fn new(per_second: u32, at_once: u32) -> Self {
        Self { pace: Pace::new(Limits { per_second, at_once }), now: MINUTE, began: Vec::new() }
    }

    fn queue(&mut self) -> Ticket {
        let ticket = self.pace.queue(self.now);
        self.poll();
        ticket
    }

    fn leave(&mut self, ticket: Ticket, limited: Option<AppId>) {
        self.pace.leave(self.now, ticket, limited);
        self.poll();
    }

    /// One app asks and is told 429.
    fn be_limited(&mut self, app: i64) {
        let ticket = self.pace.jump(self.now);
        self.leave(ticket, Some(AppId(app)));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.pace.poll_timeout(self.now).filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.pace.wake(self.now);
            self.poll();
        }
        self.now = end;
        self.pace.wake(end);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(ticket) = self.pace.poll_turn() {
            self.began.push((ticket, self.now));
        }
    }

    fn turns(&self) -> Vec<Ticket> {
        self.began.iter().map(|(ticket, _)| *ticket).collect()
    }

    fn began_within(&self, time: Duration) -> usize {
        self.began.iter().filter(|(_, at)| *at <= MINUTE + time).count()
    }
}
