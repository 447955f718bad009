//! One app's life over its links.
//!
//! A connection keeps no state of its own beside its links: what it *is* follows from what is wanted, what halts it and
//! what its links are doing.
//!
//! | state | wanted | halted | links | leaves by |
//! |---|---|---|---|---|
//! | `disconnected` | off | | none | connect |
//! | `disconnecting` | off | | some, being stopped | the last link down |
//! | `ready` | on | | one is live or draining | the last of these down |
//! | `failed` | on | yes, and no new token is being tried | none of these (a probe may be opening one) | connect, new token, hello of a probe |
//! | `connected` | on | no, or a new token is tried | the furthest is open and awaits hello | hello, link down |
//! | `authenticated` | on | no, or a new token is tried | the furthest is dialling | opened, link down |
//! | `connecting` | on | no, or a new token is tried | the furthest asks for an address | url issued, open failed |
//! | `reconnecting` | on | no, or a new token is tried | none of these | time |
//!
//! What an input does depends on the phase of the link it is about; a link the connection doesn't hold is ignored:
//!
//! | phase | url issued | open failed | opened | up | draining | down |
//! |---|---|---|---|---|---|---|
//! | asking | dial | release, wait or halt | – | – | – | release, wait or halt |
//! | dialling | – | release, wait or halt | → greeting | → live, if the app is ours | – | release, wait or halt |
//! | greeting | – | – | – | → live, if the app is ours | – | release, wait or halt |
//! | live | – | – | – | – | → draining | release; wait or halt, unless it was leaving |
//! | draining | – | – | – | – | – | release |
//! | stopping | – | – | – | – | – | release |
//!
//! After each input one plan (`plan.rs`) compares what is wanted with what is there and stops, retires, opens.

mod census;
mod configure;
mod inputs;
mod plan;
mod slots;
mod tries;
mod view;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use self::census::Census;
use self::configure::Candidate;
use self::slots::Slots;
use self::tries::Tries;
use super::dice::Dice;
use super::link::RoundTrip;
use super::quiet::Quiet;
use crate::clock::Now;
use crate::ids::{Generation, Generations};
use crate::protocol::class::Class;
use crate::protocol::hello::Hello;
use crate::status::{Code, State};

/// What a connection is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Links wanted, 1 to 9; what lies outside is taken as the nearest.
    pub links: u8,
    /// Slack's id of the app, once known. A link whose hello names another app is refused.
    pub slack_app_id: Option<Box<str>>,
    /// The times it keeps.
    pub timing: &'static Timing,
}

/// The times a connection keeps. A test may shorten them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The first wait after a transient failure is at most this; it doubles.
    pub backoff_first: Duration,
    /// No wait after a transient failure is longer, counted from the failed attempt's beginning. Twelve seconds, so that after
    /// an outage everything is ready again within fifteen of its end, even where an attempt hangs until its deadline (twelve
    /// seconds for an address, ten to dial, ten for hello and one to close): then the next begins at once or nearly. Slack is
    /// protected by the pace of the whole node, not by this.
    pub backoff_cap: Duration,
    /// A link that has lived this long after hello proves that all is well.
    pub stable: Duration,
    /// Links whose end is announced sooner than this after hello make the next one wait when there are many in a row.
    pub brief: Duration,
    /// Between probes while failed, give or take a fifth.
    pub probe: Duration,
    /// The first wait after `too_many_websockets`; it doubles.
    pub crowded_first: Duration,
    /// The longest wait after it.
    pub crowded_cap: Duration,
    /// The first wait after an error code this version does not know; it doubles.
    pub unknown_first: Duration,
    /// The longest wait after it.
    pub unknown_cap: Duration,
    /// A longer `Retry-After` is taken as this.
    pub retry_after_cap: Duration,
    /// A retired link stays this long past its announced end.
    pub overstay: Duration,
    /// The warning `frame_too_large` is shown for so long.
    pub oversize_shown: Duration,
    /// Slack counts too many sockets: the next hello is brought about after once to twice this.
    pub census: Duration,
}

impl Timing {
    /// The times of a node. Shared by all its connections: there may be thousands.
    pub const NODE: Self = {
        const fn seconds(seconds: u64) -> Duration {
            Duration::from_secs(seconds)
        }
        Self {
            backoff_first: seconds(1),
            backoff_cap: seconds(12),
            stable: seconds(30),
            brief: seconds(10),
            probe: seconds(15 * 60),
            crowded_first: seconds(30),
            crowded_cap: seconds(10 * 60),
            unknown_first: seconds(60),
            unknown_cap: seconds(15 * 60),
            retry_after_cap: seconds(60 * 60),
            overstay: seconds(60),
            oversize_shown: seconds(60 * 60),
            census: seconds(5 * 60),
        }
    };
}

/// What happened. A word about a link the connection doesn't hold any more changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Wanted on ([`Code::OperatorConnect`] at start too). Also: try again now, whatever went before.
    Connect(Code),
    /// Wanted off: by [`Code::OperatorDisconnect`] or [`Code::Shutdown`].
    Disconnect(Code),
    /// Somebody wants fresh links: each old one goes when its successor is up.
    Reconnect,
    /// The app as it is stored now.
    Configure(Wish),
    /// What no attempt can mend ([`Code::DuplicateInstallation`], [`Code::Crashed`]): every link is stopped.
    Halt(Code),
    /// What it was halted for is no more.
    Lift(Code),
    /// Slack issued an address for this link.
    UrlIssued(Generation),
    /// It didn't.
    OpenFailed(Generation, OpenFailure),
    /// The socket is open.
    LinkOpened(Generation),
    /// Hello is in.
    LinkUp(Generation, Hello),
    /// Slack announced the link's end, so long from now.
    LinkDraining(Generation, Code, Duration),
    /// How long Slack takes to answer pings over this link.
    LinkPong(Generation, RoundTrip),
    /// The link's TCP connection is dropped. The shell says so for a link whose task died without a word, too.
    LinkDown(Generation, Code),
    /// The answer to [`Action::Count`].
    Counted(u64),
    /// The timer of [`Connection::poll_timeout`] fired.
    Timeout,
}

