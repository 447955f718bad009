//! Whom an event is believed about while Slack says nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::KeySource;
use crate::event::DedupeKey;
use crate::ids::{Seq, WorkspaceName};
use crate::secret::{AppToken, BotToken};
use crate::slack::tls;
use crate::store::{DeliveryMode, Desired, OpenOptions, Secret, Store, When, WorkspaceSpec};

#[actix::test]
async fn what_cannot_be_asked_about_in_time_is_believed_and_taken_back_where_slack_says_otherwise() {
    let slack = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("t.db").display().to_string();
    let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
    let store = crate::store::open(options).await.unwrap().store;
    let (app, workspace) = seat(&*store).await;
    let changes = Arc::new(Changes::default());
    let api = format!("http://{}/api/", slack.local_addr().unwrap()).parse().unwrap();
    let outside = Arc::new(Outside { api, tls: tls::client_config(None).unwrap() });
    let workspaces = Arc::clone(&store) as Arc<dyn Workspaces>;
    let lifecycle =
        Lifecycle::new(workspaces, outside, Clock::start(), Arc::clone(&changes), Arc::new(Names::default()));

    let event = revoked(app, workspace);
    lifecycle.take(&event, Duration::ZERO).await;
    changes.marked().await;
    assert_eq!(trouble(&*store).await, Some(Code::BotTokenRevoked), "Slack has not been heard");
    lifecycle.take(&event, Duration::ZERO).await;

    answer(&slack, r#"{"ok":true,"team_id":"T1","user_id":"U1"}"#).await;
    changes.marked().await;
    assert_eq!(trouble(&*store).await, None);
    store.close().await;
}

/// Answers one request.
async fn answer(slack: &TcpListener, body: &str) {
    let (mut socket, _) = slack.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"{}") {
        assert!(socket.read_buf(&mut asked).await.unwrap() > 0);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
}

async fn seat(store: &dyn Store) -> (AppId, WorkspaceId) {
    let spec = WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: Vec::new(),
        app_token: Secret::Set(AppToken::parse("xapp-1").unwrap()),
        bot_token: Secret::Set(BotToken::parse("xoxb-1").unwrap()),
    };
    let put = store.put_workspace(&name(), &spec, When::Always, 1).await.unwrap().workspace;
    (put.app, put.id)
}

async fn trouble(store: &dyn Store) -> Option<Code> {
    store.apps().await.unwrap()[0].seats[0].trouble
}

fn name() -> WorkspaceName {
    WorkspaceName::parse("acme").unwrap()
}

fn revoked(app: AppId, workspace: WorkspaceId) -> Event {
    Event {
        seq: Seq(1),
        app,
        workspace: Some(workspace),
        kind: Kind::EventsApi,
        kind_type: "tokens_revoked".into(),
        slack_id: "Ev1".into(),
        dedupe: DedupeKey([0; 16]),
        retry: 0,
        received_ms: 1_000,
        payload: r#"{"event":{"tokens":{"bot":["U1"]}}}"#.into(),
    }
}
