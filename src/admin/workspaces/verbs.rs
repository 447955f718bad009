//! `POST …/connect`, `/disconnect`, `/reconnect`.

use std::fmt;

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::super::Steering;
use super::super::access::Access;
use super::super::problem::{Code, Problem};
use super::super::wait::{self, Goal};
use super::changes::{self, Changed};
use super::patch::Patch;
use super::{parse_name, unknown};
use crate::ids::WorkspaceName;
use crate::status::Command;
use crate::store::{Desired, StoreError, When, Workspace};

/// What is done to a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Verb {
    /// On, and tried now whatever went before.
    Connect,
    /// Off.
    Disconnect,
    /// Fresh links.
    Reconnect,
}

impl Verb {
    pub(in crate::admin) const ALL: &[Self] = &[Self::Connect, Self::Disconnect, Self::Reconnect];

    pub(in crate::admin) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Reconnect => "reconnect",
        }
    }

    const fn goal(self) -> Goal {
        match self {
            Self::Connect => Goal::Online,
            Self::Disconnect => Goal::Offline,
            Self::Reconnect => Goal::Fresh,
        }
    }

    /// Does it; the connection's word is on its way.
    pub(in crate::admin) async fn act(
        self,
        node: &Access,
        name: &WorkspaceName,
    ) -> Result<(Workspace, Steering), Problem> {
        let (desired, command) = match self {
            Self::Connect => (Desired::Connected, Command::Connect),
            Self::Disconnect => (Desired::Disconnected, Command::Apply),
            Self::Reconnect => {
                let found = node.store().workspace(name).await?.ok_or_else(|| unknown(name))?;
                if found.desired == Desired::Disconnected {
                    let detail =
                        format!("'{name}' is wanted off, so there is nothing to reconnect; connect it");
                    return Err(Problem::new(Code::Conflict, detail));
                }
                let found = forgiven(node, found).await?;
                let steering = node.steer(found.app, Command::Reconnect);
                return Ok((found, steering));
            }
        };
        let Changed { put } = changes::apply(node, name, &Patch::wish(desired), When::Always).await?;
        let workspace = match self {
            Self::Connect => forgiven(node, put.workspace).await?,
            Self::Disconnect | Self::Reconnect => put.workspace,
        };
        let steering = node.steer(workspace.app, command);
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

async fn answer(verb: Verb, id: &str, request: &HttpRequest, node: &Access) -> Result<HttpResponse, Problem> {
    let name = parse_name(id)?;
    let wait = wait::parse(request)?;
    let (workspace, steering) = verb.act(node, &name).await?;
    changes::settled(node, &workspace, false, verb.goal(), wait.map(|wait| (wait, steering))).await
}
