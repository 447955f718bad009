//! By what a log line names whom it is about: everything that is known of a workspace, so that a line is found by any of its ids.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::store::{App, Seat};

/// A line about somebody: `say!(warn, names.app(app), reason, "what happened")`.
macro_rules! say {
    ($level:ident, $who:expr, $($said:tt)+) => {{
        let who = $who;
        tracing::$level!(
            workspace = who.workspace.as_ref().map(|name| name.as_str()),
            workspaces = who.workspaces,
            app = %who.app,
            app_id = who.app_id.as_deref(),
            team_id = who.team_id.as_deref(),
            $($said)+
        )
    }};
}
pub(super) use say;

/// Whom a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The workspace; of a connection that several share the first of them.
    pub(super) workspace: Option<WorkspaceName>,
    /// How many share the connection, where it is more than one and the line is about all of them.
    pub(super) workspaces: Option<usize>,
    /// Our number of the app.
    pub(super) app: AppId,
    /// Slack's id of it.
    pub(super) app_id: Option<Arc<str>>,
    /// Slack's id of the team or, of an installation in all of it, of the organisation.
    pub(super) team_id: Option<Arc<str>>,
}

/// What every app of a node, and who sits on it, is called.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<HashMap<AppId, Named>>);

#[derive(Debug, Default)]
struct Named {
    app_id: Option<Arc<str>>,
    seats: Vec<Sitting>,
}

#[derive(Debug)]
struct Sitting {
    workspace: WorkspaceId,
    name: WorkspaceName,
    team_id: Option<Arc<str>>,
}

impl Names {
    /// This is what the store says of an app. What Slack has said since is not forgotten.
    pub(super) fn put(&self, app: &App) {
        let mut seats: Vec<_> = app.seats.iter().map(Sitting::of).collect();
        self.change(app.id, |named| {
            for seat in seats.iter_mut().filter(|seat| seat.team_id.is_none()) {
                let before = named.seats.iter().find(|before| before.workspace == seat.workspace);
                seat.team_id = before.and_then(|before| before.team_id.clone());
            }
            named.seats = seats;
            if let Some(id) = &app.slack_app_id {
                named.app_id = Some(id.as_str().into());
            }
        });
    }

    /// Slack says this id of the app.
    pub(super) fn is_called(&self, app: AppId, app_id: &str) {
        self.change(app, |named| named.app_id = Some(app_id.into()));
    }

    /// Slack says that this is the team of a workspace.
    pub(super) fn is_of(&self, app: AppId, workspace: WorkspaceId, team_id: Option<&str>) {
        self.change(app, |named| {
            for seat in named.seats.iter_mut().filter(|seat| seat.workspace == workspace) {
                seat.team_id = team_id.map(Into::into);
            }
        });
    }

    /// The app is no more.
    pub(super) fn forget(&self, app: AppId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }

    /// Whom a line about an app's connection is about.
    pub(super) fn app(&self, app: AppId) -> Who {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = all.get(&app);
        let seats = named.map(|named| named.seats.as_slice()).unwrap_or_default();
        let alone = if let [alone] = seats { Some(alone) } else { None };
        Who {
            workspace: seats.first().map(|seat| seat.name.clone()),
            workspaces: Some(seats.len()).filter(|seats| *seats > 1),
            app,
            app_id: named.and_then(|named| named.app_id.clone()),
            team_id: alone.and_then(|seat| seat.team_id.clone()),
        }
    }

    /// Whom a line about one workspace is about; about its app where it is nobody's.
    pub(super) fn seat(&self, app: AppId, workspace: Option<WorkspaceId>) -> Who {
        let Some(workspace) = workspace else {
            return Who { workspace: None, workspaces: None, team_id: None, ..self.app(app) };
        };
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = all.get(&app);
        let seat = named.and_then(|named| named.seats.iter().find(|seat| seat.workspace == workspace));
        Who {
            workspace: seat.map(|seat| seat.name.clone()),
            workspaces: None,
            app,
            app_id: named.and_then(|named| named.app_id.clone()),
            team_id: seat.and_then(|seat| seat.team_id.clone()),
        }
    }

    fn change(&self, app: AppId, change: impl FnOnce(&mut Named)) {
        change(self.0.write().unwrap_or_else(PoisonError::into_inner).entry(app).or_default());
    }
}

impl Sitting {
    fn of(seat: &Seat) -> Self {
        let team_id = seat.team_id.as_deref().or(seat.enterprise_id.as_deref());
        Self { workspace: seat.workspace, name: seat.name.clone(), team_id: team_id.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Desired;

    #[test]
    fn a_line_about_an_app_names_its_only_workspace_or_how_many_there_are() {
        let names = Names::default();
        names.put(&app(&["acme"]));
        names.is_called(AppId(1), "A1");
        names.is_of(AppId(1), WorkspaceId(0), Some("T1"));
        let who = names.app(AppId(1));
        assert_eq!((who.workspace.unwrap().as_str(), who.workspaces), ("acme", None));
        assert_eq!((who.app_id.as_deref(), who.team_id.as_deref()), (Some("A1"), Some("T1")));
        names.put(&app(&["acme", "initech"]));
        let who = names.app(AppId(1));
        assert_eq!((who.workspace.unwrap().as_str(), who.workspaces), ("acme", Some(2)));
        assert_eq!((who.app_id.as_deref(), who.team_id), (Some("A1"), None), "the id Slack told stays");
    }

    #[test]
    fn a_line_about_a_workspace_names_it_among_others_and_nobody_where_it_is_nobodys() {
        let names = Names::default();
        names.put(&app(&["acme", "initech"]));
        let who = names.seat(AppId(1), Some(WorkspaceId(1)));
        assert_eq!((who.workspace.unwrap().as_str(), who.workspaces), ("initech", None));
        assert_eq!(names.seat(AppId(1), None).workspace, None);
        names.forget(AppId(1));
        assert_eq!(names.seat(AppId(1), Some(WorkspaceId(1))).workspace, None);
    }

    fn app(names: &[&str]) -> App {
        let seat = |(number, name): (i64, &&str)| Seat {
            workspace: WorkspaceId(number),
            name: WorkspaceName::parse(name).unwrap(),
            team_id: None,
            enterprise_id: None,
            desired: Desired::Connected,
            bot_ms: None,
            trouble: None,
        };
        App {
            id: AppId(1),
            slack_app_id: None,
            token: None,
            candidate: None,
            links: 1,
            desired: Desired::Connected,
            seats: (0..).zip(names).map(seat).collect(),
        }
    }
}
