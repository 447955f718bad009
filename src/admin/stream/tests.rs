use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, dev::ServiceResponse};
use serde_json::{Value, json};

use super::super::testing::{FakeNode, TOKEN};
use super::super::{AdminToken, Node, service};
use super::MAX_STREAMS;
use crate::clock::Clock;
use crate::ids::{AppId, Seq, WorkspaceId, WorkspaceName};
use crate::secret::AppToken;
use crate::status::feed::{DeliveryNews, News, Outcome, StateChange};
use crate::status::{Code, Health, State, Trouble};
use crate::store::{
    Caller, DeliveryMode, Desired, Label, NewToken, Role, Secret, TokenDigest, When, WorkspaceSpec,
};

const PATIENCE: Duration = Duration::from_secs(10);

#[actix_web::test]
async fn a_change_of_state_comes_to_each_workspace_of_the_app_with_its_reason() {
    let node = furnished().await;
    let mut stream = open(&node, TOKEN, "", None).await;
    let hello = stream.event().await;
    assert_eq!(hello.kind, "stream.open");
    node.feed.tell(failed(1));
    let (first, second) = (stream.event().await, stream.event().await);
    assert_eq!((first.kind.as_str(), first.id.as_deref()), ("workspace.state", None));
    assert!(second.id.is_some_and(|id| id.ends_with("-1")));
    let expected = json!({
        "workspace": "acme", "app_id": "A1", "state": "failed", "previous": "ready", "health": "down",
        "reason": crate::status::Reason::from(Code::TokenRevoked), "at": "1970-01-01T00:00:05.000Z",
    });
    assert_eq!((first.data, &second.data["workspace"]), (expected, &json!("acme-emea")));
}

#[actix_web::test]
async fn what_is_shown_of_a_workspace_is_what_the_stream_says_of_it() {
    let node = furnished().await;
    let store = node.real_store();
    let acme = store.workspace(&WorkspaceName::parse("acme").unwrap()).await.unwrap().unwrap();
    let trouble = Trouble { code: Code::AppUninstalled, since_ms: 3 };
    assert!(store.note_trouble(acme.id, trouble).await.unwrap());
    let mut stream = open(&node, TOKEN, "", None).await;
    stream.event().await;
    let News::State(change) = failed(1) else { unreachable!() };
    let ready = StateChange {
        from: State::Reconnecting,
        to: State::Ready,
        health: Health::Ok,
        reason: None,
        ..change
    };
    node.feed.tell(News::State(ready));
    let event = stream.event().await;
    assert_eq!(event.data["workspace"], "acme-emea", "acme has failed, and its app's return changes nothing");
    assert!(event.id.is_some_and(|id| id.ends_with("-1")), "the last event of a change bears its id");
    node.feed.tell(News::Workspace(acme.id, change));
    let event = stream.event().await;
    assert_eq!((&event.data["workspace"], &event.data["state"]), (&json!("acme"), &json!("failed")));
}

