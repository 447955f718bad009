use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const LOST: Seen = Seen::Down(Code::ConnectionLost);
const REFUSED: Seen = Seen::Failed(Code::InvalidAuth);

#[test]
fn the_first_time_a_workspace_is_well_is_told_and_told_once() {
    let mut world = World::new([], None);
    world.saw(1, Seen::Starting);
    world.run(SECOND);
    world.saw(1, Seen::Well);
    assert_eq!(world.told(), [(1, "workspace.ready")]);
    world.saw(1, Seen::Starting);
    world.saw(1, Seen::Well);
    world.run(10 * MINUTE);
    assert_eq!(world.told(), []);
    world.saw(1, Seen::Off);
    assert_eq!(world.forgotten, [WorkspaceId(1)]);
    world.saw(1, Seen::Well);
    assert_eq!(world.told(), [(1, "workspace.ready")], "wanted on anew");
}

#[test]
fn a_failure_is_told_within_a_second_and_its_end_when_it_has_lasted() {
    let mut world = World::ready(1);
    world.saw(1, REFUSED);
    world.run(SECOND);
    assert_eq!(world.told(), [(1, "workspace.failed")]);
    world.saw(1, Seen::Well);
    world.run(9 * SECOND);
    assert_eq!(world.told(), []);
    world.run(SECOND);
    assert_eq!(world.told(), [(1, "workspace.recovered")]);
}

#[test]
fn a_workspace_that_removed_the_app_is_told_so() {
    let mut world = World::ready(1);
    world.saw(1, Seen::Failed(Code::BotTokenRevoked));
    world.run(SECOND);
    world.saw(1, Seen::Failed(Code::AppUninstalled));
    world.run(SECOND);
    assert_eq!(world.told(), [(1, "workspace.failed"), (1, "workspace.uninstalled")]);
}

#[test]
fn trouble_that_passes_within_three_minutes_is_never_told_and_neither_is_its_end() {
    let mut world = World::ready(1);
    world.saw(1, LOST);
    world.run(179 * SECOND);
    world.saw(1, Seen::Well);
    world.run(30 * MINUTE);
    assert_eq!(world.told(), []);
}

#[test]
fn trouble_that_lasts_is_told_after_three_minutes_and_its_end_too() {
    for trouble in [LOST, Seen::Hurt(Some(Code::AppRateLimited)), Seen::Starting] {
        let mut world = World::ready(1);
        world.saw(1, trouble);
        world.run(179 * SECOND);
        assert_eq!(world.told(), []);
        world.run(SECOND);
        assert_eq!(world.told(), [(1, "workspace.degraded")]);
        world.saw(1, Seen::Well);
        world.run(10 * SECOND);
        assert_eq!(world.told(), [(1, "workspace.recovered")]);
    }
}

#[test]
fn what_flaps_is_one_trouble_and_is_told_once() {
    let mut world = World::ready(1);
    for _ in 0..200 {
        world.saw(1, LOST);
        world.run(5 * SECOND);
        world.saw(1, Seen::Well);
        world.run(5 * SECOND);
    }
    assert_eq!(world.told(), [(1, "workspace.degraded")]);
    world.run(5 * SECOND);
    assert_eq!(world.told(), [(1, "workspace.recovered")]);
}

#[test]
fn with_each_told_trouble_what_is_well_must_be_so_for_longer_and_an_hour_later_no_more() {
    let mut world = World::ready(1);
    for settle in [10, 20, 40, 80] {
        world.saw(1, REFUSED);
        world.run(SECOND);
        world.saw(1, Seen::Well);
        world.run((settle - 1) * SECOND);
        assert_eq!(world.told(), [(1, "workspace.failed")], "{settle}");
        world.run(SECOND);
        assert_eq!(world.told(), [(1, "workspace.recovered")], "{settle}");
    }
    world.run(61 * MINUTE);
    world.saw(1, REFUSED);
    world.run(SECOND);
    world.saw(1, Seen::Well);
    world.run(10 * SECOND);
    assert_eq!(world.told(), [(1, "workspace.failed"), (1, "workspace.recovered")]);
}

#[test]
fn a_failure_for_another_reason_is_told_and_for_the_same_is_not() {
    let mut world = World::ready(1);
    for (seen, told) in [
        (REFUSED, vec![(1, "workspace.failed")]),
        (LOST, vec![]),
        (REFUSED, vec![]),
        (Seen::Failed(Code::LinkDisabled), vec![(1, "workspace.failed")]),
    ] {
        world.saw(1, seen);
        world.run(2 * SECOND);
        assert_eq!(world.told(), told, "{seen:?}");
    }
}

