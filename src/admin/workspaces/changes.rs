//! Changes: what `PUT`, `POST`, `PATCH` and the verbs do to a workspace, and how long the answer waits.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;

use super::super::Steering;
use super::super::access::Access;
use super::super::etag;
use super::super::problem::{Code, Problem};
use super::super::wait::{self, Ended, Goal};
use super::patch::Patch;
use super::{show, unknown};
use crate::ids::WorkspaceName;
use crate::status::Command;
use crate::store::{Change, Desired, Put, StoreError, When, Workspace};

/// A patch is made anew where somebody else was faster; who loses so often may say so.
const TRIES: u32 = 8;

/// A change that is stored.
pub(super) struct Changed {
    pub(super) put: Put,
}

/// Brings a patch onto what is stored, without undoing what somebody else changes meanwhile.
pub(in crate::admin) async fn apply(
    node: &Access,
    name: &WorkspaceName,
    patch: &Patch,
    when: When,
) -> Result<Changed, Problem> {
    let store = node.store();
    let mut tries = 0;
    loop {
        let before = store.workspace(name).await?.ok_or_else(|| unknown(name))?;
        when.check(Some(&before))?;
        let spec =
            patch.onto(&before).map_err(|message| Problem::field(Code::InvalidFields, "labels", message))?;
        let put = store.put_workspace(name, &spec, before.unchanged(), node.now_ms()).await;
        match in_doubt(node, Some(&before), put) {
            Ok(put) => return Ok(Changed { put }),
            Err(StoreError::Stale(_)) if tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A change whose outcome is not known may have been made: the connection has to look at its app all the same. What it cannot know,
/// as the app of a workspace that was not there before, the supervisor finds by itself.
pub(super) fn in_doubt<T>(
    node: &Access,
    before: Option<&Workspace>,
    outcome: Result<T, StoreError>,
) -> Result<T, StoreError> {
    if let (Err(StoreError::Unavailable(_)), Some(before)) = (&outcome, before) {
        node.app_changed(before.app);
    }
    outcome
}

impl Changed {
    /// Tells the connections that have to know. So does what changes nothing: it may be the second try of what was made unheard.
    pub(super) fn tell(&self, node: &Access, waits: bool) -> Option<Steering> {
        let app = self.put.workspace.app;
        let steering = waits.then(|| node.steer(app, Command::Apply));
        if !waits {
            node.app_changed(app);
        }
        // Another app's token has moved the workspace: the app it left may have nobody to stay online for.
        if let Some(left) = self.put.left {
            node.app_changed(left);
        }
        steering
    }

    /// The answer, at once or when what was asked for is so.
    pub(super) async fn answer(self, node: &Access, wait: Option<Duration>) -> Result<HttpResponse, Problem> {
        let steering = self.tell(node, wait.is_some());
        let workspace = &self.put.workspace;
        let goal = match workspace.desired {
            Desired::Connected => Goal::Online,
            Desired::Disconnected => Goal::Offline,
        };
        let created = self.put.change == Change::Created;
        settled(node, workspace, created, goal, wait.zip(steering)).await
    }
}

/// The answer that shows a workspace: 200 (201 where it is new), or 202 where what was waited for has not come.
pub(super) async fn settled(
    node: &Access,
    workspace: &Workspace,
    created: bool,
    goal: Goal,
    waiting: Option<(Duration, Steering)>,
) -> Result<HttpResponse, Problem> {
    let place = created.then(|| format!("/api/v1/workspaces/{}", workspace.name));
    let (ended, now) = match waiting {
        None => (Ended::Settled, None),
        Some((within, steering)) => {
            let ended = if goal == Goal::Offline && others_want_it(node, workspace).await? {
                // The sockets are the other workspaces'.
                wait::obeyed(steering, within).await;
                Ended::Settled
            } else {
                wait::reached(goal, steering, within).await
            };
            // What its connection has learnt meanwhile is shown too.
            let now = node.store().workspace(&workspace.name).await?;
            (ended, Some(now.ok_or_else(|| unknown(&workspace.name))?))
        }
    };
    let workspace = now.as_ref().unwrap_or(workspace);
    let mut answer = match ended {
        Ended::Settled if created => HttpResponse::Created(),
        Ended::Settled => HttpResponse::Ok(),
        Ended::Open => HttpResponse::Accepted(),
    };
    if let Some(place) = place {
        answer.insert_header((header::LOCATION, place));
    }
    answer.insert_header((header::ETAG, etag::of(workspace.id.0, workspace.version)));
    Ok(answer.json(show(&***node, workspace)))
}

async fn others_want_it(node: &Access, workspace: &Workspace) -> Result<bool, StoreError> {
    let app = node.store().app(workspace.app).await?;
    Ok(app.is_some_and(|app| app.desired == Desired::Connected))
}
