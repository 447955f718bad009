//! `tautline audit`: who changed what on a node, and why.

use clap::{Args, Subcommand};

use super::Failure;
use super::filter::{self, List};
use super::since::moment;
use super::table::Fields;

const COLUMNS: Fields<'_> = &[
    ("AT", "/at"),
    ("WHO", "/actor"),
    ("ACTION", "/action"),
    ("WORKSPACE", "/workspace"),
    ("TARGET", "/target"),
    ("CHANGES", "/changes"),
    ("REASON", "/reason"),
];

/// The audit log of a running node
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists what was changed, newest first
    List(Box<List<Filter>>),
}

#[derive(Debug, Args)]
struct Filter {
    /// Of this workspace
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// By this API token, like `tok_7`
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// Only this, like workspace.update
    #[arg(long)]
    action: Option<String>,
    /// By this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Not before: a time like 2026-11-22T20:00:00Z, or how long ago, like 90m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<String>,
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run("/api/v1/audit", COLUMNS),
        }
    }
}

impl filter::Filter for Filter {
    fn given(&self) -> Vec<(&'static str, &[String])> {
        vec![
            ("workspace", self.workspace.as_slice()),
            ("token", self.token.as_slice()),
            ("action", self.action.as_slice()),
            ("request_id", self.request_id.as_slice()),
            ("since", self.since.as_slice()),
            ("until", self.until.as_slice()),
        ]
    }
}
