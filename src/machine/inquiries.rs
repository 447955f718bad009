//! Whose bot tokens are still to be found out, and when Slack is asked again of which.
//!
//! An answer that says nothing (a limit, a timeout, a database that does not answer) is no answer: it is asked again, later each
//! time, and never before Slack's own `Retry-After`.

use std::time::Duration;

use super::backoff::{Backoff, Spread};
use super::dice::Dice;
use crate::ids::WorkspaceId;

/// The first wait; it doubles.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait of our own. The method allows hundreds of calls a minute for each team, and what it is about may be events that
/// nobody gets.
const LONGEST: Duration = Duration::from_mins(2);

/// What of one app's workspaces is being asked, or to be asked. Nearly always empty.
#[derive(Debug, Default)]
pub struct Inquiries(Vec<Inquiry>);

#[derive(Debug)]
struct Inquiry {
    workspace: WorkspaceId,
    /// Counts what was wanted: an answer to an older question is none to this one.
    question: u32,
    backoff: Backoff,
    due: Due,
    /// Slack's own word: not even a new token goes before it. Monotonic.
    floor: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// At this moment (monotonic).
    At(Duration),
    /// It is being asked.
    Asked,
}

/// What is to be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose bot token.
    pub workspace: WorkspaceId,
    number: u32,
}

impl Inquiries {
    /// It is to be found out. What is on its way already goes on as it is, unless the token is new: then it is asked at once, or as
    /// soon as Slack allows, and what is on its way is of the old one.
    pub fn want(&mut self, now: Duration, workspace: WorkspaceId, is_new: bool) {
        match self.0.iter_mut().find(|inquiry| inquiry.workspace == workspace) {
            Some(_) if !is_new => {}
            Some(inquiry) => {
                inquiry.question = inquiry.question.wrapping_add(1);
                inquiry.backoff.clear();
                inquiry.due = Due::At(inquiry.floor.max(now));
            }
            None => self.0.push(Inquiry {
                workspace,
                question: 0,
                backoff: Backoff::new(FIRST, LONGEST, Spread::Above),
                due: Due::At(now),
                floor: Duration::ZERO,
            }),
        }
    }

    /// Only what these workspaces are about is still of interest.
    pub fn retain(&mut self, mut is_of_interest: impl FnMut(WorkspaceId) -> bool) {
        self.0.retain(|inquiry| is_of_interest(inquiry.workspace));
    }

    /// One that is due. To be asked, and answered by [`found_out`](Self::found_out) or [`failed`](Self::failed).
    pub fn poll_question(&mut self, now: Duration) -> Option<Question> {
        let is_due = |inquiry: &&mut Inquiry| matches!(inquiry.due, Due::At(at) if at <= now);
        let inquiry = self.0.iter_mut().find(is_due)?;
        inquiry.due = Due::Asked;
        Some(Question { workspace: inquiry.workspace, number: inquiry.question })
    }

    /// Slack has said it. False: of a token that was replaced meanwhile, so it says nothing.
    pub fn found_out(&mut self, question: Question) -> bool {
        let before = self.0.len();
        let is_it = |inquiry: &Inquiry| {
            (inquiry.workspace, inquiry.question) == (question.workspace, question.number)
        };
        self.0.retain(|inquiry| !is_it(inquiry));
        let found = before != self.0.len();
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        found
    }

    /// No answer, or none that says anything: it is asked again, not before `retry_after` from now. How many have failed in a row;
    /// none where nobody waits for this one any more.
    pub fn failed(
        &mut self,
        now: Duration,
        question: Question,
        retry_after: Option<Duration>,
        dice: &mut Dice,
    ) -> Option<u32> {
        let floor = retry_after.map_or(Duration::ZERO, |wait| now.saturating_add(wait));
        let inquiry = self.0.iter_mut().find(|inquiry| inquiry.workspace == question.workspace)?;
        inquiry.floor = inquiry.floor.max(floor);
        if inquiry.question != question.number {
            if let Due::At(at) = inquiry.due {
                inquiry.due = Due::At(at.max(inquiry.floor));
            }
            return None;
        }
        let wait = inquiry.backoff.next(dice);
        inquiry.due = Due::At(now.saturating_add(wait).max(inquiry.floor));
        Some(inquiry.backoff.tries())
    }

