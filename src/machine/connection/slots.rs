//! The links a connection holds, from the moment it asks for an address until the link is down. What the connection is
//! doing is read from here and kept nowhere else.

use std::time::Duration;

use super::{Hello, Which};
use crate::ids::Generation;
use crate::machine::link::RoundTrip;
use crate::status::{Code, LinkState, LinkStatus};

/// One link, as its connection sees it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: Generation,
    pub(super) token: Which,
    pub(super) phase: Phase,
    /// When its address was asked for, monotonic.
    pub(super) began: Duration,
    hello: Hello,
    opened_ms: Option<i64>,
    pub(super) pong: Option<RoundTrip>,
}

/// Where a link is. Moments are monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Slack is asked for an address.
    Asking,
    /// Dialling it.
    Dialling,
    /// The socket is open, hello is awaited.
    Greeting,
    /// Events flow.
    Live(Live),
    /// Its end is announced, or it is retired; events still flow.
    Draining,
    /// Stopped by us.
    Stopping,
}

/// A live link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// When hello came.
    pub(super) since: Duration,
    /// When Slack means to end it.
    pub(super) ends_at: Option<Duration>,
    /// When its successor is to be opened.
    pub(super) refresh_at: Option<Duration>,
    /// The successor is opened early, so that its hello tells how many sockets Slack counts.
    pub(super) is_check: bool,
    /// It goes once its successor is up, and why.
    pub(super) leaving: Option<Code>,
}

impl Slot {
    pub(super) fn is_opening(&self) -> bool {
        match self.phase {
            Phase::Asking | Phase::Dialling | Phase::Greeting => true,
            Phase::Live(_) | Phase::Draining | Phase::Stopping => false,
        }
    }

    /// Do events flow over it?
    pub(super) fn is_serving(&self) -> bool {
        match self.phase {
            Phase::Live(_) | Phase::Draining => true,
            Phase::Asking | Phase::Dialling | Phase::Greeting | Phase::Stopping => false,
        }
    }

    /// Live and to stay.
    pub(super) fn is_staying(&self) -> bool {
        self.live().is_some_and(|live| live.leaving.is_none())
    }

    /// Live, and to go when its successor is up.
    pub(super) fn is_leaving(&self) -> bool {
        self.live().is_some_and(|live| live.leaving.is_some())
    }

    /// Do pongs over it come late?
    pub(super) fn is_slow(&self) -> bool {
        self.is_serving() && self.pong.is_some_and(|pong| pong.is_slow)
    }

    /// May Slack count its socket?
    pub(super) fn is_counted(&self) -> bool {
        self.phase != Phase::Asking
    }

    pub(super) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    pub(super) fn live(&self) -> Option<Live> {
        match self.phase {
            Phase::Live(live) => Some(live),
            Phase::Asking | Phase::Dialling | Phase::Greeting | Phase::Draining | Phase::Stopping => None,
        }
    }

    pub(super) fn up(&mut self, live: Live, hello: Hello, wall_ms: i64) {
        self.phase = Phase::Live(live);
        self.hello = hello;
        self.opened_ms = Some(wall_ms);
    }

    fn status(&self) -> LinkStatus {
        LinkStatus {
            generation: self.generation,
            state: match self.phase {
                Phase::Asking | Phase::Dialling | Phase::Greeting => LinkState::Opening,
                Phase::Live(_) => LinkState::Live,
                Phase::Draining => LinkState::Draining,
                Phase::Stopping => LinkState::Closing,
            },
            opened_ms: self.opened_ms,
            host: self.hello.host.clone(),
            num_connections: self.hello.num_connections,
            pong_ms: self.pong.map(|pong| u32::try_from(pong.median.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

/// All links, oldest first.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    pub(super) fn add(&mut self, generation: Generation, token: Which, began: Duration) {
        let hello = Hello::default();
        // Nearly all connections hold one link, and there may be thousands.
        self.0.reserve_exact(1);
        self.0.push(Slot {
            generation,
            token,
            phase: Phase::Asking,
            began,
            hello,
            opened_ms: None,
            pong: None,
        });
    }

    pub(super) fn get(&mut self, generation: Generation) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.generation == generation)
    }

    /// Lets it go; its generation is stale from now on.
    pub(super) fn release(&mut self, generation: Generation) -> Option<Slot> {
        let at = self.0.iter().position(|slot| slot.generation == generation)?;
        Some(self.0.remove(at))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.0.iter_mut()
    }

    /// Every socket Slack may count, and every address asked for.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn count(&self, is: impl Fn(&Slot) -> bool) -> usize {
        self.0.iter().filter(|slot| is(slot)).count()
    }

    pub(super) fn any(&self, is: impl Fn(&Slot) -> bool) -> bool {
        self.0.iter().any(is)
    }

    pub(super) fn oldest(&self, is: impl Fn(&Slot) -> bool) -> Option<Generation> {
        self.0.iter().find(|slot| is(slot)).map(|slot| slot.generation)
    }

    /// Those that `is` picks, oldest first.
    pub(super) fn which(&self, is: impl Fn(&Slot) -> bool) -> Vec<Generation> {
        self.0.iter().filter(|slot| is(slot)).map(|slot| slot.generation).collect()
    }

    pub(super) fn status(&self) -> Vec<LinkStatus> {
        self.0.iter().map(Slot::status).collect()
    }
}
