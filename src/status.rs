//! The truth about a connection, in the words that the API, the log and the page share.

pub mod feed;
mod standing;
mod trouble;

use serde::Serialize;

use crate::ids::{Generation, WorkspaceId};

pub use self::standing::Standing;
pub use self::trouble::Trouble;

/// Where a connection is in its life. The names are those of Slack's own SDK, plus `failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Wanted off, or not yet started.
    Disconnected,
    /// Asking Slack for a socket address.
    Connecting,
    /// The address is issued; dialling.
    Authenticated,
    /// The socket is open, hello is awaited. No event flows yet.
    Connected,
    /// Hello is in; events flow.
    Ready,
    /// Waiting for the next attempt.
    Reconnecting,
    /// Draining, to be off.
    Disconnecting,
    /// A person must act.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: &[Self] = &[
        Self::Disconnected,
        Self::Connecting,
        Self::Authenticated,
        Self::Connected,
        Self::Ready,
        Self::Reconnecting,
        Self::Disconnecting,
        Self::Failed,
    ];

    /// Its name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Authenticated => "authenticated",
            Self::Connected => "connected",
            Self::Ready => "ready",
            Self::Reconnecting => "reconnecting",
            Self::Disconnecting => "disconnecting",
            Self::Failed => "failed",
        }
    }
}

/// What a client should branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As wanted.
    Ok,
    /// Events flow, but something hurts: fewer links than wanted, or a warning.
    Degraded,
    /// Wanted on and not ready.
    Down,
    /// Wanted off.
    Off,
}

impl Health {
    /// Every health.
    pub const ALL: &[Self] = &[Self::Ok, Self::Degraded, Self::Down, Self::Off];

    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Off => "off",
        }
    }
}

/// What somebody asks of an app's connection, beside what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// To compare itself with what is stored, no more.
    Apply,
    /// Where it is wanted on: to try now, whatever went before.
    Connect,
    /// Fresh links: each old one goes when its successor is up.
    Reconnect,
}

/// Who brought a change about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Slack said so.
    Slack,
    /// The way to Slack broke.
    Network,
    /// This node found it.
    Node,
    /// Somebody asked for it.
    Operator,
}

/// Who can put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The customer whose app or workspace it is.
    Customer,
    /// Who runs this node.
    Operator,
    /// Slack.
    Slack,
    /// This node, by itself.
    Node,
}

macro_rules! codes {
    ($($name:ident $text:literal $source:ident $actor:ident $message:literal $action:literal;)+) => {
        /// Why a connection is where it is: a closed list. Slack's own error codes keep Slack's spelling.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $message] $name,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in the API and in the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Who brought it about.
            pub const fn source(self) -> Source {
                match self { $(Self::$name => Source::$source,)+ }
            }

            /// Who can put it right.
            pub const fn actor(self) -> Actor {
                match self { $(Self::$name => Actor::$actor,)+ }
            }

            /// What happened, as a sentence.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }

            /// What to do about it, as a sentence.
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)+ }
            }
        }
    };
}

