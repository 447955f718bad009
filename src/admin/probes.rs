//! `/livez` and `/readyz`. Machines read the status, people add `?verbose`.

use actix_web::http::header::{ACCEPT, HeaderMap};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use url::form_urlencoded;

use super::paths::read_resource;
use super::{Check, Node};

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/livez", alive)).service(read_resource("/readyz", ready));
}

/// Asks nobody: a red liveness probe restarts the process and drops every socket, which mends neither Slack nor a database.
async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body("alive\n")
}

async fn ready(request: HttpRequest, node: Data<dyn Node>) -> HttpResponse {
    let checks = node.checks();
    let is_ready = checks.iter().all(|check| check.outcome.is_ok());
    let mut answer = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if wants_json(request.headers()) {
        return answer.json(Report::of(is_ready, &checks));
    }
    let verbose = form_urlencoded::parse(request.query_string().as_bytes()).any(|(key, _)| key == "verbose");
    answer.content_type(TEXT).body(as_text(is_ready, verbose, &checks))
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

/// What failed is always told; what is fine only to whom asks for it.
fn as_text(is_ready: bool, verbose: bool, checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { name, outcome, note } in checks {
        match outcome {
            Ok(()) if verbose => match note {
                Some(note) => text.extend(["[!] ", name, " ok, but: ", note, "\n"]),
                None => text.extend(["[+] ", name, " ok\n"]),
            },
            Ok(()) => {}
            Err(reason) => text.extend(["[-] ", name, " failed: ", reason, "\n"]),
        }
    }
    text.push_str(if is_ready { "ready\n" } else { "not ready\n" });
    text
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    checks: Vec<CheckOut<'a>>,
}

#[derive(Serialize)]
struct CheckOut<'a> {
    name: &'static str,
    ok: bool,
    reason: Option<&'a str>,
    note: Option<&'a str>,
}

impl<'a> Report<'a> {
    fn of(is_ready: bool, checks: &'a [Check]) -> Self {
        let one = |check: &'a Check| CheckOut {
            name: check.name,
            ok: check.outcome.is_ok(),
            reason: check.outcome.as_ref().err().map(String::as_str),
            note: check.note.as_deref(),
        };
        Self {
            status: if is_ready { "ready" } else { "not_ready" },
            checks: checks.iter().map(one).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::super::testing::{Answer, FakeNode, ask_as_is};
    use super::*;

    #[actix_web::test]
    async fn a_node_whose_database_is_down_is_alive_and_not_ready() {
        let node = FakeNode::new();
        node.store.break_down();
        node.fail_check("database", "it does not answer");
        assert_eq!(get(&node, "/livez").await.status, StatusCode::OK);
        let answer = get(&node, "/readyz").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.text(), "[-] database failed: it does not answer\nnot ready\n");
    }

    #[actix_web::test]
    async fn a_ready_node_lists_its_checks_only_when_asked_to() {
        let node = FakeNode::new();
        assert_eq!(get(&node, "/readyz").await.text(), "ready\n");
        assert_eq!(get(&node, "/readyz?verbose").await.text(), "[+] journal ok\n[+] database ok\nready\n");
    }

    #[actix_web::test]
    async fn what_is_no_failure_is_told_to_whom_asks_and_keeps_the_node_ready() {
        let node = FakeNode::new();
        node.note("journal", "it is slow");
        assert_eq!(get(&node, "/readyz").await.text(), "ready\n");
        let answer = get(&node, "/readyz?verbose").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.text(), "[!] journal ok, but: it is slow\n[+] database ok\nready\n");
    }

    #[actix_web::test]
    async fn readiness_is_told_as_json_to_whom_asks_for_json() {
        let node = FakeNode::new();
        node.fail_check("database", "it does not answer");
        let request = TestRequest::get().uri("/readyz?verbose").insert_header((ACCEPT, "application/json"));
        let answer = ask_as_is(&node, request).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let checks = json!([
            {"name": "journal", "ok": true, "reason": null, "note": null},
            {"name": "database", "ok": false, "reason": "it does not answer", "note": null},
        ]);
        assert_eq!(answer.json(), json!({"status": "not_ready", "checks": checks}));
    }

    async fn get(node: &std::sync::Arc<FakeNode>, path: &str) -> Answer {
        ask_as_is(node, TestRequest::get().uri(path)).await
    }
}
