//! Rows as they are read, and what they become.

use sqlx::FromRow;

use crate::ids::{AppId, Generation, WorkspaceId, WorkspaceName};
use crate::secret::AppToken;
use crate::status::{Code, Standing, State, Trouble};
use crate::store::fault::Fault;
use crate::store::vault::{Place, Vault};
use crate::store::{App, DeliveryMode, Desired, Seat, StoreError, TokenHint, Transition, Workspace};

/// Selects [`WorkspaceRow`]s of living workspaces; one statement, so one moment.
macro_rules! select_workspaces {
    ($($rest:literal),+ $(,)?) => {
        concat!(
            "select w.id, w.name, w.title, w.app_id, w.team_id, w.enterprise_id, w.desired, w.delivery, w.links, w.bot_hint, w.bot_at, ",
            "w.version, w.trouble, w.trouble_at, w.limited_until, w.created_at, w.updated_at, ",
            "coalesce(a.slack_app_id, a.named_app_id) as slack_app_id, a.token_hint, a.token_at, ",
            "(select ",
            json_rows!("l.key, l.value", "l.key"),
            " from workspace_labels l where l.workspace_id = w.id) as labels ",
            "from workspaces w join apps a on a.id = w.app_id where w.deleted_at is null ",
            $($rest),+
        )
    };
}

/// Selects [`AppRow`]s of apps that have a living workspace.
macro_rules! select_apps {
    ($rest:literal) => {
        concat!(
            "select a.id, a.slack_app_id, a.token_sealed, a.candidate_sealed, ",
            "(select ",
            json_rows!(
                "w.id, w.name, w.team_id, w.enterprise_id, w.desired, w.links, \
                 case when w.bot_sealed is null then null when w.forgiven_at > w.bot_at then w.forgiven_at else w.bot_at end, w.trouble",
                "w.id"
            ),
            " from workspaces w where w.app_id = a.id and w.deleted_at is null) as seats ",
            "from apps a where a.deleted_at is null ",
            $rest
        )
    };
}

pub(super) use {select_apps, select_workspaces};

#[derive(FromRow)]
pub(super) struct WorkspaceRow {
    id: i64,
    name: String,
    title: Option<String>,
    app_id: i64,
    team_id: Option<String>,
    enterprise_id: Option<String>,
    desired: String,
    delivery: String,
    links: i16,
    bot_hint: Option<String>,
    bot_at: Option<i64>,
    version: i64,
    trouble: Option<String>,
    trouble_at: Option<i64>,
    limited_until: Option<i64>,
    created_at: i64,
    updated_at: i64,
    slack_app_id: Option<String>,
    token_hint: Option<String>,
    token_at: Option<i64>,
    labels: String,
}

impl WorkspaceRow {
    pub(super) fn into_workspace(self) -> Result<Workspace, Fault> {
        Ok(Workspace {
            id: WorkspaceId(self.id),
            name: name(&self.name)?,
            title: self.title,
            app: AppId(self.app_id),
            slack_app_id: self.slack_app_id,
            team_id: self.team_id,
            enterprise_id: self.enterprise_id,
            desired: desired(&self.desired)?,
            delivery: delivery(&self.delivery)?,
            links: u8::try_from(self.links)
                .map_err(|_| unknown("workspaces.links", &self.links.to_string()))?,
            labels: json("workspace_labels", &self.labels)?,
            app_token: token_hint(self.token_hint, self.token_at),
            bot_token: token_hint(self.bot_hint, self.bot_at),
            version: self.version,
            trouble: trouble(self.trouble.as_deref(), self.trouble_at)?,
            limited_until_ms: self.limited_until,
            created_ms: self.created_at,
            updated_ms: self.updated_at,
        })
    }
}

#[derive(FromRow)]
pub(super) struct StandingRow {
    app_id: i64,
    id: i64,
    desired: String,
    trouble: Option<String>,
    trouble_at: Option<i64>,
    limited_until: Option<i64>,
    updated_at: i64,
}

impl StandingRow {
    pub(super) fn into_standing(self) -> Result<(AppId, Standing), Fault> {
        let standing = Standing {
            workspace: WorkspaceId(self.id),
            is_wanted: desired(&self.desired)? == Desired::Connected,
            trouble: trouble(self.trouble.as_deref(), self.trouble_at)?,
            limited_until_ms: self.limited_until,
            updated_ms: self.updated_at,
        };
        Ok((AppId(self.app_id), standing))
    }
}

#[derive(FromRow)]
pub(super) struct AppRow {
    id: i64,
    slack_app_id: Option<String>,
    token_sealed: Option<Vec<u8>>,
    candidate_sealed: Option<Vec<u8>>,
    seats: String,
}

/// One workspace in [`AppRow::seats`].
type SeatRow = (i64, String, Option<String>, Option<String>, String, u8, Option<i64>, Option<String>);

