//! The admin HTTP API: one file a resource.
//!
//! It asks the node through [`Node`] and knows no actor: what a request wants is written to the store, and the node is told
//! that something changed. [`service`] is the whole of it for one `App`; [`bind`] puts it on an address.
//!
//! Invariant: every answer to a request that can be read bears an `X-Request-Id`, every error is an RFC 9457 problem, and nothing below
//! `/api/v1` is reached without a token that may: `auth/rights.rs` says which.

mod access;
mod apps;
mod audit;
mod auth;
mod body;
mod bulk;
mod deliveries;
mod docs;
mod etag;
mod events;
mod handlers;
mod idempotency;
mod incidents;
mod jobs;
mod log;
mod manifest;
mod metrics;
mod openapi;
mod paging;
mod paths;
mod probes;
mod problem;
mod query;
mod request_id;
mod routes;
mod server;
mod stats;
mod stream;
#[cfg(test)]
mod testing;
mod tokens;
mod wait;
mod webhooks;
mod workspaces;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

pub use self::auth::AdminToken;
pub use self::server::{bind, bind_metrics, listen};
use crate::handlers::Options;
use crate::ids::{AppId, Generation};
use crate::secret::WebhookSecret;
use crate::slack::web::Outside;
use crate::status::feed::Feed;
use crate::status::{Command, Status};
use crate::store::{Accounts, Archive, Caller, RouteStore, Webhooks, Workspaces};
use crate::telemetry::Totals;

/// What the admin API needs of the node. Nothing here blocks: it is called on the threads that answer requests.
pub trait Node: Send + Sync + 'static {
    /// The workspaces, as this caller sees and changes them.
    fn store(&self, by: &Caller) -> Arc<dyn Workspaces>;

    /// Who may use this API.
    fn accounts(&self) -> Arc<dyn Accounts>;

    /// The journal and what is owed, as operators see and steer them.
    fn archive(&self) -> Arc<dyn Archive>;

    /// The latest word of an app's connection; none when none runs.
    fn status(&self, app: AppId) -> Option<Status>;

    /// What changes about the states of connections.
    fn feed(&self) -> Arc<Feed>;

    /// What an app's connection has counted since this process started.
    fn counters(&self, app: AppId) -> Counters;

    /// The store holds another wish or another token for this app, or the app is gone from it: compare and act.
    fn app_changed(&self, app: AppId);

    /// Passes a command to an app's connection, after comparing it with what the store holds. Resolves when it is obeyed; with none
    /// when there is nobody to obey. The command goes out whether or not the answer is waited for.
    fn steer(&self, app: AppId, command: Command) -> Steering;

    /// What readiness depends on, as last seen. The reasons are shown to everybody: no secret, no address.
    fn checks(&self) -> Vec<Check>;

    /// All metrics in Prometheus' text format.
    fn metrics(&self) -> String;

    /// How Slack is reached.
    fn outside(&self) -> &Arc<Outside>;

    /// What has been counted since this process started.
    fn totals(&self) -> Totals;

    /// What this node is.
    fn facts(&self) -> Facts;

    /// Sockets an app where its workspace does not say, 1 to 9.
    fn default_links(&self) -> u8;

    /// Where the webhooks are.
    fn webhooks(&self) -> Arc<dyn Webhooks>;

    /// The store holds other webhooks: compare and act.
    fn webhooks_changed(&self);

    /// Where the routes are.
    fn routes(&self) -> Arc<dyn RouteStore>;

    /// The store holds other routes. Resolves when they are in force on this node, or cannot be read.
    fn routes_changed(&self) -> LocalBoxFuture<'_, ()>;

    /// What this node's handlers are called.
    fn handler_names(&self) -> &[String];

    /// The limits of one of them; none of a handler that is not this node's.
    fn handler_options(&self, handler: &str) -> Option<&Options>;

    /// Is it one of them that answers commands and interactions?
    fn answers(&self, handler: &str) -> bool {
        self.handler_options(handler).is_some_and(|options| options.answers)
    }

    /// May a webhook lie in a private network, and be spoken to in the clear?
    fn allows_private_webhooks(&self) -> bool;

    /// Is this an address of the public internet?
    fn is_public(&self, ip: IpAddr) -> bool;

    /// Posts to a webhook at once: the status where it was taken, else why not.
    fn post_webhook<'a>(
        &'a self,
        url: &'a str,
        secrets: &'a [WebhookSecret],
        body: &'a str,
    ) -> LocalBoxFuture<'a, Result<u16, String>>;

    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
}

