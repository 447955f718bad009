use std::time::Duration;

use super::super::disconnect::DisconnectReason;
use super::super::frame::{self, Frame};
use super::super::hello::Hello;
use super::{envelope, fixture, name};
use crate::event::Kind;

#[test]
fn hello_tells_the_app_the_host_the_count_and_the_time_left() {
    let real = Hello {
        app_id: Some("A08NKKBFGBD".into()),
        host: Some("applink-3".into()),
        num_connections: Some(1),
        lifetime: Some(Duration::from_mins(301)),
    };
    assert_eq!(hello(fixture!("hello")), real);
    let documented = Hello {
        app_id: Some("A1234".into()),
        host: Some("wss-111.slack.com".into()),
        num_connections: Some(2),
        lifetime: Some(Duration::from_hours(1)),
    };
    assert_eq!(hello(fixture!("hello_documented")), documented);
}

#[test]
fn a_hello_with_missing_or_odd_fields_is_still_a_hello() {
    for text in [
        r#"{"type":"hello"}"#,
        r#"{"type":"hello","num_connections":"many","debug_info":null,"connection_info":[]}"#,
        r#"{"type":"hello","num_connections":-1,"debug_info":{"host":7,"approximate_connection_time":"long"},"connection_info":{"app_id":null}}"#,
        r#"{"type":"hello","num_connections":1e999,"debug_info":"\ud800","connection_info":{"app_id":"\ud800"}}"#,
        r#"{"\u0074ype":"\u0068ello","num_connections":4294967296,"connection_info":{"app_id":""}}"#,
    ] {
        assert_eq!(hello(text), Hello::default(), "{text}");
    }
}

#[test]
fn every_reason_to_disconnect_is_told_apart() {
    let reason = |text| {
        let Frame::Disconnect(reason) = frame::parse(text) else { panic!("no disconnect: {text}") };
        reason
    };
    assert_eq!(reason(fixture!("disconnect_warning")), DisconnectReason::Warning);
    assert_eq!(reason(fixture!("disconnect_refresh_requested")), DisconnectReason::RefreshRequested);
    assert_eq!(reason(fixture!("disconnect_link_disabled")), DisconnectReason::LinkDisabled);
    assert_eq!(reason(fixture!("disconnect_too_many_websockets")), DisconnectReason::TooManyWebsockets);
    for odd in [
        r#"{"type":"disconnect"}"#,
        r#"{"type":"disconnect","reason":3}"#,
        r#"{"reason":"new","type":"disconnect"}"#,
    ] {
        assert_eq!(reason(odd), DisconnectReason::Other, "{odd}");
    }
}

#[test]
fn what_is_neither_envelope_nor_control_is_named_for_what_it_is() {
    for (text, expected) in [
        ("", "blank"),
        ("\n", "blank"),
        (" \r\n\t", "blank"),
        ("UNAUTHENTICATED: cache_error", "no JSON"),
        ("<html></html>", "no JSON"),
        ("{", "no JSON"),
        (r#"{"type":"hello"} {"type":"hello"}"#, "no JSON"),
        (r#"{"envelope_id":"x","type":"events_api","payload":{"#, "no JSON"),
        ("{}", "unknown"),
        ("[]", "unknown"),
        ("null", "unknown"),
        (r#""hello""#, "unknown"),
        (r#"{"type":"pong"}"#, "unknown"),
        (r#"{"type":["hello"]}"#, "unknown"),
        (r#"{"envelope_id":7,"type":"events_api"}"#, "unknown"),
        (r#"{"payload":{"envelope_id":"inside"},"type":"events_api"}"#, "unknown"),
    ] {
        assert_eq!(name(&frame::parse(text)), expected, "{text:?}");
    }
}

#[test]
fn an_envelope_tells_all_its_fields_and_its_payload_as_written() {
    let first = envelope(fixture!("events_api_app_mention"));
    assert_eq!(first.id, "cda4159a-72a5-4744-aba3-4d66eb52682b");
    assert_eq!((first.kind, &*first.envelope_type), (Kind::EventsApi, "events_api"));
    assert_eq!((first.retry_attempt, &*first.retry_reason, first.accepts_response_payload), (0, "", false));
    assert!(
        first.payload.starts_with(r#"{"token":"XXYYZZ","#)
            && first.payload.ends_with(r#""1-app_mention-T111-C111"}"#)
    );
    let retry = envelope(fixture!("events_api_retry"));
    assert_eq!((retry.retry_attempt, &*retry.retry_reason), (2, "http_timeout"));
    let command = envelope(fixture!("slash_commands"));
    assert_eq!((command.kind, command.accepts_response_payload), (Kind::SlashCommands, true));
    let click = envelope(fixture!("interactive_block_actions"));
    assert_eq!((click.kind, click.accepts_response_payload), (Kind::Interactive, true));
    let newer = envelope(fixture!("unknown_type"));
    assert_eq!((newer.kind, &*newer.envelope_type), (Kind::Unknown, "canvas_updates"));
}

#[test]
fn odd_fields_beside_it_never_cost_the_envelope() {
    for text in [
        r#"{"envelope_id":"x"}"#,
        r#"{"envelope_id":"\u0078","type":null,"payload":null}"#,
        r#"{"envelope_id":"x","type":7,"accepts_response_payload":"no","retry_attempt":-1,"retry_reason":[]}"#,
        r#"{"envelope_id":"x","type":"\ud800","retry_reason":"\udfff","retry_attempt":1e999}"#,
        r#"{"\ud800":1,"envelope_id":"x","retry_attempt":null,"accepts_response_payload":null}"#,
        r#"{"envelope_id":"w","envelope_id":"x"}"#,
        r#"{"envelope_id":"x","envelope_id":null}"#,
    ] {
        let envelope = envelope(text);
        assert_eq!(envelope.id, "x", "{text}");
        assert_eq!((envelope.kind, envelope.payload), (Kind::Unknown, "null"), "{text}");
        assert_eq!((envelope.retry_attempt, envelope.accepts_response_payload), (0, false), "{text}");
    }
    let control = envelope(r#"{"type":"disconnect","envelope_id":"x","reason":"warning"}"#);
    assert_eq!(control.envelope_type, "disconnect");
    assert_eq!(envelope(r#"{"envelope_id":"x","retry_attempt":70000}"#).retry_attempt, u16::MAX);
    assert_eq!(envelope(r#"{"envelope_id":"x","payload":"text"}"#).payload, r#""text""#);
}

#[test]
fn depth_is_no_reason_to_lose_an_envelope() {
    let deep = format!(r#"{{"payload":{}{},"envelope_id":"x"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(envelope(&deep).id, "x");
}

fn hello(text: &str) -> Hello {
    let Frame::Hello(hello) = frame::parse(text) else { panic!("no hello: {text}") };
    hello
}
