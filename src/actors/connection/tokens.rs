//! The app-level tokens a connection has in its hands, and how those stored differ from them.

use crate::machine::connection::{Token, Which};
use crate::secret::AppToken;
use crate::store::{App, StoreError};

#[derive(Default)]
pub(super) struct Tokens {
    in_force: Option<AppToken>,
    candidate: Option<AppToken>,
    /// The candidate that was refused last, until the store has heard of it.
    refused: Option<AppToken>,
}

impl Tokens {
    pub(super) fn get(&self, which: Which) -> Option<AppToken> {
        match which {
            Which::InForce => self.in_force.clone(),
            Which::Candidate => self.candidate.clone(),
        }
    }

    /// Takes over what is stored; the token in force and the candidate, each beside what it was.
    pub(super) fn compare(&mut self, app: &App) -> (Token, Token) {
        let stored = match &app.candidate {
            Some(Ok(token)) if self.in_force.as_ref() == Some(token) => {
                // Promoted here; the store has yet to hear of it.
                self.candidate = None;
                return (Token::Same, Token::Absent);
            }
            Some(Ok(token)) if self.refused.as_ref() == Some(token) => None,
            stored => stored.as_ref(),
        };
        (take_over(&mut self.in_force, app.token.as_ref()), take_over(&mut self.candidate, stored))
    }

    /// The candidate is the token in force from now on.
    pub(super) fn promote(&mut self) -> Option<AppToken> {
        self.in_force = Some(self.candidate.take()?);
        self.in_force.clone()
    }

    /// The candidate is no good.
    pub(super) fn refuse(&mut self) -> Option<AppToken> {
        self.refused = self.candidate.take();
        self.refused.clone()
    }

    /// The store has heard that this one was refused: stored once more, somebody wants it tried once more.
    pub(super) fn is_noted(&mut self, refused: &AppToken) {
        self.refused.take_if(|token| token == refused);
    }
}

fn take_over(held: &mut Option<AppToken>, stored: Option<&Result<AppToken, StoreError>>) -> Token {
    let (token, change) = match stored {
        None => (None, Token::Absent),
        Some(Err(_)) => (None, Token::Unreadable),
        Some(Ok(token)) if held.as_ref() == Some(token) => return Token::Same,
        Some(Ok(token)) => (Some(token.clone()), Token::Changed),
    };
    *held = token;
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AppId;
    use crate::store::Desired;

    #[test]
    fn each_token_is_told_once_and_is_the_same_from_then_on() {
        let mut tokens = Tokens::default();
        let app = app(Some("xapp-1-a"), Some("xapp-1-b"));
        assert_eq!(tokens.compare(&app), (Token::Changed, Token::Changed));
        assert_eq!(tokens.compare(&app), (Token::Same, Token::Same));
        assert_eq!(tokens.get(Which::Candidate), Some(token("xapp-1-b")));
    }

    #[test]
    fn what_is_stored_no_more_is_absent_here_too() {
        let mut tokens = Tokens::default();
        tokens.compare(&app(Some("xapp-1-a"), Some("xapp-1-b")));
        assert_eq!(tokens.compare(&app(Some("xapp-1-a"), None)), (Token::Same, Token::Absent));
        assert_eq!(tokens.compare(&app(None, None)), (Token::Absent, Token::Absent));
        assert_eq!((tokens.get(Which::InForce), tokens.get(Which::Candidate)), (None, None));
    }

    #[test]
    fn a_token_that_cannot_be_read_does_not_touch_the_other() {
        let mut tokens = Tokens::default();
        let sealed = StoreError::Sealed { what: "apps.candidate_sealed".into(), key_id: "k1".into() };
        let app = App { candidate: Some(Err(sealed)), ..app(Some("xapp-1-a"), None) };
        assert_eq!(tokens.compare(&app), (Token::Changed, Token::Unreadable));
        assert_eq!(tokens.get(Which::InForce), Some(token("xapp-1-a")));
    }

    #[test]
    fn a_promotion_the_store_has_not_heard_of_yet_is_not_taken_back() {
        let mut tokens = Tokens::default();
        let app = app(Some("xapp-1-a"), Some("xapp-1-b"));
        tokens.compare(&app);
        assert_eq!(tokens.promote(), Some(token("xapp-1-b")));
        assert_eq!(tokens.compare(&app), (Token::Same, Token::Absent));
        assert_eq!(tokens.get(Which::InForce), Some(token("xapp-1-b")));
    }

    #[test]
    fn a_refused_candidate_is_tried_again_only_when_it_is_stored_again() {
        let mut tokens = Tokens::default();
        let app = app(Some("xapp-1-a"), Some("xapp-1-b"));
        tokens.compare(&app);
        assert_eq!(tokens.refuse(), Some(token("xapp-1-b")));
        assert_eq!(tokens.compare(&app), (Token::Same, Token::Absent));
        tokens.is_noted(&token("xapp-1-b"));
        assert_eq!(tokens.compare(&app), (Token::Same, Token::Changed));
    }

    fn token(text: &str) -> AppToken {
        AppToken::parse(text).unwrap()
    }

    fn app(in_force: Option<&str>, candidate: Option<&str>) -> App {
        App {
            id: AppId(1),
            slack_app_id: None,
            token: in_force.map(|text| Ok(token(text))),
            candidate: candidate.map(|text| Ok(token(text))),
            links: 1,
            desired: Desired::Connected,
            seats: Vec::new(),
        }
    }
}
