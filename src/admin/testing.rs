//! A node without a node behind it, and how tests ask it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web::Bytes};
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use super::{AdminToken, Check, Counters, Facts, Node, Steered, Steering, service};
use crate::config::KeySource;
use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::secret::{AppToken, BotToken, WebhookSecret};
use crate::slack::tls::client_config;
use crate::slack::web::Outside;
use crate::status::feed::Feed;
use crate::status::{Command, Standing, Status, Trouble};
use crate::store::{
    Absent, Accounts, App as StoredApp, Caller, Change, Desired, OpenOptions, Order, Place, Put, Seat,
    Secret, Store, StoreError, TokenHint, Transition, Webhooks, When, Workspace, WorkspaceSpec, Workspaces,
};
use crate::telemetry::Totals;

pub(super) const TOKEN: &str = "the-admin-token";

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// A header; empty where there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The code of a problem that has every part a problem must have.
pub(super) fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    let code = problem["code"].as_str().unwrap().to_owned();
    assert_eq!(problem["type"], format!("urn:problem-type:tautline:{code}"));
    assert_eq!(problem["status"], answer.status.as_u16());
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["errors"].is_array());
    code
}

/// Asks with the token.
pub(super) async fn ask(node: &Arc<FakeNode>, request: TestRequest) -> Answer {
    ask_as_is(node, request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))).await
}

/// Asks with what the request has.
pub(super) async fn ask_as_is(node: &Arc<FakeNode>, request: TestRequest) -> Answer {
    let node: Arc<dyn Node> = Arc::<FakeNode>::clone(node);
    let app = init_service(App::new().configure(service(node, AdminToken::new(TOKEN)))).await;
    let answer = call_service(&app, request.to_request()).await;
    Answer { status: answer.status(), headers: answer.headers().clone(), body: read_body(answer).await }
}

/// The API of a node that is asked more than once.
pub(super) type Service = dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = Answer>>>;

/// The whole API, which remembers what it was asked before.
pub(super) async fn serve(node: &Arc<FakeNode>) -> Box<Service> {
    let node: Arc<dyn Node> = Arc::<FakeNode>::clone(node);
    let app = Rc::new(init_service(App::new().configure(service(node, AdminToken::new(TOKEN)))).await);
    Box::new(move |request| {
        let app = Rc::clone(&app);
        Box::pin(async move {
            let answer = call_service(&*app, request.to_request()).await;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, body: read_body(answer).await }
        })
    })
}

/// A node of which a test says everything.
pub(super) struct FakeNode {
    pub(super) store: Arc<FakeStore>,
    pub(super) statuses: Mutex<BTreeMap<AppId, Status>>,
    pub(super) counters: Mutex<Counters>,
    /// What [`Node::app_changed`] was called with.
    pub(super) changed: Mutex<Vec<AppId>>,
    /// What [`Node::steer`] was called with.
    pub(super) steered: Mutex<Vec<(AppId, Command)>>,
    /// What connections say once they are steered; nobody obeys where nothing is said.
    pub(super) obeys: watch::Sender<Option<Status>>,
    checks: Mutex<Vec<Check>>,
    pub(super) feed: Arc<Feed>,
    /// In the place of the fake one.
    real: Option<(Arc<dyn Store>, tempfile::TempDir)>,
    now_ms: AtomicI64,
    outside: Arc<Outside>,
}

impl FakeNode {
    pub(super) fn new() -> Arc<Self> {
        Self::on(None)
    }

