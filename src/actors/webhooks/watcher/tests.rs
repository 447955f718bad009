//! What the watcher does where the database does not do as it should.

use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::config::KeySource;
use crate::ids::WorkspaceName;
use crate::machine::notice::Told;
use crate::secret::{AppToken, WebhookSecret};
use crate::status::feed::{News, Read};
use crate::status::{Health, State};
use crate::store::{Caller, DeliveryMode, Desired, OpenOptions, Secret, WebhookSpec, When, WorkspaceSpec};

#[tokio::test]
async fn a_workspace_that_cannot_be_read_costs_no_other_its_notice() {
    let place = Place::new().await;
    let (bad, good) = (place.put("bad").await, place.put("good").await);
    place
        .sql(&format!("update workspaces set trouble = 'nonsense', trouble_at = 1 where id = {}", bad.id))
        .await;
    let mut watcher = place.watcher();
    watcher.tells.extend([bad.tell(), good.tell()]);
    watcher.remember.extend([bad.told(), good.told()]);
    assert!(watcher.write().await);
    assert_eq!(place.told_of().await, ["good"]);
    assert_eq!(place.store.memory().await.unwrap().told.len(), 2, "it is not told again by each start");
    place.store.close().await;
}

#[tokio::test]
async fn a_notice_that_the_database_refuses_costs_no_other_its_own() {
    let place = Place::new().await;
    let (bad, good) = (place.put("bad").await, place.put("good").await);
    let refuse = "create trigger refuse before insert on notices when new.body like '%\"bad\"%' \
                  begin select raise(abort, 'no'); end";
    place.sql(refuse).await;
    let mut watcher = place.watcher();
    watcher.tells.extend([bad.tell(), good.tell()]);
    watcher.remember.extend([bad.told(), good.told()]);
    assert!(watcher.write().await);
    assert_eq!(place.told_of().await, ["good"]);
    assert_eq!(place.store.memory().await.unwrap().told.len(), 2, "it is not told again by each start");
    place.store.close().await;
}

#[tokio::test]
async fn an_app_with_a_limit_is_looked_at_again_once_however_often_it_changes() {
    let place = Place::new().await;
    let mut watcher = place.watcher();
    let app = AppId(1);
    let limited_until_ms = Some(watcher.clock.now().wall_ms + 60_000);
    watcher.rows.insert((app, WorkspaceId(1)), Standing { limited_until_ms, ..standing(1) });
    watcher.look(app);
    watcher.look(app);
    assert_eq!(watcher.looks.len(), 1);
    place.store.close().await;
}

#[tokio::test]
async fn a_workspace_that_turns_out_unidentified_is_told_of_once_and_again_when_it_is_known() {
    let place = Place::new().await;
    let mut watcher = place.watcher();
    let app = AppId(1);
    let entry = watcher.directory.enter(app, watcher.clock.now());
    watcher.rows.insert((app, WorkspaceId(1)), standing(1));
    watcher.rows.insert((app, WorkspaceId(2)), standing(2));
    let mut told = Vec::new();
    let feed = watcher.directory.feed();
    let unidentified = vec![(WorkspaceId(2), Code::BotTokenUnchecked)];
    for marks in [vec![], unidentified.clone(), unidentified, vec![]] {
        let ready = Status { state: State::Ready, health: Health::Ok, marks, ..Status::off(1) };
        entry.publish(ready);
        watcher.look(app);
    }
    let Read::News(news) = feed.read(1, 9) else { panic!("nothing is gone yet") };
    for one in news {
        if let News::Workspace(id, change) = one.news {
            told.push((id.0, change.health, change.reason.map(|reason| reason.code)));
        }
    }
    assert_eq!(told, [(2, Health::Degraded, Some(Code::BotTokenUnchecked)), (2, Health::Ok, None)]);
    place.store.close().await;
}

/// A database with a webhook for everything.
struct Place {
    dir: TempDir,
    store: Arc<dyn Store>,
}

/// A workspace in it.
#[derive(Clone, Copy)]
struct Row {
    app: AppId,
    id: WorkspaceId,
}

impl Place {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let address = dir.path().join("db").display().to_string();
        let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
        let store = crate::store::open(options).await.unwrap().store;
        let url = "https://hooks.example.com/tautline".to_owned();
        let spec = WebhookSpec { url, topics: Vec::new(), label: None, is_paused: false };
        store.add_webhook(&spec, &WebhookSecret::generate(), &Caller::admin("admin"), 1).await.unwrap();
        Self { dir, store }
    }

    async fn put(&self, name: &str) -> Row {
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            delivery: DeliveryMode::Active,
            links: 1,
            labels: Vec::new(),
            app_token: Secret::Set(AppToken::parse(&format!("xapp-{name}")).unwrap()),
            bot_token: Secret::Keep,
        };
        let name = WorkspaceName::parse(name).unwrap();
        let put = self.store.put_workspace(&name, &spec, When::Always, 1).await.unwrap();
        Row { app: put.workspace.app, id: put.workspace.id }
    }

    /// Does to the database what no node does.
    async fn sql(&self, text: &str) {
        let path = self.dir.path().join("db").display().to_string();
        let mut db = SqliteConnection::connect(&path).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    }

    fn watcher(&self) -> Watcher {
        let (history, _) = mpsc::channel(9);
        let bell = Arc::new(watch::Sender::new(0));
        let store = Arc::clone(&self.store);
        Watcher::new(store, Arc::default(), Clock::start(), bell, history, Memory::default())
    }

    /// The workspaces whose notices wait.
    async fn told_of(&self) -> Vec<String> {
        let mut told = Vec::new();
        let hook = self.store.webhooks().await.unwrap()[0].id;
        for _ in 0..self.store.webhook(hook).await.unwrap().unwrap().waiting {
            let notice = self.store.next_notice(hook).await.unwrap().unwrap();
            let body: serde_json::Value = serde_json::from_str(&notice.body).unwrap();
            told.push(body["data"]["workspace"].as_str().unwrap().to_owned());
            let taken = crate::store::Settled::Taken;
            self.store.settle_notice(hook, notice.id, &taken, Some(200), 9).await.unwrap();
        }
        told
    }
}

impl Row {
    fn told(self) -> Remember {
        Remember::Told(self.id, Told::Failed(Code::TokenRevoked))
    }

    fn tell(self) -> Tell {
        let about = About { told: self.told(), code: Some(Code::TokenRevoked), began_ms: 5, peak: 1 };
        Tell {
            app: self.app,
            workspace: self.id,
            topic: Topic::Failed,
            since_ms: 5,
            status: Status::off(5),
            about,
            now_ms: 9,
        }
    }
}

fn standing(workspace: i64) -> Standing {
    let workspace = WorkspaceId(workspace);
    Standing { workspace, is_wanted: true, trouble: None, limited_until_ms: None, updated_ms: 1 }
}