/// What is wanted of an app, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Wanted on. Going on is [`Code::OperatorConnect`], going off [`Code::OperatorDisconnect`].
    pub on: bool,
    /// Links wanted, 1 to 9; what lies outside is taken as the nearest.
    pub links: u8,
    /// The one in force. Without a usable one nothing is opened; live links live on unless it is erased.
    pub token: Token,
    /// The one to be tried beside it.
    pub candidate: Token,
}

/// A stored token beside the one the shell last said was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// There is none.
    Absent,
    /// There is one, but this node can't read it.
    Unreadable,
    /// That very one.
    Same,
    /// Another, or the first.
    Changed,
}

/// Why Slack issued no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFailure {
    /// Why.
    pub code: Code,
    /// How to meet it.
    pub class: Class,
    /// Slack's `Retry-After`, from now.
    pub retry_after: Option<Duration>,
}

/// With which token a link is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one in force.
    InForce,
    /// The one that is tried beside it.
    Candidate,
}

/// What the shell is to do. Each `Open` is answered by `UrlIssued` or `OpenFailed` unless abandoned, and each `Dial` by
/// `LinkDown` in the end: the shell sets the deadline for the first, for it also makes openings wait for their turn, and
/// the link the one for the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask Slack for an address for a new link.
    Open {
        /// The link.
        generation: Generation,
        /// With which token.
        token: Which,
    },
    /// Dial the address that was issued: the link's task begins.
    Dial(Generation),
    /// Nobody waits for the answer to this `Open` any more.
    Abandon(Generation),
    /// Stop the link, whatever it is doing.
    Stop(Generation),
    /// The link's successor is up: it may stay so long for Slack to close it.
    Retire(Generation, Duration),
    /// The candidate becomes the token in force; an `Open` that comes after this with [`Which::InForce`] means it.
    Promote,
    /// The candidate is no good.
    DropCandidate(Code),
    /// Slack's id of the app, heard for the first time.
    LearnAppId(Box<str>),
    /// Say how many events the app has had since the node started.
    Count,
    /// The state changed: for the history and whoever listens.
    Changed {
        /// From.
        from: State,
        /// To.
        to: State,
        /// Why; none when all is as wanted.
        code: Option<Code>,
        /// The link it is about.
        generation: Option<Generation>,
    },
}

/// One app's life over its links.
#[derive(Debug)]
pub struct Connection {
    settings: Settings,
    generations: Generations,
    dice: Dice,
    on: bool,
    /// The last thing that made it other than wanted, or wanted otherwise.
    cause: Option<Code>,
    slots: Slots,
    tries: Tries,
    halt: Option<Halt>,
    /// Why there is no usable token in force.
    no_token: Option<Code>,
    candidate: Option<Box<Candidate>>,
    /// Why the last candidate was no good.
    rejected: Option<Code>,
    /// Slack's id of the app was not known when the connection began.
    app_id_is_learnt: bool,
    census: Census,
    /// Nodes beside this one that hold sockets of the app, as far as known.
    other_nodes: usize,
    quiet: Quiet,
    /// A frame was too large; shown until then.
    oversize_until: Option<Duration>,
    /// The state that was last told, since when.
    shown: State,
    since_ms: i64,
    seen: Now,
    actions: VecDeque<Action>,
}

/// A person must act before an attempt makes sense.
#[derive(Clone, Copy, Debug)]
struct Halt {
    code: Code,
    /// The next probe, if there are any: they may act where this node doesn't see it.
    probe: Probe,
    /// Another token may put it right, so a candidate is tried all the same.
    token_may_help: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Never.
    None,
    /// To be planned.
    Unplanned,
    /// Then, or as soon as there is room.
    At(Duration),
}

impl Connection {
    /// A connection that is off, whose token is taken to be there unless [`Input::Configure`] says otherwise.
    pub fn new(now: Now, settings: Settings, seed: u64, generations: Generations) -> Self {
        let tries = Tries::new(settings.timing);
        let mut connection = Self {
            settings,
            generations,
            dice: Dice::new(seed),
            on: false,
            cause: None,
            slots: Slots::default(),
            tries,
            halt: None,
            no_token: None,
            candidate: None,
            rejected: None,
            app_id_is_learnt: false,
            census: Census::default(),
            other_nodes: 0,
            quiet: Quiet::default(),
            oversize_until: None,
            shown: State::Disconnected,
            since_ms: now.wall_ms,
            seen: now,
            actions: VecDeque::new(),
        };
        connection.want_links(connection.settings.links);
        connection
    }

    /// So many other nodes hold sockets of the app too, each as many as this one: they are no strangers in the next hello.
    pub fn stand_beside(&mut self, other_nodes: u32) {
        self.other_nodes = usize::try_from(other_nodes).unwrap_or(usize::MAX);
    }

    /// Takes in what happened. Afterwards poll the actions, then the timeout; the status may have changed even where
    /// no [`Action::Changed`] comes out.
    pub fn handle(&mut self, now: Now, input: Input) {
        let about = input.generation();
        if about.is_some_and(|generation| self.slots.get(generation).is_none()) {
            return;
        }
        self.seen = now;
        self.take(input);
        self.plan();
        self.tell_change(about);
    }

    /// The next thing to do. To be polled until `None` after each [`handle`](Self::handle).
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}
