//! How tests ask the API, and the node without a node behind it that they ask.

mod node;
mod scene;
mod store;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web::Bytes};
use serde_json::Value;

pub(super) use self::node::FakeNode;
pub(super) use self::scene::{AT, Scene};
use super::{AdminToken, Node, service};

pub(super) const TOKEN: &str = "the-admin-token";

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// A header; empty where there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The code of a problem that has every part a problem must have.
pub(super) fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    let code = problem["code"].as_str().unwrap().to_owned();
    assert_eq!(problem["type"], format!("urn:problem-type:tautline:{code}"));
    assert_eq!(problem["status"], answer.status.as_u16());
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["errors"].is_array());
    code
}

/// Asks with the token.
pub(super) async fn ask(node: &Arc<FakeNode>, request: TestRequest) -> Answer {
    ask_as_is(node, request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))).await
}

/// Asks with what the request has.
pub(super) async fn ask_as_is(node: &Arc<FakeNode>, request: TestRequest) -> Answer {
    let node: Arc<dyn Node> = Arc::<FakeNode>::clone(node);
    let app = init_service(App::new().configure(service(node, AdminToken::new(TOKEN)))).await;
    let answer = call_service(&app, request.to_request()).await;
    Answer { status: answer.status(), headers: answer.headers().clone(), body: read_body(answer).await }
}

/// The API of a node that is asked more than once.
pub(super) type Service = dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = Answer>>>;

/// The whole API, which remembers what it was asked before.
pub(super) async fn serve(node: &Arc<FakeNode>) -> Box<Service> {
    let node: Arc<dyn Node> = Arc::<FakeNode>::clone(node);
    let app = Rc::new(init_service(App::new().configure(service(node, AdminToken::new(TOKEN)))).await);
    Box::new(move |request| {
        let app = Rc::clone(&app);
        Box::pin(async move {
            let answer = call_service(&*app, request.to_request()).await;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, body: read_body(answer).await }
        })
    })
}
