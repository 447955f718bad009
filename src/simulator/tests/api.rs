//! The Web API.

use serde_json::json;

use super::client::{APP, BOT, TOKEN, call, dial_url, http, open, start};
use crate::simulator::{Options, Outgoing, Simulator, Template};

#[tokio::test]
async fn open_takes_the_token_from_the_header_only() {
    let slack = start(|_| ());
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let path = "/api/apps.connections.open";
    let in_body = http(slack.address(), "POST", path, &form, &format!("token={TOKEN}")).await.unwrap();
    assert_eq!(in_body.json()["error"], "not_authed");
    assert_eq!(open(&slack).await.json()["ok"], true);
}

#[tokio::test]
async fn open_tells_a_wrong_token_from_one_of_the_wrong_kind_and_refuses_get() {
    let slack = start(|_| ());
    let method = "apps.connections.open";
    assert_eq!(call(&slack, method, "xapp-1-A9-1-zz", "").await.json()["error"], "invalid_auth");
    assert_eq!(call(&slack, method, BOT, "").await.json()["error"], "not_allowed_token_type");
    assert_eq!(call(&slack, method, "xoxb-unknown", "").await.json()["error"], "not_allowed_token_type");
    let bearer = format!("Bearer {TOKEN}");
    let get =
        http(slack.address(), "GET", "/api/apps.connections.open", &[("Authorization", &bearer)], "").await;
    assert_eq!(get.unwrap().json()["error"], "insecure_request");
}

#[tokio::test]
async fn the_address_has_escaped_slashes_and_a_hash_for_the_app_id() {
    let slack = start(|_| ());
    let reply = open(&slack).await;
    assert!(reply.body.contains(r"ws:\/\/127.0.0.1"), "{}", reply.body);
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    let hash = url.split_once("&app_id=").unwrap().1;
    assert_eq!(hash.len(), 64);
    assert!(!url.contains(APP));
}

#[tokio::test]
async fn a_ticket_is_good_for_one_upgrade() {
    let slack = start(|_| ());
    let url = open(&slack).await.json()["url"].as_str().unwrap().to_owned();
    let first = dial_url(&slack, &url).await;
    assert!(first.is_ok());
    assert!(dial_url(&slack, &url).await.is_err());
    assert_eq!(slack.record().anomalies[0].what, "bad_ticket");
}

#[tokio::test]
async fn a_ticket_too_old_is_refused() {
    let slack = start(|rules| rules.ticket_ms = 0);
    let url = open(&slack).await.json()["url"].as_str().unwrap().to_owned();
    assert!(dial_url(&slack, &url).await.is_err());
}

#[tokio::test]
async fn auth_test_names_the_team_of_a_bot_and_the_app_of_an_app_token() {
    let slack = start(|_| ());
    let bot = call(&slack, "auth.test", BOT, "").await.json();
    assert_eq!((&bot["ok"], &bot["team_id"], &bot["app_id"]), (&json!(true), &json!("T0001"), &json!(APP)));
    assert!(bot["bot_id"].as_str().unwrap().starts_with('B'));
    assert_eq!(call(&slack, "auth.test", TOKEN, "").await.json()["app_id"], APP);
    assert_eq!(call(&slack, "auth.test", "xoxb-2", "").await.json()["error"], "invalid_auth");
}

#[tokio::test]
async fn a_posted_message_gets_a_ts_and_is_recorded_without_its_token() {
    let slack = start(|_| ());
    let posted =
        call(&slack, "chat.postMessage", BOT, &format!("channel=C1&text=hi&token={BOT}")).await.json();
    assert_eq!(
        (&posted["ok"], &posted["channel"], &posted["message"]["text"]),
        (&json!(true), &json!("C1"), &json!("hi"))
    );
    assert!(posted["ts"].as_str().unwrap().contains('.'));
    let record = slack.record();
    let calls = &record.app(APP).unwrap().calls;
    assert_eq!(calls[0].args, json!({"channel": "C1", "text": "hi"}));
    assert_eq!(calls[0].team_id.as_deref(), Some("T0001"));
}

