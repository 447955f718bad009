//! Events that are about an installation itself: the app is taken away, its bot token revoked, its events held back.

use super::peek;

/// Slack's clock and ours differ, and it tells whole seconds.
const SECOND_MS: i64 = 1_000;

/// What an event says of the installation it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// The app was removed from the team.
    Uninstalled {
        /// When, at the latest: milliseconds since 1970. None when the event does not say.
        at_ms: Option<i64>,
    },
    /// Its bot token was revoked.
    BotRevoked {
        /// When, at the latest: milliseconds since 1970. None when the event does not say.
        at_ms: Option<i64>,
    },
    /// Slack holds events back: more than 30 000 within an hour.
    RateLimited {
        /// The minute it is about: when that ends, milliseconds since 1970. None when the event does not say.
        minute_ends_ms: Option<i64>,
    },
}

/// Can an event of this type say anything of its installation? Asked of every event, so it is cheap.
pub fn concerns(kind_type: &str) -> bool {
    matches!(kind_type, "app_uninstalled" | "tokens_revoked" | "app_rate_limited")
}

/// Does Slack's Web API refuse a bot token for good by this error code?
pub fn refuses_bot(error: &str) -> bool {
    matches!(error, "invalid_auth" | "token_revoked" | "account_inactive" | "token_expired")
}

/// What a payload of this type says. None: nothing, as where only users' tokens are revoked.
pub fn read(kind_type: &str, payload: &str) -> Option<Lifecycle> {
    match kind_type {
        "app_uninstalled" => Some(Lifecycle::Uninstalled { at_ms: at(payload) }),
        "tokens_revoked" => revokes_bot(payload).then(|| Lifecycle::BotRevoked { at_ms: at(payload) }),
        "app_rate_limited" => Some(Lifecycle::RateLimited {
            minute_ends_ms: number(payload, "minute_rate_limited")
                .and_then(|minute| minute.checked_add(60)?.checked_mul(SECOND_MS)),
        }),
        _ => None,
    }
}

fn at(payload: &str) -> Option<i64> {
    number(payload, "event_time").and_then(|at| at.checked_add(1)?.checked_mul(SECOND_MS))
}

fn number(payload: &str, name: &str) -> Option<i64> {
    peek::member(payload, name)?.trim().parse().ok().filter(|number| *number > 0)
}

/// The lists hold users' ids, the bot's own among them; either may be missing (docs: `tokens_revoked`).
fn revokes_bot(payload: &str) -> bool {
    let tokens = peek::member(payload, "event").and_then(|event| peek::member(event, "tokens"));
    tokens.and_then(|tokens| peek::member(tokens, "bot")).and_then(peek::first).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_says_what_it_is_about_and_when() {
        let read = |kind_type, payload| read(kind_type, payload);
        let uninstalled = r#"{"event":{"type":"app_uninstalled"},"event_time":1234567890}"#;
        let at_ms = Some(1_234_567_891_000);
        assert_eq!(read("app_uninstalled", uninstalled), Some(Lifecycle::Uninstalled { at_ms }));
        let revoked = r#"{"event":{"tokens":{"oauth":["U1"],"bot":["U2"]}},"event_time":1234567890}"#;
        assert_eq!(read("tokens_revoked", revoked), Some(Lifecycle::BotRevoked { at_ms }));
        let limited = r#"{"type":"app_rate_limited","minute_rate_limited":1518467820}"#;
        let minute_ends_ms = Some(1_518_467_880_000);
        assert_eq!(read("app_rate_limited", limited), Some(Lifecycle::RateLimited { minute_ends_ms }));
        for kind_type in ["app_uninstalled", "tokens_revoked", "app_rate_limited"] {
            assert!(concerns(kind_type));
        }
        assert!(!concerns("message"));
        assert_eq!(read("message", uninstalled), None);
    }

    #[test]
    fn where_only_users_tokens_are_revoked_nothing_is_said() {
        for payload in [
            r#"{"event":{"tokens":{"oauth":["U1"]}}}"#,
            r#"{"event":{"tokens":{"oauth":["U1"],"bot":[]}}}"#,
            r#"{"event":{"tokens":"odd"}}"#,
            r#"{"event":{}}"#,
            "{}",
            "",
        ] {
            assert_eq!(read("tokens_revoked", payload), None, "{payload}");
        }
    }

    #[test]
    fn a_moment_that_makes_no_sense_is_none() {
        for time in ["-5", "\"soon\"", "1e3", "9223372036854775807", "null"] {
            let payload = format!(r#"{{"event":{{}},"event_time":{time},"minute_rate_limited":{time}}}"#);
            assert_eq!(read("app_uninstalled", &payload), Some(Lifecycle::Uninstalled { at_ms: None }));
            let limited = Some(Lifecycle::RateLimited { minute_ends_ms: None });
            assert_eq!(read("app_rate_limited", &payload), limited);
        }
    }
}
