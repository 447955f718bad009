//! Which routes are in force: one snapshot for all who hand events on, kept up to date.
//!
//! What the API of this node changes is in force when it answers; what another node changes, and other labels of a workspace, within
//! seconds. A database that is away changes nothing: the last snapshot stays.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::ids::WorkspaceName;
use crate::machine::routes::{AckMode, Route, Routes};
use crate::store::{RouteStore, Store, StoreError, Workspaces};

/// How often it is looked what other nodes have changed.
const LOOK: Duration = Duration::from_secs(2);

/// Between two looks at least: whoever registers thousands of workspaces has the labels read ten times a second.
const PAUSE: Duration = Duration::from_millis(100);

/// The routes of a node.
pub struct Router {
    store: Arc<dyn RouteStore>,
    workspaces: Arc<dyn Workspaces>,
    /// What a handler's place in a set means.
    handlers: Vec<String>,
    default: AckMode,
    snapshot: Arc<InForce>,
    /// Held while it is made anew, so that an older one never takes the place of a newer one.
    seen: Mutex<Seen>,
    bell: Notify,
}

/// The routes that are in force, for who needs no more of them.
pub(super) struct InForce(RwLock<Arc<Routes>>);

impl InForce {
    pub(super) fn new(routes: Routes) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(routes))))
    }

    /// To be asked for anew with each batch of events.
    pub(super) fn get(&self) -> Arc<Routes> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, routes: Routes) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
    }
}

/// Up to where changes are in the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    routes: i64,
    apps: i64,
    /// Does any route ask whose an event is? Else no change of a workspace matters.
    asks_whose: bool,
}

impl Router {
    /// The routes as they are stored now, for a node with these handlers, in the order it counts them in. `default` is what an ack means
    /// where no route says more.
    pub async fn load(
        store: &Arc<dyn Store>,
        handlers: Vec<String>,
        default: AckMode,
    ) -> Result<Arc<Self>, StoreError> {
        let router = Self {
            store: Arc::clone(store) as Arc<dyn RouteStore>,
            workspaces: Arc::clone(store) as Arc<dyn Workspaces>,
            snapshot: InForce::new(Routes::new(&[], &handlers, &[], default)),
            handlers,
            default,
            seen: Mutex::default(),
            bell: Notify::new(),
        };
        router.refresh().await?;
        Ok(Arc::new(router))
    }

    /// The routes that are in force. To be asked for anew with each batch of events.
    pub(super) fn routes(&self) -> Arc<Routes> {
        self.snapshot.get()
    }

