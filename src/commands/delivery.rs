//! `tautline delivery`: what handlers are owed, and what was given up.

use std::time::Duration;

use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::{Asked, NodeArgs, Question, segment};
use super::job;
use super::since::moment;
use super::table::{show_fields, show_json, show_list};
use crate::clock::span;

const ALL: &str = "/api/v1/deliveries";

/// Deliveries of a running node that did not go well at once
#[derive(Debug, Args)]
pub(super) struct Delivery {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, newest event first
    List(Box<List>),
    /// Shows one
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Tries one at once, or all that filters mean
    Retry(Box<Change>),
    /// Gives one up, or all that filters mean
    Discard(Box<Change>),
}

/// Which deliveries are meant: those that meet all that is said; of several statuses one is enough.
#[derive(Clone, Debug, Default, Args)]
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
struct Change {
    /// Its id
    #[arg(required_unless_present_any = MANY, conflicts_with_all = MANY)]
    id: Option<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only counts what the filters mean
    #[arg(long, conflicts_with_all = ["id", "wait"])]
    dry_run: bool,
    /// Of many: ends when it is done to all, or after this time
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span, conflicts_with = "id")]
    wait: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

const MANY: [&str; 6] = ["all", "status", "handler", "workspace", "since", "until"];

impl Delivery {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run(),
            Command::Show { id, node } => node.run(async |node| {
                show(node, &node.get(&format!("{ALL}/{}", segment(&id)?)).await?);
                Ok(())
            }),
            Command::Retry(change) => change.run("retry"),
            Command::Discard(change) => change.run("discard"),
        }
    }
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let single = [
            ("handler", &self.handler),
            ("workspace", &self.workspace),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        self.status.iter().map(|status| ("status", status.clone())).chain(single).collect()
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        for (name, value) in self.query().into_iter().filter(|(name, _)| *name != "status") {
            body.insert(name.to_owned(), value.into());
        }
        if !self.status.is_empty() {
            body.insert("status".to_owned(), json!(self.status));
        }
        Value::Object(body)
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let Self { filter, limit, node } = self;
        node.run(async |node| {
            let deliveries = node.list(ALL, &filter.query(), Some(limit)).await?;
            if node.json() {
                show_json(&Value::Array(deliveries));
                return Ok(());
            }
            let columns = [
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
            show_list(&columns, &deliveries);
            Ok(())
        })
    }
}

impl Change {
    fn run(self, verb: &'static str) -> Result<(), Failure> {
        let Self { id, all, filter, dry_run, wait, node } = self;
        if all && !filter.query().is_empty() {
            return Err(Failure::Setup("--all means every delivery, so no filter goes with it".into()));
        }
        node.run(async |node| {
            if let Some(id) = &id {
                let path = format!("{ALL}/{}/{verb}", segment(id)?);
                show(node, &node.ask(Question::new(Method::POST, &path)).await?.body);
                return Ok(());
            }
            let body = json!({ "action": verb, "filter": filter.body(), "dry_run": dry_run });
            let answer = node.post(&format!("{ALL}/actions"), &body).await?;
            if !dry_run {
                return job::follow(node, answer, wait).await;
            }
            job::tell_count(node, &answer);
            Ok(())
        })
    }
}

fn show(node: &Asked, delivery: &Value) {
    if node.json() {
        show_json(delivery);
        return;
    }
    let fields = [
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
    show_fields(&fields, delivery);
}
