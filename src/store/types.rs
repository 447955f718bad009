//! What goes into the store and what comes out of it.

use crate::ids::{AppId, Generation, Seq, WorkspaceId, WorkspaceName, WriterId};
use crate::secret::{AppToken, BotToken};
use crate::status::{Code, Standing, State, Trouble};
use crate::store::StoreError;

/// Should the workspace's app be online?
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Keep it online.
    Connected,
    /// Keep it off.
    Disconnected,
}

impl Desired {
    /// Its name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Is what comes of a workspace given to handlers?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// As it comes.
    #[default]
    Active,
    /// Not until it is resumed: it is kept, and waits.
    Paused,
}

impl DeliveryMode {
    /// Both.
    pub const ALL: &[Self] = &[Self::Active, Self::Paused];

    /// Its name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }
}

/// A workspace as stored. Tokens are not in it: they are read only by whom they serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Our id of it.
    pub id: WorkspaceId,
    /// The caller's id of it.
    pub name: WorkspaceName,
    /// What it is called on a screen.
    pub title: Option<String>,
    /// The app whose sockets carry it.
    pub app: AppId,
    /// Slack's id of the app: as a hello has told it or, before that, as the text of its token says, which anybody can write.
    pub slack_app_id: Option<String>,
    /// Slack's id of the team, once known.
    pub team_id: Option<String>,
    /// Slack's id of the organisation, once known.
    pub enterprise_id: Option<String>,
    /// Wanted on or off.
    pub desired: Desired,
    /// Is what comes of it given to handlers?
    pub delivery: DeliveryMode,
    /// Sockets wanted for its app, 1 to 9.
    pub links: u8,
    /// Labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// The stored app-level token: last four characters and when it was set. None when none is stored.
    pub app_token: Option<TokenHint>,
    /// The stored bot token.
    pub bot_token: Option<TokenHint>,
    /// Rises with every change that a caller makes, not with what its connection learns.
    pub version: i64,
    /// What keeps it down whatever its app's connection does.
    pub trouble: Option<Trouble>,
    /// Slack holds its events back until then, milliseconds since 1970; none when it never did.
    pub limited_until_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What may be shown of a stored token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHint {
    /// The last four characters.
    pub hint: String,
    /// When it was put in place, milliseconds since 1970.
    pub updated_ms: i64,
}

/// A secret in a change: keep what is stored, remove it, or put another in its place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Secret<T> {
    /// As stored.
    #[default]
    Keep,
    /// Erase it.
    Remove,
    /// Put this in its place.
    Set(T),
}

/// What a `PUT` asks for. Absent secrets are kept; all else is replaced.
#[derive(Clone, Debug)]
pub struct WorkspaceSpec {
    /// What it is called on a screen.
    pub title: Option<String>,
    /// Wanted on or off.
    pub desired: Desired,
    /// Is what comes of it given to handlers?
    pub delivery: DeliveryMode,
    /// Sockets wanted, 1 to 9.
    pub links: u8,
    /// Labels, any order.
    pub labels: Vec<(String, String)>,
    /// The app-level token.
    pub app_token: Secret<AppToken>,
    /// The bot token.
    pub bot_token: Secret<BotToken>,
}

/// What must be so for a change to be made: looked at in the transaction that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whatever is there.
    Always,
    /// Nothing is there yet.
    Absent,
    /// Something is there.
    Present,
    /// It is that very row, and nobody has changed it since it was at this version.
    Still(i64, i64),
}

impl When {
    /// A [`StoreError::Stale`] where it is not so.
    pub fn check(self, found: Option<&Workspace>) -> Result<(), StoreError> {
        self.check_row(found.map(|found| (found.id.0, found.version)))
    }

    /// The same of any row that has a version: its id, and that.
    pub fn check_row(self, found: Option<(i64, i64)>) -> Result<(), StoreError> {
        let stale = match (self, found) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Present, Some(_)) => return Ok(()),
            (Self::Still(id, version), Some(found)) if found == (id, version) => return Ok(()),
            (Self::Absent, Some(_)) => "it is there already",
            (Self::Still(..), Some(_)) => "somebody has changed it since it was read",
            (Self::Present | Self::Still(..), None) => "it is not there",
        };
        Err(StoreError::Stale(stale.into()))
    }
}

