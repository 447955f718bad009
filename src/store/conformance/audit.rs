//! Promises about the audit log.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, app_token, bot_token, name, no_token, spec};
use crate::store::{
    Action, AuditFilter, Caller, Changes, Deed, Label, NewToken, Role, Store, TokenDigest, TokenId, When,
    WorkspaceSpec,
};

pub(in crate::store) async fn every_change_on_somebodys_behalf_is_written_down_with_what_it_changed(
    ground: &impl Ground,
) {
    let store: Arc<dyn Store> = ground.open().await.into();
    let ours = Arc::clone(&store).on_behalf(caller());
    let acme = name("acme");
    let body = WorkspaceSpec {
        title: Some("Acme".into()),
        bot_token: bot_token("xoxb-1-2-canary-of-bot9f0e"),
        ..spec("xapp-1-A1-1-canary-of-app-ab12")
    };
    ours.put_workspace(&acme, &body, When::Always, 100).await.unwrap();
    let labels = vec![("tenant".into(), "42".into())];
    let app_token = app_token("xapp-1-A1-2-canary-of-app-cd34");
    let body = WorkspaceSpec { title: Some("Acme".into()), labels, app_token, ..no_token() };
    ours.put_workspace(&acme, &body, When::Always, 200).await.unwrap();
    ours.remove_workspace(&acme, When::Always, 300).await.unwrap();
    let new = new_token();
    let token = store.create_token(&new, &caller(), 400).await.unwrap();
    store.revoke_token(token.id, &caller(), 500).await.unwrap();

    let mut entries = store.audit(&AuditFilter::default(), None, 10).await.unwrap();
    entries.reverse();
    for (entry, at_ms) in entries.iter().zip([100, 200, 300, 400, 500]) {
        let said = (entry.actor.as_str(), entry.role, entry.token, entry.at_ms);
        assert_eq!(said, ("tok_7 ci", Role::Operator, Some(TokenId(7)), at_ms));
        assert_eq!(entry.reason.as_deref(), Some("moving day"));
        assert_eq!(entry.request_id.as_deref(), Some("req_1"));
        assert_eq!(entry.address.as_deref(), Some("192.0.2.7"));
    }
    let deeds: Vec<_> = entries.into_iter().map(|entry| entry.deed).collect();
    let actions: Vec<_> = deeds.iter().map(|deed| deed.action).collect();
    assert_eq!(
        actions,
        [
            Action::WorkspaceCreate,
            Action::WorkspaceUpdate,
            Action::WorkspaceRemove,
            Action::TokenCreate,
            Action::TokenRevoke
        ]
    );
    assert!(deeds[..3].iter().all(|deed| deed.workspace.as_ref() == Some(&acme)));
    assert_eq!(change(&deeds[0], "name"), json!({"from": null, "to": "Acme"}));
    assert_eq!(change(&deeds[0], "bot_token"), json!({"from": null, "to": "9f0e"}));
    assert_eq!(change(&deeds[1], "app_token"), json!({"from": "ab12", "to": "cd34"}), "a candidate counts");
    assert_eq!(change(&deeds[1], "labels"), json!({"from": {}, "to": {"tenant": "42"}}));
    assert_eq!(deeds[1].changes.0.len(), 2, "{deeds:?}");
    assert_eq!(change(&deeds[2], "name"), json!({"from": "Acme", "to": null}));
    assert_eq!(deeds[3].target, Some(token.id.to_string()));
    assert_eq!(change(&deeds[3], "scope"), json!({"from": null, "to": "tenant:42"}));
    assert_eq!(change(&deeds[4], "name"), json!({"from": "theirs", "to": null}));
    assert!(!format!("{deeds:?}").contains("canary"));
    store.close().await;
}

