//! Promises about apps: identity, tokens, history.

use std::sync::Arc;

use super::accounts::scoped;
use super::{Ground, app_token, candidate_of, name, no_token, put, seated, spec, token_of};
use crate::ids::{AppId, Generation, WorkspaceId};
use crate::secret::AppToken;
use crate::status::{Code, State, Trouble};
use crate::store::{Change, Desired, Secret, Store, StoreError, Transition, When, WorkspaceSpec};

pub(in crate::store) async fn a_token_already_known_seats_the_workspace_on_its_app(ground: &impl Ground) {
    let store = ground.open().await;
    let app = seated(&*store, "one", "xapp-shared").await;
    assert_eq!(seated(&*store, "two", "xapp-shared").await, app);
    let old = seated(&*store, "three", "xapp-other").await;
    assert_ne!(old, app);
    let moved = put(&*store, "three", &spec("xapp-shared"), 2).await;
    assert_eq!((moved.change, moved.workspace.app), (Change::Updated, app));
    assert!(store.app(old).await.unwrap().is_none());

    let shared = store.app(app).await.unwrap().unwrap();
    let seats: Vec<_> = shared.seats.iter().map(|seat| seat.name.as_str().to_owned()).collect();
    assert_eq!(seats, ["one", "two", "three"]);
    assert!(shared.candidate.is_none());
    assert_eq!(store.apps().await.unwrap().len(), 1);
    store.close().await;
}

pub(in crate::store) async fn a_second_token_of_the_same_slack_app_becomes_the_candidate(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let app = seated(&*store, "one", "xapp-1-A1-1-old").await;
    store.learn_slack_app_id(app, "A1", 2).await.unwrap();
    assert_eq!(seated(&*store, "two", "xapp-1-A1-2-new").await, app);
    assert_eq!(token_of(&*store, app).await.as_deref(), Some("xapp-1-A1-1-old"));
    assert_eq!(candidate_of(&*store, app).await.as_deref(), Some("xapp-1-A1-2-new"));
    assert_eq!(put(&*store, "two", &spec("xapp-1-A1-2-new"), 3).await.change, Change::Unchanged);
    store.close().await;
}

pub(in crate::store) async fn a_new_token_of_a_workspaces_own_app_is_a_candidate_until_promoted_or_dropped(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let app = seated(&*store, "acme", "xapp-first").await;
    let updated = put(&*store, "acme", &spec("xapp-second"), 2).await;
    assert_eq!((updated.change, updated.workspace.app), (Change::Updated, app));
    assert_eq!(token_of(&*store, app).await.as_deref(), Some("xapp-first"));

    let second = AppToken::parse("xapp-second").unwrap();
    store.drop_candidate(app, &second, 3).await.unwrap();
    store.promote_candidate(app, &second, 3).await.unwrap();
    assert_eq!(candidate_of(&*store, app).await, None);
    assert_eq!(token_of(&*store, app).await.as_deref(), Some("xapp-first"));

    put(&*store, "acme", &spec("xapp-1-A1-3-0123456789third"), 4).await;
    store.promote_candidate(app, &second, 5).await.unwrap();
    store.drop_candidate(app, &second, 5).await.unwrap();
    let third = AppToken::parse("xapp-1-A1-3-0123456789third").unwrap();
    assert!(candidate_of(&*store, app).await.is_some(), "a word about the one before it changes nothing");
    store.promote_candidate(app, &third, 5).await.unwrap();
    assert_eq!(candidate_of(&*store, app).await, None);
    assert_eq!(token_of(&*store, app).await.as_deref(), Some("xapp-1-A1-3-0123456789third"));
    let workspace = store.workspace(&name("acme")).await.unwrap().unwrap();
    let hint = workspace.app_token.unwrap();
    assert_eq!((hint.hint.as_str(), hint.updated_ms), ("hird", 5));
    assert_eq!(workspace.slack_app_id.as_deref(), Some("A1"));
    assert_eq!(put(&*store, "acme", &spec("xapp-1-A1-3-0123456789third"), 6).await.change, Change::Unchanged);
    store.close().await;
}