codes! {
    // A credential that Slack refuses (apps.connections.open, "Errors").
    InvalidAuth "invalid_auth" Slack Customer "Slack refuses the app-level token, or this node's address is not on the workspace's allow list." "Generate a new app-level token with connections:write and put it in place.";
    NotAuthed "not_authed" Slack Customer "Slack saw no app-level token." "Put a new app-level token in place.";
    AccountInactive "account_inactive" Slack Customer "The token belongs to a deleted user or workspace." "Install the app again and put its new app-level token in place.";
    TokenRevoked "token_revoked" Slack Customer "The app-level token was revoked." "Generate a new app-level token with connections:write and put it in place.";
    TokenExpired "token_expired" Slack Customer "The app-level token has expired." "Generate a new app-level token with connections:write and put it in place.";
    NotAllowedTokenType "not_allowed_token_type" Slack Customer "This is not an app-level token." "Put the app-level token (xapp-…) in place, not a bot or user token.";
    MissingScope "missing_scope" Slack Customer "The app-level token lacks the scope connections:write." "Generate an app-level token with connections:write and put it in place.";
    NoPermission "no_permission" Slack Customer "The token may not open connections." "Generate an app-level token with connections:write and put it in place.";
    MissingArgs "missing_args" Slack Customer "Slack saw no app-level token." "Put a new app-level token in place.";
    // A rule of the customer's workspace or of Slack.
    AccessDenied "access_denied" Slack Customer "Slack denies this app access." "Ask the workspace's admin to approve the app.";
    Accesslimited "accesslimited" Slack Customer "The workspace limits access to certain networks." "Ask the workspace's admin to allow this node's address.";
    ForbiddenTeam "forbidden_team" Slack Customer "The workspace may not use this app." "Ask the workspace's admin to approve the app.";
    EnterpriseIsRestricted "enterprise_is_restricted" Slack Customer "The organisation does not allow this call." "Ask the organisation's admin to allow the app.";
    TeamAccessNotGranted "team_access_not_granted" Slack Customer "The app has no access to this workspace of the organisation." "Ask the organisation's admin to add the app to the workspace.";
    EkmAccessDenied "ekm_access_denied" Slack Customer "The organisation's key management suspends access." "Ask the organisation's admin.";
    TwoFactorSetupRequired "two_factor_setup_required" Slack Customer "The workspace demands two-factor authentication of the app's owner." "The app's owner must set up two-factor authentication in Slack.";
    DeprecatedEndpoint "deprecated_endpoint" Slack Operator "Slack no longer offers this call." "Update Tautline.";
    MethodDeprecated "method_deprecated" Slack Operator "Slack no longer offers this call." "Update Tautline.";
    // Ours to mend.
    InsecureRequest "insecure_request" Slack Operator "Slack calls the request insecure." "Report this as a bug of Tautline; check that no proxy rewrites requests.";
    InvalidArguments "invalid_arguments" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    InvalidArgName "invalid_arg_name" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    InvalidArrayArg "invalid_array_arg" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    InvalidCharset "invalid_charset" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    InvalidFormData "invalid_form_data" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    InvalidPostType "invalid_post_type" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    MissingPostType "missing_post_type" Slack Operator "Slack calls the request malformed." "Report this as a bug of Tautline.";
    // Slack's own trouble.
    InternalError "internal_error" Slack Slack "Slack reports an internal error." "Nothing: it is tried again.";
    FatalError "fatal_error" Slack Slack "Slack reports a fatal error of its own." "Nothing: it is tried again.";
    ServiceUnavailable "service_unavailable" Slack Slack "Slack is unavailable." "Nothing: it is tried again.";
    RequestTimeout "request_timeout" Slack Slack "Slack gave up reading the request." "Nothing: it is tried again.";
    Ratelimited "ratelimited" Slack Node "Slack limits the rate of opening sockets." "Nothing: it is tried again when Slack allows.";
    TeamAddedToOrg "team_added_to_org" Slack Slack "The workspace is being moved into an organisation." "Nothing: it is tried again.";
    OrgLoginRequired "org_login_required" Slack Slack "The workspace is being moved into an organisation." "Nothing: it is tried again.";
    UnknownSlackError "unknown_slack_error" Slack Operator "Slack answered with an error code this version does not know; the log names it." "Look the code up in Slack's documentation of apps.connections.open; it is tried again slowly.";
    // What ends a socket.
    DisconnectWarning "warning" Slack Slack "Slack announced that it will close the socket." "Nothing: the next link opens before this one ends.";
    RefreshRequested "refresh_requested" Slack Slack "Slack asked for a fresh socket." "Nothing: the next link opens before this one ends.";
    UnknownDisconnect "unknown_disconnect" Slack Slack "Slack asked to disconnect for a reason this version does not know." "Nothing: it is tried again.";
    LinkDisabled "link_disabled" Slack Customer "Socket Mode is switched off in the app's settings." "Switch Socket Mode on in the app's settings, then connect.";
    TooManyWebsockets "too_many_websockets" Slack Operator "The app has as many sockets as Slack allows (10)." "Stop whatever else opens sockets for this app; sockets that died unseen are released by Slack within hours.";
    ClosedBySlack "closed_by_slack" Slack Slack "Slack closed the socket." "Nothing: it is tried again.";
    NoHello "no_hello" Slack Slack "The socket opened but Slack sent no hello." "Nothing: it is tried again.";
    NotJson "not_json" Slack Slack "Slack sent text that is no JSON." "Nothing: it is tried again.";
    FrameTooLarge "frame_too_large" Slack Operator "A frame was larger than this node accepts (4 MiB)." "Find out what the app is subscribed to; the event was not taken.";
    ProtocolViolation "protocol_violation" Slack Operator "What came over the socket breaks the WebSocket protocol." "Look for a proxy between this node and Slack.";
    UpgradeRefused "upgrade_refused" Slack Slack "The socket address was answered without a WebSocket upgrade." "Nothing: it is tried again. If it stays, look for a proxy between this node and Slack.";
    HttpError "http_error" Slack Slack "Slack's Web API answered with an HTTP error." "Nothing: it is tried again.";
    BadReply "bad_reply" Slack Operator "What answered in place of Slack's Web API does not speak like it." "Check the API address and look for a proxy between this node and Slack.";
    // The way to Slack.
    Unreachable "unreachable" Network Operator "Slack's Web API cannot be reached." "Check this node's network and DNS; it is tried again.";
    OpenTimeout "open_timeout" Network Operator "Slack's Web API did not answer in time." "Check this node's network; it is tried again.";
    DialFailed "dial_failed" Network Operator "The socket address cannot be reached." "Check this node's network, DNS and firewall; it is tried again.";
    DialTimeout "dial_timeout" Network Operator "The socket did not open in time." "Check this node's network and firewall; it is tried again.";
    ConnectionLost "connection_lost" Network Node "The socket broke." "Nothing: it is tried again.";
    Silent "silent" Network Node "Nothing came over the socket for 30 seconds, not even an answer to a ping." "Nothing: it is tried again.";
    WokeUp "woke_up" Node Node "The machine slept or its clock jumped, and the socket did not answer afterwards." "Nothing: it is tried again.";
    // This node.
    PlannedRefresh "planned_refresh" Node Node "The socket nears the end of its time; its successor opens early." "Nothing.";
    AppMismatch "app_mismatch" Node Customer "The token belongs to another Slack app than this workspace's." "Put the app-level token of the right app in place.";
    DuplicateInstallation "duplicate_installation" Node Operator "The same app and team are registered twice." "Remove one of the two workspaces.";
    Crashed "crashed" Node Operator "The connection crashed. It is started again, unless it has crashed five times within ten minutes." "Look at the log and report the bug; where it has failed, connect.";
    TokenUnreadable "token_unreadable" Node Operator "The stored token cannot be opened with this node's key." "Give the node the key the token was sealed with, or put the token in place again.";
    // What hurts, or may, while events flow.
    ForeignSockets "foreign_sockets" Slack Operator "Slack counts more sockets for the app than this node holds, so some of its events go elsewhere." "Stop whatever else connects with this app's tokens; sockets that died unseen are released by Slack within hours.";
    Quiet "quiet" Node Customer "Far fewer events come than this app has had at any time of the last days." "Nothing, if less is happening; else look at the app's event subscriptions and at the channels it is in.";
    SlowPong "slow_pong" Network Operator "Slack's answers to pings take more than two seconds, so acks may come too late." "Check this node's network and load.";
    JournalStuck "journal_stuck" Node Operator "This node's database takes no writes: what comes is not kept, and nothing is acked that has to be kept first." "Look at /readyz?verbose and the log; give the database room, or bring it back.";
    // Somebody's wish.
    OperatorConnect "connect" Operator Operator "Somebody asked for the connection." "Nothing.";
    OperatorDisconnect "disconnect" Operator Operator "Somebody asked to be disconnected." "Connect when it is wanted again.";
    NewToken "new_token" Operator Operator "A new token was put in place." "Nothing.";
    Shutdown "shutdown" Operator Operator "This node is stopping." "Nothing.";
    Paused "paused" Operator Operator "Somebody paused the workspace: its events are kept, and none is given to handlers." "Resume it when they are to be handled.";
    Resumed "resumed" Operator Operator "Somebody resumed the workspace: what waited is handled first." "Nothing.";
    // What Slack says of one workspace; its app's connection may be well.
    AppUninstalled "app_uninstalled" Slack Customer "The app was removed from the workspace." "Install the app again in the workspace and put its new bot token in place.";
    BotTokenRevoked "bot_token_revoked" Slack Customer "The workspace's bot token was revoked, or Slack refuses it." "Install the app again in the workspace and put its new bot token in place.";
    AppRateLimited "app_rate_limited" Slack Operator "Slack holds events of this workspace back: more than 30,000 within an hour." "Subscribe the app to fewer events; it passes by itself.";
    BotTokenUnchecked "bot_token_unchecked" Slack Node "Slack has not answered whose the workspace's bot token is; where several workspaces share the app, its events may be kept without it until then." "Nothing: Slack is asked again.";
    BotTokenMissing "bot_token_missing" Node Customer "The workspace shares its app with others, and neither its team is known nor is there a bot token that tells it; its events are kept without it." "Put the workspace's bot token in place.";
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A code with everything a reader needs to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which of the closed list.
    pub code: Code,
    /// Who brought it about.
    pub source: Source,
    /// Who can put it right.
    pub actor: Actor,
    /// What happened.
    pub message: &'static str,
    /// What to do.
    pub action: &'static str,
}

