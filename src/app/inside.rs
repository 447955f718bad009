//! The node, as the admin API sees it: also while it waits for its database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use crate::actors::{Directory, Node, Poster, Router, Steered};
use crate::admin::{self, Check, Counters, Facts, Steering};
use crate::clock::Clock;
use crate::files::OpenFiles;
use crate::handlers::Options;
use crate::ids::AppId;
use crate::secret::WebhookSecret;
use crate::slack::web::Outside;
use crate::status::feed::Feed;
use crate::status::{Command, State, Status};
use crate::store::{Absent, Accounts, Archive, Caller, RouteStore, Store, Webhooks, Workspaces};
use crate::telemetry::{Metrics, Opens, Snapshot, Totals};

/// What the admin API is answered from.
pub(super) struct Inside {
    pub(super) directory: Arc<Directory>,
    pub(super) poster: Poster,
    pub(super) stopping: AtomicBool,
    /// What the handlers are called.
    pub(super) handlers: Vec<String>,
    /// Their limits, in the same order.
    pub(super) handler_options: Vec<Options>,
    pub(super) links: u8,
    pub(super) facts: Facts,
    pub(super) outside: Arc<Outside>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// Set once, when the database is open and the node runs.
    pub(super) running: OnceLock<Running>,
}

/// What there is only once the node runs.
pub(super) struct Running {
    store: Arc<dyn Store>,
    router: Arc<Router>,
    app_changed: Box<dyn Fn(AppId) + Send + Sync>,
    steer: Box<dyn Fn(AppId, Command) -> oneshot::Receiver<Steered> + Send + Sync>,
    journal_writes: Box<dyn Fn() -> bool + Send + Sync>,
    journal_opens: Box<dyn Fn() -> bool + Send + Sync>,
    webhooks_changed: Box<dyn Fn() + Send + Sync>,
    load: Box<dyn Fn() -> (Opens, usize) + Send + Sync>,
}

impl Running {
    pub(super) fn of(node: &Node, store: Arc<dyn Store>, router: Arc<Router>) -> Self {
        Self {
            store,
            router,
            app_changed: Box::new(node.app_changed()),
            steer: Box::new(node.steer()),
            journal_writes: Box::new(node.journal_writes()),
            journal_opens: Box::new(node.journal_opens()),
            webhooks_changed: Box::new(node.webhooks_changed()),
            load: Box::new(node.load()),
        }
    }
}

impl Inside {
    fn check_database(&self) -> Result<(), String> {
        match self.running.get() {
            Some(_) => Ok(()),
            None => Err("it does not answer yet; the node starts when it does, and its log says more".into()),
        }
    }

    /// Is what comes kept and acked? What cannot be opened with this node's key is.
    fn journal_writes(&self) -> bool {
        self.running.get().is_none_or(|running| (running.journal_writes)())
    }

    fn check_journal(&self) -> Result<(), String> {
        match self.running.get() {
            Some(_) if !self.journal_writes() => Err("the database takes no writes; nothing is acked".into()),
            Some(running) if !(running.journal_opens)() => Err(
                "events wait that are sealed with a key this node does not have; start it with that key as other_key".into(),
            ),
            Some(_) | None => Ok(()),
        }
    }
}

impl admin::Node for Inside {
    fn store(&self, by: &Caller) -> Arc<dyn Workspaces> {
        match self.running.get() {
            Some(running) => Arc::clone(&running.store).on_behalf(by.clone()),
            None => Arc::new(Absent),
        }
    }

    fn accounts(&self) -> Arc<dyn Accounts> {
        match self.running.get() {
            Some(running) => Arc::clone(&running.store) as Arc<dyn Accounts>,
            None => Arc::new(Absent),
        }
    }

    fn archive(&self) -> Arc<dyn Archive> {
        match self.running.get() {
            Some(running) => Arc::clone(&running.store) as Arc<dyn Archive>,
            None => Arc::new(Absent),
        }
    }

    fn webhooks(&self) -> Arc<dyn Webhooks> {
        match self.running.get() {
            Some(running) => Arc::clone(&running.store) as Arc<dyn Webhooks>,
            None => Arc::new(Absent),
        }
    }

    fn webhooks_changed(&self) {
        if let Some(running) = self.running.get() {
            (running.webhooks_changed)();
        }
    }

    fn routes(&self) -> Arc<dyn RouteStore> {
        match self.running.get() {
            Some(running) => Arc::clone(&running.store) as Arc<dyn RouteStore>,
            None => Arc::new(Absent),
        }
    }

