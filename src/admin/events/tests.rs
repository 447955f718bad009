use actix_web::http::header::AUTHORIZATION;
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use serde_json::json;

use super::super::testing::{AT, Scene, code};
use crate::moment;

#[actix_web::test]
async fn a_list_shows_what_became_of_each_event_and_never_its_payload() {
    let scene = Scene::of(5).await;
    let newest: Vec<_> = (0..5).rev().map(|nth| scene.event(nth)).collect();
    assert_eq!(scene.listed("/events", "id").await, newest);
    assert_eq!(scene.listed("/events?limit=2", "id").await, newest);
    assert_eq!(scene.listed("/events", "status").await, ["pending", "done", "waiting", "retrying", "dead"]);
    assert_eq!(scene.listed("/events?type=app_mention&workspace=acme", "id").await, [scene.event(1)]);
    assert_eq!(scene.listed("/events?workspace=globex", "id").await, [""; 0]);
    let from = "/events?since=2026-11-22T19:00:01Z&until=2026-11-22T19:00:03Z";
    assert_eq!(scene.listed(from, "id").await, [scene.event(2), scene.event(1)]);
    assert_eq!(scene.listed(&format!("/events?after={}", scene.event(3)), "id").await, [scene.event(4)]);
    let page = scene.ask(Method::GET, "/events", None).await;
    assert!(!page.text().contains("secret"), "{}", page.text());
    for query in ["kind=carrier_pigeon", "since=yesterday", "after=7", "app_id=%20", "colour=red"] {
        let refused = scene.ask(Method::GET, &format!("/events?{query}"), None).await;
        assert_eq!(code(&refused), "invalid_request", "{query}");
    }
}

#[actix_web::test]
async fn one_event_tells_how_it_stands_at_every_handler() {
    let scene = Scene::of(5).await;
    let dead = scene.get(&format!("/events/{}", scene.event(0))).await;
    assert_eq!((&dead["status"], &dead["workspace"]), (&json!("dead"), &json!("acme")));
    assert_eq!((&dead["seq"], &dead["payload_kept"]), (&json!(scene.seq(0).to_string()), &json!(true)));
    let deliveries = dead["deliveries"].as_array().unwrap();
    let shown: Vec<_> = deliveries.iter().map(|one| (&one["handler"], &one["status"])).collect();
    assert_eq!(shown, [(&json!("echo"), &json!("done")), (&json!("log"), &json!("dead"))]);
    assert_eq!((&deliveries[1]["last_error"], &deliveries[1]["attempts"]), (&json!("no answer"), &json!(3)));
    let in_hand = scene.get(&format!("/events/{}", scene.event(4))).await;
    let deliveries = in_hand["deliveries"].as_array().unwrap().iter();
    assert!(deliveries.into_iter().all(|one| one["status"] == "pending"), "{in_hand}");
    for id in ["evt_7", "evt_x", "7"] {
        let missing = scene.ask(Method::GET, &format!("/events/{id}"), None).await;
        assert_eq!(code(&missing), "not_found", "{id}");
    }
}

#[actix_web::test]
async fn a_handler_that_came_later_than_an_event_has_nothing_to_do_with_it() {
    let scene = Scene::of(5).await;
    let late = moment::parse(AT).unwrap() + 60_000;
    let late = scene.node.real_store().declare_handlers(&["late"], late).await.unwrap()[0].id;
    let done = scene.get(&format!("/events/{}", scene.event(3))).await;
    let handlers: Vec<_> = done["deliveries"].as_array().unwrap().iter().map(|one| &one["handler"]).collect();
    assert_eq!(handlers, ["echo", "log"]);
    let delivery = format!("/deliveries/dlv_{}-{late}-1", scene.seq(3));
    assert_eq!(code(&scene.ask(Method::GET, &delivery, None).await), "not_found");
}

