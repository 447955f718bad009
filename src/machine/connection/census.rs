//! How many sockets Slack counts for the app, and how many we know of. More means that somebody else has a share of its events:
//! another node, an old deployment, or a socket of ours that died unseen and that Slack goes on sending to.

use std::time::Duration;

/// What one hello says is no proof: the socket before may be on its way out. What two say that are so far apart is.
const HOLDS: Duration = Duration::from_mins(1);

/// A socket of ours that is gone may be counted for so long.
const FADES: Duration = Duration::from_mins(2);

/// Sockets gone that are remembered: who loses more within two minutes has other trouble.
const MOST_GONE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Census {
    /// Since when more are counted than we know of.
    suspected: Option<Duration>,
    is_said: bool,
    /// When sockets of ours went, of late.
    gone: Vec<Duration>,
}

impl Census {
    /// A socket of ours is gone.
    pub(super) fn lost(&mut self, now: Duration) {
        self.forget_past(now);
        if self.gone.len() < MOST_GONE {
            self.gone.push(now);
        }
    }

    /// A hello counts `told` sockets while we know of `own`. True when it arouses a suspicion that another hello has to settle.
    pub(super) fn hear(&mut self, now: Duration, told: u32, own: usize) -> bool {
        self.forget_past(now);
        let told = usize::try_from(told).unwrap_or(usize::MAX);
        if told <= own {
            *self = Self { gone: std::mem::take(&mut self.gone), ..Self::default() };
            return false;
        }
        let since = *self.suspected.get_or_insert(now);
        if now.saturating_sub(since) >= HOLDS && told > own.saturating_add(self.gone.len()) {
            self.is_said = true;
        }
        !self.is_said
    }

    /// Is it certain?
    pub(super) fn is_foreign(&self) -> bool {
        self.is_said
    }

    fn forget_past(&mut self, now: Duration) {
        self.gone.retain(|at| now.saturating_sub(*at) < FADES);
    }
}
