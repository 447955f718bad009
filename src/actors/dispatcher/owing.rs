//! What is to be written down of what handlers owe. A group is what came up while the last one was being written, as in the journal.

use std::collections::VecDeque;

use crate::ids::Seq;
use crate::store::DeliveryChange;

/// Changes in one group at most.
const GROUP: usize = 2048;

/// A change, and what is so once it is on disk.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) change: DeliveryChange,
    /// At which desk.
    pub(super) desk: usize,
    /// The event needs no more place in memory for this handler's sake: its seq and weight.
    pub(super) settles: Option<(Seq, usize)>,
    /// Is its lane to be read for it?
    pub(super) waits: Waits,
}

/// Does a delivery wait in the store alone?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    No,
    New,
    /// It may come before what is there.
    Old,
}

/// The changes that are not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Owing {
    queue: VecDeque<Pending>,
    is_writing: bool,
    is_failing: bool,
}

impl Owing {
    pub(super) fn push(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }

    /// Does so much wait that nothing more is to be read? What is read ends here too.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() > 2 * GROUP
    }

    /// Is all on disk?
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_writing
    }

    /// The next group, unless one is being written.
    pub(super) fn begin(&mut self) -> Option<Vec<Pending>> {
        if self.is_writing || self.queue.is_empty() {
            return None;
        }
        self.is_writing = true;
        Some(self.queue.drain(..GROUP.min(self.queue.len())).collect())
    }

    /// The group is on disk. True when the ones before were refused.
    pub(super) fn written(&mut self) -> bool {
        self.is_writing = false;
        std::mem::take(&mut self.is_failing)
    }

    /// The group was refused. True when it is the first.
    pub(super) fn refused(&mut self) -> bool {
        !std::mem::replace(&mut self.is_failing, true)
    }
}
