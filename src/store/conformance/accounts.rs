//! Promises about tokens of the admin API, and about what their bearers see.

use std::sync::Arc;

use super::{Ground, candidate_of, name, no_token, put, seated, spec, token_of};
use crate::ids::AppId;
use crate::store::{
    ApiToken, By, Caller, Change, Label, MAX_TOKENS, NewToken, Order, Place, Role, Secret, Store, StoreError,
    TokenDigest, TokenId, When, WorkspaceSpec, Workspaces,
};

pub(in crate::store) async fn a_token_is_found_by_its_digest_until_it_is_revoked(ground: &impl Ground) {
    let store = ground.open().await;
    let new = NewToken { scope: Label::parse("tenant:42"), expires_ms: Some(9_000), ..new("ci") };
    let made = store.create_token(&new, &Caller::admin("root"), 100).await.unwrap();
    let expected = ApiToken {
        id: made.id,
        name: "ci".into(),
        hint: "wxyz".into(),
        role: Role::Operator,
        scope: Label::parse("tenant:42"),
        created_by: "root".into(),
        created_ms: 100,
        expires_ms: Some(9_000),
        used_ms: None,
        revoked_ms: None,
    };
    assert_eq!(made, expected);
    assert_eq!(store.living_tokens().await.unwrap(), [(new.digest, made.clone())]);
    assert!(made.is_in_force(8_999) && !made.is_in_force(9_000));

    let revoked = store.revoke_token(made.id, &Caller::admin("root"), 200).await.unwrap().unwrap();
    assert_eq!(revoked, ApiToken { revoked_ms: Some(200), ..made.clone() });
    assert_eq!(store.living_tokens().await.unwrap(), []);
    let again = store.revoke_token(made.id, &Caller::admin("root"), 300).await.unwrap();
    assert_eq!(again.as_ref(), Some(&revoked), "a second revocation changes nothing");
    assert_eq!(store.token(made.id).await.unwrap(), Some(revoked));
    assert_eq!(store.revoke_token(TokenId(999), &Caller::admin("root"), 1).await.unwrap(), None);
    assert_eq!(store.token(TokenId(999)).await.unwrap(), None);
    store.close().await;
}

pub(in crate::store) async fn a_living_tokens_name_is_taken_and_a_revoked_ones_is_free(ground: &impl Ground) {
    let store = ground.open().await;
    let first = create(&*store, "ci").await;
    let refused = store.create_token(&new("ci"), &Caller::admin("root"), 1).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    store.revoke_token(first.id, &Caller::admin("root"), 2).await.unwrap();
    assert_ne!(create(&*store, "ci").await.id, first.id);
    store.close().await;
}

pub(in crate::store) async fn no_more_tokens_live_than_are_allowed(ground: &impl Ground) {
    let store = ground.open().await;
    for n in 0..MAX_TOKENS {
        create(&*store, &n.to_string()).await;
    }
    let refused = store.create_token(&new("one more"), &Caller::admin("root"), 1).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let living = store.living_tokens().await.unwrap();
    assert_eq!(living.len(), MAX_TOKENS as usize);
    store.revoke_token(living[0].1.id, &Caller::admin("root"), 2).await.unwrap();
    create(&*store, "one more").await;
    store.close().await;
}

pub(in crate::store) async fn the_use_of_a_token_is_kept_to_the_minute(ground: &impl Ground) {
    let store = ground.open().await;
    let id = create(&*store, "ci").await.id;
    let used = async |at_ms| {
        store.note_use(id, at_ms).await.unwrap();
        store.token(id).await.unwrap().unwrap().used_ms.unwrap()
    };
    assert_eq!(used(1_000).await, 1_000);
    assert_eq!(used(60_999).await, 1_000);
    assert_eq!(used(61_000).await, 61_000);
    assert_eq!(used(5_000).await, 61_000, "another node's late word");
    store.close().await;
}

