//! When an envelope is acked whose ack may carry an answer, and what becomes of the answer.
//!
//! | | slash command | `view_submission`, `block_suggestion` |
//! |---|---|---|
//! | answer in time | ack with it, once stored; at the deadline in any case | the same |
//! | all done without an answer | bare ack, likewise | the same: an answer that says nothing |
//! | some done, some failed | bare ack, once stored; those are tried again | the same |
//! | answer too large | bare ack, the answer by `response_url` | no ack; refused |
//! | no answer at the deadline | bare ack, once stored; a later one by `response_url` | no ack; expired |
//! | all failed | bare ack, once stored; it is tried again | no ack; expired |
//! | no handler wants it | bare ack, once stored | the same |
//! | paused | ack once stored, with a fixed text where that overwrites nothing | no ack; expired |
//! | link gone before the ack | the answer by `response_url` | expired |
//!
//! A repeat that comes meanwhile, on whichever link, waits for the same answer; one that comes later gets what the first got, or a bare ack
//! where that is not kept any more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::Kind;

/// From the frame's read until an ack must go, with what there is. Slack waits half a second longer.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

/// A `response_url` is good for so long (Slack's page on handling user interaction).
pub const URL_LIVES: Duration = Duration::from_mins(30);

/// What only its ack could answer is not handled any more when it is older, whatever kept it.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// How an answer can travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the ack or, later, by the event's `response_url`.
    AckOrUrl,
    /// In the ack alone: without it the user sees an error.
    AckOnly,
}

/// How an answer to such an event can travel; none for what takes no answer and is acked when it is stored.
pub fn way(kind: Kind, kind_type: &str, has_response_url: bool) -> Option<Way> {
    match (kind, kind_type) {
        (Kind::SlashCommands, _) => Some(Way::AckOrUrl),
        (
            Kind::Interactive,
            "view_submission" | "block_suggestion" | "dialog_submission" | "dialog_suggestion",
        ) => Some(Way::AckOnly),
        // The old kind of message: its buttons are answered by a message, its menus by options.
        (Kind::Interactive, "interactive_message") if has_response_url => Some(Way::AckOrUrl),
        (Kind::Interactive, "interactive_message") => Some(Way::AckOnly),
        (Kind::Interactive | Kind::EventsApi | Kind::Unknown, _) => None,
    }
}

/// Is it too late for a handler that answers to get this event? `started_ms` is when the process started: what it finds from before
/// was read by another, whose ack is gone. Times are milliseconds since 1970.
pub fn is_stale(kind: Kind, kind_type: &str, received_ms: i64, started_ms: i64, now_ms: i64) -> bool {
    let older_than = |age: Duration| {
        now_ms.saturating_sub(received_ms) > i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
    };
    // With the address or without: it decides about old-fashioned messages only, where the longer time does no harm.
    match way(kind, kind_type, true) {
        Some(Way::AckOrUrl) => older_than(URL_LIVES),
        Some(Way::AckOnly) => received_ms < started_ms || older_than(FORGOTTEN_AFTER),
        None => false,
    }
}

/// What a handler made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer; does it fit into an ack?
    Answer {
        /// Is its frame one that Slack takes?
        fits: bool,
    },
    /// Done, with nothing to say.
    Done,
    /// Not done.
    Failed,
}

/// What an ack carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Nothing.
    Nothing,
    /// The answer.
    Answer,
    /// The text that says that the app is paused.
    Pause,
}

/// What becomes of a handler's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The ack carried it.
    Acked,
    /// It is to be posted to the `response_url`.
    ByUrl,
    /// It fits into no ack and has no other way.
    TooLarge,
    /// The ack it was for is not sent any more, and it has no other way.
    Expired,
    /// Another handler has answered before.
    Beaten,
    /// There was no answer to pass on.
    Nothing,
}

