//! Promises about workspaces.

use super::{Ground, app_token, bot_token, name, no_token, put, seated, spec};
use crate::status::{Code, Trouble};
use crate::store::{By, Change, Desired, Order, Secret, StoreError, TokenHint, When, WorkspaceSpec};

pub(in crate::store) async fn a_workspace_is_created_updated_and_left_alone_by_the_same_body(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let mut body = WorkspaceSpec {
        title: Some("Acme 🪢".into()),
        links: 3,
        labels: vec![("tenant".into(), "42".into()), ("plan".into(), "gold".into())],
        app_token: app_token("xapp-1-A0ACME-1-0123456789abcdef"),
        bot_token: bot_token("xoxb-1-2-0123456789abcdef"),
        ..no_token()
    };
    let created = put(&*store, "acme", &body, 100).await;
    assert_eq!(created.change, Change::Created);
    let workspace = created.workspace;
    assert_eq!(workspace.name, name("acme"));
    assert_eq!(workspace.title.as_deref(), Some("Acme 🪢"));
    assert_eq!((workspace.desired, workspace.links), (Desired::Connected, 3));
    assert_eq!(workspace.labels, [("plan".into(), "gold".into()), ("tenant".into(), "42".into())]);
    assert_eq!(workspace.slack_app_id.as_deref(), Some("A0ACME"));
    assert_eq!(workspace.app_token, Some(TokenHint { hint: "cdef".into(), updated_ms: 100 }));
    assert_eq!(workspace.bot_token, Some(TokenHint { hint: "cdef".into(), updated_ms: 100 }));
    assert_eq!((workspace.created_ms, workspace.updated_ms), (100, 100));

    let again = put(&*store, "acme", &body, 200).await;
    assert_eq!((again.change, &again.workspace), (Change::Unchanged, &workspace));

    let changes: [fn(&mut WorkspaceSpec); 5] = [
        |body| body.title = None,
        |body| body.desired = Desired::Disconnected,
        |body| body.links = 2,
        |body| body.labels = vec![("tenant".into(), "43".into())],
        |body| body.bot_token = bot_token("xoxb-1-2-another-hidden-one"),
    ];
    for (change, now) in changes.into_iter().zip(300..) {
        change(&mut body);
        let updated = put(&*store, "acme", &body, now).await;
        assert_eq!((updated.change, updated.workspace.updated_ms), (Change::Updated, now));
        assert_eq!(put(&*store, "acme", &body, 999).await.change, Change::Unchanged);
        assert_eq!(store.workspace(&name("acme")).await.unwrap(), Some(updated.workspace));
    }
    let now = store.workspace(&name("acme")).await.unwrap().unwrap();
    assert_eq!((now.title, now.desired, now.links, now.created_ms), (None, Desired::Disconnected, 2, 100));
    assert_eq!(now.labels, [("tenant".into(), "43".into())]);
    store.close().await;
}

pub(in crate::store) async fn an_absent_secret_is_kept_and_null_removes_it(ground: &impl Ground) {
    let store = ground.open().await;
    let body = WorkspaceSpec { bot_token: bot_token("xoxb-1-secret"), ..spec("xapp-1-A1-1-x") };
    let id = put(&*store, "acme", &body, 1).await.workspace.id;

    let kept = put(&*store, "acme", &no_token(), 2).await;
    assert_eq!(kept.change, Change::Unchanged);
    assert_eq!(store.bot_token(id).await.unwrap().unwrap().expose(), "xoxb-1-secret");

    let removed = put(&*store, "acme", &WorkspaceSpec { bot_token: Secret::Remove, ..no_token() }, 3).await;
    assert_eq!((removed.change, removed.workspace.bot_token), (Change::Updated, None));
    assert!(removed.workspace.app_token.is_some());
    assert_eq!(store.bot_token(id).await.unwrap(), None);
    let app = store.app(removed.workspace.app).await.unwrap().unwrap();
    assert_eq!(app.seats[0].bot_ms, None, "when it was removed is not when it was put in place");
    let again = put(&*store, "acme", &WorkspaceSpec { bot_token: Secret::Remove, ..no_token() }, 4).await;
    assert_eq!(again.change, Change::Unchanged);
    store.close().await;
}

