//! Answers to requests that bear an `Idempotency-Key`: whoever sends one again gets the same answer, and nothing is done twice.

use std::fmt;

use sha2::{Digest, Sha256};

use super::TokenId;

/// How long an answer is kept: milliseconds, a day.
pub const ANSWERS_KEPT_MS: i64 = 86_400_000;

/// How long a request may be under way: milliseconds. One older than this was cut off with its node, and its place is free.
pub const UNDER_WAY_MS: i64 = 120_000;

/// Whose key, which, and for what request. Keys of different tokens never meet.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerKey {
    /// The token that sent it; none for the node's own admin token.
    pub owner: Option<TokenId>,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of method, path with query, and body.
    pub request: [u8; 32],
}

impl AnswerKey {
    /// From a request with a key.
    pub fn new(owner: Option<TokenId>, key: &str, method: &str, path: &str, body: &[u8]) -> Self {
        let mut request = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), body] {
            request.update(part.len().to_be_bytes());
            request.update(part);
        }
        Self { owner, key: Sha256::digest(key.as_bytes()).into(), request: request.finalize().into() }
    }
}

impl fmt::Debug for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerKey").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// A place for an answer that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(in crate::store) id: i64,
    pub(in crate::store) attempt: i64,
}

/// What is known of a key.
#[derive(Clone, PartialEq, Eq)]
pub enum Reserved {
    /// Nothing: the request is to be answered, and the answer kept in this place.
    Free(Place),
    /// The same request was answered, with this.
    Answered(Vec<u8>),
    /// The same request is being answered.
    UnderWay,
    /// Another request had this key.
    Other,
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free(_) => "Free(…)",
            Self::Answered(_) => "Answered(…)",
            Self::UnderWay => "UnderWay",
            Self::Other => "Other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_any_part_is_another_request() {
        let one = AnswerKey::new(None, "k", "POST", "/a", b"b");
        assert_eq!(one, AnswerKey::new(None, "k", "POST", "/a", b"b"));
        for (method, path, body) in [("PUT", "/a", "b"), ("POST", "/ab", ""), ("POST", "/a", "c")] {
            assert_ne!(one.request, AnswerKey::new(None, "k", method, path, body.as_bytes()).request);
        }
    }
}
