//! From text to a setting, and what to say when it is none.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Ack, LogFormat};

pub(super) const ADDRESS: &str = "must be an address and a port, like 127.0.0.1:8080 or [::1]:8080";
pub(super) const LOOPBACK: &str = "reaches beyond this machine, and the admin API speaks plain HTTP: put TLS in front of it \
                                   and set allow_plaintext = true (TAUTLINE_ALLOW_PLAINTEXT=true), or listen on 127.0.0.1";
pub(super) const SWITCH: &str = "must be on or off (or true or false)";
pub(super) const ACK: &str = "must be stored or received";
pub(super) const LOG_FORMAT: &str = "must be text or json";
pub(super) const LINKS: &str = "must be a number from 1 to 9";
pub(super) const PER_SECOND: &str = "must be a number from 1 to 10000";
pub(super) const AT_ONCE: &str = "must be a number from 1 to 1000";
pub(super) const DAYS: &str = "must be a number of days from 2 to 3650, or off";
pub(super) const PAYLOAD_DAYS: &str = "must be a number of days from 1 to 3650";
pub(super) const BEFORE_EVENTS: &str =
    "is more than retention_days: no payload is kept longer than its event; leave it out, or take less";
pub(super) const BYTES: &str = "must be a number of bytes of 1000000 at least, like 500MB, 50GB or 64GiB";
pub(super) const FILTER: &str = "must be a filter like info or info,tautline::actors=debug";
pub(super) const NAMES: &str = "must be names of handlers, each once: letters, digits, '_' and '-' (in a variable with commas between them)";
pub(super) const API_URL: &str =
    "must be an http:// or https:// address without a query, like https://slack.com/api/";
pub(super) const PATH: &str = "must be the path of a file";
pub(super) const HEADER: &str = "must be visible ASCII characters without blanks, at most 1000";
pub(super) const ADMIN_TOKEN: &str = "must be 16 to 1000 visible ASCII characters without blanks: a shorter one is found by guessing; \
     `openssl rand -hex 24` makes a good one";
pub(super) const ONE_KEY: &str = "and key_file are both given; one of them, not both";
pub(super) const ONE_OTHER_KEY: &str = "and other_key_file are both given; give the other key once";
pub(super) const DATABASE: &str = "must be sqlite:// and a path, like sqlite://tautline.db, or like postgres://user:password@host:5432/database";

pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    }
}

pub(super) fn switch(text: &str) -> Option<bool> {
    match text.trim() {
        "on" | "true" | "1" => Some(true),
        "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

pub(super) fn ack(text: &str) -> Option<Ack> {
    match text.trim() {
        "stored" => Some(Ack::Stored),
        "received" => Some(Ack::Received),
        _ => None,
    }
}

pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    match text.trim() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

pub(super) fn links(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|links| (1..=9).contains(links))
}

pub(super) fn up_to(most: u32) -> impl FnOnce(&str) -> Option<u32> {
    move |text| text.trim().parse().ok().filter(|number| (1..=most).contains(number))
}

/// Zero where nothing is to be deleted. Repeats are recognised by what is kept for 26 hours, so two days are the least.
pub(super) fn days(text: &str) -> Option<u32> {
    match text.trim() {
        "off" | "false" => Some(0),
        days => days.parse().ok().filter(|days| (2..=3650).contains(days)),
    }
}

pub(super) fn payload_days(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|days| (1..=3650).contains(days))
}

/// A number, and what it is a number of: bytes where nothing is said.
pub(super) fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)));
    let (number, unit) = unit.unwrap_or((text, 1));
    number.trim_end().parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes >= 1_000_000)
}

pub(super) fn filter(text: &str) -> Option<String> {
    EnvFilter::try_new(text).is_ok().then(|| text.to_owned())
}

pub(super) fn names(text: &str) -> Option<Vec<String>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let is_name = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let mut seen = HashSet::new();
    let fine = names.iter().all(|name| is_name(name) && seen.insert(name.as_str()));
    fine.then(|| names.clone())
}

/// With a slash at its end, so that a method's name can be joined to it.
pub(super) fn api_url(text: &str) -> Option<Url> {
    let mut url = Url::parse(text.trim()).ok()?;
    let fine = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    fine.then_some(url)
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.into())
}

/// As for a header, and not to be found by guessing.
pub(super) fn admin_token(text: &str) -> Option<SecretString> {
    header(text).filter(|token| token.expose_secret().len() >= 16)
}

pub(super) fn header(text: &str) -> Option<SecretString> {
    let text = text.trim();
    let fine = !text.is_empty() && text.len() <= 1000 && text.bytes().all(|byte| byte.is_ascii_graphic());
    fine.then(|| text.into())
}
