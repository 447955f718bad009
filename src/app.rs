//! The composition root: what starts, in which order, and how it stops.
//!
//! Start: the store (lock, key, pragmas), the addresses, the way to Slack; all that can be refused comes before anything is begun.
//! Then the node (journal, dispatcher, handlers, supervisor) and the API that users see. Stop: readiness turns red, links wait for
//! their verdicts and close, handlers finish what they have begun, the journal notes what is done, the address goes last so that a
//! watcher sees the end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use url::Url;

use crate::actors::{Directory, Node, NodeParts, StopReport};
use crate::admin::{self, AdminToken, Check, Counters};
use crate::clock::Clock;
use crate::config::{Ack, KeySource};
use crate::files::OpenFiles;
use crate::handlers::Registry;
use crate::ids::{AppId, WorkspaceName};
use crate::machine::pace::Limits;
use crate::secret::{AppToken, BotToken};
use crate::slack::tls::{TlsError, client_config};
use crate::slack::web::Outside;
use crate::status::{State, Status};
use crate::store::{Desired, OpenOptions, Secret, SqliteStore, Store, StoreError, WorkspaceSpec, Workspaces};
use crate::telemetry::Metrics;

/// The workspace that `SLACK_APP_TOKEN` registers.
const DEFAULT_WORKSPACE: &str = "default";

/// Where the addresses are set.
const LISTEN_SETTING: &str = "TAUTLINE_LISTEN or --listen";
const METRICS_SETTING: &str = "TAUTLINE_METRICS_LISTEN";

/// How long a stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// What a node is started with.
pub struct Options {
    /// `sqlite://tautline.db`
    pub database: String,
    /// Where the key of the vault comes from.
    pub key: KeySource,
    /// The most pages the database may have; none for no bound but the disk.
    pub max_pages: Option<u32>,
    /// Where the admin API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics are offered without a token.
    pub metrics_listen: Option<SocketAddr>,
    /// The admin API's token.
    pub admin_token: AdminToken,
    /// The Web API's base, ending in a slash.
    pub slack_api: Url,
    /// Certificates beside Mozilla's.
    pub extra_ca_file: Option<PathBuf>,
    /// What an ack means.
    pub ack: Ack,
    /// Who handles events.
    pub handlers: Registry,
    /// Sockets an app, 1 to 9, where its workspace does not say.
    pub links: u8,
    /// How fast Slack may be asked for addresses, by all connections together.
    pub opens: Limits,
    /// Threads that carry connections.
    pub threads: usize,
    /// A workspace to register at start: the shortest way from a token to a running node.
    pub workspace: Option<(AppToken, Option<BotToken>)>,
    /// Where metrics are counted and read.
    pub metrics: Arc<Metrics>,
}

/// Why a node does not start. One line each, for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The way to Slack cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {problem}; choose another with {setting}")]
    Listen {
        /// Where it is set.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
}

/// A running node with its admin API.
pub struct App {
    node: Node,
    inside: Arc<Inside>,
    address: SocketAddr,
    servers: Vec<ServerHandle>,
}

impl App {
    /// Starts a node. To be called inside an actix system.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let clock = Clock::start();
        let open = OpenOptions { address: options.database, key: options.key, max_pages: options.max_pages };
        let opened = SqliteStore::open(open).await?;
        for note in opened.notes {
            tracing::warn!("{note}");
        }
        let store: Arc<dyn Store> = Arc::new(opened.store);
        let (listener, address) = listen(options.listen, LISTEN_SETTING)?;
        let metrics_listener =
            options.metrics_listen.map(|address| listen(address, METRICS_SETTING)).transpose()?;
        let outside =
            Outside { api: options.slack_api, tls: client_config(options.extra_ca_file.as_deref())? };
        if let Some((app_token, bot_token)) = options.workspace {
            register_default(&*store, app_token, bot_token, options.links, clock.now().wall_ms).await?;
        }
        let node = Node::start(NodeParts {
            store: Arc::clone(&store),
            outside,
            clock,
            ack: options.ack,
            handlers: options.handlers,
            opens: options.opens,
            threads: options.threads,
            name: "node-1".to_owned(),
            metrics: Arc::clone(&options.metrics),
        })
        .await?;
        let inside = Arc::new(Inside {
            store,
            directory: Arc::clone(node.directory()),
            app_changed: Box::new(node.app_changed()),
            journal_writes: Box::new(node.journal_writes()),
            stopping: AtomicBool::new(false),
            links: options.links,
            metrics: options.metrics,
            clock,
        });
        let mut servers = Vec::new();
        let as_node = || Arc::clone(&inside) as Arc<dyn admin::Node>;
        if let Some((listener, address)) = metrics_listener {
            let server =
                admin::bind_metrics(listener, as_node()).map_err(refused(address, METRICS_SETTING))?;
            servers.push(server.handle());
            actix_rt::spawn(server);
        }
        let server = admin::bind(listener, 2, as_node(), options.admin_token)
            .map_err(refused(address, LISTEN_SETTING))?;
        servers.push(server.handle());
        actix_rt::spawn(server);
        Ok(Self { node, inside, address, servers })
    }

    /// Where the admin API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is known of every connection.
    pub fn directory(&self) -> &Arc<Directory> {
        self.node.directory()
    }

    /// Creates or replaces a workspace, as `PUT /api/v1/workspaces/{id}` does.
    pub async fn put_workspace(&self, name: &WorkspaceName, spec: &WorkspaceSpec) -> Result<(), StoreError> {
        let put = self.inside.store.put_workspace(name, spec, self.inside.clock.now().wall_ms).await?;
        (self.inside.app_changed)(put.workspace.app);
        Ok(())
    }

    /// Resolves with what has died of what must not (journal, dispatcher, supervisor): the node must stop then.
    pub async fn died(&mut self) -> &'static str {
        self.node.died().await
    }

    /// Stops in order, within a bounded time, and says what was left.
    pub async fn stop(self) -> StopReport {
        self.inside.stopping.store(true, Ordering::Relaxed);
        let report = self.node.stop(STOP_WITHIN).await;
        for server in self.servers {
            server.stop(true).await;
        }
        report
    }
}