/// What is to be done. Whoever waits is told exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the ack.
    Ack(u64, With),
    /// Write no ack, now or later.
    Drop(u64),
    /// The answer that had to wait has met its fate.
    Close(Fate),
}

/// One envelope, its repeats, and the handlers that were asked.
#[derive(Debug)]
pub struct Exchange {
    way: Way,
    is_stored: bool,
    is_due: bool,
    /// Handlers that have not replied.
    outstanding: usize,
    /// Those that did their work without an answer.
    done: usize,
    /// Those that failed.
    failed: usize,
    answer: Answered,
    decision: Option<Decision>,
    waiting: Vec<u64>,
    actions: VecDeque<Action>,
}

/// Has a handler answered?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    No,
    /// Its answer waits for its fate.
    Open,
    Closed,
}

/// What those who wait are to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The ack that a handler's reply brings about: when it is stored or at the deadline.
    Carry(With),
    /// The ack that says that it is stored: never before it is.
    Stored(With),
    /// No ack.
    None,
}

impl Exchange {
    /// An exchange that nobody waits for yet.
    pub fn new(way: Way) -> Self {
        Self {
            way,
            is_stored: false,
            is_due: false,
            outstanding: 0,
            done: 0,
            failed: 0,
            answer: Answered::No,
            decision: None,
            waiting: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// One that was over long ago, for another repeat. Was it acked? If not, a repeat is not either. Has anybody answered?
    pub fn over(way: Way, was_acked: bool, is_answered: bool) -> Self {
        let decision = if was_acked { Decision::Stored(With::Nothing) } else { Decision::None };
        let answer = if is_answered { Answered::Closed } else { Answered::No };
        Self { answer, decision: Some(decision), ..Self::new(way) }
    }

    /// An envelope waits for its ack: the first, or a repeat.
    pub fn join(&mut self, waiter: u64) {
        self.waiting.push(waiter);
        self.release();
    }

    /// An envelope's link is gone.
    pub fn leave(&mut self, waiter: u64) {
        self.waiting.retain(|waiting| *waiting != waiter);
        self.release();
    }

    /// It is on disk, or there is none to wait for.
    pub fn stored(&mut self) {
        self.is_stored = true;
        self.release();
    }

    /// The deadline has passed.
    pub fn due(&mut self) {
        self.is_due = true;
        self.decide(self.without_answer());
        self.release();
    }

    /// So many handlers are asked. With none it is acked as anything else is.
    pub fn asked(&mut self, handlers: usize) {
        self.outstanding = handlers;
        if handlers == 0 {
            self.decide(Decision::Stored(With::Nothing));
            self.release();
        }
    }

    /// Nobody could be asked.
    pub fn failed(&mut self) {
        self.decide(self.without_answer());
        self.release();
    }

    /// The handler or the workspace is paused. May the ack say so: does a text in it overwrite nothing?
    pub fn paused(&mut self, may_say: bool) {
        self.decide(match self.way {
            Way::AckOrUrl if may_say => Decision::Stored(With::Pause),
            Way::AckOrUrl => Decision::Stored(With::Nothing),
            Way::AckOnly => Decision::None,
        });
        self.release();
    }

    /// A handler's reply, and its fate; none while the answer waits for it: then [`Action::Close`] tells.
    pub fn reply(&mut self, reply: Reply) -> Option<Fate> {
        self.outstanding = self.outstanding.saturating_sub(1);
        let fate = match reply {
            Reply::Answer { fits } => self.answer(fits),
            Reply::Done => {
                self.done += 1;
                self.conclude();
                Some(if self.has_expired() { Fate::Expired } else { Fate::Nothing })
            }
            Reply::Failed => {
                self.failed += 1;
                self.conclude();
                Some(if self.has_expired() { Fate::Expired } else { Fate::Nothing })
            }
        };
        self.release();
        fate
    }

    /// A handler that failed when it was asked has an answer now, which could travel by the `response_url`. Has another answered before?
    pub fn is_beaten(&mut self) -> bool {
        if self.answer != Answered::No {
            return true;
        }
        match self.way {
            Way::AckOrUrl => {
                self.answer = Answered::Closed;
                self.decide(self.without_answer());
                self.release();
            }
            // It has no way.
            Way::AckOnly => {}
        }
        false
    }

    /// The next thing to do. To be polled until `None` after everything that happened.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Is it decided that no ack is sent?
    pub fn has_expired(&self) -> bool {
        self.decision == Some(Decision::None)
    }

    /// Is it decided, and does nothing wait?
    pub fn is_over(&self) -> bool {
        self.decision.is_some()
            && self.outstanding == 0
            && self.waiting.is_empty()
            && self.answer != Answered::Open
    }

    /// Has anybody answered, in time or late?
    pub fn is_answered(&self) -> bool {
        self.answer != Answered::No
    }

    /// Has the deadline passed?
    pub fn is_late(&self) -> bool {
        self.is_due
    }

    fn answer(&mut self, fits: bool) -> Option<Fate> {
        if self.answer != Answered::No {
            return Some(Fate::Beaten);
        }
        self.answer = Answered::Closed;
        match (self.decision, self.way) {
            (None, Way::AckOrUrl) if !fits => {
                self.decide(Decision::Carry(With::Nothing));
                Some(Fate::ByUrl)
            }
            (None, Way::AckOnly) if !fits => {
                self.decide(Decision::None);
                Some(Fate::TooLarge)
            }
            (None, Way::AckOrUrl | Way::AckOnly) => {
                self.decide(Decision::Carry(With::Answer));
                self.answer = Answered::Open;
                None
            }
            (Some(_), Way::AckOrUrl) => Some(Fate::ByUrl),
            (Some(_), Way::AckOnly) => Some(Fate::Expired),
        }
    }

    /// Decides when the last handler has replied and none has answered.
    fn conclude(&mut self) {
        if self.outstanding == 0 {
            self.decide(match (self.done, self.failed) {
                (0, _) => self.without_answer(),
                (_, 0) => Decision::Carry(With::Nothing),
                // Who failed has yet to do it: that it is stored must be true.
                _ => Decision::Stored(With::Nothing),
            });
        }
    }

    const fn without_answer(&self) -> Decision {
        match self.way {
            Way::AckOrUrl => Decision::Stored(With::Nothing),
            Way::AckOnly => Decision::None,
        }
    }

    /// The first decision stands.
    fn decide(&mut self, decision: Decision) {
        self.decision.get_or_insert(decision);
    }

    /// Tells those who wait, if it is time.
    fn release(&mut self) {
        let Some(decision) = self.decision else { return };
        let is_open = self.answer == Answered::Open;
        if is_open && self.waiting.is_empty() {
            // Its link went before the ack: what comes now must not be answered twice.
            self.decision = Some(self.without_answer());
            return self.close(match self.way {
                Way::AckOrUrl => Fate::ByUrl,
                Way::AckOnly => Fate::Expired,
            });
        }
        match decision {
            Decision::Carry(with) if self.is_stored || self.is_due => {
                self.ack(with);
                if is_open {
                    self.close(Fate::Acked);
                }
            }
            Decision::Stored(with) if self.is_stored => self.ack(with),
            Decision::None => {
                let waiting = std::mem::take(&mut self.waiting);
                self.actions.extend(waiting.into_iter().map(Action::Drop));
            }
            Decision::Carry(_) | Decision::Stored(_) => {}
        }
    }

    fn ack(&mut self, with: With) {
        let waiting = std::mem::take(&mut self.waiting);
        self.actions.extend(waiting.into_iter().map(|waiter| Action::Ack(waiter, with)));
    }

    fn close(&mut self, fate: Fate) {
        self.answer = Answered::Closed;
        self.actions.push_back(Action::Close(fate));
    }
}

#[cfg(test)]
mod tests;
