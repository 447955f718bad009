//! Workspaces in memory, that can be made to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::ids::{AppId, WorkspaceId, WorkspaceName};
use crate::secret::{AppToken, BotToken};
use crate::status::{Code, Standing, Trouble};
use crate::store::{
    App as StoredApp, Change, DeliveryMode, Desired, Order, Place, Put, Seat, Secret, StoreError, TokenHint,
    Transition, When, Workspace, WorkspaceSpec, Workspaces,
};

/// Workspaces in memory, and an app for each app token.
#[derive(Default)]
pub(in crate::admin) struct FakeStore {
    broken: AtomicBool,
    fails: Mutex<Option<StoreError>>,
    rows: Mutex<BTreeMap<WorkspaceName, Workspace>>,
    /// Newest last; a change's number is its place, from one.
    pub(in crate::admin) transitions: Mutex<Vec<Transition>>,
    apps: Mutex<Vec<String>>,
}

impl FakeStore {
    /// Changes a row behind the API's back.
    pub(in crate::admin) fn change(&self, name: &str, change: impl FnOnce(&mut Workspace)) {
        let mut rows = self.rows.lock().unwrap();
        change(rows.values_mut().find(|row| row.name.as_str() == name).unwrap());
    }

    /// From now on the database is away.
    pub(in crate::admin) fn break_down(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// The next write fails like this.
    pub(in crate::admin) fn fail_next(&self, error: StoreError) {
        *self.fails.lock().unwrap() = Some(error);
    }

    /// A workspace of an app of its own, as if it had been put.
    pub(in crate::admin) fn insert(&self, name: &str) {
        self.insert_on(name, &format!("xapp-{name}"));
    }

    /// A workspace of the app with this token, as if it had been put.
    pub(in crate::admin) fn insert_on(&self, name: &str, token: &str) {
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            delivery: DeliveryMode::Active,
            links: 1,
            labels: Vec::new(),
            app_token: Secret::Set(AppToken::parse(token).unwrap()),
            bot_token: Secret::Keep,
        };
        let name = WorkspaceName::parse(name).unwrap();
        let made = self.put(&name, &spec, When::Absent, 0).unwrap();
        assert_eq!(made.change, Change::Created);
    }

    fn put(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.check()?;
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)?;
        let mut rows = self.rows.lock().unwrap();
        let old = rows.get(name).cloned();
        when.check(old.as_ref())?;
        let app = match (&spec.app_token, &old) {
            (Secret::Set(token), _) => self.app_of(token.fingerprint()),
            (Secret::Keep | Secret::Remove, Some(old)) => old.app,
            (Secret::Keep | Secret::Remove, None) => return Err(StoreError::Data("no app token".to_owned())),
        };
        let mut workspace = Workspace {
            id: WorkspaceId(1),
            name: name.clone(),
            title: spec.title.clone(),
            app,
            slack_app_id: None,
            team_id: None,
            enterprise_id: None,
            desired: spec.desired,
            delivery: spec.delivery,
            links: spec.links,
            labels: spec.labels.clone(),
            app_token: hinted(
                old.as_ref().and_then(|old| old.app_token.clone()),
                &spec.app_token,
                AppToken::hint,
                now_ms,
            ),
            bot_token: hinted(
                old.as_ref().and_then(|old| old.bot_token.clone()),
                &spec.bot_token,
                BotToken::hint,
                now_ms,
            ),
            version: old.as_ref().map_or(1, |old| old.version),
            created_ms: old.as_ref().map_or(now_ms, |old| old.created_ms),
            trouble: None,
            limited_until_ms: None,
            updated_ms: now_ms,
        };
        workspace.labels.sort_unstable();
        let change = match old {
            None => Change::Created,
            Some(old) if old == workspace => Change::Unchanged,
            Some(_) => {
                workspace.version += 1;
                Change::Updated
            }
        };
        let left = rows.insert(name.clone(), workspace.clone()).map(|old| old.app);
        let left = left.filter(|left| *left != workspace.app);
        Ok(Put { workspace, change, left })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) { Err(away()) } else { Ok(()) }
    }

    fn app_of(&self, fingerprint: String) -> AppId {
        let mut apps = self.apps.lock().unwrap();
        let known = apps.iter().position(|app| *app == fingerprint);
        let place = known.unwrap_or_else(|| {
            apps.push(fingerprint);
            apps.len() - 1
        });
        AppId(i64::try_from(place).unwrap() + 1)
    }
}

