//! What can go wrong on purpose: faults that lie in wait, and acts done to sockets at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault that lies in wait: armed for one app or for all, for a number of times or a while, it happens when its
/// moment comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A method answers with an HTTP status and, when `body` isn't given, an HTML page: 500, 503, or 200, as a proxy's
    /// login page would. 429, with `retry_after`, says `ratelimited` in JSON instead, as Slack does.
    ApiStatus {
        /// Which method; `apps.connections.open` when not given.
        #[serde(default)]
        method: Option<String>,
        /// The HTTP status.
        status: u16,
        /// Seconds for the `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u32>,
        /// The body instead of the page.
        #[serde(default)]
        body: Option<String>,
    },
    /// A method answers `{"ok":false,"error":…}`.
    ApiError {
        /// Which method; `apps.connections.open` when not given.
        #[serde(default)]
        method: Option<String>,
        /// Slack's error code.
        error: String,
    },
    /// A method takes its time, then does what it would have done.
    ApiDelay {
        /// Which method; `apps.connections.open` when not given.
        #[serde(default)]
        method: Option<String>,
        /// Milliseconds.
        ms: u64,
    },
    /// A method never answers.
    ApiHang {
        /// Which method; `apps.connections.open` when not given.
        #[serde(default)]
        method: Option<String>,
    },
    /// A method answers with a body that isn't JSON though it says so.
    ApiGarbage {
        /// Which method; `apps.connections.open` when not given.
        #[serde(default)]
        method: Option<String>,
    },
    /// A method's connection is reset before the answer.
    ApiReset {
        /// Which method; `apps.connections.open` when not given.
        #[serde(default)]
        method: Option<String>,
    },
    /// The WebSocket upgrade is answered with this status: 408, 409, 503, or 200 with a page.
    DialStatus {
        /// The HTTP status.
        status: u16,
        /// The body; a page with 200, else nothing.
        #[serde(default)]
        body: Option<String>,
    },
    /// The upgrade takes its time.
    DialDelay {
        /// Milliseconds.
        ms: u64,
    },
    /// The upgrade is never answered.
    DialHang,
    /// The connection is reset instead of being upgraded.
    DialReset,
    /// No hello comes.
    NoHello,
    /// Hello comes late.
    LateHello {
        /// Milliseconds.
        ms: u64,
    },
    /// Hello has no `debug_info`.
    HelloWithoutDebugInfo,
    /// Hello names another app.
    HelloOfApp {
        /// The app id it names.
        app_id: String,
    },
    /// The simulator sends no pings.
    NoPings,
    /// The simulator answers no pings.
    NoPongs,
    /// The simulator answers pings late.
    LatePongs {
        /// Milliseconds.
        ms: u64,
    },
    /// The simulator's pings have a payload of this size, 125 at most.
    PingBytes {
        /// Bytes.
        bytes: usize,
    },
    /// The client's close frame is never answered.
    CloseUnanswered,
    /// Envelopes come in a shape of their own.
    Shape(Shape),
    /// Right after hello this is done to the socket.
    AfterHello {
        /// What is done.
        act: Act,
    },
}

/// How an envelope is written to its socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Cut into continuation frames of this many bytes.
    pub fragment_bytes: Option<usize>,
    /// Written byte by byte with this pause after each, milliseconds.
    pub byte_pause_ms: Option<u64>,
    /// How often it is sent; each copy has an envelope id of its own and the same `event_id`.
    pub copies: Option<u8>,
}

impl Shape {
    /// This shape, and where it says nothing the other.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            fragment_bytes: self.fragment_bytes.or(other.fragment_bytes),
            byte_pause_ms: self.byte_pause_ms.or(other.byte_pause_ms),
            copies: self.copies.or(other.copies),
        }
    }
}

/// A fault with its limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arm {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many times; without a limit when not given.
    #[serde(default)]
    pub count: Option<u32>,
    /// How long, milliseconds; until it is cleared when not given.
    #[serde(default)]
    pub for_ms: Option<u64>,
}

impl From<Fault> for Arm {
    fn from(fault: Fault) -> Self {
        Self { fault, count: None, for_ms: None }
    }
}

impl Arm {
    /// A fault that happens once.
    pub fn once(fault: Fault) -> Self {
        Self { fault, count: Some(1), for_ms: None }
    }
}

