//! What has lately changed, in order: a ring that whoever is interested reads at their own pace. Nobody who reads slowly holds up
//! anybody, nor costs memory: what they have not read in time is gone for them, and they are told how much it was.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Code, Health, Reason, Standing, State, Status};
use crate::clock::Clock;
use crate::ids::{AppId, HandlerId, Seq, WorkspaceId};

/// Changes that are held; some 500 KiB.
const HELD: usize = 4096;

/// Something that changed. More kinds will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The state of an app's connection, or what is said of it: to be judged for each of its workspaces.
    State(StateChange),
    /// What is shown of one workspace, though its app's connection says what it said before.
    Workspace(WorkspaceId, StateChange),
    /// A delivery that did not go well at once.
    Delivery(DeliveryNews),
}

/// What became of a delivery that did not go well at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A try failed; another will come.
    Failed,
    /// Given up.
    Dead,
    /// Done, after a try had failed, or after somebody asked for it again.
    Done,
}

impl Outcome {
    /// Its name in the stream.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "delivery.failed",
            Self::Dead => "delivery.dead",
            Self::Done => "delivery.done",
        }
    }
}

/// A delivery, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryNews {
    /// By which app its event came.
    pub app: AppId,
    /// Whose event it is, if it is a workspace's.
    pub workspace: Option<WorkspaceId>,
    /// The event.
    pub seq: Seq,
    /// To whom.
    pub handler: HandlerId,
    /// The first is 1.
    pub run: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Tries so far.
    pub attempts: u32,
    /// Others of the same workspace that were passed over since the one of it before: see [`Feed::tell_delivery`].
    pub untold: u32,
}

/// News of deliveries told in a second at most: a handler that is down must not push everything else out of the ring.
const DELIVERIES_A_SECOND: u32 = 50;
/// Of those, of one workspace: one of which all goes wrong must not take the place of the others.
const OF_ONE_A_SECOND: u32 = 10;
/// Workspaces of which is known how many were passed over: of more, the count is lost.
const MOST_UNTOLD: usize = 20_000;

/// Handlers and workspaces whose deliveries were given up that are counted at a time: of more, the count is lost.
const MOST_DEAD: usize = 20_000;

/// Deliveries to a handler that were given up, of one workspace or of nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadCount {
    /// By which app their events came.
    pub app: AppId,
    /// How many.
    pub count: u64,
    /// The first of the events.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
}

/// By handler and workspace.
type DeadCounts = HashMap<(HandlerId, Option<WorkspaceId>), DeadCount>;

/// How many of them were told in this second, and of whom how many were not since the last.
#[derive(Debug, Default)]
struct Pace {
    second: i64,
    told: u32,
    told_of: HashMap<Option<WorkspaceId>, u32>,
    untold: HashMap<Option<WorkspaceId>, u32>,
}

impl Pace {
    /// One more of somebody's: how many were passed over before it, or none where it is passed over too.
    fn admit(&mut self, whose: Option<WorkspaceId>, second: i64) -> Option<u32> {
        if self.second != second {
            (self.second, self.told) = (second, 0);
            self.told_of.clear();
        }
        let of_one = self.told_of.get(&whose).copied().unwrap_or(0);
        if self.told < DELIVERIES_A_SECOND && of_one < OF_ONE_A_SECOND {
            self.told += 1;
            self.told_of.insert(whose, of_one + 1);
            return Some(self.untold.remove(&whose).unwrap_or(0));
        }
        if self.untold.len() < MOST_UNTOLD || self.untold.contains_key(&whose) {
            let untold = self.untold.entry(whose).or_insert(0);
            *untold = untold.saturating_add(1);
        }
        None
    }
}

/// A state changed, or the health, or why it is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Whose.
    pub app: AppId,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// From; the same where only health or reason changed.
    pub from: State,
    /// The health before.
    pub from_health: Health,
    /// Why it was as it was before.
    pub from_code: Option<Code>,
    /// To.
    pub to: State,
    /// Its health now.
    pub health: Health,
    /// Why.
    pub reason: Option<Reason>,
}

