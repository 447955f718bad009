//! `tautline delivery`: what handlers are owed, and what was given up.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::client::NodeArgs;
use super::filter::{self, List, Meant, Which};
use super::one::One;
use super::since::moment;
use super::table::Fields;
use super::{Failure, job};
use crate::clock::span;

const ALL: &str = "/api/v1/deliveries";
const COLUMNS: Fields<'_> = &[
    ("ID", "/id"),
    ("HANDLER", "/handler"),
    ("WORKSPACE", "/workspace"),
    ("TYPE", "/type"),
    ("STATUS", "/status"),
    ("TRIES", "/attempts"),
    ("UPDATED", "/updated_at"),
    ("NEXT", "/next_attempt_at"),
    ("LAST ERROR", "/last_error"),
];
const FIELDS: Fields<'_> = &[
    ("id", "/id"),
    ("event", "/event"),
    ("handler", "/handler"),
    ("run", "/run"),
    ("workspace", "/workspace"),
    ("kind", "/kind"),
    ("type", "/type"),
    ("status", "/status"),
    ("tries", "/attempts"),
    ("last error", "/last_error"),
    ("next try", "/next_attempt_at"),
    ("holds others until", "/holds_until"),
    ("replaced by", "/replaced_by"),
    ("created", "/created_at"),
    ("updated", "/updated_at"),
];

const HELP: &str = "\
A delivery is one event for one handler. Its status:
  waiting    it waits for its turn
  retrying   it failed, or was asked for again, and is tried at NEXT
  done       all is well; what went well at once is not listed
  dead       all tries failed, or the handler refused it: LAST ERROR says why
  expired    its answer would come too late to be of use
  cancelled  somebody discarded it, or its workspace was removed; a retry of many takes it only by --status cancelled

Of the last two hours' events: what is stuck, and why:
  tautline delivery list --status dead --status retrying --since 2h
Once the handler is mended: how many that is, and then all of them anew:
  tautline delivery retry --status dead --handler billing --dry-run
  tautline delivery retry --status dead --handler billing --wait
Never mind them:
  tautline delivery discard --status dead --workspace acme --reason gone";

/// Deliveries of a running node that did not go well at once
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Delivery {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, newest event first
    List(Box<List<Filter>>),
    /// Shows one
    Show(One),
    /// Tries one at once, or all that filters mean
    Retry(Box<Change>),
    /// Gives one up, or all that filters mean
    Discard(Box<Change>),
}

/// Of several statuses one is enough.
#[derive(Debug, Args)]
struct Filter {
    /// waiting, retrying, done, dead, expired or cancelled; may be given more than once
    #[arg(long)]
    status: Vec<String>,
    /// To this handler
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Of this workspace
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// Of events not before: a time like 2026-11-22T20:00:00Z, or how long ago, like 90m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Of events before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<String>,
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    meant: Meant<Filter>,
    /// Of many: ends when it is done to all, or after this time [without a time: 30s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span, conflicts_with_all = ["id", "dry_run"])]
    wait: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

impl Delivery {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run(ALL, COLUMNS),
            Command::Show(one) => one.show(ALL, FIELDS),
            Command::Retry(change) => change.run("retry"),
            Command::Discard(change) => change.run("discard"),
        }
    }
}

impl Change {
    fn run(self, verb: &str) -> Result<(), Failure> {
        let Self { meant, wait, node } = self;
        match meant.which("delivery")? {
            Which::One(id) => One { id, node }.act(ALL, verb, FIELDS),
            Which::Many(mut body) => {
                body.insert("action".to_owned(), verb.into());
                node.run(async |node| job::begin(node, &format!("{ALL}/actions"), body, wait).await)
            }
        }
    }
}

impl filter::Filter for Filter {
    fn given(&self) -> Vec<(&'static str, &[String])> {
        vec![
            ("status", &self.status),
            ("handler", self.handler.as_slice()),
            ("workspace", self.workspace.as_slice()),
            ("since", self.since.as_slice()),
            ("until", self.until.as_slice()),
        ]
    }
}
