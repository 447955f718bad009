//! A Slack to develop and test against: Web API methods, sockets, retries, faults, and the record tests judge by.
//!
//! One listener serves the Web API (`/api/{method}`), the sockets (`/link/`), `response_url`s (`/response/{id}`) and
//! the control API (`/control/…`, see `docs/simulator.md`). It speaks TCP itself, since a fault is often below HTTP.

use std::ops::Deref;

mod control;
mod faults;
mod options;
mod payloads;
mod record;

pub use control::{Control, ControlError, Load, NewApp, Outgoing, Team, Timeout};
pub use faults::{Act, Arm, Ending, Fault, Shape, Which};
pub use options::{Options, Recording, Rules, Spread};
pub use payloads::Template;
pub use record::{
    Announced, Anomaly, AppRecord, At, Attempt, Call, Counts, EventRecord, Gap, How, Open, Outcome, Record,
    ResponsePost, Side, SocketEnd, SocketRecord,
};

/// What the tasks and the handle share.
struct Shared {}

/// The simulator.
pub struct Simulator;

impl Simulator {
    /// Starts one on a thread of its own, usable from any runtime and from none.
    pub fn start(_options: Options) -> std::io::Result<Handle> {
        todo!()
    }
}

/// A running simulator; it stops when this is dropped. Everything that can be asked of it is on [`Control`].
pub struct Handle {
    control: Control,
}

impl Handle {
    /// Stops it: the listener and every connection are closed when this returns.
    pub fn stop(self) {}
}

impl Deref for Handle {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}
