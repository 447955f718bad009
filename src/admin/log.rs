//! `/api/v1/log`: which lines the node writes, changed while it runs. Of this node and this process alone.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{Payload, ServiceConfig, put, resource};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::access::Access;
use super::body::{self, Fields};
use super::paths::get;
use super::problem::{Code, Problem, wrong_method};
use super::query;
use crate::clock::span;
use crate::moment::rfc3339;
use crate::store::{Action, Changes, Deed};
use crate::telemetry::{LogControl, LogFilter};

/// The longest that a filter may be in force for a while.
const LONGEST: Duration = Duration::from_hours(24);
const MAX_FILTER: usize = 1_000;

pub(super) fn routes(config: &mut ServiceConfig) {
    let log = resource("/log").route(get().to(read)).route(put().to(write));
    config.service(log.default_service(wrong_method(&[Method::GET, Method::PUT])));
}

async fn read(request: HttpRequest, _: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    Ok(HttpResponse::Ok().json(show(&control()?.filter())))
}

async fn write(request: HttpRequest, payload: Payload, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let mut fields = Fields::new(body::object(&request, payload, body::JSON).await?);
    let filter = fields.take("filter", |value| body::text(value, MAX_FILTER).map(str::to_owned));
    let within = fields.take("for", within);
    if filter.is_none() && !fields.has_errors() {
        fields.wrong(
            "filter",
            "say which lines: a level, or levels of targets, as info,tautline=debug".to_owned(),
        );
    }
    fields.done("filter, for")?;
    let (control, filter) = (control()?, filter.unwrap_or_default());
    let now_ms = access.now_ms();
    let until_ms =
        within.map(|within| now_ms.saturating_add(i64::try_from(within.as_millis()).unwrap_or(i64::MAX)));
    let before = control.filter();
    let change = control
        .set(&filter, until_ms)
        .map_err(|bad| Problem::field(Code::InvalidFields, "filter", bad.to_string()))?;
    let after = control.filter();
    if let Some(within) = within {
        actix_rt::spawn(async move {
            actix_rt::time::sleep(within).await;
            if let Some(filter) = control.back(change) {
                tracing::warn!(filter, "the time of the log's filter is over; this one is in force again");
            }
        });
    }
    note(&access, &before, &after, now_ms).await;
    Ok(HttpResponse::Ok().json(show(&after)))
}

/// Writes down who it was. A database that is away is a reason to want another filter, so it is none to refuse one: then the log alone
/// tells.
async fn note(access: &Access, before: &LogFilter, after: &LogFilter, now_ms: i64) {
    let mut changes = Changes::default();
    changes.field("filter", &json!(before.filter), &json!(after.filter));
    let until = |filter: &LogFilter| json!(filter.back.as_ref().map(|(_, until_ms)| rfc3339(*until_ms)));
    changes.field("until", &until(before), &until(after));
    if changes == Changes::default() {
        return;
    }
    let by = access.caller();
    tracing::warn!(
        filter = after.filter,
        until = until(after).as_str(),
        by = by.name,
        "the log's filter is changed"
    );
    let deed = Deed { action: Action::LogUpdate, workspace: None, target: None, changes };
    if let Err(error) = access.accounts().write_audit(by, &deed, now_ms).await {
        tracing::error!(%error, by = by.name, "a change of the log's filter could not be written into the audit log");
    }
}

fn control() -> Result<&'static LogControl, Problem> {
    let detail = "this process has a log of its own making, which cannot be changed here";
    LogControl::of_this_process().ok_or_else(|| Problem::new(Code::Conflict, detail))
}

fn within(value: &Value) -> Result<Duration, String> {
    let within = value.as_str().and_then(|text| span(text).ok());
    within
        .filter(|within| (Duration::from_secs(1)..=LONGEST).contains(within))
        .ok_or_else(|| "a time from 1s to 24h, as 90s, 10m or 2h".to_owned())
}

fn show(filter: &LogFilter) -> Value {
    let (then, until) = filter.back.clone().unzip();
    json!({ "filter": filter.filter, "until": until.map(rfc3339), "then": then, "at_start": filter.at_start })
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::super::testing::{FakeNode, ask, code};
    use super::*;

    #[actix_web::test]
    async fn what_is_not_understood_is_refused_with_its_field() {
        for (body, field) in [
            (json!({}), "filter"),
            (json!({"filter": 3}), "filter"),
            (json!({"filter": "info", "for": "1ms"}), "for"),
            (json!({"filter": "info", "for": "25h"}), "for"),
            (json!({"filter": "info", "for": 10}), "for"),
            (json!({"filter": "info", "level": "info"}), "level"),
        ] {
            let request = TestRequest::put().uri("/api/v1/log").set_json(&body);
            let answer = ask(&FakeNode::new(), request).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert_eq!(answer.json()["errors"][0]["field"], field, "{body}");
        }
    }

    #[actix_web::test]
    async fn a_process_with_a_log_of_its_own_says_so() {
        let answer = ask(&FakeNode::new(), TestRequest::get().uri("/api/v1/log")).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::CONFLICT, "conflict"));
    }
}
