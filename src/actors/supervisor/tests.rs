use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot};
use url::Url;

use super::*;
use crate::actors::budget::Budget;
use crate::actors::exit::Exit;
use crate::actors::pacer::Pacer;
use crate::clock::Clock;
use crate::ids::{Generations, WorkspaceId, WorkspaceName};
use crate::machine::pace::Limits;
use crate::secret::{AppToken, BotToken};
use crate::slack::tls::client_config;
use crate::slack::web::Outside;
use crate::status::{Code, Command, Health, Standing, State, Status, Trouble};
use crate::store::{
    Desired, Order, Place, Put, StoreError, Transition, When, Workspace, WorkspaceSpec, Workspaces,
};
use crate::telemetry::Metrics;

#[actix::test]
async fn a_crashed_connection_is_made_anew_and_no_other_notices() {
    tokio::time::pause();
    let supervisor = supervisor(2);
    let [first, second] = [life(&supervisor, 1, 1).await, life(&supervisor, 2, 1).await];
    crash(&first).await;
    let next = life(&supervisor, 1, 2).await;
    assert!(!first.connected() && next.connected() && second.connected());
}

#[actix::test]
async fn between_a_crash_and_the_next_life_nobody_is_told_that_it_is_ready() {
    tokio::time::pause();
    let directory = Arc::new(Directory::default());
    let (shared, mut history) = shared_and_history(1);
    let supervisor = Supervisor::new(shared, Arc::clone(&directory), vec![Arbiter::current()]).start();
    let first = life(&supervisor, 1, 1).await;
    let entry = directory.get(AppId(1)).unwrap();
    entry.publish(Status { state: State::Ready, health: Health::Ok, ..Status::off(1) });
    let mut status = entry.status();
    crash(&first).await;
    let shown = status.wait_for(|status| status.state != State::Ready).await.unwrap().clone();
    assert_eq!(shown.gist(), (State::Reconnecting, Health::Down, Some(Code::Crashed)));
    assert!(shown.next_attempt_ms.is_some());
    let line = history.recv().await.unwrap();
    assert_eq!((line.from, line.to, line.code), (State::Ready, State::Reconnecting, Some(Code::Crashed)));
    life(&supervisor, 1, 2).await;
    assert_eq!(
        status.wait_for(|status| status.state == State::Disconnected).await.unwrap().health,
        Health::Off
    );
}

#[actix::test]
async fn what_crashes_again_and_again_is_given_up_and_says_so() {
    tokio::time::pause();
    let directory = Arc::new(Directory::default());
    let supervisor = Supervisor::new(shared(1), Arc::clone(&directory), vec![Arbiter::current()]).start();
    for count in 1..=5 {
        crash(&life(&supervisor, 1, count).await).await;
    }
    let mut status = directory.get(AppId(1)).unwrap().status();
    let status = status.wait_for(|status| status.state == State::Failed).await.unwrap();
    assert_eq!(status.reason.map(|reason| reason.code), Some(Code::Crashed));
    drop(status);
    // Somebody looks after it: it gets another chance.
    supervisor.try_send(AppChanged(AppId(1))).unwrap();
    assert!(life(&supervisor, 1, 6).await.connected());
}

#[actix::test]
async fn nothing_is_started_again_once_all_are_to_stop() {
    tokio::time::pause();
    let supervisor = supervisor(1);
    let only = life(&supervisor, 1, 1).await;
    supervisor.send(StopAll).await.unwrap();
    crash(&only).await;
    supervisor.try_send(AppChanged(AppId(1))).unwrap();
    assert!(supervisor.send(ChildOf(AppId(1))).await.unwrap().is_none());
}

