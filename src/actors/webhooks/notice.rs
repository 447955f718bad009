//! What a notice says. Nothing secret is in it: names, ids, labels, states and reasons.

use serde_json::{Value, json};

use crate::machine::notice::Topic;
use crate::moment::rfc3339;
use crate::status::feed::DeadCount;
use crate::status::{Code, Reason, Status};
use crate::store::Workspace;

/// A notice about a workspace.
pub(super) fn of_workspace(
    topic: Topic,
    workspace: &Workspace,
    status: &Status,
    code: Option<Code>,
    since_ms: i64,
    now_ms: i64,
) -> String {
    let labels: serde_json::Map<String, Value> =
        workspace.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let data = json!({
        "workspace": workspace.name.as_str(),
        "name": workspace.title,
        "app_id": workspace.slack_app_id.as_deref().or(status.slack_app_id.as_deref()),
        "team_id": workspace.team_id,
        "enterprise_id": workspace.enterprise_id,
        "labels": labels,
        "state": status.state,
        "health": status.health,
        "since": rfc3339(since_ms),
        "reason": code.map(Reason::from),
    });
    envelope(topic.as_str(), now_ms, &data)
}

/// A notice about many workspaces.
pub(super) fn of_incident(
    topic: Topic,
    since_ms: i64,
    counts: (usize, usize, usize),
    code: Option<Code>,
    now_ms: i64,
) -> String {
    let (down, peak, wanted) = counts;
    let data = json!({
        "since": rfc3339(since_ms), "down": down, "peak": peak, "workspaces": wanted, "reason": code.map(Reason::from),
    });
    envelope(topic.as_str(), now_ms, &data)
}

/// A notice about deliveries that were given up.
pub(super) fn of_the_dead(
    handler: &str,
    workspace: Option<&Workspace>,
    dead: DeadCount,
    now_ms: i64,
) -> String {
    let labels: serde_json::Map<String, Value> = workspace
        .into_iter()
        .flat_map(|workspace| &workspace.labels)
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    let data = json!({
        "workspace": workspace.map(|workspace| workspace.name.as_str()),
        "labels": labels,
        "handler": handler,
        "count": dead.count,
        "first": format!("evt_{}", dead.first),
        "last": format!("evt_{}", dead.last),
    });
    envelope(Topic::DeliveryDead.as_str(), now_ms, &data)
}

fn envelope(topic: &str, now_ms: i64, data: &Value) -> String {
    json!({ "type": topic, "timestamp": rfc3339(now_ms), "data": data }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_tells_its_moments_with_milliseconds_as_the_api_does() {
        let body = of_incident(Topic::IncidentOpened, 1_000, (5, 5, 9), None, 2_000);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["timestamp"], "1970-01-01T00:00:02.000Z");
        assert_eq!(body["data"]["since"], "1970-01-01T00:00:01.000Z");
    }
}
