//! `tautline audit`: who changed what on a node, and why.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Failure;
use super::client::NodeArgs;
use super::table::{show_json, show_list};

/// The audit log of a running node
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists what was changed, newest first
    List(Box<List>),
}

#[derive(Debug, Args)]
struct List {
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
    /// Not before, like 2026-11-22T20:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    node: NodeArgs,
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let given = [
            ("workspace", self.workspace),
            ("token", self.token),
            ("action", self.action),
            ("request_id", self.request_id),
            ("since", self.since),
            ("until", self.until),
        ];
        let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let limit = self.limit;
        self.node.run(async |node| {
            let entries = node.list("/api/v1/audit", &query, Some(limit)).await?;
            if node.json() {
                show_json(&Value::Array(entries));
                return Ok(());
            }
            let columns = [
                ("AT", "/at"),
                ("WHO", "/actor"),
                ("ACTION", "/action"),
                ("WORKSPACE", "/workspace"),
                ("TARGET", "/target"),
                ("CHANGES", "/changes"),
                ("REASON", "/reason"),
            ];
            show_list(&columns, &entries);
            Ok(())
        })
    }
}
