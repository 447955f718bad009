//! One verb for many, and the jobs that come of it.

use std::sync::Arc;

use actix_web::App;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::test::{call_service, init_service, read_body_json};

use super::super::super::testing::TOKEN;
use super::super::super::{AdminToken, service};
use super::*;
use crate::status::Command;

const ACTIONS: &str = "/api/v1/workspaces/actions";

#[actix_web::test]
async fn a_dry_run_counts_whom_the_filter_means_and_does_nothing() {
    let node = fleet().await;
    for (filter, matched) in [
        (json!({}), 3),
        (json!({"label": "tenant:42"}), 2),
        (json!({"state": ["reconnecting", "ready"]}), 1),
        (json!({"label": ["tenant:42"], "health": "down", "q": "w1"}), 1),
    ] {
        let body = json!({"action": "disconnect", "filter": filter, "dry_run": true});
        let answer = send(&node, &body).await;
        assert_eq!((answer.status, &answer.json()["matched"]), (StatusCode::OK, &json!(matched)), "{body}");
    }
    assert_eq!(*node.steered.lock().unwrap(), []);
}

#[actix_web::test]
async fn an_action_without_a_whom_or_a_what_is_refused_and_nothing_is_done() {
    let node = fleet().await;
    for (body, named) in [
        (json!({"action": "connect"}), vec!["filter"]),
        (json!({"action": "connect", "filter": null}), vec!["filter"]),
        (json!({"filter": {}}), vec!["action"]),
        (json!({"action": "delete", "filter": {}}), vec!["action"]),
        (json!({"action": "connect", "filter": []}), vec!["filter"]),
        (json!({"action": "connect", "filter": {"state": 7}}), vec!["filter"]),
        (json!({"action": "connect", "filter": {"state": []}}), vec!["filter"]),
        (json!({"action": "connect", "filter": {"state": "fine"}}), vec!["filter.state"]),
        (json!({"action": "pause", "filter": {"delivery": "off"}}), vec!["filter.delivery"]),
        (json!({"action": "connect", "filter": {"q": vec!["w"; 17]}}), vec!["filter.q"]),
        (json!({"action": "connect", "filter": {"limit": "7"}}), vec!["filter.limit"]),
        (json!({"action": "connect", "filter": {}, "dry_run": "yes"}), vec!["dry_run"]),
        (json!({"action": "connect", "filter": {}, "whom": 1}), vec!["whom"]),
    ] {
        let answer = send(&node, &body).await;
        assert_eq!(
            (answer.status.as_u16(), fields(&answer)),
            (422, named.iter().map(ToString::to_string).collect()),
            "{body}"
        );
    }
    assert_eq!(*node.steered.lock().unwrap(), []);
}

#[actix_web::test]
async fn a_job_does_it_one_by_one_and_tells_how_far_it_is_and_what_failed() {
    let node = fleet().await;
    put(&node, "/api/v1/workspaces/w2", &json!({"desired": "disconnected"})).await;
    let app =
        init_service(App::new().configure(service(Arc::<FakeNode>::clone(&node), AdminToken::new(TOKEN))))
            .await;
    let body = json!({"action": "reconnect", "filter": {}});
    let accepted = call_service(&app, request(Method::POST, ACTIONS, &body).to_request()).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let place = accepted.headers().get("location").unwrap().to_str().unwrap().to_owned();
    let job: Value = read_body_json(accepted).await;
    assert_eq!((&job["kind"], &job["total"]), (&json!("workspaces.reconnect"), &json!(3)));
    assert_eq!(place, format!("/api/v1/jobs/{}", job["id"].as_str().unwrap()));
    let job = ended(&app, || request(Method::GET, &place, &json!({})).to_request()).await;
    assert_eq!((&job["state"], &job["done"], &job["failed"]), (&json!("done"), &json!(3), &json!(1)));
    assert_eq!(
        (&job["failures"][0]["workspace"], &job["failures"][0]["code"]),
        (&json!("w2"), &json!("conflict"))
    );
    assert!(job["finished_at"].is_string());
    let commands = std::mem::take(&mut *node.steered.lock().unwrap());
    assert_eq!(commands, [(AppId(1), Command::Reconnect), (AppId(2), Command::Reconnect)]);
    // What has ended stays as it ended.
    let cancelled =
        call_service(&app, request(Method::POST, &format!("{place}/cancel"), &json!({})).to_request()).await;
    assert_eq!(read_body_json::<Value, _>(cancelled).await["state"], "done");
    let list: Value = read_body_json(
        call_service(&app, request(Method::GET, "/api/v1/jobs", &json!({})).to_request()).await,
    )
    .await;
    assert_eq!(list["data"], json!([job]));
}

