use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::header::AUTHORIZATION;
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::super::testing::{Answer, FakeNode, Service, code, serve};

const TOKENS: &str = "/api/v1/tokens";

#[actix_web::test]
async fn a_tokens_text_is_told_once_and_opens_the_api() {
    let api = Api::new().await;
    let made = api.create(&json!({"name": "ci", "role": "viewer"})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let shown = made.json();
    let text = shown["token"].as_str().unwrap().to_owned();
    assert!(text.starts_with("tl_") && text.len() == 46, "{}", text.len());
    assert!(text.ends_with(shown["hint"].as_str().unwrap()));
    let place = made.header("location").to_owned();
    assert_eq!(place, format!("{TOKENS}/{}", shown["id"].as_str().unwrap()));
    assert_eq!(api.ask(Method::GET, "/api/v1/workspaces", &text, None).await.status, StatusCode::OK);
    for path in [&place, TOKENS] {
        let read = api.admin(Method::GET, path).await;
        assert_eq!(read.status, StatusCode::OK);
        assert!(!read.text().contains(&text) && !read.text().contains("\"token\""), "{}", read.text());
    }
}

#[actix_web::test]
async fn a_body_with_mistakes_names_each_of_them() {
    let api = Api::new().await;
    for (body, fields) in [
        (json!({}), &["name", "role"][..]),
        (json!({"name": "", "role": "root"}), &["name", "role"]),
        (json!({"name": "a", "role": "viewer", "scope": "tenant"}), &["scope"]),
        (json!({"name": "a", "role": "admin", "scope": "tenant:42"}), &["scope"]),
        (json!({"name": "a", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}), &["expires_at"]),
        (json!({"name": "a", "role": "viewer", "expires_at": "soon"}), &["expires_at"]),
        (json!({"name": "a", "role": "viewer", "color": 1}), &["color"]),
    ] {
        let answer = api.create(&body).await;
        assert_eq!(code(&answer), "invalid_fields", "{body}");
        let errors = answer.json()["errors"].clone();
        let named: Vec<_> = errors.as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
        assert_eq!(named, fields, "{body}");
    }
    let first = json!({"name": "a", "role": "viewer"});
    assert_eq!(api.create(&first).await.status, StatusCode::CREATED);
    assert_eq!(code(&api.create(&first).await), "conflict");
}

#[actix_web::test]
async fn a_revoked_token_opens_nothing_from_that_moment_on() {
    let api = Api::new().await;
    let (id, text) = api.token(&json!({"name": "ci", "role": "admin"})).await;
    assert_eq!(api.ask(Method::GET, TOKENS, &text, None).await.status, StatusCode::OK);
    let one = format!("{TOKENS}/{id}");
    assert_eq!(api.admin(Method::DELETE, &one).await.status, StatusCode::NO_CONTENT);
    let refused = api.ask(Method::GET, TOKENS, &text, None).await;
    assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::UNAUTHORIZED, "unauthorized"));
    assert_eq!(api.admin(Method::GET, &one).await.json()["state"], "revoked");
    assert_eq!(api.admin(Method::DELETE, &one).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.admin(Method::DELETE, "/api/v1/tokens/tok_99").await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.admin(Method::DELETE, "/api/v1/tokens/x").await.status, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn an_expired_token_is_told_so() {
    let api = Api::new().await;
    let body = json!({"name": "short", "role": "viewer", "expires_at": "2026-11-22T20:01:00Z"});
    let (id, text) = api.token(&body).await;
    assert_eq!(api.ask(Method::GET, "/metrics", &text, None).await.status, StatusCode::OK);
    api.node.pass_ms(60_000);
    let refused = api.ask(Method::GET, "/metrics", &text, None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text().contains("'short' has expired"), "{}", refused.text());
    assert_eq!(api.admin(Method::GET, &format!("{TOKENS}/{id}")).await.json()["state"], "expired");
}

#[actix_web::test]
async fn each_role_does_what_the_table_says_and_is_told_what_is_missing() {
    let api = Api::new().await;
    let (_, viewer) = api.token(&json!({"name": "eye", "role": "viewer"})).await;
    let (_, operator) = api.token(&json!({"name": "hand", "role": "operator"})).await;
    let body = json!({"app_token": "xapp-1-A1-1-abcdefghijkl"});
    let refused = api.ask(Method::PUT, "/api/v1/workspaces/acme", &viewer, Some(&body)).await;
    assert_eq!(code(&refused), "forbidden");
    assert!(
        refused.text().contains("takes the role operator; 'tok_1 eye' has the role viewer"),
        "{}",
        refused.text()
    );
    let made = api.ask(Method::PUT, "/api/v1/workspaces/acme", &operator, Some(&body)).await;
    assert_eq!(made.status, StatusCode::CREATED);
    for text in [&viewer, &operator] {
        assert_eq!(api.ask(Method::GET, "/api/v1/workspaces/acme", text, None).await.status, StatusCode::OK);
        for (method, path) in [
            (Method::GET, TOKENS),
            (Method::POST, TOKENS),
            (Method::DELETE, "/api/v1/tokens/tok_1"),
            (Method::GET, "/api/v1/nothing"),
        ] {
            let refused = api.ask(method, path, text, None).await;
            assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::FORBIDDEN, "forbidden"));
        }
    }
}

