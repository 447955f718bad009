//! The settings of a node: `config.default.toml` < `tautline.toml` < environment < flags. All is read once, at the start; what
//! is wrong is one line that names the setting, the place and what would be right, and never the value.

mod error;
mod layers;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

pub use self::error::{ConfigError, Place};
use self::layers::Layers;
use crate::secret::{AppToken, BotToken};

/// The documentation of every setting, and its default.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The file that is read when none is named and it is there.
pub const FILE: &str = "tautline.toml";

/// Beginnings of variables that are no settings: the command line's, and those of the scripts that test.
const ELSEWHERE: [&str; 5] =
    ["TAUTLINE_NODE", "TAUTLINE_TEST_", "TAUTLINE_PEERS_", "TAUTLINE_POSTGRES_BIN", "TAUTLINE_STRACE"];

/// Where settings come from, but for the defaults.
pub struct Sources<'a> {
    /// A settings file. It must be there.
    pub file: Option<&'a Path>,
    /// Looks a variable up; [`environment`] outside of tests.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Flags that were given: a setting's name in the file and its text; lists with commas.
    pub flags: Vec<(&'static str, String)>,
}

/// When Slack is told "got it".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Once the event is on disk.
    Stored,
    /// At once, the disk behind it.
    Received,
    /// At once, and nothing is kept: the journal is off.
    Unkept,
}

impl Ack {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Received => "received",
            Self::Unkept => "unkept",
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}

/// Where the key of the vault comes from.
#[derive(Clone)]
pub enum KeySource {
    /// The key itself, as text.
    Text(SecretString),
    /// A file that holds it.
    File(PathBuf),
    /// Nothing was said: a file beside the database, made when it is not there.
    Beside,
    /// Two keys, while one takes the other's place: the first seals, either opens.
    Both(Box<Self>, Box<Self>),
}

/// One of the `[[routes]]` of a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// Where it stands.
    pub place: Place,
    /// What it says, as JSON has it.
    pub fields: Map<String, Value>,
}

/// All settings, checked. `config.default.toml` says what each is for.
#[derive(Clone)]
pub struct Settings {
    /// A `sqlite:` or `postgres:` address. May hold a password.
    pub database_url: String,
    /// Where the admin API is served.
    pub listen: SocketAddr,
    /// May it be served in the clear beyond loopback?
    pub allow_plaintext: bool,
    /// An address of its own for the metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// The first admin token.
    pub admin_token: Option<SecretString>,
    /// The key of the vault.
    pub key: KeySource,
    /// Slack's Web API; its path ends with a slash.
    pub slack_api_url: Url,
    /// One more certificate authority to trust, a PEM file.
    pub extra_ca_file: Option<PathBuf>,
    /// The app-level token of the workspace `default`.
    pub slack_app_token: Option<AppToken>,
    /// The bot token of the workspace `default`.
    pub slack_bot_token: Option<BotToken>,
    /// When Slack is told "got it", and whether anything is kept.
    pub ack: Ack,
    /// The handlers, by name; each name once.
    pub handlers: Vec<String>,
    /// Routes, as the file has them: what they say is looked at by whoever knows routes.
    pub routes: Vec<RouteTable>,
    /// Sockets an app, 1 to 9.
    pub links: u8,
    /// Socket addresses asked for in a second, all apps together, 1 to 10 000.
    pub opens_per_second: u32,
    /// Socket addresses asked for and not issued yet, 1 to 1 000.
    pub opens_at_once: u32,
    /// Days that events are kept once they are handled, 2 to 3650; none for ever.
    pub retention_days: Option<u32>,
    /// Days that their payloads are kept, 1 to `retention_days`; none where they are kept as long as their events.
    pub payload_retention_days: Option<u32>,
    /// Bytes of payload that are kept at most; none for any.
    pub retention_max_bytes: Option<u64>,
    /// May webhooks lie in a private network, and be spoken to in the clear?
    pub webhooks_allow_private: bool,
    /// A filter of `tracing-subscriber`.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
}