pub(in crate::store) async fn the_token_in_force_put_again_ends_a_candidacy(ground: &impl Ground) {
    let store = ground.open().await;
    let app = seated(&*store, "acme", "xapp-first").await;
    put(&*store, "acme", &spec("xapp-second"), 2).await;
    assert_eq!(put(&*store, "acme", &spec("xapp-first"), 3).await.change, Change::Updated);
    assert_eq!(candidate_of(&*store, app).await, None);
    store.close().await;
}

pub(in crate::store) async fn an_id_that_no_hello_has_proven_neither_seats_nor_refuses_anybody(
    ground: &impl Ground,
) {
    let store: Arc<dyn Store> = ground.open().await.into();
    let (thief, owner) = (scoped(&store, "tenant:42"), scoped(&store, "tenant:43"));
    let bearing = |token: &str, value: &str| WorkspaceSpec {
        labels: vec![("tenant".into(), value.into())],
        ..spec(token)
    };
    let invented = bearing("xapp-1-A1-1-invented", "42");
    let squatted = thief.put_workspace(&name("squatter"), &invented, When::Always, 1).await.unwrap();
    assert_eq!(squatted.workspace.slack_app_id.as_deref(), Some("A1"), "it is shown as its token says");
    assert!(store.slack_app("A1").await.unwrap().is_none());

    // The owner has an app of their own, whoever registers them, and keeps it when they change their token.
    let real = bearing("xapp-1-A1-1-real", "43");
    let own = owner.put_workspace(&name("owner"), &real, When::Always, 2).await.unwrap().workspace.app;
    assert_ne!(own, squatted.workspace.app);
    assert_ne!(seated(&*store, "by-an-admin", "xapp-1-A1-3-another").await, squatted.workspace.app);
    let rotated = bearing("xapp-1-A1-2-rotated", "43");
    let put = owner.put_workspace(&name("owner"), &rotated, When::Always, 3).await.unwrap();
    assert_eq!(put.workspace.app, own);
    assert_eq!(candidate_of(&*store, own).await.as_deref(), Some("xapp-1-A1-2-rotated"));
    assert_eq!(candidate_of(&*store, squatted.workspace.app).await, None);

    // Once a hello has told whose it is the id leads there.
    store.learn_slack_app_id(own, "A1", 4).await.unwrap();
    assert_eq!(store.slack_app("A1").await.unwrap().map(|app| app.id), Some(own));
    let again = bearing("xapp-1-A1-1-again", "42");
    let refused = thief.put_workspace(&name("squatter"), &again, When::Always, 5).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    assert_eq!(seated(&*store, "colleague", "xapp-1-A1-4-next").await, own);
    store.close().await;
}

pub(in crate::store) async fn a_token_of_another_slack_app_moves_the_workspace_to_a_fresh_app(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let old = seated(&*store, "acme", "xapp-1-A1-1-x").await;
    let moved = put(&*store, "acme", &spec("xapp-1-A2-1-y"), 2).await;
    assert_eq!(moved.change, Change::Updated);
    assert_ne!(moved.workspace.app, old);
    assert_eq!(moved.left, Some(old), "who tells connections of it need not have read it before");
    assert_eq!(put(&*store, "acme", &spec("xapp-1-A2-1-y"), 2).await.left, None);
    assert_eq!(moved.workspace.slack_app_id.as_deref(), Some("A2"));
    assert_eq!(token_of(&*store, moved.workspace.app).await.as_deref(), Some("xapp-1-A2-1-y"));
    assert!(store.app(old).await.unwrap().is_none());
    // The app it left is free for whoever brings its token.
    assert_ne!(seated(&*store, "other", "xapp-1-A1-1-x").await, old);
    store.close().await;
}