#[actix::test]
async fn ten_thousand_apps_are_spread_evenly_and_one_that_leaves_makes_room() {
    tokio::time::pause();
    let homes = vec![Arbiter::current(); 3];
    let directory = Arc::new(Directory::default());
    let supervisor = Supervisor::new(shared(10_000), Arc::clone(&directory), homes).start();
    assert!(life(&supervisor, 10_000, 1).await.connected());
    assert_eq!(supervisor.send(Homes).await.unwrap(), [3334, 3333, 3333]);
    assert_eq!(directory.sockets_wanted(), 0, "all of them are wanted off");
    // An app the store does not know any more.
    supervisor.send(Forget(AppId(2))).await.unwrap();
    assert_eq!(supervisor.send(Homes).await.unwrap(), [3334, 3332, 3333]);
}

#[derive(Message)]
#[rtype(result = "Vec<usize>")]
struct Homes;

impl Handler<Homes> for Supervisor {
    type Result = Vec<usize>;

    fn handle(&mut self, _: Homes, _: &mut Self::Context) -> Self::Result {
        self.homes.iter().map(|(_, living)| *living).collect()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Forget(AppId);

impl Handler<Forget> for Supervisor {
    type Result = ();

    fn handle(&mut self, Forget(app): Forget, _: &mut Self::Context) {
        self.remove(app);
    }
}

#[actix::test]
async fn a_command_is_answered_when_the_connection_has_obeyed_it_and_one_to_nobody_is_dropped() {
    let supervisor = supervisor(1);
    let (done, obeyed) = oneshot::channel();
    let steer = |done| Steer { command: Command::Connect, done };
    supervisor.try_send(SteerApp { app: AppId(1), steer: steer(done) }).unwrap();
    // Its app is wanted off, and a command does not overrule what is stored.
    assert_eq!(obeyed.await.unwrap().status.borrow().state, State::Disconnected);
    let (done, obeyed) = oneshot::channel();
    supervisor.try_send(SteerApp { app: AppId(2), steer: steer(done) }).unwrap();
    assert!(obeyed.await.is_err(), "there is no such app");
}

#[actix::test]
async fn who_steers_a_connection_that_was_given_up_starts_it_again() {
    tokio::time::pause();
    let supervisor = supervisor(1);
    for count in 1..=5 {
        crash(&life(&supervisor, 1, count).await).await;
    }
    let (done, obeyed) = oneshot::channel();
    let steer = Steer { command: Command::Connect, done };
    supervisor.try_send(SteerApp { app: AppId(1), steer }).unwrap();
    assert!(life(&supervisor, 1, 6).await.connected());
    assert!(obeyed.await.is_ok());
}

/// Panics, as a bug would.
#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Connection {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("a bug");
    }
}

#[derive(Message)]
#[rtype(result = "Option<(u64, Addr<Connection>)>")]
struct ChildOf(AppId);

impl Handler<ChildOf> for Supervisor {
    type Result = Option<(u64, Addr<Connection>)>;

    fn handle(&mut self, ChildOf(app): ChildOf, _: &mut Self::Context) -> Self::Result {
        let child = self.children.get(&app)?;
        let Life::Running(actor) = &child.life else { return None };
        Some((child.lives, actor.clone()))
    }
}

async fn crash(connection: &Addr<Connection>) {
    assert!(connection.send(Crash).await.is_err(), "the panic ends the actor");
}

/// The actor of an app in the life it is asked for. Time is paused, so waiting costs none.
async fn life(supervisor: &Addr<Supervisor>, app: i64, wanted: u64) -> Addr<Connection> {
    for _ in 0..10_000 {
        match supervisor.send(ChildOf(AppId(app))).await.unwrap() {
            Some((life, actor)) if life == wanted => return actor,
            _ => tokio::time::advance(Duration::from_millis(50)).await,
        }
    }
    panic!("the app has not come to life {wanted}");
}

fn supervisor(apps: i64) -> Addr<Supervisor> {
    Supervisor::new(shared(apps), Arc::default(), vec![Arbiter::current()]).start()
}

fn shared(apps: i64) -> Arc<Shared> {
    let (shared, lines) = shared_and_history(apps);
    actix_rt::spawn(crate::actors::shared::keep_history(Arc::new(Apps(apps)), lines));
    shared
}

