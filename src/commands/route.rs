//! `tautline route`: which handlers get which events.

use awc::http::{Method, StatusCode};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Asked, NodeArgs, Question};
use super::one::place;
use super::table::{Fields, show_json, show_line, show_table, text};

const ALL: &str = "/api/v1/routes";

const FIELDS: Fields<'_> = &[
    ("name", "/id"),
    ("handler", "/handler"),
    ("handler is here", "/handler_is_here"),
    ("kinds", "/match/kinds"),
    ("types", "/match/types"),
    ("commands", "/match/commands"),
    ("callback ids", "/match/callback_ids"),
    ("action ids", "/match/action_ids"),
    ("workspaces", "/match/workspaces"),
    ("labels", "/match/labels"),
    ("ack", "/ack"),
    ("enabled", "/enabled"),
    ("created", "/created_at"),
    ("updated", "/updated_at"),
];

const HELP: &str = "\
As long as there is no route, every handler gets every event. With the first, an event goes to those alone that a route gives it to: what \
no route matches is acked and kept, and handed to nobody. A route that is off gives nobody anything, and is a route all the same.

A command to one handler, and everything, that command too, to another:
  tautline route set deploys --handler deployer --command /deploy
  tautline route set everything --handler log
What a handler missed meanwhile can be handed over later:
  tautline event replay --handler log --since 2h --dry-run";

/// Which handlers of a running node get which events
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Route {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists all
    List {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Shows one
    Show(One),
    /// Creates or replaces one: what is not said is as in a new one
    Set(Box<Set>),
    /// Removes one; without any, every handler gets every event
    Remove(One),
}

#[derive(Debug, Args)]
struct One {
    /// Its name
    name: String,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
struct Set {
    /// Its name
    name: String,
    /// Who gets what matches
    #[arg(long)]
    handler: String,
    /// Only this kind; this and what follows may each be given more than once
    #[arg(long = "kind")]
    kinds: Vec<Kind>,
    /// Only this type, like message or app_*
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only this slash command, like /deploy
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
    /// Only interactions with this callback id
    #[arg(long = "callback-id", value_name = "ID")]
    callback_ids: Vec<String>,
    /// Only interactions with this action id
    #[arg(long = "action-id", value_name = "ID")]
    action_ids: Vec<String>,
    /// Only of this workspace
    #[arg(long = "workspace", value_name = "ID")]
    workspaces: Vec<String>,
    /// Only of workspaces with this label, like tenant:42
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// What the ack of such an event means; without it, what the node's setting says
    #[arg(long)]
    ack: Option<Ack>,
    /// Keep it without giving anybody anything by it
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
enum Kind {
    /// Of the Events API
    EventsApi,
    /// Clicks, submitted views, shortcuts
    Interactive,
    /// Slash commands
    SlashCommands,
    /// Of a type that this version does not know
    Unknown,
}

#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Ack {
    /// It is in memory
    Received,
    /// It is on disk
    Stored,
    /// It is on disk, and the ack carries the handler's answer
    Answered,
}

impl Route {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.run(list),
            Command::Show(One { name, node }) => node.run(async |node| {
                node.show_one(FIELDS, &node.get(&place(ALL, &name)?).await?);
                Ok(())
            }),
            Command::Set(set) => set.run(),
            Command::Remove(One { name, node }) => {
                node.run(async |node| node.delete(&place(ALL, &name)?).await)
            }
        }
    }
}

impl Set {
    fn run(self) -> Result<(), Failure> {
        let body = json!({
            "handler": self.handler,
            "match": {
                "kinds": self.kinds,
                "types": self.types,
                "commands": self.commands,
                "callback_ids": self.callback_ids,
                "action_ids": self.action_ids,
                "workspaces": self.workspaces,
                "labels": self.labels,
            },
            "ack": self.ack,
            "enabled": !self.off,
        });
        self.node.run(async |node| {
            let path = place(ALL, &self.name)?;
            let put = node.ask(Question::new(Method::PUT, &path).json(&body)).await?;
            if node.json() {
                show_json(&put.body);
            } else {
                let what = if put.status == StatusCode::CREATED { "is made" } else { "is in force as asked" };
                show_line(&format!("{} {what}", self.name));
            }
            Ok(())
        })
    }
}

async fn list(node: &Asked) -> Result<(), Failure> {
    let routes = node.short_list(ALL).await?;
    if node.json() {
        show_json(&Value::Array(routes));
        return Ok(());
    }
    let headings = ["NAME", "HANDLER", "MATCH", "ACK", "ENABLED"];
    let row = |route: &Value| {
        vec![text(route, "/id"), handler(route), matches(route), text(route, "/ack"), text(route, "/enabled")]
    };
    show_table(&headings, &routes.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn handler(route: &Value) -> String {
    let name = text(route, "/handler");
    if route.get("handler_is_here") == Some(&Value::Bool(false)) {
        format!("{name} (not here)")
    } else {
        name
    }
}

/// All that it says, on one line.
fn matches(route: &Value) -> String {
    let fields = route.get("match").and_then(Value::as_object);
    let said = fields.into_iter().flatten().filter_map(|(field, values)| {
        let values: Vec<_> = values.as_array()?.iter().map(|value| text(value, "")).collect();
        (!values.is_empty()).then(|| format!("{field}={}", values.join(",")))
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() { "everything".to_owned() } else { said.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_is_about_stands_on_one_line() {
        let route = json!({"match": {"kinds": [], "types": ["message", "app_*"], "labels": ["tier:gold"]}});
        assert_eq!(matches(&route), "labels=tier:gold types=message,app_*");
        assert_eq!(matches(&json!({"match": {"kinds": []}})), "everything");
    }
}
