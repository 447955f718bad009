//! Many workspaces at once, and what is refused of them.

use std::sync::Arc;

use super::*;

#[actix_web::test]
async fn json_lines_and_csv_bring_the_same_workspaces_and_the_same_again_changes_nothing() {
    let lines = format!(
        "{}\n\n{}\r\n",
        json!({"id": "acme", "name": "Acme, \"Inc\"", "app_token": "xapp-1", "labels": {"tenant": "42"}, "links": 2}),
        json!({"id": "globex", "app_token": "xapp-2", "desired": "disconnected"}),
    );
    let table = "\u{feff}id,name,app_token,links,desired,label.tenant\r\n\
                 acme,\"Acme, \"\"Inc\"\"\",xapp-1,2,,42\r\nglobex,,xapp-2,,disconnected,\r\n";
    let (node, other) = (FakeNode::new(), FakeNode::new());
    let told = import(&node, "application/jsonl", &lines).await.json();
    assert_eq!((&told["created"], &told["refused"]), (&json!(2), &json!(0)), "{told}");
    assert_eq!(node.take_changed(), [AppId(1), AppId(2)]);
    let told = import(&other, "text/csv; charset=utf-8", table).await.json();
    assert_eq!((&told["created"], &told["refused"]), (&json!(2), &json!(0)), "{told}");
    let list = async |node| get(node, "/api/v1/workspaces").await.json();
    assert_eq!(list(&node).await, list(&other).await);
    assert_eq!(get(&node, ACME).await.json()["name"], "Acme, \"Inc\"");
    let told = import(&node, "application/x-ndjson", &lines).await.json();
    assert_eq!((&told["unchanged"], &told["created"]), (&json!(2), &json!(0)));
    assert_eq!(node.take_changed(), [AppId(1), AppId(2)], "the first may have gone unheard");
}

#[actix_web::test]
async fn each_line_has_a_result_of_its_own_and_a_wrong_one_stops_no_other() {
    let node = FakeNode::new();
    let lines = [
        json!({"id": "a", "app_token": "xapp-1"}).to_string(),
        json!({"id": "b", "app_token": "xoxb-secret-deadbeef", "links": 99}).to_string(),
        "{oops xapp-1-deadbeef".to_owned(),
        json!({"app_token": "xapp-2"}).to_string(),
        json!({"id": "a/b", "app_token": "xapp-2"}).to_string(),
        json!({"id": "check", "app_token": "xapp-2"}).to_string(),
        json!({"id": "a", "app_token": "xapp-3"}).to_string(),
        json!({"id": "c"}).to_string(),
        json!({"id": "d", "app_token": "xapp-4"}).to_string(),
    ];
    let answer = import(&node, "application/jsonl", &lines.join("\n")).await;
    assert_hides_tokens(&answer);
    let told = answer.json();
    let outcomes: Vec<_> = told["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let fields =
                line["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap());
            (line["line"].as_u64().unwrap(), line["outcome"].as_str().unwrap(), fields.collect::<Vec<_>>())
        })
        .collect();
    let refused = |line, fields: &[&'static str]| (line, "refused", fields.to_vec());
    let expected = [
        (1, "created", vec![]),
        refused(2, &["links", "app_token"]),
        refused(3, &[]),
        refused(4, &["id"]),
        refused(5, &["id"]),
        refused(6, &["id"]),
        refused(7, &["id"]),
        refused(8, &["app_token"]),
        (9, "created", vec![]),
    ];
    assert_eq!(outcomes, expected, "{told}");
    assert_eq!(told["lines"][2]["code"], "malformed_json");
    assert_eq!((&told["created"], &told["refused"]), (&json!(2), &json!(7)));
}

#[actix_web::test]
async fn a_dry_run_tells_the_same_and_stores_nothing() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    node.take_changed();
    let table = "id,app_token\nacme,xapp-9\nnew,xapp-1\nbad,xoxb-1\nshort\n";
    let told = post(&node, "?dry_run=true", "text/csv", table).await.json();
    let counts = ["created", "updated", "refused"].map(|count| told[count].as_u64().unwrap());
    assert_eq!((counts, &told["dry_run"]), ([1, 1, 2], &json!(true)), "{told}");
    assert_eq!(get(&node, "/api/v1/workspaces/new").await.status, StatusCode::NOT_FOUND);
    assert_eq!(node.take_changed(), []);
}

#[actix_web::test]
async fn what_is_no_list_of_workspaces_is_refused_as_a_whole() {
    let node = FakeNode::new();
    let many = "{\"id\":\"a\",\"app_token\":\"xapp-1\"}\n".repeat(1001);
    for (kind, body, named) in [
        ("application/json", "{}", "unsupported_media_type"),
        ("text/csv", "", "invalid_request"),
        ("text/csv", "id,app_token\n", "invalid_request"),
        ("text/csv", "id,token\na,xapp-1\n", "invalid_request"),
        ("text/csv", "id,id,app_token\na,b,xapp-1\n", "invalid_request"),
        ("text/csv", "id,label.a:b\na,b\n", "invalid_request"),
        ("application/jsonl", " \n\n", "invalid_request"),
        ("application/jsonl", &many, "body_too_large"),
    ] {
        assert_eq!(code(&import(&node, kind, body).await), named, "{kind}");
    }
    assert_eq!(code(&post(&node, "?dry_run=maybe", "text/csv", "id\na\n").await), "invalid_request");
    assert_eq!(get(&node, "/api/v1/workspaces").await.json()["data"], json!([]));
}

#[actix_web::test]
async fn once_the_database_is_away_the_rest_is_not_tried() {
    let node = FakeNode::new();
    node.store.fail_next(StoreError::Unavailable("away".to_owned()));
    let table = "id,app_token\na,xapp-1\nb,xapp-2\n";
    let told = import(&node, "text/csv", table).await.json();
    assert_eq!(told["refused"], 2);
    assert_eq!(told["lines"][1]["code"], "store_unavailable");
    assert_eq!(get(&node, "/api/v1/workspaces").await.json()["data"], json!([]));
}

async fn import(node: &Arc<FakeNode>, kind: &str, body: &str) -> Answer {
    post(node, "", kind, body).await
}

async fn post(node: &Arc<FakeNode>, query: &str, kind: &str, body: &str) -> Answer {
    let path = format!("/api/v1/workspaces/import{query}");
    let request = TestRequest::post().uri(&path).insert_header(("content-type", kind));
    ask(node, request.set_payload(body.to_owned())).await
}
