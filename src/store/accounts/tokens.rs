//! Tokens of the admin API, as they are stored: never their text.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Label, Role};

/// How many tokens may be living. They are held in memory, and a list that nobody reads to its end hides what is in it.
pub const MAX_TOKENS: u32 = 1000;

/// A token as the store knows it, shown as `tok_7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub i64);

impl TokenId {
    /// The id in a text like `tok_7`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("tok_")?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain).map(Self)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tok_{}", self.0)
    }
}

/// By what a token is recognised: SHA-256 of its text, which is random and long enough that nobody finds it by trying.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// The digest of this text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// A token to be added.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is called: one line for people.
    pub name: String,
    /// By what it is recognised.
    pub digest: TokenDigest,
    /// The last four characters of its text.
    pub hint: String,
    /// What its bearer may do.
    pub role: Role,
    /// What its bearer sees; none for everything.
    pub scope: Option<Label>,
    /// From when on it opens nothing, milliseconds since 1970; none for never.
    pub expires_ms: Option<i64>,
}

/// A token as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Which.
    pub id: TokenId,
    /// What it is called.
    pub name: String,
    /// The last four characters of its text.
    pub hint: String,
    /// What its bearer may do.
    pub role: Role,
    /// What its bearer sees; none for everything.
    pub scope: Option<Label>,
    /// Who made it.
    pub created_by: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// From when on it opens nothing, milliseconds since 1970; none for never.
    pub expires_ms: Option<i64>,
    /// When it was last used, to the minute; none for never.
    pub used_ms: Option<i64>,
    /// When it was revoked; none while it is not.
    pub revoked_ms: Option<i64>,
}

impl ApiToken {
    /// Does it open anything at this time?
    pub fn is_in_force(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!(TokenId::parse("tok_7"), Some(TokenId(7)));
        for bad in ["7", "tok_", "tok_07", "tok_-7", "tok_+7", "tok_7 ", "tok_99999999999999999999"] {
            assert_eq!(TokenId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_digest_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", TokenDigest::of("secret")), "TokenDigest(…)");
    }
}
