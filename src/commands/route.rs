//! `tautline route`: which handlers get which events.

use awc::http::{Method, StatusCode};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::client::{Asked, NodeArgs, Question, segment};
use super::table::{show_fields, show_json, show_line, show_table, text};

const ALL: &str = "/api/v1/routes";

/// Which handlers of a running node get which events
#[derive(Debug, Args)]
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

#[derive(Clone, Copy, Debug, ValueEnum)]
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

#[derive(Clone, Copy, Debug, ValueEnum)]
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
            Command::Show(One { name, node }) => node.run(async |node| show(node, &name).await),
            Command::Set(set) => set.run(),
            Command::Remove(One { name, node }) => node.run(async |node| node.delete(&path(&name)?).await),
        }
    }
}

impl Set {
    fn run(self) -> Result<(), Failure> {
        let ack = self.ack.map(|ack| match ack {
            Ack::Received => "received",
            Ack::Stored => "stored",
            Ack::Answered => "answered",
        });
        let kinds = self.kinds.iter().map(|kind| match kind {
            Kind::EventsApi => "events_api",
            Kind::Interactive => "interactive",
            Kind::SlashCommands => "slash_commands",
            Kind::Unknown => "unknown",
        });
        let body = json!({
            "handler": self.handler,
            "match": {
                "kinds": kinds.collect::<Vec<_>>(),
                "types": self.types,
                "commands": self.commands,
                "callback_ids": self.callback_ids,
                "action_ids": self.action_ids,
                "workspaces": self.workspaces,
                "labels": self.labels,
            },
            "ack": ack,
            "enabled": !self.off,
        });
        self.node.run(async |node| {
            let path = path(&self.name)?;
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

fn path(name: &str) -> Result<String, Failure> {
    Ok(format!("{ALL}/{}", segment(name)?))
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

async fn show(node: &Asked, name: &str) -> Result<(), Failure> {
    let route = node.get(&path(name)?).await?;
    if node.json() {
        show_json(&route);
        return Ok(());
    }
    let fields = [
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
    show_fields(&fields, &route);
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