#[test]
fn hundreds_that_go_down_at_once_are_one_incident_that_closes_when_most_are_back() {
    for trouble in [LOST, REFUSED] {
        let mut world = World::ready(800);
        for one in 1..=700 {
            world.saw(one, trouble);
        }
        assert_eq!(world.told(), [(0, "incident.opened")]);
        world.run(if trouble == LOST { 30 * MINUTE } else { 2 * MINUTE });
        assert_eq!(world.told(), [], "their own notices are held back");
        for one in 1..=600 {
            world.saw(one, Seen::Well);
        }
        world.run(10 * SECOND);
        assert_eq!(world.told(), [(0, "incident.closed")]);
        // Those that are not back are told by the ordinary rules.
        world.run(3 * MINUTE + SECOND);
        let told = world.told();
        assert_eq!(told.len(), 100);
        assert!(told.iter().all(|(one, _)| (601..=700).contains(one)), "{told:?}");
    }
}

#[test]
fn what_fails_in_an_incident_and_stays_so_is_told_by_itself_and_keeps_no_incident_open() {
    let mut world = World::ready(100);
    for workspace in 1..=33 {
        world.saw(workspace, REFUSED);
    }
    world.run(179 * SECOND);
    assert_eq!(world.told(), [(0, "incident.opened")]);
    world.run(SECOND);
    let mut told = world.told();
    told.sort_unstable();
    let failed: Vec<_> = (1..=33).map(|workspace| (workspace, "workspace.failed")).collect();
    assert_eq!(told, failed);
    world.run(10 * SECOND);
    assert_eq!(world.told(), [(0, "incident.closed")]);
    world.saw(50, LOST);
    world.run(3 * MINUTE);
    assert_eq!(world.told(), [(50, "workspace.degraded")], "later trouble is told");
}

#[test]
fn four_are_no_incident_and_neither_is_a_tenth() {
    let mut world = World::ready(4);
    for one in 1..=4 {
        world.saw(one, LOST);
    }
    assert_eq!(world.told(), []);
    let mut world = World::ready(1000);
    for one in 1..=100 {
        world.saw(one, LOST);
    }
    assert_eq!(world.told(), []);
    world.saw(101, LOST);
    assert_eq!(world.told(), [(0, "incident.opened")]);
}

#[test]
fn what_goes_down_over_ten_minutes_is_no_incident() {
    let mut world = World::ready(20);
    for one in 1..=20 {
        world.saw(one, REFUSED);
        world.run(30 * SECOND);
    }
    let told = world.told();
    assert_eq!(told.len(), 20);
    assert!(told.iter().all(|(_, topic)| *topic == "workspace.failed"));
}

#[test]
fn customers_who_remove_the_app_are_told_each_however_many() {
    let mut world = World::ready(20);
    for one in 1..=20 {
        world.saw(one, Seen::Failed(Code::AppUninstalled));
    }
    world.run(SECOND);
    assert_eq!(world.told().iter().filter(|(_, topic)| *topic == "workspace.uninstalled").count(), 20);
}

#[test]
fn a_start_after_which_all_come_up_tells_nothing_that_was_told_before() {
    let told = (1..=50)
        .map(|one| (one, Told::Ready))
        .chain([(51, Told::Failed(Code::InvalidAuth)), (52, Told::Degraded)]);
    let mut world = World::new(told, None);
    for one in 1..=52 {
        world.saw(one, Seen::Starting);
    }
    world.run(2 * SECOND);
    for one in 1..=50 {
        world.saw(one, Seen::Well);
    }
    world.saw(51, REFUSED);
    world.saw(52, Seen::Well);
    world.run(MINUTE);
    assert_eq!(world.told(), [(52, "workspace.recovered")]);
}

#[test]
fn an_incident_that_was_open_at_the_last_end_is_closed_by_the_next_process() {
    let mut world = World::new([], Some((7, 100)));
    world.saw(1, Seen::Well);
    assert_eq!(world.told(), [(1, "workspace.ready")]);
    world.run(3 * MINUTE + 11 * SECOND);
    assert_eq!(world.told(), [(0, "incident.closed")]);
}

