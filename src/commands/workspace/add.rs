//! `tautline workspace add`, and the tokens that it shares with `check`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use awc::http::Method;
use clap::Args;
use serde_json::{Map, Value, json};

use super::super::Failure;
use super::super::client::{NodeArgs, Question};
use super::super::one::place;
use super::steer::settled;
use super::{ALL, FIELDS};
use crate::clock::span;
use crate::store::Label;

#[derive(Debug, Args)]
pub(super) struct Add {
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
    /// Ends when it is online, or after this time
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = span)]
    wait: Option<Duration>,
    #[command(flatten)]
    tokens: Tokens,
    #[command(flatten)]
    node: NodeArgs,
}

/// Where Slack's tokens are.
#[derive(Debug, Args)]
pub(super) struct Tokens {
    /// A file with the app-level token; - for stdin. Without it the token comes from the environment
    #[arg(long, value_name = "FILE")]
    app_token_file: Option<PathBuf>,
    /// A file with the bot token; - for stdin. Without it the token comes from the environment
    #[arg(long, value_name = "FILE")]
    bot_token_file: Option<PathBuf>,
}

impl Add {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut body = self.tokens.read()?;
        let mut labels = Map::new();
        for text in &self.labels {
            let label = Label::parse(text)
                .ok_or_else(|| Failure::Setup(format!("{text:?} is no label; one is like tenant:42")))?;
            labels.insert(label.key, label.value.into());
        }
        body.insert("labels".to_owned(), labels.into());
        let desired = if self.disconnected { "disconnected" } else { "connected" };
        body.insert("desired".to_owned(), json!(desired));
        body.extend(self.name.map(|name| ("name".to_owned(), name.into())));
        body.extend(self.links.map(|links| ("links".to_owned(), links.into())));
        let (id, wait, body) = (self.id, self.wait, Value::Object(body));
        self.node.run(async |node| {
            let path = place(ALL, &id)?;
            let question = Question::new(Method::PUT, &path).json(&body).only_new().wait(wait);
            let answer = node.ask(question).await?;
            node.show_one(FIELDS, &answer.body);
            settled(answer.status, &answer.body, wait)
        })
    }
}

impl Tokens {
    /// As the body of a request has them.
    pub(super) fn read(&self) -> Result<Map<String, Value>, Failure> {
        let Some(app_token) = secret(self.app_token_file.as_deref(), "SLACK_APP_TOKEN")? else {
            let problem = "a workspace needs an app-level token: --app-token-file, or SLACK_APP_TOKEN";
            return Err(Failure::Setup(problem.into()));
        };
        let bot_token = secret(self.bot_token_file.as_deref(), "SLACK_BOT_TOKEN")?;
        let mut fields = Map::from_iter([("app_token".to_owned(), app_token.into())]);
        fields.extend(bot_token.map(|token| ("bot_token".to_owned(), token.into())));
        Ok(fields)
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
