use actix_web::http::{Method, StatusCode};
use serde_json::json;

use super::super::testing::{Scene, code};

#[actix_web::test]
async fn what_is_stuck_is_listed_with_why_and_what_comes_next() {
    let scene = Scene::of(5).await;
    let all = [2, 1, 0].map(|nth| scene.delivery(nth, 1));
    assert_eq!(scene.listed("/deliveries", "id").await, all);
    assert_eq!(scene.listed("/deliveries?limit=1", "id").await, all);
    let stuck = "/deliveries?status=dead&status=retrying&workspace=acme&handler=log";
    assert_eq!(scene.listed(stuck, "id").await, all[1..]);
    let page = scene.get("/deliveries?status=retrying").await;
    let shown = &page["data"][0];
    assert_eq!(
        (&shown["next_attempt_at"], &shown["last_error"]),
        (&json!("2026-11-22T20:01:00.000Z"), &json!("no answer"))
    );
    assert_eq!((&shown["type"], &shown["event"]), (&json!("app_mention"), &json!(scene.event(1))));
    assert_eq!(scene.get(&format!("/deliveries/{}", all[1])).await, *shown);
    for query in ["status=odd", "handler=", "since=1", "color=red"] {
        let refused = scene.ask(Method::GET, &format!("/deliveries?{query}"), None).await;
        assert_eq!(code(&refused), "invalid_request", "{query}");
    }
}

#[actix_web::test]
async fn one_without_a_row_is_done_or_in_hand_and_there_is_none_of_an_event_that_is_not() {
    let scene = Scene::of(5).await;
    for (nth, status) in [(3, "done"), (4, "pending")] {
        let shown = scene.get(&format!("/deliveries/{}", scene.delivery(nth, 1))).await;
        assert_eq!((&shown["status"], &shown["handler"]), (&json!(status), &json!("log")));
    }
    let route = json!({"handler": "log"});
    scene.ask(Method::PUT, "/routes/billing", Some(route)).await;
    let done = scene.ask(Method::GET, &format!("/deliveries/{}", scene.delivery(3, 1)), None).await;
    assert_eq!(code(&done), "not_found", "with routes it may have had nothing to do with it");
    for id in [scene.delivery(3, 2), "dlv_7-1-1".to_owned(), "dlv_7-1".to_owned(), "dlv_7-1-1-1".to_owned()] {
        let missing = scene.ask(Method::GET, &format!("/deliveries/{id}"), None).await;
        assert_eq!(code(&missing), "not_found", "{id}");
    }
}

#[actix_web::test]
async fn a_dead_one_is_tried_anew_and_one_that_waits_is_given_up() {
    let scene = Scene::of(5).await;
    let retry = format!("/deliveries/{}/retry", scene.delivery(0, 1));
    let now = scene.ask(Method::POST, &retry, None).await.json();
    assert_eq!((&now["status"], &now["attempts"]), (&json!("retrying"), &json!(0)));
    assert_eq!(now["next_attempt_at"], "2026-11-22T20:00:00.000Z", "now");
    let waiting = scene.delivery(2, 1);
    let refused = scene.ask(Method::POST, &format!("/deliveries/{waiting}/retry"), None).await;
    assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::CONFLICT, "conflict"));
    let now = scene.ask(Method::POST, &format!("/deliveries/{waiting}/discard"), None).await.json();
    assert_eq!(now["status"], "cancelled");
    let done = scene.ask(Method::POST, &format!("/deliveries/{}/retry", scene.delivery(3, 1)), None).await;
    assert_eq!(code(&done), "not_found", "what is done has nothing to be changed");
    let audit = scene.get("/audit?action=delivery.discard").await;
    assert_eq!(audit["data"][0]["changes"], json!({"status": {"from": "waiting", "to": "cancelled"}}));
    assert_eq!(audit["data"][0]["workspace"], "acme");
}