    /// A node on a real database, which goes when the node does.
    pub(super) async fn real() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("t.db").display().to_string();
        let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
        let store = crate::store::open(options).await.unwrap().store;
        Self::on(Some((store, folder)))
    }

    fn on(real: Option<(Arc<dyn Store>, tempfile::TempDir)>) -> Arc<Self> {
        let checks = ["journal", "database"].map(|name| Check { name, outcome: Ok(()), note: None });
        Arc::new(Self {
            store: Arc::default(),
            statuses: Mutex::default(),
            counters: Mutex::default(),
            changed: Mutex::default(),
            steered: Mutex::default(),
            obeys: watch::Sender::new(None),
            checks: Mutex::new(checks.into()),
            feed: Arc::default(),
            real,
            now_ms: AtomicI64::new(1_795_377_600_000),
            outside: Arc::new(Outside {
                api: "http://127.0.0.1:9/api/".parse().unwrap(),
                tls: client_config(None).unwrap(),
            }),
        })
    }

    pub(super) fn fail_check(&self, name: &str, reason: &str) {
        let mut checks = self.checks.lock().unwrap();
        checks.iter_mut().find(|check| check.name == name).unwrap().outcome = Err(reason.to_owned());
    }

    pub(super) fn note(&self, name: &str, note: &str) {
        let mut checks = self.checks.lock().unwrap();
        checks.iter_mut().find(|check| check.name == name).unwrap().note = Some(note.to_owned());
    }

    /// Time goes by.
    pub(super) fn pass_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The database of a node on a real one.
    pub(super) fn real_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.real.as_ref().unwrap().0)
    }

    /// The apps that were told of a change since this was last asked.
    pub(super) fn take_changed(&self) -> Vec<AppId> {
        std::mem::take(&mut self.changed.lock().unwrap())
    }
}

impl Node for FakeNode {
    fn store(&self, by: &Caller) -> Arc<dyn Workspaces> {
        match &self.real {
            Some((real, _)) => Arc::clone(real).on_behalf(by.clone()),
            None => Arc::<FakeStore>::clone(&self.store) as Arc<dyn Workspaces>,
        }
    }

    fn accounts(&self) -> Arc<dyn Accounts> {
        match &self.real {
            Some((real, _)) => Arc::clone(real) as Arc<dyn Accounts>,
            None => Arc::new(Absent),
        }
    }

    fn status(&self, app: AppId) -> Option<Status> {
        self.statuses.lock().unwrap().get(&app).cloned()
    }

    fn counters(&self, _app: AppId) -> Counters {
        *self.counters.lock().unwrap()
    }

    fn app_changed(&self, app: AppId) {
        self.changed.lock().unwrap().push(app);
    }

    fn steer(&self, app: AppId, command: Command) -> Steering {
        self.steered.lock().unwrap().push((app, command));
        let Some(status) = self.obeys.borrow().clone() else { return Box::pin(async { None }) };
        self.statuses.lock().unwrap().insert(app, status.clone());
        let (said, status) = watch::channel(status);
        let mut obeys = self.obeys.subscribe();
        // It goes on saying what it is told to say.
        actix_rt::spawn(async move {
            while obeys.changed().await.is_ok() {
                let Some(status) = obeys.borrow().clone() else { return };
                said.send_replace(status);
            }
        });
        Box::pin(async { Some(Steered { status, youngest: None }) })
    }

    fn checks(&self) -> Vec<Check> {
        self.checks.lock().unwrap().clone()
    }

    fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    fn metrics(&self) -> String {
        "tautline_fake 1\n".to_owned()
    }

    fn outside(&self) -> &Arc<Outside> {
        &self.outside
    }

    fn totals(&self) -> Totals {
        Totals { acks: 6, ..Totals::default() }
    }

    fn facts(&self) -> Facts {
        let started_ms = self.now_ms() - 90_000;
        Facts { name: "node-1".to_owned(), started_ms, database: "sqlite", ack: "stored" }
    }

    fn default_links(&self) -> u8 {
        3
    }

    fn webhooks(&self) -> Arc<dyn Webhooks> {
        Arc::new(Absent)
    }

    fn webhooks_changed(&self) {}

    fn allows_private_webhooks(&self) -> bool {
        false
    }

    fn is_public(&self, ip: IpAddr) -> bool {
        !ip.is_loopback()
    }

    fn post_webhook<'a>(
        &'a self,
        _url: &'a str,
        _secret: &'a WebhookSecret,
        _body: &'a str,
    ) -> LocalBoxFuture<'a, Result<u16, String>> {
        Box::pin(async { Err("nothing is posted here".to_owned()) })
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}

/// Workspaces in memory, and an app for each app token.
#[derive(Default)]
pub(super) struct FakeStore {
    broken: AtomicBool,
    fails: Mutex<Option<StoreError>>,
    rows: Mutex<BTreeMap<WorkspaceName, Workspace>>,
    /// Newest last; a change's number is its place, from one.
    pub(super) transitions: Mutex<Vec<Transition>>,
    apps: Mutex<Vec<String>>,
}

