//! Which handlers get which events.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::FromRow;

use super::rows::{self, unknown};
use super::{Backend, Connection, audit, json_elements};
use crate::ids::{RouteName, WorkspaceId};
use crate::machine::routes::{AckMode, NamedWorkspace, Route};
use crate::store::fault::Fault;
use crate::store::routes::read_match;
use crate::store::{
    Action, Caller, Change, Changes, Deed, MAX_ROUTES, PutRoute, StoreError, StoredRoute, When, show_match,
};

/// Selects [`RouteRow`]s.
macro_rules! select_routes {
    ($rest:literal) => {
        concat!(
            "select id, name, handler, matches, ack, enabled, version, created_at, updated_at from routes ",
            $rest
        )
    };
}

/// Workspaces by labels given as arrays of key and value.
const BY_LABEL: &str = concat!(
    "select w.id, w.name, l.key, l.value from ",
    json_elements!(),
    " join workspace_labels l on l.key = e.value->>0 and l.value = e.value->>1 join workspaces w on w.id = l.workspace_id \
     where w.deleted_at is null"
);

/// Workspaces by names given as arrays of one name.
const BY_NAME: &str = concat!(
    "select w.id, w.name from ",
    json_elements!(),
    " join workspaces w on w.name = e.value->>0 where w.deleted_at is null"
);

#[derive(FromRow)]
struct RouteRow {
    id: i64,
    name: String,
    handler: String,
    matches: String,
    ack: Option<String>,
    enabled: i64,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl RouteRow {
    /// What a newer version has written and this one does not understand is an error: half of a route would be another route.
    fn into_route(self) -> Result<StoredRoute, Fault> {
        let name = RouteName::parse(&self.name).map_err(|_| unknown("routes.name", &self.name))?;
        let fields: Option<Map<String, Value>> = serde_json::from_str(&self.matches).ok();
        let matches = fields.and_then(|fields| read_match(&fields).ok());
        let matches = matches.ok_or_else(|| unknown("routes.matches", &self.matches))?;
        let ack = self.ack.map(|ack| AckMode::parse(&ack).ok_or_else(|| unknown("routes.ack", &ack)));
        Ok(StoredRoute {
            id: self.id,
            route: Route {
                name,
                handler: self.handler,
                matches,
                ack: ack.transpose()?,
                is_on: self.enabled != 0,
            },
            version: self.version,
            created_ms: self.created_at,
            updated_ms: self.updated_at,
        })
    }
}

/// How a field is read.
type Reading = fn(&Route) -> Value;

fn deed(action: Action, name: &RouteName, from: Option<&Route>, to: Option<&Route>) -> Deed {
    let mut changes = Changes::default();
    let shown: [(&str, Reading); 4] = [
        ("handler", |route| json!(route.handler)),
        ("match", |route| show_match(&route.matches)),
        ("ack", |route| json!(route.ack.map(AckMode::as_str))),
        ("enabled", |route| json!(route.is_on)),
    ];
    for (field, read) in shown {
        changes.field(field, &from.map_or(Value::Null, read), &to.map_or(Value::Null, read));
    }
    Deed { action, workspace: None, target: Some(name.to_string()), changes }
}

/// Routes are about every workspace there is.
fn sees_all(by: &Caller) -> Result<(), StoreError> {
    match &by.scope {
        Some(scope) => Err(StoreError::Forbidden(format!(
            "this token sees workspaces with the label {scope} alone, and routes are the whole node's"
        ))),
        None => Ok(()),
    }
}

impl Backend {
    pub(super) async fn list_routes(&self) -> Result<Vec<StoredRoute>, Fault> {
        let mut db = self.reader().await?;
        let rows: Vec<RouteRow> = sqlx::query_as(select_routes!("order by name")).fetch_all(&mut *db).await?;
        rows.into_iter().map(RouteRow::into_route).collect()
    }

    pub(super) async fn find_route(&self, name: &RouteName) -> Result<Option<StoredRoute>, Fault> {
        find(&mut *self.reader().await?, name).await
    }

