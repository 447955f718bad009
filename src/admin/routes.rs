//! `/api/v1/routes`: which handlers get which events.

#[cfg(test)]
mod tests;

use actix_web::http::{Method, header};
use actix_web::web::{Path, Payload, ServiceConfig, delete, put, resource};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::access::Access;
use super::body::{JSON, object};
use super::paging::page;
use super::paths::{get, read_resource};
use super::problem::{Code, FieldError, Problem, wrong_method};
use super::{etag, query};
use crate::ids::RouteName;
use crate::machine::routes::AckMode;
use crate::moment::rfc3339;
use crate::store::{Change, StoredRoute, read_route, show_match};

pub(super) fn routes(config: &mut ServiceConfig) {
    let all = read_resource("/routes", list);
    let one = resource("/routes/{id}")
        .route(get().to(read))
        .route(put().to(write))
        .route(delete().to(remove))
        .default_service(wrong_method(&[Method::GET, Method::PUT, Method::DELETE]));
    config.service(all).service(one);
}

/// All on one page: there are few.
async fn list(request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let all = node.routes().routes().await?;
    let data: Vec<_> = all.iter().map(|route| show(route, &node)).collect();
    Ok(page(&data, None))
}

async fn read(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let name = parse(&id)?;
    let route = node.routes().route(&name).await?.ok_or_else(|| unknown(&name))?;
    Ok(HttpResponse::Ok().insert_header(tag(&route)).json(show(&route, &node)))
}

/// Creates or replaces it; what is left out is as in a new one.
async fn write(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    node: Access,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let name = parse(&id)?;
    let when = etag::when(&request)?;
    let body = object(&request, payload, JSON).await?;
    let route = read_route(name, &body).map_err(|wrong| {
        let named = wrong.into_iter().map(|wrong| FieldError { field: wrong.field, message: wrong.message });
        Problem::fields(Code::InvalidFields, named.collect())
    })?;
    if !node.handler_names().contains(&route.handler) {
        let known = node.handler_names().join(", ");
        let message = format!("this node has no handler of that name; it has: {known}");
        return Err(Problem::field(Code::InvalidFields, "handler", message));
    }
    if route.ack == Some(AckMode::Answered) && !node.answers(&route.handler) {
        let message =
            format!("the handler '{}' answers nothing: an ack can be received or stored", route.handler);
        return Err(Problem::field(Code::InvalidFields, "ack", message));
    }
    let put = node.routes().put_route(&route, when, node.caller(), node.now_ms()).await;
    // Also where the outcome is not known.
    node.routes_changed().await;
    let put = put?;
    let mut answer = match put.change {
        Change::Created => HttpResponse::Created(),
        Change::Updated | Change::Unchanged => HttpResponse::Ok(),
    };
    if put.change == Change::Created {
        let place = format!("/api/v1/routes/{}", route.name);
        answer.insert_header((header::LOCATION, place));
    }
    Ok(answer.insert_header(tag(&put.route)).json(show(&put.route, &node)))
}

async fn remove(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let name = parse(&id)?;
    let when = etag::when(&request)?;
    let removed = node.routes().remove_route(&name, when, node.caller(), node.now_ms()).await;
    node.routes_changed().await;
    if removed? { Ok(HttpResponse::NoContent().finish()) } else { Err(unknown(&name)) }
}

fn parse(id: &str) -> Result<RouteName, Problem> {
    RouteName::parse(id).map_err(|bad| Problem::field(Code::InvalidRequest, "id", bad.to_string()))
}

fn unknown(name: &RouteName) -> Problem {
    Problem::new(Code::NotFound, format!("there is no route '{name}'"))
}

fn tag(route: &StoredRoute) -> (header::HeaderName, String) {
    (header::ETAG, etag::of(route.id, route.version))
}

fn show(stored: &StoredRoute, node: &Access) -> Value {
    let route = &stored.route;
    json!({
        "id": route.name.as_str(),
        "handler": route.handler,
        // A database may have routes to handlers of other nodes, or to one that is gone.
        "handler_is_here": node.handler_names().contains(&route.handler),
        "match": show_match(&route.matches),
        "ack": route.ack.map(AckMode::as_str),
        "enabled": route.is_on,
        "created_at": rfc3339(stored.created_ms),
        "updated_at": rfc3339(stored.updated_ms),
    })
}
