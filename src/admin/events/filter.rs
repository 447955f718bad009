//! Which events are meant: the same words in the query of a list and in the body of a replay.

use super::super::query::{self, Taken};
use super::parse_id;
use crate::event::Kind;
use crate::ids::Seq;
use crate::machine::seq;
use crate::store::EventFilter;

/// The parameters, for messages.
pub(super) const KNOWN: &str = "workspace, app_id, kind, type, since, until, after";
const KINDS: [Kind; 4] = [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown];

/// What an event must be like.
#[derive(Debug, Default)]
pub(super) struct Filter(EventFilter);

impl Filter {
    /// Takes one condition.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Taken {
        let filter = &mut self.0;
        match key {
            "workspace" => Taken::of(query::workspace(value), &mut filter.workspace),
            "app_id" => {
                let fine =
                    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric());
                let read = fine.then(|| Some(value.to_owned()));
                Taken::of(read.ok_or_else(|| "Slack's id of an app, like 'A0123'".into()), &mut filter.app_id)
            }
            "kind" => {
                let found = KINDS.into_iter().find(|kind| kind.as_str() == value);
                let names = KINDS.map(Kind::as_str).join(", ");
                Taken::of(found.map(Some).ok_or_else(|| format!("one of {names}")), &mut filter.kind)
            }
            "type" => Taken::of(query::name(value, "a type like 'app_mention'"), &mut filter.kind_type),
            "since" => Taken::of(place(value), &mut filter.from),
            "until" => Taken::of(place(value), &mut filter.below),
            "after" => {
                let read = parse_id(value).map(Some).map_err(|_| "an event's id".to_owned());
                Taken::of(read, &mut filter.after)
            }
            _ => Taken::Unknown,
        }
    }

    /// What is meant.
    pub(super) const fn meant(&self) -> &EventFilter {
        &self.0
    }
}

/// The first place of a moment in the journal.
pub(in crate::admin) fn place(value: &str) -> Result<Option<Seq>, String> {
    Ok(query::time(value)?.map(seq::first_at))
}
