//! `/api/v1/apps`: the Slack apps that workspaces are seated on, each with its connection.

use actix_web::web::{Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::access::Access;
use super::paging::{Paging, page};
use super::paths::read_resource;
use super::problem::{Code, Problem};
use super::query::{self, digits};
use super::workspaces::view::{CountersOut, SocketOut, idle};
use super::{Counters, Node};
use crate::ids::AppId;
use crate::moment::rfc3339;
use crate::status::{Code as ReasonCode, Health, Reason, State};
use crate::store::{App, Desired};

const LIST: &str = "apps";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/apps", list)).service(read_resource("/apps/{id}", read));
}

#[derive(Serialize)]
struct AppOut {
    id: String,
    app_id: Option<String>,
    desired: Desired,
    links: u8,
    health: Health,
    state: State,
    since: Option<String>,
    reason: Option<Reason>,
    attempt: u32,
    next_attempt_at: Option<String>,
    sockets: Vec<SocketOut>,
    warnings: Vec<ReasonCode>,
    counters: CountersOut,
    last_event_at: Option<String>,
    has_token: bool,
    token_on_trial: bool,
    workspaces: Vec<SeatOut>,
    node: String,
}

#[derive(Serialize)]
struct SeatOut {
    id: String,
    team_id: Option<String>,
    enterprise_id: Option<String>,
}

async fn list(request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    let mut paging = Paging::new();
    query::read(&request, Paging::KNOWN, |key, value| paging.take(key, value))?;
    let after = paging.place(&LIST, digits)?.map_or(AppId(0), AppId);
    let mut found = node.store().apps_after(after, paging.limit + 1).await?;
    let next_cursor = paging.cut(&mut found, &LIST, |last| last.id);
    let data: Vec<_> = found.into_iter().map(|app| show(&**node, app)).collect();
    Ok(page(&data, next_cursor))
}

/// By our own id, or by Slack's.
async fn read(id: Path<String>, request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let store = node.store();
    let ours = id.strip_prefix("app_").and_then(digits);
    let is_slacks = id.len() <= 64 && id.starts_with('A') && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let found = match ours {
        Some(number) => store.app(AppId(number)).await?,
        None if is_slacks => store.slack_app(&id).await?,
        None => {
            let message = "an app's id is 'app_' with its number, or Slack's own ('A…')";
            return Err(Problem::field(Code::InvalidRequest, "id", message));
        }
    };
    let app =
        found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such app, or no workspace on it"))?;
    Ok(HttpResponse::Ok().json(show(&**node, app)))
}

fn show(node: &dyn Node, app: App) -> AppOut {
    let known = node.status(app.id);
    let since = known.as_ref().map(|status| rfc3339(status.since_ms));
    let status = known.unwrap_or_else(|| idle(app.desired, 0));
    let counters: Counters = node.counters(app.id);
    let seats = app.seats.into_iter().map(|seat| SeatOut {
        id: seat.name.to_string(),
        team_id: seat.team_id,
        enterprise_id: seat.enterprise_id,
    });
    AppOut {
        id: format!("app_{}", app.id),
        app_id: app.slack_app_id.or_else(|| status.slack_app_id.map(String::from)),
        desired: app.desired,
        links: app.links,
        health: status.health,
        state: status.state,
        since,
        reason: status.reason,
        attempt: status.attempt,
        next_attempt_at: status.next_attempt_ms.map(rfc3339),
        sockets: status.links.into_iter().map(SocketOut::from).collect(),
        warnings: status.warnings,
        last_event_at: counters.last_event_ms.map(rfc3339),
        counters: counters.into(),
        has_token: app.token.is_some(),
        token_on_trial: app.candidate.is_some(),
        workspaces: seats.collect(),
        node: node.facts().name,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::{Value, json};

    use super::super::testing::{FakeNode, ask, code};
    use super::*;
    use crate::status::Status;

    #[actix_web::test]
    async fn an_app_shows_who_sits_on_it_and_what_its_connection_says_and_no_token() {
        let node = FakeNode::new();
        node.store.insert_on("acme", "xapp-shared");
        node.store.insert_on("acme-emea", "xapp-shared");
        node.store.insert("globex");
        let ready = Status { state: State::Ready, health: Health::Ok, ..Status::off(0) };
        node.statuses.lock().unwrap().insert(AppId(1), ready);
        let list = ask(&node, TestRequest::get().uri("/api/v1/apps")).await.json();
        let shown: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|app| (&app["id"], &app["state"])).collect();
        assert_eq!(shown, [(&json!("app_1"), &json!("ready")), (&json!("app_2"), &json!("disconnected"))]);
        let answer = ask(&node, TestRequest::get().uri("/api/v1/apps/app_1")).await;
        assert_eq!(answer.json(), list["data"][0]);
        let seats = answer.json()["workspaces"].clone();
        let names: Vec<_> = seats.as_array().unwrap().iter().map(|seat| seat["id"].clone()).collect();
        assert_eq!(names, ["acme", "acme-emea"]);
        assert!(!answer.text().contains("xapp"), "{}", answer.text());
    }

    #[actix_web::test]
    async fn apps_come_in_pages_and_their_cursor_is_no_other_lists() {
        let node = FakeNode::new();
        for name in ["a", "b", "c"] {
            node.store.insert(name);
        }
        let first = ask(&node, TestRequest::get().uri("/api/v1/apps?limit=2")).await.json();
        let cursor = first["next_cursor"].as_str().unwrap();
        let rest = ask(&node, TestRequest::get().uri(&format!("/api/v1/apps?cursor={cursor}"))).await.json();
        assert_eq!((rest["data"][0]["id"].as_str(), &rest["next_cursor"]), (Some("app_3"), &Value::Null));
        let other = ask(&node, TestRequest::get().uri("/api/v1/workspaces?limit=1")).await.json();
        let cursor = other["next_cursor"].as_str().unwrap();
        let answer = ask(&node, TestRequest::get().uri(&format!("/api/v1/apps?cursor={cursor}"))).await;
        assert_eq!(code(&answer), "invalid_request");
    }

    #[actix_web::test]
    async fn an_id_that_can_be_no_apps_is_told_apart_from_one_that_is_not_there() {
        for (id, named) in [("app_7", "not_found"), ("A0NONE", "not_found"), ("acme", "invalid_request")] {
            let answer = ask(&FakeNode::new(), TestRequest::get().uri(&format!("/api/v1/apps/{id}"))).await;
            assert_eq!(code(&answer), named, "{id}");
        }
    }
}
