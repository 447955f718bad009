//! Lists: pages, filters, sorts and cursors.

use std::sync::Arc;

use super::*;
use crate::store::DeliveryMode;

#[actix_web::test]
async fn a_list_goes_on_where_its_cursor_says_and_misses_nobody() {
    let node = FakeNode::new();
    let mut expected: Vec<_> = (0..5).map(|i| format!("w{i}")).collect();
    for id in &expected {
        put(&node, &format!("/api/v1/workspaces/{id}"), &full()).await;
    }
    let mut path = "/api/v1/workspaces?limit=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = get(&node, &path).await.json();
        let ids: Vec<_> = page["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        pages.push(ids.len());
        assert_eq!(ids, expected.drain(..ids.len()).collect::<Vec<_>>());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/workspaces?limit=2&cursor={cursor}");
    }
    assert_eq!(pages, [2, 2, 1]);
}

#[actix_web::test]
async fn a_list_has_50_unless_told_and_its_last_full_page_has_no_cursor() {
    let node = FakeNode::new();
    for i in 0..51 {
        put(&node, &format!("/api/v1/workspaces/w{i:02}"), &full()).await;
    }
    let page = get(&node, "/api/v1/workspaces").await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 50);
    assert!(page["next_cursor"].is_string());
    let page = get(&node, "/api/v1/workspaces?limit=51").await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 51);
    assert_eq!(page["next_cursor"], Value::Null);
}

#[actix_web::test]
async fn a_list_shows_those_that_every_kind_of_condition_admits() {
    let node = FakeNode::new();
    for (id, tenant, token) in [("acme", "42", 1), ("globex", "42", 2), ("initech", "7", 3)] {
        let body = json!({
            "app_token": format!("xapp-{token}"), "labels": {"tenant": tenant, "plan": "gold"}, "name": format!("The {id} Inc"),
        });
        put(&node, &format!("/api/v1/workspaces/{id}"), &body).await;
    }
    node.store.change("globex", |row| row.delivery = DeliveryMode::Paused);
    node.statuses.lock().unwrap().insert(AppId(1), reconnecting());
    for (query, ids) in [
        ("", &["acme", "globex", "initech"][..]),
        ("state=reconnecting", &["acme"]),
        ("state=reconnecting&state=disconnected&label=tenant:42", &["acme", "globex"]),
        ("health=down", &["acme", "globex", "initech"]),
        ("health=ok", &[]),
        ("delivery=paused", &["globex"]),
        ("delivery=paused&delivery=active", &["acme", "globex", "initech"]),
        ("warning=planned_refresh", &["acme"]),
        ("warning=silent", &[]),
        ("label=tenant:42", &["acme", "globex"]),
        ("label=tenant:42&label=plan:gold", &["acme", "globex"]),
        ("label=tenant:42&label=tenant:7", &[]),
        ("label=plan", &["acme", "globex", "initech"]),
        ("label=none", &[]),
        ("app_id=A0123", &["acme"]),
        ("team_id=T1", &[]),
        ("q=GLOB", &["globex"]),
        ("q=the%20in", &["initech"]),
        ("q=inc&q=acme", &["acme"]),
        ("sort=-id", &["initech", "globex", "acme"]),
        ("sort=-id&label=tenant:42", &["globex", "acme"]),
    ] {
        assert_eq!(ids_of(&node, query).await, ids, "{query}");
    }
}

#[actix_web::test]
async fn a_filtered_list_in_pages_misses_nobody_in_any_order() {
    let node = FakeNode::new();
    for i in 0..30 {
        let body = json!({"app_token": "xapp-1", "labels": {"odd": (i % 2).to_string()}});
        put(&node, &format!("/api/v1/workspaces/w{i:02}"), &body).await;
    }
    for sort in ["id", "-id", "created_at", "-created_at", "updated_at", "-updated_at"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/workspaces?limit=4&label=odd:1&sort={sort}{cursor}");
            let page = get(&node, &path).await.json();
            seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].clone()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let mut expected: Vec<_> = (0..15).map(|i| json!(format!("w{:02}", i * 2 + 1))).collect();
        if sort.starts_with('-') {
            expected.reverse();
        }
        assert_eq!(seen, expected, "{sort}");
    }
}

#[actix_web::test]
async fn a_page_examines_so_many_and_may_come_short_but_its_cursor_goes_on() {
    let node = FakeNode::new();
    for i in 0..4_001 {
        node.store.insert(&format!("w{i:04}"));
    }
    node.store.insert("x-marks-the-spot");
    let page = get(&node, "/api/v1/workspaces?q=spot").await.json();
    assert_eq!(page["data"], json!([]));
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = get(&node, &format!("/api/v1/workspaces?q=spot&cursor={cursor}")).await.json();
    assert_eq!(
        (page["data"][0]["id"].as_str(), &page["next_cursor"]),
        (Some("x-marks-the-spot"), &Value::Null)
    );
}

#[actix_web::test]
async fn a_cursor_is_good_for_its_own_filter_and_sort_alone() {
    let node = FakeNode::new();
    for i in 0..3 {
        put(&node, &format!("/api/v1/workspaces/w{i}"), &full()).await;
    }
    let page = get(&node, "/api/v1/workspaces?limit=1&label=tenant:42").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    for query in
        ["", "label=tenant:43", "label=tenant", "label=tenant:42&state=ready", "label=tenant:42&sort=-id"]
    {
        let answer = get(&node, &format!("/api/v1/workspaces?{query}&cursor={cursor}")).await;
        assert_eq!(
            (answer.status, fields(&answer)),
            (StatusCode::BAD_REQUEST, vec!["cursor".to_owned()]),
            "{query}"
        );
    }
    // Another size of page is no other list.
    let answer = get(&node, &format!("/api/v1/workspaces?label=tenant:42&limit=9&cursor={cursor}")).await;
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 2);
}

async fn ids_of(node: &Arc<FakeNode>, query: &str) -> Vec<String> {
    let page = get(node, &format!("/api/v1/workspaces?{query}")).await.json();
    page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}