pub(in crate::store) async fn tokens_come_in_the_order_they_were_made_and_in_pages(ground: &impl Ground) {
    let store = ground.open().await;
    for name in ["b", "a", "c"] {
        create(&*store, name).await;
    }
    let page = store.tokens(None, 2).await.unwrap();
    let rest = store.tokens(page.last().map(|token| token.id), 2).await.unwrap();
    let names: Vec<_> = page.iter().chain(&rest).map(|token| token.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_finds_its_workspaces_and_no_others(ground: &impl Ground) {
    let store = furnished(ground).await;
    let theirs = scoped(&store, "tenant:42");
    let names = async |after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(|name| Place { ms: 0, name: name.into() });
        let found = theirs.workspaces(Order::default(), after.as_ref(), limit).await.unwrap();
        found.into_iter().map(|found| found.name.to_string()).collect()
    };
    assert_eq!(names(None, 10).await, ["a", "c"]);
    assert_eq!(names(Some("a"), 10).await, ["c"]);
    assert_eq!(names(None, 1).await, ["a"]);
    for by in [By::Name, By::Created, By::Updated] {
        let order = Order { by, descending: true };
        let found = theirs.workspaces(order, None, 10).await.unwrap();
        let mut found: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["a", "c"], "{order:?}");
    }
    assert!(theirs.workspace(&name("a")).await.unwrap().is_some());
    for foreign in ["b", "d", "none"] {
        assert_eq!(theirs.workspace(&name(foreign)).await.unwrap(), None, "{foreign}");
    }
    let all = Arc::clone(&store).on_behalf(Caller::admin("root"));
    assert_eq!(all.workspaces(Order::default(), None, 10).await.unwrap().len(), 4);
    store.close().await;
}

