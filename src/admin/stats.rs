//! `GET /api/v1/stats`: the whole node in figures.

use std::collections::BTreeMap;

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::Facts;
use super::access::Access;
use super::paths::read_resource;
use super::problem::Problem;
use super::query;
use crate::ids::AppId;
use crate::moment::rfc3339;
use crate::status::{Health, LinkState, State, Status};
use crate::telemetry::Totals;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/stats", read));
}

#[derive(Serialize)]
struct StatsOut {
    workspaces: WorkspacesOut,
    apps: usize,
    sockets: BTreeMap<&'static str, u64>,
    events: Totals,
    node: NodeOut,
}

#[derive(Serialize)]
struct WorkspacesOut {
    total: u64,
    by_state: BTreeMap<&'static str, u64>,
    by_health: BTreeMap<&'static str, u64>,
    /// A workspace with two warnings counts in both.
    by_warning: BTreeMap<&'static str, u64>,
    by_reason: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct NodeOut {
    name: String,
    version: &'static str,
    started_at: String,
    uptime_seconds: u64,
    database: &'static str,
    ack: &'static str,
    default_links: u8,
}

async fn read(request: HttpRequest, node: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let standings = node.store().standings().await?;
    let mut workspaces = WorkspacesOut {
        total: 0,
        by_state: State::ALL.iter().map(|state| (state.as_str(), 0)).collect(),
        by_health: Health::ALL.iter().map(|health| (health.as_str(), 0)).collect(),
        by_warning: BTreeMap::new(),
        by_reason: BTreeMap::new(),
    };
    let now_ms = node.now_ms();
    let mut connections: BTreeMap<AppId, Option<Status>> = BTreeMap::new();
    for (app, standing) in standings {
        let connection = connections.entry(app).or_insert_with(|| node.status(app));
        workspaces.count(&Status::of_workspace(connection.clone(), &standing, now_ms));
    }
    let names = ["opening", "live", "draining", "closing"];
    let mut sockets: BTreeMap<_, _> = names.into_iter().map(|name| (name, 0)).collect();
    for link in connections.values().flatten().flat_map(|status| &status.links) {
        let name = match link.state {
            LinkState::Opening => "opening",
            LinkState::Live => "live",
            LinkState::Draining => "draining",
            LinkState::Closing => "closing",
        };
        *sockets.entry(name).or_default() += 1;
    }
    let Facts { name, started_ms, database, ack } = node.facts();
    let told = StatsOut {
        workspaces,
        apps: connections.len(),
        sockets,
        events: node.totals(),
        node: NodeOut {
            name,
            version: env!("CARGO_PKG_VERSION"),
            started_at: rfc3339(started_ms),
            uptime_seconds: now_ms.saturating_sub(started_ms).max(0).unsigned_abs() / 1000,
            database,
            ack,
            default_links: node.default_links(),
        },
    };
    Ok(HttpResponse::Ok().json(told))
}

impl WorkspacesOut {
    fn count(&mut self, status: &Status) {
        self.total += 1;
        *self.by_state.entry(status.state.as_str()).or_default() += 1;
        *self.by_health.entry(status.health.as_str()).or_default() += 1;
        for warning in &status.warnings {
            *self.by_warning.entry(warning.as_str()).or_default() += 1;
        }
        if let Some(reason) = status.reason {
            *self.by_reason.entry(reason.code.as_str()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::super::testing::{FakeNode, ask};
    use super::*;
    use crate::ids::WorkspaceId;
    use crate::status::{Code, Trouble};
    use crate::store::Desired;

    #[actix_web::test]
    async fn workspaces_are_counted_by_what_is_shown_of_each() {
        let node = FakeNode::new();
        node.store.insert_on("acme", "xapp-shared");
        node.store.insert_on("acme-emea", "xapp-shared");
        node.store.insert("globex");
        let status = Status {
            state: State::Ready,
            health: Health::Degraded,
            reason: Some(Code::InvalidAuth.into()),
            warnings: vec![Code::InvalidAuth, Code::FrameTooLarge],
            ..Status::off(0)
        };
        node.statuses.lock().unwrap().insert(AppId(1), status);
        let stats = ask(&node, TestRequest::get().uri("/api/v1/stats")).await.json();
        let workspaces = &stats["workspaces"];
        assert_eq!((&workspaces["total"], &stats["apps"]), (&json!(3), &json!(2)));
        assert_eq!(
            (&workspaces["by_state"]["ready"], &workspaces["by_state"]["disconnected"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(workspaces["by_health"], json!({"ok": 0, "degraded": 2, "down": 1, "off": 0}));
        assert_eq!(workspaces["by_warning"], json!({"invalid_auth": 2, "frame_too_large": 2}));
        assert_eq!(workspaces["by_reason"], json!({"invalid_auth": 2}));
        assert_eq!(stats["events"]["acks"], 6);
        assert_eq!(stats["node"]["uptime_seconds"], 90);
        assert_eq!(stats["node"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[actix_web::test]
    async fn an_uninstalled_or_second_workspace_is_counted_as_failed_and_one_wanted_off_as_off() {
        let node = FakeNode::new();
        for name in ["a", "b", "c", "d"] {
            node.store.insert_on(name, "xapp-shared");
        }
        let trouble = Trouble { code: Code::AppUninstalled, since_ms: 1 };
        node.store.change("a", |workspace| workspace.trouble = Some(trouble));
        node.store.change("b", |workspace| workspace.desired = Desired::Disconnected);
        let marks = vec![(WorkspaceId(7), Code::DuplicateInstallation)];
        node.store.change("c", |workspace| workspace.id = WorkspaceId(7));
        let ready = Status { state: State::Ready, health: Health::Ok, marks, ..Status::off(0) };
        node.statuses.lock().unwrap().insert(AppId(1), ready);
        let stats = ask(&node, TestRequest::get().uri("/api/v1/stats")).await.json();
        let workspaces = &stats["workspaces"];
        assert_eq!(workspaces["by_health"], json!({"ok": 1, "degraded": 0, "down": 2, "off": 1}));
        assert_eq!(
            workspaces["by_reason"],
            json!({"app_uninstalled": 1, "duplicate_installation": 1, "disconnect": 1})
        );
    }
}
