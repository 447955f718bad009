mod actions;
mod changes;
mod import;
mod list;
mod timeline;

use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::super::testing::{Answer, FakeNode, ask, code};
use super::super::{Counters, Node as _};
use crate::ids::{AppId, Generation};
use crate::status::{self, Health, LinkState, LinkStatus, State, Status};
use crate::store::StoreError;

const ACME: &str = "/api/v1/workspaces/acme";
const APP_TOKEN: &str = "xapp-1-A0123-456-deadbeefab12";
const BOT_TOKEN: &str = "xoxb-1234-5678-abcdef9f0e";

#[actix_web::test]
async fn a_workspace_put_for_the_first_time_is_created_and_its_app_is_looked_at() {
    let node = FakeNode::new();
    let answer = put(&node, ACME, &full()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("location"), ACME);
    assert_eq!(node.take_changed(), [AppId(1)]);
    let read = get(&node, ACME).await;
    assert_eq!(read.status, StatusCode::OK);
    assert_eq!(read.json(), answer.json());
}

#[actix_web::test]
async fn a_workspace_that_does_not_run_shows_all_that_is_stored_and_no_secret() {
    let node = FakeNode::new();
    let answer = put(&node, ACME, &full()).await;
    let at = "2026-11-22T20:00:00.000Z";
    let shown = json!({
        "id": "acme", "name": "Acme Inc", "app_id": null, "team_id": null, "enterprise_id": null,
        "labels": {"tenant": "42"}, "desired": "connected", "delivery": "active", "links": 2,
        "health": "down", "state": "disconnected", "since": at, "reason": null, "attempt": 0, "next_attempt_at": null,
        "sockets": [], "warnings": [], "counters": {"events": 0, "duplicates": 0, "acks": 0, "reconnects": 0},
        "last_event_at": null,
        "tokens": {"app": {"hint": "ab12", "updated_at": at}, "bot": {"hint": "9f0e", "updated_at": at}},
        "created_at": at, "updated_at": at,
    });
    assert_eq!(answer.json(), shown);
}

#[actix_web::test]
async fn a_running_workspace_shows_what_its_connection_says() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    *node.counters.lock().unwrap() =
        Counters { events: 5, duplicates: 1, acks: 6, reconnects: 2, last_event_ms: Some(1_000) };
    node.statuses.lock().unwrap().insert(AppId(1), reconnecting());
    let shown = get(&node, ACME).await.json();
    assert_eq!(shown["state"], "reconnecting");
    assert_eq!(shown["health"], "down");
    assert_eq!(shown["app_id"], "A0123");
    assert_eq!(shown["since"], "1970-01-01T00:00:02.000Z");
    assert_eq!(shown["attempt"], 3);
    assert_eq!(shown["next_attempt_at"], "1970-01-01T00:00:05.500Z");
    assert_eq!(shown["last_event_at"], "1970-01-01T00:00:01.000Z");
    assert_eq!(shown["counters"], json!({"events": 5, "duplicates": 1, "acks": 6, "reconnects": 2}));
    assert_eq!(shown["warnings"], json!(["planned_refresh"]));
    let reason = json!({
        "code": "invalid_auth", "source": "slack", "actor": "customer",
        "message": status::Code::InvalidAuth.message(), "action": status::Code::InvalidAuth.action(),
    });
    assert_eq!(shown["reason"], reason);
    let opened = "1970-01-01T00:00:04.000Z";
    let socket = json!({
        "generation": 7, "state": "draining", "host": "applink-3", "opened_at": opened, "num_connections": 1, "pong_ms": 12,
    });
    assert_eq!(shown["sockets"], json!([socket]));
}