pub(in crate::store) async fn an_unknown_token_for_a_shared_app_moves_only_its_own_workspace(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let shared = seated(&*store, "one", "xapp-shared").await;
    seated(&*store, "two", "xapp-shared").await;
    let moved = put(&*store, "two", &spec("xapp-own"), 2).await.workspace;
    assert_ne!(moved.app, shared);
    assert_eq!(token_of(&*store, shared).await.as_deref(), Some("xapp-shared"));
    assert_eq!(candidate_of(&*store, shared).await, None);
    store.close().await;
}

pub(in crate::store) async fn an_app_is_wanted_on_while_one_of_its_workspaces_is_and_has_the_most_links_asked_for(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let off = WorkspaceSpec { desired: Desired::Disconnected, links: 4, ..spec("xapp-shared") };
    let app = put(&*store, "off", &off, 1).await.workspace.app;
    assert_eq!(store.app(app).await.unwrap().unwrap().desired, Desired::Disconnected);
    seated(&*store, "on", "xapp-shared").await;
    let both = store.app(app).await.unwrap().unwrap();
    assert_eq!((both.desired, both.links), (Desired::Connected, 4));
    store.remove_workspace(&name("off"), When::Always, 2).await.unwrap();
    let left = store.app(app).await.unwrap().unwrap();
    assert_eq!((left.desired, left.links, left.seats.len()), (Desired::Connected, 1, 1));
    store.close().await;
}

pub(in crate::store) async fn removed_tokens_are_gone_and_a_later_one_is_in_force_at_once(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let app = seated(&*store, "acme", "xapp-first").await;
    put(&*store, "acme", &spec("xapp-second"), 2).await;
    let none = WorkspaceSpec { app_token: Secret::Remove, ..no_token() };
    let removed = put(&*store, "acme", &none, 3).await;
    assert_eq!((removed.change, removed.workspace.app_token), (Change::Updated, None));
    assert_eq!(put(&*store, "acme", &none, 4).await.change, Change::Unchanged);
    assert_eq!((token_of(&*store, app).await, candidate_of(&*store, app).await), (None, None));

    let back =
        put(&*store, "acme", &WorkspaceSpec { app_token: app_token("xapp-third"), ..no_token() }, 5).await;
    assert_eq!(back.workspace.app, app);
    assert_eq!(token_of(&*store, app).await.as_deref(), Some("xapp-third"));
    assert_eq!(candidate_of(&*store, app).await, None);
    store.close().await;
}

pub(in crate::store) async fn a_slack_app_id_is_learnt_once_and_never_by_two_apps(ground: &impl Ground) {
    let store = ground.open().await;
    let one = seated(&*store, "one", "xapp-one").await;
    let two = seated(&*store, "two", "xapp-two").await;
    store.learn_slack_app_id(one, "A1", 2).await.unwrap();
    store.learn_slack_app_id(one, "A1", 3).await.unwrap();
    let refused = store.learn_slack_app_id(two, "A1", 4).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(store.app(one).await.unwrap().unwrap().slack_app_id.as_deref(), Some("A1"));
    assert_eq!(store.app(two).await.unwrap().unwrap().slack_app_id, None);
    // From now on its other tokens are known by their text.
    assert_eq!(seated(&*store, "three", "xapp-1-A1-9-z").await, one);
    store.close().await;
}

pub(in crate::store) async fn an_app_without_living_workspaces_is_none(ground: &impl Ground) {
    let store = ground.open().await;
    let app = seated(&*store, "acme", "xapp-first").await;
    store.remove_workspace(&name("acme"), When::Always, 2).await.unwrap();
    assert!(store.app(app).await.unwrap().is_none());
    assert!(store.apps().await.unwrap().is_empty());
    assert_ne!(seated(&*store, "acme", "xapp-first").await, app);
    store.close().await;
}

