//! What is shown of a workspace changes also where its app's connection says what it said before: the stream and the timeline are told
//! of that here, where what is stored of each workspace is known.

use std::collections::BTreeMap;

use super::Watcher;
use crate::ids::{AppId, WorkspaceId};
use crate::status::feed::{News, StateChange};
use crate::status::{Health, Standing, Status};
use crate::store::Transition;

impl Watcher {
    /// Tells what is shown of each of an app's workspaces otherwise than by these rows of before. Where nothing was known the app is new,
    /// and its connection tells of itself, but not of what Slack has said of a workspace meanwhile.
    pub(super) fn tell_apart(&self, app: AppId, before: &BTreeMap<WorkspaceId, Standing>) {
        let new = || {
            let clean = |row: &Standing| Standing { trouble: None, limited_until_ms: None, ..*row };
            self.of_app(app).map(|(id, row)| (id, clean(row))).collect()
        };
        let before = if before.is_empty() { &new() } else { before };
        let now_ms = self.clock.now().wall_ms;
        let connection = self.connection(app);
        let was_on = before.values().any(|row| row.is_wanted);
        let is_turned = was_on != self.of_app(app).any(|(_, row)| row.is_wanted);
        for (id, row) in self.of_app(app) {
            let was = match before.get(&id) {
                // The connection goes on or off with it, and says so.
                was if is_turned && was.is_none_or(|was| was.is_wanted != row.is_wanted) => continue,
                Some(was) => Status::of_workspace(connection.clone(), was, now_ms),
                None => Status { health: Health::Down, ..Status::off(row.updated_ms) },
            };
            let is = Status::of_workspace(connection.clone(), row, now_ms);
            self.tell(app, id, &was, &is, now_ms);
        }
    }

    /// Ends the limits that are over.
    pub(super) fn tell_of_limits(&mut self, app: AppId, now_ms: i64) {
        let is_over = |row: &Standing| row.limited_until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        let over: Vec<WorkspaceId> =
            self.of_app(app).filter(|(_, row)| is_over(row)).map(|(id, _)| id).collect();
        for id in over {
            let Some(row) = self.rows.get_mut(&(app, id)) else { continue };
            let was = Standing { limited_until_ms: Some(i64::MAX), ..*row };
            row.limited_until_ms = None;
            let row = *row;
            let connection = self.connection(app);
            let was = Status::of_workspace(connection.clone(), &was, now_ms);
            self.tell(app, id, &was, &Status::of_workspace(connection, &row, now_ms), now_ms);
        }
    }

    /// Tells of workspaces that turn out to be the second ones of their team, unidentified or without a bot token, or are so no more.
    pub(super) fn tell_of_marked(&mut self, app: AppId, now_ms: i64) {
        let Some(connection) = self.connection(app) else {
            self.marked.remove(&app);
            return;
        };
        let known = self.marked.remove(&app).unwrap_or_default();
        if known != connection.marks {
            let was = Status { marks: known, ..connection.clone() };
            for (id, row) in self.of_app(app) {
                let is = Status::of_workspace(Some(connection.clone()), row, now_ms);
                self.tell(app, id, &Status::of_workspace(Some(was.clone()), row, now_ms), &is, now_ms);
            }
        }
        if !connection.marks.is_empty() {
            self.marked.insert(app, connection.marks);
        }
    }

    fn tell(&self, app: AppId, workspace: WorkspaceId, was: &Status, is: &Status, now_ms: i64) {
        let Some(change) = StateChange::between(app, was, is) else { return };
        self.directory.feed().tell(News::Workspace(workspace, StateChange { at_ms: now_ms, ..change }));
        let (from, to, code) = (change.from, change.to, change.reason.map(|reason| reason.code));
        let workspace = Some(workspace);
        let line = Transition { app, workspace, at_ms: now_ms, from, to, code, generation: None };
        if self.history.try_send(line).is_err() {
            tracing::debug!("the history lost a line: the database is slow or gone");
        }
    }
}