#[actix_web::test]
async fn what_slack_says_of_a_workspace_overrides_that_its_connection_is_ready() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let ready = Status { state: State::Ready, health: Health::Ok, ..Status::off(2_000) };
    node.statuses.lock().unwrap().insert(AppId(1), ready);
    let now = node.now_ms();
    node.store.change("acme", |row| row.limited_until_ms = Some(now + 1));
    let shown = get(&node, ACME).await.json();
    let told =
        |shown: &Value| json!([shown["state"], shown["health"], shown["reason"]["code"], shown["warnings"]]);
    assert_eq!(told(&shown), json!(["ready", "degraded", "app_rate_limited", ["app_rate_limited"]]));
    node.store.change("acme", |row| row.limited_until_ms = Some(now));
    assert_eq!(told(&get(&node, ACME).await.json()), json!(["ready", "ok", null, []]));

    let trouble = status::Trouble { code: status::Code::AppUninstalled, since_ms: 1_000 };
    node.store.change("acme", |row| row.trouble = Some(trouble));
    let failed = json!(["failed", "down", "app_uninstalled", []]);
    let shown = get(&node, ACME).await.json();
    assert_eq!((told(&shown), &shown["since"]), (failed.clone(), &json!("1970-01-01T00:00:01.000Z")));
    let listed = get(&node, "/api/v1/workspaces").await.json();
    assert_eq!(told(&listed["data"][0]), failed);
}

#[actix_web::test]
async fn the_same_body_again_changes_nothing_and_has_its_app_looked_at_for_the_first_may_have_gone_unheard() {
    let node = FakeNode::new();
    let first = put(&node, ACME, &full()).await;
    node.take_changed();
    let again = put(&node, ACME, &full()).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json(), first.json());
    assert_eq!(node.take_changed(), [AppId(1)]);
}

#[actix_web::test]
async fn a_change_whose_outcome_is_not_known_has_its_app_looked_at() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let lines = json!({"id": "acme", "links": 2}).to_string();
    let import = TestRequest::post()
        .uri("/api/v1/workspaces/import")
        .insert_header(("content-type", "application/jsonl"))
        .set_payload(lines);
    for (request, status) in [
        (json_put(ACME, json!({"links": 2}).to_string()), 503),
        (TestRequest::patch().uri(ACME).set_json(json!({"links": 2})), 503),
        (TestRequest::delete().uri(ACME), 503),
        (import, 200),
    ] {
        node.take_changed();
        node.store.fail_next(StoreError::Unavailable("no answer to the commit".to_owned()));
        assert_eq!(ask(&node, request).await.status, status);
        assert_eq!(node.take_changed(), [AppId(1)]);
    }
}

#[actix_web::test]
async fn an_absent_secret_is_kept_and_null_removes_it() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let kept = put(&node, ACME, &json!({"name": "Acme"})).await.json();
    assert_eq!(kept["tokens"]["app"]["hint"], "ab12");
    assert_eq!(kept["tokens"]["bot"]["hint"], "9f0e");
    let removed = put(&node, ACME, &json!({"bot_token": null})).await.json();
    assert_eq!(removed["tokens"]["app"]["hint"], "ab12");
    assert_eq!(removed["tokens"]["bot"], Value::Null);
}

#[actix_web::test]
async fn what_is_absent_and_no_secret_takes_its_default() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let shown = put(&node, ACME, &json!({"labels": null})).await.json();
    assert_eq!(shown["name"], Value::Null);
    assert_eq!(shown["labels"], json!({}));
    assert_eq!(shown["links"], 3, "the node's own default");
    assert_eq!(shown["desired"], "connected");
}

