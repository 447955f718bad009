//! What a check found, each as a sentence with what to do.

use serde::Serialize;

use crate::protocol::hello::Hello;
use crate::slack::web::{CallError, Identity};
use crate::status::Code;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    pub(super) ok: bool,
    code: String,
    message: String,
    action: String,
}

/// What a bot token is good for.
pub(super) struct Grant {
    pub(super) identity: Identity,
    /// None where Slack does not say.
    pub(super) scopes: Option<Vec<String>>,
}

const NOTHING: &str = "Nothing.";

fn fine(check: &'static str, message: impl Into<String>) -> Finding {
    Finding { check, ok: true, code: "ok".to_owned(), message: message.into(), action: NOTHING.to_owned() }
}

fn wrong(check: &'static str, code: &str, message: impl Into<String>, action: impl Into<String>) -> Finding {
    Finding { check, ok: false, code: code.to_owned(), message: message.into(), action: action.into() }
}

/// Does the app token open a socket?
pub(super) fn socket(hello: &Result<Hello, Code>) -> Finding {
    match hello {
        Ok(_) => fine("socket", "The app-level token opened a socket, and Slack said hello."),
        Err(code) => wrong("socket", code.as_str(), code.message(), code.action()),
    }
}

/// Is it the app that the token's text names? Says nothing where either is unknown.
pub(super) fn app_id(named: Option<&str>, heard: Option<&str>) -> Option<Finding> {
    let (named, heard) = named.zip(heard)?;
    let code = Code::AppMismatch;
    Some(if named == heard {
        fine("app_id", format!("Slack's hello names the app {heard}, as the token does."))
    } else {
        let message = format!("The token names the app {named}, Slack's hello {heard}.");
        wrong("app_id", code.as_str(), message, code.action())
    })
}

/// Is another client connected to the app?
pub(super) fn crowd(hello: &Hello) -> Option<Finding> {
    let others = hello.num_connections?.saturating_sub(1);
    Some(if others == 0 {
        fine("other_sockets", "No other socket of the app is open.")
    } else {
        Finding {
            code: "other_sockets".to_owned(),
            action: "Should another program use this app's token, stop it: Slack deals the events out between all sockets. Those of a \
                     workspace that is online here already count too."
                .to_owned(),
            ..fine("other_sockets", format!("Slack counts {others} more sockets of this app."))
        }
    })
}

/// Is the bot token good?
pub(super) fn bot_token(granted: &Result<Grant, CallError>) -> Finding {
    let error = match granted {
        Ok(Grant { identity, .. }) => {
            let place = identity.team_id.as_ref().or(identity.enterprise_id.as_ref());
            let place = place.map_or("a place Slack does not name", String::as_str);
            return fine("bot_token", format!("The bot token belongs to an installation in {place}."));
        }
        Err(error) => error,
    };
    let again = "Check again in a moment; if it stays, check this node's network.";
    let renew = "Install the app again and put its bot token (OAuth & Permissions) in place.";
    let (code, action) = match error {
        CallError::Refused(code) => (clean(code), renew),
        CallError::RateLimited(_) => ("ratelimited".to_owned(), again),
        CallError::Status(_) => (Code::HttpError.as_str().to_owned(), again),
        CallError::Unreachable => (Code::Unreachable.as_str().to_owned(), again),
    };
    let message = match error {
        CallError::Refused(_) => format!("Slack refuses the bot token: {code}."),
        CallError::RateLimited(_) | CallError::Status(_) | CallError::Unreachable => format!("{error}."),
    };
    wrong("bot_token", &code, message, action)
}

/// Slack's codes are words; what is none is not repeated.
fn clean(code: &str) -> String {
    let fine = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if fine { code.to_owned() } else { Code::UnknownSlackError.as_str().to_owned() }
}

/// Scopes cannot be looked at without a bot token.
pub(super) fn no_bot_token(required: &[String]) -> Option<Finding> {
    (!required.is_empty()).then(|| {
        let message = "Without a bot token its scopes cannot be looked at.";
        wrong("scopes", "no_bot_token", message, "Send bot_token too.")
    })
}

/// Are both tokens of one app?
pub(super) fn same_app(app: Option<&str>, of_bot: Option<&str>) -> Option<Finding> {
    let (app, of_bot) = app.zip(of_bot)?;
    Some(if app == of_bot {
        fine("same_app", format!("Both tokens are of the app {app}."))
    } else {
        let message = format!("The app-level token is of the app {app}, the bot token of {of_bot}.");
        wrong("same_app", Code::AppMismatch.as_str(), message, "Send both tokens of the same app.")
    })
}

/// Is it the team that was expected?
pub(super) fn team(expected: &str, found: &[Option<&str>]) -> Finding {
    if found.contains(&Some(expected)) {
        return fine("team", format!("The bot token is of {expected}, as expected."));
    }
    let found: Vec<_> = found.iter().flatten().copied().collect();
    let found = if found.is_empty() { "a team that is not known".to_owned() } else { found.join(", ") };
    let message = format!("{expected} was expected, and the bot token is of {found}.");
    wrong("team", "team_mismatch", message, "Install the app in the right workspace, or send its bot token.")
}

/// Are the scopes there that are needed?
pub(super) fn scopes(required: &[String], granted: Option<&[String]>) -> Option<Finding> {
    if required.is_empty() {
        return None;
    }
    let Some(granted) = granted else {
        let message = "Slack does not tell this token's scopes.";
        return Some(wrong("scopes", "scopes_unknown", message, "Look them up under OAuth & Permissions."));
    };
    let missing: Vec<_> =
        required.iter().filter(|scope| !granted.contains(scope)).map(String::as_str).collect();
    Some(if missing.is_empty() {
        fine("scopes", "All scopes that are needed are granted.")
    } else {
        let missing = missing.join(", ");
        let action = format!("Add {missing} under OAuth & Permissions and install the app again.");
        wrong("scopes", "missing_scope", format!("The bot token lacks {missing}."), action)
    })
}

/// The same installation is there already.
pub(super) fn registered(twin: &crate::ids::WorkspaceName) -> Finding {
    let message = format!("The same app and team are registered as '{twin}'.");
    let code = Code::DuplicateInstallation;
    wrong("registered", code.as_str(), message, "Change that workspace instead, or remove it first.")
}
