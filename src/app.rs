//! The composition root: what starts, in which order, and how it stops.
//!
//! Start: the store (lock, key, settings), the addresses, the way to Slack; all that can be refused comes before anything is begun.
//! Then the node (journal, dispatcher, handlers, supervisor) and the API that users see. A database server that does not answer is
//! waited for, the API up meanwhile. Stop: readiness turns red and streams end, links wait for
//! their verdicts and close, handlers finish what they have begun, the journal notes what is done, the address goes last so that a
//! watcher sees the end.

mod beginning;
mod inside;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_rt::task::JoinHandle;
use actix_web::dev::ServerHandle;
use futures_util::future::join_all;
use url::Url;

use crate::actors::{Directory, Node, Poster, StopReport};
use crate::admin::{self, AdminToken, Facts};
use crate::clock::Clock;
use crate::config::{Ack, KeySource};
use crate::handlers::Registry;
use crate::ids::WorkspaceName;
use crate::machine::pace::Limits;
use crate::machine::routes::Route;
use crate::secret::{AppToken, BotToken};
use crate::slack::tls::{TlsError, client_config};
use crate::slack::web::Outside;
use crate::store::{self, Caller, Keep, OpenOptions, StoreError, When, WorkspaceSpec};
use crate::telemetry::Metrics;
use beginning::Beginning;
use inside::Inside;

/// Where the addresses are set.
const LISTEN_SETTING: &str = "TAUTLINE_LISTEN or --listen";
const METRICS_SETTING: &str = "TAUTLINE_METRICS_LISTEN";

/// How long a stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// What a node is started with.
pub struct Options {
    /// `sqlite://tautline.db`, `postgres://…`
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
    /// Routes of the settings: each is put at the start under its name.
    pub routes: Vec<Route>,
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
    /// How long events are kept once they are handled, two days at least; none for ever.
    pub keep: Keep,
    /// May webhooks lie in a private network, and be spoken to in the clear?
    pub webhooks_allow_private: bool,
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

/// A node with its admin API: running, or waiting for its database.
pub struct App {
    stage: Stage,
    inside: Arc<Inside>,
    address: SocketAddr,
    servers: Vec<ServerHandle>,
}

/// How far a node is.
enum Stage {
    Waiting(JoinHandle<Result<Node, StoreError>>),
    Running(Node),
    /// It could not begin.
    Over,
}

/// Why a node must stop.
#[derive(Debug)]
pub enum End {
    /// This part has died, of those that must not: journal, dispatcher, supervisor.
    Died(&'static str),
    /// The database that was waited for came, and it will not do.
    Unfit(StartError),
}

impl App {
    /// Starts a node. To be called inside an actix system. Where a database server does not answer, the admin API is up all the same
    /// and the node begins when the server does.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_by(Clock::start(), options).await
    }

    /// The same, by a clock that is given.
    pub async fn start_by(clock: Clock, options: Options) -> Result<Self, StartError> {
        let open = OpenOptions { address: options.database, key: options.key, max_pages: options.max_pages };
        let opened = beginning::open(&open).await;
        if let Err(error) = &opened
            && !matches!(error, StoreError::Unavailable(_))
        {
            return Err(error.clone().into());
        }
        let (listener, address) = listen(options.listen, LISTEN_SETTING)?;
        let metrics_listener =
            options.metrics_listen.map(|address| listen(address, METRICS_SETTING)).transpose()?;
        let tls = client_config(options.extra_ca_file.as_deref())?;
        let outside = Outside { api: options.slack_api, tls: Arc::clone(&tls) };
        let poster = Poster { tls, allow_private: options.webhooks_allow_private };
        let facts = Facts {
            name: beginning::name(),
            started_ms: clock.now().wall_ms,
            database: store::kind(&open.address),
            ack: options.ack.as_str(),
        };
        let inside = Arc::new(Inside {
            poster,
            directory: Arc::new(Directory::default()),
            stopping: AtomicBool::new(false),
            handlers: options.handlers.names(),
            handler_options: options.handlers.options(),
            links: options.links,
            metrics: options.metrics,
            facts,
            outside: Arc::new(outside.clone()),
            clock,
            running: OnceLock::new(),
        });
        let beginning = Beginning {
            open,
            workspace: options.workspace,
            ack: options.ack,
            handlers: options.handlers,
            routes: options.routes,
            opens: options.opens,
            threads: options.threads,
            keep: options.keep,
            outside,
            inside: Arc::clone(&inside),
        };
        let begun = match opened {
            Ok(store) => beginning.begin(store).await,
            Err(error) => Err(error),
        };
        let stage = match begun {
            Ok(begun) => Stage::Running(beginning.start(begun)),
            Err(problem @ StoreError::Unavailable(_)) => {
                Stage::Waiting(actix_rt::spawn(beginning.wait(problem)))
            }
            Err(error) => return Err(error.into()),
        };
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
        Ok(Self { stage, inside, address, servers })
    }

    /// Where the admin API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is known of every connection.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.inside.directory
    }

    /// Creates or replaces a workspace, as `PUT /api/v1/workspaces/{id}` does.
    pub async fn put_workspace(&self, name: &WorkspaceName, spec: &WorkspaceSpec) -> Result<(), StoreError> {
        let node: &dyn admin::Node = &*self.inside;
        let store = node.store(&Caller::admin("the program"));
        let put = store.put_workspace(name, spec, When::Always, node.now_ms()).await?;
        node.app_changed(put.workspace.app);
        Ok(())
    }

    /// Resolves when the node must stop, and says why.
    pub async fn ended(&mut self) -> End {
        loop {
            match &mut self.stage {
                Stage::Running(node) => return End::Died(node.died().await),
                Stage::Waiting(task) => {
                    let begun = task.await;
                    self.stage = Stage::Over;
                    match begun {
                        Ok(Ok(node)) => self.stage = Stage::Running(node),
                        Ok(Err(error)) => return End::Unfit(error.into()),
                        Err(_) => return End::Died("beginning"),
                    }
                }
                Stage::Over => std::future::pending().await,
            }
        }
    }

    /// Turns readiness red, for whoever is about to say that it stops.
    pub fn turn_away(&self) {
        self.inside.stopping.store(true, Ordering::Relaxed);
    }

    /// Stops in order, within a bounded time, and says what was left.
    pub async fn stop(self) -> StopReport {
        self.turn_away();
        // Streams end now, readiness being red.
        self.inside.directory.feed().end();
        let node = match self.stage {
            Stage::Running(node) => Some(node),
            Stage::Waiting(task) => {
                task.abort();
                task.await.ok().and_then(Result::ok)
            }
            Stage::Over => None,
        };
        let report = match node {
            Some(node) => node.stop(STOP_WITHIN).await,
            None => StopReport {
                links_closed: true,
                handlers_done: true,
                journal_ended: true,
                ..StopReport::default()
            },
        };
        join_all(self.servers.iter().map(|server| server.stop(true))).await;
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
