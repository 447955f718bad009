//! `/api/v1/handlers`: who is handed events, what weighs on them, and whether they are given any.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{Path, ServiceConfig, post, resource, route};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde::Serialize;
use serde_json::json;

use super::access::Access;
use super::events::event_id;
use super::problem::{Code, Problem, wrong_method};
use super::query;
use crate::handlers::Options;
use crate::machine::seq;
use crate::moment::rfc3339;
use crate::store::{Burden, COUNTED, KnownHandler};

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
    let burdens = access.archive().burdens(COUNTED).await?;
    let known = burdens.iter().map(|burden| HandlerOut::new(&access, &burden.handler, Some(burden)));
    let mut data: Vec<_> = known.collect();
    // Where nothing is kept the database knows of none.
    let is_known = |name: &String| burdens.iter().any(|burden| burden.handler.name == *name);
    let others = access.handler_names().iter().filter(|name| !is_known(name));
    data.extend(others.map(|name| HandlerOut::unknown(&access, name)));
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
    let unknown = || Problem::new(Code::NotFound, "there is no such handler; GET /handlers has their names");
    // No database is asked for what no handler is called.
    if !is_a_name(name) {
        return Err(unknown());
    }
    let archive = access.archive();
    let steered = archive.steer_handler(name, is_paused, access.caller(), access.now_ms()).await?;
    let handler = steered.ok_or_else(unknown)?;
    // It is done, whether or not the figures can be had.
    let burdens = archive.burdens(COUNTED).await.unwrap_or_default();
    let burden = burdens.iter().find(|burden| burden.handler.id == handler.id);
    Ok(HttpResponse::Ok().json(HandlerOut::new(access, &handler, burden)))
}

/// Could a handler be called so?
fn is_a_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

#[derive(Serialize)]
struct HandlerOut<'a> {
    id: &'a str,
    /// Does this node have it?
    present: bool,
    options: Option<OptionsOut>,
    paused: bool,
    paused_at: Option<String>,
    waiting: Option<u64>,
    retrying: Option<u64>,
    dead: Option<u64>,
    counted_to: u32,
    oldest: Option<String>,
    oldest_ms: Option<i64>,
}

/// As this node has it.
#[derive(Serialize)]
struct OptionsOut {
    concurrency: usize,
    within_ms: u64,
    order: &'static str,
    hold_ms: Option<u64>,
    retry: RetryOut,
    answers: bool,
}

#[derive(Serialize)]
struct RetryOut {
    first_ms: u64,
    most_ms: u64,
    attempts: u32,
}

impl<'a> HandlerOut<'a> {
    fn new(access: &Access, handler: &'a KnownHandler, burden: Option<&Burden>) -> Self {
        let oldest = burden.and_then(|burden| burden.oldest);
        let age_ms = |oldest| access.now_ms().saturating_sub(seq::wall_ms_of(oldest)).max(0);
        Self {
            paused: handler.paused_ms.is_some(),
            paused_at: handler.paused_ms.map(rfc3339),
            waiting: burden.map(|burden| burden.waiting),
            retrying: burden.map(|burden| burden.retrying),
            dead: burden.map(|burden| burden.dead),
            oldest: oldest.map(event_id),
            oldest_ms: oldest.map(age_ms),
            ..Self::unknown(access, &handler.name)
        }
    }

    /// One of which the database does not know.
    fn unknown(access: &Access, name: &'a str) -> Self {
        let options = access.handler_options(name);
        Self {
            id: name,
            present: options.is_some(),
            options: options.map(OptionsOut::of),
            paused: false,
            paused_at: None,
            waiting: Some(0),
            retrying: Some(0),
            dead: Some(0),
            counted_to: COUNTED,
            oldest: None,
            oldest_ms: None,
        }
    }
}

impl OptionsOut {
    fn of(options: &Options) -> Self {
        let Options { concurrency, within, order, hold, retry, answers } = *options;
        Self {
            concurrency,
            within_ms: whole_ms(within),
            order: order.as_str(),
            hold_ms: hold.map(whole_ms),
            retry: RetryOut {
                first_ms: whole_ms(retry.first),
                most_ms: whole_ms(retry.most),
                attempts: retry.attempts,
            },
            answers,
        }
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