/// Something done to live sockets at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// A `disconnect` message and, some time later, the end.
    Disconnect {
        /// `warning`, `refresh_requested`, `link_disabled`, `too_many_websockets`, or any other word.
        reason: String,
        /// Milliseconds until the end; Slack's own for the reason when not given.
        #[serde(default)]
        after_ms: Option<u64>,
        /// The end; a close frame when not given.
        #[serde(default)]
        then: Option<Ending>,
    },
    /// The end, without a word before.
    End {
        /// How.
        how: Ending,
    },
    /// Nothing is sent, answered or heard any more; TCP stays open until the client gives up.
    Silence,
    /// A text frame: `UNAUTHENTICATED: cache_error`, nothing at all, a lone line break, half a JSON object…
    Text {
        /// What it says.
        text: String,
    },
    /// A binary frame.
    Binary {
        /// Its size.
        bytes: usize,
    },
    /// A text frame that isn't UTF-8.
    InvalidUtf8,
    /// A frame with an opcode that means nothing.
    ReservedOpcode,
    /// A text frame with a reserved bit set, as if it were compressed.
    ReservedBit,
    /// A masked text frame; a server's never are.
    MaskedFrame,
    /// A continuation frame that continues nothing.
    LoneContinuation,
    /// A text frame of this size, valid JSON.
    HugeFrame {
        /// Bytes.
        bytes: usize,
    },
    /// A ping with a payload of this size, 125 at most.
    Ping {
        /// Bytes.
        bytes: usize,
    },
    /// Text frames of an unknown type without an envelope id, as fast as they are read.
    Flood {
        /// How many.
        frames: u32,
        /// The size of each.
        bytes: usize,
    },
    /// These bytes, as they are, hexadecimal.
    Raw {
        /// The bytes.
        hex: String,
    },
}

/// How the simulator ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ending {
    /// A close frame; TCP is closed when it is answered, or after a second.
    Close {
        /// Its code; none is an empty close frame.
        #[serde(default)]
        code: Option<u16>,
        /// How much longer TCP is held open, milliseconds.
        #[serde(default)]
        hold_ms: u64,
    },
    /// FIN without a close frame.
    Fin,
    /// RST.
    Reset,
    /// Nothing is said or answered, TCP stays open for this long, then FIN.
    Hold {
        /// Milliseconds.
        ms: u64,
    },
}

/// Which sockets of an app an act is done to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Each.
    #[default]
    All,
    /// The youngest.
    Newest,
    /// The oldest.
    Oldest,
    /// The one with this number.
    Id(u64),
}

/// A fault in wait.
pub(super) struct Armed {
    pub(super) number: u64,
    /// The app's index; none is all apps.
    pub(super) app: Option<usize>,
    pub(super) fault: Fault,
    pub(super) left: Option<u32>,
    pub(super) until: Option<Duration>,
}

/// Faults in wait, the oldest first.
#[derive(Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
}

impl Faults {
    pub(super) fn arm(&mut self, number: u64, app: Option<usize>, arm: Arm, now: Duration) {
        let until = arm.for_ms.map(|ms| now + Duration::from_millis(ms));
        self.armed.push(Armed { number, app, fault: arm.fault, left: arm.count, until });
    }

    /// Disarms one, or all of an app, or all there are.
    pub(super) fn clear(&mut self, which: Clear) {
        self.armed.retain(|armed| match which {
            Clear::All => false,
            Clear::App(app) => armed.app != Some(app),
            Clear::Number(number) => armed.number != number,
        });
    }

    /// The oldest armed fault of this app that `wanted` makes something of, used up by one.
    pub(super) fn take<T>(
        &mut self,
        app: Option<usize>,
        now: Duration,
        wanted: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        if self.armed.is_empty() {
            return None;
        }
        self.armed.retain(|armed| armed.until.is_none_or(|until| now < until));
        let (at, found) = self
            .armed
            .iter()
            .enumerate()
            .filter(|(_, armed)| armed.app.is_none() || armed.app == app)
            .find_map(|(at, armed)| Some((at, wanted(&armed.fault)?)))?;
        if let Some(armed) = self.armed.get_mut(at)
            && let Some(left) = &mut armed.left
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.armed.remove(at);
            }
        }
        Some(found)
    }
}

/// What is disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clear {
    All,
    App(usize),
    Number(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_fault_happens_as_often_as_it_was_armed_for() {
        let mut faults = Faults::default();
        faults.arm(1, None, Arm { count: Some(2), ..Arm::from(Fault::NoHello) }, NOW);
        assert_eq!([take(&mut faults, 0), take(&mut faults, 0), take(&mut faults, 0)], [true, true, false]);
    }

    #[test]
    fn a_fault_ends_when_its_time_is_over() {
        let mut faults = Faults::default();
        faults.arm(1, None, Arm { for_ms: Some(10), ..Arm::from(Fault::NoHello) }, NOW);
        assert!(take(&mut faults, 0));
        assert!(faults.take(Some(0), NOW + Duration::from_millis(10), no_hello).is_none());
    }

    #[test]
    fn a_fault_of_one_app_leaves_the_others_alone_and_clears_with_it() {
        let mut faults = Faults::default();
        faults.arm(1, Some(3), Fault::NoHello.into(), NOW);
        assert!(!take(&mut faults, 0));
        assert!(take(&mut faults, 3));
        faults.clear(Clear::App(3));
        assert!(!take(&mut faults, 3));
    }

    #[test]
    fn limits_stand_beside_the_fault_in_json() {
        let arm: Arm = serde_json::from_str(r#"{"fault":"api_delay","ms":700,"count":3}"#).unwrap();
        assert!(matches!(
            arm,
            Arm { fault: Fault::ApiDelay { ms: 700, method: None }, count: Some(3), for_ms: None }
        ));
    }

    fn no_hello(fault: &Fault) -> Option<()> {
        matches!(fault, Fault::NoHello).then_some(())
    }

    fn take(faults: &mut Faults, app: usize) -> bool {
        faults.take(Some(app), NOW, no_hello).is_some()
    }
}
