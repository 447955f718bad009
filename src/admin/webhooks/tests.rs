//! Webhooks as the API tells of them, and as whom.

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;

use serde_json::json;

use super::super::testing::{FakeNode, ask, code};

#[actix_web::test]
async fn what_is_wrong_with_a_webhook_is_told_by_its_field_and_its_address_is_not_repeated() {
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": "http://hooks.example.com/secret"}), "url"),
        (json!({"url": "https://user:secret@hooks.example.com/"}), "url"),
        (json!({"url": "https://127.0.0.1/secret"}), "url"),
        (json!({"url": "secret"}), "url"),
        (json!({"url": "https://hooks.example.com/", "topics": ["workspace.secret"]}), "topics"),
        (json!({"url": "https://hooks.example.com/", "label": "secret"}), "label"),
        (json!({"url": "https://hooks.example.com/", "paused": "secret"}), "paused"),
        (json!({"url": "https://hooks.example.com/", "secret": "whsec_x"}), "secret"),
    ] {
        let request = TestRequest::post().uri("/api/v1/webhooks").set_json(&body);
        let answer = ask(&FakeNode::new(), request).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(code(&answer), "invalid_fields");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{body}");
        let said = answer.json()["errors"][0]["message"].to_string();
        assert!(!said.contains("secret"), "{said}");
    }
}

#[actix_web::test]
async fn what_is_no_webhooks_id_is_not_found() {
    for id in ["x", "whk_", "whk_x", "1"] {
        let answer = ask(&FakeNode::new(), TestRequest::get().uri(&format!("/api/v1/webhooks/{id}"))).await;
        assert_eq!(code(&answer), "not_found");
    }
}
