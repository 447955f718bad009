//! Tokens and ticket addresses. They have no `Display`, their `Debug` shows nothing, and they are wiped when dropped.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What is wrong with the text given as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not an app-level token.
    #[error(
        "an app-level token starts with 'xapp-' (Basic Information → App-Level Tokens); this one does not"
    )]
    NotAppLevel,
    /// Not a bot token.
    #[error("a bot token starts with 'xoxb-' (OAuth & Permissions); this one does not")]
    NotBot,
    /// Something no token and no HTTP header holds.
    #[error(
        "a token has no blanks, line breaks or non-ASCII characters and at most 1000 characters; this one does"
    )]
    Malformed,
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// The text itself. Its only lawful ways go to Slack and into the vault.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose() == other.expose()
            }
        }

        impl Eq for $name {}
    };
}

secret! {
    /// An app-level token, `xapp-…`: what a connection opens its sockets with.
    AppToken
}
secret! {
    /// A bot token, `xoxb-…`: what a workspace's bot speaks with.
    BotToken
}
secret! {
    /// The address Slack issues for one socket. Its ticket is a credential.
    TicketUrl
}

secret! {
    /// What a webhook's notices are signed with: `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks has it.
    WebhookSecret
}

impl WebhookSecret {
    /// The secret, if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&bytes.len()).then(|| Self(text.into()))
    }

    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(format!("whsec_{}", BASE64.encode(bytes)).into())
    }

    /// The bytes that sign.
    pub fn key(&self) -> Vec<u8> {
        self.expose().strip_prefix("whsec_").and_then(|text| BASE64.decode(text).ok()).unwrap_or_default()
    }
}

impl AppToken {
    /// The token, if `text` may be one.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        well_formed(text)?;
        if text.strip_prefix("xapp-").is_none_or(str::is_empty) {
            return Err(BadToken::NotAppLevel);
        }
        Ok(Self(text.into()))
    }

    /// Slack's id of the app (`A…`), where the token's text holds it. The shape is not documented, so nothing depends on it.
    pub fn slack_app_id(&self) -> Option<&str> {
        let is_app_id = |part: &&str| {
            part.len() > 1
                && part.starts_with('A')
                && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        };
        self.expose().split('-').skip(1).take(2).find(is_app_id)
    }

    /// A digest by which two tokens are told apart without being read.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.expose().as_bytes());
        let head = digest.iter().take(16).fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
        format!("{head:032x}")
    }

    /// The last four characters: enough for a person to tell tokens apart.
    pub fn hint(&self) -> String {
        hint(self.expose())
    }
}

impl BotToken {
    /// The token, if `text` may be one. Rotating ones start with `xoxe.`.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        well_formed(text)?;
        let rest = text.strip_prefix("xoxe.").unwrap_or(text).strip_prefix("xoxb-");
        if rest.is_none_or(str::is_empty) {
            return Err(BadToken::NotBot);
        }
        Ok(Self(text.into()))
    }

    /// The last four characters: enough for a person to tell tokens apart.
    pub fn hint(&self) -> String {
        hint(self.expose())
    }
}

impl TicketUrl {
    /// Keeps an issued address from sight.
    pub fn new(url: &str) -> Self {
        Self(url.into())
    }
}

fn well_formed(text: &str) -> Result<(), BadToken> {
    let fine = !text.is_empty() && text.len() <= 1000 && text.bytes().all(|b| b.is_ascii_graphic());
    if fine { Ok(()) } else { Err(BadToken::Malformed) }
}

/// Short secrets give nothing away.
fn hint(text: &str) -> String {
    if text.len() < 16 {
        return "…".into();
    }
    text.get(text.len() - 4..).unwrap_or("…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_another_kind_is_told_so_and_never_shown() {
        assert_eq!(AppToken::parse("xoxb-1-2-abc").unwrap_err(), BadToken::NotAppLevel);
        assert_eq!(BotToken::parse("xapp-1-A1-2-abc").unwrap_err(), BadToken::NotBot);
        assert_eq!(AppToken::parse("xapp-").unwrap_err(), BadToken::NotAppLevel);
        for nothing in ["xoxb-", "xoxe.xoxb-", "xoxe."] {
            assert_eq!(BotToken::parse(nothing).unwrap_err(), BadToken::NotBot, "{nothing}");
        }
        assert_eq!(AppToken::parse("xapp-1 2").unwrap_err(), BadToken::Malformed);
        assert_eq!(AppToken::parse("xapp-1\n").unwrap_err(), BadToken::Malformed);
        let token = AppToken::parse("xapp-1-A0123-456-deadbeef").unwrap();
        assert_eq!(format!("{token:?}"), "AppToken(…)");
        assert_eq!(token.hint(), "beef");
    }

    #[test]
    fn a_webhooks_secret_is_made_read_again_and_never_shown() {
        let secret = WebhookSecret::generate();
        assert_ne!(secret, WebhookSecret::generate());
        assert_eq!(WebhookSecret::parse(secret.expose()), Some(secret.clone()));
        assert_eq!(secret.key().len(), 32);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!"] {
            assert_eq!(WebhookSecret::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_app_id_is_read_from_both_shapes_of_token_and_missed_in_others() {
        let id = |text| AppToken::parse(text).unwrap().slack_app_id().map(str::to_owned);
        assert_eq!(id("xapp-1-A08NKKBFGBD-8765-abcdef").as_deref(), Some("A08NKKBFGBD"));
        assert_eq!(id("xapp-A111-222-xyz").as_deref(), Some("A111"));
        assert_eq!(id("xapp-test"), None);
        assert_eq!(id("xapp-1-abc-2-A111"), None);
    }
}
