//! Acks: what tells Slack that an envelope has arrived.

use serde_json::value::RawValue;

/// A frame to Slack of this many bytes is already too much: it is dropped in silence (slack-go/slack#1196) or closes the
/// socket with 1009 (revelrylabs/slax#614).
pub const MAX_FRAME: usize = 20_480;

/// The frame would be one that Slack does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ack of {bytes} bytes is too large: Slack takes less than {MAX_FRAME}")]
pub struct Oversize {
    /// What the frame would weigh.
    pub bytes: usize,
}

/// The ack without an answer. Oversize only for an envelope id such as Slack never issues.
pub fn bare(envelope_id: &str) -> Result<String, Oversize> {
    framed(envelope_id, None)
}

/// The ack with an answer.
pub fn with_payload(envelope_id: &str, payload: &RawValue) -> Result<String, Oversize> {
    framed(envelope_id, Some(payload.get()))
}

const HEAD: &str = r#"{"envelope_id":"#;
const PAYLOAD: &str = r#","payload":"#;

fn framed(envelope_id: &str, payload: Option<&str>) -> Result<String, Oversize> {
    let least = envelope_id.len() + payload.map_or(0, str::len);
    if least >= MAX_FRAME {
        return Err(Oversize { bytes: least });
    }
    // Exact for an ordinary ack, so that it becomes a frame without being moved.
    let around = HEAD.len() + 3 + payload.map_or(0, |_| PAYLOAD.len());
    let mut frame = String::with_capacity(least + around);
    frame.push_str(HEAD);
    push_string(&mut frame, envelope_id);
    if let Some(payload) = payload {
        frame.push_str(PAYLOAD);
        frame.push_str(payload);
    }
    frame.push('}');
    if frame.len() < MAX_FRAME { Ok(frame) } else { Err(Oversize { bytes: frame.len() }) }
}

fn push_string(frame: &mut String, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        frame.push('"');
        frame.push_str(text);
        frame.push('"');
    } else {
        frame.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "dbdd0ef3-1543-4f94-bfb4-133d0e6c1545";

    fn payload_of(bytes: usize) -> Box<RawValue> {
        RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap()
    }

    #[test]
    fn an_ack_is_one_object_with_the_id_and_an_optional_payload() {
        assert_eq!(bare(ID).unwrap(), format!(r#"{{"envelope_id":"{ID}"}}"#));
        let hi = RawValue::from_string(r#"{"text":"hi"}"#.into()).unwrap();
        assert_eq!(
            with_payload(ID, &hi).unwrap(),
            format!(r#"{{"envelope_id":"{ID}","payload":{{"text":"hi"}}}}"#)
        );
    }

    #[test]
    fn an_odd_id_comes_back_as_it_was() {
        for id in ["a\"b", "a\\", "\n\0", "é\u{1f980}", "\"},\"x\":{\""] {
            let ack: serde_json::Value = serde_json::from_str(&bare(id).unwrap()).unwrap();
            assert_eq!(ack, serde_json::json!({ "envelope_id": id }));
        }
    }

    #[test]
    fn the_last_frame_slack_takes_has_20479_bytes() {
        let around = with_payload(ID, &payload_of(2)).unwrap().len() - 2;
        assert_eq!(with_payload(ID, &payload_of(MAX_FRAME - 1 - around)).unwrap().len(), 20_479);
        assert_eq!(with_payload(ID, &payload_of(MAX_FRAME - around)), Err(Oversize { bytes: 20_480 }));
    }

    #[test]
    fn an_id_too_long_to_ack_is_refused_also_when_only_its_escapes_make_it_so() {
        assert!(bare(&"x".repeat(1 << 24)).is_err());
        assert!(bare(&"\n".repeat(15_000)).is_err());
        assert!(bare(&"x".repeat(15_000)).is_ok());
    }
}
