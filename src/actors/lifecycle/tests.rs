//! Whom an event is believed about while Slack says nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::Skew;
use crate::config::KeySource;
use crate::event::DedupeKey;
use crate::ids::{Seq, WorkspaceName};
use crate::secret::{AppToken, BotToken};
use crate::slack::tls;
use crate::store::{DeliveryMode, Desired, OpenOptions, Secret, Store, When, WorkspaceSpec};

const FINE: &str = r#"{"ok":true,"team_id":"T1","user_id":"U1"}"#;
const REVOKED: &str = r#"{"ok":false,"error":"token_revoked"}"#;
const NO_TIME: Duration = Duration::ZERO;

#[actix::test]
async fn what_cannot_be_asked_about_in_time_is_believed_and_taken_back_where_slack_says_otherwise() {
    let world = World::new().await;
    world.take(revoked, NO_TIME).await;
    world.changes.marked().await;
    assert_eq!(world.trouble().await, Some(Code::BotTokenRevoked), "Slack has not been heard");

    world.asked().await.answer(200, FINE).await;
    world.changes.marked().await;
    assert_eq!(world.trouble().await, None);
    world.store.close().await;
}

#[actix::test]
async fn what_comes_while_slack_is_asked_is_asked_about_by_one_question_more() {
    let world = World::new().await;
    world.take(revoked, NO_TIME).await;
    world.changes.marked().await;
    let first = world.asked().await;
    for _ in 0..3 {
        world.take(revoked, NO_TIME).await;
        world.pass().await;
    }
    assert_eq!(world.lifecycle.pace.available_permits(), ASKING - 1, "one question at a time");
    // It was asked before the others came.
    first.answer(200, FINE).await;
    let second = world.asked().await;
    assert_eq!(world.trouble().await, Some(Code::BotTokenRevoked));
    second.answer(200, FINE).await;
    world.changes.marked().await;
    assert_eq!(world.trouble().await, None);
    world.until_known().await;
    world.store.close().await;
}

#[actix::test]
async fn an_app_that_is_uninstalled_while_slack_is_asked_about_its_bot_token_stays_so() {
    let world = World::new().await;
    world.take(revoked, NO_TIME).await;
    // It came while nobody could write, so it is of before Slack was asked.
    let event = world.event(uninstalled);
    let asked = world.asked().await;
    world.lifecycle.take(&event, NO_TIME).await;
    asked.answer(200, FINE).await;
    world.until_known().await;
    assert_eq!(world.trouble().await, Some(Code::AppUninstalled));
    world.store.close().await;
}

#[actix::test]
async fn a_bot_token_that_is_revoked_again_while_slack_is_asked_stays_so() {
    let world = World::new().await;
    world.take(revoked, NO_TIME).await;
    let first = world.asked().await;
    world.pass().await;
    let until = world.lifecycle.clock.mono() + Duration::from_hours(1);
    tokio::join!(world.take(revoked, until), async {
        world.accept().await.answer(200, REVOKED).await;
    });
    first.answer(200, FINE).await;
    world.until_known().await;
    assert_eq!(world.trouble().await, Some(Code::BotTokenRevoked));
    world.store.close().await;
}

#[actix::test]
async fn who_gets_no_answer_asks_again() {
    let world = World::new().await;
    let until = world.lifecycle.clock.mono() + Duration::from_hours(1);
    tokio::join!(world.take(revoked, until), async {
        world.accept().await.answer(429, "").await;
    });
    assert_eq!(world.trouble().await, Some(Code::BotTokenRevoked), "nobody has said otherwise");
    for status in [429, 503, 429] {
        world.asked().await.answer(status, "").await;
    }
    world.asked().await.answer(200, FINE).await;
    world.until_known().await;
    assert_eq!(world.trouble().await, None);
    world.store.close().await;
}

/// A workspace, what takes up its events, and a Slack that answers by hand.
struct World {
    slack: TcpListener,
    time: &'static Skew,
    store: Arc<dyn Store>,
    changes: Arc<Changes>,
    lifecycle: Lifecycle,
    place: (AppId, WorkspaceId),
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let slack = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("t.db").display().to_string();
        let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
        let store = crate::store::open(options).await.unwrap().store;
        let place = seat(&*store).await;
        let changes = Arc::new(Changes::default());
        let api = format!("http://{}/api/", slack.local_addr().unwrap()).parse().unwrap();
        let outside = Arc::new(Outside { api, tls: tls::client_config(None).unwrap() });
        let workspaces = Arc::clone(&store) as Arc<dyn Workspaces>;
        let time = Skew::new();
        let clock = Clock::steered(time);
        let lifecycle =
            Lifecycle::new(workspaces, outside, clock, Arc::clone(&changes), Arc::new(Names::default()));
        Self { slack, time, store, changes, lifecycle, place, _folder: folder }
    }

    /// It comes now.
    fn event(&self, event: fn(Place, i64) -> Event) -> Event {
        event(self.place, self.lifecycle.clock.now().wall_ms)
    }

    async fn take(&self, event: fn(Place, i64) -> Event, until: Duration) {
        self.lifecycle.take(&self.event(event), until).await;
    }

    async fn trouble(&self) -> Option<Code> {
        self.store.apps().await.unwrap()[0].seats[0].trouble
    }

    /// Time passes, and whoever waits for it goes on.
    async fn pass(&self) {
        self.time.pass(ASK_AGAIN);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a question of Slack's, while time passes.
    async fn asked(&self) -> Question {
        let passes = async {
            loop {
                self.pass().await;
            }
        };
        tokio::select! {
            question = self.accept() => question,
            never = passes => never,
        }
    }

    async fn accept(&self) -> Question {
        let accepted = tokio::time::timeout(Duration::from_secs(20), self.slack.accept()).await;
        let (mut socket, _) = accepted.expect("Slack is asked").unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"{}") {
            assert!(socket.read_buf(&mut asked).await.unwrap() > 0);
        }
        Question(socket)
    }

    /// Nothing is to be found out any more.
    async fn until_known(&self) {
        let known = async {
            while !self.lifecycle.behind().is_empty() {
                self.pass().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), known).await.expect("it is found out");
    }
}

/// What Slack is asked.
struct Question(TcpStream);

impl Question {
    async fn answer(mut self, status: u16, body: &str) {
        let head = format!(
            "HTTP/1.1 {status} So\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes()).await.unwrap();
        self.0.write_all(body.as_bytes()).await.unwrap();
    }
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

fn name() -> WorkspaceName {
    WorkspaceName::parse("acme").unwrap()
}

type Place = (AppId, WorkspaceId);

fn revoked(place: Place, now_ms: i64) -> Event {
    event(place, now_ms, "tokens_revoked", r#"{"event":{"tokens":{"bot":["U1"]}}}"#)
}

fn uninstalled(place: Place, now_ms: i64) -> Event {
    event(place, now_ms, "app_uninstalled", "{}")
}

fn event((app, workspace): Place, received_ms: i64, kind_type: &str, payload: &str) -> Event {
    Event {
        seq: Seq(1),
        app,
        workspace: Some(workspace),
        kind: Kind::EventsApi,
        kind_type: kind_type.into(),
        slack_id: "Ev1".into(),
        dedupe: DedupeKey([0; 16]),
        retry: 0,
        received_ms,
        payload: payload.into(),
    }
}
