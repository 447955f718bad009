//! `tautline event replay`: one by its id, or all that the filters mean, as a job of the node's.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::client::{NodeArgs, segment};
use super::super::job;
use super::super::table::{show_json, show_line, show_list, text};
use super::{ALL, Filter};
use crate::clock::span;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Its id
    #[arg(required_unless_present_any = MANY, conflicts_with_all = MANY)]
    id: Option<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// To this handler, whatever became of it there; may be given more than once. Without: to those with whom it ended undone
    #[arg(long = "handler", value_name = "NAME")]
    handlers: Vec<String>,
    /// Only counts what the filters mean
    #[arg(long, conflicts_with_all = ["id", "wait"])]
    dry_run: bool,
    /// Of many: ends when all are handed over, or after this time
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span, conflicts_with = "id")]
    wait: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

const MANY: [&str; 7] = ["all", "workspace", "app", "kind", "kind_type", "since", "until"];

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { id, all, filter, handlers, dry_run, wait, node } = self;
        if all && !filter.query().is_empty() {
            return Err(Failure::Setup("--all means every event, so no filter goes with it".into()));
        }
        let mut body = json!({});
        if !handlers.is_empty() {
            body = json!({ "handlers": handlers });
        }
        if let Some(id) = id {
            return node.run(async |node| {
                let made = node.post(&format!("{ALL}/{}/replay", segment(&id)?), &body).await?;
                if node.json() {
                    show_json(&made);
                    return Ok(());
                }
                let list =
                    |field: &str| made.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
                show_list(&[("DELIVERY", "/id"), ("HANDLER", "/handler")], &list("deliveries"));
                for handler in list("under_way") {
                    show_line(&format!("{} is owed it already", text(&handler, "")));
                }
                Ok(())
            });
        }
        if let Some(body) = body.as_object_mut() {
            body.insert("filter".to_owned(), filter.body());
            body.insert("dry_run".to_owned(), json!(dry_run));
        }
        node.run(async |node| {
            let answer = node.post(&format!("{ALL}/replay"), &body).await?;
            if !dry_run {
                return job::follow(node, answer, wait).await;
            }
            job::tell_count(node, &answer);
            Ok(())
        })
    }
}
