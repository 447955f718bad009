//! A node of which a test says everything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::super::{Check, Counters, Facts, Node, Steered, Steering};
use super::store::FakeStore;
use crate::config::KeySource;
use crate::handlers::Options;
use crate::ids::AppId;
use crate::secret::WebhookSecret;
use crate::slack::tls::client_config;
use crate::slack::web::Outside;
use crate::status::feed::Feed;
use crate::status::{Command, Status};
use crate::store::{Absent, Accounts, Archive, Caller, OpenOptions, RouteStore, Store, Webhooks, Workspaces};
use crate::telemetry::Totals;

/// Of the real store, or the fake one.
pub(in crate::admin) struct FakeNode {
    pub(in crate::admin) store: Arc<FakeStore>,
    pub(in crate::admin) statuses: Mutex<BTreeMap<AppId, Status>>,
    pub(in crate::admin) counters: Mutex<Counters>,
    /// What [`Node::app_changed`] was called with.
    pub(in crate::admin) changed: Mutex<Vec<AppId>>,
    /// What [`Node::steer`] was called with.
    pub(in crate::admin) steered: Mutex<Vec<(AppId, Command)>>,
    /// What connections say once they are steered; nobody obeys where nothing is said.
    pub(in crate::admin) obeys: watch::Sender<Option<Status>>,
    /// How often [`Node::routes_changed`] was called.
    pub(in crate::admin) routes_changes: AtomicI64,
    handlers: Vec<String>,
    options: [Options; 3],
    checks: Mutex<Vec<Check>>,
    pub(in crate::admin) feed: Arc<Feed>,
    /// In the place of the fake one.
    real: Option<(Arc<dyn Store>, tempfile::TempDir)>,
    now_ms: AtomicI64,
    outside: Arc<Outside>,
}

impl FakeNode {
    pub(in crate::admin) fn new() -> Arc<Self> {
        Self::on(None)
    }

    /// A node on a real database, which goes when the node does.
    pub(in crate::admin) async fn real() -> Arc<Self> {
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
            routes_changes: AtomicI64::new(0),
            handlers: ["log", "bridge", "echo"].map(str::to_owned).into(),
            options: [false, true, false].map(|answers| Options { answers, ..Options::default() }),
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

    pub(in crate::admin) fn fail_check(&self, name: &str, reason: &str) {
        let mut checks = self.checks.lock().unwrap();
        checks.iter_mut().find(|check| check.name == name).unwrap().outcome = Err(reason.to_owned());
    }

    pub(in crate::admin) fn note(&self, name: &str, note: &str) {
        let mut checks = self.checks.lock().unwrap();
        checks.iter_mut().find(|check| check.name == name).unwrap().note = Some(note.to_owned());
    }

    /// Time goes by.
    pub(in crate::admin) fn pass_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The database of a node on a real one.
    pub(in crate::admin) fn real_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.real.as_ref().unwrap().0)
    }

    /// The apps that were told of a change since this was last asked.
    pub(in crate::admin) fn take_changed(&self) -> Vec<AppId> {
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

    fn archive(&self) -> Arc<dyn Archive> {
        match &self.real {
            Some((real, _)) => Arc::clone(real) as Arc<dyn Archive>,
            None => Arc::new(Absent),
        }
    }

    fn webhooks(&self) -> Arc<dyn Webhooks> {
        match &self.real {
            Some((real, _)) => Arc::clone(real) as Arc<dyn Webhooks>,
            None => Arc::new(Absent),
        }
    }

    fn webhooks_changed(&self) {}

    fn routes(&self) -> Arc<dyn RouteStore> {
        match &self.real {
            Some((real, _)) => Arc::clone(real) as Arc<dyn RouteStore>,
            None => Arc::new(Absent),
        }
    }

    fn routes_changed(&self) -> LocalBoxFuture<'_, ()> {
        self.routes_changes.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    }

    fn handler_names(&self) -> &[String] {
        &self.handlers
    }

    fn handler_options(&self, handler: &str) -> Option<&Options> {
        self.options.get(self.handlers.iter().position(|name| name == handler)?)
    }

    fn allows_private_webhooks(&self) -> bool {
        false
    }

    fn is_public(&self, ip: IpAddr) -> bool {
        !ip.is_loopback()
    }

    fn post_webhook<'a>(
        &'a self,
        _url: &'a str,
        _secret: &'a [WebhookSecret],
        _body: &'a str,
    ) -> LocalBoxFuture<'a, Result<u16, String>> {
        Box::pin(async { Err("nothing is posted here".to_owned()) })
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}
