//! How the supervisor learns that a connection's actor has died: a value of its own is dropped. That happens after a panic
//! too, while `stopped()` would run on a half-changed actor.

use actix::prelude::*;

use crate::ids::AppId;

/// A connection's actor is gone and nobody asked for it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Died {
    pub(super) app: AppId,
    /// Which of the actors the app has had.
    pub(super) life: u64,
}

/// Tells the supervisor when it is dropped. Never panics: it is dropped while a thread unwinds.
pub(super) struct Tripwire {
    supervisor: Option<Recipient<Died>>,
    died: Died,
}

impl Tripwire {
    /// A tripwire in one life of an app's actor.
    pub(super) fn new(supervisor: Recipient<Died>, app: AppId, life: u64) -> Self {
        Self { supervisor: Some(supervisor), died: Died { app, life } }
    }

    /// The end is wanted.
    pub(super) fn disarm(&mut self) {
        self.supervisor = None;
    }
}

impl Drop for Tripwire {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one message that must not be lost to a full mailbox; at most one a life"
    )]
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.do_send(self.died);
        }
    }
}
