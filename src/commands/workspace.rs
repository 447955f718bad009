//! `tautline workspace`: a node's workspaces, from the command line. No token stands on it: a process list shows that to everybody.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::{Asked, NodeArgs, show_json, show_table, text};
use super::token::segment;
use crate::store::Label;

/// Workspaces of a running node
#[derive(Debug, Args)]
pub(super) struct Workspace {
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
    /// Registers one; its tokens come from files or from the environment
    Add(Box<Add>),
    /// Wants it online, and tries again what has failed
    Connect(One),
    /// Wants it offline
    Disconnect(One),
    /// Removes it and erases its tokens
    Remove(One),
}

#[derive(Debug, Args)]
struct One {
    /// Its id
    id: String,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
struct Add {
    /// Its id
    id: String,
    /// What it is called on a screen
    #[arg(long)]
    name: Option<String>,
    /// A label, like tenant:42; may be given more than once
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Sockets, 1 to 9
    #[arg(long)]
    links: Option<u8>,
    /// Only registers it
    #[arg(long)]
    disconnected: bool,
    /// A file with the app-level token; - for stdin
    #[arg(long, value_name = "FILE")]
    app_token_file: Option<PathBuf>,
    /// A file with the bot token; - for stdin
    #[arg(long, value_name = "FILE")]
    bot_token_file: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

impl Workspace {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.run(list),
            Command::Show(One { id, node }) => node.run(async |node| {
                let shown = node.get(&path(&id)?).await?;
                show(node, &shown);
                Ok(())
            }),
            Command::Add(add) => add.run(),
            Command::Connect(one) => one.want("connected"),
            Command::Disconnect(one) => one.want("disconnected"),
            Command::Remove(One { id, node }) => {
                node.run(async |node| node.ask(Method::DELETE, &path(&id)?, None).await.map(drop))
            }
        }
    }
}

impl One {
    /// Asks for all as it is, but for this. An absent token is kept.
    fn want(self, desired: &str) -> Result<(), Failure> {
        let Self { id, node } = self;
        node.run(async |node| {
            let path = path(&id)?;
            let now = node.get(&path).await?;
            let mut body: Map<String, Value> = ["name", "labels", "links"]
                .into_iter()
                .filter_map(|field| Some((field.to_owned(), now.get(field)?.clone())))
                .collect();
            body.insert("desired".into(), desired.into());
            let shown = node.ask(Method::PUT, &path, Some(&Value::Object(body))).await?;
            show(node, &shown);
            Ok(())
        })
    }
}

impl Add {
    fn run(self) -> Result<(), Failure> {
        let app_token = secret(self.app_token_file.as_deref(), "SLACK_APP_TOKEN")?;
        let Some(app_token) = app_token else {
            let problem = "a workspace needs an app-level token: --app-token-file, or SLACK_APP_TOKEN";
            return Err(Failure::Setup(problem.into()));
        };
        let mut labels = Map::new();
        for text in &self.labels {
            let label = Label::parse(text)
                .ok_or_else(|| Failure::Setup(format!("{text:?} is no label; one is like tenant:42")))?;
            labels.insert(label.key, label.value.into());
        }
        let desired = if self.disconnected { "disconnected" } else { "connected" };
        let mut body = json!({"app_token": app_token, "labels": labels, "desired": desired});
        if let Value::Object(fields) = &mut body {
            let bot_token = secret(self.bot_token_file.as_deref(), "SLACK_BOT_TOKEN")?;
            fields.extend(bot_token.map(|token| ("bot_token".to_owned(), token.into())));
            fields.extend(self.name.map(|name| ("name".to_owned(), name.into())));
            fields.extend(self.links.map(|links| ("links".to_owned(), links.into())));
        }
        let id = self.id;
        self.node.run(async |node| {
            let path = path(&id)?;
            match node.get(&path).await {
                Ok(_) => return Err(Failure::Setup(format!("there is a workspace '{id}' already"))),
                Err(Failure::Missing(_)) => {}
                Err(other) => return Err(other),
            }
            let shown = node.ask(Method::PUT, &path, Some(&body)).await?;
            show(node, &shown);
            Ok(())
        })
    }
}

/// A token from its file, else from the environment.
fn secret(file: Option<&Path>, variable: &str) -> Result<Option<String>, Failure> {
    let Some(file) = file else {
        return Ok(std::env::var(variable).ok().filter(|text| !text.is_empty()));
    };
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = read.map_err(|error| Failure::Setup(format!("cannot read {}: {error}", file.display())))?;
    Ok(Some(text.trim().to_owned()))
}

fn path(id: &str) -> Result<String, Failure> {
    Ok(format!("/api/v1/workspaces/{}", segment(id)?))
}

async fn list(node: &Asked) -> Result<(), Failure> {
    let all = node.list("/api/v1/workspaces").await?;
    if node.json() {
        show_json(&Value::Array(all));
        return Ok(());
    }
    let columns = ["/id", "/state", "/health", "/since", "/reason/code", "/app_id", "/team_id"];
    let rows: Vec<_> =
        all.iter().map(|one| columns.iter().map(|column| text(one, column)).collect()).collect();
    show_table(&["ID", "STATE", "HEALTH", "SINCE", "REASON", "APP", "TEAM"], &rows);
    Ok(())
}

fn show(node: &Asked, shown: &Value) {
    if node.json() {
        show_json(shown);
        return;
    }
    let lines = [
        ("id", "/id"),
        ("name", "/name"),
        ("desired", "/desired"),
        ("state", "/state"),
        ("health", "/health"),
        ("since", "/since"),
        ("reason", "/reason/code"),
        ("what happened", "/reason/message"),
        ("what to do", "/reason/action"),
        ("app", "/app_id"),
        ("team", "/team_id"),
        ("labels", "/labels"),
        ("links", "/links"),
        ("events", "/counters/events"),
        ("last event", "/last_event_at"),
    ];
    let rows: Vec<_> =
        lines.iter().map(|(name, field)| vec![(*name).to_owned(), text(shown, field)]).collect();
    show_table(&["FIELD", "VALUE"], &rows);
}