impl FakeStore {
    /// Changes a row behind the API's back.
    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut Workspace)) {
        let mut rows = self.rows.lock().unwrap();
        change(rows.values_mut().find(|row| row.name.as_str() == name).unwrap());
    }

    /// From now on the database is away.
    pub(super) fn break_down(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// The next write fails like this.
    pub(super) fn fail_next(&self, error: StoreError) {
        *self.fails.lock().unwrap() = Some(error);
    }

    /// A workspace of an app of its own, as if it had been put.
    pub(super) fn insert(&self, name: &str) {
        self.insert_on(name, &format!("xapp-{name}"));
    }

    /// A workspace of the app with this token, as if it had been put.
    pub(super) fn insert_on(&self, name: &str, token: &str) {
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            links: 1,
            labels: Vec::new(),
            app_token: Secret::Set(AppToken::parse(token).unwrap()),
            bot_token: Secret::Keep,
        };
        let name = WorkspaceName::parse(name).unwrap();
        let made = self.put(&name, &spec, When::Absent, 0).unwrap();
        assert_eq!(made.change, Change::Created);
    }

    fn put(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.check()?;
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)?;
        let mut rows = self.rows.lock().unwrap();
        let old = rows.get(name).cloned();
        when.check(old.as_ref())?;
        let app = match (&spec.app_token, &old) {
            (Secret::Set(token), _) => self.app_of(token.fingerprint()),
            (Secret::Keep | Secret::Remove, Some(old)) => old.app,
            (Secret::Keep | Secret::Remove, None) => return Err(StoreError::Data("no app token".to_owned())),
        };
        let mut workspace = Workspace {
            id: WorkspaceId(1),
            name: name.clone(),
            title: spec.title.clone(),
            app,
            slack_app_id: None,
            team_id: None,
            enterprise_id: None,
            desired: spec.desired,
            links: spec.links,
            labels: spec.labels.clone(),
            app_token: hinted(
                old.as_ref().and_then(|old| old.app_token.clone()),
                &spec.app_token,
                AppToken::hint,
                now_ms,
            ),
            bot_token: hinted(
                old.as_ref().and_then(|old| old.bot_token.clone()),
                &spec.bot_token,
                BotToken::hint,
                now_ms,
            ),
            version: old.as_ref().map_or(1, |old| old.version),
            created_ms: old.as_ref().map_or(now_ms, |old| old.created_ms),
            trouble: None,
            limited_until_ms: None,
            updated_ms: now_ms,
        };
        workspace.labels.sort_unstable();
        let change = match old {
            None => Change::Created,
            Some(old) if old == workspace => Change::Unchanged,
            Some(_) => {
                workspace.version += 1;
                Change::Updated
            }
        };
        rows.insert(name.clone(), workspace.clone());
        Ok(Put { workspace, change })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) { Err(away()) } else { Ok(()) }
    }

    fn app_of(&self, fingerprint: String) -> AppId {
        let mut apps = self.apps.lock().unwrap();
        let known = apps.iter().position(|app| *app == fingerprint);
        let place = known.unwrap_or_else(|| {
            apps.push(fingerprint);
            apps.len() - 1
        });
        AppId(i64::try_from(place).unwrap() + 1)
    }
}

