//! Names of things: newtypes, so that one id is never taken for another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// An app as the store knows it. Slack's own id of it (`A…`) is a text beside it, learnt from the token or from hello.
    AppId, i64
}
number_id! {
    /// A workspace as the store knows it; users name it by their own [`WorkspaceName`].
    WorkspaceId, i64
}
number_id! {
    /// Who is told of changes.
    WebhookId, i64
}
number_id! {
    /// A handler as the store knows it; routes and figures name it by its text.
    HandlerId, i64
}
number_id! {
    /// One process start that writes to the journal.
    WriterId, i64
}
number_id! {
    /// The place of an event in the journal: milliseconds since 2020 « 22 | node « 12 | counter. Always rising.
    Seq, i64
}
number_id! {
    /// One link in the life of the node. Never reused, so that a late word of an old link is recognised.
    Generation, u64
}

/// Where generations come from. Copies draw from one counter, so a node's links never share one.
#[derive(Clone, Debug, Default)]
pub struct Generations(Arc<AtomicU64>);

impl Generations {
    /// The next one; the first is 1.
    pub fn next(&self) -> Generation {
        Generation(self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

/// The name a caller gives a workspace: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WorkspaceName(Box<str>);

/// The text is no workspace name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to 128 characters: a letter or digit, then letters, digits, '_', '.' or '-'")]
pub struct BadName;

impl WorkspaceName {
    /// The name, if `text` is one.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(BadName) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a route is called: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Box<str>);

impl RouteName {
    /// The name, if `text` is one.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(BadName) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 128 && text.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_source_never_give_the_same_generation() {
        let one = Generations::default();
        let other = one.clone();
        assert_eq!([one.next(), other.next(), one.next()], [Generation(1), Generation(2), Generation(3)]);
    }

    #[test]
    fn a_name_starts_with_a_letter_or_digit_and_has_at_most_128_characters() {
        for good in ["a", "9", "acme", "T0123", "a.b-c_d", &"x".repeat(128)] {
            assert_eq!(WorkspaceName::parse(good).map(|n| n.as_str().to_owned()), Ok(good.to_owned()));
            assert_eq!(RouteName::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".a", "-a", "_a", "a b", "a/b", "é", "a\0", &"x".repeat(129)] {
            assert_eq!(WorkspaceName::parse(bad), Err(BadName), "{bad:?}");
            assert_eq!(RouteName::parse(bad), Err(BadName), "{bad:?}");
        }
    }
}