#[tokio::test]
async fn a_message_without_channel_or_words_is_an_error() {
    let slack = start(|_| ());
    assert_eq!(call(&slack, "chat.postMessage", BOT, "text=hi").await.json()["error"], "channel_not_found");
    assert_eq!(call(&slack, "chat.postMessage", BOT, "channel=C1").await.json()["error"], "no_text");
}

#[tokio::test]
async fn any_other_method_is_ok_and_recorded() {
    let slack = start(|_| ());
    assert_eq!(call(&slack, "views.open", BOT, "trigger_id=1").await.json(), json!({"ok": true}));
    assert_eq!(slack.record().app(APP).unwrap().calls[0].method, "views.open");
}

#[tokio::test]
async fn a_response_url_is_good_for_five_posts() {
    let slack = start(|_| ());
    slack.send(APP, Outgoing::template(Template::SlashCommand)).unwrap();
    let mut client = super::client::connect(&slack).await;
    let envelope = client.ack_next().await;
    let url = envelope["payload"]["response_url"].as_str().unwrap();
    let path = &url[url.find("/response").unwrap()..];
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let json = [("Content-Type", "application/json")];
        statuses.push(http(slack.address(), "POST", path, &json, r#"{"text":"done"}"#).await.unwrap().status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 404]);
    assert_eq!(slack.record().app(APP).unwrap().responses[0].body, json!({"text": "done"}));
}

#[tokio::test]
async fn unknown_tokens_are_new_apps_where_that_is_welcome() {
    let slack = Simulator::start(Options { auto_register: true, ..Options::default() }).unwrap();
    for (token, id) in [("xapp-1-A77-1-a", "A77"), ("xapp-1-A77-2-b", "A77"), ("xapp-A88-1-c", "A88")] {
        assert_eq!(call(&slack, "apps.connections.open", token, "").await.json()["ok"], true, "{token}");
        assert!(slack.record().app(id).is_some(), "{token}");
    }
    assert_eq!(slack.record().apps.len(), 2);
    assert_eq!(call(&slack, "auth.test", "xoxb-new", "").await.json()["team_id"], "T77");
    assert_eq!(call(&slack, "apps.connections.open", "hello", "").await.json()["error"], "invalid_auth");
}

#[actix_rt::test]
async fn awc_speaks_to_it_with_forms_json_streams_and_kept_connections() {
    let slack = start(|_| ());
    let client = awc::Client::default();
    for round in 0..3 {
        let post = |method: &str| client.post(format!("{}{method}", slack.api_url())).bearer_auth(BOT);
        let mut form =
            post("chat.postMessage").send_form(&json!({"channel": "C1", "text": "x"})).await.unwrap();
        assert_eq!(form.json::<serde_json::Value>().await.unwrap()["ok"], true, "round {round}");
        let mut json =
            post("chat.postMessage").send_json(&json!({"channel": "C1", "text": "x"})).await.unwrap();
        assert_eq!(json.json::<serde_json::Value>().await.unwrap()["ok"], true, "round {round}");
        let parts =
            ["{\"channel\":", "\"C1\",\"text\":\"x\"}"].map(|part| Ok::<_, std::io::Error>(part.into()));
        let stream = futures_util::stream::iter(parts);
        let request = post("chat.postMessage").content_type("application/json");
        let mut chunked = request.send_stream(stream).await.unwrap();
        assert_eq!(chunked.json::<serde_json::Value>().await.unwrap()["ok"], true, "round {round}");
    }
    assert_eq!(slack.record().app(APP).unwrap().calls.len(), 9);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let slack = start(|_| ());
    let mut tcp = tokio::net::TcpStream::connect(slack.address()).await.unwrap();
    let head = format!(
        "POST /api/apps.connections.open HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    tcp.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 100");
}
