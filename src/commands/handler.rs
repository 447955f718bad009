//! `tautline handler`: who is handed events.

use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Failure;
use super::client::{Asked, NodeArgs, Question, segment};
use super::table::{show_json, show_list};

const ALL: &str = "/api/v1/handlers";

/// Handlers of a running node
#[derive(Debug, Args)]
pub(super) struct Handler {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, with what weighs on each
    List {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Gives one nothing more: what comes is kept for it
    Pause(One),
    /// Gives it events again, what was kept first
    Resume(One),
}

#[derive(Debug, Args)]
struct One {
    /// Its name
    name: String,
    #[command(flatten)]
    node: NodeArgs,
}

impl Handler {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.run(async |node| {
                show(node, &node.short_list(ALL).await?);
                Ok(())
            }),
            Command::Pause(one) => one.steer("pause"),
            Command::Resume(one) => one.steer("resume"),
        }
    }
}

impl One {
    fn steer(self, verb: &'static str) -> Result<(), Failure> {
        let Self { name, node } = self;
        node.run(async |node| {
            let path = format!("{ALL}/{}/{verb}", segment(&name)?);
            let handler = node.ask(Question::new(Method::POST, &path)).await?.body;
            if node.json() {
                show_json(&handler);
            } else {
                show(node, &[handler]);
            }
            Ok(())
        })
    }
}

fn show(node: &Asked, handlers: &[Value]) {
    if node.json() {
        show_json(&Value::Array(handlers.to_vec()));
        return;
    }
    let columns = [
        ("NAME", "/id"),
        ("PAUSED SINCE", "/paused_at"),
        ("WAITING", "/waiting"),
        ("RETRYING", "/retrying"),
        ("DEAD", "/dead"),
        ("OLDEST", "/oldest"),
        ("AGE MS", "/oldest_ms"),
    ];
    show_list(&columns, handlers);
}
