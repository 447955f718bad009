use super::super::routing::{self, Routing};
use super::{envelope, fixture};
use crate::event::Kind;

/// What is expected of one frame; empty text stands for none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Keys<'a> {
    kind_type: &'a str,
    slack_id: &'a str,
    team: &'a str,
    org: &'a str,
    org_install: bool,
    conversation: &'a str,
    app: &'a str,
    response_url: &'a str,
}

macro_rules! assert_keys {
    ($name:literal, $($field:ident: $value:expr),+ $(,)?) => {{
        let envelope = envelope(fixture!($name));
        assert_eq!(shown(&envelope.routing), Keys { $($field: $value,)+ ..Keys::default() }, $name);
    }};
}

#[test]
fn an_event_is_its_installations() {
    assert_keys!("events_api_app_mention", kind_type: "app_mention", slack_id: "Ev123", team: "T123", conversation: "C1", app: "A123");
    assert_keys!("events_api_retry", kind_type: "message", slack_id: "Ev124", team: "T123", conversation: "D1", app: "A123");
}

#[test]
fn of_a_shared_channel_the_authorization_counts_not_where_it_happened() {
    let text = fixture!("events_api_shared_channel_org_install");
    let envelope = envelope(text);
    assert_eq!(envelope.routing.enterprise_id.as_deref(), Some("E123"));
    assert_keys!(
        "events_api_shared_channel_org_install",
        kind_type: "reaction_added", slack_id: "Ev125", team: "T_ELSEWHERE", org: "E123", org_install: true, conversation: "C9", app: "A123",
    );
}

#[test]
fn the_conversation_is_found_where_each_event_names_it() {
    assert_keys!("events_api_channel_rename", kind_type: "channel_rename", slack_id: "Ev126", team: "T123", conversation: "C02", app: "A123");
    assert_keys!("events_api_file_shared", kind_type: "file_shared", slack_id: "Ev127", team: "T123", conversation: "C03", app: "A123");
}

#[test]
fn a_payload_without_an_inner_event_bears_its_own_type() {
    assert_keys!("events_api_app_rate_limited", kind_type: "app_rate_limited", team: "T123456", app: "A123456");
    assert_keys!("events_api_app_home_without_wrapper", kind_type: "app_home_opened", conversation: "D0LAN2Q65");
}

#[test]
fn the_ends_of_an_installation_are_events_like_any() {
    assert_keys!("events_api_tokens_revoked", kind_type: "tokens_revoked", slack_id: "Ev128", team: "T1", app: "A1");
    assert_keys!("events_api_app_uninstalled", kind_type: "app_uninstalled", slack_id: "Ev129", team: "T1", app: "A1");
}

#[test]
fn a_command_is_flat_and_writes_truth_as_text() {
    assert_keys!(
        "slash_commands",
        kind_type: "/hello-socket-mode", team: "T111", conversation: "C111", app: "A111",
        response_url: "https://hooks.slack.com/commands/T111/111/xxx",
    );
    assert_keys!(
        "slash_commands_org_install",
        kind_type: "/acme", team: "T111", org: "E111", org_install: true, conversation: "C111", app: "A111",
        response_url: "https://hooks.slack.com/commands/T111/111/xxx",
    );
}

#[test]
fn an_interaction_is_its_teams() {
    assert_keys!("interactive_shortcut", kind_type: "shortcut", team: "T111");
    assert_keys!(
        "interactive_message_action",
        kind_type: "message_action", team: "T111", conversation: "C111", app: "A111", response_url: "https://hooks.slack.com/app/T111/1/x",
    );
    assert_keys!(
        "interactive_block_actions",
        kind_type: "block_actions", team: "T111", conversation: "C111", app: "A111", response_url: "https://hooks.slack.com/actions/T111/1/x",
    );
    assert_keys!("interactive_block_suggestion", kind_type: "block_suggestion", team: "T111", org: "E111", conversation: "C111", app: "A111");
    assert_keys!(
        "interactive_dialog_submission",
        kind_type: "dialog_submission", team: "T111", conversation: "C111", response_url: "https://hooks.slack.com/app/T111/1/x",
    );
}

