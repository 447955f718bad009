//! `/openapi.json`: the whole API, for people's tools. Written by hand: bodies are read field by field, so that every error names its
//! field, and no type of ours has the shape a generator could read. The tests below hold it to the service.

use actix_web::HttpResponse;
use actix_web::web::ServiceConfig;

use super::paths::read_resource;

pub(super) const DOCUMENT: &str = include_str!("../../docs/openapi.json");

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/openapi.json", read));
}

async fn read() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests;
