//! `tautline event replay`: one by its id, or all that the filters mean, as a job of the node's.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::client::{Asked, NodeArgs};
use super::super::filter::{Meant, Which};
use super::super::one::One;
use super::super::table::{show_json, show_line, show_list, text};
use super::super::{Failure, job};
use super::{ALL, Filter};
use crate::clock::span;

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    meant: Meant<Filter>,
    /// To this handler, whatever became of it there; may be given more than once. Without: to those with whom it ended undone
    #[arg(long = "handler", value_name = "NAME")]
    handlers: Vec<String>,
    /// Of many: ends when all are handed over, or after this time [without a time: 30s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span, conflicts_with_all = ["id", "dry_run"])]
    wait: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { meant, handlers, wait, node } = self;
        let mut to = Map::new();
        if !handlers.is_empty() {
            to.insert("handlers".to_owned(), json!(handlers));
        }
        match meant.which("event")? {
            Which::One(id) => One { id, node }.ask(ALL, async |node, path| one(node, path, to).await),
            Which::Many(mut body) => {
                body.extend(to);
                node.run(async |node| job::begin(node, &format!("{ALL}/replay"), body, wait).await)
            }
        }
    }
}

async fn one(node: &Asked, path: &str, to: Map<String, Value>) -> Result<(), Failure> {
    let made = node.post(&format!("{path}/replay"), &to.into()).await?;
    if node.json() {
        show_json(&made);
        return Ok(());
    }
    let list = |field: &str| made.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    show_list(&[("DELIVERY", "/id"), ("HANDLER", "/handler")], list("deliveries"));
    for handler in list("under_way") {
        show_line(&format!("{} is owed it already", text(handler, "")));
    }
    Ok(())
}