pub(in crate::store) async fn what_changes_nothing_or_fails_is_not_written_down(ground: &impl Ground) {
    let store: Arc<dyn Store> = ground.open().await.into();
    let ours = Arc::clone(&store).on_behalf(caller());
    let body = spec("xapp-1-A1-1-x");
    for now in [1, 2] {
        ours.put_workspace(&name("acme"), &body, When::Always, now).await.unwrap();
    }
    ours.remove_workspace(&name("nobody"), When::Always, 3).await.unwrap();
    let theirs = Caller { scope: Label::parse("tenant:42"), ..caller() };
    Arc::clone(&store)
        .on_behalf(theirs)
        .put_workspace(&name("acme"), &no_token(), When::Always, 4)
        .await
        .unwrap_err();
    let token = store.create_token(&new_token(), &caller(), 5).await.unwrap();
    store.create_token(&new_token(), &caller(), 6).await.unwrap_err();
    for now in [7, 8] {
        store.revoke_token(token.id, &caller(), now).await.unwrap();
    }
    let times: Vec<_> = audit(&*store, AuditFilter::default()).await;
    assert_eq!(times, [7, 5, 1]);
    store.close().await;
}

pub(in crate::store) async fn changes_are_filtered_and_come_newest_first_and_in_pages(ground: &impl Ground) {
    let store: Arc<dyn Store> = ground.open().await.into();
    for (workspace, token, now) in [("a", 7, 10), ("b", 7, 20), ("a", 8, 30), ("a", 7, 40)] {
        let by = Caller { token: Some(TokenId(token)), request_id: Some(format!("req_{now}")), ..caller() };
        store.write_audit(&by, &deed(workspace), now).await.unwrap();
    }
    let all = AuditFilter::default;
    let of_a = || AuditFilter { workspace: Some(name("a")), ..all() };
    for (filter, times) in [
        (all(), &[40, 30, 20, 10][..]),
        (of_a(), &[40, 30, 10]),
        (AuditFilter { token: Some(TokenId(7)), ..of_a() }, &[40, 10]),
        (AuditFilter { action: Some(Action::WorkspaceUpdate), ..all() }, &[40, 30, 20, 10]),
        (AuditFilter { action: Some(Action::TokenRevoke), ..all() }, &[]),
        (AuditFilter { request_id: Some("req_20".into()), ..all() }, &[20]),
        (AuditFilter { since_ms: Some(20), until_ms: Some(40), ..all() }, &[30, 20]),
    ] {
        assert_eq!(audit(&*store, filter.clone()).await, times, "{filter:?}");
    }
    let page = store.audit(&of_a(), None, 2).await.unwrap();
    assert_eq!(page.len(), 2);
    let rest = store.audit(&of_a(), page.last().map(|entry| entry.id), 2).await.unwrap();
    assert_eq!(rest.iter().map(|entry| entry.at_ms).collect::<Vec<_>>(), [10]);
    store.close().await;
}

pub(in crate::store) async fn old_changes_are_forgotten_in_bounded_steps(ground: &impl Ground) {
    const DAY: i64 = 86_400_000;
    let store = ground.open().await;
    for now in [0, DAY, 2 * DAY] {
        store.write_audit(&caller(), &deed("a"), now).await.unwrap();
    }
    store.write_audit(&caller(), &deed("a"), 401 * DAY).await.unwrap();
    assert_eq!(audit(&*store, AuditFilter::default()).await, [401 * DAY, 2 * DAY, DAY]);
    store.write_audit(&caller(), &deed("a"), 401 * DAY + 1).await.unwrap();
    assert_eq!(audit(&*store, AuditFilter::default()).await, [401 * DAY + 1, 401 * DAY, 2 * DAY]);
    store.close().await;
}

/// When what is found was done.
async fn audit(store: &dyn Store, filter: AuditFilter) -> Vec<i64> {
    store.audit(&filter, None, 10).await.unwrap().iter().map(|entry| entry.at_ms).collect()
}

fn change(deed: &Deed, field: &str) -> Value {
    deed.changes.0.get(field).cloned().unwrap_or_default()
}

fn deed(workspace: &str) -> Deed {
    let (action, workspace) = (Action::WorkspaceUpdate, Some(name(workspace)));
    Deed { action, workspace, target: None, changes: Changes::default() }
}

fn caller() -> Caller {
    Caller {
        token: Some(TokenId(7)),
        role: Role::Operator,
        request_id: Some("req_1".into()),
        address: Some([192, 0, 2, 7].into()),
        reason: Some("moving day".into()),
        ..Caller::admin("tok_7 ci")
    }
}

fn new_token() -> NewToken {
    NewToken {
        name: "theirs".into(),
        digest: TokenDigest::of("text"),
        hint: "text".into(),
        role: Role::Viewer,
        scope: Label::parse("tenant:42"),
        expires_ms: None,
    }
}
