//! A workspace as the API shows it: what is stored, and what its connection says of itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Counters;
use crate::moment::rfc3339;
use crate::status::{Code, Health, LinkState, LinkStatus, Reason, State, Status};
use crate::store::{DeliveryMode, Desired, TokenHint, Workspace};

#[derive(Serialize)]
pub(super) struct WorkspaceOut<'a> {
    id: &'a str,
    name: Option<&'a str>,
    app_id: Option<String>,
    team_id: Option<&'a str>,
    enterprise_id: Option<&'a str>,
    labels: BTreeMap<&'a str, &'a str>,
    desired: Desired,
    delivery: DeliveryMode,
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
pub(in crate::admin) struct SocketOut {
    generation: u64,
    state: LinkState,
    host: Option<Box<str>>,
    opened_at: Option<String>,
    num_connections: Option<u32>,
    pong_ms: Option<u32>,
}

#[derive(Serialize)]
pub(in crate::admin) struct CountersOut {
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
    pub(super) fn new(workspace: &'a Workspace, status: Status, counters: Counters) -> Self {
        let slack_app_id = status.slack_app_id.map(String::from);
        Self {
            id: workspace.name.as_str(),
            name: workspace.title.as_deref(),
            app_id: workspace.slack_app_id.clone().or(slack_app_id),
            team_id: workspace.team_id.as_deref(),
            enterprise_id: workspace.enterprise_id.as_deref(),
            labels: workspace.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            desired: workspace.desired,
            delivery: workspace.delivery,
            links: workspace.links,
            health: status.health,
            state: status.state,
            since: rfc3339(status.since_ms),
            reason: status.reason,
            attempt: status.attempt,
            next_attempt_at: status.next_attempt_ms.map(rfc3339),
            sockets: status.links.into_iter().map(SocketOut::from).collect(),
            warnings: status.warnings,
            counters: counters.into(),
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

/// What is shown of a workspace whose connection says this, or nothing.
pub(in crate::admin) fn seen(workspace: &Workspace, connection: Option<Status>, now_ms: i64) -> Status {
    Status::of_workspace(connection, &workspace.standing(), now_ms)
}

/// An app whose connection has not started yet, or is wanted off.
pub(in crate::admin) fn idle(desired: Desired, since_ms: i64) -> Status {
    let off = Status::off(since_ms);
    match desired {
        Desired::Connected => Status { health: Health::Down, ..off },
        Desired::Disconnected => off,
    }
}

impl From<Counters> for CountersOut {
    fn from(counters: Counters) -> Self {
        let Counters { events, duplicates, acks, reconnects, last_event_ms: _ } = counters;
        Self { events, duplicates, acks, reconnects }
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
            pong_ms: link.pong_ms,
        }
    }
}

impl<'a> From<&'a TokenHint> for TokenOut<'a> {
    fn from(token: &'a TokenHint) -> Self {
        Self { hint: &token.hint, updated_at: rfc3339(token.updated_ms) }
    }
}