impl From<Code> for Reason {
    fn from(code: Code) -> Self {
        Self {
            code,
            source: code.source(),
            actor: code.actor(),
            message: code.message(),
            action: code.action(),
        }
    }
}

/// What one link is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Asking for an address, dialling, or waiting for hello.
    Opening,
    /// Events flow.
    Live,
    /// Its end is announced; still read and acked.
    Draining,
    /// Being closed by us.
    Closing,
}

/// One link, as shown to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Which one.
    pub generation: Generation,
    /// What it is doing.
    pub state: LinkState,
    /// Since when it is open, milliseconds since 1970; none before hello.
    pub opened_ms: Option<i64>,
    /// Slack's host, as hello named it.
    pub host: Option<Box<str>>,
    /// How many sockets Slack counts for the app, by this link's hello.
    pub num_connections: Option<u32>,
    /// How long Slack takes to answer a ping, milliseconds: the median of the last five, told when it changes notably.
    pub pong_ms: Option<u32>,
}

/// All there is to say about a connection at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub state: State,
    /// What a client should branch on.
    pub health: Health,
    /// Since when it is in this state, milliseconds since 1970.
    pub since_ms: i64,
    /// Why; none when all is as wanted.
    pub reason: Option<Reason>,
    /// Failed attempts in a row.
    pub attempt: u32,
    /// When the next attempt is due, milliseconds since 1970; none when none is planned.
    pub next_attempt_ms: Option<i64>,
    /// Its links, oldest first.
    pub links: Vec<LinkStatus>,
    /// What hurts while events flow.
    pub warnings: Vec<Code>,
    /// Slack's id of the app, once known.
    pub slack_app_id: Option<Box<str>>,
    /// What the connection says of single workspaces of the app, while the others are not concerned: [`Code::DuplicateInstallation`] of
    /// the second in a team that another one stands for; [`Code::BotTokenUnchecked`] while Slack is asked in vain whose its bot token
    /// is; [`Code::BotTokenMissing`] where nothing tells it from the others.
    pub marks: Vec<(WorkspaceId, Code)>,
}

impl Status {
    /// A connection that has not been started.
    pub fn off(since_ms: i64) -> Self {
        Self {
            state: State::Disconnected,
            health: Health::Off,
            since_ms,
            reason: None,
            attempt: 0,
            next_attempt_ms: None,
            links: Vec::new(),
            warnings: Vec::new(),
            slack_app_id: None,
            marks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_codes_share_a_name_and_each_says_what_happened_and_what_to_do() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.message().ends_with('.') && code.action().ends_with('.'), "{}", code.as_str());
        }
    }

    #[test]
    fn the_documented_list_of_reasons_is_the_one_in_the_code() {
        let page = include_str!("../docs/reasons.md");
        let documented: Vec<_> =
            page.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let row = |code: &Code| {
            let reason = serde_json::to_value(Reason::from(*code)).unwrap();
            let cell = |name: &str| reason[name].as_str().unwrap().to_owned();
            let [source, actor] = [cell("source"), cell("actor")];
            format!("| `{}` | {source} | {actor} | {} | {} |", code.as_str(), code.message(), code.action())
        };
        assert_eq!(documented, Code::ALL.iter().map(row).collect::<Vec<_>>());
    }
}
