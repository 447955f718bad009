//! `tautline event`: what came in, and what became of it.

mod replay;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use self::replay::Replay;
use super::Failure;
use super::client::{Asked, NodeArgs, segment};
use super::since::moment;
use super::table::{show_fields, show_json, show_line, show_list, text};
use crate::ids::Seq;
use crate::machine::seq;

const ALL: &str = "/api/v1/events";
/// Between two looks of `tail`.
const LOOK: Duration = Duration::from_secs(1);
/// What `tail` shows of what came before.
const BEFORE: usize = 10;
/// How far back from the newest `tail` asks again, milliseconds.
const BACK_MS: i64 = 5000;
const PREFIX: &str = "evt_";

/// Events of a running node
#[derive(Debug, Args)]
pub(super) struct Event {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, newest first
    List(Box<List>),
    /// Shows one, with what became of it at each handler
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Hands one over once more, or all that filters mean
    Replay(Box<Replay>),
    /// Shows what comes in, as it comes in, until it is stopped
    Tail(Box<Tail>),
}

/// Which events are meant: those that meet all that is said.
#[derive(Clone, Debug, Default, Args)]
struct Filter {
    /// Of this workspace
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// Of this Slack app
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    /// `events_api`, `interactive` or `slash_commands`
    #[arg(long)]
    kind: Option<String>,
    /// Their type, like `app_mention` or `/deploy`
    #[arg(long = "type", value_name = "TYPE")]
    kind_type: Option<String>,
    /// Not before: a time like 2026-11-22T20:00:00Z, or how long ago, like 90m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
struct Tail {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    node: NodeArgs,
}

impl Event {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run(),
            Command::Show { id, node } => node.run(async |node| show(node, &id).await),
            Command::Replay(replay) => replay.run(),
            Command::Tail(tail) => tail.run(),
        }
    }
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let given = self.given().into_iter();
        given.filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    fn body(&self) -> Value {
        let given = self.query().into_iter();
        Value::Object(given.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>())
    }

    const fn given(&self) -> [(&'static str, &Option<String>); 6] {
        [
            ("workspace", &self.workspace),
            ("app_id", &self.app),
            ("kind", &self.kind),
            ("type", &self.kind_type),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }
}

const COLUMNS: [(&str, &str); 6] = [
    ("ID", "/id"),
    ("RECEIVED", "/received_at"),
    ("WORKSPACE", "/workspace"),
    ("KIND", "/kind"),
    ("TYPE", "/type"),
    ("STATUS", "/status"),
];

impl List {
    fn run(self) -> Result<(), Failure> {
        let Self { filter, limit, node } = self;
        node.run(async |node| {
            let events = node.list(ALL, &filter.query(), Some(limit)).await?;
            if node.json() {
                show_json(&Value::Array(events));
            } else {
                show_list(&COLUMNS, &events);
            }
            Ok(())
        })
    }
}

impl Tail {
    fn run(self) -> Result<(), Failure> {
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

/// What `tail` has seen.
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

async fn show(node: &Asked, id: &str) -> Result<(), Failure> {
    let event = node.get(&format!("{ALL}/{}", segment(id)?)).await?;
    if node.json() {
        show_json(&event);
        return Ok(());
    }
    let fields = [
        ("id", "/id"),
        ("received", "/received_at"),
        ("workspace", "/workspace"),
        ("app", "/app_id"),
        ("kind", "/kind"),
        ("type", "/type"),
        ("slack id", "/slack_id"),
        ("slack's retry", "/retry"),
        ("bytes", "/bytes"),
        ("payload kept", "/payload_kept"),
        ("status", "/status"),
    ];
    show_fields(&fields, &event);
    show_line("");
    let deliveries = event.get("deliveries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let columns = [
        ("HANDLER", "/handler"),
        ("RUN", "/run"),
        ("STATUS", "/status"),
        ("TRIES", "/attempts"),
        ("NEXT", "/next_attempt_at"),
        ("LAST ERROR", "/last_error"),
        ("DELIVERY", "/id"),
    ];
    show_list(&columns, deliveries);
    Ok(())
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
