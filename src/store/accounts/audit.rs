//! What was changed, by whom, and why.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Role, TokenId};
use crate::ids::WorkspaceName;
use crate::store::{Secret, Workspace, WorkspaceSpec};

/// What was done: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A workspace was registered.
    WorkspaceCreate,
    /// A workspace was changed.
    WorkspaceUpdate,
    /// A workspace was removed and its tokens erased.
    WorkspaceRemove,
    /// A token of the admin API was made.
    TokenCreate,
    /// A token of the admin API was revoked.
    TokenRevoke,
    /// A webhook was made.
    WebhookCreate,
    /// A webhook was changed.
    WebhookUpdate,
    /// A webhook was removed with all that waited for it.
    WebhookRemove,
    /// A webhook has another secret.
    WebhookRotate,
    /// A route was made.
    RouteCreate,
    /// A route was changed.
    RouteUpdate,
    /// A route was removed.
    RouteRemove,
    /// What is sealed was sealed anew with another key.
    KeyRotate,
    /// Which lines a node writes into its log was changed.
    LogUpdate,
    /// Events were handed over once more.
    EventReplay,
    /// Deliveries are tried at once.
    DeliveryRetry,
    /// Deliveries were given up.
    DeliveryDiscard,
    /// Nothing is given to a handler.
    HandlerPause,
    /// Something is given to a handler again.
    HandlerResume,
    /// A job is ended before its end.
    JobCancel,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::WorkspaceCreate,
        Self::WorkspaceUpdate,
        Self::WorkspaceRemove,
        Self::TokenCreate,
        Self::TokenRevoke,
        Self::WebhookCreate,
        Self::WebhookUpdate,
        Self::WebhookRemove,
        Self::WebhookRotate,
        Self::RouteCreate,
        Self::RouteUpdate,
        Self::RouteRemove,
        Self::KeyRotate,
        Self::LogUpdate,
        Self::EventReplay,
        Self::DeliveryRetry,
        Self::DeliveryDiscard,
        Self::HandlerPause,
        Self::HandlerResume,
        Self::JobCancel,
    ];

    /// Its name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkspaceCreate => "workspace.create",
            Self::WorkspaceUpdate => "workspace.update",
            Self::WorkspaceRemove => "workspace.remove",
            Self::TokenCreate => "token.create",
            Self::TokenRevoke => "token.revoke",
            Self::WebhookCreate => "webhook.create",
            Self::WebhookUpdate => "webhook.update",
            Self::WebhookRemove => "webhook.remove",
            Self::WebhookRotate => "webhook.rotate",
            Self::RouteCreate => "route.create",
            Self::RouteUpdate => "route.update",
            Self::RouteRemove => "route.remove",
            Self::KeyRotate => "key.rotate",
            Self::LogUpdate => "log.update",
            Self::EventReplay => "event.replay",
            Self::DeliveryRetry => "delivery.retry",
            Self::DeliveryDiscard => "delivery.discard",
            Self::HandlerPause => "handler.pause",
            Self::HandlerResume => "handler.resume",
            Self::JobCancel => "job.cancel",
        }
    }

    /// The action of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What changed: fields with what they were and what they are. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub Map<String, Value>);

impl Changes {
    /// A field, if it differs.
    pub fn field(&mut self, name: &str, from: &Value, to: &Value) {
        if from != to {
            self.0.insert(name.to_owned(), json!({ "from": from, "to": to }));
        }
    }

    /// What became of a workspace: `to` is what was asked for, none where it is removed.
    pub(in crate::store) fn of_workspace(
        from: Option<&Workspace>,
        to: Option<(&WorkspaceSpec, &Workspace)>,
    ) -> Self {
        let mut changes = Self::default();
        let before = from.map(plain).unwrap_or_default();
        let after = to.map(|(_, workspace)| plain(workspace)).unwrap_or_default();
        for (name, _) in SHOWN {
            let of = |all: &Map<String, Value>| all.get(*name).cloned().unwrap_or(Value::Null);
            changes.field(name, &of(&before), &of(&after));
        }
        // A token that waits beside the one in force shows in neither yet.
        if let Some((spec, after)) = to
            && let Secret::Set(token) = &spec.app_token
        {
            let in_force = after.app_token.as_ref().map(|in_force| in_force.hint.clone());
            // Nothing is said where it is the one in force: what it was before stands there already.
            changes.field("app_token", &json!(in_force), &json!(token.hint()));
        }
        changes
    }
}

/// What is compared of a workspace, and how it is read.
type Reading = fn(&Workspace) -> Value;
const SHOWN: &[(&str, Reading)] = &[
    ("name", |workspace| json!(workspace.title)),
    ("desired", |workspace| json!(workspace.desired.as_str())),
    ("delivery", |workspace| json!(workspace.delivery.as_str())),
    ("links", |workspace| json!(workspace.links)),
    ("labels", |workspace| workspace.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect()),
    ("app", |workspace| json!(workspace.app)),
    ("app_token", |workspace| json!(workspace.app_token.as_ref().map(|token| &token.hint))),
    ("bot_token", |workspace| json!(workspace.bot_token.as_ref().map(|token| &token.hint))),
];

fn plain(workspace: &Workspace) -> Map<String, Value> {
    SHOWN.iter().map(|(name, read)| ((*name).to_owned(), read(workspace))).collect()
}

/// A change to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What was done.
    pub action: Action,
    /// To which workspace.
    pub workspace: Option<WorkspaceName>,
    /// To what else: a token's id, a key's.
    pub target: Option<String>,
    /// What changed.
    pub changes: Changes,
}

/// A change that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place: later ones have higher ones.
    pub id: i64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// As what.
    pub role: Role,
    /// By which token of the store's, if by one.
    pub token: Option<TokenId>,
    /// What was done, to what, and what changed.
    pub deed: Deed,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The request it came by.
    pub request_id: Option<String>,
    /// Where it came from.
    pub address: Option<String>,
}

/// Which changes are asked for: those that meet all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this workspace, also when it is long gone.
    pub workspace: Option<WorkspaceName>,
    /// By this token.
    pub token: Option<TokenId>,
    /// Of this kind.
    pub action: Option<Action>,
    /// By this request.
    pub request_id: Option<String>,
    /// At this time or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
}