/// Takes an address, and tells which it is where any would do.
fn listen(address: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), StartError> {
    let taken = admin::listen(address).and_then(|listener| {
        let taken = listener.local_addr()?;
        Ok((listener, taken))
    });
    taken.map_err(refused(address, setting))
}

fn refused(address: SocketAddr, setting: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |problem| StartError::Listen { setting, address, problem }
}

async fn register_default(
    store: &dyn Workspaces,
    app_token: AppToken,
    bot_token: Option<BotToken>,
    links: u8,
    now_ms: i64,
) -> Result<(), StoreError> {
    let name =
        WorkspaceName::parse(DEFAULT_WORKSPACE).map_err(|error| StoreError::Setup(error.to_string()))?;
    let before = store.workspace(&name).await?;
    let spec = WorkspaceSpec {
        title: before.as_ref().and_then(|before| before.title.clone()),
        desired: Desired::Connected,
        links: before.as_ref().map_or(links, |before| before.links),
        labels: before.map(|before| before.labels).unwrap_or_default(),
        app_token: Secret::Set(app_token),
        bot_token: bot_token.map_or(Secret::Keep, Secret::Set),
    };
    store.put_workspace(&name, &spec, now_ms).await.map(|_| ())
}

/// The node, as the admin API sees it.
struct Inside {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    app_changed: Box<dyn Fn(AppId) + Send + Sync>,
    journal_writes: Box<dyn Fn() -> bool + Send + Sync>,
    stopping: AtomicBool,
    links: u8,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl admin::Node for Inside {
    fn store(&self) -> Arc<dyn Workspaces> {
        Arc::clone(&self.store) as Arc<dyn Workspaces>
    }

    fn status(&self, app: AppId) -> Option<Status> {
        Some(self.directory.get(app)?.status().borrow().clone())
    }

    fn counters(&self, app: AppId) -> Counters {
        let Some(entry) = self.directory.get(app) else { return Counters::default() };
        let counters = &entry.counters;
        let last = counters.last_event_ms.load(Ordering::Relaxed);
        Counters {
            events: counters.events.load(Ordering::Relaxed),
            duplicates: counters.duplicates.load(Ordering::Relaxed),
            acks: counters.acks.load(Ordering::Relaxed),
            reconnects: counters.reconnects.load(Ordering::Relaxed),
            last_event_ms: (last != 0).then_some(last),
        }
    }

    fn app_changed(&self, app: AppId) {
        (self.app_changed)(app);
    }

    /// Workspaces that cannot connect are their own trouble: a node that carries the others is ready.
    fn checks(&self) -> Vec<Check> {
        let running =
            if self.stopping.load(Ordering::Relaxed) { Err("the node is stopping".into()) } else { Ok(()) };
        let journal = if (self.journal_writes)() {
            Ok(())
        } else {
            Err("the database takes no writes; nothing is acked".into())
        };
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
            Check { name: "journal", outcome: journal, note: None },
            Check { name: "connections", outcome: connections, note: None },
            Check { name: "open_files", outcome: Ok(()), note: files },
        ]
    }

    fn metrics(&self) -> String {
        self.metrics.connections(&self.directory.states());
        self.metrics.render()
    }

    fn default_links(&self) -> u8 {
        self.links
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }
}
