//! `/api/v1/audit`: what was changed, by whom, and why; newest first.

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::Access;
use super::paging::{Paging, page};
use super::paths::read_resource;
use super::problem::Problem;
use super::query::{self, Taken, digits};
use crate::ids::WorkspaceName;
use crate::moment::rfc3339;
use crate::store::{Action, AuditEntry, AuditFilter, Role, TokenId};

const KNOWN: &str = "workspace, token, action, request_id, since, until";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/audit", list));
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let mut filter = AuditFilter::default();
    let paging = Paging::read(&request, KNOWN, |key, value| match key {
        "workspace" => Taken::of(query::workspace(value), &mut filter.workspace),
        "token" => Taken::of(read(TokenId::parse, value, "a token's id, like 'tok_7'"), &mut filter.token),
        "action" => Taken::of(read(Action::parse, value, &actions()), &mut filter.action),
        "request_id" => Taken::of(Ok(Some(value.to_owned())), &mut filter.request_id),
        "since" => Taken::of(query::time(value), &mut filter.since_ms),
        "until" => Taken::of(query::time(value), &mut filter.until_ms),
        _ => Taken::Unknown,
    })?;
    let before = paging.place(&("audit", &filter), digits)?;
    let mut found = access.accounts().audit(&filter, before, paging.limit + 1).await?;
    let next = paging.cut(&mut found, &("audit", &filter), |entry| entry.id);
    Ok(page(&found.iter().map(EntryOut::new).collect::<Vec<_>>(), next))
}

fn actions() -> String {
    format!("one of {}", Action::ALL.map(Action::as_str).join(", "))
}

fn read<T>(parse: fn(&str) -> Option<T>, value: &str, must: &str) -> Result<Option<T>, String> {
    parse(value).map(Some).ok_or_else(|| must.to_owned())
}

#[derive(Serialize)]
struct EntryOut<'a> {
    id: String,
    at: String,
    actor: &'a str,
    role: &'static str,
    token: Option<String>,
    action: &'static str,
    workspace: Option<&'a WorkspaceName>,
    target: Option<&'a str>,
    changes: &'a Map<String, Value>,
    reason: Option<&'a str>,
    request_id: Option<&'a str>,
    address: Option<&'a str>,
}

impl<'a> EntryOut<'a> {
    fn new(entry: &'a AuditEntry) -> Self {
        Self {
            id: format!("aud_{}", entry.id),
            at: rfc3339(entry.at_ms),
            actor: &entry.actor,
            role: Role::as_str(entry.role),
            token: entry.token.map(|token| token.to_string()),
            action: entry.deed.action.as_str(),
            workspace: entry.deed.workspace.as_ref(),
            target: entry.deed.target.as_deref(),
            changes: &entry.deed.changes.0,
            reason: entry.reason.as_deref(),
            request_id: entry.request_id.as_deref(),
            address: entry.address.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::AUTHORIZATION;
    use actix_web::http::{Method, StatusCode};
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::super::testing::{FakeNode, TOKEN, code, serve};

    const AUDIT: &str = "/api/v1/audit";
    const ACME: &str = "/api/v1/workspaces/acme";

    fn asked(method: Method, path: &str) -> TestRequest {
        let request = TestRequest::default().method(method).uri(path).peer_addr(([192, 0, 2, 1], 9).into());
        request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))
    }

    #[actix_web::test]
    async fn a_change_is_told_with_who_why_whence_and_by_which_request() {
        let node = FakeNode::real().await;
        let api = serve(&node).await;
        let put = asked(Method::PUT, ACME)
            .insert_header(("x-reason", "new customer"))
            .insert_header(("x-request-id", "trace-7"))
            .insert_header(("content-type", "application/json"))
            .set_payload(json!({"app_token": "xapp-1-A1-1-0123456789abcdef"}).to_string());
        assert_eq!(api(put).await.status, StatusCode::CREATED);
        let entry = api(asked(Method::GET, AUDIT)).await.json()["data"][0].clone();
        let expected = json!({
            "id": "aud_1", "at": "2026-11-22T20:00:00.000Z", "actor": "admin", "role": "admin", "token": null,
            "action": "workspace.create", "workspace": "acme", "target": null,
            "changes": {
                "desired": {"from": null, "to": "connected"}, "delivery": {"from": null, "to": "active"},
                "links": {"from": null, "to": 3},
                "labels": {"from": null, "to": {}}, "app": {"from": null, "to": 1},
                "app_token": {"from": null, "to": "cdef"},
            },
            "reason": "new customer", "request_id": "trace-7", "address": "192.0.2.1",
        });
        assert_eq!(entry, expected);
    }

    #[actix_web::test]
    async fn a_list_goes_on_where_its_cursor_says_and_no_other_filter_takes_that_cursor() {
        let node = FakeNode::real().await;
        let api = serve(&node).await;
        for links in 1..4 {
            let body = json!({"app_token": "xapp-1-A1-1-0123456789abcdef", "links": links}).to_string();
            let put = asked(Method::PUT, ACME).insert_header(("content-type", "application/json"));
            api(put.set_payload(body)).await;
        }
        let page = api(asked(Method::GET, "/api/v1/audit?workspace=acme&limit=2")).await.json();
        assert_eq!(page["data"].as_array().unwrap().len(), 2);
        let cursor = page["next_cursor"].as_str().unwrap();
        let rest = format!("/api/v1/audit?workspace=acme&limit=2&cursor={cursor}");
        let rest = api(asked(Method::GET, &rest)).await.json();
        assert_eq!((&rest["data"][0]["id"], &rest["next_cursor"]), (&json!("aud_1"), &json!(null)));
        let other = api(asked(Method::GET, &format!("/api/v1/audit?cursor={cursor}"))).await;
        assert_eq!(code(&other), "invalid_request");
    }

    #[actix_web::test]
    async fn a_reason_that_is_no_line_is_refused_and_nothing_is_changed() {
        let node = FakeNode::real().await;
        let api = serve(&node).await;
        let long = "x".repeat(256);
        for reason in [long.as_bytes(), b"\xff"] {
            let refused = api(asked(Method::DELETE, ACME).insert_header(("x-reason", reason))).await;
            assert_eq!(
                (refused.status, code(&refused).as_str()),
                (StatusCode::BAD_REQUEST, "invalid_request")
            );
        }
    }
}
