//! Which handlers get which events, as it is stored.

mod spec;

use async_trait::async_trait;

use crate::ids::RouteName;
use crate::machine::routes::{NamedWorkspace, Route};
use crate::store::{Caller, Change, StoreError, When};

pub(super) use self::spec::read_match;
pub use self::spec::{WrongField, read_route, show_match};

/// A route as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoute {
    /// Its row.
    pub id: i64,
    /// What it is.
    pub route: Route,
    /// Rises with every change.
    pub version: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What became of a route that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRoute {
    /// The route as it is now.
    pub route: StoredRoute,
    /// What happened to it.
    pub change: Change,
}

/// Routes there can be: each costs a look at every event that an earlier one has not settled.
pub const MAX_ROUTES: i64 = 500;

/// The routes. They are the node's: who sees one label's workspaces alone changes none.
#[async_trait]
pub trait RouteStore: Send + Sync + 'static {
    /// All of them, by name.
    async fn routes(&self) -> Result<Vec<StoredRoute>, StoreError>;

    /// One.
    async fn route(&self, name: &RouteName) -> Result<Option<StoredRoute>, StoreError>;

    /// Creates or replaces one under its name. A [`StoreError::Conflict`] where there are [`MAX_ROUTES`].
    async fn put_route(
        &self,
        route: &Route,
        when: When,
        by: &Caller,
        now_ms: i64,
    ) -> Result<PutRoute, StoreError>;

    /// Removes one. False when there is none, whatever `when` says.
    async fn remove_route(
        &self,
        name: &RouteName,
        when: When,
        by: &Caller,
        now_ms: i64,
    ) -> Result<bool, StoreError>;

    /// A number that rises with every change of a route, on all nodes of the database.
    async fn routes_mark(&self) -> Result<i64, StoreError>;

    /// The living workspaces that have one of these names or bear one of these labels, with those of the labels that they bear.
    async fn named_workspaces(
        &self,
        names: &[&str],
        labels: &[(&str, &str)],
    ) -> Result<Vec<NamedWorkspace>, StoreError>;
}
