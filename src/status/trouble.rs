//! What Slack says of one workspace, beside what its app's connection says of itself.

use super::Code;

/// Why a workspace is down whatever its app's connection does, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why: [`Code::AppUninstalled`] or [`Code::BotTokenRevoked`].
    pub code: Code,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

impl Trouble {
    /// Does this one take the place of what is there? Being uninstalled revokes the tokens too, and Slack tells of the two in any
    /// order.
    pub fn replaces(self, there: Option<Self>) -> bool {
        match there.map(|there| there.code) {
            None => true,
            Some(code) => self.code == Code::AppUninstalled && code != Code::AppUninstalled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNINSTALLED: Trouble = Trouble { code: Code::AppUninstalled, since_ms: 7 };
    const REVOKED: Trouble = Trouble { code: Code::BotTokenRevoked, since_ms: 8 };

    #[test]
    fn uninstalled_says_more_than_revoked_in_whatever_order_they_come() {
        assert!(UNINSTALLED.replaces(None) && REVOKED.replaces(None));
        assert!(UNINSTALLED.replaces(Some(REVOKED)));
        assert!(!REVOKED.replaces(Some(UNINSTALLED)));
        assert!(!UNINSTALLED.replaces(Some(UNINSTALLED)) && !REVOKED.replaces(Some(REVOKED)));
    }
}