#[test]
fn a_team_may_be_written_as_text() {
    assert_keys!(
        "interactive_message_legacy",
        kind_type: "interactive_message", team: "T111", conversation: "C111", response_url: "https://hooks.slack.com/actions/T111/1/x",
    );
}

#[test]
fn without_a_team_the_users_counts_unless_it_is_an_organisation() {
    assert_keys!(
        "interactive_block_actions_org_install",
        kind_type: "block_actions", team: "T222", org: "E111", org_install: true, conversation: "C111", app: "A111",
        response_url: "https://hooks.slack.com/actions/E111/1/x",
    );
    assert_keys!(
        "interactive_block_suggestion_org",
        kind_type: "block_suggestion", org: "E111", org_install: true, conversation: "C111", app: "A111",
    );
    assert_keys!("interactive_view_closed_org_install", kind_type: "view_closed", team: "T333", org: "E111", org_install: true, app: "A111");
}

#[test]
fn a_view_is_the_team_that_installed_its_app() {
    assert_keys!(
        "interactive_view_submission",
        kind_type: "view_submission", team: "T111", app: "A111", response_url: "https://hooks.slack.com/app/T111/2/y",
    );
}

#[test]
fn an_unknown_kind_is_read_for_what_it_may_be() {
    assert_keys!("unknown_type", kind_type: "canvas_changed", team: "T111", app: "A111");
    let keys = routing::read(Kind::Unknown, r#"{"type":"new","team":{"id":"T1"},"enterprise":{"id":"E1"}}"#);
    assert_eq!((keys.team_id.as_deref(), keys.enterprise_id.as_deref()), (Some("T1"), Some("E1")));
}

#[test]
fn a_payload_of_any_shape_has_no_keys_rather_than_an_error() {
    for payload in [
        "null",
        "[]",
        "7",
        r#""text""#,
        "",
        "{",
        r#"{"event":[],"authorizations":{},"team":7,"user":[],"view":"v","type":3,"command":false}"#,
    ] {
        for kind in [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown] {
            assert_eq!(shown(&routing::read(kind, payload)), Keys::default(), "{kind:?} {payload}");
        }
    }
    let list = r#"["message",{"type":"message"},"Ev1","T1","E1","A1",null]"#;
    assert_eq!(shown(&routing::read(Kind::EventsApi, list)), Keys::default());
    let odd = r#"{"authorizations":[null,{"team_id":"T2"}],"team_id":"T1","event":{"type":"\ud800"},"type":"event_callback"}"#;
    let keys = routing::read(Kind::EventsApi, odd);
    assert_eq!((keys.team_id.as_deref(), keys.kind_type.as_deref()), (Some("T1"), Some("event_callback")));
}

#[test]
fn a_cleaned_key_has_no_control_characters_and_at_most_128_characters() {
    assert!(matches!(routing::clean("app_mention"), std::borrow::Cow::Borrowed("app_mention")));
    assert_eq!(routing::clean("a\0b\nc\u{85}d\u{7f}"), "abcd");
    assert_eq!(routing::clean(&"é".repeat(128)), "é".repeat(128));
    assert_eq!(routing::clean(&"é".repeat(129)), "é".repeat(128));
}

fn shown<'a>(routing: &'a Routing<'_>) -> Keys<'a> {
    Keys {
        kind_type: routing.kind_type.as_deref().unwrap_or(""),
        slack_id: routing.slack_id.as_deref().unwrap_or(""),
        team: routing.team_id.as_deref().unwrap_or(""),
        org: routing.enterprise_id.as_deref().unwrap_or(""),
        org_install: routing.is_enterprise_install,
        conversation: routing.conversation.as_deref().unwrap_or(""),
        app: routing.api_app_id.as_deref().unwrap_or(""),
        response_url: routing.response_url.as_deref().unwrap_or(""),
    }
}
