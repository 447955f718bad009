//! `tautline webhook`: who is told of changes.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::{Asked, NodeArgs};
use super::one::One;
use super::table::{Fields, show_json, show_line, text};

const ALL: &str = "/api/v1/webhooks";

const COLUMNS: Fields<'_> = &[
    ("ID", "/id"),
    ("URL", "/url"),
    ("LABEL", "/label"),
    ("PAUSED", "/paused"),
    ("WAITING", "/waiting"),
    ("GIVEN UP", "/given_up"),
    ("LAST SUCCESS", "/last_success_at"),
    ("LAST ERROR", "/last_error"),
];

/// Webhooks of a running node
#[derive(Debug, Args)]
pub(super) struct Webhook {
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
    /// Makes one; its secret alone is printed on stdout, and cannot be had again
    Create(Create),
    /// Posts a notice webhook.test at once and tells what became of it
    Test(One),
    /// Removes one with all that waits for it
    Delete(One),
}

#[derive(Debug, Args)]
struct Create {
    /// Where notices are posted
    url: String,
    /// Only this topic, like workspace.failed; may be given more than once
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only of workspaces with this label, like tenant:42
    #[arg(long)]
    label: Option<String>,
    /// Notices wait until it is taken out of this state
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    node: NodeArgs,
}

impl Webhook {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { node } => node.show_all(ALL, COLUMNS),
            Command::Create(create) => create.run(),
            Command::Test(one) => one.ask(ALL, test),
            Command::Delete(one) => one.remove(ALL),
        }
    }
}

impl Create {
    fn run(self) -> Result<(), Failure> {
        let mut body =
            Map::from_iter([("url".to_owned(), json!(self.url)), ("paused".to_owned(), json!(self.paused))]);
        if !self.topics.is_empty() {
            body.insert("topics".to_owned(), json!(self.topics));
        }
        body.extend(self.label.map(|label| ("label".to_owned(), json!(label))));
        let body = Value::Object(body);
        self.node.run(async |node| {
            let made = node.post(ALL, &body).await?;
            if node.json() {
                show_json(&made);
                return Ok(());
            }
            tell(&format!("{}, its secret is shown this once:", text(&made, "/id")));
            show_line(&text(&made, "/secret"));
            Ok(())
        })
    }
}

#[expect(clippy::print_stderr, reason = "stdout has the secret alone")]
fn tell(line: &str) {
    eprintln!("{line}");
}

async fn test(node: &Asked, path: &str) -> Result<(), Failure> {
    let told = node.act(&format!("{path}/test")).await?;
    let id = path.rsplit('/').next().unwrap_or_default();
    if node.json() {
        show_json(&told);
    }
    if told.get("taken") != Some(&json!(true)) {
        return Err(Failure::Unmet(format!("{id} does not take notices: {}", text(&told, "/error"))));
    }
    if !node.json() {
        show_line(&format!("{id} took it with status {}", text(&told, "/status")));
    }
    Ok(())
}
