//! A workspace as the API shows it: what is stored, and what its connection says of itself.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use super::super::Counters;
use crate::status::{Code, Health, LinkState, LinkStatus, Reason, State, Status};
use crate::store::{Desired, TokenHint, Workspace};

#[derive(Serialize)]
pub(super) struct WorkspaceOut<'a> {
    id: &'a str,
    name: Option<&'a str>,
    app_id: Option<String>,
    team_id: Option<&'a str>,
    enterprise_id: Option<&'a str>,
    labels: BTreeMap<&'a str, &'a str>,
    desired: Desired,
    links: u8,
    health: Health,
    state: State,
    since: String,
    reason: Option<Reason>,
    attempt: u32,
    next_attempt_at: Option<String>,
    sockets: Vec<SocketOut>,
    warnings: Vec<Code>,
    counters: CountersOut,
    last_event_at: Option<String>,
    tokens: TokensOut<'a>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct SocketOut {
    generation: u64,
    state: LinkState,
    host: Option<Box<str>>,
    opened_at: Option<String>,
    num_connections: Option<u32>,
}

#[derive(Serialize)]
struct CountersOut {
    events: u64,
    duplicates: u64,
    acks: u64,
    reconnects: u64,
}

#[derive(Serialize)]
struct TokensOut<'a> {
    app: Option<TokenOut<'a>>,
    bot: Option<TokenOut<'a>>,
}

#[derive(Serialize)]
struct TokenOut<'a> {
    hint: &'a str,
    updated_at: String,
}

impl<'a> WorkspaceOut<'a> {
    pub(super) fn new(
        workspace: &'a Workspace,
        status: Option<Status>,
        counters: Counters,
        now_ms: i64,
    ) -> Self {
        let is_limited = workspace.limited_until_ms.is_some_and(|until_ms| now_ms < until_ms);
        let status =
            status.unwrap_or_else(|| not_running(workspace)).of_workspace(workspace.trouble, is_limited);
        let slack_app_id = status.slack_app_id.map(String::from);
        Self {
            id: workspace.name.as_str(),
            name: workspace.title.as_deref(),
            app_id: workspace.slack_app_id.clone().or(slack_app_id),
            team_id: workspace.team_id.as_deref(),
            enterprise_id: workspace.enterprise_id.as_deref(),
            labels: workspace.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            desired: workspace.desired,
            links: workspace.links,
            health: status.health,
            state: status.state,
            since: rfc3339(status.since_ms),
            reason: status.reason,
            attempt: status.attempt,
            next_attempt_at: status.next_attempt_ms.map(rfc3339),
            sockets: status.links.into_iter().map(SocketOut::from).collect(),
            warnings: status.warnings,
            counters: CountersOut {
                events: counters.events,
                duplicates: counters.duplicates,
                acks: counters.acks,
                reconnects: counters.reconnects,
            },
            last_event_at: counters.last_event_ms.map(rfc3339),
            tokens: TokensOut {
                app: workspace.app_token.as_ref().map(TokenOut::from),
                bot: workspace.bot_token.as_ref().map(TokenOut::from),
            },
            created_at: rfc3339(workspace.created_ms),
            updated_at: rfc3339(workspace.updated_ms),
        }
    }
}

/// Not started yet, or wanted off.
fn not_running(workspace: &Workspace) -> Status {
    let off = Status::off(workspace.updated_ms);
    match workspace.desired {
        Desired::Connected => Status { health: Health::Down, ..off },
        Desired::Disconnected => off,
    }
}

impl From<LinkStatus> for SocketOut {
    fn from(link: LinkStatus) -> Self {
        Self {
            generation: link.generation.0,
            state: link.state,
            host: link.host,
            opened_at: link.opened_ms.map(rfc3339),
            num_connections: link.num_connections,
        }
    }
}

impl<'a> From<&'a TokenHint> for TokenOut<'a> {
    fn from(token: &'a TokenHint) -> Self {
        Self { hint: &token.hint, updated_at: rfc3339(token.updated_ms) }
    }
}

/// The last moment that RFC 3339 can say: the end of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// Milliseconds since 1970 as RFC 3339 in UTC, always with its milliseconds: then texts sort as times do.
fn rfc3339(ms: i64) -> String {
    let ms = ms.clamp(0, LAST_MS);
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, ms) = (at.hour(), at.minute(), at.second(), at.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_utc_with_milliseconds_whatever_the_number() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_377_600_007), "2026-11-22T20:00:00.007Z");
        assert_eq!(rfc3339(-5), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