#[actix_web::test]
async fn a_stream_is_filtered_by_workspace_and_label_and_by_what_its_token_sees() {
    let node = furnished().await;
    let theirs = token(&node, Role::Viewer, Some("tenant:43")).await;
    for (bearer, query, wanted) in [
        (TOKEN, "?workspace=globex", "globex"),
        (TOKEN, "?label=tenant:43", "globex"),
        (TOKEN, "?workspace=acme-emea&workspace=globex&label=tenant:43", "globex"),
        (theirs.as_str(), "", "globex"),
    ] {
        let mut stream = open(&node, bearer, query, None).await;
        stream.event().await;
        node.feed.tell(failed(1));
        node.feed.tell(failed(2));
        assert_eq!(stream.event().await.data["workspace"], json!(wanted), "{query}");
    }
    let refused = answer(&node, TOKEN, "?color=red", None).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn a_delivery_that_fails_is_told_to_who_sees_its_workspace() {
    let node = furnished().await;
    let log = node.real_store().declare_handlers(&["log"], 1).await.unwrap()[0].id;
    let of = |app, workspace, seq, outcome| DeliveryNews {
        app: AppId(app),
        workspace,
        seq: Seq(seq),
        handler: log,
        run: 1,
        outcome,
        attempts: 2,
        untold: 0,
    };
    let theirs = token(&node, Role::Viewer, Some("tenant:43")).await;
    for (bearer, query, seen) in [
        (TOKEN, "", vec!["evt_1", "evt_2", "evt_3"]),
        (&theirs, "", vec!["evt_2"]),
        (TOKEN, "?workspace=acme", vec!["evt_1"]),
    ] {
        let mut stream = open(&node, bearer, query, None).await;
        stream.event().await;
        node.feed.tell_delivery(of(1, Some(WorkspaceId(1)), 1, Outcome::Failed));
        node.feed.tell_delivery(of(2, Some(WorkspaceId(2)), 2, Outcome::Dead));
        node.feed.tell_delivery(of(2, None, 3, Outcome::Done));
        for event in seen {
            let told = stream.event().await;
            let (kind, workspace) = match event {
                "evt_1" => ("delivery.failed", json!("acme")),
                "evt_2" => ("delivery.dead", json!("globex")),
                _ => ("delivery.done", json!(null)),
            };
            assert_eq!((told.kind.as_str(), &told.data["workspace"]), (kind, &workspace), "{query}");
            assert_eq!((&told.data["event"], &told.data["handler"]), (&json!(event), &json!("log")));
            assert_eq!((&told.data["attempts"], told.id.is_some()), (&json!(2), true));
        }
    }
}

#[actix_web::test]
async fn who_comes_back_goes_on_behind_the_last_event_they_saw() {
    let node = furnished().await;
    let api = Api::new(&node).await;
    let mut stream = api.open(TOKEN, "?workspace=globex", None).await;
    stream.event().await;
    node_tells(&node, &[2, 2, 2]);
    let seen = stream.event().await.id.unwrap();
    drop(stream);
    let mut stream = api.open(TOKEN, "?workspace=globex", Some(&seen)).await;
    stream.event().await;
    let ids = [stream.event().await.id.unwrap(), stream.event().await.id.unwrap()];
    assert!(ids[0].ends_with("-2") && ids[1].ends_with("-3"), "{ids:?}");
    // An id of another process says nothing: all that is held comes, and it is said that there may have been more.
    let mut stream = api.open(TOKEN, "?workspace=globex", Some("00000000-2")).await;
    stream.event().await;
    let skipped = stream.event().await;
    assert_eq!((skipped.kind.as_str(), &skipped.data["reason"]), ("stream.skipped", &json!("unknown_id")));
    assert!(stream.event().await.id.unwrap().ends_with("-1"));
    // What is no longer held is counted.
    let old = ids[0].clone();
    node_tells(&node, &vec![3; 5000]);
    let mut stream = api.open(TOKEN, "", Some(&old)).await;
    stream.event().await;
    let skipped = stream.event().await;
    assert_eq!(skipped.data, json!({"reason": "too_old", "missed": 5003 - 4096 - 2}));
}

#[actix_web::test]
async fn what_was_told_before_a_workspace_came_is_not_told_of_it() {
    let node = furnished().await;
    node.feed.tell(failed(1));
    let later = Clock::start().now().wall_ms + 1_000;
    put(&node, "newcomer", "A1", None, later).await;
    let mut stream = open(&node, TOKEN, "", Some("00000000-0")).await;
    let mut of = Vec::new();
    node.feed.tell(failed(2));
    while of.last() != Some(&json!("globex")) {
        let event = stream.event().await;
        of.extend(event.data.get("workspace").cloned());
    }
    assert_eq!(of, ["acme", "acme-emea", "globex"]);
}

#[actix_web::test]
async fn who_reads_too_slowly_is_cut_and_told_so() {
    let node = furnished().await;
    let mut stream = open(&node, TOKEN, "", None).await;
    stream.event().await;
    for _ in 0..5000 {
        node.feed.tell(failed(2));
    }
    let cut = stream.event().await;
    assert_eq!((cut.kind.as_str(), &cut.data), ("stream.cut", &json!({"reason": "too_slow", "missed": 904})));
    assert!(stream.is_over().await);
}

#[actix_web::test]
async fn a_stop_ends_a_stream_at_once() {
    let node = furnished().await;
    let mut stream = open(&node, TOKEN, "", None).await;
    stream.event().await;
    node.feed.end();
    assert_eq!(stream.event().await.kind, "stream.end");
    assert!(stream.is_over().await);
}

#[actix_web::test]
async fn a_token_that_is_revoked_loses_its_stream() {
    let node = furnished().await;
    let text = token(&node, Role::Viewer, None).await;
    let mut stream = open(&node, &text, "", None).await;
    stream.event().await;
    let id = node.accounts().tokens(None, 1).await.unwrap()[0].id;
    node.accounts().revoke_token(id, &Caller::admin("root"), 1).await.unwrap();
    let cut = stream.event().await;
    assert_eq!((cut.kind.as_str(), &cut.data["reason"]), ("stream.cut", &json!("token")));
    assert!(stream.is_over().await);
}

#[actix_web::test]
async fn a_token_that_is_revoked_loses_its_stream_also_where_there_is_always_something_to_say() {
    let node = furnished().await;
    let text = token(&node, Role::Viewer, None).await;
    let mut stream = open(&node, &text, "", None).await;
    stream.event().await;
    let id = node.accounts().tokens(None, 1).await.unwrap()[0].id;
    node.accounts().revoke_token(id, &Caller::admin("root"), 1).await.unwrap();
    let told = async {
        loop {
            node.feed.tell(failed(2));
            let event = stream.event().await;
            if event.kind != "workspace.state" {
                return event;
            }
        }
    };
    let cut = tokio::time::timeout(PATIENCE, told).await.expect("the stream ends");
    assert_eq!((cut.kind.as_str(), &cut.data["reason"]), ("stream.cut", &json!("token")));
}

#[actix_web::test]
async fn a_database_that_is_away_cuts_the_stream_before_anything_is_lost() {
    let node = furnished().await;
    let mut stream = open(&node, TOKEN, "", None).await;
    stream.event().await;
    node.real_store().close().await;
    node.feed.tell(failed(1));
    assert_eq!(stream.event().await.data, json!({"reason": "store_unavailable"}));
    assert!(stream.is_over().await);
}

#[actix_web::test]
async fn a_node_serves_so_many_streams_and_one_that_ends_makes_room() {
    let node = furnished().await;
    let api = Api::new(&node).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(api.open(TOKEN, "", None).await);
    }
    let refused = api.answer(TOKEN, "", None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    streams.pop();
    api.open(TOKEN, "", None).await;
}

#[actix_web::test]
async fn one_token_has_its_share_of_the_streams_and_all_of_them_together_leave_some_to_admins() {
    let node = furnished().await;
    let api = Api::new(&node).await;
    let tokens = [
        token(&node, Role::Viewer, Some("tenant:42")).await,
        token(&node, Role::Viewer, None).await,
        token(&node, Role::Operator, None).await,
        token(&node, Role::Operator, None).await,
    ];
    let (mut open, mut served) = (Vec::new(), Vec::new());
    for text in &tokens {
        let before = open.len();
        loop {
            let answer = api.answer(text, "", None).await;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                break;
            }
            open.push(answer);
        }
        served.push(open.len() - before);
    }
    assert_eq!(served, [16, 16, 16, 8]);
    api.open(TOKEN, "", None).await;
}

