//! What is the same for every journal, whatever the database: which events of a group are written at all, how they are sealed, and
//! what becomes of each.

use std::collections::HashSet;
use std::sync::Arc;

use crate::event::Event;
use crate::ids::Seq;
use crate::store::vault::{Place, Vault};
use crate::store::{REMEMBER, StoreError, Taken};

/// An event on its way in, sealed.
pub(super) struct Entry<'a> {
    /// Its place in the group.
    pub(super) at: usize,
    pub(super) event: &'a Event,
    pub(super) sealed: Vec<u8>,
}

/// Seals a group, before the database is asked for anything.
pub(super) fn seal_first_of_each_key<'a>(
    vault: &Vault,
    group: &'a [Arc<Event>],
) -> Result<Vec<Entry<'a>>, StoreError> {
    first_of_each_key(group)
        .map(|(at, event)| Ok(Entry { at, event, sealed: seal_payload(vault, event)? }))
        .collect()
}

/// The events of a group with their places in it, but for later ones of the same key: duplicates.
pub(super) fn first_of_each_key(group: &[Arc<Event>]) -> impl Iterator<Item = (usize, &Event)> {
    let mut keys = HashSet::with_capacity(group.len());
    let events = group.iter().map(|event| &**event);
    events.enumerate().filter(move |(_, event)| keys.insert(event.dedupe))
}

/// Seals an event's payload for its row.
pub(super) fn seal_payload(vault: &Vault, event: &Event) -> Result<Vec<u8>, StoreError> {
    vault.seal(payload_place(event.seq), event.payload.as_bytes())
}

/// What became of each of `len` events, of which these places are fresh.
pub(super) fn taken(len: usize, fresh: impl Iterator<Item = usize>) -> Vec<Taken> {
    let mut taken = vec![Taken::Duplicate; len];
    for at in fresh {
        if let Some(taken) = taken.get_mut(at) {
            *taken = Taken::Fresh;
        }
    }
    taken
}

/// How many of these events, given by seq and bytes in their order, are read at once: as many as fit into `max_bytes`, but one at
/// least. Their seqs.
pub(super) fn reach(sizes: &[(i64, i64)], max_bytes: usize) -> Vec<i64> {
    let mut sum = 0_usize;
    let fits = |(place, (_, bytes)): &(usize, &(i64, i64))| {
        sum = sum.saturating_add(usize::try_from(*bytes).unwrap_or(usize::MAX));
        *place == 0 || sum <= max_bytes
    };
    sizes.iter().enumerate().take_while(fits).map(|(_, (seq, _))| *seq).collect()
}

/// All of an event, sealed for the row that puts it aside.
pub(super) fn seal_whole(vault: &Vault, event: &Event) -> Result<Vec<u8>, StoreError> {
    let whole = serde_json::json!({
        "workspace": event.workspace,
        "kind": event.kind,
        "type": event.kind_type,
        "slack_id": event.slack_id,
        "dedupe": event.dedupe.0,
        "retry": event.retry,
        "received_ms": event.received_ms,
        "payload": event.payload,
    });
    vault.seal(Place::new("quarantine", "event_sealed", event.seq.0), whole.to_string().as_bytes())
}

/// From when on, where what was received before `before_ms` is forgotten, events can only have been dated by a clock that was wrong.
pub(super) fn ahead_from(before_ms: i64) -> i64 {
    before_ms.saturating_add(i64::try_from(REMEMBER.as_millis()).unwrap_or(i64::MAX))
}

/// Where an event's payload is sealed.
pub(super) const fn payload_place(seq: Seq) -> Place {
    Place::new("payloads", "payload_sealed", seq.0)
}

/// How many bytes of payload an event has, as it is stored.
pub(super) fn bytes_of(event: &Event) -> i64 {
    i64::try_from(event.payload.len()).unwrap_or(i64::MAX)
}
