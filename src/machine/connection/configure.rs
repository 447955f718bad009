//! The app as it is stored, compared with what is running. Law 7: the token in force stays until a link opened with the
//! candidate has its hello. Whatever else becomes of a candidate, a good token is never given up for an untried one.

use super::slots::{Phase, Slot};
use super::tries::Tries;
use super::{Action, Connection, Token, Which, Wish};
use crate::status::Code;

/// A token that is tried beside the one in force.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) tries: Tries,
    /// Found together with the token in force when the node started: that one is likelier to work, and goes first.
    pub(super) patient: bool,
}

impl Connection {
    pub(super) fn configure(&mut self, wish: Wish) {
        self.want_links(wish.links);
        match (self.on, wish.on) {
            (false, true) => self.connect(Code::OperatorConnect),
            (true, false) => self.disconnect(Code::OperatorDisconnect),
            (false, false) | (true, true) => {}
        }
        match wish.token {
            Token::Same => {}
            Token::Changed => self.replace_token(),
            Token::Absent => self.erase_token(),
            Token::Unreadable => self.lose_token(Code::TokenUnreadable),
        }
        match wish.candidate {
            Token::Same if self.candidate.is_some() => {}
            Token::Same | Token::Changed => self.new_candidate(wish.token == Token::Changed),
            Token::Absent => {
                self.withdraw_candidate();
                self.rejected = self.rejected.filter(|code| *code != Code::TokenUnreadable);
            }
            Token::Unreadable => {
                self.withdraw_candidate();
                self.rejected = Some(Code::TokenUnreadable);
            }
        }
    }

    /// The token in force is another: there is none to go back to, so every link is replaced.
    fn replace_token(&mut self) {
        self.no_token = None;
        self.tries = Tries::new(self.settings.timing);
        self.stop_opening(Which::InForce);
        let was_halted = self.halt.take().is_some();
        if self.on && (was_halted || self.slots.any(Slot::is_serving)) {
            self.cause = Some(Code::NewToken);
        }
        self.leave_for(Code::NewToken);
    }

    /// An erased token must not keep a socket.
    fn erase_token(&mut self) {
        if self.no_token == Some(Code::NotAuthed) {
            return;
        }
        self.withdraw_candidate();
        self.rejected = None;
        for generation in self.slots.which(|_| true) {
            self.stop(generation);
        }
        self.lose_token(Code::NotAuthed);
    }

    /// Nothing can be opened; what is live lives on.
    fn lose_token(&mut self, code: Code) {
        if self.no_token == Some(code) {
            return;
        }
        self.no_token = Some(code);
        self.halt = self.halt.filter(|halt| !halt.token_may_help);
        for generation in self.slots.which(|slot| slot.phase == Phase::Asking && slot.token == Which::InForce)
        {
            self.stop(generation);
        }
    }

    fn new_candidate(&mut self, patient: bool) {
        self.rejected = None;
        self.stop_opening(Which::Candidate);
        self.candidate = Some(Box::new(Candidate { tries: Tries::new(self.settings.timing), patient }));
        if patient {
            return;
        }
        // They make room for it.
        for generation in self.slots.which(|slot| slot.phase == Phase::Asking) {
            self.stop(generation);
        }
        if !self.slots.any(Slot::is_serving) {
            // Somebody looked at what halted it.
            self.halt = self.halt.filter(|halt| halt.token_may_help);
            if self.on {
                self.cause = Some(Code::NewToken);
            }
        }
    }

    fn withdraw_candidate(&mut self) {
        self.candidate = None;
        self.stop_opening(Which::Candidate);
    }

    /// The candidate proved itself: links of the old token go as their successors come up.
    pub(super) fn promote_candidate(&mut self) {
        self.act(Action::Promote);
        if let Some(candidate) = self.candidate.take() {
            self.tries = candidate.tries;
        }
        self.halt = None;
        self.no_token = None;
        self.rejected = None;
        self.stop_opening(Which::InForce);
        for slot in self.slots.iter_mut() {
            slot.token = Which::InForce;
        }
        self.leave_for(Code::NewToken);
    }

    /// Slack or we refuse it; all goes on with the token in force, as far as that goes.
    pub(super) fn reject_candidate(&mut self, code: Code) {
        self.withdraw_candidate();
        self.rejected = Some(code);
        self.act(Action::DropCandidate(code));
        if !self.slots.any(Slot::is_serving) {
            self.cause = Some(code);
            if let Some(halt) = self.halt.as_mut().filter(|halt| halt.token_may_help) {
                halt.code = code;
            }
        }
    }

    /// Halted for the token in force, but another is being tried.
    pub(super) fn has_hope(&self) -> bool {
        self.candidate.is_some() && self.halt.is_some_and(|halt| halt.token_may_help)
    }

    fn stop_opening(&mut self, token: Which) {
        for generation in self.slots.which(|slot| slot.is_opening() && slot.token == token) {
            self.stop(generation);
        }
    }
}