fn seated_app(id: AppId) -> StoredApp {
    StoredApp {
        id,
        slack_app_id: None,
        token: None,
        candidate: None,
        links: 1,
        desired: Desired::Disconnected,
        seats: Vec::new(),
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("host db-7.internal refuses".to_owned())
}

fn hinted<T>(old: Option<TokenHint>, new: &Secret<T>, hint: fn(&T) -> String, now: i64) -> Option<TokenHint> {
    match new {
        Secret::Keep => old,
        Secret::Remove => None,
        Secret::Set(token) => {
            let fresh = TokenHint { hint: hint(token), updated_ms: now };
            Some(old.filter(|old| old.hint == fresh.hint).unwrap_or(fresh))
        }
    }
}

#[async_trait]
impl Workspaces for FakeStore {
    async fn workspaces(
        &self,
        order: Order,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        self.check()?;
        let mut rows: Vec<_> = self.rows.lock().unwrap().values().cloned().collect();
        let key = |workspace: &Workspace| {
            let Place { ms, name } = order.place(workspace);
            (ms, name)
        };
        rows.sort_by_key(key);
        if order.descending {
            rows.reverse();
        }
        if let Some(after) = after {
            let after = (after.ms, after.name.clone());
            rows.retain(|row| if order.descending { key(row) < after } else { key(row) > after });
        }
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn standings(&self) -> Result<Vec<(AppId, Standing)>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().map(|workspace| (workspace.app, workspace.standing())).collect())
    }

    async fn workspace(&self, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
        self.check()?;
        Ok(self.rows.lock().unwrap().get(name).cloned())
    }

    async fn put_workspace(
        &self,
        name: &WorkspaceName,
        spec: &WorkspaceSpec,
        when: When,
        now_ms: i64,
    ) -> Result<Put, StoreError> {
        self.put(name, spec, when, now_ms)
    }

    async fn remove_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        _now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.check()?;
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)?;
        let mut rows = self.rows.lock().unwrap();
        if let Some(found) = rows.get(name) {
            when.check(Some(found))?;
        }
        Ok(rows.remove(name))
    }

    async fn purge_workspace(
        &self,
        name: &WorkspaceName,
        when: When,
        now_ms: i64,
    ) -> Result<Option<Workspace>, StoreError> {
        self.remove_workspace(name, when, now_ms).await
    }

    async fn apps_after(&self, after: AppId, limit: u32) -> Result<Vec<StoredApp>, StoreError> {
        self.check()?;
        let mut apps: BTreeMap<AppId, StoredApp> = BTreeMap::new();
        for workspace in self.rows.lock().unwrap().values().filter(|workspace| workspace.app > after) {
            let app = apps.entry(workspace.app).or_insert_with(|| seated_app(workspace.app));
            app.links = app.links.max(workspace.links);
            if workspace.desired == Desired::Connected {
                app.desired = Desired::Connected;
            }
            app.seats.push(Seat {
                workspace: workspace.id,
                name: workspace.name.clone(),
                team_id: workspace.team_id.clone(),
                enterprise_id: workspace.enterprise_id.clone(),
                desired: workspace.desired,
                bot_ms: None,
                trouble: None,
            });
        }
        Ok(apps.into_values().take(limit as usize).collect())
    }

    async fn slack_app(&self, _slack_app_id: &str) -> Result<Option<StoredApp>, StoreError> {
        self.check()?;
        Ok(None)
    }

    async fn forgive(&self, name: &WorkspaceName, _now_ms: i64) -> Result<bool, StoreError> {
        self.check()?;
        let mut rows = self.rows.lock().unwrap();
        Ok(rows.get_mut(name).is_some_and(|row| row.trouble.take().is_some()))
    }

    async fn app(&self, id: AppId) -> Result<Option<StoredApp>, StoreError> {
        let apps = self.apps_after(AppId(0), u32::MAX).await?;
        Ok(apps.into_iter().find(|app| app.id == id))
    }

    async fn history(
        &self,
        app: AppId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, Transition)>, StoreError> {
        self.check()?;
        let all = self.transitions.lock().unwrap();
        let numbered: Vec<_> = (1..).zip(all.iter().cloned()).collect();
        let meant = numbered
            .into_iter()
            .rev()
            .filter(|(n, of)| of.app == app && before.is_none_or(|before| *n < before));
        Ok(meant.take(limit as usize).collect())
    }

    async fn seated(&self, app: AppId) -> Result<Vec<Workspace>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().filter(|workspace| workspace.app == app).cloned().collect())
    }

    // The API never asks for what follows.

    async fn bot_token(&self, _workspace: WorkspaceId) -> Result<Option<BotToken>, StoreError> {
        Err(away())
    }
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        Err(away())
    }
    async fn changed_apps(&self, _after: Option<i64>) -> Result<(Vec<AppId>, i64), StoreError> {
        Err(away())
    }
    async fn promote_candidate(
        &self,
        _app: AppId,
        _tried: &AppToken,
        _now_ms: i64,
    ) -> Result<(), StoreError> {
        Err(away())
    }
    async fn drop_candidate(&self, _app: AppId, _tried: &AppToken, _now_ms: i64) -> Result<(), StoreError> {
        Err(away())
    }
    async fn learn_slack_app_id(&self, _app: AppId, _slack: &str, _now_ms: i64) -> Result<(), StoreError> {
        Err(away())
    }
    async fn learn_team(
        &self,
        _workspace: WorkspaceId,
        _team_id: Option<&str>,
        _enterprise_id: Option<&str>,
        _now_ms: i64,
    ) -> Result<(), StoreError> {
        Err(away())
    }
    async fn disprove(
        &self,
        _workspace: WorkspaceId,
        _code: Code,
        _asked_ms: i64,
    ) -> Result<bool, StoreError> {
        self.check()?;
        Ok(false)
    }

    async fn note_trouble(&self, _workspace: WorkspaceId, _trouble: Trouble) -> Result<bool, StoreError> {
        Err(away())
    }
    async fn note_limit(&self, _workspace: WorkspaceId, _until_ms: i64) -> Result<bool, StoreError> {
        Err(away())
    }
    async fn record(&self, _transitions: &[Transition]) -> Result<(), StoreError> {
        Err(away())
    }
}
