//! Routes as the API tells of them and takes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::super::testing::{Answer, FakeNode, ask, code};
use crate::store::{Action, AuditFilter};

const BILLING: &str = "/api/v1/routes/billing";

#[actix_web::test]
async fn a_route_is_made_changed_and_removed_and_the_node_is_told_each_time() {
    let node = FakeNode::real().await;
    let body = json!({"handler": "bridge", "match": {"types": ["message"], "labels": ["tier:gold"]}, "ack": "received"});
    let made = put(&node, &body).await;
    assert_eq!((made.status, made.header("location")), (StatusCode::CREATED, BILLING));
    let shown = made.json();
    assert_eq!(
        (&shown["id"], &shown["handler"], &shown["ack"]),
        (&json!("billing"), &json!("bridge"), &json!("received"))
    );
    assert_eq!(shown["match"]["labels"], json!(["tier:gold"]));
    assert_eq!((&shown["match"]["kinds"], &shown["enabled"]), (&json!([]), &json!(true)));
    assert_eq!(get(&node, BILLING).await.json(), shown);
    assert_eq!(get(&node, "/api/v1/routes").await.json(), json!({"data": [shown], "next_cursor": null}));

    let changed = put(&node, &json!({"handler": "log"})).await;
    assert_eq!((changed.status, &changed.json()["ack"]), (StatusCode::OK, &Value::Null));
    assert_eq!(changed.json()["match"]["types"], json!([]));

    assert_eq!(ask(&node, TestRequest::delete().uri(BILLING)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(code(&get(&node, BILLING).await), "not_found");
    assert_eq!(node.routes_changes.load(Ordering::Relaxed), 3);
}

#[actix_web::test]
async fn the_same_body_changes_nothing() {
    let node = FakeNode::real().await;
    let made = put(&node, &json!({"handler": "log", "match": {"types": ["b", "a"]}})).await;
    node.pass_ms(1000);
    let again =
        put(&node, &json!({"handler": "log", "match": {"types": ["a", "b", "a"]}, "ack": null})).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, made.json()));
    assert_eq!(again.header("etag"), made.header("etag"));
    let filter = AuditFilter { action: Some(Action::RouteUpdate), ..AuditFilter::default() };
    assert_eq!(node.real_store().audit(&filter, None, 10).await.unwrap(), []);
}

#[actix_web::test]
async fn a_change_is_made_only_to_what_was_read() {
    let node = FakeNode::real().await;
    let first = put(&node, &json!({"handler": "log"})).await.header("etag").to_owned();
    let with = |name, tag: &str| TestRequest::put().uri(BILLING).insert_header((name, tag.to_owned()));
    let bridge = json!({"handler": "bridge"});
    assert_eq!(code(&ask(&node, with("if-none-match", "*").set_json(&bridge)).await), "precondition_failed");
    let changed = ask(&node, with("if-match", &first).set_json(&bridge)).await;
    assert_eq!(changed.status, StatusCode::OK);
    let log = json!({"handler": "log"});
    assert_eq!(code(&ask(&node, with("if-match", &first).set_json(&log)).await), "precondition_failed");
    let stale = TestRequest::delete().uri(BILLING).insert_header(("if-match", first));
    assert_eq!(code(&ask(&node, stale).await), "precondition_failed");
    let tag = changed.header("etag").to_owned();
    assert_eq!(get(&node, BILLING).await.header("etag"), tag);
    let fresh = TestRequest::delete().uri(BILLING).insert_header(("if-match", tag));
    assert_eq!(ask(&node, fresh).await.status, StatusCode::NO_CONTENT);
}

#[actix_web::test]
async fn what_is_wrong_with_a_route_is_told_by_its_field() {
    let node = FakeNode::real().await;
    for (body, field) in [
        (json!({}), "handler"),
        (json!({"handler": "log", "match": {"labels": ["gold"]}}), "match.labels"),
        (json!({"handler": "log", "ack": "soon"}), "ack"),
        (json!({"handler": "log", "ack": "answered"}), "ack"),
        (json!({"handler": "log", "name": "x"}), "name"),
    ] {
        let answer = put(&node, &body).await;
        assert_eq!(code(&answer), "invalid_fields", "{body}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{body}");
    }
    let answer =
        ask(&node, TestRequest::put().uri("/api/v1/routes/-x").set_json(json!({"handler": "log"}))).await;
    assert_eq!(
        (code(&answer), &answer.json()["errors"][0]["field"]),
        ("invalid_request".into(), &json!("id"))
    );
}

#[actix_web::test]
async fn a_route_to_a_handler_that_is_not_here_is_refused_with_those_that_are() {
    let node = FakeNode::real().await;
    let answer = put(&node, &json!({"handler": "brigde"})).await;
    assert_eq!(code(&answer), "invalid_fields");
    let error = &answer.json()["errors"][0];
    assert_eq!(error["field"], "handler");
    assert_eq!(error["message"], "this node has no handler of that name; it has: log, bridge, echo");
    assert_eq!(get(&node, "/api/v1/routes").await.json()["data"], json!([]));
}

#[actix_web::test]
async fn an_ack_may_carry_the_answer_of_a_handler_that_answers() {
    let node = FakeNode::real().await;
    let made = put(&node, &json!({"handler": "bridge", "ack": "answered"})).await;
    assert_eq!((made.status, &made.json()["ack"]), (StatusCode::CREATED, &json!("answered")));
}

async fn put(node: &Arc<FakeNode>, body: &Value) -> Answer {
    ask(node, TestRequest::put().uri(BILLING).set_json(body)).await
}

async fn get(node: &Arc<FakeNode>, place: &str) -> Answer {
    ask(node, TestRequest::get().uri(place)).await
}
