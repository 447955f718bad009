//! `/api/v1/workspaces`: who is kept online.

mod actions;
pub(super) mod body;
mod changes;
mod check;
pub(super) mod filter;
mod import;
pub(super) mod page;
mod patch;
#[cfg(test)]
mod tests;
mod timeline;
pub(super) mod verbs;
pub(super) mod view;

use actix_web::http::{Method, header};
use actix_web::web::{Path, Payload, ServiceConfig, delete, patch, post, put, resource};
use actix_web::{HttpRequest, HttpResponse};

use self::changes::{Changed, in_doubt};
pub(super) use self::check::{Trials, is_scope};
use self::page::Page;
use self::patch::Patch;
use self::view::{WorkspaceOut, seen};
use super::access::Access;
use super::body::{JSON, MERGE_PATCH, object};
use super::paging::page;
use super::paths::{get, post_resource, read_resource};
use super::problem::{Code, Problem, wrong_method};
use super::query::{Taken, flag};
use super::{Node, etag, query, wait};
use crate::ids::WorkspaceName;
use crate::store::{Secret, When, Workspace, WorkspaceSpec};

pub(super) fn routes(config: &mut ServiceConfig) {
    let all = resource("/workspaces")
        .route(get().to(list))
        .route(post().to(create))
        .default_service(wrong_method(&[Method::GET, Method::POST]));
    let one = resource("/workspaces/{id}")
        .route(get().to(read))
        .route(put().to(write))
        .route(patch().to(amend))
        .route(delete().to(remove))
        .default_service(wrong_method(&[Method::GET, Method::PUT, Method::PATCH, Method::DELETE]));
    config
        .service(post_resource("/workspaces/actions", actions::act))
        .service(post_resource("/workspaces/check", check::check))
        .service(post_resource("/workspaces/import", import::import))
        .service(all)
        .service(one)
        .service(read_resource("/workspaces/{id}/timeline", timeline::read))
        .service(post_resource("/workspaces/{id}/connect", verbs::connect))
        .service(post_resource("/workspaces/{id}/disconnect", verbs::disconnect))
        .service(post_resource("/workspaces/{id}/reconnect", verbs::reconnect))
        .service(post_resource("/workspaces/{id}/pause", verbs::pause))
        .service(post_resource("/workspaces/{id}/resume", verbs::resume));
}

async fn list(request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let asked = Page::parse(&request)?;
    let show = |workspace: &Workspace, filter: &filter::Filter| {
        let status = seen(workspace, node.status(workspace.app), node.now_ms());
        let meant = filter.admits(workspace, &status);
        meant.then(|| {
            serde_json::to_value(WorkspaceOut::new(workspace, status, node.counters(workspace.app)))
                .unwrap_or_default()
        })
    };
    let (data, next) = asked.read(&*node.store(), show).await?;
    Ok(page(&data, next))
}

async fn read(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    query::none(&request)?;
    let workspace = node.store().workspace(&name).await?.ok_or_else(|| unknown(&name))?;
    let tag = (header::ETAG, etag::of(workspace.id.0, workspace.version));
    Ok(HttpResponse::Ok().insert_header(tag).json(show(&**node, &workspace)))
}

async fn create(request: HttpRequest, payload: Payload, node: Access) -> Result<HttpResponse, Problem> {
    let wait = wait::parse(&request)?;
    let map = object(&request, payload, JSON).await?;
    let spec = body::spec(map, node.default_links())?;
    has_app_token(&spec)?;
    let name = parse_name(&format!("ws_{:032x}", rand::random::<u128>()))?;
    let put = node.store().put_workspace(&name, &spec, When::Absent, node.now_ms()).await?;
    Changed { put }.answer(&node, wait).await
}

async fn write(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    node: Access,
) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let wait = wait::parse(&request)?;
    let when = etag::when(&request)?;
    let map = object(&request, payload, JSON).await?;
    let spec = body::spec(map, node.default_links())?;
    let store = node.store();
    let before = store.workspace(&name).await?;
    when.check(before.as_ref())?;
    if before.is_none() {
        has_app_token(&spec)?;
    }
    let put = store.put_workspace(&name, &spec, when, node.now_ms()).await;
    let put = in_doubt(&node, before.as_ref(), put)?;
    Changed { put }.answer(&node, wait).await
}

async fn amend(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    node: Access,
) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let wait = wait::parse(&request)?;
    let when = etag::when(&request)?;
    let map = object(&request, payload, MERGE_PATCH).await?;
    let patch = Patch::parse(map, node.default_links())?;
    changes::apply(&node, &name, &patch, when).await?.answer(&node, wait).await
}

async fn remove(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let mut purge = false;
    query::read(&request, "purge", |key, value| match key {
        "purge" => Taken::of(flag(value), &mut purge),
        _ => Taken::Unknown,
    })?;
    let when = etag::when(&request)?;
    let store = node.store();
    let before = store.workspace(&name).await?;
    let removed = if purge {
        store.purge_workspace(&name, when, node.now_ms()).await
    } else {
        store.remove_workspace(&name, when, node.now_ms()).await
    };
    let removed = in_doubt(&node, before.as_ref(), removed)?.ok_or_else(|| unknown(&name))?;
    node.app_changed(removed.app);
    Ok(HttpResponse::NoContent().finish())
}

fn has_app_token(spec: &WorkspaceSpec) -> Result<(), Problem> {
    if matches!(spec.app_token, Secret::Set(_)) {
        return Ok(());
    }
    let message = "a new workspace needs its app-level token ('xapp-…')";
    Err(Problem::field(Code::InvalidFields, "app_token", message))
}

/// Paths below `/workspaces` that are no workspace's.
const RESERVED: [&str; 3] = ["actions", "check", "import"];

pub(super) fn parse_name(id: &str) -> Result<WorkspaceName, Problem> {
    if RESERVED.contains(&id) {
        let message = format!("reserved, as are {}; take another", RESERVED.join(", "));
        return Err(Problem::field(Code::InvalidRequest, "id", message));
    }
    WorkspaceName::parse(id).map_err(|bad| Problem::field(Code::InvalidRequest, "id", bad.to_string()))
}

pub(super) fn unknown(name: &WorkspaceName) -> Problem {
    Problem::new(Code::NotFound, format!("there is no workspace '{name}'"))
}

fn show<'a>(node: &dyn Node, workspace: &'a Workspace) -> WorkspaceOut<'a> {
    let status = seen(workspace, node.status(workspace.app), node.now_ms());
    WorkspaceOut::new(workspace, status, node.counters(workspace.app))
}