/// App 1 with acme (tenant 42) and acme-emea (no label), app 2 with globex (tenant 43).
async fn furnished() -> Arc<FakeNode> {
    let node = FakeNode::real().await;
    for (name, app, tenant) in
        [("acme", "A1", Some("42")), ("globex", "A2", Some("43")), ("acme-emea", "A1", None)]
    {
        put(&node, name, app, tenant, 1).await;
    }
    node
}

async fn put(node: &FakeNode, name: &str, app: &str, tenant: Option<&str>, now_ms: i64) {
    let spec = WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: tenant.map(|tenant| ("tenant".to_owned(), tenant.to_owned())).into_iter().collect(),
        app_token: Secret::Set(AppToken::parse(&format!("xapp-{app}")).unwrap()),
        bot_token: Secret::Keep,
    };
    let name = WorkspaceName::parse(name).unwrap();
    node.real_store().put_workspace(&name, &spec, When::Always, now_ms).await.unwrap();
}

fn failed(app: i64) -> News {
    News::State(StateChange {
        app: AppId(app),
        at_ms: 5_000,
        from: State::Ready,
        from_health: Health::Ok,
        from_code: None,
        to: State::Failed,
        health: Health::Down,
        reason: Some(Code::TokenRevoked.into()),
    })
}

fn node_tells(node: &FakeNode, apps: &[i64]) {
    for app in apps {
        node.feed.tell(failed(*app));
    }
}