#[actix_web::test]
async fn a_token_of_one_label_sees_its_workspaces_and_nothing_of_the_node() {
    let api = Api::new().await;
    let (_, text) = api.token(&json!({"name": "42", "role": "operator", "scope": "tenant:42"})).await;
    for (workspace, tenant) in [("acme", "42"), ("globex", "43")] {
        let body = json!({"app_token": format!("xapp-1-{workspace}-abcdefgh"), "labels": {"tenant": tenant}});
        let path = format!("/api/v1/workspaces/{workspace}");
        let made = api.ask(Method::PUT, &path, super::super::testing::TOKEN, Some(&body)).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
    let list = api.ask(Method::GET, "/api/v1/workspaces", &text, None).await.json();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, ["acme"]);
    let body = json!({"app_token": "xapp-1-another-one-abcd", "labels": {"tenant": "42"}});
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let body = (method == Method::PUT).then_some(&body);
        let answer = api.ask(method.clone(), "/api/v1/workspaces/globex", &text, body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method}: {}", answer.text());
    }
    assert_eq!(
        api.ask(Method::GET, "/api/v1/workspaces/globex/timeline", &text, None).await.status,
        StatusCode::NOT_FOUND
    );
    let body = json!({"labels": {}});
    let let_go = api.ask(Method::PUT, "/api/v1/workspaces/acme", &text, Some(&body)).await;
    assert_eq!(code(&let_go), "forbidden");
    assert!(let_go.text().contains("label tenant:42"), "{}", let_go.text());
    for path in ["/metrics", "/api/v1/apps", "/api/v1/stats"] {
        let refused = api.ask(Method::GET, path, &text, None).await;
        assert_eq!(code(&refused), "forbidden", "{path}");
        assert!(refused.text().contains("whole node"), "{}", refused.text());
    }
}

#[actix_web::test]
async fn guesses_are_limited_by_address_and_lock_nobody_out() {
    let api = Api::new().await;
    let (_, text) = api.token(&json!({"name": "ci", "role": "viewer"})).await;
    let mut last = None;
    for n in 0..11 {
        last = Some(api.ask(Method::GET, "/metrics", &format!("tl_guess{n}"), None).await);
    }
    let last = last.unwrap();
    assert_eq!((last.status, code(&last).as_str()), (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"));
    assert!((1..=6).contains(&last.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(api.ask(Method::GET, "/metrics", &text, None).await.status, StatusCode::OK);
    let elsewhere = api.from([192, 0, 2, 9]).ask(Method::GET, "/metrics", "tl_guess", None).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
    // The node's own token is a short one here: it could be found by guessing, so it is not looked at.
    let refused = api.admin(Method::GET, "/metrics").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[actix_web::test]
async fn the_database_is_read_for_many_requests_once_and_its_absence_is_told() {
    let api = Api::new().await;
    let (_, text) = api.token(&json!({"name": "ci", "role": "viewer"})).await;
    assert_eq!(api.ask(Method::GET, "/metrics", &text, None).await.status, StatusCode::OK);
    api.node.real_store().close().await;
    for _ in 0..20 {
        assert_eq!(api.ask(Method::GET, "/metrics", &text, None).await.status, StatusCode::OK);
    }
    assert_eq!(api.admin(Method::GET, "/metrics").await.status, StatusCode::OK);
    let other = Api { service: serve(&api.node).await, ..api };
    let away = other.ask(Method::GET, "/metrics", &text, None).await;
    assert_eq!(code(&away), "store_unavailable");
}

/// The API of a node on a real database.
struct Api<S> {
    node: Arc<FakeNode>,
    service: S,
    address: SocketAddr,
}

impl Api<Box<Service>> {
    async fn new() -> Self {
        let node = FakeNode::real().await;
        let service = serve(&node).await;
        Self { node, service, address: ([192, 0, 2, 1], 99).into() }
    }
}

impl Api<Box<Service>> {
    /// The same, for who asks from elsewhere.
    fn from(&self, address: [u8; 4]) -> Api<&Service> {
        Api { node: Arc::clone(&self.node), service: &self.service, address: (address, 99).into() }
    }
}

impl<S: std::ops::Deref<Target = Service>> Api<S> {
    async fn ask(&self, method: Method, path: &str, bearer: &str, body: Option<&Value>) -> Answer {
        let mut request = TestRequest::default().method(method).uri(path).peer_addr(self.address);
        request = request.insert_header((AUTHORIZATION, format!("Bearer {bearer}")));
        if let Some(body) = body {
            request =
                request.insert_header(("content-type", "application/json")).set_payload(body.to_string());
        }
        (self.service)(request).await
    }

    async fn admin(&self, method: Method, path: &str) -> Answer {
        self.ask(method, path, super::super::testing::TOKEN, None).await
    }

    async fn create(&self, body: &Value) -> Answer {
        self.ask(Method::POST, TOKENS, super::super::testing::TOKEN, Some(body)).await
    }

    /// Has a token made: its id and its text.
    async fn token(&self, body: &Value) -> (String, String) {
        let made = self.create(body).await.json();
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }
}
