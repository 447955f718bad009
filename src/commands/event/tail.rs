//! `tautline event tail`: what comes in, as it comes in.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::super::Failure;
use super::super::client::{Asked, NodeArgs};
use super::super::filter::Filter as _;
use super::super::table::{show_line, text};
use super::{ALL, COLUMNS, Filter};
use crate::ids::Seq;
use crate::machine::seq;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Shown of what came before.
const BEFORE: usize = 10;
/// How far back from the newest it is asked again, milliseconds.
const BACK_MS: i64 = 5000;
const PREFIX: &str = "evt_";

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    node: NodeArgs,
}

impl Tail {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { filter, node } = self;
        node.run(async |node| {
            let mut tail = Shown::default();
            let mut most = Some(BEFORE);
            loop {
                // Whatever the filter, it is looked for above the newest that there was at the look before.
                let newest = node.list(ALL, &[], Some(1)).await?;
                let mut query = filter.query();
                query.extend(tail.after().map(|after| ("after", after)));
                let mut events = node.list(ALL, &query, most.take()).await?;
                events.reverse();
                for event in events.iter().filter(|event| tail.is_new(&text(event, "/id"))) {
                    tell(node, event);
                }
                tail.seen(newest.first().map(|newest| text(newest, "/id")));
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

/// What it has seen.
#[derive(Debug, Default)]
struct Shown {
    /// The newest event at the last look.
    newest: Option<Seq>,
    /// Those shown, as far back as is asked.
    ids: BTreeSet<Seq>,
    /// The oldest of what is shown of the time before: what lies below was not asked for.
    oldest: Option<Seq>,
}

impl Shown {
    /// Behind which it is asked for more: some seconds before the newest, since another node's, and what is long on its way into the store,
    /// may come below it.
    fn after(&self) -> Option<String> {
        Some(format!("{PREFIX}{}", self.least()?))
    }

    fn least(&self) -> Option<Seq> {
        Some(seq::first_at(seq::wall_ms_of(self.newest?).saturating_sub(BACK_MS)))
    }

    /// Is this one shown for the first time? From now on it is not.
    fn is_new(&mut self, id: &str) -> bool {
        place(id).is_none_or(|seq| self.oldest.is_none_or(|oldest| oldest <= seq) && self.ids.insert(seq))
    }

    fn seen(&mut self, newest: Option<String>) {
        if self.newest.is_none() {
            self.oldest = self.ids.first().copied();
        }
        self.newest = newest.and_then(|newest| place(&newest)).or(self.newest);
        if let Some(least) = self.least() {
            self.ids = self.ids.split_off(&least);
        }
    }
}

fn place(id: &str) -> Option<Seq> {
    id.strip_prefix(PREFIX)?.parse().ok().map(Seq)
}

/// One event on a line of its own.
fn tell(node: &Asked, event: &Value) {
    if node.json() {
        show_line(&event.to_string());
        return;
    }
    let fields: Vec<_> = COLUMNS.iter().map(|(_, field)| text(event, field)).collect();
    show_line(&fields.join("  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_asks_from_some_seconds_back_and_shows_nothing_twice() {
        let at = |second: i64| format!("{PREFIX}{}", seq::first_at(1_795_377_600_000 + second * 1000));
        let mut tail = Shown::default();
        assert_eq!(tail.after(), None);
        assert!(tail.is_new(&at(0)));
        tail.seen(Some(at(60)));
        assert_eq!(tail.after(), Some(at(55)), "whatever the filter has shown");
        assert!(tail.is_new(&at(58)));
        assert!(!tail.is_new(&at(-1)), "older than what was shown first");
        tail.seen(None);
        assert!(tail.is_new(&at(57)) && !tail.is_new(&at(58)));
        tail.seen(Some(at(70)));
        assert_eq!(tail.ids.len(), 0, "what is asked for no more is not remembered");
    }
}
