//! Who may use the admin API, and on whose behalf the store does what it does.

mod answers;
mod audit;
mod tokens;

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;

pub use self::answers::{ANSWERS_KEPT_MS, AnswerKey, Place, Reserved, UNDER_WAY_MS};
pub use self::audit::{Action, AuditEntry, AuditFilter, Changes, Deed};
pub use self::tokens::{ApiToken, MAX_TOKENS, NewToken, TokenDigest, TokenId};
use crate::ids::WorkspaceName;
use crate::store::{StoreError, Workspace};

/// What the admin API keeps for itself. Every write says when: the store has no clock.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Adds a token. A [`StoreError::Conflict`] where a living one has its name, or [`MAX_TOKENS`] are living.
    async fn create_token(&self, new: &NewToken, by: &Caller, now_ms: i64) -> Result<ApiToken, StoreError>;

    /// All tokens ever made, in the order they were made, those after `after`, at most `limit`.
    async fn tokens(&self, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiToken>, StoreError>;

    /// One token, revoked or not.
    async fn token(&self, id: TokenId) -> Result<Option<ApiToken>, StoreError>;

    /// The tokens that are not revoked, with the digests they are recognised by: [`MAX_TOKENS`] at most.
    async fn living_tokens(&self) -> Result<Vec<(TokenDigest, ApiToken)>, StoreError>;

    /// The token was used at this time. Kept to the minute: what is nearer to the last use than that is not written.
    async fn note_use(&self, id: TokenId, at_ms: i64) -> Result<(), StoreError>;

    /// From now on the token opens nothing. The token as it is now, also if it had been revoked before; none when there is none.
    async fn revoke_token(
        &self,
        id: TokenId,
        by: &Caller,
        now_ms: i64,
    ) -> Result<Option<ApiToken>, StoreError>;

    /// Writes down a change that no transaction of the store's own holds. Rows older than 400 days go, and of more than 200 000 the
    /// oldest.
    async fn write_audit(&self, by: &Caller, deed: &Deed, now_ms: i64) -> Result<(), StoreError>;

    /// What was changed, newest first, before `before`, at most `limit`.
    async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// What is known of a key; where that is nothing its place is taken, for [`UNDER_WAY_MS`] at most.
    async fn reserve_answer(&self, key: &AnswerKey, now_ms: i64) -> Result<Reserved, StoreError>;

    /// Keeps the answer of a place, sealed, until [`ANSWERS_KEPT_MS`] after the place was taken. Of a place that somebody else has
    /// taken over meanwhile nothing is kept.
    async fn keep_answer(&self, place: Place, answer: &[u8]) -> Result<(), StoreError>;

    /// The place will have no answer: its key is as if it had not been sent.
    async fn release_answer(&self, place: Place) -> Result<(), StoreError>;
}

/// How much a bearer may do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Registers, changes and removes workspaces.
    Operator,
    /// Everything, tokens included.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A label by which some workspaces are told from all others: `tenant:42`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What kind of label; has no colon.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Label {
    /// The label of a text like `tenant:42`; the first colon parts key from value.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, value) = text.split_once(':')?;
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
        let fine = (1..=63).contains(&key.len()) && key.bytes().all(inner);
        let short = value.chars().count() <= 255 && !value.chars().any(char::is_control);
        (fine && short).then(|| Self { key: key.into(), value: value.into() })
    }

    /// Is it among these?
    pub fn is_in(&self, labels: &[(String, String)]) -> bool {
        labels.iter().any(|(key, value)| *key == self.key && *value == self.value)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, self.value)
    }
}

/// Who asks, for what the store lets them see, and for what it writes down of what they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Which token; none for who has none of the store's: the node's own admin token, or the node itself.
    pub token: Option<TokenId>,
    /// What they are called in the audit log.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What they see: workspaces that bear this label; none for all.
    pub scope: Option<Label>,
    /// The request's id, if it is one.
    pub request_id: Option<String>,
    /// Where they ask from.
    pub address: Option<IpAddr>,
    /// Why, in their own words.
    pub reason: Option<String>,
}

impl Caller {
    /// Somebody who sees everything and may do everything, and has no token of the store's.
    pub fn admin(name: &str) -> Self {
        Self {
            token: None,
            name: name.to_owned(),
            role: Role::Admin,
            scope: None,
            request_id: None,
            address: None,
            reason: None,
        }
    }

    /// Whoever sees one label's workspaces alone neither takes somebody else's nor lets go of their own. `before` is the workspace that
    /// has this name, whether they see it or not.
    pub fn stays_in_scope(
        &self,
        name: &WorkspaceName,
        before: Option<&Workspace>,
        labels: &[(String, String)],
    ) -> Result<(), StoreError> {
        let Some(scope) = &self.scope else { return Ok(()) };
        if before.is_some_and(|before| !scope.is_in(&before.labels)) {
            return Err(StoreError::Absent(format!("there is no workspace '{name}'")));
        }
        if !scope.is_in(labels) {
            return Err(StoreError::Forbidden(format!(
                "this token sees workspaces with the label {scope} alone, so '{name}' must bear it: send it among the labels"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_parted_at_its_first_colon_and_has_a_key() {
        let label = Label::parse("tenant:a:b").unwrap();
        assert_eq!((label.key.as_str(), label.value.as_str()), ("tenant", "a:b"));
        assert_eq!(Label::parse("tenant:").unwrap().value, "");
        for bad in ["", "tenant", ":42", "a b:1", "é:1", "tenant:a\nb"] {
            assert_eq!(Label::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn roles_are_ordered_by_what_they_may_do() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.as_str()) == Some(role)));
        assert_eq!(Role::parse("root"), None);
    }
}
