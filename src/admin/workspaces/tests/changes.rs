//! Creating under an id made here, patches, conditions, verbs and waits.

use std::sync::Arc;

use actix_web::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};

use super::*;
use crate::status::Command;
use crate::store::AuditFilter;

#[actix_web::test]
async fn a_post_makes_an_id_of_its_own_and_says_where_the_workspace_is() {
    let node = FakeNode::new();
    let mut places = Vec::new();
    for _ in 0..2 {
        let answer = send(&node, TestRequest::post(), "/api/v1/workspaces", &full()).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("ws_") && id.len() == 35, "{id}");
        assert_eq!(answer.header("location"), format!("/api/v1/workspaces/{id}"));
        assert_eq!(get(&node, answer.header("location")).await.json(), answer.json());
        places.push(id);
    }
    assert_ne!(places[0], places[1]);
    let answer = send(&node, TestRequest::post(), "/api/v1/workspaces", &json!({"name": "Acme"})).await;
    assert_eq!(fields(&answer), ["app_token"]);
}

#[actix_web::test]
async fn a_patch_changes_what_it_names_and_null_removes() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    for (patch, field, value) in [
        (json!({}), "name", json!("Acme Inc")),
        (json!({"links": 4}), "links", json!(4)),
        (json!({"links": null}), "links", json!(3)),
        (json!({"name": "Acme"}), "name", json!("Acme")),
        (json!({"name": null}), "name", Value::Null),
        (json!({"desired": "disconnected"}), "desired", json!("disconnected")),
        (json!({"delivery": "paused"}), "delivery", json!("paused")),
        (json!({"labels": {"plan": "gold"}}), "labels", json!({"plan": "gold", "tenant": "42"})),
        (json!({"labels": {"tenant": null}}), "labels", json!({"plan": "gold"})),
        (json!({"labels": null}), "labels", json!({})),
        (
            json!({"bot_token": null}),
            "tokens",
            json!({"app": {"hint": "ab12", "updated_at": AT}, "bot": null}),
        ),
    ] {
        let before = get(&node, ACME).await.json();
        let answer = send(&node, TestRequest::patch(), ACME, &patch).await;
        assert_eq!(answer.status, StatusCode::OK, "{patch}: {}", answer.text());
        let mut after = answer.json();
        assert_eq!(after[field], value, "{patch}");
        after[field] = before[field].clone();
        // It follows the wish.
        after["health"] = before["health"].clone();
        assert_eq!(after, before, "{patch} leaves the rest as it was");
    }
}

#[actix_web::test]
async fn a_patch_that_is_wrong_names_its_fields_and_changes_nothing() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    node.take_changed();
    let before = get(&node, ACME).await.json();
    let many: Value = (0..32).map(|i| (format!("k{i}"), json!("v"))).collect();
    for (patch, named) in [
        (json!({"desired": null}), "desired"),
        (json!({"links": 0}), "links"),
        (json!({"name": 7}), "name"),
        (json!({"labels": {"tenant": 42}}), "labels"),
        (json!({"labels": {"a:b": null}}), "labels"),
        (json!({"labels": many}), "labels"),
        (json!({"app_token": ""}), "app_token"),
        (json!({"id": "other"}), "id"),
    ] {
        let answer = send(&node, TestRequest::patch(), ACME, &patch).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{patch}");
        assert_eq!(fields(&answer), [named], "{patch}");
    }
    assert_eq!(get(&node, ACME).await.json(), before);
    assert_eq!(node.take_changed(), []);
    let answer = send(&node, TestRequest::patch(), "/api/v1/workspaces/none", &json!({})).await;
    assert_eq!(code(&answer), "not_found");
}

#[actix_web::test]
async fn a_merge_patch_may_say_that_it_is_one_and_a_put_may_not() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    for (request, status) in [(TestRequest::patch(), 200), (TestRequest::put(), 415)] {
        let request = request.uri(ACME).insert_header(("content-type", "application/merge-patch+json"));
        assert_eq!(ask(&node, request.set_payload("{}")).await.status, status);
    }
}