fn seated_app(id: AppId) -> StoredApp {
    StoredApp {
        id,
        slack_app_id: None,
        token: None,
        candidate: None,
        links: 1,
        desired: Desired::Disconnected,
        seats: Vec::new(),
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("host db-7.internal refuses".to_owned())
}

fn hinted<T>(old: Option<TokenHint>, new: &Secret<T>, hint: fn(&T) -> String, now: i64) -> Option<TokenHint> {
    match new {
        Secret::Keep => old,
        Secret::Remove => None,
        Secret::Set(token) => {
            let fresh = TokenHint { hint: hint(token), updated_ms: now };
            Some(old.filter(|old| old.hint == fresh.hint).unwrap_or(fresh))
        }
    }
}

#[async_trait]
impl Workspaces for FakeStore {
    async fn workspaces(
        &self,
        order: Order,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        self.check()?;
        let mut rows: Vec<_> = self.rows.lock().unwrap().values().cloned().collect();
        let key = |workspace: &Workspace| {
            let Place { ms, name } = order.place(workspace);
            (ms, name)
        };
        rows.sort_by_key(key);
        if order.descending {
            rows.reverse();
        }
        if let Some(after) = after {
            let after = (after.ms, after.name.clone());
            rows.retain(|row| if order.descending { key(row) < after } else { key(row) > after });
        }
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().map(|workspace| (workspace.app, workspace.standing())).collect())
    }

    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        self.check()?;
        Ok(self.rows.lock().unwrap().get(name).cloned())
    }

    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.put(name, spec, when, now_ms)
    }

    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        _now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.check()?;
        let mut rows = self.rows.lock().unwrap();
        if let Some(found) = rows.get(name) {
            when.check(Some(found))?;
        }
        Ok(rows.remove(name))
    }

    async fn apps_after(&self, after: AppId, limit: u32) -> Result<Vec<StoredApp>, StoreError> {
        self.check()?;
        let mut apps: BTreeMap<AppId, StoredApp> = BTreeMap::new();
        for workspace in self.rows.lock().unwrap().values().filter(|workspace| workspace.app > after) {
            let app = apps.entry(workspace.app).or_insert_with(|| seated_app(workspace.app));
            app.links = app.links.max(workspace.links);
            if workspace.desired == Desired::Connected {
                app.desired = Desired::Connected;
            }
            app.seats.push(Seat {
                workspace: workspace.id,
                name: workspace.name.clone(),
                team_id: workspace.team_id.clone(),
                enterprise_id: workspace.enterprise_id.clone(),
                bot_ms: None,
                trouble: None,
            });
        }
        Ok(apps.into_values().take(limit as usize).collect())
    }

    async fn slack_app(&self, _slack_app_id: &str) -> Result<Option<StoredApp>, StoreError> {
        self.check()?;
        Ok(None)
    }

    async fn app(&self, id: AppId) -> Result<Option<StoredApp>, StoreError> {
        let apps = self.apps_after(AppId(0), u32::MAX).await?;
        Ok(apps.into_iter().find(|app| app.id == id))
    }

    async fn history(
        &self,
        app: AppId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Transition)>, StoreError> {
        self.check()?;
        let all = self.transitions.lock().unwrap();
        let numbered: Vec<_> = (1..).zip(all.iter().cloned()).collect();
        let meant = numbered
            .into_iter()
            .rev()
            .filter(|(n, of)| of.app == app && before.is_none_or(|before| *n < before));
        Ok(meant.take(limit as usize).collect())
    }

    async fn seated(&self, app: AppId) -> Result<Vec<Workspace>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().filter(|workspace| workspace.app == app).cloned().collect())
    }

    // The API never asks for what follows.

    async fn bot_token(&self, _workspace: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        Err(away())
    }
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        Err(away())
    }
    async fn promote_candidate(
        &self,
        _app: AppId,
        _tried: &AppToken,
        _now_ms: i64,
    ) -> Result<(), StoreError> {
        Err(away())
    }
    async fn drop_candidate(&self, _app: AppId, _tried: &AppToken, _now_ms: i64) -> Result<(), StoreError> {
        Err(away())
    }
    async fn learn_slack_app_id(&self, _app: AppId, _slack: &str, _now_ms: i64) -> Result<(), StoreError> {
        Err(away())
    }
    async fn learn_team(
        &self,
        _workspace: WorkspaceId,
        _team_id: Option<&str>,
        _enterprise_id: Option<&str>,
        _now_ms: i64,
    ) -> Result<(), StoreError> {
        Err(away())
    }
    async fn note_trouble(&self, _workspace: WorkspaceId, _trouble: Trouble) -> Result<bool, StoreError> {
        Err(away())
    }
    async fn note_limit(&self, _workspace: WorkspaceId, _until_ms: i64) -> Result<bool, StoreError> {
        Err(away())
    }
    async fn record(&self, _transitions: &[Transition]) -> Result<(), StoreError> {
        Err(away())
    }
}
