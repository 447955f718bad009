//! The tokens that open this API, held in memory: a request does not wait for the database, and no number of guesses makes it busy.
//!
//! All living tokens are read together, when somebody asks and what is held is old. So what another node revokes is closed here
//! within [`MAX_AGE`], and what is revoked here is closed at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::AdminToken;
use crate::clock::Clock;
use crate::store::{Accounts, ApiToken, StoreError, TokenDigest, TokenId};

/// What is held may be so old.
const MAX_AGE: Duration = Duration::from_secs(3);
/// For a token that is not known it may be only so old: another node may just have made it.
const MAX_AGE_UNKNOWN: Duration = Duration::from_secs(1);
/// After a read that failed the next one waits so long.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A token's use is written at most so often, milliseconds.
const USE_STEP: i64 = 60_000;

/// With what every token of the store begins, so that scanners find it where it should not be.
pub(in crate::admin) const PREFIX: &str = "tl_";

/// Who bears a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// The node's own admin token.
    Root,
    /// A token of the store's.
    Holder(Arc<ApiToken>),
}

/// All tokens that open this API.
pub(in crate::admin) struct Keyring {
    root: AdminToken,
    clock: Clock,
    held: Mutex<Held>,
    reading: tokio::sync::Mutex<()>,
    noted: Mutex<HashMap<TokenId, i64>>,
}

#[derive(Default)]
struct Held {
    tokens: Arc<HashMap<TokenDigest, Arc<ApiToken>>>,
    read_at: Option<Duration>,
    failed: Option<(Duration, StoreError)>,
    /// How often it was said that a token has changed: what was read before that is not kept.
    changes: u64,
}

impl Keyring {
    pub(in crate::admin) fn new(root: AdminToken) -> Self {
        Self {
            root,
            clock: Clock::start(),
            held: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            noted: Mutex::default(),
        }
    }

    /// The node's own admin token.
    pub(super) fn root(&self) -> &AdminToken {
        &self.root
    }

    /// Who bears this text, which need not be in force any more; none for nobody.
    pub(super) async fn find(
        &self,
        text: &str,
        accounts: &dyn Accounts,
    ) -> Result<Option<Arc<ApiToken>>, StoreError> {
        if !text.starts_with(PREFIX) {
            return Ok(None);
        }
        let digest = TokenDigest::of(text);
        if let Some(known) = self.within(MAX_AGE).and_then(|held| held.get(&digest).cloned()) {
            return Ok(Some(known));
        }
        Ok(self.read(accounts, MAX_AGE_UNKNOWN).await?.get(&digest).cloned())
    }

    /// Is this token still in force? What cannot be found out is none.
    pub(in crate::admin) async fn still_holds(
        &self,
        id: TokenId,
        accounts: &dyn Accounts,
        now_ms: i64,
    ) -> bool {
        let held = match self.within(MAX_AGE) {
            Some(held) => Ok(held),
            None => self.read(accounts, MAX_AGE).await,
        };
        held.is_ok_and(|held| held.values().any(|token| token.id == id && token.is_in_force(now_ms)))
    }

    /// Something about the tokens has changed on this node.
    pub(in crate::admin) fn changed(&self) {
        let mut held = self.held();
        held.changes += 1;
        held.read_at = None;
    }

    /// Is this use of a token to be written down?
    pub(super) fn is_noteworthy(&self, token: &ApiToken, now_ms: i64) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let last = noted.get(&token.id).copied().or(token.used_ms);
        let is_due = last.is_none_or(|last| now_ms.saturating_sub(last) >= USE_STEP);
        if is_due {
            noted.insert(token.id, now_ms);
        }
        is_due
    }

    /// What is held, if it is no older than this.
    fn within(&self, age: Duration) -> Option<Arc<HashMap<TokenDigest, Arc<ApiToken>>>> {
        let held = self.held();
        let read_at = held.read_at?;
        (self.clock.mono().saturating_sub(read_at) < age).then(|| Arc::clone(&held.tokens))
    }

    /// What is held, if it was asked for at this time or later.
    fn since(&self, at: Duration) -> Option<Arc<HashMap<TokenDigest, Arc<ApiToken>>>> {
        let held = self.held();
        held.read_at.is_some_and(|read_at| read_at >= at).then(|| Arc::clone(&held.tokens))
    }

    /// Reads all tokens, one reader at a time; whoever waited for one takes what it has read.
    async fn read(
        &self,
        accounts: &dyn Accounts,
        age: Duration,
    ) -> Result<Arc<HashMap<TokenDigest, Arc<ApiToken>>>, StoreError> {
        let arrived = self.clock.mono();
        let _alone = self.reading.lock().await;
        loop {
            // However long a read took: what it asked for after this one came is new enough.
            if let Some(held) = self.within(age).or_else(|| self.since(arrived)) {
                return Ok(held);
            }
            let (changes, failed) = {
                let held = self.held();
                (held.changes, held.failed.clone())
            };
            if let Some((at, error)) = failed
                && self.clock.mono().saturating_sub(at) < AFTER_FAILURE
            {
                return Err(error);
            }
            let asked_at = self.clock.mono();
            let read = accounts.living_tokens().await;
            let mut held = self.held();
            match read {
                Ok(tokens) if held.changes == changes => {
                    let tokens = tokens.into_iter().map(|(digest, token)| (digest, Arc::new(token)));
                    held.tokens = Arc::new(tokens.collect());
                    (held.read_at, held.failed) = (Some(asked_at), None);
                    return Ok(Arc::clone(&held.tokens));
                }
                // It may be from before the change.
                Ok(_) => {}
                Err(error) => {
                    held.failed = Some((self.clock.mono(), error.clone()));
                    return Err(error);
                }
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
