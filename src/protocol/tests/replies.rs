use std::time::Duration;

use super::super::api::{self, OpenReply};
use super::super::class::Class;
use super::fixture;
use crate::secret::TicketUrl;
use crate::status::Code;

/// The error codes on the page of `apps.connections.open`, by what they ask of us.
const DOCUMENTED: [(Class, &[&str]); 4] = [
    (
        Class::Fatal,
        &[
            "invalid_auth",
            "not_authed",
            "account_inactive",
            "token_revoked",
            "token_expired",
            "not_allowed_token_type",
            "missing_scope",
            "no_permission",
            "missing_args",
            "access_denied",
            "accesslimited",
            "forbidden_team",
            "enterprise_is_restricted",
            "team_access_not_granted",
            "ekm_access_denied",
            "two_factor_setup_required",
            "deprecated_endpoint",
            "method_deprecated",
        ],
    ),
    (
        Class::FatalForever,
        &[
            "insecure_request",
            "invalid_arguments",
            "invalid_arg_name",
            "invalid_array_arg",
            "invalid_charset",
            "invalid_form_data",
            "invalid_post_type",
            "missing_post_type",
        ],
    ),
    (
        Class::Transient,
        &["internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited"],
    ),
    (Class::Slow, &["team_added_to_org", "org_login_required"]),
];

#[test]
fn every_documented_error_code_keeps_its_name_and_has_its_class() {
    for (class, codes) in DOCUMENTED {
        for text in codes {
            let (code, of) = api::classify(text);
            assert_eq!((code.as_str(), of), (*text, class));
        }
    }
}

#[test]
fn a_code_slack_never_documented_is_unknown_even_if_we_use_the_word() {
    for text in ["", "brand_new_error", "connect", "shutdown", "INVALID_AUTH"] {
        assert_eq!(api::classify(text), (Code::UnknownSlackError, Class::Unknown), "{text}");
    }
}

#[test]
fn an_issued_address_is_unescaped_and_shown_to_nobody() {
    let reply = OpenReply::parse(fixture!("open_ok").as_bytes());
    let url =
        "wss://wss-primary.slack.com/link/?ticket=324c3c5c-fe81-4f5e-8b9e-3ec731c34886&app_id=556e9dd445ec62";
    assert_eq!(reply, OpenReply::Issued(TicketUrl::new(url)));
    assert!(!format!("{reply:?}").contains("ticket="));
}

#[test]
fn a_refusal_keeps_slacks_word_cleaned() {
    let refused = |text: &str, code, class| OpenReply::Refused { text: text.into(), code, class };
    let invalid = OpenReply::parse(fixture!("open_invalid_auth").as_bytes());
    assert_eq!(invalid, refused("invalid_auth", Code::InvalidAuth, Class::Fatal));
    let scope = OpenReply::parse(fixture!("open_missing_scope").as_bytes());
    assert_eq!(scope, refused("missing_scope", Code::MissingScope, Class::Fatal));
    let odd = OpenReply::parse(br#"{"ok":false,"error":"new\u0000\nline"}"#);
    assert_eq!(odd, refused("newline", Code::UnknownSlackError, Class::Unknown));
    let silent = OpenReply::parse(br#"{"ok":false,"error":7}"#);
    assert_eq!(silent, refused("", Code::UnknownSlackError, Class::Unknown));
}

#[test]
fn what_does_not_speak_like_slack_is_told_so() {
    for body in [
        &b""[..],
        b"<html>502</html>",
        b"ok",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b"{\"ok\":true}",
        b"{\"ok\":true,\"url\":\"\"}",
        b"{\"ok\":true,\"url\":\"https://login.example/\"}",
        b"{\"ok\":\"true\",\"url\":\"wss://x\"}",
        b"{\"ok\":true,\"url\":\"wss://x\"",
        b"{\"ok\":false,\"error\":\"invalid_auth\"",
    ] {
        assert_eq!(OpenReply::parse(body), OpenReply::NotSlack, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn retry_after_is_whole_seconds_within_reason() {
    let wait = |header| api::retry_after(header).as_secs();
    assert_eq!(wait(Some("10")), 10);
    assert_eq!(wait(Some(" 7 ")), 7);
    assert_eq!(wait(Some("0")), 1);
    assert_eq!(wait(Some("86400")), 3600);
    assert_eq!(wait(Some("99999999999999999999999999")), 3600);
    for garbage in [
        None,
        Some(""),
        Some("soon"),
        Some("-5"),
        Some("1.5"),
        Some("+5"),
        Some("Wed, 21 Oct 2026 07:28:00 GMT"),
    ] {
        assert_eq!(api::retry_after(garbage), Duration::from_secs(30), "{garbage:?}");
    }
}