impl Workspace {
    /// What decides what is shown of it.
    pub const fn standing(&self) -> Standing {
        Standing {
            workspace: self.id,
            is_wanted: matches!(self.desired, Desired::Connected),
            trouble: self.trouble,
            limited_until_ms: self.limited_until_ms,
            updated_ms: self.updated_ms,
        }
    }

    /// The condition that nobody has changed it since it was read.
    pub const fn unchanged(&self) -> When {
        When::Still(self.id.0, self.version)
    }
}

/// By what a list of workspaces is sorted. Where two are equal, their names decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Their names, as bytes.
    #[default]
    Name,
    /// When they were created.
    Created,
    /// When they were changed last.
    Updated,
}

/// The order of a list of workspaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: By,
    /// The last one first.
    pub descending: bool,
}

impl Order {
    /// Where a workspace stands in this order.
    pub fn place(self, workspace: &Workspace) -> Place {
        let ms = match self.by {
            By::Name => 0,
            By::Created => workspace.created_ms,
            By::Updated => workspace.updated_ms,
        };
        Place { ms, name: workspace.name.as_str().into() }
    }

    /// Before all that can be.
    pub(super) fn beginning(self) -> Place {
        // No name has a character above '~'.
        if self.descending {
            Place { ms: i64::MAX, name: "\u{7f}".into() }
        } else {
            Place { ms: i64::MIN, name: "".into() }
        }
    }
}

/// A place in an order: a page begins after one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The time the order goes by, milliseconds since 1970; zero where it goes by name.
    pub ms: i64,
    /// The name.
    pub name: Box<str>,
}

/// What a `PUT` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The workspace as it is now.
    pub workspace: Workspace,
    /// What happened to it.
    pub change: Change,
    /// The app it sat on before, where that is another: it may have nobody to stay online for.
    pub left: Option<AppId>,
}

/// What happened to a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It was there and something differs.
    Updated,
    /// It was there and is the same.
    Unchanged,
}

/// An app with what its connection needs.
#[derive(Clone, Debug)]
pub struct App {
    /// Our id of it.
    pub id: AppId,
    /// Slack's id of it, once a hello has told it.
    pub slack_app_id: Option<String>,
    /// The token in force; an error where the vault cannot open it; none when none is stored.
    pub token: Option<Result<AppToken, StoreError>>,
    /// A token to be tried beside the one in force.
    pub candidate: Option<Result<AppToken, StoreError>>,
    /// Sockets wanted, 1 to 9.
    pub links: u8,
    /// On when any of its living workspaces is wanted on.
    pub desired: Desired,
    /// The living workspaces seated on it.
    pub seats: Vec<Seat>,
}

/// A workspace seated on an app: by what its events are recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Our id of it.
    pub workspace: WorkspaceId,
    /// The caller's id of it.
    pub name: WorkspaceName,
    /// Slack's id of the team, once known.
    pub team_id: Option<String>,
    /// Slack's id of the organisation, once known.
    pub enterprise_id: Option<String>,
    /// Wanted on or off.
    pub desired: Desired,
    /// When its bot token was put in place, or what Slack had said of it was forgiven, milliseconds since 1970; none when it has none.
    pub bot_ms: Option<i64>,
    /// What keeps it down whatever the connection does.
    pub trouble: Option<Code>,
}

/// One change of a connection's state, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose.
    pub app: AppId,
    /// Of which workspace on it alone; none where it is of the app's connection.
    pub workspace: Option<WorkspaceId>,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// From.
    pub from: State,
    /// To.
    pub to: State,
    /// Why.
    pub code: Option<Code>,
    /// The link it is about.
    pub generation: Option<Generation>,
}

/// One process start that writes to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Which.
    pub id: WriterId,
    /// What tells its seqs from those of every other living writer of the database: 0 to 1023.
    pub number: u16,
    /// The highest seq in the journal: new ones lie above it.
    pub last: Seq,
    /// Up to here everything is done; what lies above was taken over from writers that never ended.
    pub settled_to: Seq,
}

/// What became of one event of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// On disk for the first time: to be handled.
    Fresh,
    /// Slack sent it before: to be acked, not handled.
    Duplicate,
}