#[actix_web::test]
async fn a_change_under_a_tag_is_made_only_while_nobody_else_has_changed_it() {
    let node = FakeNode::new();
    let made = put(&node, ACME, &full()).await;
    let tag = made.header("etag").to_owned();
    assert_eq!(get(&node, ACME).await.header("etag"), tag);
    node.statuses.lock().unwrap().insert(AppId(1), reconnecting());
    assert_eq!(
        get(&node, ACME).await.header("etag"),
        tag,
        "what its connection does is no change of the caller's"
    );
    let patch = json!({"links": 5});
    let changed = send(&node, TestRequest::patch().insert_header((IF_MATCH, &*tag)), ACME, &patch).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), tag);
    node.take_changed();
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        for stale in [&*tag, "\"0-1\"", "\"else\"", "W/\"1-2\""] {
            let request = TestRequest::default().method(method.clone());
            let answer = send(&node, request.insert_header((IF_MATCH, stale)), ACME, &full()).await;
            let wanted = if stale.starts_with('W') { "invalid_request" } else { "precondition_failed" };
            assert_eq!(code(&answer), wanted, "{stale}");
        }
    }
    assert_eq!(node.take_changed(), []);
    assert_eq!(get(&node, ACME).await.json()["links"], 5);
    let tag = changed.header("etag");
    assert_eq!(
        send(&node, TestRequest::delete().insert_header((IF_MATCH, tag)), ACME, &full()).await.status,
        StatusCode::NO_CONTENT
    );
}

#[actix_web::test]
async fn a_put_may_be_made_to_create_only_or_to_change_only() {
    let node = FakeNode::new();
    let create = || TestRequest::put().insert_header((IF_NONE_MATCH, "*"));
    let change = || TestRequest::put().insert_header((IF_MATCH, "*"));
    assert_eq!(code(&send(&node, change(), ACME, &full()).await), "precondition_failed");
    assert_eq!(send(&node, create(), ACME, &full()).await.status, StatusCode::CREATED);
    assert_eq!(code(&send(&node, create(), ACME, &full()).await), "precondition_failed");
    assert_eq!(send(&node, change(), ACME, &full()).await.status, StatusCode::OK);
    for (request, named) in [
        (TestRequest::put().insert_header((IF_NONE_MATCH, "\"1-1\"")), "If-None-Match"),
        (TestRequest::put().insert_header((IF_MATCH, "1-1")), "If-Match"),
        (create().insert_header((IF_MATCH, "*")), "If-Match"),
        (TestRequest::put().append_header((IF_MATCH, "*")).append_header((IF_MATCH, "*")), "if-match"),
    ] {
        assert_eq!(fields(&send(&node, request, ACME, &full()).await), [named]);
    }
}

#[actix_web::test]
async fn the_verbs_store_the_wish_and_tell_the_connection_even_where_the_wish_is_the_same() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    for (verb, desired, command) in [
        ("connect", "connected", Command::Connect),
        ("reconnect", "connected", Command::Reconnect),
        ("disconnect", "disconnected", Command::Apply),
        ("connect", "connected", Command::Connect),
        ("connect", "connected", Command::Connect),
    ] {
        let answer = act(&node, verb, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["desired"], desired);
        assert_eq!(std::mem::take(&mut *node.steered.lock().unwrap()), [(AppId(1), command)], "{verb}");
        assert!(!answer.header(ETAG.as_str()).is_empty());
    }
}

#[actix_web::test]
async fn a_pause_is_stored_and_is_nothing_to_the_connection_and_a_put_without_it_resumes() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    for (verb, delivery) in [("pause", "paused"), ("pause", "paused"), ("resume", "active")] {
        let answer = act(&node, verb, "").await;
        assert_eq!((answer.status, &answer.json()["delivery"]), (StatusCode::OK, &json!(delivery)));
        assert_eq!(get(&node, ACME).await.json()["delivery"], delivery);
        assert!(!answer.header(ETAG.as_str()).is_empty());
    }
    assert_eq!(*node.steered.lock().unwrap(), []);
    assert_eq!(
        code(&act(&node, "pause", "?wait=1s").await),
        "invalid_request",
        "there is nothing to wait for"
    );
    let mut paused = full();
    paused["delivery"] = json!("paused");
    assert_eq!(put(&node, ACME, &paused).await.json()["delivery"], "paused");
    assert_eq!(put(&node, ACME, &full()).await.json()["delivery"], "active");
    for wrong in [json!("off"), json!(1)] {
        paused["delivery"] = wrong;
        assert_eq!(fields(&put(&node, ACME, &paused).await), ["delivery"]);
    }
    let null = send(&node, TestRequest::patch(), ACME, &json!({"delivery": null})).await;
    assert_eq!(fields(&null), ["delivery"]);
}

#[actix_web::test]
async fn a_removal_erases_payloads_where_it_says_so_and_is_written_down_with_it() {
    let node = FakeNode::real().await;
    let audit = async || {
        let entries = node.real_store().audit(&AuditFilter::default(), None, 1).await.unwrap();
        entries.into_iter().next().unwrap().deed.changes.0.get("purge").cloned()
    };
    for (query, purge) in
        [("", None), ("?purge=false", None), ("?purge=true", Some(json!({"from": false, "to": true})))]
    {
        put(&node, ACME, &full()).await;
        let answer = ask(&node, TestRequest::delete().uri(&format!("{ACME}{query}"))).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{query}: {}", answer.text());
        assert_eq!(audit().await, purge, "{query}");
    }
    put(&node, ACME, &full()).await;
    let answer = ask(&node, TestRequest::delete().uri(&format!("{ACME}?purge=yes"))).await;
    assert_eq!(code(&answer), "invalid_request");
    assert_eq!(get(&node, ACME).await.status, StatusCode::OK, "nothing was done");
}