#[actix_web::test]
async fn an_event_is_replayed_to_those_not_done_or_to_those_named() {
    let scene = Scene::of(5).await;
    let path = format!("/events/{}/replay", scene.event(0));
    let made = scene.post(&path, json!({})).await.json();
    assert_eq!(made["deliveries"], json!([{"id": scene.delivery(0, 2), "handler": "log"}]));
    let event = scene.get(&format!("/events/{}", scene.event(0))).await;
    assert_eq!(event["status"], "retrying");
    assert_eq!(event["deliveries"][1]["replaced_by"], json!(scene.delivery(0, 2)));
    let body = json!({"handlers": ["echo", "log"]});
    let again = scene.post(&path, body).await.json();
    assert_eq!((&again["deliveries"][0]["handler"], &again["under_way"]), (&json!("echo"), &json!(["log"])));
    let in_hand = format!("/events/{}/replay", scene.event(4));
    let in_hand = scene.post(&in_hand, json!({"handlers": ["echo"]})).await.json();
    assert_eq!((&in_hand["deliveries"], &in_hand["under_way"]), (&json!([]), &json!(["echo"])));
    scene.node.real_store().declare_handlers(&["of-another-node"], 1).await.unwrap();
    for (body, field) in [
        (json!({"handlers": ["nobody"]}), "handlers"),
        (json!({"handlers": ["of-another-node"]}), "handlers"),
        (json!({"handlers": []}), "handlers"),
        (json!({"to": "log"}), "to"),
    ] {
        assert_eq!(scene.refused(&path, body).await, field);
    }
    let audit = scene.get("/audit?action=event.replay").await;
    assert_eq!(audit["data"].as_array().unwrap().len(), 2);
    assert_eq!(audit["data"][1]["target"], json!(scene.event(0)));
}

#[actix_web::test]
async fn a_replay_of_many_is_counted_first_and_then_a_job() {
    let scene = Scene::of(5).await;
    let body = |dry_run| json!({"filter": {"workspace": "acme", "since": AT}, "handlers": ["echo"], "dry_run": dry_run});
    let counted = scene.post("/events/replay", body(true)).await.json();
    assert_eq!(
        counted,
        json!({"dry_run": true, "action": "replay", "matched": 4, "complete": true}),
        "the last is in memory"
    );
    assert_eq!(scene.listed("/deliveries?handler=echo", "id").await.len(), 0, "nothing is done yet");
    let begun = scene.post("/events/replay", body(false)).await;
    let job = scene.ended(&begun).await;
    assert_eq!((&job["state"], &job["kind"]), (&json!("done"), &json!("events.replay")));
    assert_eq!((&job["total"], &job["done"], &job["failed"]), (&json!(4), &json!(4), &json!(0)));
    assert_eq!(scene.listed("/deliveries?handler=echo&status=retrying", "id").await.len(), 4);
    let audit = scene.get("/audit?action=event.replay").await;
    assert_eq!(audit["data"][0]["target"], job["id"]);
    for (body, field) in [
        (json!({}), "filter"),
        (json!({"filter": {"color": "red"}}), "filter.color"),
        (json!({"filter": {"since": "now"}}), "filter.since"),
        (json!({"filter": {"workspace": ["a", "b"]}}), "filter.workspace"),
    ] {
        assert_eq!(scene.refused("/events/replay", body).await, field);
    }
}

#[actix_web::test]
async fn who_sees_one_label_sees_the_events_of_its_workspaces_and_begins_no_job() {
    let scene = Scene::of(5).await;
    let id = scene.event(0);
    for (scope, status, found) in [("tenant:42", StatusCode::OK, 5), ("tenant:43", StatusCode::NOT_FOUND, 0)]
    {
        let body = json!({"name": scope, "role": "operator", "scope": scope});
        let made = scene.post("/tokens", body).await.json();
        let token = made["token"].as_str().unwrap().to_owned();
        let asked = |method: Method, path: String| {
            let request = TestRequest::default().method(method).uri(&format!("/api/v1{path}"));
            (scene.api)(request.insert_header((AUTHORIZATION, format!("Bearer {token}"))))
        };
        let list = asked(Method::GET, "/events".to_owned()).await.json();
        assert_eq!(list["data"].as_array().unwrap().len(), found, "{scope}");
        assert_eq!(asked(Method::GET, format!("/events/{id}")).await.status, status, "{scope}");
        let delivery = scene.delivery(0, 1);
        assert_eq!(asked(Method::GET, format!("/deliveries/{delivery}")).await.status, status, "{scope}");
        let retry = asked(Method::POST, format!("/deliveries/{delivery}/retry")).await;
        assert_eq!(retry.status, status, "{scope}");
        let replay = TestRequest::post().uri(&format!("/api/v1/events/{id}/replay"));
        let replay = replay.insert_header((AUTHORIZATION, format!("Bearer {token}")));
        let replay = (scene.api)(replay.set_json(json!({"handlers": ["nobody"]}))).await;
        assert!(replay.status.is_client_error() && !replay.text().contains("echo"), "{}", replay.text());
        assert_eq!(replay.status == StatusCode::NOT_FOUND, found == 0, "{scope}");
        for path in ["/events/replay", "/deliveries/actions", "/handlers/log/pause"] {
            let refused = asked(Method::POST, path.to_owned()).await;
            assert_eq!(code(&refused), "forbidden", "{scope} {path}");
        }
    }
}
