//! `/openapi.json`: the whole API, for people's tools. Written by hand: bodies are read field by field, so that every error names its
//! field, and no type of ours has the shape a generator could read. The tests below hold it to the service.

use actix_web::http::Method;
use actix_web::web::{ServiceConfig, resource, route};
use actix_web::{HttpResponse, guard};

use super::problem::wrong_method;

pub(super) const DOCUMENT: &str = include_str!("../../docs/openapi.json");

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = route().guard(guard::Any(guard::Get()).or(guard::Head())).to(read);
    config.service(resource("/openapi.json").route(get).default_service(wrong_method(&[Method::GET])));
}

async fn read() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests;