    /// The same, as they change.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.snapshot)
    }

    /// Takes up all that is stored now.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        *seen = self.read(*seen).await?;
        Ok(())
    }

    /// A workspace may have other labels.
    pub fn workspaces_changed(&self) {
        self.bell.notify_one();
    }

    /// Keeps the snapshot up to date, for as long as the node runs.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.bell.notified() => {}
            }
            match self.look().await {
                Ok(()) => {}
                Err(StoreError::Unavailable(problem)) => {
                    tracing::debug!(problem, "the routes stay as they are until the database answers");
                }
                Err(error) => {
                    tracing::warn!(%error, "the routes stay as they were: they cannot be read");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes up what has changed, if anything has.
    async fn look(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        let mut is_old = self.store.routes_mark().await? != seen.routes;
        if !is_old && seen.asks_whose {
            is_old = !self.workspaces.changed_apps(Some(seen.apps)).await?.0.is_empty();
        }
        if is_old {
            *seen = self.read(*seen).await?;
        }
        Ok(())
    }

    /// Makes the snapshot anew. What changes meanwhile is seen by the next look: the marks are read first.
    async fn read(&self, before: Seen) -> Result<Seen, StoreError> {
        let routes_mark = self.store.routes_mark().await?;
        let (_, apps_mark) = self.workspaces.changed_apps(None).await?;
        let stored = self.store.routes().await?;
        let routes: Vec<Route> = stored.into_iter().map(|stored| stored.route).collect();
        let asking = || routes.iter().filter(|route| route.is_on).map(|route| &route.matches);
        let mut names: Vec<_> =
            asking().flat_map(|matches| &matches.workspaces).map(WorkspaceName::as_str).collect();
        let mut labels: Vec<_> = asking()
            .flat_map(|matches| &matches.labels)
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        labels.sort_unstable();
        labels.dedup();
        let asks_whose = !names.is_empty() || !labels.is_empty();
        let whose = if asks_whose { self.store.named_workspaces(&names, &labels).await? } else { Vec::new() };
        self.snapshot.set(Routes::new(&routes, &self.handlers, &whose, self.default));
        if routes_mark != before.routes {
            self.tell(&routes);
        }
        Ok(Seen { routes: routes_mark, apps: apps_mark, asks_whose })
    }

    /// What is in force, for the log.
    fn tell(&self, routes: &[Route]) {
        let on = routes.iter().filter(|route| route.is_on).count();
        if routes.is_empty() {
            tracing::info!("there are no routes: every handler gets every event");
        } else {
            tracing::info!(routes = routes.len(), on, "these routes are in force");
        }
        for route in routes.iter().filter(|route| route.is_on && !self.handlers.contains(&route.handler)) {
            tracing::warn!(
                route = route.name.as_str(),
                handler = route.handler,
                known = self.handlers.join(", "),
                "this node has no handler of that name, so the route gives nobody anything here"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeySource;
    use crate::event::{DedupeKey, Event, Kind};
    use crate::ids::{AppId, RouteName, Seq, WorkspaceId};
    use crate::machine::routes::Match;
    use crate::secret::AppToken;
    use crate::store::{Caller, Desired, OpenOptions, Secret, When, WorkspaceSpec};

    #[tokio::test]
    async fn what_is_stored_is_in_force_after_a_refresh_and_after_a_look() {
        let (store, _folder) = store().await;
        let router = router(&store).await;
        assert!(router.routes().is_empty());
        put(&store, "r", Match::default()).await;
        router.refresh().await.unwrap();
        assert_eq!(gets(&router, None), [1]);
        store
            .remove_route(&RouteName::parse("r").unwrap(), When::Always, &Caller::admin("t"), 2)
            .await
            .unwrap();
        router.look().await.unwrap();
        assert_eq!(gets(&router, None), [0, 1], "without routes everybody gets it");
    }

    #[tokio::test]
    async fn a_label_that_comes_or_goes_is_seen_by_a_look() {
        let (store, _folder) = store().await;
        let acme = label(&store, &[]).await;
        put(&store, "r", Match { labels: vec![("tier".into(), "gold".into())], ..Match::default() }).await;
        let router = router(&store).await;
        assert_eq!(gets(&router, Some(acme)), [0; 0]);
        label(&store, &[("tier", "gold")]).await;
        router.look().await.unwrap();
        assert_eq!(gets(&router, Some(acme)), [1]);
        label(&store, &[("tier", "silver")]).await;
        router.look().await.unwrap();
        assert_eq!(gets(&router, Some(acme)), [0; 0]);
    }

    async fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("t.db").display().to_string();
        let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
        (crate::store::open(options).await.unwrap().store, folder)
    }

    async fn router(store: &Arc<dyn Store>) -> Arc<Router> {
        Router::load(store, vec!["log".into(), "bridge".into()], AckMode::Stored).await.unwrap()
    }

    async fn put(store: &Arc<dyn Store>, name: &str, matches: Match) {
        let name = RouteName::parse(name).unwrap();
        let route = Route { name, handler: "bridge".into(), matches, ack: None, is_on: true };
        store.put_route(&route, When::Always, &Caller::admin("t"), 1).await.unwrap();
    }

    async fn label(store: &Arc<dyn Store>, labels: &[(&str, &str)]) -> WorkspaceId {
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            delivery: crate::store::DeliveryMode::Active,
            links: 1,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            app_token: Secret::Set(AppToken::parse("xapp-1").unwrap()),
            bot_token: Secret::Keep,
        };
        let name = WorkspaceName::parse("acme").unwrap();
        store.put_workspace(&name, &spec, When::Always, 1).await.unwrap().workspace.id
    }

    fn gets(router: &Router, workspace: Option<WorkspaceId>) -> Vec<usize> {
        let event = Event {
            seq: Seq(1),
            app: AppId(1),
            workspace,
            kind: Kind::EventsApi,
            kind_type: "message".into(),
            slack_id: "Ev1".into(),
            dedupe: DedupeKey([0; 16]),
            retry: 0,
            received_ms: 0,
            payload: "{}".into(),
        };
        router.routes().ask(&event).handlers.iter().collect()
    }
}
