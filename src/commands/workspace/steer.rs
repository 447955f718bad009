//! `tautline workspace connect | disconnect | reconnect | pause | resume`: one workspace by its id, or all that the filters mean, as a job of the node's.

use std::time::Duration;

use awc::http::{Method, StatusCode};
use clap::Args;
use serde_json::{Map, Value};

use super::super::client::{Asked, NodeArgs, Question};
use super::super::filter::{Meant, Which};
use super::super::one::One;
use super::super::table::{show_json, show_line, text};
use super::super::{Failure, job};
use super::filter::Filter;
use super::{ALL, FIELDS};
use crate::clock::span;

#[derive(Debug, Args)]
pub(super) struct Steer {
    #[command(flatten)]
    meant: Meant<Filter>,
    /// Ends when it is so, or after this time [without a time: 30s]; of many, when the node has told all of them
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span, conflicts_with = "dry_run")]
    wait: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

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
        let Self { meant, wait, node } = self;
        match meant.which("workspace")? {
            Which::One(id) => {
                let wait = wait.filter(|_| verb.takes_time());
                One { id, node }.ask(ALL, async |node, path| one(node, verb, path, wait).await)
            }
            Which::Many(body) => node.run(async |node| many(node, verb, body, wait).await),
        }
    }
}

async fn one(node: &Asked, verb: Verb, path: &str, wait: Option<Duration>) -> Result<(), Failure> {
    let path = format!("{path}/{}", verb.as_str());
    let answer = node.ask(Question::new(Method::POST, &path).wait(wait)).await?;
    node.show_one(FIELDS, &answer.body);
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
    mut body: Map<String, Value>,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    body.insert("action".to_owned(), verb.as_str().into());
    let answer = node.post(&format!("{ALL}/actions"), &body.into()).await?;
    if answer.get("dry_run").is_none() {
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
