//! What a handler answers Slack: the payload of an ack, or what is posted to a `response_url`.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// An answer: one JSON object. Its `Debug` shows its size, never what it says.
///
/// What Slack takes as one: a message for a slash command (`{"text": …}`), a `response_action` for a `view_submission`, `options` or
/// `option_groups` for a `block_suggestion`.
#[derive(Clone)]
pub struct Answer(Arc<RawValue>);

/// It cannot be an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer is a JSON object; this is none")]
pub struct NotAnObject;

impl Answer {
    /// An answer of anything that is written as a JSON object.
    pub fn new(value: &impl Serialize) -> Result<Self, NotAnObject> {
        let raw = to_raw_value(value).map_err(|_| NotAnObject)?;
        if raw.get().starts_with('{') { Ok(Self(raw.into())) } else { Err(NotAnObject) }
    }

    /// A message that only who gave the command sees.
    pub fn text(text: &str) -> Self {
        let raw = to_raw_value(&json!({ "text": text })).unwrap_or_default();
        Self(raw.into())
    }

    /// Its JSON.
    pub fn json(&self) -> &RawValue {
        &self.0
    }

    /// What it weighs.
    pub fn bytes(&self) -> usize {
        self.0.get().len()
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Answer {}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} bytes)", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_object_and_its_debug_is_silent() {
        let answer = Answer::new(&json!({ "response_action": "clear" })).unwrap();
        assert_eq!(answer.json().get(), r#"{"response_action":"clear"}"#);
        assert_eq!(format!("{answer:?}"), "Answer(27 bytes)");
        for none in [json!([1]), json!("text"), json!(null), json!(7)] {
            assert_eq!(Answer::new(&none), Err(NotAnObject), "{none}");
        }
        assert_eq!(Answer::text("a \"b\"").json().get(), r#"{"text":"a \"b\""}"#);
    }
}