#[test]
fn who_was_told_of_and_is_there_no_more_is_forgotten() {
    let mut world = World::new([(1, Told::Ready), (2, Told::Ready)], None);
    world.saw(1, Seen::Well);
    assert_eq!(world.notices.unseen(), [WorkspaceId(2)]);
    world.give(Input::Gone(WorkspaceId(2)));
    assert_eq!(world.forgotten, [WorkspaceId(2)]);
    assert_eq!(world.notices.unseen(), []);
}

proptest! {
    #[test]
    fn whatever_is_seen_each_recovery_follows_a_told_trouble_and_incidents_alternate(
        steps in prop::collection::vec((1_i64..12, 0_usize..7, 0_u64..200), 1..300),
    ) {
        let mut world = World::new([], None);
        let mut troubled = BTreeSet::new();
        let mut is_open = false;
        for (one, seen, seconds) in steps {
            let seen = [Seen::Off, Seen::Starting, Seen::Well, LOST, REFUSED, Seen::Hurt(None), Seen::Failed(Code::AppUninstalled)][seen];
            if seen == Seen::Off {
                troubled.remove(&one);
            }
            world.saw(one, seen);
            world.run(Duration::from_secs(seconds));
            for (one, topic) in world.told() {
                match Topic::parse(topic).unwrap() {
                    Topic::Ready => prop_assert!(!troubled.contains(&one)),
                    Topic::Failed | Topic::Degraded | Topic::Uninstalled => drop(troubled.insert(one)),
                    Topic::Recovered => prop_assert!(troubled.remove(&one), "{one} was in no told trouble"),
                    Topic::IncidentOpened => prop_assert!(!std::mem::replace(&mut is_open, true)),
                    Topic::IncidentClosed => prop_assert!(std::mem::replace(&mut is_open, false)),
                    Topic::DeliveryDead => prop_assert!(false, "{topic}"),
                }
            }
        }
        // All well for good: every told trouble ends, and so does an incident.
        for one in 1..12 {
            world.saw(one, Seen::Well);
        }
        world.run(60 * MINUTE);
        for (one, topic) in world.told() {
            match Topic::parse(topic).unwrap() {
                Topic::Recovered => prop_assert!(troubled.remove(&one)),
                Topic::IncidentClosed => is_open = false,
                Topic::Ready => {}
                Topic::Failed | Topic::Degraded | Topic::Uninstalled | Topic::DeliveryDead | Topic::IncidentOpened => prop_assert!(false, "{topic}"),
            }
        }
        prop_assert!(troubled.is_empty() && !is_open, "{troubled:?}");
        prop_assert_eq!(world.notices.poll_timeout(), None);
    }
}

struct World {
    notices: Notices,
    now: Now,
    told: Vec<(i64, &'static str)>,
    forgotten: Vec<WorkspaceId>,
}

impl World {
    fn new(told: impl IntoIterator<Item = (i64, Told)>, incident: Option<(i64, usize)>) -> Self {
        let now = Now { mono: 10 * MINUTE, wall_ms: 1_000_000 };
        let told = told.into_iter().map(|(one, told)| (WorkspaceId(one), told));
        let notices = Notices::new(now, Timing::default(), told, incident);
        Self { notices, now, told: Vec::new(), forgotten: Vec::new() }
    }

    /// So many workspaces that have been well for long, and nothing told that anybody looks at.
    fn ready(count: i64) -> Self {
        let mut world = Self::new([], None);
        for one in 1..=count {
            world.saw(one, Seen::Well);
        }
        world.run(10 * MINUTE);
        world.told();
        world
    }

    fn saw(&mut self, one: i64, seen: Seen) {
        self.give(Input::Saw(WorkspaceId(one), seen));
    }

    fn give(&mut self, input: Input) {
        self.notices.handle(self.now, input);
        while let Some(action) = self.notices.poll_action() {
            match action {
                Action::Tell { topic, workspace, .. } => self.told.push((workspace.0, topic.as_str())),
                Action::TellIncident { topic, .. } => self.told.push((0, topic.as_str())),
                Action::Forget(workspace) => self.forgotten.push(workspace),
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(due) = self.notices.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.after(due.saturating_sub(self.now.mono));
            self.give(Input::Timeout);
        }
        self.now = self.now.after(end.saturating_sub(self.now.mono));
    }

    fn told(&mut self) -> Vec<(i64, &'static str)> {
        std::mem::take(&mut self.told)
    }
}