#[actix_web::test]
async fn a_cancelled_job_begins_nothing_more() {
    let node = FakeNode::new();
    for i in 0..200 {
        node.store.insert(&format!("w{i:03}"));
    }
    let app =
        init_service(App::new().configure(service(Arc::<FakeNode>::clone(&node), AdminToken::new(TOKEN))))
            .await;
    let body = json!({"action": "connect", "filter": {}});
    let job: Value =
        read_body_json(call_service(&app, request(Method::POST, ACTIONS, &body).to_request()).await).await;
    let place = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    call_service(&app, request(Method::POST, &format!("{place}/cancel"), &json!({})).to_request()).await;
    let job = ended(&app, || request(Method::GET, &place, &json!({})).to_request()).await;
    assert_eq!(job["state"], "cancelled");
    let done = job["done"].as_u64().unwrap();
    assert!(done < 200, "{done}");
    assert_eq!(node.steered.lock().unwrap().len() as u64, done);
}

#[actix_web::test]
async fn no_more_than_four_jobs_run_at_once() {
    let node = FakeNode::new();
    for i in 0..200 {
        node.store.insert(&format!("w{i:03}"));
    }
    let app =
        init_service(App::new().configure(service(Arc::<FakeNode>::clone(&node), AdminToken::new(TOKEN))))
            .await;
    let body = json!({"action": "connect", "filter": {}});
    for status in [202, 202, 202, 202, 409] {
        assert_eq!(
            call_service(&app, request(Method::POST, ACTIONS, &body).to_request()).await.status(),
            status
        );
    }
}

#[actix_web::test]
async fn no_workspace_is_called_as_a_path_of_the_api_is() {
    for id in ["actions", "check", "import"] {
        let path = format!("/api/v1/workspaces/{id}/timeline");
        let answer = get(&FakeNode::new(), &path).await;
        assert_eq!((answer.status, fields(&answer)), (StatusCode::BAD_REQUEST, vec!["id".to_owned()]));
    }
    for path in ["/api/v1/jobs/none", "/api/v1/jobs/job_0000000000000000"] {
        assert_eq!(code(&get(&FakeNode::new(), path).await), "not_found");
    }
}

async fn fleet() -> Arc<FakeNode> {
    let node = FakeNode::new();
    for (id, tenant) in [("w0", "42"), ("w1", "42"), ("w2", "7")] {
        let body = json!({"app_token": format!("xapp-{id}"), "labels": {"tenant": tenant}});
        put(&node, &format!("/api/v1/workspaces/{id}"), &body).await;
    }
    node.statuses.lock().unwrap().insert(AppId(1), reconnecting());
    node
}

async fn send(node: &Arc<FakeNode>, body: &Value) -> Answer {
    let request = TestRequest::post().uri(ACTIONS).insert_header(("content-type", "application/json"));
    ask(node, request.set_payload(body.to_string())).await
}

fn request(method: Method, path: &str, body: &Value) -> TestRequest {
    TestRequest::default()
        .method(method)
        .uri(path)
        .insert_header(("content-type", "application/json"))
        .insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))
        .set_payload(body.to_string())
}

/// Asks until the job has ended; the asking lets it run.
async fn ended<S, R>(app: &S, ask: impl Fn() -> R) -> Value
where
    S: Service<R, Response = ServiceResponse, Error = actix_web::Error>,
{
    for _ in 0..100_000 {
        let job: Value = read_body_json(call_service(app, ask()).await).await;
        if !["running", "cancelling"].contains(&job["state"].as_str().unwrap()) {
            return job;
        }
        actix_rt::task::yield_now().await;
    }
    panic!("the job ends");
}
