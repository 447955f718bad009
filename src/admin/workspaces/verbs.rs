//! `POST …/connect`, `/disconnect`, `/reconnect`, `/pause`, `/resume`.

use std::fmt;

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::super::Steering;
use super::super::access::Access;
use super::super::problem::{Code, Problem};
use super::super::query;
use super::super::wait::{self, Goal};
use super::changes::{self, Changed};
use super::patch::Patch;
use super::{parse_name, unknown};
use crate::ids::WorkspaceName;
use crate::status::Command;
use crate::store::{DeliveryMode, Desired, StoreError, When, Workspace};

/// What is done to a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Verb {
    /// On, and tried now whatever went before.
    Connect,
    /// Off.
    Disconnect,
    /// Fresh links.
    Reconnect,
    /// Its events are kept and wait.
    Pause,
    /// They are given to handlers again, those that waited first.
    Resume,
}

impl Verb {
    pub(in crate::admin) const ALL: &[Self] =
        &[Self::Connect, Self::Disconnect, Self::Reconnect, Self::Pause, Self::Resume];

    pub(in crate::admin) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Reconnect => "reconnect",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// The names of all, for messages.
    pub(in crate::admin) fn names() -> String {
        Self::ALL.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What the connection is to come to; none where it has no part in it.
    const fn goal(self) -> Option<Goal> {
        match self {
            Self::Connect => Some(Goal::Online),
            Self::Disconnect => Some(Goal::Offline),
            Self::Reconnect => Some(Goal::Fresh),
            Self::Pause | Self::Resume => None,
        }
    }

    /// Does it; the connection's word is on its way.
    pub(in crate::admin) async fn act(
        self,
        node: &Access,
        name: &WorkspaceName,
    ) -> Result<(Workspace, Option<Steering>), Problem> {
        let (patch, command) = match self {
            Self::Connect => (Patch::wish(Desired::Connected), Some(Command::Connect)),
            Self::Disconnect => (Patch::wish(Desired::Disconnected), Some(Command::Apply)),
            Self::Pause => (Patch::delivery(DeliveryMode::Paused), None),
            Self::Resume => (Patch::delivery(DeliveryMode::Active), None),
            Self::Reconnect => {
                let found = node.store().workspace(name).await?.ok_or_else(|| unknown(name))?;
                if found.desired == Desired::Disconnected {
                    let detail =
                        format!("'{name}' is wanted off, so there is nothing to reconnect; connect it");
                    return Err(Problem::new(Code::Conflict, detail));
                }
                let found = forgiven(node, found).await?;
                let steering = node.steer(found.app, Command::Reconnect);
                return Ok((found, Some(steering)));
            }
        };
        let Changed { put } = changes::apply(node, name, &patch, When::Always).await?;
        let workspace = match self {
            Self::Connect => forgiven(node, put.workspace).await?,
            Self::Disconnect | Self::Reconnect | Self::Pause | Self::Resume => put.workspace,
        };
        let steering = command.map(|command| node.steer(workspace.app, command));
        Ok((workspace, steering))
    }
}

/// The workspace without what kept it down: somebody wants it tried now. Whether Slack still refuses it its connection asks.
async fn forgiven(node: &Access, mut workspace: Workspace) -> Result<Workspace, StoreError> {
    if workspace.trouble.is_some() {
        node.store().forgive(&workspace.name, node.now_ms()).await?;
        workspace.trouble = None;
    }
    Ok(workspace)
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) async fn connect(
    id: Path<String>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    answer(Verb::Connect, &id, &request, &node).await
}

pub(super) async fn disconnect(
    id: Path<String>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    answer(Verb::Disconnect, &id, &request, &node).await
}

pub(super) async fn reconnect(
    id: Path<String>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    answer(Verb::Reconnect, &id, &request, &node).await
}

pub(super) async fn pause(
    id: Path<String>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    answer(Verb::Pause, &id, &request, &node).await
}

pub(super) async fn resume(
    id: Path<String>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    answer(Verb::Resume, &id, &request, &node).await
}

async fn answer(verb: Verb, id: &str, request: &HttpRequest, node: &Access) -> Result<HttpResponse, Problem> {
    let name = parse_name(id)?;
    let (goal, wait) = match verb.goal() {
        Some(goal) => (goal, wait::parse(request)?),
        None => (Goal::Online, query::none(request).map(|()| None)?),
    };
    let (workspace, steering) = verb.act(node, &name).await?;
    changes::settled(node, &workspace, false, goal, wait.zip(steering)).await
}
