//! What Slack's Web API answers when asked for a socket (`apps.connections.open`).

use std::time::Duration;

use super::class::Class;
use super::{peek, routing};
use crate::secret::TicketUrl;
use crate::status::Code;

/// How long to wait when Slack limits the rate and doesn't say for how long.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(30);
/// However long Slack says, not longer than this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The answer to `apps.connections.open`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenReply {
    /// The address of one socket: for one dial, at once.
    Issued(TicketUrl),
    /// Slack says no.
    Refused {
        /// Slack's code as it wrote it; cleaned and at most 128 characters.
        text: Box<str>,
        /// The code in our words.
        code: Code,
        /// How to go on.
        class: Class,
    },
    /// What answered does not speak like Slack: a proxy's page, a cut-off body.
    NotSlack,
}

impl OpenReply {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Self {
        let Some(json) = std::str::from_utf8(body).ok().filter(|text| text.trim_start().starts_with('{'))
        else {
            return Self::NotSlack;
        };
        let (mut ok, mut url, mut error) = (None, None, None);
        let whole = peek::object(json, |key, value| match key {
            b"ok" => ok = Some(value),
            b"url" => url = peek::word(value),
            b"error" => error = peek::word(value),
            _ => {}
        });
        let is_socket = |url: &str| url.starts_with("wss://") || url.starts_with("ws://");
        match (whole, ok, url) {
            (true, Some("true"), Some(url)) if is_socket(&url) => Self::Issued(TicketUrl::new(&url)),
            (true, Some("false"), _) => Self::refused(&error.unwrap_or_default()),
            _ => Self::NotSlack,
        }
    }

    fn refused(error: &str) -> Self {
        let (code, class) = classify(error);
        Self::Refused { text: routing::clean(error).into(), code, class }
    }
}

/// What an error code of Slack's means for the connection. Slack publishes no such list: the classes are our reading of the
/// descriptions on the method's page.
pub fn classify(code: &str) -> (Code, Class) {
    match code {
        // The credential is bad.
        "invalid_auth" => (Code::InvalidAuth, Class::Fatal),
        "not_authed" => (Code::NotAuthed, Class::Fatal),
        "account_inactive" => (Code::AccountInactive, Class::Fatal),
        "token_revoked" => (Code::TokenRevoked, Class::Fatal),
        "token_expired" => (Code::TokenExpired, Class::Fatal),
        "not_allowed_token_type" => (Code::NotAllowedTokenType, Class::Fatal),
        "missing_scope" => (Code::MissingScope, Class::Fatal),
        "no_permission" => (Code::NoPermission, Class::Fatal),
        "missing_args" => (Code::MissingArgs, Class::Fatal),
        // A rule forbids it.
        "access_denied" => (Code::AccessDenied, Class::Fatal),
        "accesslimited" => (Code::Accesslimited, Class::Fatal),
        "forbidden_team" => (Code::ForbiddenTeam, Class::Fatal),
        "enterprise_is_restricted" => (Code::EnterpriseIsRestricted, Class::Fatal),
        "team_access_not_granted" => (Code::TeamAccessNotGranted, Class::Fatal),
        "ekm_access_denied" => (Code::EkmAccessDenied, Class::Fatal),
        "two_factor_setup_required" => (Code::TwoFactorSetupRequired, Class::Fatal),
        "deprecated_endpoint" => (Code::DeprecatedEndpoint, Class::Fatal),
        "method_deprecated" => (Code::MethodDeprecated, Class::Fatal),
        // Our request is wrong, and would be wrong again.
        "insecure_request" => (Code::InsecureRequest, Class::FatalForever),
        "invalid_arguments" => (Code::InvalidArguments, Class::FatalForever),
        "invalid_arg_name" => (Code::InvalidArgName, Class::FatalForever),
        "invalid_array_arg" => (Code::InvalidArrayArg, Class::FatalForever),
        "invalid_charset" => (Code::InvalidCharset, Class::FatalForever),
        "invalid_form_data" => (Code::InvalidFormData, Class::FatalForever),
        "invalid_post_type" => (Code::InvalidPostType, Class::FatalForever),
        "missing_post_type" => (Code::MissingPostType, Class::FatalForever),
        // Slack has trouble, or is busy.
        "internal_error" => (Code::InternalError, Class::Transient),
        "fatal_error" => (Code::FatalError, Class::Transient),
        "service_unavailable" => (Code::ServiceUnavailable, Class::Transient),
        "request_timeout" => (Code::RequestTimeout, Class::Transient),
        "ratelimited" => (Code::Ratelimited, Class::Transient),
        // The workspace moves into an organisation.
        "team_added_to_org" => (Code::TeamAddedToOrg, Class::Slow),
        "org_login_required" => (Code::OrgLoginRequired, Class::Slow),
        _ => (Code::UnknownSlackError, Class::Unknown),
    }
}

/// How long a `Retry-After` header asks to wait: whole seconds, 1 s to [`MAX_RETRY_AFTER`]; [`DEFAULT_RETRY_AFTER`] when it
/// is absent or says anything else.
pub fn retry_after(header: Option<&str>) -> Duration {
    let digits =
        header.map(str::trim).filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let Some(digits) = digits else { return DEFAULT_RETRY_AFTER };
    // Only a number too large to hold does not parse.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Duration::from_secs(seconds).clamp(Duration::from_secs(1), MAX_RETRY_AFTER)
}
