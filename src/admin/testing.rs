//! A node without a node behind it, and how tests ask it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web::Bytes};
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::{AdminToken, Check, Counters, Node, service};
use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::secret::{AppToken, BotToken, WebhookSecret};
use crate::status::{Status, Trouble};
use crate::store::{
    Absent, App as StoredApp, Change, Put, Secret, StoreError, TokenHint, Transition, Webhooks, Workspace,
    WorkspaceSpec, Workspaces,
};

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

/// A node of which a test says everything.
pub(super) struct FakeNode {
    pub(super) store: Arc<FakeStore>,
    pub(super) statuses: Mutex<BTreeMap<AppId, Status>>,
    pub(super) counters: Mutex<Counters>,
    /// What [`Node::app_changed`] was called with.
    pub(super) changed: Mutex<Vec<AppId>>,
    checks: Mutex<Vec<Check>>,
}

impl FakeNode {
    pub(super) fn new() -> Arc<Self> {
        let checks = ["journal", "database"].map(|name| Check { name, outcome: Ok(()) });
        Arc::new(Self {
            store: Arc::default(),
            statuses: Mutex::default(),
            counters: Mutex::default(),
            changed: Mutex::default(),
            checks: Mutex::new(checks.into()),
        })
    }

    pub(super) fn fail_check(&self, name: &str, reason: &str) {
        let mut checks = self.checks.lock().unwrap();
        checks.iter_mut().find(|check| check.name == name).unwrap().outcome = Err(reason.to_owned());
    }

    /// The apps that were told of a change since this was last asked.
    pub(super) fn take_changed(&self) -> Vec<AppId> {
        std::mem::take(&mut self.changed.lock().unwrap())
    }
}

impl Node for FakeNode {
    fn store(&self) -> Arc<dyn Workspaces> {
        Arc::<FakeStore>::clone(&self.store)
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

    fn checks(&self) -> Vec<Check> {
        self.checks.lock().unwrap().clone()
    }

    fn metrics(&self) -> String {
        "tautline_fake 1\n".to_owned()
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
        1_795_377_600_000
    }
}

/// Workspaces in memory, and an app for each app token.
#[derive(Default)]
pub(super) struct FakeStore {
    broken: AtomicBool,
    fails: Mutex<Option<StoreError>>,
    rows: Mutex<BTreeMap<WorkspaceName, Workspace>>,
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
        after: Option<&WorkspaceName>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let later = rows.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
        Ok(later.take(limit as usize).map(|(_, workspace)| workspace.clone()).collect())
    }

    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        self.check()?;
        Ok(self.rows.lock().unwrap().get(name).cloned())
    }

    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.check()?;
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)?;
        let mut rows = self.rows.lock().unwrap();
        let old = rows.get(name).cloned();
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
            trouble: None,
            limited_until_ms: None,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        workspace.labels.sort_unstable();
        let change = match old {
            None => Change::Created,
            Some(old) if old == workspace => Change::Unchanged,
            Some(_) => Change::Updated,
        };
        rows.insert(name.clone(), workspace.clone());
        Ok(Put { workspace, change })
    }

    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        _now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.check()?;
        Ok(self.rows.lock().unwrap().remove(name))
    }

    // The API never asks for what follows.

    async fn bot_token(&self, _workspace: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        Err(away())
    }
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        Err(away())
    }
    async fn app(&self, _id: AppId) -> Result<Option<StoredApp>, StoreError> {
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
    async fn workspaces_of(&self, _: AppId) -> Result<Vec<Workspace>, StoreError> {
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
    async fn history(&self, _app: AppId, _limit: u32) -> Result<Vec<Transition>, StoreError> {
        Err(away())
    }
}
