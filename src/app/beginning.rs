//! From an address of a database to a node that runs: at once, or when the database answers.

use std::sync::Arc;
use std::time::Duration;

use super::inside::{Inside, Running};
use crate::actors::{Node, NodeParts, Router};
use crate::config::Ack;
use crate::handlers::Registry;
use crate::ids::WorkspaceName;
use crate::machine::pace::Limits;
use crate::machine::routes::{AckMode, Route};
use crate::secret::{AppToken, BotToken};
use crate::slack::web::Outside;
use crate::store::{
    self, Caller, DeliveryMode, Desired, Keep, OpenOptions, Secret, Store, StoreError, When, WorkspaceSpec,
    Workspaces, Writer,
};

/// The workspace that `SLACK_APP_TOKEN` registers.
const DEFAULT_WORKSPACE: &str = "default";

/// Between two tries to reach the database, doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a node is begun with, once there is a database.
pub(super) struct Beginning {
    pub(super) open: OpenOptions,
    pub(super) workspace: Option<(AppToken, Option<BotToken>)>,
    pub(super) ack: Ack,
    pub(super) handlers: Registry,
    pub(super) routes: Vec<Route>,
    pub(super) opens: Limits,
    pub(super) threads: usize,
    pub(super) keep: Keep,
    pub(super) outside: Outside,
    pub(super) inside: Arc<Inside>,
}

/// A store in which this node's writer has begun (none where nothing is kept), and the routes in it.
pub(super) struct Begun {
    store: Arc<dyn Store>,
    writer: Option<Writer>,
    router: Arc<Router>,
}

/// Opens the store, and tells the log what the operator should know of it.
pub(super) async fn open(options: &OpenOptions) -> Result<Arc<dyn Store>, StoreError> {
    let opened = store::open(options.clone()).await?;
    for note in opened.notes {
        tracing::warn!("{note}");
    }
    Ok(opened.store)
}

impl Beginning {
    /// Begins the writer in a store that is open; one in which it cannot is closed again.
    pub(super) async fn begin(&self, store: Arc<dyn Store>) -> Result<Begun, StoreError> {
        match self.register(&store).await {
            Ok((writer, router)) => Ok(Begun { store, writer, router }),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Starts the node.
    pub(super) fn start(self, Begun { store, writer, router }: Begun) -> Node {
        let node = Node::start(NodeParts {
            store: Arc::clone(&store),
            writer,
            outside: self.outside,
            clock: self.inside.clock,
            handlers: self.handlers,
            router: Arc::clone(&router),
            opens: self.opens,
            threads: self.threads,
            directory: Arc::clone(&self.inside.directory),
            metrics: Arc::clone(&self.inside.metrics),
            poster: self.inside.poster.clone(),
            // Where nothing is kept nothing is known of who has handled what.
            keep: if self.ack == Ack::Unkept { Keep::default() } else { self.keep },
        });
        if self.inside.running.set(Running::of(&node, store, router)).is_err() {
            tracing::error!("the node was started twice");
        }
        node
    }

    /// Tries until the database answers, and starts the node then. An error is one that waiting does not mend.
    pub(super) async fn wait(self, problem: StoreError) -> Result<Node, StoreError> {
        tracing::error!(%problem, "the database cannot be used yet; the node waits for it, and connects nothing until then");
        let mut pause = PAUSE.0;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            let begun = async { self.begin(open(&self.open).await?).await };
            match begun.await {
                Ok(begun) => {
                    let node = self.start(begun);
                    tracing::info!("the database answers; the node starts");
                    return Ok(node);
                }
                Err(StoreError::Unavailable(problem)) => {
                    tracing::debug!(problem, "the database cannot be used yet");
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn register(&self, store: &Arc<dyn Store>) -> Result<(Option<Writer>, Arc<Router>), StoreError> {
        let now_ms = self.inside.clock.now().wall_ms;
        if let Some((app_token, bot_token)) = &self.workspace {
            let by = Arc::clone(store).on_behalf(Caller::admin("SLACK_APP_TOKEN"));
            register_default(&*by, app_token, bot_token.as_ref(), self.inside.links, now_ms).await?;
        }
        let answering = self.handlers.answering();
        for route in &self.routes {
            if route.ack == Some(AckMode::Answered) && !answering.contains(&route.handler) {
                tracing::warn!(
                    route = route.name.as_str(),
                    handler = route.handler,
                    "the handler answers nothing, so acks by this route mean: stored"
                );
            }
            store.put_route(route, When::Always, &Caller::admin("settings file"), now_ms).await?;
        }
        // Before there is an event to be handed on.
        let router = Router::load(store, self.handlers.names(), self.default_ack()).await?;
        let writer = match self.ack {
            Ack::Stored | Ack::Received => Some(store.begin_writer(&self.inside.facts.name, now_ms).await?),
            Ack::Unkept => None,
        };
        Ok((writer, router))
    }

    /// What an ack means where no route says more.
    const fn default_ack(&self) -> AckMode {
        match self.ack {
            Ack::Stored => AckMode::Stored,
            Ack::Received | Ack::Unkept => AckMode::Received,
        }
    }
}

/// What a node is called in the store: by its machine, since several may write to one database.
pub(super) fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "node".to_owned() } else { name.trim().to_owned() }
}

async fn register_default(
    store: &dyn Workspaces,
    app_token: &AppToken,
    bot_token: Option<&BotToken>,
    links: u8,
    now_ms: i64,
) -> Result<(), StoreError> {
    let name =
        WorkspaceName::parse(DEFAULT_WORKSPACE).map_err(|error| StoreError::Setup(error.to_string()))?;
    let before = store.workspace(&name).await?;
    let spec = WorkspaceSpec {
        title: before.as_ref().and_then(|before| before.title.clone()),
        desired: Desired::Connected,
        delivery: before.as_ref().map_or(DeliveryMode::Active, |before| before.delivery),
        links: before.as_ref().map_or(links, |before| before.links),
        labels: before.map(|before| before.labels).unwrap_or_default(),
        app_token: Secret::Set(app_token.clone()),
        bot_token: bot_token.cloned().map_or(Secret::Keep, Secret::Set),
    };
    store.put_workspace(&name, &spec, When::Always, now_ms).await.map(|_| ())
}
