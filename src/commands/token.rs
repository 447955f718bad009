//! `tautline token`: who may use a node's API.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Failure;
use super::client::{Asked, NodeArgs};
use super::one::One;
use super::table::{Fields, show_json, text};
use crate::clock::Clock;

const ALL: &str = "/api/v1/tokens";
const COLUMNS: Fields<'_> = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("SCOPE", "/scope"),
    ("STATE", "/state"),
    ("EXPIRES", "/expires_at"),
    ("LAST USED", "/last_used_at"),
];

/// API tokens of a running node
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a token; its text alone is printed on stdout, and cannot be had again
    Create {
        /// What it is called
        name: String,
        /// What it may do
        #[arg(long)]
        role: Role,
        /// Only for workspaces with this label, like tenant:42
        #[arg(long, value_name = "LABEL")]
        scope: Option<String>,
        /// It expires after so many days
        #[arg(long, value_name = "DAYS")]
        expires_in: Option<u16>,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Lists tokens, revoked ones too
    List {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Revokes a token by its id
    Revoke(One),
}

#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Role {
    /// Looks
    Viewer,
    /// Changes workspaces
    Operator,
    /// Everything
    Admin,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Create { name, role, scope, expires_in, node } => {
                let expires_at = expires_in.map(in_days).transpose()?;
                let body = json!({"name": name, "role": role, "scope": scope, "expires_at": expires_at});
                node.run(async |node| create(node, &body).await)
            }
            Command::List { node } => node.run(async |node| {
                node.show_list(COLUMNS, node.list(ALL, &[], None).await?);
                Ok(())
            }),
            Command::Revoke(one) => one.remove(ALL),
        }
    }
}

fn in_days(days: u16) -> Result<String, Failure> {
    let now = i128::from(Clock::start().now().wall_ms) * 1_000_000;
    let now = OffsetDateTime::from_unix_timestamp_nanos(now).map_err(Failure::setup)?;
    (now + Duration::days(days.into())).format(&Rfc3339).map_err(Failure::setup)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]
async fn create(node: &Asked, body: &Value) -> Result<(), Failure> {
    let made = node.post(ALL, body).await?;
    if node.json() {
        show_json(&made);
        return Ok(());
    }
    let of = |field: &str| text(&made, field);
    eprintln!("{} '{}', {}, shown this once:", of("/id"), of("/name"), of("/role"));
    println!("{}", of("/token"));
    Ok(())
}