impl StateChange {
    /// What tells two statuses apart, if anything that is told does.
    pub fn between(app: AppId, before: &Status, after: &Status) -> Option<Self> {
        (before.gist() != after.gist()).then_some(Self {
            app,
            at_ms: after.since_ms,
            from: before.state,
            from_health: before.health,
            from_code: before.reason.map(|reason| reason.code),
            to: after.state,
            health: after.health,
            reason: after.reason,
        })
    }

    /// The same, as it is for one workspace of the app, by what the connection says now of workspaces apart from itself; none where
    /// nothing changes for it.
    pub fn for_workspace(self, standing: &Standing, now: Option<&Status>, now_ms: i64) -> Option<Self> {
        let shown = |state, health, reason, standing: &Standing| {
            let marks = now.map(|now| now.marks.clone()).unwrap_or_default();
            let connection = Status { state, health, reason, marks, ..Status::off(self.at_ms) };
            Status::of_workspace(Some(connection), standing, now_ms)
        };
        // What goes off by this very wish was on until now.
        let goes_off = self.health == Health::Off && self.from_health != Health::Off;
        let then = Standing { is_wanted: standing.is_wanted || goes_off, ..*standing };
        let before = shown(self.from, self.from_health, self.from_code.map(Reason::from), &then);
        let after = shown(self.to, self.health, self.reason, standing);
        Self::between(self.app, &before, &after)
    }
}

/// A change as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place.
    pub place: u64,
    /// When it was told, milliseconds since 1970: a state may be as it is for longer.
    pub at_ms: i64,
    /// What.
    pub news: News,
}

/// How far the feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place of the next change; the first is 1.
    pub next: u64,
    /// Nothing more will come: the node stops.
    pub is_over: bool,
}

/// What there is to read from a place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// These; none where there is nothing new.
    News(Vec<Told>),
    /// What stood there is gone.
    Gone {
        /// How many changes.
        missed: u64,
        /// Where it can be gone on.
        oldest: u64,
    },
}

/// The ring.
#[derive(Debug)]
pub struct Feed {
    held: Mutex<VecDeque<(i64, News)>>,
    head: watch::Sender<Head>,
    clock: Clock,
    pace: Mutex<Pace>,
    dead: Mutex<DeadCounts>,
}

impl Default for Feed {
    fn default() -> Self {
        let head = watch::Sender::new(Head { next: 1, is_over: false });
        Self {
            held: Mutex::default(),
            head,
            clock: Clock::start(),
            pace: Mutex::default(),
            dead: Mutex::default(),
        }
    }
}

impl Feed {
    /// Adds a change.
    pub fn tell(&self, news: News) {
        let mut held = self.held();
        if held.len() >= HELD {
            held.pop_front();
        }
        held.push_back((self.clock.now().wall_ms, news));
        // While it is held, so that places and changes keep step.
        self.head.send_modify(|head| head.next += 1);
    }

    /// Adds what became of a delivery that did not go well at once. Of more than ten of a workspace in a second, or fifty of all, the rest is
    /// counted alone, and the count told with the next of the same workspace.
    pub fn tell_delivery(&self, news: DeliveryNews) {
        if news.outcome == Outcome::Dead {
            self.count_dead(&news);
        }
        let second = self.clock.now().wall_ms.div_euclid(1000);
        let admitted = self.pace.lock().unwrap_or_else(PoisonError::into_inner).admit(news.workspace, second);
        if let Some(untold) = admitted {
            self.tell(News::Delivery(DeliveryNews { untold, ..news }));
        }
    }

    fn count_dead(&self, news: &DeliveryNews) {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (news.handler, news.workspace);
        if dead.len() >= MOST_DEAD && !dead.contains_key(&key) {
            return;
        }
        let none = DeadCount { app: news.app, count: 0, first: news.seq, last: news.seq };
        let count = dead.entry(key).or_insert(none);
        count.count = count.count.saturating_add(1);
        count.first = count.first.min(news.seq);
        count.last = count.last.max(news.seq);
    }