pub(in crate::store) async fn names_come_sorted_and_in_pages(ground: &impl Ground) {
    let store = ground.open().await;
    for workspace in ["b", "a", "Z", "a.b", "a-b", "9"] {
        seated(&*store, workspace, &format!("xapp-{workspace}")).await;
    }
    let order = Order::default();
    let mut seen = vec![];
    let mut after = None;
    loop {
        let page = store.workspaces(order, after.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        after = Some(order.place(last));
        seen.extend(page.into_iter().map(|workspace| workspace.name.to_string()));
    }
    assert_eq!(seen, ["9", "Z", "a", "a-b", "a.b", "b"]);
    store.close().await;
}

pub(in crate::store) async fn a_list_goes_by_name_or_time_either_way_and_names_decide_where_times_are_equal(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    for (workspace, at) in [("c", 1), ("a", 2), ("b", 2), ("d", 3)] {
        put(&*store, workspace, &spec(&format!("xapp-{workspace}")), at).await;
    }
    put(&*store, "a", &WorkspaceSpec { links: 2, ..no_token() }, 9).await;
    for (by, ascending) in [
        (By::Name, ["a", "b", "c", "d"]),
        (By::Created, ["c", "a", "b", "d"]),
        (By::Updated, ["c", "b", "d", "a"]),
    ] {
        for descending in [false, true] {
            let order = Order { by, descending };
            let (mut seen, mut after) = (vec![], None);
            loop {
                let page = store.workspaces(order, after.as_ref(), 1).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(order.place(last));
                seen.extend(page.into_iter().map(|workspace| workspace.name.to_string()));
            }
            if descending {
                seen.reverse();
            }
            assert_eq!(seen, ascending, "{order:?}");
        }
    }
    store.close().await;
}

pub(in crate::store) async fn a_change_made_to_depend_on_a_version_is_refused_once_somebody_else_has_changed_it(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let read = put(&*store, "acme", &spec("xapp-1-A1-1-x"), 1).await.workspace;
    let acme = name("acme");
    let links = |links| WorkspaceSpec { links, ..no_token() };
    let when = read.unchanged();
    let first = store.put_workspace(&acme, &links(2), when, 2).await.unwrap().workspace;
    assert!(first.version > read.version);
    // In the same millisecond too.
    let refused = store.put_workspace(&acme, &links(3), when, 2).await.unwrap_err();
    assert!(matches!(refused, StoreError::Stale(_)), "{refused}");
    let refused = store.remove_workspace(&acme, when, 2).await.unwrap_err();
    assert!(matches!(refused, StoreError::Stale(_)), "{refused}");
    assert_eq!(store.workspace(&acme).await.unwrap().as_ref(), Some(&first));

    let same = store.put_workspace(&acme, &links(2), first.unchanged(), 3).await.unwrap();
    assert_eq!((same.change, same.workspace.version), (Change::Unchanged, first.version));
    assert!(store.remove_workspace(&acme, first.unchanged(), 4).await.unwrap().is_some());
    assert_eq!(store.remove_workspace(&acme, when, 5).await.unwrap(), None);
    for when in [when, When::Present] {
        let refused = store.put_workspace(&acme, &spec("xapp-1-A1-1-x"), when, 6).await.unwrap_err();
        assert!(matches!(refused, StoreError::Stale(_)), "{refused}");
        assert_eq!(store.workspace(&acme).await.unwrap(), None);
    }
    // One that has come in its place is another.
    let anew = put(&*store, "acme", &spec("xapp-1-A1-1-x"), 7).await.workspace;
    assert_eq!(anew.version, read.version);
    assert!(store.put_workspace(&acme, &links(3), when, 8).await.is_err());
    store.put_workspace(&acme, &links(3), When::Present, 9).await.unwrap();
    store.close().await;
}

pub(in crate::store) async fn what_a_connection_learns_moves_no_version(ground: &impl Ground) {
    let store = ground.open().await;
    let workspace = put(&*store, "acme", &spec("xapp-first"), 1).await.workspace;
    store.learn_team(workspace.id, Some("T1"), None, 2).await.unwrap();
    store.learn_slack_app_id(workspace.app, "A1", 3).await.unwrap();
    let learnt = store.workspace(&name("acme")).await.unwrap().unwrap();
    assert_eq!((learnt.team_id.as_deref(), learnt.slack_app_id.as_deref()), (Some("T1"), Some("A1")));
    assert_eq!(learnt.version, workspace.version);
    let with_token = put(&*store, "acme", &spec("xapp-second"), 4).await.workspace;
    assert!(with_token.version > learnt.version, "a new token is a change of the caller's");
    store.close().await;
}

pub(in crate::store) async fn what_must_not_be_there_yet_is_made_once(ground: &impl Ground) {
    let store = ground.open().await;
    let body = spec("xapp-1-A1-1-x");
    let made = store.put_workspace(&name("acme"), &body, When::Absent, 1).await.unwrap();
    assert_eq!(made.change, Change::Created);
    let refused = store.put_workspace(&name("acme"), &body, When::Absent, 2).await.unwrap_err();
    assert!(matches!(refused, StoreError::Stale(_)), "{refused}");
    store.close().await;
}

pub(in crate::store) async fn what_decides_what_is_shown_of_each_workspace_is_read_at_once(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let shared = seated(&*store, "one", "xapp-shared").await;
    let two = seated(&*store, "two", "xapp-shared").await;
    let off = WorkspaceSpec { desired: Desired::Disconnected, ..spec("xapp-shared") };
    put(&*store, "three", &off, 1).await;
    seated(&*store, "gone", "xapp-gone").await;
    store.remove_workspace(&name("gone"), When::Always, 2).await.unwrap();
    let one = store.workspace(&name("one")).await.unwrap().unwrap();
    let trouble = Trouble { code: Code::AppUninstalled, since_ms: 9 };
    assert!(store.note_trouble(one.id, trouble).await.unwrap());
    assert!(store.note_limit(one.id, 11).await.unwrap());
    let mut standings = store.standings().await.unwrap();
    standings.sort_by_key(|(_, standing)| standing.workspace);
    let mut expected = store.seated(shared).await.unwrap();
    expected.sort_by_key(|workspace| workspace.id);
    assert_eq!(two, shared);
    assert_eq!(expected[0].standing().trouble, Some(trouble));
    let expected: Vec<_> = expected.iter().map(|workspace| (shared, workspace.standing())).collect();
    assert_eq!(standings, expected);
    store.close().await;
}

pub(in crate::store) async fn a_removed_workspace_is_gone_with_its_tokens_and_its_name_is_free(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let body = WorkspaceSpec { bot_token: bot_token("xoxb-1-secret"), ..spec("xapp-1-A1-1-x") };
    let workspace = put(&*store, "acme", &body, 1).await.workspace;

    assert_eq!(
        store.remove_workspace(&name("acme"), When::Always, 2).await.unwrap().as_ref(),
        Some(&workspace)
    );
    assert_eq!(store.remove_workspace(&name("acme"), When::Always, 3).await.unwrap(), None);
    assert_eq!(store.workspace(&name("acme")).await.unwrap(), None);
    assert_eq!(store.workspaces(Order::default(), None, 10).await.unwrap(), []);
    assert_eq!(store.bot_token(workspace.id).await.unwrap(), None);

    let anew = put(&*store, "acme", &no_token(), 4).await;
    assert_eq!(anew.change, Change::Created);
    assert_ne!(anew.workspace.id, workspace.id);
    assert_eq!((anew.workspace.app_token, anew.workspace.bot_token), (None, None));
    assert_eq!(anew.workspace.labels, []);
    store.close().await;
}

pub(in crate::store) async fn two_workspaces_of_one_app_and_team_are_a_conflict(ground: &impl Ground) {
    let store = ground.open().await;
    let one = put(&*store, "one", &spec("xapp-1-A1-1-x"), 1).await.workspace;
    let two = put(&*store, "two", &spec("xapp-1-A1-1-x"), 1).await.workspace;
    let other = put(&*store, "other", &spec("xapp-1-A2-1-x"), 1).await.workspace;
    assert_eq!(one.app, two.app);

    store.learn_team(one.id, Some("T1"), None, 2).await.unwrap();
    let refused = store.learn_team(two.id, Some("T1"), None, 3).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(store.workspace(&name("two")).await.unwrap().unwrap().team_id, None);

    store.learn_team(other.id, Some("T1"), None, 4).await.unwrap();
    let refused =
        store.put_workspace(&name("other"), &spec("xapp-1-A1-1-x"), When::Always, 5).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(store.workspace(&name("other")).await.unwrap().unwrap().app, other.app);

    store.learn_team(two.id, Some("T2"), None, 6).await.unwrap();
    store.remove_workspace(&name("one"), When::Always, 7).await.unwrap();
    store.learn_team(two.id, Some("T1"), None, 8).await.unwrap();
    store.close().await;
}

pub(in crate::store) async fn a_learnt_team_stays_until_another_is_learnt(ground: &impl Ground) {
    let store = ground.open().await;
    let id = put(&*store, "acme", &spec("xapp-1-A1-1-x"), 1).await.workspace.id;
    store.learn_team(id, Some("T1"), Some("E1"), 2).await.unwrap();
    store.learn_team(id, Some("T1"), Some("E1"), 3).await.unwrap();
    let workspace = store.workspace(&name("acme")).await.unwrap().unwrap();
    assert_eq!((workspace.team_id.as_deref(), workspace.enterprise_id.as_deref()), (Some("T1"), Some("E1")));
    assert_eq!(workspace.updated_ms, 2);
    put(&*store, "acme", &WorkspaceSpec { links: 2, ..no_token() }, 4).await;
    let workspace = store.workspace(&name("acme")).await.unwrap().unwrap();
    assert_eq!(workspace.team_id.as_deref(), Some("T1"));
    // Its first event said where it happened; its bot token says that it is the organisation's.
    store.learn_team(id, None, Some("E1"), 5).await.unwrap();
    let workspace = store.workspace(&name("acme")).await.unwrap().unwrap();
    assert_eq!((workspace.team_id, workspace.enterprise_id.as_deref()), (None, Some("E1")));
    assert_eq!(workspace.updated_ms, 5);
    store.close().await;
}

pub(in crate::store) async fn all_of_it_is_there_after_reopening(ground: &impl Ground) {
    let store = ground.open().await;
    let body = WorkspaceSpec { bot_token: bot_token("xoxb-1-secret"), ..spec("xapp-1-A1-1-x") };
    let workspace = put(&*store, "acme", &body, 1).await.workspace;
    store.close().await;
    drop(store);

    let store = ground.open().await;
    assert_eq!(store.workspace(&name("acme")).await.unwrap().as_ref(), Some(&workspace));
    assert_eq!(store.bot_token(workspace.id).await.unwrap().unwrap().expose(), "xoxb-1-secret");
    assert_eq!(super::token_of(&*store, workspace.app).await.as_deref(), Some("xapp-1-A1-1-x"));
    store.close().await;
}

pub(in crate::store) async fn a_trouble_stays_until_something_that_mends_it_and_what_came_before_that_is_stale(
    ground: &impl Ground,
) {
    const UNINSTALLED: Code = Code::AppUninstalled;
    const REVOKED: Code = Code::BotTokenRevoked;
    let store = ground.open().await;
    let mut body = WorkspaceSpec { bot_token: bot_token("xoxb-1-first"), ..spec("xapp-1-A1-1-x") };
    let id = put(&*store, "acme", &body, 100).await.workspace.id;
    let note = async |code, since_ms| store.note_trouble(id, Trouble { code, since_ms }).await.unwrap();
    let trouble = async || {
        let workspace = store.workspace(&name("acme")).await.unwrap().unwrap();
        let app = store.app(workspace.app).await.unwrap().unwrap();
        assert_eq!(app.seats[0].trouble, workspace.trouble.map(|trouble| trouble.code));
        workspace.trouble.map(|trouble| (trouble.code, trouble.since_ms))
    };

    assert!(!note(UNINSTALLED, 99).await, "older than the workspace");
    assert_eq!(trouble().await, None);
    assert!(note(REVOKED, 100).await);
    assert!(!note(REVOKED, 110).await);
    assert!(note(UNINSTALLED, 120).await);
    assert!(!note(REVOKED, 130).await);
    assert_eq!(trouble().await, Some((UNINSTALLED, 120)));

    body.title = Some("Acme".into());
    body.bot_token = Secret::Keep;
    assert_eq!(put(&*store, "acme", &body, 200).await.change, Change::Updated);
    assert_eq!(trouble().await, Some((UNINSTALLED, 120)), "another title mends nothing");

    body.bot_token = bot_token("xoxb-1-second");
    assert_eq!(put(&*store, "acme", &body, 300).await.workspace.trouble, None);
    assert!(!note(UNINSTALLED, 299).await, "of the time before the new token");
    assert!(note(UNINSTALLED, 301).await);
    body.desired = Desired::Disconnected;
    assert!(put(&*store, "acme", &body, 400).await.workspace.trouble.is_some());
    body.desired = Desired::Connected;
    assert_eq!(put(&*store, "acme", &body, 500).await.workspace.trouble, None);
    assert!(note(REVOKED, 501).await);
    body.app_token = app_token("xapp-1-A2-1-y");
    assert_eq!(put(&*store, "acme", &body, 600).await.workspace.trouble, None, "another app's installation");

    assert!(note(UNINSTALLED, 610).await);
    assert!(store.forgive(&name("acme"), 650).await.unwrap());
    let app = store.workspace(&name("acme")).await.unwrap().unwrap().app;
    assert_eq!(store.app(app).await.unwrap().unwrap().seats[0].bot_ms, Some(650), "asked about anew");
    assert_eq!(trouble().await, None);
    assert!(!note(UNINSTALLED, 649).await, "of the time before somebody said that it is over");
    assert!(!store.forgive(&name("acme"), 660).await.unwrap(), "nothing is in the way");
    assert!(note(UNINSTALLED, 650).await);

    store.remove_workspace(&name("acme"), When::Always, 700).await.unwrap();
    assert!(!note(UNINSTALLED, 800).await, "the workspace is gone");
    assert!(!store.forgive(&name("acme"), 800).await.unwrap());
    store.close().await;
}

pub(in crate::store) async fn slack_disproves_what_was_believed_and_nothing_else_nor_later(
    ground: &impl Ground,
) {
    const REVOKED: Code = Code::BotTokenRevoked;
    let store = ground.open().await;
    let id = put(&*store, "acme", &spec("xapp-1-A1-1-x"), 1).await.workspace.id;
    let note = async |code, since_ms| store.note_trouble(id, Trouble { code, since_ms }).await.unwrap();
    let disprove = async |asked_ms| store.disprove(id, REVOKED, asked_ms).await.unwrap();
    let trouble =
        async || store.workspace(&name("acme")).await.unwrap().unwrap().trouble.map(|there| there.code);
    assert!(!disprove(5).await, "nothing is in the way");
    assert!(note(REVOKED, 10).await);
    assert!(!disprove(9).await, "asked before it");
    let before = store.changed_apps(None).await.unwrap().1;
    assert!(disprove(10).await);
    assert_eq!(store.changed_apps(Some(before)).await.unwrap().0.len(), 1, "other nodes learn it");
    assert_eq!(trouble().await, None);
    assert!(!note(REVOKED, 9).await, "what came before Slack was asked is stale");

    assert!(note(REVOKED, 20).await);
    assert!(!note(REVOKED, 30).await, "no news");
    assert!(!disprove(25).await, "revoked once more since");
    assert!(!note(REVOKED, 15).await);
    assert!(!disprove(25).await, "an earlier one makes it no earlier");
    assert!(note(Code::AppUninstalled, 35).await);
    assert!(!disprove(40).await, "uninstalling is another thing");
    assert_eq!(trouble().await, Some(Code::AppUninstalled));
    store.remove_workspace(&name("acme"), When::Always, 50).await.unwrap();
    assert!(!store.disprove(id, Code::AppUninstalled, 60).await.unwrap());
    store.close().await;
}

pub(in crate::store) async fn a_trouble_and_a_limit_are_there_after_reopening(ground: &impl Ground) {
    let store = ground.open().await;
    let id = put(&*store, "acme", &spec("xapp-1-A1-1-x"), 1).await.workspace.id;
    put(&*store, "other", &spec("xapp-1-A1-1-x"), 1).await;
    let trouble = Trouble { code: Code::AppUninstalled, since_ms: 7 };
    assert!(store.note_trouble(id, trouble).await.unwrap());
    assert!(store.note_limit(id, 90).await.unwrap());
    assert!(!store.note_limit(id, 90).await.unwrap());
    assert!(!store.note_limit(id, 80).await.unwrap(), "a limit never shrinks");
    store.close().await;
    let store = ground.open().await;
    let acme = store.workspace(&name("acme")).await.unwrap().unwrap();
    assert_eq!((acme.trouble, acme.limited_until_ms), (Some(trouble), Some(90)));
    let other = store.workspace(&name("other")).await.unwrap().unwrap();
    assert_eq!((other.trouble, other.limited_until_ms), (None, None), "the others on the app notice nothing");
    store.close().await;
}
