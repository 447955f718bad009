//! `tautline event`: what came in, and what became of it.

mod replay;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use self::replay::Replay;
use super::Failure;
use super::client::{Asked, NodeArgs, segment};
use super::since::moment;
use super::table::{show_fields, show_json, show_line, show_list, text};

const ALL: &str = "/api/v1/events";
/// Between two looks of `tail`.
const LOOK: Duration = Duration::from_secs(1);
/// What `tail` shows of what came before.
const BEFORE: usize = 10;

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
            let mut last: Option<String> = None;
            loop {
                let mut query = filter.query();
                query.extend(last.clone().map(|last| ("after", last)));
                let most = last.is_none().then_some(BEFORE);
                let mut events = node.list(ALL, &query, most).await?;
                last = events.first().map(|newest| text(newest, "/id")).or(last);
                events.reverse();
                for event in &events {
                    tell(node, event);
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
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