pub(in crate::store) async fn apps_come_in_pages_and_by_the_id_slack_gave_them(ground: &impl Ground) {
    let store = ground.open().await;
    let mut made = vec![];
    for number in 1..=3 {
        let app = seated(&*store, &format!("w{number}"), &format!("xapp-{number}")).await;
        store.learn_slack_app_id(app, &format!("A{number}"), 1).await.unwrap();
        made.push(app);
    }
    let ids = async |after, limit| -> Vec<AppId> {
        store.apps_after(after, limit).await.unwrap().into_iter().map(|app| app.id).collect()
    };
    assert_eq!(ids(AppId(0), 2).await, made[..2]);
    assert_eq!(ids(made[1], 2).await, made[2..]);
    assert_eq!(store.slack_app("A2").await.unwrap().map(|app| app.id), Some(made[1]));
    assert!(store.slack_app("A4").await.unwrap().is_none());
    store.remove_workspace(&name("w2"), When::Always, 2).await.unwrap();
    assert!(store.slack_app("A2").await.unwrap().is_none());
    assert_eq!(ids(AppId(0), 9).await, [made[0], made[2]]);
    store.close().await;
}

pub(in crate::store) async fn what_slack_says_of_a_workspace_is_a_change_that_other_nodes_find(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let workspace = put(&*store, "acme", &spec("xapp-1-A1-1-x"), 100).await.workspace;
    let (_, mark) = store.changed_apps(None).await.unwrap();
    let trouble = Trouble { code: Code::AppUninstalled, since_ms: 200 };
    assert!(store.note_trouble(workspace.id, trouble).await.unwrap());
    let (changed, mark) = store.changed_apps(Some(mark)).await.unwrap();
    assert_eq!(changed, [workspace.app]);
    assert!(store.note_limit(workspace.id, 900).await.unwrap());
    let (changed, mark) = store.changed_apps(Some(mark)).await.unwrap();
    assert_eq!(changed, [workspace.app]);
    assert!(!store.note_trouble(workspace.id, trouble).await.unwrap());
    assert!(!store.note_limit(workspace.id, 900).await.unwrap());
    assert_eq!(store.changed_apps(Some(mark)).await.unwrap(), (vec![], mark), "that is known");
    store.close().await;
}

pub(in crate::store) async fn what_two_nodes_see_of_a_workspace_is_one_line_of_its_history(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let line = |at_ms, from, to, code| Transition {
        app: AppId(1),
        workspace: Some(WorkspaceId(1)),
        at_ms,
        from,
        to,
        code,
        generation: None,
    };
    let failed = |at_ms| line(at_ms, State::Ready, State::Failed, Some(Code::AppUninstalled));
    let back = |at_ms| line(at_ms, State::Failed, State::Ready, None);
    let of_another = Transition { workspace: Some(WorkspaceId(2)), ..failed(1_000) };
    for one in [
        failed(1_000),
        of_another.clone(),
        failed(5_000),
        back(6_000),
        back(900),
        failed(7_000),
        failed(60_000),
    ] {
        store.record(&[one]).await.unwrap();
    }
    let mut kept = store.history(AppId(1), None, 10).await.unwrap();
    kept.reverse();
    let kept: Vec<_> = kept.into_iter().map(|(_, line)| line).collect();
    assert_eq!(kept, [failed(1_000), of_another, back(6_000), failed(7_000), failed(60_000)]);
    store.close().await;
}