pub(in crate::store) async fn of_an_app_who_sees_one_label_finds_the_workspaces_that_bear_it(
    ground: &impl Ground,
) {
    let store: Arc<dyn Store> = ground.open().await.into();
    let mut app = AppId(0);
    for (workspace, tenant) in [("b", "43"), ("c", "42"), ("a", "42")] {
        let labels = vec![("tenant".into(), tenant.into())];
        app = put(&*store, workspace, &WorkspaceSpec { labels, ..spec("xapp-one") }, 1).await.workspace.app;
    }
    let elsewhere = seated(&*store, "elsewhere", "xapp-two").await;
    store.learn_slack_app_id(elsewhere, "A2", 2).await.unwrap();
    store.learn_slack_app_id(app, "A1", 2).await.unwrap();
    let seats = async |view: &dyn Workspaces, app: &str| -> Vec<String> {
        let seats = view.slack_app(app).await.unwrap().map_or_else(Vec::new, |app| app.seats);
        seats.into_iter().map(|seat| seat.name.to_string()).collect()
    };
    assert_eq!(seats(&*scoped(&store, "tenant:42"), "A1").await, ["c", "a"]);
    assert!(scoped(&store, "tenant:42").slack_app("A2").await.unwrap().is_none());
    assert_eq!(seats(&*store, "A2").await, ["elsewhere"]);
    let names = async |view: Arc<dyn Workspaces>| -> Vec<String> {
        view.seated(app).await.unwrap().into_iter().map(|one| one.name.to_string()).collect()
    };
    assert_eq!(names(scoped(&store, "tenant:42")).await, ["a", "c"]);
    assert_eq!(names(Arc::clone(&store).on_behalf(Caller::admin("root"))).await, ["a", "b", "c"]);
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_neither_takes_what_is_not_theirs_nor_lets_go_of_their_own(
    ground: &impl Ground,
) {
    let store = furnished(ground).await;
    let theirs = scoped(&store, "tenant:42");
    let labelled =
        |value: &str| WorkspaceSpec { labels: vec![("tenant".into(), value.into())], ..no_token() };

    let taken = theirs.put_workspace(&name("b"), &labelled("42"), When::Always, 9).await;
    assert!(matches!(taken, Err(StoreError::Absent(_))), "{taken:?}");
    assert_eq!(theirs.remove_workspace(&name("b"), When::Always, 9).await.unwrap(), None);
    for spec in [labelled("43"), no_token()] {
        for workspace in ["a", "new"] {
            let let_go = theirs.put_workspace(&name(workspace), &spec, When::Always, 9).await;
            assert!(matches!(let_go, Err(StoreError::Forbidden(_))), "{let_go:?}");
        }
    }
    assert_eq!(store.workspace(&name("b")).await.unwrap().unwrap().labels, labelled("43").labels);
    assert_eq!(store.workspace(&name("a")).await.unwrap().unwrap().labels, labelled("42").labels);
    assert_eq!(store.workspace(&name("new")).await.unwrap(), None);

    let body = WorkspaceSpec { links: 3, ..labelled("42") };
    assert_eq!(
        theirs.put_workspace(&name("a"), &body, When::Always, 9).await.unwrap().change,
        Change::Updated
    );
    assert_eq!(
        theirs.put_workspace(&name("new"), &body, When::Always, 9).await.unwrap().change,
        Change::Created
    );
    assert!(theirs.remove_workspace(&name("new"), When::Always, 9).await.unwrap().is_some());
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_changes_the_token_of_an_app_only_where_all_on_it_bear_the_label(
    ground: &impl Ground,
) {
    let store: Arc<dyn Store> = ground.open().await.into();
    let theirs = scoped(&store, "tenant:42");
    let bearing = |token: &str, value: &str| WorkspaceSpec {
        labels: vec![("tenant".into(), value.into())],
        ..spec(token)
    };
    let app = put(&*store, "victim", &bearing("xapp-1-A1-1-real", "43"), 1).await.workspace.app;
    store.learn_slack_app_id(app, "A1", 1).await.unwrap();
    let offered = async |workspace: &str, token: &str| {
        theirs.put_workspace(&name(workspace), &bearing(token, "42"), When::Always, 2).await
    };
    let invented = "xapp-1-A1-1-invented";
    let refused = offered("new", invented).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    assert_eq!(store.workspace(&name("new")).await.unwrap(), None);
    offered("elsewhere", "xapp-1-A2-1-own").await.unwrap();
    let refused = offered("elsewhere", invented).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");

    // Who has the very token shares the app, and still does not change its token for the other.
    assert_eq!(offered("shares", "xapp-1-A1-1-real").await.unwrap().workspace.app, app);
    let erased = WorkspaceSpec { app_token: Secret::Remove, ..bearing("xapp-1-A1-1-real", "42") };
    for spec in [bearing(invented, "42"), erased.clone()] {
        let refused = theirs.put_workspace(&name("shares"), &spec, When::Always, 3).await;
        assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    }
    assert_eq!(candidate_of(&*store, app).await, None);
    assert_eq!(token_of(&*store, app).await.as_deref(), Some("xapp-1-A1-1-real"));

    // Alone on it, or among their own, they do.
    store.remove_workspace(&name("victim"), When::Always, 4).await.unwrap();
    offered("too", "xapp-1-A1-2-next").await.unwrap();
    assert_eq!(candidate_of(&*store, app).await.as_deref(), Some("xapp-1-A1-2-next"));
    theirs.put_workspace(&name("shares"), &erased, When::Always, 5).await.unwrap();
    assert_eq!(token_of(&*store, app).await, None);
    store.close().await;
}

pub(in crate::store) async fn who_sees_one_label_asks_for_nothing_that_is_the_nodes(ground: &impl Ground) {
    let store = furnished(ground).await;
    let theirs = scoped(&store, "tenant:42");
    let app_of = async |workspace| -> AppId { store.workspace(&name(workspace)).await.unwrap().unwrap().app };
    assert!(matches!(theirs.apps().await, Err(StoreError::Forbidden(_))));
    assert!(theirs.app(app_of("a").await).await.unwrap().is_some());
    assert!(theirs.app(app_of("b").await).await.unwrap().is_none());
    for (app, workspace) in [("A1", "a"), ("A2", "b")] {
        store.learn_slack_app_id(app_of(workspace).await, app, 2).await.unwrap();
    }
    let seats = async |slack_app_id| theirs.slack_app(slack_app_id).await.unwrap().map(|app| app.seats.len());
    assert_eq!((seats("A1").await, seats("A2").await), (Some(1), None), "of an app, what they see of it");
    let own = store.workspace(&name("a")).await.unwrap().unwrap().id;
    assert!(matches!(theirs.bot_token(own).await, Err(StoreError::Forbidden(_))), "nobody gets a token out");
    store.close().await;
}

/// Workspaces a and c of tenant 42, b of tenant 43, d of nobody.
async fn furnished(ground: &impl Ground) -> Arc<dyn Store> {
    let store = ground.open().await;
    for (workspace, tenant) in [("a", "42"), ("b", "43"), ("c", "42")] {
        let labels = vec![("tenant".into(), tenant.into())];
        put(&*store, workspace, &WorkspaceSpec { labels, ..spec(&format!("xapp-{workspace}")) }, 1).await;
    }
    seated(&*store, "d", "xapp-d").await;
    store.into()
}

/// The store for an operator who sees the workspaces with this label alone.
pub(super) fn scoped(store: &Arc<dyn Store>, label: &str) -> Arc<dyn Workspaces> {
    let scope = Label::parse(label);
    Arc::clone(store).on_behalf(Caller { scope, role: Role::Operator, ..Caller::admin("theirs") })
}

fn new(name: &str) -> NewToken {
    NewToken {
        name: name.into(),
        digest: TokenDigest::of(&format!("{name} {}", rand::random::<u64>())),
        hint: "wxyz".into(),
        role: Role::Operator,
        scope: None,
        expires_ms: None,
    }
}

async fn create(store: &dyn Store, name: &str) -> ApiToken {
    store.create_token(&new(name), &Caller::admin("root"), 1).await.unwrap()
}