fn shared_and_history(apps: i64) -> (Arc<Shared>, mpsc::Receiver<Transition>) {
    let (history, lines) = mpsc::channel(64);
    let shared = Arc::new(Shared {
        clock: Clock::start(),
        store: Arc::new(Apps(apps)),
        outside: Arc::new(Outside {
            api: Url::parse("http://127.0.0.1:9/api/").unwrap(),
            tls: client_config(None).unwrap(),
        }),
        generations: Generations::default(),
        budget: Budget::new(1 << 20, 0),
        exit: Exit::Unkept(mpsc::channel(1).0),
        asks: None,
        pacer: Pacer::new(Clock::start(), Limits::default()),
        identities: Arc::new(Semaphore::new(1)),
        history,
        metrics: Arc::new(Metrics::new().unwrap()),
        other_nodes: std::sync::atomic::AtomicU32::new(0),
        names: Arc::default(),
    });
    (shared, lines)
}

/// So many apps, all of them wanted off: nothing is dialled.
struct Apps(i64);

fn unasked<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not asked here".into()))
}

#[async_trait]
impl Workspaces for Apps {
    async fn seated(&self, _: AppId) -> Result<Vec<Workspace>, StoreError> {
        unreachable!("no connection asks for it")
    }
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        let app = |id| App {
            id: AppId(id),
            slack_app_id: None,
            token: None,
            candidate: None,
            links: 1,
            desired: Desired::Disconnected,
            seats: Vec::new(),
        };
        Ok((1..=self.0).map(app).collect())
    }

    async fn app(&self, id: AppId) -> Result<Option<App>, StoreError> {
        Ok(self.apps().await?.into_iter().find(|app| app.id == id))
    }

    async fn changed_apps(&self, _: Option<i64>) -> Result<(Vec<AppId>, i64), StoreError> {
        Ok((Vec::new(), 0))
    }

    async fn note_trouble(&self, _: WorkspaceId, _: Trouble) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn forgive(&self, _: &WorkspaceName, _: i64) -> Result<bool, StoreError> {
        unasked()
    }
    async fn disprove(&self, _: WorkspaceId, _: Code, _: i64) -> Result<bool, StoreError> {
        unasked()
    }
    async fn note_limit(&self, _: WorkspaceId, _: i64) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn record(&self, _: &[Transition]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn workspaces(&self, _: Order, _: Option<&Place>, _: u32) -> Result<Vec<Workspace>, StoreError> {
        unasked()
    }
    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError> {
        unasked()
    }
    async fn apps_after(&self, _: AppId, _: u32) -> Result<Vec<App>, StoreError> {
        unasked()
    }
    async fn slack_app(&self, _: &str) -> Result<Option<App>, StoreError> {
        unasked()
    }
    async fn workspace(&self, _: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        unasked()
    }
    async fn put_workspace(
        &self,
        _: &WorkspaceName,
        _: &WorkspaceSpec,
        _: When,
        _: i64,
    ) -> Result<Put, StoreError> {
        unasked()
    }
    async fn remove_workspace(
        &self,
        _: &WorkspaceName,
        _: When,
        _: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        unasked()
    }
    async fn purge_workspace(
        &self,
        _: &WorkspaceName,
        _: When,
        _: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        unasked()
    }
    async fn bot_token(&self, _: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        unasked()
    }
    async fn promote_candidate(&self, _: AppId, _: &AppToken, _: i64) -> Result<(), StoreError> {
        unasked()
    }
    async fn drop_candidate(&self, _: AppId, _: &AppToken, _: i64) -> Result<(), StoreError> {
        unasked()
    }
    async fn learn_slack_app_id(&self, _: AppId, _: &str, _: i64) -> Result<(), StoreError> {
        unasked()
    }
    async fn learn_team(
        &self,
        _: WorkspaceId,
        _: Option<&str>,
        _: Option<&str>,
        _: i64,
    ) -> Result<(), StoreError> {
        unasked()
    }
    async fn history(&self, _: AppId, _: Option<i64>, _: u32) -> Result<Vec<(i64, Transition)>, StoreError> {
        unasked()
    }
}
