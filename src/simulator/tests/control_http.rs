//! The control API over HTTP: that each call reaches its method, and that mistakes are told.

use serde_json::json;

use super::client::{APP, PATIENCE, call, connect, control, dial, open, start};

#[tokio::test]
async fn an_app_is_registered_sent_to_and_read_back_over_http() {
    let slack = start(|_| ());
    let app = json!({"app_token": "xapp-1-A0002-1-b", "teams": [{"team_id": "T2", "bot_token": "xoxb-2"}]});
    assert_eq!(control(&slack, "POST", "apps", &app).await.json()["slack_app_id"], "A0002");
    assert_eq!(control(&slack, "GET", "apps", &json!({})).await.json(), json!([APP, "A0002"]));
    assert_eq!(call(&slack, "auth.test", "xoxb-2", "").await.json()["team_id"], "T2");
    let mut client = connect(&slack).await;
    let sent = json!({"template": "app_mention", "text": "hi", "fragment_bytes": 100});
    let id = control(&slack, "POST", &format!("apps/{APP}/send"), &sent).await.json()["id"].clone();
    assert_eq!(client.ack_next().await["payload"]["event_id"], id);
    slack.until(|record| record.app(APP).unwrap().counts.acked == 1, PATIENCE).await.unwrap();
    let record = control(&slack, "GET", &format!("apps/{APP}"), &json!({})).await.json();
    assert_eq!((&record["events"][0]["id"], &record["events"][0]["outcome"]), (&id, &json!("acked")));
    assert_eq!((&record["live_sockets"], &record["gaps"]), (&json!(1), &json!([])));
    let all = control(&slack, "GET", "record", &json!({})).await.json();
    assert_eq!(all["apps"][0]["counts"]["acked"], 1);
    assert_eq!(control(&slack, "DELETE", "record", &json!({})).await.status, 200);
    assert_eq!(slack.record().app(APP).unwrap().events.len(), 0);
}

#[tokio::test]
async fn faults_acts_and_loads_are_commanded_over_http() {
    let slack = start(|_| ());
    let fault = json!({"fault": "api_status", "status": 503, "count": 1});
    let number =
        control(&slack, "POST", &format!("apps/{APP}/faults"), &fault).await.json()["number"].clone();
    assert!(number.is_u64());
    assert_eq!(open(&slack).await.status, 503);
    let number =
        control(&slack, "POST", "faults", &json!({"fault": "no_hello"})).await.json()["number"].clone();
    assert_eq!(control(&slack, "DELETE", &format!("faults/{number}"), &json!({})).await.status, 200);
    let mut client = connect(&slack).await;
    let act = json!({"act": "text", "text": "boo", "socket": "newest"});
    let done = control(&slack, "POST", &format!("apps/{APP}/act"), &act).await;
    assert_eq!(done.json(), json!({"sockets": 1}));
    assert_eq!(client.text().await, "boo");
    let load = json!({"rate": 1000, "count": 3});
    assert_eq!(control(&slack, "POST", &format!("apps/{APP}/load"), &load).await.status, 200);
    for _ in 0..3 {
        client.ack_next().await;
    }
    let end = json!({"act": "end", "how": {"how": "close", "code": 1001}});
    assert_eq!(control(&slack, "POST", "act", &end).await.json(), json!({"sockets": 1}));
    assert_eq!(client.end().await, Some(1001));
}

#[tokio::test]
async fn apps_are_refused_disabled_and_enabled_over_http() {
    let slack = start(|_| ());
    let refuse = json!({"error": "token_revoked"});
    control(&slack, "POST", &format!("apps/{APP}/refuse"), &refuse).await;
    assert_eq!(open(&slack).await.json()["error"], "token_revoked");
    control(&slack, "POST", &format!("apps/{APP}/disable"), &json!({})).await;
    assert_eq!(open(&slack).await.json()["error"], "socket_mode_not_enabled");
    control(&slack, "POST", &format!("apps/{APP}/enable"), &json!({})).await;
    control(&slack, "POST", &format!("apps/{APP}/ghosts"), &json!({"count": 3})).await;
    assert_eq!(dial(&slack).await.unwrap().json().await["num_connections"], 4);
}

#[tokio::test]
async fn rules_are_patched_one_by_one() {
    let slack = start(|_| ());
    let rules = control(&slack, "PATCH", "rules", &json!({"max_sockets": 2})).await.json();
    assert_eq!((&rules["max_sockets"], &rules["ack_deadline_ms"]), (&json!(2), &json!(3000)));
    assert_eq!(control(&slack, "PATCH", "rules", &json!({"max_socket": 2})).await.status, 400);
    assert_eq!(slack.rules().max_sockets, 2);
}

#[tokio::test]
async fn mistakes_are_told() {
    let slack = start(|_| ());
    let unknown = control(&slack, "POST", "apps/A9/send", &json!({})).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["error"].as_str().unwrap().contains("A9"));
    for (path, body) in [
        (format!("apps/{APP}/send"), json!({"templat": "message"})),
        (format!("apps/{APP}/load"), json!({})),
        (format!("apps/{APP}/faults"), json!({"fault": "no_such_fault"})),
        (format!("apps/{APP}/act"), json!({"act": "disconnect"})),
        ("apps".to_owned(), json!({"app_token": "xoxb-1"})),
    ] {
        assert_eq!(control(&slack, "POST", &path, &body).await.status, 400, "{path} {body}");
    }
    assert_eq!(control(&slack, "GET", "nothing", &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_stopped_simulator_gives_its_port_back() {
    let slack = start(|_| ());
    let _client = connect(&slack).await;
    let address = slack.address();
    slack.stop();
    assert!(std::net::TcpListener::bind(address).is_ok());
}
