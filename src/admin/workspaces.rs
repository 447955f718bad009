//! `/api/v1/workspaces`: who is kept online.

mod body;
mod page;
#[cfg(test)]
mod tests;
mod view;

use actix_web::http::{Method, header};
use actix_web::web::{Data, Path, Payload, ServiceConfig, delete, put, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};

use self::page::Page;
use self::view::WorkspaceOut;
use super::Node;
use super::problem::{Code, Problem, wrong_method};
use crate::ids::WorkspaceName;
use crate::store::{Change, Secret, Workspace};

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = || route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let all = resource("/workspaces").route(get().to(list)).default_service(wrong_method(&[Method::GET]));
    let one = resource("/workspaces/{id}")
        .route(get().to(read))
        .route(put().to(write))
        .route(delete().to(remove))
        .default_service(wrong_method(&[Method::GET, Method::PUT, Method::DELETE]));
    config.service(all).service(one);
}

async fn list(request: HttpRequest, node: Data<dyn Node>) -> Result<HttpResponse, Problem> {
    let page = Page::parse(request.query_string())?;
    let found = node.store().workspaces(page.after.as_ref(), page.limit + 1).await?;
    let (found, next_cursor) = page.cut(found);
    let data: Vec<_> = found.iter().map(|workspace| show(&**node, workspace)).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "data": data, "next_cursor": next_cursor })))
}

async fn read(id: Path<String>, node: Data<dyn Node>) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let workspace = node.store().workspace(&name).await?.ok_or_else(|| unknown(&name))?;
    Ok(HttpResponse::Ok().json(show(&**node, &workspace)))
}

async fn write(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    node: Data<dyn Node>,
) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let spec = body::read(&request, payload, node.default_links()).await?;
    let store = node.store();
    let before = store.workspace(&name).await?;
    if before.is_none() && !matches!(spec.app_token, Secret::Set(_)) {
        let message = "a new workspace needs its app-level token ('xapp-…')";
        return Err(Problem::field(Code::InvalidFields, "app_token", message));
    }
    let put = store.put_workspace(&name, &spec, node.now_ms()).await?;
    let mut answer = match put.change {
        Change::Created => {
            let place = format!("/api/v1/workspaces/{name}");
            let mut answer = HttpResponse::Created();
            answer.insert_header((header::LOCATION, place));
            answer
        }
        Change::Updated | Change::Unchanged => HttpResponse::Ok(),
    };
    if put.change != Change::Unchanged {
        node.app_changed(put.workspace.app);
        // Another app's token has moved the workspace: the app it left may have nobody to stay online for.
        if let Some(left) = before.map(|before| before.app).filter(|app| *app != put.workspace.app) {
            node.app_changed(left);
        }
    }
    Ok(answer.json(show(&**node, &put.workspace)))
}

async fn remove(id: Path<String>, node: Data<dyn Node>) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let removed = node.store().remove_workspace(&name, node.now_ms()).await?.ok_or_else(|| unknown(&name))?;
    node.app_changed(removed.app);
    Ok(HttpResponse::NoContent().finish())
}

fn parse_name(id: &str) -> Result<WorkspaceName, Problem> {
    WorkspaceName::parse(id).map_err(|bad| Problem::field(Code::InvalidRequest, "id", bad.to_string()))
}

fn unknown(name: &WorkspaceName) -> Problem {
    Problem::new(Code::NotFound, format!("there is no workspace '{name}'"))
}

fn show<'a>(node: &dyn Node, workspace: &'a Workspace) -> WorkspaceOut<'a> {
    WorkspaceOut::new(workspace, node.status(workspace.app), node.counters(workspace.app), node.now_ms())
}
