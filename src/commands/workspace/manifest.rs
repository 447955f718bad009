//! `tautline workspace manifest`: a Slack app for a new customer.

use awc::http::Method;
use clap::Args;
use serde_json::Value;

use super::super::Failure;
use super::super::client::{NodeArgs, Question};
use super::super::table::{show_json, show_line, text};

#[derive(Debug, Args)]
pub(super) struct Manifest {
    /// What the app is called, 35 characters at most
    #[arg(long)]
    name: Option<String>,
    /// A scope of the bot's; may be given more than once, as all of these
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// An event, like `app_mention`
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// A slash command, like /acme
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
    #[command(flatten)]
    node: NodeArgs,
}

impl Manifest {
    pub(super) fn run(self) -> Result<(), Failure> {
        let lists = [("scopes", self.scopes), ("events", self.events), ("commands", self.commands)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let mut query: Vec<_> = lists.map(|(name, list)| (name, list.join(","))).collect();
        query.extend(self.name.map(|name| ("name", name)));
        self.node.run(async |node| {
            let made = node.ask(Question::new(Method::GET, "/api/v1/manifest").query(&query)).await?.body;
            if node.json() {
                show_json(&made);
                return Ok(());
            }
            show_json(made.get("manifest").unwrap_or(&Value::Null));
            show_line(&format!("\nshare_link: {}\n", text(&made, "/share_link")));
            let steps = made.get("steps").and_then(Value::as_array).into_iter().flatten();
            for (number, step) in (1..).zip(steps) {
                show_line(&format!("{number}. {}", text(step, "")));
            }
            Ok(())
        })
    }
}
