//! `tautline token`: who may use a node's API.

use awc::http::Method;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Failure;
use super::client::{Asked, NodeArgs, show_json, show_table, text};
use crate::clock::Clock;

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
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        node: NodeArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
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
                let role = match role {
                    Role::Viewer => "viewer",
                    Role::Operator => "operator",
                    Role::Admin => "admin",
                };
                let expires_at = expires_in.map(in_days).transpose()?;
                let body = json!({"name": name, "role": role, "scope": scope, "expires_at": expires_at});
                node.run(async |node| create(node, &body).await)
            }
            Command::List { node } => node.run(list),
            Command::Revoke { id, node } => node.run(async |node| {
                node.ask(Method::DELETE, &format!("/api/v1/tokens/{}", segment(&id)?), None).await.map(drop)
            }),
        }
    }
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> Result<&str, Failure> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let plain = plain && !text.is_empty() && text != "." && text != "..";
    plain.then_some(text).ok_or_else(|| Failure::Setup(format!("{text:?} is no id")))
}

fn in_days(days: u16) -> Result<String, Failure> {
    let now = i128::from(Clock::start().now().wall_ms) * 1_000_000;
    let now = OffsetDateTime::from_unix_timestamp_nanos(now).map_err(Failure::setup)?;
    (now + Duration::days(days.into())).format(&Rfc3339).map_err(Failure::setup)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]
async fn create(node: &Asked, body: &Value) -> Result<(), Failure> {
    let made = node.ask(Method::POST, "/api/v1/tokens", Some(body)).await?;
    if node.json() {
        show_json(&made);
        return Ok(());
    }
    let of = |field: &str| text(&made, field);
    eprintln!("{} '{}', {}, shown this once:", of("/id"), of("/name"), of("/role"));
    println!("{}", of("/token"));
    Ok(())
}

async fn list(node: &Asked) -> Result<(), Failure> {
    let tokens = node.list("/api/v1/tokens").await?;
    if node.json() {
        show_json(&Value::Array(tokens));
        return Ok(());
    }
    let columns = ["/id", "/name", "/role", "/scope", "/state", "/expires_at", "/last_used_at"];
    let rows: Vec<_> =
        tokens.iter().map(|token| columns.iter().map(|column| text(token, column)).collect()).collect();
    show_table(&["ID", "NAME", "ROLE", "SCOPE", "STATE", "EXPIRES", "LAST USED"], &rows);
    Ok(())
}
