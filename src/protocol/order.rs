//! What comes in order: events of one conversation.

use sha2::{Digest, Sha256};

use super::routing;
use crate::event::Kind;

/// What all events of a payload's conversation share; none where it names none. Kept in the store: it may never change.
pub fn conversation_key(kind: Kind, payload: &str) -> Option<i64> {
    let conversation = routing::read(kind, payload).conversation?;
    let digest: [u8; 32] = Sha256::digest(conversation.as_bytes()).into();
    let mut key = [0; 8];
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Some(i64::from_be_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_conversation_share_a_key_that_later_versions_find_too() {
        let of = |payload| conversation_key(Kind::EventsApi, payload);
        let message = r#"{"event":{"type":"message","channel":"C1","text":"one"}}"#;
        let reaction = r#"{"event":{"type":"reaction_added","item":{"channel":"C1"}}}"#;
        assert_eq!(of(message), of(reaction));
        assert_eq!(of(message), Some(KNOWN));
        assert_ne!(of(message), of(r#"{"event":{"type":"message","channel":"C2"}}"#));
        assert_eq!(of(r#"{"event":{"type":"team_join"}}"#), None);
        let command = r#"{"command":"/deploy","channel_id":"C1"}"#;
        assert_eq!(conversation_key(Kind::SlashCommands, command), Some(KNOWN));
    }

    const KNOWN: i64 = -6_087_145_129_685_275_069;
}
