//! What is told to an operator's systems, and when: the rules between what is seen of workspaces and the notices that leave.
//!
//! | seen | told |
//! |---|---|
//! | `failed` | at once: a second later, so that many at once are seen as one incident |
//! | down or degraded, three minutes in all | `workspace.degraded` |
//! | well again after a told trouble, and stays so for a while | `workspace.recovered`; the while doubles with each told trouble of the last hour |
//! | well for the first time since it was wanted on | `workspace.ready` |
//! | more than a tenth of the workspaces and at least five go down within a minute | one `incident.opened` in the place of their notices |
//! | in an incident, `failed` for three minutes | by itself: a person must act whatever becomes of the others |
//! | most of these are back | `incident.closed`; those that are not are told by the rules above |
//!
//! A trouble ends when all has been well for a while, so what flaps is one trouble. What was told outlives the process: it is given
//! back at the next start, and nothing is told twice for a restart.

pub mod dead;
mod incident;
mod one;
pub mod retry;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::incident::Incident;
use self::one::One;
pub use self::seen::Seen;
use crate::clock::Now;
use crate::ids::WorkspaceId;
use crate::status::Code;

macro_rules! topics {
    ($($name:ident $text:literal $means:literal;)+) => {
        /// What a notice is about: a closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Topic {
            $(#[doc = $means] $name,)+
        }

        impl Topic {
            /// Every topic that can be asked for.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in the API, in the store and in a notice.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The topic of that name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|topic| topic.as_str() == text)
            }
        }
    };
}

topics! {
    Ready "workspace.ready" "A workspace is ready for the first time since it was wanted on.";
    Failed "workspace.failed" "A workspace has failed: a person must act.";
    Degraded "workspace.degraded" "A workspace has been down or degraded for three minutes.";
    Recovered "workspace.recovered" "A workspace whose trouble was told is well again.";
    Uninstalled "workspace.uninstalled" "A workspace removed the app.";
    DeliveryDead "delivery.dead" "Deliveries of a workspace to a handler were given up.";
    IncidentOpened "incident.opened" "Many workspaces went down at once.";
    IncidentClosed "incident.closed" "Most of them are back.";
}

impl Topic {
    /// Is it about many workspaces, whosever they are?
    pub const fn is_about_many(self) -> bool {
        match self {
            Self::IncidentOpened | Self::IncidentClosed => true,
            Self::Ready
            | Self::Failed
            | Self::Degraded
            | Self::Recovered
            | Self::Uninstalled
            | Self::DeliveryDead => false,
        }
    }
}

/// What was last told of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// That it is well.
    Ready,
    /// That it is in trouble that may pass.
    Degraded,
    /// That it has failed, and why.
    Failed(Code),
}

/// The times the rules keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Trouble that may pass is told after this.
    pub patience: Duration,
    /// A failure waits so long for others.
    pub gather: Duration,
    /// What is well is well for good after this; it doubles with each told trouble,
    pub settle: Duration,
    /// up to this.
    pub settle_cap: Duration,
    /// Told troubles count for so long.
    pub memory: Duration,
    /// Workspaces that go down within this go down together.
    pub together: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            patience: seconds(180),
            gather: seconds(1),
            settle: seconds(10),
            settle_cap: seconds(600),
            memory: seconds(3600),
            together: seconds(60),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// This is seen of a workspace now.
    Saw(WorkspaceId, Seen),
    /// The workspace is gone.
    Gone(WorkspaceId),
    /// The time of [`Notices::poll_timeout`] has come.
    Timeout,
}

/// What is to be told, and to be remembered with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A workspace's notice; what is told of it from now on.
    Tell {
        /// What about.
        topic: Topic,
        /// Which.
        workspace: WorkspaceId,
        /// Why.
        code: Option<Code>,
        /// Since when it is as it is, milliseconds since 1970.
        since_ms: i64,
        /// Since when it has been in trouble; the last trouble's where it is over.
        began_ms: i64,
        /// To be remembered.
        told: Told,
    },
    /// Nothing is told of this workspace any more: it is off or gone.
    Forget(WorkspaceId),
    /// An incident's notice.
    TellIncident {
        /// Opened or closed.
        topic: Topic,
        /// Since when, milliseconds since 1970.
        since_ms: i64,
        /// How many are down now.
        down: usize,
        /// How many were at most.
        peak: usize,
        /// Of how many that are wanted on.
        wanted: usize,
        /// Why most of them are down; none at its end.
        code: Option<Code>,
    },
}

/// The rules, and what they know.
#[derive(Debug)]
pub struct Notices {
    timing: Timing,
    now: Now,
    workspaces: BTreeMap<WorkspaceId, One>,
    /// When something is due for whom.
    dues: BTreeSet<(Duration, WorkspaceId)>,
    /// Who went down lately and is down still.
    recent: BTreeSet<(Duration, WorkspaceId)>,
    wanted: usize,
    incident: Option<Incident>,
    actions: VecDeque<Action>,
}

impl Notices {
    /// Rules that know what was told before the process began, and of an incident that was open: since when, and its peak.
    pub fn new(
        now: Now,
        timing: Timing,
        told: impl IntoIterator<Item = (WorkspaceId, Told)>,
        incident: Option<(i64, usize)>,
    ) -> Self {
        let workspaces = told.into_iter().map(|(workspace, told)| (workspace, One::told(told))).collect();
        Self {
            timing,
            now,
            workspaces,
            dues: BTreeSet::new(),
            recent: BTreeSet::new(),
            wanted: 0,
            incident: incident
                .map(|(since_ms, peak)| Incident::of_before(now, since_ms, peak, timing.patience)),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened. Afterwards poll the actions, then the timeout.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Saw(workspace, seen) => self.saw(workspace, seen),
            Input::Gone(workspace) => {
                self.saw(workspace, Seen::Off);
                self.workspaces.remove(&workspace);
            }
            Input::Timeout => {}
        }
        self.plan_incident();
        while let Some(&(at, workspace)) = self.dues.first()
            && at <= now.mono
        {
            self.dues.pop_first();
            if let Some(one) = self.workspaces.get_mut(&workspace) {
                one.due = None;
            }
            self.plan(workspace);
        }
        // Those that left it may have been the last.
        self.plan_incident();
    }

    /// The next thing to do. To be polled until none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to give [`Input::Timeout`] (monotonic).
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = self.dues.first().map(|(at, _)| *at);
        let closing = self.incident.as_ref().and_then(|incident| incident.closing_at);
        [due, closing].into_iter().flatten().min()
    }

    /// Of those told of at the start, who was never seen since: to be given as gone once all have been looked at.
    pub fn unseen(&self) -> Vec<WorkspaceId> {
        let unseen = self.workspaces.iter().filter(|(_, one)| one.seen.is_none());
        unseen.map(|(workspace, _)| *workspace).collect()
    }
}
