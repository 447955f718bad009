//! Promises about routes.

use serde_json::json;

use super::{Ground, name, put, seated, spec};
use crate::event::Kind;
use crate::ids::{RouteName, WorkspaceId};
use crate::machine::routes::{AckMode, Match, NamedWorkspace, Route};
use crate::store::{
    Action, AuditFilter, Caller, Change, Label, MAX_ROUTES, Store, StoreError, When, WorkspaceSpec,
};

fn route(name: &str) -> Route {
    Route {
        name: RouteName::parse(name).unwrap(),
        handler: "log".to_owned(),
        matches: Match::default(),
        ack: None,
        is_on: true,
    }
}

fn full(name: &str) -> Route {
    let texts = |one: &str| vec![one.to_owned()];
    Route {
        handler: "bridge 'of' \"odd\"".to_owned(),
        matches: Match {
            kinds: vec![Kind::EventsApi, Kind::Interactive],
            types: texts("é*"),
            commands: Vec::new(),
            callback_ids: texts("o'odd \" \\ id"),
            action_ids: texts("a"),
            workspaces: vec![super::name("acme")],
            labels: vec![("tier".to_owned(), "a:b".to_owned())],
        },
        ack: Some(AckMode::Received),
        is_on: false,
        ..route(name)
    }
}

async fn write(store: &dyn Store, route: &Route, now_ms: i64) -> Change {
    store.put_route(route, When::Always, &Caller::admin("t"), now_ms).await.unwrap().change
}

pub(in crate::store) async fn a_route_is_made_changed_and_removed_and_each_change_is_marked(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    assert_eq!(store.routes().await.unwrap(), []);
    let mut marks = vec![store.routes_mark().await.unwrap()];
    assert_eq!(write(&*store, &route("b"), 1).await, Change::Created);
    marks.push(store.routes_mark().await.unwrap());
    assert_eq!(write(&*store, &route("b"), 2).await, Change::Unchanged);
    assert_eq!(store.routes_mark().await.unwrap(), marks[1], "nothing has changed");
    assert_eq!(write(&*store, &full("b"), 3).await, Change::Updated);
    marks.push(store.routes_mark().await.unwrap());
    let found = store.route(&route("b").name).await.unwrap().unwrap();
    assert_eq!((found.route, found.version, found.created_ms, found.updated_ms), (full("b"), 2, 1, 3));
    assert_eq!(write(&*store, &route("a"), 4).await, Change::Created);
    let by = Caller::admin("t");
    assert!(store.remove_route(&route("b").name, When::Always, &by, 5).await.unwrap());
    marks.push(store.routes_mark().await.unwrap());
    assert!(!store.remove_route(&route("b").name, When::Present, &by, 6).await.unwrap());
    assert_eq!(store.routes_mark().await.unwrap(), marks[3]);
    assert!(marks.is_sorted_by(|one, next| one < next), "{marks:?}");
    store.close().await;
    let store = ground.open().await;
    let names: Vec<_> = store.routes().await.unwrap().into_iter().map(|one| one.route.name).collect();
    assert_eq!(names, [route("a").name]);
    assert_eq!(store.routes_mark().await.unwrap(), marks[3]);
    store.close().await;
}

pub(in crate::store) async fn a_route_is_changed_only_as_it_was_read(ground: &impl Ground) {
    let store = ground.open().await;
    let by = Caller::admin("t");
    let made = store.put_route(&route("r"), When::Absent, &by, 1).await.unwrap().route;
    let again = store.put_route(&full("r"), When::Absent, &by, 2).await;
    assert!(matches!(again, Err(StoreError::Stale(_))), "{again:?}");
    let still = When::Still(made.id, made.version);
    store.put_route(&full("r"), still, &by, 2).await.unwrap();
    let late = store.put_route(&route("r"), still, &by, 3).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
    let late = store.remove_route(&route("r").name, still, &by, 3).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
    assert_eq!(store.route(&route("r").name).await.unwrap().unwrap().route, full("r"));
    store.close().await;
}

pub(in crate::store) async fn changes_of_routes_are_written_down_and_who_sees_one_label_makes_none(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let (by, name) = (Caller::admin("t"), route("r").name);
    let scoped = Caller { scope: Label::parse("tier:gold"), ..by.clone() };
    write(&*store, &route("r"), 1).await;
    write(&*store, &route("r"), 2).await;
    write(&*store, &Route { ack: Some(AckMode::Stored), ..route("r") }, 3).await;
    let refused = store.put_route(&full("r"), When::Always, &scoped, 4).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    let refused = store.remove_route(&name, When::Always, &scoped, 4).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
    store.remove_route(&name, When::Always, &by, 5).await.unwrap();
    let entries = store.audit(&AuditFilter::default(), None, 10).await.unwrap();
    let deeds: Vec<_> = entries.iter().rev().map(|entry| (entry.at_ms, entry.deed.action)).collect();
    assert_eq!(deeds, [(1, Action::RouteCreate), (3, Action::RouteUpdate), (5, Action::RouteRemove)]);
    assert!(entries.iter().all(|entry| entry.deed.target.as_deref() == Some("r")));
    assert_eq!(json!(entries[1].deed.changes.0), json!({"ack": {"from": null, "to": "stored"}}));
    store.close().await;
}

pub(in crate::store) async fn no_more_routes_are_made_than_there_can_be(ground: &impl Ground) {
    let store = ground.open().await;
    for number in 0..MAX_ROUTES {
        write(&*store, &route(&format!("r{number}")), 1).await;
    }
    let more = store.put_route(&route("more"), When::Always, &Caller::admin("t"), 2).await;
    assert!(matches!(more, Err(StoreError::Conflict(_))), "{more:?}");
    assert_eq!(write(&*store, &full("r7"), 2).await, Change::Updated, "one that is there may change");
    store.close().await;
}

pub(in crate::store) async fn workspaces_are_found_by_the_names_and_labels_that_routes_are_about(
    ground: &impl Ground,
) {
    let store = ground.open().await;
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let bearing =
        |token: &str, labels: &[(String, String)]| WorkspaceSpec { labels: labels.into(), ..spec(token) };
    let gold = bearing("xapp-1", &[label("tier", "gold"), label("tenant", "7")]);
    let acme = put(&*store, "acme", &gold, 1).await.workspace.id;
    seated(&*store, "initech", "xapp-2").await;
    put(&*store, "globex", &bearing("xapp-3", &[label("tier", "silver")]), 1).await;
    put(&*store, "gone", &bearing("xapp-4", &[label("tier", "gold")]), 1).await;
    store.remove_workspace(&name("gone"), When::Always, 2).await.unwrap();
    let initech = store.workspace(&name("initech")).await.unwrap().unwrap().id;
    let of = |workspace: WorkspaceId, named: &str, labels: &[(String, String)]| NamedWorkspace {
        workspace,
        name: name(named),
        labels: labels.into(),
    };
    let found = store.named_workspaces(&["initech", "acme", "gone"], &[("tier", "gold")]).await.unwrap();
    assert_eq!(found, [of(acme, "acme", &[label("tier", "gold")]), of(initech, "initech", &[])]);
    let found = store.named_workspaces(&[], &[("tenant", "7"), ("tenant", "8")]).await.unwrap();
    assert_eq!(found, [of(acme, "acme", &[label("tenant", "7")])]);
    assert_eq!(store.named_workspaces(&[], &[]).await.unwrap(), []);
    store.close().await;
}