impl AppRow {
    pub(super) fn into_app(self, vault: &Vault) -> Result<App, Fault> {
        let id = AppId(self.id);
        let seated: Vec<SeatRow> = json("workspaces", &self.seats)?;
        let mut app = App {
            id,
            slack_app_id: self.slack_app_id,
            token: self.token_sealed.map(|sealed| open_token(vault, token_place(id), sealed)),
            candidate: self.candidate_sealed.map(|sealed| open_token(vault, candidate_place(id), sealed)),
            links: 1,
            desired: Desired::Disconnected,
            seats: Vec::with_capacity(seated.len()),
        };
        for (id, workspace, team_id, enterprise_id, wanted, links, bot_ms, trouble) in seated {
            app.links = app.links.max(links);
            let desired = desired(&wanted)?;
            if desired == Desired::Connected {
                app.desired = desired;
            }
            app.seats.push(Seat {
                workspace: WorkspaceId(id),
                name: name(&workspace)?,
                team_id,
                enterprise_id,
                desired,
                bot_ms,
                trouble: trouble.as_deref().map(trouble_code).transpose()?,
            });
        }
        Ok(app)
    }
}

#[derive(FromRow)]
pub(super) struct TransitionRow {
    n: i64,
    app_id: i64,
    at: i64,
    from_state: String,
    to_state: String,
    code: Option<String>,
    generation: Option<i64>,
    workspace_id: Option<i64>,
}

impl TransitionRow {
    /// Its number, and what it says.
    pub(super) fn into_transition(self) -> Result<(i64, Transition), Fault> {
        let transition = Transition {
            app: AppId(self.app_id),
            workspace: self.workspace_id.map(WorkspaceId),
            at_ms: self.at,
            from: state(&self.from_state)?,
            to: state(&self.to_state)?,
            code: self.code.map(|text| code_of("transitions.code", &text)).transpose()?,
            generation: self.generation.map(|generation| Generation(generation.cast_unsigned())),
        };
        Ok((self.n, transition))
    }
}

/// Where an app's token in force is sealed.
pub(super) const fn token_place(app: AppId) -> Place {
    Place::new("apps", "token_sealed", app.0)
}

/// Where an app's candidate is sealed.
pub(super) const fn candidate_place(app: AppId) -> Place {
    Place::new("apps", "candidate_sealed", app.0)
}

/// Where a workspace's bot token is sealed.
pub(super) const fn bot_place(workspace: WorkspaceId) -> Place {
    Place::new("workspaces", "bot_sealed", workspace.0)
}

/// Opens an app-level token.
pub(super) fn open_token(vault: &Vault, place: Place, sealed: Vec<u8>) -> Result<AppToken, StoreError> {
    let text = secrecy::SecretString::from(vault.open_text(place, sealed)?);
    AppToken::parse(secrecy::ExposeSecret::expose_secret(&text)).map_err(|error| {
        StoreError::Data(format!("{}.{}, row {}: {error}", place.table, place.column, place.row))
    })
}

/// A value that some other version, or somebody else, wrote.
pub(super) fn unknown(column: &str, value: &str) -> Fault {
    StoreError::Unavailable(format!("{column} holds '{value}', which this version does not know")).into()
}

pub(super) fn name(text: &str) -> Result<WorkspaceName, Fault> {
    WorkspaceName::parse(text).map_err(|_| unknown("workspaces.name", text))
}

pub(super) fn desired(text: &str) -> Result<Desired, Fault> {
    let known =
        [Desired::Connected, Desired::Disconnected].into_iter().find(|desired| desired.as_str() == text);
    known.ok_or_else(|| unknown("workspaces.desired", text))
}

fn delivery(text: &str) -> Result<DeliveryMode, Fault> {
    let known = DeliveryMode::ALL.iter().copied().find(|delivery| delivery.as_str() == text);
    known.ok_or_else(|| unknown("workspaces.delivery", text))
}

fn state(text: &str) -> Result<State, Fault> {
    let all = [
        State::Disconnected,
        State::Connecting,
        State::Authenticated,
        State::Connected,
        State::Ready,
        State::Reconnecting,
        State::Disconnecting,
        State::Failed,
    ];
    all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| unknown("transitions.*_state", text))
}

/// What keeps a workspace down, as it is stored.
pub(super) fn trouble(text: Option<&str>, at_ms: Option<i64>) -> Result<Option<Trouble>, Fault> {
    let Some((text, since_ms)) = text.zip(at_ms) else { return Ok(None) };
    Ok(Some(Trouble { code: trouble_code(text)?, since_ms }))
}

fn trouble_code(text: &str) -> Result<Code, Fault> {
    code_of("workspaces.trouble", text)
}

/// A code, as it is stored.
pub(super) fn code_of(column: &str, text: &str) -> Result<Code, Fault> {
    let known = Code::ALL.iter().copied().find(|code| code.as_str() == text);
    known.ok_or_else(|| unknown(column, text))
}

fn token_hint(hint: Option<String>, at: Option<i64>) -> Option<TokenHint> {
    Some(TokenHint { hint: hint?, updated_ms: at? })
}

fn json<T: serde::de::DeserializeOwned>(table: &str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unavailable(format!("cannot read {table}: {error}")).into())
}
