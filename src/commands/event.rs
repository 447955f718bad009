//! `tautline event`: what came in, and what became of it.

mod replay;
mod tail;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::replay::Replay;
use self::tail::Tail;
use super::Failure;
use super::client::Asked;
use super::filter::{self, List};
use super::one::One;
use super::since::moment;
use super::table::{Fields, show_line, show_list};

const ALL: &str = "/api/v1/events";
const COLUMNS: Fields<'_> = &[
    ("ID", "/id"),
    ("RECEIVED", "/received_at"),
    ("WORKSPACE", "/workspace"),
    ("KIND", "/kind"),
    ("TYPE", "/type"),
    ("STATUS", "/status"),
];
const FIELDS: Fields<'_> = &[
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
const DELIVERIES: Fields<'_> = &[
    ("HANDLER", "/handler"),
    ("RUN", "/run"),
    ("STATUS", "/status"),
    ("TRIES", "/attempts"),
    ("NEXT", "/next_attempt_at"),
    ("LAST ERROR", "/last_error"),
    ("DELIVERY", "/id"),
];

const HELP: &str = "\
An event has the status of that of its newest deliveries which wants somebody's eye most: dead, retrying, waiting, pending (in a \
handler's hands), expired, cancelled, done. Payloads are never shown.

Does anything come in, and does it go well?
  tautline event tail --workspace acme
What became of one, at each handler:
  tautline event show evt_912243916800000001
A handler has lost what it had: how many events it would get again since then, and all of them anew:
  tautline event replay --handler billing --since 2026-11-22T14:00:00Z --dry-run
  tautline event replay --handler billing --since 2026-11-22T14:00:00Z --wait
Without --handler only those get it again with whom it ended undone";

/// Events of a running node, and what became of them
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Event {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, newest first
    List(Box<List<Filter>>),
    /// Shows one, with what became of it at each handler
    Show(One),
    /// Hands one over once more, or all that filters mean
    Replay(Box<Replay>),
    /// Shows what comes in, as it comes in, until it is stopped
    Tail(Box<Tail>),
}

#[derive(Debug, Args)]
struct Filter {
    /// Of this workspace
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// Of this Slack app
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    #[arg(long, help = "events_api, interactive, slash_commands or unknown")]
    kind: Option<String>,
    #[arg(long = "type", value_name = "TYPE", help = "Their type, like app_mention or /deploy")]
    kind_type: Option<String>,
    /// Not before: a time like 2026-11-22T20:00:00Z, or how long ago, like 90m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<String>,
}

impl Event {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run(ALL, COLUMNS),
            Command::Show(one) => one.ask(ALL, show),
            Command::Replay(replay) => replay.run(),
            Command::Tail(tail) => tail.run(),
        }
    }
}

impl filter::Filter for Filter {
    fn given(&self) -> Vec<(&'static str, &[String])> {
        vec![
            ("workspace", self.workspace.as_slice()),
            ("app_id", self.app.as_slice()),
            ("kind", self.kind.as_slice()),
            ("type", self.kind_type.as_slice()),
            ("since", self.since.as_slice()),
            ("until", self.until.as_slice()),
        ]
    }
}

async fn show(node: &Asked, path: &str) -> Result<(), Failure> {
    let event = node.get(path).await?;
    node.show_one(FIELDS, &event);
    if !node.json() {
        show_line("");
        let deliveries = event.get("deliveries").and_then(Value::as_array);
        show_list(DELIVERIES, deliveries.map_or(&[], Vec::as_slice));
    }
    Ok(())
}