async fn token(node: &Arc<FakeNode>, role: Role, scope: Option<&str>) -> String {
    let text = format!("tl_{:032x}", rand::random::<u128>());
    let new = NewToken {
        name: text.clone(),
        digest: TokenDigest::of(&text),
        hint: String::new(),
        role,
        scope: scope.and_then(Label::parse),
        expires_ms: None,
    };
    node.accounts().create_token(&new, &Caller::admin("root"), 1).await.unwrap();
    text
}

async fn open(node: &Arc<FakeNode>, bearer: &str, query: &str, last: Option<&str>) -> Stream {
    Api::new(node).await.open(bearer, query, last).await
}

async fn answer(
    node: &Arc<FakeNode>,
    bearer: &str,
    query: &str,
    last: Option<&str>,
) -> ServiceResponse<BoxBody> {
    Api::new(node).await.answer(bearer, query, last).await
}

type Answering = dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = ServiceResponse<BoxBody>>>>;

/// The API, whose streams are not read to their end.
struct Api(Box<Answering>);

impl Api {
    async fn new(node: &Arc<FakeNode>) -> Self {
        let node: Arc<dyn Node> = Arc::<FakeNode>::clone(node);
        let app = App::new().configure(service(node, AdminToken::new(TOKEN)));
        let app = std::rc::Rc::new(init_service(app).await);
        Self(Box::new(move |request| {
            let app = std::rc::Rc::clone(&app);
            Box::pin(async move { call_service(&*app, request.to_request()).await })
        }))
    }

    async fn answer(&self, bearer: &str, query: &str, last: Option<&str>) -> ServiceResponse<BoxBody> {
        let mut request = TestRequest::get().uri(&format!("/api/v1/stream{query}"));
        request = request.insert_header((AUTHORIZATION, format!("Bearer {bearer}")));
        if let Some(last) = last {
            request = request.insert_header(("last-event-id", last));
        }
        (self.0)(request).await
    }

    async fn open(&self, bearer: &str, query: &str, last: Option<&str>) -> Stream {
        let answer = self.answer(bearer, query, last).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers().get("content-type").unwrap(), "text/event-stream");
        Stream { body: Box::pin(answer.into_body()), text: String::new() }
    }
}

struct Stream {
    body: Pin<Box<BoxBody>>,
    text: String,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

impl Stream {
    /// The next event that has data.
    async fn event(&mut self) -> Event {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.map(str::to_owned)
                };
                let event = field("data").map(|data| Event {
                    kind: field("event").unwrap(),
                    id: field("id"),
                    data: serde_json::from_str(&data).unwrap(),
                });
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return event;
                }
                continue;
            }
            let chunk = self.chunk().await.expect("the stream goes on");
            self.text.push_str(&chunk);
        }
    }

    async fn is_over(&mut self) -> bool {
        self.text.is_empty() && self.chunk().await.is_none()
    }

    async fn chunk(&mut self) -> Option<String> {
        let next = std::future::poll_fn(|context| self.body.as_mut().poll_next(context));
        let chunk = tokio::time::timeout(PATIENCE, next).await.expect("something comes")?;
        Some(String::from_utf8(chunk.unwrap().to_vec()).unwrap())
    }
}
