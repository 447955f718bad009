//! By what a repeat is recognised.

use sha2::{Digest, Sha256};

use crate::event::{DedupeKey, Kind};
use crate::ids::AppId;

/// The key of what Slack calls `slack_id` (the event's id, else the envelope's) within one app and kind. Each part has its
/// length fixed or told, so that no two differing triples run together.
pub fn key(app: AppId, kind: Kind, slack_id: &str) -> DedupeKey {
    let kind = kind.as_str().as_bytes();
    let mut hash = Sha256::new();
    hash.update(app.0.to_be_bytes());
    hash.update((kind.len() as u64).to_be_bytes());
    hash.update(kind);
    hash.update(slack_id.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = [0; 16];
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    DedupeKey(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_has_the_same_key_and_another_app_kind_or_id_another() {
        let known = key(AppId(1), Kind::EventsApi, "Ev1");
        assert_eq!(known, key(AppId(1), Kind::EventsApi, "Ev1"));
        assert_ne!(known, key(AppId(2), Kind::EventsApi, "Ev1"));
        assert_ne!(known, key(AppId(1), Kind::Interactive, "Ev1"));
        assert_ne!(known, key(AppId(1), Kind::EventsApi, "Ev2"));
    }

    #[test]
    fn keys_of_earlier_versions_are_still_recognised() {
        assert_eq!(
            format!("{:?}", key(AppId(7), Kind::EventsApi, "Ev123")),
            "b5d59ecb4f95b7487ff02161cb92633d"
        );
    }
}
