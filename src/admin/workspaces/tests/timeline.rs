//! What became of a workspace's connection.

use super::*;
use crate::ids::WorkspaceId;
use crate::status::Code;
use crate::store::Transition;

const TIMELINE: &str = "/api/v1/workspaces/acme/timeline";
const NOW_MS: i64 = 1_795_377_600_000;

#[actix_web::test]
async fn each_change_says_when_from_and_to_and_why_with_who_must_act_newest_first() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let opened = change(1, State::Connected, State::Ready, None);
    let lost = change(2, State::Ready, State::Failed, Some(Code::TokenRevoked));
    node.store.transitions.lock().unwrap().extend([opened, lost]);
    let page = get(&node, TIMELINE).await.json();
    let reason = json!({
        "code": "token_revoked", "source": "slack", "actor": "customer",
        "message": Code::TokenRevoked.message(), "action": Code::TokenRevoked.action(),
    });
    let expected = json!([
        {"at": "2026-11-22T20:00:00.002Z", "kind": "state", "from": "ready", "to": "failed", "reason": reason, "generation": 7},
        {"at": "2026-11-22T20:00:00.001Z", "kind": "state", "from": "connected", "to": "ready", "reason": null, "generation": 7},
    ]);
    assert_eq!((&page["data"], &page["next_cursor"]), (&expected, &Value::Null));
    assert_eq!(code(&get(&node, "/api/v1/workspaces/none/timeline").await), "not_found");
}

#[actix_web::test]
async fn what_became_of_one_workspace_alone_is_in_its_own_timeline_and_in_no_other_s() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let mut own = None;
    node.store.change("acme", |row| own = Some(row.id));
    let uninstalled = |workspace| Transition {
        workspace,
        ..change(1, State::Ready, State::Failed, Some(Code::AppUninstalled))
    };
    let other = Some(WorkspaceId(99));
    node.store.transitions.lock().unwrap().extend([uninstalled(other), uninstalled(own), uninstalled(other)]);
    let page = get(&node, TIMELINE).await.json();
    let codes: Vec<_> =
        page["data"].as_array().unwrap().iter().map(|change| &change["reason"]["code"]).collect();
    assert_eq!((codes, &page["next_cursor"]), (vec![&json!("app_uninstalled")], &Value::Null));
}

#[actix_web::test]
async fn a_timeline_goes_on_where_its_cursor_says_and_what_was_before_the_workspace_is_not_its_own() {
    let node = FakeNode::new();
    put(&node, ACME, &full()).await;
    let all = (-5..5).map(|at| change(at, State::Ready, State::Reconnecting, Some(Code::Silent)));
    node.store.transitions.lock().unwrap().extend(all);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&node, &format!("{TIMELINE}?limit=2{cursor}")).await.json();
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|change| change["at"].as_str().unwrap()[20..23].to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["004", "003", "002", "001", "000"]);
    put(&node, "/api/v1/workspaces/other", &json!({"app_token": "xapp-other"})).await;
    let answer = get(&node, &format!("/api/v1/workspaces/other/timeline?{}", &cursor[1..])).await;
    assert_eq!(fields(&answer), ["cursor"]);
    for query in ["limit=0", "cursor=x", "since=now"] {
        assert_eq!(code(&get(&node, &format!("{TIMELINE}?{query}")).await), "invalid_request");
    }
}

fn change(after: i64, from: State, to: State, code: Option<Code>) -> Transition {
    Transition {
        app: AppId(1),
        workspace: None,
        at_ms: NOW_MS + after,
        from,
        to,
        code,
        generation: Some(Generation(7)),
    }
}
