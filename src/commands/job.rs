//! `tautline job`: work of a node's that goes on after its answer.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use super::Failure;
use super::client::{Asked, NodeArgs};
use super::one::{One, place};
use super::table::{Fields, show_json, show_line, show_list, text};

const ALL: &str = "/api/v1/jobs";
/// Between two looks at a job that is waited for.
const LOOK: Duration = Duration::from_millis(250);

const COLUMNS: Fields<'_> = &[
    ("ID", "/id"),
    ("KIND", "/kind"),
    ("STATE", "/state"),
    ("DONE", "/done"),
    ("TOTAL", "/total"),
    ("FAILED", "/failed"),
    ("CREATED", "/created_at"),
];
const FIELDS: Fields<'_> = &[
    ("id", "/id"),
    ("kind", "/kind"),
    ("state", "/state"),
    ("total", "/total"),
    ("done", "/done"),
    ("failed", "/failed"),
    ("created", "/created_at"),
    ("finished", "/finished_at"),
];

/// Jobs of a running node; one ends with the process that began it, and where it was it can be begun again
#[derive(Debug, Args)]
pub(super) struct Job {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists those that run and the latest that have ended
    List {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Shows one
    Show(One),
    /// Begins nothing more of it; what is done is done
    Cancel(One),
}

impl Job {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.show_all(ALL, COLUMNS),
            Command::Show(one) => one.ask(ALL, async |node, path| {
                show(node, &node.get(path).await?);
                Ok(())
            }),
            Command::Cancel(one) => one.ask(ALL, async |node, path| {
                show(node, &node.act(&format!("{path}/cancel")).await?);
                Ok(())
            }),
        }
    }
}

/// Does to many what the body says, as a job whose end may be waited for; of a dry run, shows how many deliveries that would be.
pub(super) async fn begin(
    node: &Asked,
    path: &str,
    body: Map<String, Value>,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    let answer = node.post(path, &body.into()).await?;
    if answer.get("dry_run").is_none() {
        return follow(node, answer, wait).await;
    }
    if node.json() {
        show_json(&answer);
        return Ok(());
    }
    let more = if text(&answer, "/complete") == "true" { "" } else { " and more, further back" };
    let (action, matched) = (text(&answer, "/action"), text(&answer, "/matched"));
    show_line(&format!("{action} would be done to {matched} deliveries{more}"));
    Ok(())
}

/// Shows a job that has begun; where its end is waited for, as it is then.
pub(super) async fn follow(node: &Asked, begun: Value, wait: Option<Duration>) -> Result<(), Failure> {
    let Some(wait) = wait else {
        show(node, &begun);
        return Ok(());
    };
    let path = place(ALL, &text(&begun, "/id"))?;
    let until = Instant::now() + wait;
    let mut job = begun;
    while is_running(&job) && Instant::now() < until {
        sleep_until(until.min(Instant::now() + LOOK)).await;
        job = node.get(&path).await?;
    }
    show(node, &job);
    let of = |field: &str| text(&job, field);
    if is_running(&job) {
        let told =
            format!("{} has done {} of {} after {wait:?}, and goes on", of("/id"), of("/done"), of("/total"));
        return Err(Failure::Unmet(told));
    }
    if of("/state") == "done" && of("/failed") == "0" {
        return Ok(());
    }
    Err(Failure::Unmet(format!(
        "{} is {}, {} of {} failed",
        of("/id"),
        of("/state"),
        of("/failed"),
        of("/total")
    )))
}

fn is_running(job: &Value) -> bool {
    matches!(text(job, "/state").as_str(), "running" | "cancelling")
}

fn show(node: &Asked, job: &Value) {
    node.show_one(FIELDS, job);
    let failures = job.get("failures").and_then(Value::as_array).filter(|failures| !failures.is_empty());
    if let Some(failures) = failures.filter(|_| !node.json()) {
        show_list(&[("WORKSPACE", "/workspace"), ("CODE", "/code"), ("WHAT HAPPENED", "/message")], failures);
    }
}