pub(in crate::store) async fn what_anybody_changes_of_an_app_is_found_behind_a_mark(ground: &impl Ground) {
    let store = ground.open().await;
    let first = seated(&*store, "acme", "xapp-first").await;
    let (none, mark) = store.changed_apps(None).await.unwrap();
    assert_eq!(none, []);
    assert_eq!(store.changed_apps(Some(mark)).await.unwrap(), (vec![], mark), "that is known");
    let second = seated(&*store, "other", "xapp-second").await;
    let moved = put(&*store, "acme", &spec("xapp-third"), 2).await;
    assert_eq!(moved.workspace.app, first, "it is a new token of its own app");
    let (changed, mark) = store.changed_apps(Some(mark)).await.unwrap();
    assert_eq!(changed, [second, first]);

    assert_eq!(put(&*store, "acme", &spec("xapp-third"), 3).await.change, Change::Unchanged);
    let workspace = moved.workspace.id;
    store.learn_team(workspace, Some("T1"), None, 3).await.unwrap();
    store.learn_slack_app_id(first, "A1", 3).await.unwrap();
    assert_eq!(
        store.changed_apps(Some(mark)).await.unwrap(),
        (vec![], mark),
        "what is learnt does not count"
    );

    let token = AppToken::parse("xapp-third").unwrap();
    store.promote_candidate(first, &token, 4).await.unwrap();
    let (changed, mark) = store.changed_apps(Some(mark)).await.unwrap();
    assert_eq!(changed, [first], "its token is another");
    put(&*store, "acme", &spec("xapp-second"), 5).await;
    let (changed, mark) = store.changed_apps(Some(mark)).await.unwrap();
    assert_eq!(changed.len(), 2, "the app it left, which is gone, and the one it sits on now");
    for name_of in ["acme", "other"] {
        store.remove_workspace(&name(name_of), When::Always, 6).await.unwrap();
    }
    assert_eq!(store.changed_apps(Some(mark)).await.unwrap().0, [second]);
    store.close().await;
}

pub(in crate::store) async fn history_is_newest_first_and_keeps_a_thousand_an_app(ground: &impl Ground) {
    let store = ground.open().await;
    let app = seated(&*store, "acme", "xapp-first").await;
    let other = seated(&*store, "other", "xapp-other").await;
    let change = |app, at_ms| Transition {
        app,
        workspace: None,
        at_ms,
        from: State::Ready,
        to: State::Reconnecting,
        code: Some(Code::Silent),
        generation: Some(Generation(7)),
    };
    let workspace = Some(WorkspaceId(3));
    let plain = Transition { workspace, code: None, generation: None, to: State::Failed, ..change(other, 5) };
    store.record(std::slice::from_ref(&plain)).await.unwrap();
    store.record(&[]).await.unwrap();
    let many: Vec<Transition> = (0..1010).map(|at| change(app, at)).collect();
    store.record(&many).await.unwrap();

    let newest = history(&*store, app, 2).await;
    assert_eq!(newest, [change(app, 1009), change(app, 1008)]);
    let all = history(&*store, app, 5000).await;
    assert_eq!((all.len(), all.last()), (1000, Some(&change(app, 10))));
    assert_eq!(history(&*store, other, 10).await, [plain]);
    store.close().await;
}

pub(in crate::store) async fn history_goes_on_below_a_number_and_numbers_are_never_reused(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let app = seated(&*store, "acme", "xapp-first").await;
    let change = |at_ms| Transition {
        app,
        workspace: None,
        at_ms,
        from: State::Connected,
        to: State::Ready,
        code: None,
        generation: None,
    };
    let many: Vec<Transition> = (0..5).map(change).collect();
    store.record(&many).await.unwrap();
    let first = store.history(app, None, 2).await.unwrap();
    let rest = store.history(app, Some(first[1].0), 10).await.unwrap();
    let times: Vec<_> = first.iter().chain(&rest).map(|(_, change)| change.at_ms).collect();
    assert_eq!(times, [4, 3, 2, 1, 0]);
    assert_eq!(store.history(app, Some(rest[2].0), 10).await.unwrap(), []);
    store.record(&[change(9)]).await.unwrap();
    assert_eq!(store.history(app, Some(first[1].0), 10).await.unwrap(), rest, "what is new comes before");
    store.close().await;
}

async fn history(store: &dyn Store, app: AppId, limit: u32) -> Vec<Transition> {
    let found = store.history(app, None, limit).await.unwrap();
    found.into_iter().map(|(_, transition)| transition).collect()
}