#[actix_web::test]
async fn a_workspace_that_moves_to_another_app_has_both_apps_looked_at() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    node.take_changed();
    let answer = put(&node, ACME, &json!({"app_token": "xapp-1-A0999-1-another-one-0"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(node.take_changed(), [AppId(2), AppId(1)]);
}

#[actix_web::test]
async fn a_workspace_wanted_off_that_does_not_run_is_off_not_down() {
    let body = json!({"app_token": APP_TOKEN, "desired": "disconnected"});
    assert_eq!(put(&FakeNode::new(), ACME, &body).await.json()["health"], "off");
}

#[actix_web::test]
async fn a_removed_workspace_is_gone_and_its_app_is_looked_at() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    node.take_changed();
    assert_eq!(ask(&node, TestRequest::delete().uri(ACME)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(node.take_changed(), [AppId(1)]);
    for request in [TestRequest::get(), TestRequest::delete()] {
        let answer = ask(&node, request.uri(ACME)).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::NOT_FOUND, "not_found"));
    }
    assert_eq!(node.take_changed(), []);
}

#[actix_web::test]
async fn a_new_workspace_without_an_app_token_is_refused() {
    for body in [json!({"name": "Acme"}), json!({"app_token": null})] {
        let node = FakeNode::new();
        let answer = put(&node, ACME, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(fields(&answer), ["app_token"]);
        assert_eq!(get(&node, ACME).await.status, StatusCode::NOT_FOUND);
    }
}

#[actix_web::test]
async fn every_field_that_is_wrong_is_named_and_nothing_changes() {
    let labels = |n: usize| (0..n).map(|i| (format!("k{i}"), json!("v"))).collect::<Value>();
    for (field, value) in [
        ("name", json!(7)),
        ("name", json!("x".repeat(256))),
        ("name", json!("a\u{0}b")),
        ("app_token", json!(7)),
        ("app_token", json!("")),
        ("bot_token", json!(["a"])),
        ("links", json!(0)),
        ("links", json!(10)),
        ("links", json!(1.5)),
        ("links", json!("1")),
        ("desired", json!("on")),
        ("labels", json!("tenant:42")),
        ("labels", json!({"tenant": 42})),
        ("labels", json!({"": "v"})),
        ("labels", json!({"a:b": "v"})),
        ("labels", json!({"k".repeat(64): "v"})),
        ("labels", json!({"k": "v".repeat(256)})),
        ("labels", json!({"k": "v\n"})),
        ("labels", labels(33)),
        ("signing_secret", json!("later")),
        ("id", json!("acme")),
    ] {
        let node = FakeNode::new();
        let mut body = full();
        body[field] = value;
        let answer = put(&node, ACME, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", body[field]);
        assert_eq!(code(&answer), "invalid_fields");
        assert_eq!(fields(&answer), [field], "{}", body[field]);
        assert_eq!(get(&node, ACME).await.status, StatusCode::NOT_FOUND);
        assert_eq!(node.take_changed(), []);
    }
}

#[actix_web::test]
async fn several_wrong_fields_are_told_at_once() {
    let body = json!({"app_token": APP_TOKEN, "links": 99, "desired": 1, "colour": "red"});
    assert_eq!(fields(&put(&FakeNode::new(), ACME, &body).await), ["desired", "links", "colour"]);
}

#[actix_web::test]
async fn the_largest_labels_are_taken() {
    let labels: Value = (0..32).map(|i| (format!("{i:063}"), json!("é".repeat(255)))).collect();
    let body = json!({"app_token": APP_TOKEN, "labels": labels});
    assert_eq!(put(&FakeNode::new(), ACME, &body).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_token_of_the_wrong_kind_is_told_so_without_being_repeated() {
    for (body, field, says) in [
        (json!({"app_token": BOT_TOKEN}), "app_token", "starts with 'xapp-'"),
        (json!({"app_token": APP_TOKEN, "bot_token": APP_TOKEN}), "bot_token", "starts with 'xoxb-'"),
        (json!({"app_token": format!("{APP_TOKEN}\n")}), "app_token", "line breaks"),
    ] {
        let answer = put(&FakeNode::new(), ACME, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(fields(&answer), [field]);
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{}", answer.text());
        assert_hides_tokens(&answer);
    }
}

#[actix_web::test]
async fn no_error_repeats_what_was_sent() {
    for body in [
        format!(r#"{{"app_token": "{APP_TOKEN}" oops"#),
        format!(r#"{{"app_token": "{APP_TOKEN}"#),
        format!(r#"{{"{APP_TOKEN}": 1}}"#),
        format!(r#"{{"links": "{APP_TOKEN}", "desired": "{BOT_TOKEN}", "labels": "{APP_TOKEN}"}}"#),
        format!(r#"{{"labels": {{"{APP_TOKEN} {BOT_TOKEN}": "x"}}}}"#),
        format!(r#""{APP_TOKEN}""#),
    ] {
        let answer = ask(&FakeNode::new(), json_put(ACME, body.clone())).await;
        assert!(answer.status.is_client_error(), "{body}");
        assert_hides_tokens(&answer);
    }
}

#[actix_web::test]
async fn malformed_json_is_told_where_it_is_malformed() {
    let answer = ask(&FakeNode::new(), json_put(ACME, "{\n  \"name\": oops}")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::BAD_REQUEST, "malformed_json"));
    assert!(answer.text().contains("line 2, column 11"), "{}", answer.text());
    for body in [String::new(), "[".repeat(10_000), "\u{0}".to_owned()] {
        let answer = ask(&FakeNode::new(), json_put(ACME, body)).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::BAD_REQUEST, "malformed_json"));
    }
    let answer = ask(&FakeNode::new(), json_put(ACME, "[]")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::BAD_REQUEST, "invalid_request"));
}

#[actix_web::test]
async fn a_name_that_comes_twice_in_a_body_is_named_and_neither_is_taken() {
    for (body, named) in [
        (r#"{"app_token": "xapp-1-deadbeef", "links": 1, "links": 2}"#, "links"),
        (r#"{"app_token": "xapp-1-deadbeef", "labels": {"tier": "gold", "tier": "lead"}}"#, "tier"),
        (r#"{"xapp-1-deadbeef": 1, "xapp-1-deadbeef": 1}"#, "(a name that is no identifier)"),
    ] {
        let answer = ask(&FakeNode::new(), json_put(ACME, body)).await;
        assert_eq!((code(&answer).as_str(), fields(&answer)), ("invalid_fields", vec![named.to_owned()]));
        assert_hides_tokens(&answer);
    }
}

#[actix_web::test]
async fn a_body_over_64_kib_is_refused() {
    let of_size = |size: usize| {
        let frame = json!({"app_token": APP_TOKEN}).to_string();
        frame.clone() + &" ".repeat(size - frame.len())
    };
    let fits = ask(&FakeNode::new(), json_put(ACME, of_size(64 * 1024))).await;
    assert_eq!(fits.status, StatusCode::CREATED);
    let answer = ask(&FakeNode::new(), json_put(ACME, of_size(64 * 1024 + 1))).await;
    assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
}

#[actix_web::test]
async fn a_body_that_does_not_say_it_is_json_is_refused() {
    for given in
        [None, Some("application/x-www-form-urlencoded"), Some("text/plain"), Some("application/jsonx")]
    {
        let mut request = TestRequest::put().uri(ACME).set_payload(full().to_string());
        if let Some(given) = given {
            request = request.insert_header(("content-type", given));
        }
        let answer = ask(&FakeNode::new(), request).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{given:?}");
        assert_eq!(code(&answer), "unsupported_media_type");
    }
    let request =
        TestRequest::put().uri(ACME).insert_header(("content-type", "Application/JSON; charset=utf-8"));
    assert_eq!(
        ask(&FakeNode::new(), request.set_payload(full().to_string())).await.status,
        StatusCode::CREATED
    );
}

#[actix_web::test]
async fn an_id_is_judged_after_percent_decoding() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    assert_eq!(get(&node, "/api/v1/workspaces/%61cme").await.status, StatusCode::OK);
    for id in [
        "%00",
        "a%00",
        "a%2Fb",
        "..%2Facme",
        "a%252Fb",
        "..",
        ".",
        "%2e%2e",
        "a%20b",
        "a%0Ab",
        "%ff",
        "%C3%A9",
        "-a",
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request =
                json_put(&format!("/api/v1/workspaces/{id}"), full().to_string()).method(method.clone());
            let answer = ask(&node, request).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {id}");
            assert_eq!(fields(&answer), ["id"], "{id}");
        }
    }
    let long = format!("/api/v1/workspaces/{}", "x".repeat(129));
    assert_eq!(get(&node, &long).await.status, StatusCode::BAD_REQUEST);
    for path in
        ["/api/v1/workspaces/", "/api/v1/workspaces/acme/", "/api/v1/workspaces/a/b", "/api/v1//workspaces"]
    {
        let answer = get(&node, path).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
    }
}

#[actix_web::test]
async fn a_query_that_is_not_understood_is_refused_with_the_parameter_named() {
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("cursor=", "cursor"),
        ("cursor=!!", "cursor"),
        ("cursor=YWNtZQ", "cursor"),
        ("cursor=%00", "cursor"),
        ("state=broken", "state"),
        ("health=fine", "health"),
        ("warning=ouch", "warning"),
        ("label=", "label"),
        ("label=:42", "label"),
        ("app_id=A-1", "app_id"),
        ("team_id=", "team_id"),
        ("q=", "q"),
        ("sort=name", "sort"),
        ("colour=red", "colour"),
    ] {
        let answer = get(&FakeNode::new(), &format!("/api/v1/workspaces?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(code(&answer), "invalid_request");
        assert_eq!(fields(&answer), [field]);
    }
}

#[actix_web::test]
async fn a_method_that_a_path_does_not_know_gets_a_405_with_those_it_knows() {
    for (path, allowed) in [
        ("/livez", "GET"),
        ("/readyz", "GET"),
        ("/metrics", "GET"),
        ("/api/v1/workspaces", "GET, POST"),
        (ACME, "GET, PUT, PATCH, DELETE"),
        ("/api/v1/workspaces/acme/connect", "POST"),
    ] {
        let answer = ask(&FakeNode::new(), TestRequest::default().method(Method::TRACE).uri(path)).await;
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
        );
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
}

#[actix_web::test]
async fn a_head_request_is_answered_as_a_get_is() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    for path in ["/livez", "/readyz", "/metrics", "/api/v1/workspaces", ACME] {
        let answer = ask(&node, TestRequest::default().method(Method::HEAD).uri(path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn a_path_where_nothing_is_gets_a_404_problem() {
    for path in
        ["/", "/nowhere", "/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/livez/", "/metrics/x", "/%00"]
    {
        let answer = get(&FakeNode::new(), path).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
    }
}

#[actix_web::test]
async fn a_database_that_is_away_is_a_503_that_names_no_host() {
    let node = FakeNode::new();
    node.store.break_down();
    for request in [
        TestRequest::get().uri("/api/v1/workspaces"),
        TestRequest::get().uri(ACME),
        TestRequest::delete().uri(ACME),
        json_put(ACME, full().to_string()),
    ] {
        let answer = ask(&node, request).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(code(&answer), "store_unavailable");
        assert_eq!(answer.header("retry-after"), "5");
        assert!(!answer.text().contains("db-7"), "{}", answer.text());
    }
    assert_eq!(node.take_changed(), []);
}

#[actix_web::test]
async fn what_the_store_refuses_is_told_as_what_it_is() {
    let sealed = StoreError::Sealed { what: "the app token of 'acme'".to_owned(), key_id: "k1".to_owned() };
    for (error, status, named, says) in [
        (StoreError::Conflict("team T1 is taken by 'acme'".to_owned()), 409, "conflict", "team T1 is taken"),
        (StoreError::Data("invalid byte".to_owned()), 422, "invalid_fields", "refuses the data"),
        (
            StoreError::Setup("wrong version".to_owned()),
            503,
            "store_unavailable",
            "send the same request again",
        ),
        (sealed, 500, "token_unreadable", "sealed with key k1"),
    ] {
        let node = FakeNode::new();
        node.store.fail_next(error);
        let answer = put(&node, ACME, &full()).await;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, named));
        assert!(answer.text().contains(says), "{}", answer.text());
        assert_eq!(node.take_changed(), []);
    }
}

fn full() -> Value {
    json!({
        "name": "Acme Inc", "app_token": APP_TOKEN, "bot_token": BOT_TOKEN,
        "labels": {"tenant": "42"}, "links": 2, "desired": "connected",
    })
}

fn reconnecting() -> Status {
    let link = LinkStatus {
        generation: Generation(7),
        state: LinkState::Draining,
        opened_ms: Some(4_000),
        host: Some("applink-3".into()),
        num_connections: Some(1),
        pong_ms: Some(12),
    };
    Status {
        state: State::Reconnecting,
        health: Health::Down,
        since_ms: 2_000,
        reason: Some(status::Code::InvalidAuth.into()),
        attempt: 3,
        next_attempt_ms: Some(5_500),
        links: vec![link],
        warnings: vec![status::Code::PlannedRefresh],
        slack_app_id: Some("A0123".into()),
        marks: Vec::new(),
    }
}

async fn get(node: &std::sync::Arc<FakeNode>, path: &str) -> Answer {
    ask(node, TestRequest::get().uri(path)).await
}

async fn put(node: &std::sync::Arc<FakeNode>, path: &str, body: &Value) -> Answer {
    ask(node, json_put(path, body.to_string())).await
}

fn json_put(path: &str, body: impl Into<String>) -> TestRequest {
    let request = TestRequest::put().uri(path).insert_header(("content-type", "application/json"));
    request.set_payload(body.into())
}

/// The fields that a problem names.
fn fields(answer: &Answer) -> Vec<String> {
    let problem = answer.json();
    let errors = problem["errors"].as_array().unwrap().iter();
    errors.map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

fn assert_hides_tokens(answer: &Answer) {
    for secret in ["deadbeef", "abcdef", "xapp-1", "xoxb-1"] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
}