    fn routes_changed(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(running) = self.running.get()
                && let Err(error) = running.router.refresh().await
            {
                tracing::warn!(%error, "routes have changed and cannot be read; they are in force once they can");
            }
        })
    }

    fn handler_names(&self) -> &[String] {
        &self.handlers
    }

    fn handler_options(&self, handler: &str) -> Option<&Options> {
        let (_, options) =
            self.handlers.iter().zip(&self.handler_options).find(|(name, _)| *name == handler)?;
        Some(options)
    }

    fn allows_private_webhooks(&self) -> bool {
        self.poster.allow_private
    }

    fn post_webhook<'a>(
        &'a self,
        url: &'a str,
        secrets: &'a [WebhookSecret],
        body: &'a str,
    ) -> LocalBoxFuture<'a, Result<u16, String>> {
        let message_id = format!("msg_{:032x}", rand::random::<u128>());
        Box::pin(async move {
            let posted =
                self.poster.post_once(url, secrets, &message_id, self.clock.now().wall_ms, body).await;
            posted.map_err(|error| error.to_string())
        })
    }

    fn is_public(&self, ip: std::net::IpAddr) -> bool {
        crate::actors::is_public(ip)
    }

    fn status(&self, app: AppId) -> Option<Status> {
        let status = self.directory.get(app)?.status().borrow().clone();
        Some(if self.journal_writes() { status } else { status.with_stuck_journal() })
    }

    fn feed(&self) -> Arc<Feed> {
        self.directory.feed()
    }

    fn counters(&self, app: AppId) -> Counters {
        let Some(entry) = self.directory.get(app) else { return Counters::default() };
        let counters = &entry.counters;
        let last = counters.last_event_ms.load(Ordering::Relaxed);
        // Of what was taken in; whether it came before is known when the journal has seen it.
        let duplicates = counters.duplicates.load(Ordering::Relaxed);
        Counters {
            events: counters.events.load(Ordering::Relaxed).saturating_sub(duplicates),
            duplicates,
            acks: counters.acks.load(Ordering::Relaxed),
            reconnects: counters.reconnects.load(Ordering::Relaxed),
            last_event_ms: (last != 0).then_some(last),
        }
    }

    fn app_changed(&self, app: AppId) {
        if let Some(running) = self.running.get() {
            (running.app_changed)(app);
            running.router.workspaces_changed();
        }
    }

    fn steer(&self, app: AppId, command: Command) -> Steering {
        let obeyed = self.running.get().map(|running| (running.steer)(app, command));
        Box::pin(async move {
            let Steered { status, youngest } = obeyed?.await.ok()?;
            Some(admin::Steered { status, youngest })
        })
    }

    /// Workspaces that cannot connect are their own trouble: a node that carries the others is ready.
    fn checks(&self) -> Vec<Check> {
        let running =
            if self.stopping.load(Ordering::Relaxed) { Err("the node is stopping".into()) } else { Ok(()) };
        let opening =
            |state: &State| matches!(state, State::Connecting | State::Authenticated | State::Connected);
        let first_opens = self.directory.states().iter().filter(|state| opening(state)).count();
        let connections = if first_opens == 0 || self.directory.states().contains(&State::Ready) {
            Ok(())
        } else {
            Err(format!("{first_opens} connections are opening and none is ready yet"))
        };
        let files = OpenFiles::limit().complaint(self.directory.sockets_wanted());
        vec![
            Check { name: "running", outcome: running, note: None },
            Check { name: "database", outcome: self.check_database(), note: None },
            Check { name: "journal", outcome: self.check_journal(), note: None },
            Check { name: "connections", outcome: connections, note: None },
            Check { name: "open_files", outcome: Ok(()), note: files },
        ]
    }

    fn metrics(&self) -> String {
        let running = self.running.get();
        let (opens, in_memory) = running.map(|running| (running.load)()).unwrap_or_default();
        self.metrics.show(&Snapshot {
            statuses: self.directory.statuses(),
            opens,
            is_database_up: self.check_database().is_ok() && self.journal_writes(),
            pool: running.map(|running| running.store.pool()).unwrap_or_default(),
            in_memory,
            now_ms: self.clock.now().wall_ms,
        });
        self.metrics.render()
    }

    fn outside(&self) -> &Arc<Outside> {
        &self.outside
    }

    fn totals(&self) -> Totals {
        self.metrics.totals()
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn default_links(&self) -> u8 {
        self.links
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }
}