    /// What was given up since this was asked last, all of it, whatever of it the readers were told.
    pub fn take_dead(&self) -> HashMap<(HandlerId, Option<WorkspaceId>), DeadCount> {
        std::mem::take(&mut *self.dead.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing more will come.
    pub fn end(&self) {
        self.head.send_modify(|head| head.is_over = true);
    }

    /// How far it is, and a call when that changes.
    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// From this place on, at most `limit`.
    pub fn read(&self, place: u64, limit: usize) -> Read {
        let held = self.held();
        let next = self.head.borrow().next;
        let oldest = next.saturating_sub(u64::try_from(held.len()).unwrap_or(u64::MAX));
        let Some(skip) = place.checked_sub(oldest) else {
            return Read::Gone { missed: oldest - place, oldest };
        };
        let later = held.iter().copied().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let told = (place..).zip(later).map(|(place, (at_ms, news))| Told { place, at_ms, news });
        Read::News(told.take(limit).collect())
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<(i64, News)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Trouble;

    #[test]
    fn what_is_told_is_read_in_order_from_any_place_that_is_still_held() {
        let feed = Feed::default();
        assert_eq!(read(&feed, 1, 10), []);
        for app in 1..=3 {
            feed.tell(news(app));
        }
        assert_eq!(read(&feed, 1, 2), [(1, news(1)), (2, news(2))]);
        assert_eq!(read(&feed, 3, 2), [(3, news(3))]);
        assert_eq!(read(&feed, 4, 2), []);
        assert_eq!(feed.head().borrow().next, 4);
    }

    #[test]
    fn who_is_too_slow_is_told_how_much_is_gone_and_where_it_goes_on() {
        let feed = Feed::default();
        let told = i64::try_from(HELD).unwrap() + 5;
        for app in 1..=told {
            feed.tell(news(app));
        }
        assert_eq!(feed.read(1, 1), Read::Gone { missed: 5, oldest: 6 });
        assert_eq!(read(&feed, 6, 1), [(6, news(6))]);
    }

    #[test]
    fn a_status_that_says_nothing_else_of_state_health_and_reason_is_no_news() {
        let before = Status::off(1);
        let again = Status { attempt: 7, since_ms: 5, ..before.clone() };
        assert_eq!(StateChange::between(AppId(1), &before, &again), None);
        for after in [
            Status { state: State::Connecting, ..before.clone() },
            Status { health: Health::Down, ..before.clone() },
            Status { reason: Some(Code::InvalidAuth.into()), ..before.clone() },
        ] {
            assert!(StateChange::between(AppId(1), &before, &after).is_some(), "{after:?}");
        }
    }

    #[test]
    fn a_change_of_the_app_is_one_of_a_workspace_only_where_something_else_is_shown_of_it() {
        let at = |state, health| Status { state, health, ..Status::off(5) };
        let [ready, lost] = [at(State::Ready, Health::Ok), at(State::Reconnecting, Health::Down)];
        let change = StateChange::between(AppId(1), &lost, &ready).unwrap();
        let well = Standing {
            workspace: WorkspaceId(3),
            is_wanted: true,
            trouble: None,
            limited_until_ms: None,
            updated_ms: 1,
        };
        let marked = |id, code| Status { marks: vec![(WorkspaceId(id), code)], ..ready.clone() };
        let second = |id| marked(id, Code::DuplicateInstallation);
        assert_eq!(change.for_workspace(&well, Some(&second(4)), 9), Some(change));
        assert_eq!(change.for_workspace(&well, Some(&second(3)), 9), None, "the second of its team");
        let unidentified = marked(3, Code::BotTokenUnchecked);
        let unchecked = change.for_workspace(&well, Some(&unidentified), 9).unwrap();
        assert_eq!(
            (unchecked.health, unchecked.reason.map(|reason| reason.code)),
            (Health::Degraded, Some(Code::BotTokenUnchecked))
        );
        let trouble = Some(Trouble { code: Code::AppUninstalled, since_ms: 2 });
        assert_eq!(change.for_workspace(&Standing { trouble, ..well }, None, 9), None, "uninstalled");
        let off = Standing { is_wanted: false, ..well };
        assert_eq!(change.for_workspace(&off, None, 9), None, "wanted off while others keep the app on");
        let limited = Standing { limited_until_ms: Some(10), ..well };
        let limited = change.for_workspace(&limited, None, 9).unwrap();
        assert_eq!(
            (limited.health, limited.reason.map(|reason| reason.code)),
            (Health::Degraded, Some(Code::AppRateLimited))
        );
        let going = StateChange::between(AppId(1), &ready, &at(State::Disconnecting, Health::Off)).unwrap();
        assert_eq!(going.for_workspace(&off, None, 9), Some(going), "the app goes off with it");
    }

    #[test]
    fn of_too_many_deliveries_that_go_wrong_the_rest_is_counted() {
        let feed = Feed::default();
        let one = DeliveryNews {
            app: AppId(1),
            workspace: None,
            seq: Seq(1),
            handler: HandlerId(1),
            run: 1,
            outcome: Outcome::Failed,
            attempts: 1,
            untold: 0,
        };
        let sent = 3 * DELIVERIES_A_SECOND;
        for _ in 0..sent {
            feed.tell_delivery(one);
        }
        assert!(feed.take_dead().is_empty());
        // The next second.
        feed.pace.lock().unwrap().second = 0;
        feed.tell_delivery(one);
        let told = read(&feed, 1, HELD);
        let told: Vec<_> = told
            .iter()
            .filter_map(|(_, news)| match news {
                News::Delivery(news) => Some(news.untold),
                News::State(_) | News::Workspace(..) => None,
            })
            .collect();
        assert!(told.len() <= usize::try_from(2 * OF_ONE_A_SECOND + 1).unwrap(), "{}", told.len());
        let untold: u32 = told.iter().sum();
        assert_eq!(u32::try_from(told.len()).unwrap() + untold, sent + 1, "none is passed over in silence");
        for seq in 1..=200 {
            feed.tell_delivery(DeliveryNews { outcome: Outcome::Dead, seq: Seq(seq), ..one });
        }
        let dead = DeadCount { app: AppId(1), count: 200, first: Seq(1), last: Seq(200) };
        assert_eq!(feed.take_dead().into_iter().collect::<Vec<_>>(), [((HandlerId(1), None), dead)]);
        assert!(feed.take_dead().is_empty(), "once");
    }

    #[test]
    fn a_workspace_of_which_all_goes_wrong_takes_no_others_place_nor_tells_their_count() {
        let mut pace = Pace::default();
        let [loud, quiet] = [Some(WorkspaceId(1)), Some(WorkspaceId(2))];
        let told = (0..100).filter(|_| pace.admit(loud, 7).is_some()).count();
        assert_eq!(told, usize::try_from(OF_ONE_A_SECOND).unwrap());
        assert_eq!(pace.admit(quiet, 7), Some(0));
        assert_eq!(pace.admit(loud, 8), Some(100 - OF_ONE_A_SECOND));
        assert_eq!(pace.admit(loud, 8), Some(0), "each is counted once");
        let told = (0..100).filter(|id| pace.admit(Some(WorkspaceId(*id)), 9).is_some()).count();
        assert_eq!(told, usize::try_from(DELIVERIES_A_SECOND).unwrap());
    }

    fn read(feed: &Feed, place: u64, limit: usize) -> Vec<(u64, News)> {
        let Read::News(told) = feed.read(place, limit) else { panic!("{place} is gone") };
        told.into_iter().map(|told| (told.place, told.news)).collect()
    }

    fn news(app: i64) -> News {
        let off = Status::off(0);
        News::State(StateChange {
            app: AppId(app),
            at_ms: 0,
            from: off.state,
            from_health: off.health,
            from_code: None,
            to: off.state,
            health: off.health,
            reason: None,
        })
    }
}
