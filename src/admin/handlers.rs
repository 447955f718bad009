//! `/api/v1/handlers`: who is handed events, what weighs on them, and whether they are given any.

use actix_web::http::Method;
use actix_web::web::{Path, ServiceConfig, post, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde::Serialize;
use serde_json::json;

use super::access::Access;
use super::events::event_id;
use super::problem::{Code, Problem, wrong_method};
use super::query;
use crate::machine::seq;
use crate::moment::rfc3339;
use crate::store::{Burden, COUNTED};

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = route().guard(guard::Any(guard::Get()).or(guard::Head())).to(list);
    config.service(resource("/handlers").route(get).default_service(wrong_method(&[Method::GET])));
    let pause = resource("/handlers/{id}/pause").route(post().to(pause));
    let resume = resource("/handlers/{id}/resume").route(post().to(resume));
    for of in [pause, resume] {
        config.service(of.default_service(wrong_method(&[Method::POST])));
    }
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let burdens = access.archive().burdens().await?;
    let data: Vec<_> = burdens.iter().map(|burden| HandlerOut::new(burden, access.now_ms())).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": null })))
}

async fn pause(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    steer(&id, &request, &access, true).await
}

async fn resume(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    steer(&id, &request, &access, false).await
}

async fn steer(
    name: &str,
    request: &HttpRequest,
    access: &Access,
    is_paused: bool,
) -> Result<HttpResponse, Problem> {
    query::none(request)?;
    let archive = access.archive();
    let steered = archive.steer_handler(name, is_paused, access.caller(), access.now_ms()).await?;
    let unknown = || Problem::new(Code::NotFound, "there is no such handler; GET /handlers has their names");
    let handler = steered.ok_or_else(unknown)?;
    let burdens = archive.burdens().await?;
    let burden = burdens.iter().find(|burden| burden.handler.id == handler.id).ok_or_else(unknown)?;
    Ok(HttpResponse::Ok().json(HandlerOut::new(burden, access.now_ms())))
}

#[derive(Serialize)]
struct HandlerOut<'a> {
    id: &'a str,
    paused: bool,
    paused_at: Option<String>,
    waiting: u64,
    retrying: u64,
    dead: u64,
    counted_to: u32,
    oldest: Option<String>,
    oldest_ms: Option<i64>,
}

impl<'a> HandlerOut<'a> {
    fn new(burden: &'a Burden, now_ms: i64) -> Self {
        Self {
            id: &burden.handler.name,
            paused: burden.handler.paused_ms.is_some(),
            paused_at: burden.handler.paused_ms.map(rfc3339),
            waiting: burden.waiting,
            retrying: burden.retrying,
            dead: burden.dead,
            counted_to: COUNTED,
            oldest: burden.oldest.map(event_id),
            oldest_ms: burden.oldest.map(|oldest| now_ms.saturating_sub(seq::wall_ms_of(oldest)).max(0)),
        }
    }
}