/// The answer to a command that is on its way.
pub type Steering = Pin<Box<dyn Future<Output = Option<Steered>> + Send>>;

/// A connection has obeyed a command.
#[derive(Debug)]
pub struct Steered {
    /// What it says of itself from then on.
    pub status: watch::Receiver<Status>,
    /// Its youngest link before the command.
    pub youngest: Option<Generation>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name among the nodes of its database.
    pub name: String,
    /// Since when it runs, milliseconds since 1970.
    pub started_ms: i64,
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// What an ack means: `stored`, `received`, or `unkept` with the journal off.
    pub ack: &'static str,
}

/// One thing readiness depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is called.
    pub name: &'static str,
    /// Fine, or why not.
    pub outcome: Result<(), String>,
    /// What an operator should know all the same: no reason to take the node out of service.
    pub note: Option<String>,
}

/// What an app's connection has counted since this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Envelopes accepted for the first time. One that the journal has not seen yet counts until it turns out to be a repeat.
    pub events: u64,
    /// Envelopes that Slack had sent before.
    pub duplicates: u64,
    /// Acks written.
    pub acks: u64,
    /// Links opened after one was lost.
    pub reconnects: u64,
    /// When the last envelope came, milliseconds since 1970.
    pub last_event_ms: Option<i64>,
}

/// The whole API, for one `App`.
pub fn service(
    node: Arc<dyn Node>,
    token: AdminToken,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let door = Data::new(auth::Door::new(token));
    let jobs = Data::new(jobs::Jobs::default());
    let streams = Data::from(stream::Streams::new());
    let trials = Data::new(workspaces::Trials::default());
    move |config| {
        let api = web::scope("/api/v1")
            .wrap(from_fn(idempotency::once))
            .wrap(from_fn(auth::demand))
            .configure(workspaces::routes)
            .configure(tokens::routes)
            .configure(audit::routes)
            .configure(apps::routes)
            .configure(jobs::routes)
            .configure(log::routes)
            .configure(manifest::routes)
            .configure(stats::routes)
            .configure(stream::routes)
            .configure(incidents::routes)
            .configure(webhooks::routes)
            .configure(events::routes)
            .configure(deliveries::routes)
            .configure(handlers::routes)
            .configure(routes::routes)
            .default_service(web::to(problem::not_found));
        let metrics = web::scope("/metrics")
            .wrap(from_fn(auth::demand))
            .configure(metrics::routes)
            .default_service(web::to(problem::not_found));
        let all = web::scope("")
            .wrap(from_fn(request_id::stamp))
            .app_data(Data::<dyn Node>::from(Arc::clone(&node)))
            .app_data(door.clone())
            .app_data(jobs.clone())
            .app_data(streams.clone())
            .app_data(trials.clone())
            .configure(probes::routes)
            .configure(openapi::routes)
            .configure(docs::routes)
            .service(metrics)
            .service(api)
            .default_service(web::to(problem::not_found));
        config.service(all);
    }
}

/// The metrics and the probes, without a token: for an address that only the scraper and the orchestrator reach.
fn metrics_service(node: Arc<dyn Node>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    move |config| {
        let all = web::scope("")
            .wrap(from_fn(request_id::stamp))
            .app_data(Data::<dyn Node>::from(Arc::clone(&node)))
            .configure(probes::routes)
            .service(
                web::scope("/metrics")
                    .configure(metrics::routes)
                    .default_service(web::to(problem::not_found)),
            )
            .default_service(web::to(problem::not_found));
        config.service(all);
    }
}