    /// When the next is due (monotonic).
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = self.0.iter().filter_map(|inquiry| match inquiry.due {
            Due::At(at) => Some(at),
            Due::Asked => None,
        });
        due.min()
    }

    /// Those of whom it was asked in vain, and is asked again.
    pub fn open(&self) -> impl Iterator<Item = WorkspaceId> {
        let open = self.0.iter().filter(|inquiry| inquiry.backoff.tries() > 0);
        open.map(|inquiry| inquiry.workspace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ACME: WorkspaceId = WorkspaceId(1);

    #[test]
    fn what_is_wanted_is_asked_once_and_forgotten_when_it_is_found_out() {
        let mut inquiries = Inquiries::default();
        inquiries.want(SECOND, ACME, false);
        let question = inquiries.poll_question(SECOND).unwrap();
        assert_eq!(question.workspace, ACME);
        inquiries.want(SECOND, ACME, false);
        assert_eq!((inquiries.poll_question(9 * SECOND), inquiries.poll_timeout()), (None, None));
        assert!(inquiries.found_out(question));
        assert_eq!((inquiries.poll_question(9 * SECOND), inquiries.0.capacity()), (None, 0));
    }

    #[test]
    fn one_asked_in_vain_is_asked_again_later_each_time_and_is_open_until_it_is_found_out() {
        let (mut inquiries, mut dice, mut now) = (Inquiries::default(), Dice::new(1), SECOND);
        inquiries.want(now, ACME, false);
        for (tries, wait) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
            let question = inquiries.poll_question(now).unwrap();
            assert_eq!(inquiries.failed(now, question, None, &mut dice), Some(tries));
            assert_eq!(open(&inquiries), [ACME]);
            let due = inquiries.poll_timeout().unwrap();
            assert!(due >= now + wait * SECOND && due <= now + wait * SECOND * 6 / 5, "{due:?}");
            assert_eq!(inquiries.poll_question(due.saturating_sub(Duration::from_millis(1))), None);
            now = due;
        }
        let question = inquiries.poll_question(now).unwrap();
        assert!(inquiries.found_out(question));
        assert_eq!(open(&inquiries), []);
    }

    #[test]
    fn nothing_goes_before_what_slack_said_not_even_a_new_token() {
        let (mut inquiries, mut dice) = (Inquiries::default(), Dice::new(1));
        inquiries.want(SECOND, ACME, false);
        let question = inquiries.poll_question(SECOND).unwrap();
        inquiries.failed(SECOND, question, Some(30 * SECOND), &mut dice);
        assert_eq!(inquiries.poll_timeout(), Some(31 * SECOND));
        inquiries.want(2 * SECOND, ACME, true);
        assert_eq!(inquiries.poll_timeout(), Some(31 * SECOND));
        let question = inquiries.poll_question(31 * SECOND).unwrap();
        inquiries.want(32 * SECOND, ACME, true);
        inquiries.failed(32 * SECOND, question, Some(9 * SECOND), &mut dice);
        assert_eq!(
            inquiries.poll_timeout(),
            Some(41 * SECOND),
            "said of the old token, it holds for the new"
        );
    }

    #[test]
    fn a_new_token_is_asked_about_at_once_and_an_answer_about_the_old_one_says_nothing() {
        let (mut inquiries, mut dice) = (Inquiries::default(), Dice::new(1));
        inquiries.want(SECOND, ACME, false);
        let old = inquiries.poll_question(SECOND).unwrap();
        inquiries.want(SECOND, ACME, true);
        let new = inquiries.poll_question(SECOND).unwrap();
        assert!(!inquiries.found_out(old));
        assert_eq!(inquiries.failed(SECOND, old, None, &mut dice), None);
        assert_eq!(
            (inquiries.poll_timeout(), open(&inquiries)),
            (None, vec![]),
            "the new one is being asked"
        );
        assert!(inquiries.found_out(new));
    }

    #[test]
    fn of_what_is_of_no_interest_any_more_nothing_is_asked() {
        let mut inquiries = Inquiries::default();
        inquiries.want(SECOND, ACME, false);
        inquiries.want(SECOND, WorkspaceId(2), false);
        inquiries.retain(|workspace| workspace != ACME);
        assert_eq!(inquiries.poll_question(SECOND).unwrap().workspace, WorkspaceId(2));
        assert_eq!(inquiries.poll_question(SECOND), None);
    }

    fn open(inquiries: &Inquiries) -> Vec<WorkspaceId> {
        inquiries.open().collect()
    }
}