    pub(super) async fn write_route(
        &self,
        route: &Route,
        when: When,
        by: &Caller,
        now_ms: i64,
    ) -> Result<PutRoute, Fault> {
        sees_all(by)?;
        let mut tx = self.begin().await?;
        let before = find(tx.db(), &route.name).await?;
        when.check_row(before.as_ref().map(|before| (before.id, before.version)))?;
        let change = match &before {
            Some(before) if before.route == *route => {
                tx.commit().await?;
                return Ok(PutRoute { route: before.clone(), change: Change::Unchanged });
            }
            Some(_) => Change::Updated,
            None => Change::Created,
        };
        if before.is_none() {
            has_room(tx.db()).await?;
        }
        let row: RouteRow = sqlx::query_as(
            "insert into routes (name, handler, matches, ack, enabled, version, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, 1, $6, $6) on conflict (name) do update set handler = excluded.handler, \
             matches = excluded.matches, ack = excluded.ack, enabled = excluded.enabled, version = routes.version + 1, \
             updated_at = excluded.updated_at \
             returning id, name, handler, matches, ack, enabled, version, created_at, updated_at",
        )
        .bind(route.name.as_str())
        .bind(&route.handler)
        .bind(show_match(&route.matches).to_string())
        .bind(route.ack.map(AckMode::as_str))
        .bind(i64::from(route.is_on))
        .bind(now_ms)
        .fetch_one(tx.db())
        .await?;
        let action = if change == Change::Created { Action::RouteCreate } else { Action::RouteUpdate };
        let deed = deed(action, &route.name, before.as_ref().map(|before| &before.route), Some(route));
        changed(tx.db()).await?;
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(PutRoute { route: row.into_route()?, change })
    }

    pub(super) async fn delete_route(
        &self,
        name: &RouteName,
        when: When,
        by: &Caller,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        sees_all(by)?;
        let mut tx = self.begin().await?;
        let Some(before) = find(tx.db(), name).await? else {
            tx.commit().await?;
            return Ok(false);
        };
        when.check_row(Some((before.id, before.version)))?;
        sqlx::query("delete from routes where id = $1").bind(before.id).execute(tx.db()).await?;
        changed(tx.db()).await?;
        let deed = deed(Action::RouteRemove, name, Some(&before.route), None);
        audit::write(tx.db(), by, &deed, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn read_routes_mark(&self) -> Result<i64, Fault> {
        let mark = sqlx::query_scalar("select mark from marks where name = 'routes'");
        Ok(mark.fetch_one(&mut *self.reader().await?).await?)
    }

    pub(super) async fn list_named(
        &self,
        names: &[&str],
        labels: &[(&str, &str)],
    ) -> Result<Vec<NamedWorkspace>, Fault> {
        let mut db = self.reader().await?;
        let mut found: BTreeMap<i64, NamedWorkspace> = BTreeMap::new();
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| [name]).collect();
            let rows: Vec<(i64, String)> =
                sqlx::query_as(BY_NAME).bind(json!(names).to_string()).fetch_all(&mut *db).await?;
            for (id, name) in rows {
                found.insert(id, named(id, &name)?);
            }
        }
        if !labels.is_empty() {
            let rows: Vec<(i64, String, String, String)> =
                sqlx::query_as(BY_LABEL).bind(json!(labels).to_string()).fetch_all(&mut *db).await?;
            for (id, name, key, value) in rows {
                let of = match found.remove(&id) {
                    Some(of) => of,
                    None => named(id, &name)?,
                };
                found.entry(id).or_insert(of).labels.push((key, value));
            }
        }
        Ok(found.into_values().collect())
    }
}

fn named(id: i64, name: &str) -> Result<NamedWorkspace, Fault> {
    Ok(NamedWorkspace { workspace: WorkspaceId(id), name: rows::name(name)?, labels: Vec::new() })
}

/// Every node looks at the routes anew.
async fn changed(db: &mut Connection) -> Result<(), Fault> {
    sqlx::query("update marks set mark = mark + 1 where name = 'routes'").execute(db).await?;
    Ok(())
}

async fn has_room(db: &mut Connection) -> Result<(), Fault> {
    let all: i64 = sqlx::query_scalar("select count(*) from routes").fetch_one(db).await?;
    if all < MAX_ROUTES {
        return Ok(());
    }
    let full = format!("there are {MAX_ROUTES} routes, which is all there can be; remove one first");
    Err(StoreError::Conflict(full).into())
}

async fn find(db: &mut Connection, name: &RouteName) -> Result<Option<StoredRoute>, Fault> {
    let row: Option<RouteRow> =
        sqlx::query_as(select_routes!("where name = $1")).bind(name.as_str()).fetch_optional(db).await?;
    row.map(RouteRow::into_route).transpose()
}