#[actix_web::test]
async fn all_that_a_filter_means_is_counted_first_and_then_retried_as_a_job() {
    let scene = Scene::of(5).await;
    let body = |dry_run| {
        let filter = json!({"status": "dead", "workspace": "acme", "since": "2026-11-22T19:00:00Z"});
        json!({"action": "retry", "filter": filter, "dry_run": dry_run})
    };
    let counted = scene.post("/deliveries/actions", body(true)).await.json();
    assert_eq!(counted, json!({"dry_run": true, "action": "retry", "matched": 1, "complete": true}));
    let begun = scene.post("/deliveries/actions", body(false)).await;
    let job = scene.ended(&begun).await;
    assert_eq!((&job["total"], &job["done"]), (&json!(1), &json!(1)));
    assert_eq!(scene.listed("/deliveries?status=dead", "id").await.len(), 0);
    let discard = json!({"action": "discard", "filter": {}});
    let job = scene.ended(&scene.post("/deliveries/actions", discard).await).await;
    assert_eq!((&job["kind"], &job["done"]), (&json!("deliveries.discard"), &json!(3)));
    for (body, field) in [
        (json!({"filter": {}}), "action"),
        (json!({"action": "bury", "filter": {}}), "action"),
        (json!({"action": "retry"}), "filter"),
        (json!({"action": "retry", "filter": {"status": ["odd"]}}), "filter.status"),
    ] {
        assert_eq!(scene.refused("/deliveries/actions", body).await, field);
    }
}

#[actix_web::test]
async fn a_handler_shows_what_weighs_on_it_and_is_paused_and_resumed() {
    let scene = Scene::of(5).await;
    let list = scene.get("/handlers").await;
    let log = &list["data"][1];
    assert_eq!((&log["id"], &log["waiting"], &log["retrying"]), (&json!("log"), &json!(1), &json!(1)));
    assert_eq!((&log["dead"], &log["oldest"]), (&json!(1), &json!(scene.event(1))));
    assert_eq!(log["oldest_ms"], 3_599_000);
    let options = json!({"concurrency": 64, "within_ms": 30_000, "order": "none", "hold_ms": 60_000, "answers": false,
        "retry": {"first_ms": 1000, "most_ms": 600_000, "attempts": 30}});
    assert_eq!((&log["present"], &log["options"]), (&json!(true), &options));
    let unknown = list["data"].as_array().unwrap().iter().find(|one| one["id"] == "bridge").unwrap();
    assert_eq!((&unknown["options"]["answers"], &unknown["waiting"]), (&json!(true), &json!(0)), "not yet");
    let paused = scene.ask(Method::POST, "/handlers/log/pause", None).await.json();
    assert_eq!((&paused["paused"], &paused["paused_at"]), (&json!(true), &json!("2026-11-22T20:00:00.000Z")));
    let resumed = scene.ask(Method::POST, "/handlers/log/resume", None).await.json();
    assert_eq!((&resumed["paused"], &resumed["paused_at"]), (&json!(false), &json!(null)));
    for name in ["nobody", "a%00b", "%0A", "%7F"] {
        let missing = scene.ask(Method::POST, &format!("/handlers/{name}/pause"), None).await;
        assert_eq!(code(&missing), "not_found", "{name}");
    }
}

#[actix_web::test]
async fn what_this_node_has_no_handler_for_is_not_tried_again() {
    let scene = Scene::with(5, "of-another-node").await;
    let list = scene.get("/handlers").await;
    let other = list["data"].as_array().unwrap().iter().find(|one| one["id"] == "of-another-node").unwrap();
    assert_eq!((&other["present"], &other["options"]), (&json!(false), &json!(null)));
    let refused = scene.ask(Method::POST, &format!("/deliveries/{}/retry", scene.delivery(0, 1)), None).await;
    assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::CONFLICT, "conflict"));
    let body = json!({"action": "retry", "filter": {}, "dry_run": true});
    let counted = scene.post("/deliveries/actions", body).await.json();
    assert_eq!(counted["matched"], 0);
    let body = json!({"action": "discard", "filter": {}, "dry_run": true});
    let counted = scene.post("/deliveries/actions", body).await.json();
    assert_eq!(counted["matched"], 3, "given up it can be");
}
