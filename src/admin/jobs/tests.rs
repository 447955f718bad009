use actix_web::http::{Method, StatusCode};

use super::super::testing::{Scene, code};
use super::*;

#[actix_web::test]
async fn who_ends_a_job_is_written_down() {
    let scene = Scene::of(5).await;
    for nth in 2..40 {
        let spec = json!({ "app_token": format!("xapp-1-A{nth}-1-0123456789abcdef") });
        scene.ask(Method::PUT, &format!("/workspaces/w{nth}"), Some(spec)).await;
    }
    let body = json!({"action": "disconnect", "filter": {}});
    let begun = scene.post("/workspaces/actions", body).await;
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let cancelled = scene.ask(Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text());
    assert_eq!(scene.ended(&begun).await["state"], "cancelled");
    let again = scene.ask(Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    assert_eq!(again.json()["state"], "cancelled");
    let audit = scene.get("/audit?action=job.cancel").await;
    assert_eq!(audit["data"].as_array().unwrap().len(), 1, "one that has ended is not ended: {audit}");
    assert_eq!(audit["data"][0]["target"], json!(id));
}

#[test]
fn a_job_whose_request_was_broken_off_before_it_was_started_never_was() {
    let jobs = Jobs::default();
    for _ in 0..=RUNNING {
        drop(jobs.begin("events.replay", 0, 1).unwrap());
    }
    assert_eq!(lock(&jobs.jobs).len(), 0);
}

#[actix_web::test]
async fn the_answer_that_began_a_job_is_given_again_until_its_process_ends_and_never_is_it_begun_twice() {
    let mut scene = Scene::of(5).await;
    let body = json!({"action": "retry", "filter": {"status": "dead"}});
    let begun = scene.ask_once("k-1", "/deliveries/actions", &body).await;
    let job = scene.ended(&begun).await;
    let again = scene.ask_once("k-1", "/deliveries/actions", &body).await;
    assert_eq!((again.status, again.text()), (StatusCode::ACCEPTED, begun.text()));
    scene.restart().await;
    let gone = scene.ask_once("k-1", "/deliveries/actions", &body).await;
    assert_eq!((gone.status, code(&gone).as_str()), (StatusCode::CONFLICT, "job_not_here"));
    let detail = gone.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains(job["id"].as_str().unwrap()) && detail.contains("another Idempotency-Key"),
        "{detail}"
    );
    assert_eq!(scene.get("/jobs").await["data"], json!([]), "nothing is begun");
    let other = scene.ask_once("k-2", "/deliveries/actions", &body).await;
    assert_eq!(other.status, StatusCode::ACCEPTED, "{}", other.text());
}

#[actix_web::test]
async fn a_job_of_another_process_and_one_that_is_forgotten_are_told_apart() {
    let scene = Scene::of(5).await;
    let told = async |id: &str| {
        let missing = scene.ask(Method::GET, &format!("/jobs/{id}"), None).await;
        assert_eq!(code(&missing), "not_found", "{id}");
        missing.json()["detail"].as_str().unwrap().to_owned()
    };
    let body = json!({"action": "discard", "filter": {}});
    let begun = scene.post("/deliveries/actions", body.clone()).await;
    let id = scene.ended(&begun).await["id"].as_str().unwrap().to_owned();
    for _ in 0..KEPT {
        scene.ended(&scene.post("/deliveries/actions", body.clone()).await).await;
    }
    // The oldest goes when the next begins.
    scene.post("/deliveries/actions", body).await;
    assert!(told(&id).await.contains("is forgotten"));
    assert!(told("job_0123456789abcdef").await.contains("ask the node that began it"));
}