impl Settings {
    /// Reads and checks all layers.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let layers = Layers::read(sources)?;
        let listen = layers.need("listen", parse::ADDRESS, parse::address)?;
        let allow_plaintext = layers.need("allow_plaintext", parse::SWITCH, parse::switch)?;
        if !listen.ip().to_canonical().is_loopback() && !allow_plaintext {
            return Err(layers.wrong("listen", parse::LOOPBACK));
        }
        let journal = layers.need("journal", parse::SWITCH, parse::switch)?;
        let ack = layers.need("ack", parse::ACK, parse::ack)?;
        let retention_days =
            Some(layers.need("retention_days", parse::DAYS, parse::days)?).filter(|days| *days > 0);
        let payload_retention_days =
            layers.take("payload_retention_days", parse::PAYLOAD_DAYS, parse::payload_days)?;
        if retention_days.is_some_and(|most| payload_retention_days.is_some_and(|days| days > most)) {
            return Err(layers.wrong("payload_retention_days", parse::BEFORE_EVENTS));
        }
        Ok(Self {
            database_url: database_url(&layers)?,
            listen,
            allow_plaintext,
            metrics_listen: layers.take("metrics_listen", parse::ADDRESS, parse::address)?,
            admin_token: layers.take("admin_token", parse::ADMIN_TOKEN, parse::admin_token)?,
            key: key(&layers)?,
            slack_api_url: layers.need("slack_api_url", parse::API_URL, parse::api_url)?,
            extra_ca_file: layers.take("extra_ca_file", parse::PATH, parse::path)?,
            slack_app_token: layers.take_token("slack_app_token", AppToken::parse)?,
            slack_bot_token: layers.take_token("slack_bot_token", BotToken::parse)?,
            ack: if journal { ack } else { Ack::Unkept },
            handlers: layers.need("handlers", parse::NAMES, parse::names)?,
            routes: layers.routes().to_vec(),
            links: layers.need("links", parse::LINKS, parse::links)?,
            opens_per_second: layers.need("opens_per_second", parse::PER_SECOND, parse::up_to(10_000))?,
            opens_at_once: layers.need("opens_at_once", parse::AT_ONCE, parse::up_to(1_000))?,
            retention_days,
            payload_retention_days,
            retention_max_bytes: layers.take("retention_max_bytes", parse::BYTES, parse::bytes)?,
            webhooks_allow_private: layers.need("webhooks_allow_private", parse::SWITCH, parse::switch)?,
            log: layers.need("log", parse::FILTER, parse::filter)?,
            log_format: layers.need("log_format", parse::LOG_FORMAT, parse::log_format)?,
        })
    }
}

/// Looks a variable of the process up. What is no Unicode is carried on, so that it is found wrong rather than absent.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Of these variables, those that look like settings and are none: mistyped, most likely.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let is_known = |name: &String| {
        layers::KEYS.iter().any(|(_, variables)| variables.contains(&name.as_str()))
            || ELSEWHERE.iter().any(|known| name.starts_with(known))
    };
    let mut unknown: Vec<_> = names.filter(|name| name.starts_with("TAUTLINE_") && !is_known(name)).collect();
    unknown.sort_unstable();
    unknown
}

/// The settings file of the place where the node starts, if there is one.
pub fn default_file() -> Option<PathBuf> {
    Some(PathBuf::from(FILE)).filter(|path| path.exists())
}

fn database_url(layers: &Layers) -> Result<String, ConfigError> {
    layers.need("database_url", parse::DATABASE, |text| {
        let is_path = text.strip_prefix("sqlite:").is_some_and(|path| !path.trim_matches('/').is_empty());
        let is_server = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        (is_path || is_server && Url::parse(text).is_ok()).then(|| text.to_owned())
    })
}

fn key(layers: &Layers) -> Result<KeySource, ConfigError> {
    let first = one_key(layers, "key", "key_file", parse::ONE_KEY)?.unwrap_or(KeySource::Beside);
    let other = one_key(layers, "other_key", "other_key_file", parse::ONE_OTHER_KEY)?;
    Ok(match other {
        None => first,
        Some(other) => KeySource::Both(Box::new(first), Box::new(other)),
    })
}

fn one_key(
    layers: &Layers,
    text: &'static str,
    file: &'static str,
    must: &str,
) -> Result<Option<KeySource>, ConfigError> {
    let given = layers.take(text, parse::HEADER, parse::header)?;
    match (given, layers.take(file, parse::PATH, parse::path)?) {
        (Some(_), Some(_)) => Err(layers.wrong(text, must)),
        (Some(given), None) => Ok(Some(KeySource::Text(given))),
        (None, Some(file)) => Ok(Some(KeySource::File(file))),
        (None, None) => Ok(None),
    }
}

impl KeySource {
    /// The key that seals, and the one that opens besides, if there is one.
    pub fn parts(&self) -> (&Self, Option<&Self>) {
        match self {
            Self::Both(first, other) => (first, Some(other)),
            Self::Text(_) | Self::File(_) | Self::Beside => (self, None),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Beside => f.write_str("Beside"),
            Self::Both(first, other) => f.debug_tuple("Both").field(first).field(other).finish(),
        }
    }
}

/// Shows where the node stands, none of its secrets and no address that could hold one.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("metrics_listen", &self.metrics_listen)
            .field("key", &self.key)
            .field("ack", &self.ack)
            .field("handlers", &self.handlers)
            .field("links", &self.links)
            .field("log", &self.log)
            .field("log_format", &self.log_format)
            .finish_non_exhaustive()
    }
}