#[actix_web::test]
async fn what_is_wanted_off_cannot_be_reconnected_and_what_is_not_there_cannot_be_anything() {
    let node = FakeNode::new();
    for verb in ["connect", "disconnect", "reconnect", "pause", "resume"] {
        assert_eq!(code(&act(&node, verb, "").await), "not_found");
    }
    put(&node, ACME, &json!({"app_token": APP_TOKEN, "desired": "disconnected"})).await;
    assert_eq!(code(&act(&node, "reconnect", "").await), "conflict");
    assert_eq!(*node.steered.lock().unwrap(), []);
}

#[actix_web::test]
async fn an_answer_that_waits_is_200_at_the_goal_or_failed_and_202_with_the_body_so_far() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    node.obeys.send_replace(Some(of_state(State::Connecting)));
    let answer = act(&node, "connect", "?wait=5ms").await;
    assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::ACCEPTED, &json!("connecting")));
    for state in [State::Ready, State::Failed] {
        node.obeys.send_replace(Some(of_state(state)));
        let answer = act(&node, "connect", "?wait=60s").await;
        assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::OK, &json!(state.as_str())));
    }
    node.obeys.send_replace(Some(of_state(State::Disconnected)));
    assert_eq!(act(&node, "disconnect", "?wait=60s").await.status, StatusCode::OK);
    // Nobody is there to obey.
    node.obeys.send_replace(None);
    assert_eq!(act(&node, "connect", "?wait=60s").await.status, StatusCode::ACCEPTED);
}

#[actix_web::test]
async fn put_post_and_patch_wait_too_and_a_new_workspace_is_201_when_it_is_there() {
    let node = FakeNode::new();
    node.obeys.send_replace(Some(of_state(State::Ready)));
    for (request, path, status) in [
        (TestRequest::put(), ACME, StatusCode::CREATED),
        (TestRequest::put(), ACME, StatusCode::OK),
        (TestRequest::patch(), ACME, StatusCode::OK),
        (TestRequest::post(), "/api/v1/workspaces", StatusCode::CREATED),
    ] {
        let answer = send(&node, request, &format!("{path}?wait=60s"), &full()).await;
        assert_eq!((answer.status, &answer.json()["state"]), (status, &json!("ready")), "{path}");
    }
    node.obeys.send_replace(Some(of_state(State::Connecting)));
    let answer = send(&node, TestRequest::post(), "/api/v1/workspaces?wait=1ms", &full()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(answer.header("location").starts_with("/api/v1/workspaces/ws_"));
}

#[actix_web::test]
async fn what_another_workspace_of_its_app_keeps_online_is_off_as_far_as_it_can_be() {
    let node = FakeNode::new();
    for id in ["acme", "acme-emea"] {
        put(&node, &format!("/api/v1/workspaces/{id}"), &full()).await;
    }
    node.obeys.send_replace(Some(of_state(State::Ready)));
    assert_eq!(act(&node, "disconnect", "?wait=60s").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_wait_that_is_not_understood_is_refused_before_anything_is_done() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    for (request, path) in [
        (TestRequest::put(), ACME),
        (TestRequest::patch(), ACME),
        (TestRequest::post(), "/api/v1/workspaces"),
        (TestRequest::post(), "/api/v1/workspaces/acme/disconnect"),
    ] {
        let body = json!({"app_token": APP_TOKEN, "desired": "disconnected"});
        let answer = send(&node, request, &format!("{path}?wait=61s"), &body).await;
        assert_eq!((answer.status, fields(&answer)), (StatusCode::BAD_REQUEST, vec!["wait".to_owned()]));
    }
    assert_eq!(get(&node, ACME).await.json()["desired"], "connected");
}

const AT: &str = "2026-11-22T20:00:00.000Z";

fn of_state(state: State) -> Status {
    Status { state, health: Health::Ok, ..Status::off(0) }
}

async fn act(node: &Arc<FakeNode>, verb: &str, query: &str) -> Answer {
    ask(node, TestRequest::post().uri(&format!("{ACME}/{verb}{query}"))).await
}

async fn send(node: &Arc<FakeNode>, request: TestRequest, path: &str, body: &Value) -> Answer {
    let request = request.uri(path).insert_header(("content-type", "application/json"));
    ask(node, request.set_payload(body.to_string())).await
}
