//! `tautline workspace connect | disconnect | reconnect | pause | resume`: one workspace by its id, or all that the filters mean, as a job of the node's.

use std::time::Duration;

use awc::http::{Method, StatusCode};
use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::client::{Asked, NodeArgs, Question};
use super::super::job;
use super::super::table::{show_json, show_line, text};
use super::filter::Filter;
use super::{ALL, path, show};
use crate::clock::span;

#[derive(Debug, Args)]
pub(super) struct Steer {
    /// Its id
    #[arg(required_unless_present_any = MANY, conflicts_with_all = MANY)]
    id: Option<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only counts whom the filters mean
    #[arg(long, conflicts_with_all = ["id", "wait"])]
    dry_run: bool,
    /// Ends when it is so, or after this time; of many, when the node has told all of them
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span)]
    wait: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

const MANY: [&str; 9] = ["all", "state", "health", "delivery", "warning", "label", "app", "team", "q"];

#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Connect,
    Disconnect,
    Reconnect,
    Pause,
    Resume,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Reconnect => "reconnect",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// Does a connection have to do it, so that there is something to wait for?
    const fn takes_time(self) -> bool {
        match self {
            Self::Connect | Self::Disconnect | Self::Reconnect => true,
            Self::Pause | Self::Resume => false,
        }
    }
}

impl Steer {
    pub(super) fn run(self, verb: Verb) -> Result<(), Failure> {
        if self.all && !self.filter.is_empty() {
            return Err(Failure::Setup("--all means every workspace, so no filter goes with it".into()));
        }
        let Self { id, all: _, filter, dry_run, wait, node } = self;
        match id {
            Some(id) => {
                let wait = wait.filter(|_| verb.takes_time());
                node.run(async |node| one(node, verb, &id, wait).await)
            }
            None => node.run(async |node| many(node, verb, &filter, dry_run, wait).await),
        }
    }
}

async fn one(node: &Asked, verb: Verb, id: &str, wait: Option<Duration>) -> Result<(), Failure> {
    let path = format!("{}/{}", path(id)?, verb.as_str());
    let answer = node.ask(Question::new(Method::POST, &path).wait(wait)).await?;
    show(node, &answer.body);
    settled(answer.status, &answer.body, wait)
}

/// Is it so, where that was waited for?
pub(super) fn settled(status: StatusCode, shown: &Value, wait: Option<Duration>) -> Result<(), Failure> {
    let Some(wait) = wait else { return Ok(()) };
    let of = |field: &str| text(shown, field);
    if of("/state") == "failed" && of("/desired") == "connected" {
        let told = format!("'{}' has failed: {} {}", of("/id"), of("/reason/message"), of("/reason/action"));
        return Err(Failure::Unmet(told));
    }
    if status == StatusCode::ACCEPTED {
        let told = format!("'{}' is {} after {wait:?}, and the node goes on", of("/id"), of("/state"));
        return Err(Failure::Unmet(told));
    }
    Ok(())
}

async fn many(
    node: &Asked,
    verb: Verb,
    filter: &Filter,
    dry_run: bool,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    let body = json!({"action": verb.as_str(), "filter": filter.body(), "dry_run": dry_run});
    let answer = node.post(&format!("{ALL}/actions"), &body).await?;
    if !dry_run {
        return job::follow(node, answer, wait).await;
    }
    if node.json() {
        show_json(&answer);
        return Ok(());
    }
    let sample = answer.get("sample").and_then(Value::as_array).into_iter().flatten();
    let sample: Vec<_> = sample.map(|id| text(id, "")).collect();
    let matched = text(&answer, "/matched");
    show_line(&format!("{} would be done to {matched} workspaces: {}", verb.as_str(), sample.join(", ")));
    Ok(())
}
