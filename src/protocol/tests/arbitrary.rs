use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::frame::{self, Frame};
use super::super::{ack, api, interaction, routing};
use super::fixture;
use crate::event::Kind;

const REAL: [&str; 10] = [
    fixture!("hello"),
    fixture!("disconnect_warning"),
    fixture!("events_api_app_mention"),
    fixture!("events_api_shared_channel_org_install"),
    fixture!("events_api_app_rate_limited"),
    fixture!("slash_commands_org_install"),
    fixture!("interactive_block_actions_org_install"),
    fixture!("interactive_view_submission"),
    fixture!("unknown_type"),
    fixture!("open_missing_scope"),
];

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in any::<String>()) {
        read_all(&text);
    }

    #[test]
    fn no_json_makes_reading_panic(value in json_value()) {
        read_all(&value.to_string());
    }

    #[test]
    fn no_change_to_a_real_frame_makes_reading_panic(
        real in prop::sample::select(&REAL[..]),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3_u8), 1..6),
    ) {
        let mut chars: Vec<char> = real.chars().collect();
        for (at, new, change) in cuts {
            let at = at.index(chars.len());
            match change {
                0 => chars[at] = new,
                1 => chars.insert(at, new),
                _ => chars.truncate(at.max(1)),
            }
        }
        read_all(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn an_object_with_a_text_as_envelope_id_is_an_envelope_and_can_be_acked(
        id in any::<String>(),
        fields in prop::collection::vec((field_name(), json_value()), 0..8),
        place in any::<prop::sample::Index>(),
    ) {
        let mut members: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        members.insert(place.index(members.len() + 1), format!(r#""envelope_id":{}"#, json!(id)));
        let text = format!(" {{{}}}\n", members.join(" , "));
        let Frame::Envelope(envelope) = frame::parse(&text) else { panic!("lost: {text}") };
        prop_assert_eq!(&*envelope.id, &*id);
        let ack: Value = serde_json::from_str(&ack::bare(&envelope.id).unwrap()).unwrap();
        prop_assert_eq!(ack, json!({ "envelope_id": id }));
        let _: Value = serde_json::from_str(envelope.payload).unwrap();
        read_all(&text);
    }

    #[test]
    fn a_real_envelope_is_found_whatever_stands_in_its_other_fields(
        real in prop::sample::select(&REAL[2..9]),
        field in field_name(),
        value in json_value(),
    ) {
        let mut frame: Value = serde_json::from_str(real).unwrap();
        let id = frame["envelope_id"].clone();
        frame[field] = value;
        let text = frame.to_string();
        let Frame::Envelope(envelope) = frame::parse(&text) else { panic!("lost: {text}") };
        prop_assert_eq!(json!(envelope.id), id);
    }
}

fn read_all(text: &str) {
    if let Frame::Envelope(envelope) = frame::parse(text) {
        for kind in [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown] {
            let keys = routing::read(kind, envelope.payload);
            assert!(routing::clean(&keys.kind_type.unwrap_or_default()).chars().count() <= routing::MAX_KEY);
        }
        interaction::read(envelope.payload);
        assert!(
            ack::bare(&envelope.id).is_ok_and(|frame| frame.len() < ack::MAX_FRAME)
                || envelope.id.len() > 3000
        );
    }
    routing::read(Kind::Unknown, text);
    interaction::read(text);
    api::OpenReply::parse(text.as_bytes());
    api::retry_after(Some(text));
}

/// Names that mean something on the wire, and some that don't; never `envelope_id`.
fn field_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "type",
        "payload",
        "accepts_response_payload",
        "retry_attempt",
        "retry_reason",
        "reason",
        "debug_info",
        "x",
        "",
    ])
}

fn json_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "type",
            "event",
            "team",
            "team_id",
            "user",
            "view",
            "id",
            "channel",
            "authorizations",
            "enterprise",
            "envelope_id",
            "payload",
            "ok",
            "url",
            "error",
            "callback_id",
            "actions",
            "action_id",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["hello", "disconnect", "events_api", "T1", "E1", "true"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}
