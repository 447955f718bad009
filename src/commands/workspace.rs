//! `tautline workspace`: a node's workspaces, from the command line. No token stands on it: a process list shows that to everybody.

mod add;
mod check;
mod filter;
mod import;
mod manifest;
mod steer;

use clap::{Args, Subcommand};

use self::add::Add;
use self::check::Check;
use self::filter::Filter;
use self::import::Import;
use self::manifest::Manifest;
use self::steer::{Steer, Verb};
use super::Failure;
use super::client::NodeArgs;
use super::filter::Filter as _;
use super::one::One;
use super::table::Fields;

const ALL: &str = "/api/v1/workspaces";

const COLUMNS: Fields<'_> = &[
    ("ID", "/id"),
    ("STATE", "/state"),
    ("HEALTH", "/health"),
    ("SINCE", "/since"),
    ("REASON", "/reason/code"),
    ("APP", "/app_id"),
    ("TEAM", "/team_id"),
];
const FIELDS: Fields<'_> = &[
    ("id", "/id"),
    ("name", "/name"),
    ("desired", "/desired"),
    ("delivery", "/delivery"),
    ("state", "/state"),
    ("health", "/health"),
    ("since", "/since"),
    ("reason", "/reason/code"),
    ("what happened", "/reason/message"),
    ("what to do", "/reason/action"),
    ("app", "/app_id"),
    ("team", "/team_id"),
    ("labels", "/labels"),
    ("links", "/links"),
    ("events", "/counters/events"),
    ("last event", "/last_event_at"),
];
const CHANGES: Fields<'_> = &[
    ("AT", "/at"),
    ("FROM", "/from"),
    ("TO", "/to"),
    ("LINK", "/generation"),
    ("REASON", "/reason/code"),
    ("WHAT HAPPENED", "/reason/message"),
];

/// Workspaces of a running node
#[derive(Debug, Args)]
pub(super) struct Workspace {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists all, or those that the filters mean
    List(List),
    /// Shows one
    Show(One),
    /// Shows what became of its connection, newest first
    Timeline(Timeline),
    /// Registers one; its tokens come from files or from the environment
    Add(Box<Add>),
    /// Tries out whether one would come online, and stores nothing
    Check(Box<Check>),
    /// Registers or changes many, from JSON lines or CSV
    Import(Import),
    /// Makes the Slack app of a new customer: its manifest, and the clicks that are left
    Manifest(Manifest),
    /// Wants it online, and tries again what has failed; or all that the filters mean
    Connect(Steer),
    /// Wants it offline; or all that the filters mean
    Disconnect(Steer),
    /// Replaces its sockets by fresh ones; or those of all that the filters mean
    Reconnect(Steer),
    /// Keeps its events and gives none to handlers; or those of all that the filters mean
    Pause(Steer),
    /// Gives its events to handlers again, those that waited first; or those of all that the filters mean
    Resume(Steer),
    /// Removes it and erases its tokens
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    one: One,
    /// Erases the payloads of its events too, in the background; what else is known of them stays as long as that of others
    #[arg(long)]
    purge: bool,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// In this order: id, -id, `created_at`, `-created_at`, `updated_at`, `-updated_at`
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
struct Timeline {
    #[command(flatten)]
    one: One,
    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

impl Workspace {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run(),
            Command::Show(one) => one.show(ALL, FIELDS),
            Command::Timeline(timeline) => timeline.run(),
            Command::Add(add) => add.run(),
            Command::Check(check) => check.run(),
            Command::Import(import) => import.run(),
            Command::Manifest(manifest) => manifest.run(),
            Command::Connect(steer) => steer.run(Verb::Connect),
            Command::Disconnect(steer) => steer.run(Verb::Disconnect),
            Command::Reconnect(steer) => steer.run(Verb::Reconnect),
            Command::Pause(steer) => steer.run(Verb::Pause),
            Command::Resume(steer) => steer.run(Verb::Resume),
            Command::Remove(Remove { one, purge }) => one.ask(ALL, async |node, path| {
                let query = if purge { "?purge=true" } else { "" };
                node.delete(&format!("{path}{query}")).await
            }),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let mut query = self.filter.query();
        query.extend(self.sort.map(|sort| ("sort", sort)));
        self.node.run(async |node| {
            node.show_list(COLUMNS, node.list(ALL, &query, None).await?);
            Ok(())
        })
    }
}

impl Timeline {
    fn run(self) -> Result<(), Failure> {
        let Self { one, limit } = self;
        one.ask(ALL, async |node, path| {
            node.show_list(CHANGES, node.list(&format!("{path}/timeline"), &[], Some(limit)).await?);
            Ok(())
        })
    }
}
