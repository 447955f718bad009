//! Tells the operator's systems of changes: watches what is published of every workspace, keeps what is to be told in the store, and
//! posts it. The rules are in [`machine::notice`](crate::machine::notice).

mod address;
mod courier;
mod dead;
mod notice;
mod post;
mod watcher;

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{mpsc, watch};

pub use self::address::is_public;
pub use self::post::{PostError, Poster};
use super::directory::Directory;
use crate::clock::Clock;
use crate::store::{Store, Transition};
use crate::telemetry::Metrics;

/// What it is made of.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Clock,
    pub(super) poster: Poster,
    pub(super) metrics: Arc<Metrics>,
    /// Where what became of a workspace is written down.
    pub(super) history: mpsc::Sender<Transition>,
}

/// The tasks that tell, on a thread of their own.
pub(super) struct Telling {
    arbiter: Arbiter,
    /// Rises when there may be something to post.
    bell: Arc<watch::Sender<u64>>,
    stop: watch::Sender<bool>,
}

impl Telling {
    /// Starts them.
    pub(super) fn start(parts: Parts) -> Self {
        let arbiter = Arbiter::new();
        let bell = Arc::new(watch::Sender::new(0));
        let stop = watch::Sender::new(false);
        let Parts { store, directory, clock, poster, metrics, history } = parts;
        let counting = dead::run(Arc::clone(&store), Arc::clone(&directory), clock, Arc::clone(&bell));
        let watching = watcher::run(Arc::clone(&store), directory, clock, Arc::clone(&bell), history);
        let mut stopped = stop.subscribe();
        arbiter.spawn(async move {
            tokio::select! {
                () = watching => {}
                () = counting => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        let posting = courier::run(store, clock, poster, metrics, bell.subscribe());
        let mut stopped = stop.subscribe();
        arbiter.spawn(async move {
            tokio::select! {
                () = posting => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        Self { arbiter, bell, stop }
    }

    /// Says that the webhooks have changed.
    pub(super) fn bell(&self) -> Arc<watch::Sender<u64>> {
        Arc::clone(&self.bell)
    }

    /// Ends them at once: what is not posted is posted by the next start, and what the end of the node does to its connections is no
    /// news.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ends their thread.
    pub(super) fn end(&self) {
        self.arbiter.stop();
    }
}
