//! `tautline job`: work of a node's that goes on after its answer.

use std::time::Duration;

use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::Failure;
use super::client::{Asked, NodeArgs, Question, segment};
use super::table::{show_fields, show_json, show_line, show_list, text};

const ALL: &str = "/api/v1/jobs";
/// Between two looks at a job that is waited for.
const LOOK: Duration = Duration::from_millis(250);

/// Jobs of a running node
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

#[derive(Debug, Args)]
struct One {
    /// Its id
    id: String,
    #[command(flatten)]
    node: NodeArgs,
}

impl Job {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.run(list),
            Command::Show(One { id, node }) => node.run(async |node| {
                let job = node.get(&format!("{ALL}/{}", segment(&id)?)).await?;
                show(node, &job);
                Ok(())
            }),
            Command::Cancel(One { id, node }) => node.run(async |node| {
                let path = format!("{ALL}/{}/cancel", segment(&id)?);
                let job = node.ask(Question::new(Method::POST, &path)).await?.body;
                show(node, &job);
                Ok(())
            }),
        }
    }
}

async fn list(node: &Asked) -> Result<(), Failure> {
    let jobs = node.short_list(ALL).await?;
    if node.json() {
        show_json(&Value::Array(jobs));
        return Ok(());
    }
    let columns = [
        ("ID", "/id"),
        ("KIND", "/kind"),
        ("STATE", "/state"),
        ("DONE", "/done"),
        ("TOTAL", "/total"),
        ("FAILED", "/failed"),
        ("CREATED", "/created_at"),
    ];
    show_list(&columns, &jobs);
    Ok(())
}

/// Shows a job that has begun; where its end is waited for, as it is then.
pub(super) async fn follow(node: &Asked, begun: Value, wait: Option<Duration>) -> Result<(), Failure> {
    let Some(wait) = wait else {
        show(node, &begun);
        return Ok(());
    };
    let path = format!("{ALL}/{}", segment(&text(&begun, "/id"))?);
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

/// Shows how many deliveries a dry run has counted.
pub(super) fn tell_count(node: &Asked, counted: &Value) {
    if node.json() {
        show_json(counted);
        return;
    }
    let more = if text(counted, "/complete") == "true" { "" } else { " and more, further back" };
    show_line(&format!(
        "{} would be done to {} deliveries{more}",
        text(counted, "/action"),
        text(counted, "/matched")
    ));
}

fn is_running(job: &Value) -> bool {
    matches!(text(job, "/state").as_str(), "running" | "cancelling")
}

fn show(node: &Asked, job: &Value) {
    if node.json() {
        show_json(job);
        return;
    }
    let fields = [
        ("id", "/id"),
        ("kind", "/kind"),
        ("state", "/state"),
        ("total", "/total"),
        ("done", "/done"),
        ("failed", "/failed"),
        ("created", "/created_at"),
        ("finished", "/finished_at"),
    ];
    show_fields(&fields, job);
    let failures = job.get("failures").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !failures.is_empty() {
        show_list(&[("WORKSPACE", "/workspace"), ("CODE", "/code"), ("WHAT HAPPENED", "/message")], failures);
    }
}
