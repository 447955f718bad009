//! A running node, as the commands that speak to one reach it: over its HTTP API.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use awc::error::SendRequestError;
use awc::http::{Method, StatusCode};
use awc::{Client, Connector};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::Failure;
use crate::slack::tls::client_config;

const TOKEN: &str = "TAUTLINE_ADMIN_TOKEN";
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 8 << 20;

/// Which node is asked, and how its answer is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeArgs {
    /// The node's address; the token is taken from the environment
    #[arg(long, value_name = "URL", env = "TAUTLINE_NODE", default_value = "http://127.0.0.1:8080")]
    node: Url,
    /// One more certificate authority to trust, a PEM file
    #[arg(long, value_name = "FILE", env = "TAUTLINE_EXTRA_CA_FILE")]
    ca: Option<PathBuf>,
    /// Why, for the node's audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// JSON as the node answers it, not a table
    #[arg(long)]
    pub(super) json: bool,
}

/// A node that can be asked.
pub(super) struct Asked {
    client: Client,
    args: NodeArgs,
    token: SecretString,
}

impl NodeArgs {
    /// Runs what asks a node.
    pub(super) fn run<T>(self, ask: impl AsyncFnOnce(&Asked) -> Result<T, Failure>) -> Result<T, Failure> {
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let Some(token) = token else {
            return Err(Failure::Setup(format!("set {TOKEN} to a token of the node at {}", self.node)));
        };
        let tls = client_config(self.ca.as_deref()).map_err(Failure::setup)?;
        actix_rt::System::new().block_on(async {
            let connector = Connector::new().rustls_0_23(tls);
            let client =
                Client::builder().connector(connector).timeout(PATIENCE).disable_redirects().finish();
            ask(&Asked { client, args: self, token: token.into() }).await
        })
    }
}

impl Asked {
    /// Are answers shown as they are?
    pub(super) fn json(&self) -> bool {
        self.args.json
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// All pages of a list.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        let mut next = Some(format!("{path}?limit=200"));
        while let Some(page) = next {
            let mut answer = self.get(&page).await?;
            match answer.get_mut("data").map(Value::take) {
                Some(Value::Array(data)) => all.extend(data),
                _ => return Err(Failure::Broken("the node's answer is no list".into())),
            }
            let cursor = answer.get("next_cursor").and_then(Value::as_str);
            next = cursor.map(|cursor| format!("{path}?limit=200&cursor={cursor}"));
        }
        Ok(all)
    }

    /// Asks; null where the answer has no body. A `POST` whose answer was lost is sent once more, and done once.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = self.args.node.join(path).map_err(Failure::setup)?;
        let key = format!("{:032x}", rand::random::<u128>());
        let send = async || {
            let mut request = self
                .client
                .request(method.clone(), url.as_str())
                .bearer_auth(self.token.expose_secret())
                .insert_header(("idempotency-key", key.as_str()));
            if let Some(reason) = &self.args.reason {
                request = request.insert_header(("x-reason", reason.as_str()));
            }
            match body {
                Some(body) => request.send_json(body).await,
                None => request.send().await,
            }
        };
        let mut answer = send().await;
        if method == Method::POST && matches!(answer, Err(SendRequestError::Response(_))) {
            answer = send().await;
        }
        let mut answer = answer.map_err(|error| {
            Failure::Broken(format!("the node at {} cannot be asked: {error}", self.args.node))
        })?;
        let status = answer.status();
        let bytes = answer.body().limit(MAX_ANSWER).await;
        let bytes =
            bytes.map_err(|error| Failure::Broken(format!("the node's answer broke off: {error}")))?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::Broken(format!(
                "what answers at {} is no Tautline node (status {status})",
                self.args.node
            ))
        })?;
        if status.is_success() { Ok(value) } else { Err(refusal(status, &value)) }
    }
}

/// What the node says no to: the exit code tells which kind of no.
fn refusal(status: StatusCode, problem: &Value) -> Failure {
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("the node gives no reason");
    let id = problem.get("request_id").and_then(Value::as_str).unwrap_or("?");
    let told = plain(&format!("{detail} (request {id})"));
    match status {
        StatusCode::NOT_FOUND => Failure::Missing(told),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Failure::Broken(told),
        status if status.is_client_error() => Failure::Setup(told),
        _ => Failure::Broken(told),
    }
}

/// The text of a field, as a person reads it.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
    }
}

/// What comes from elsewhere must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Shows JSON as it is.
#[expect(clippy::print_stdout, reason = "a command speaks to its user")]
pub(super) fn show_json(value: &Value) {
    println!("{value:#}");
}

/// Shows rows below their headings, each column as wide as it must be.
#[expect(clippy::print_stdout, reason = "a command speaks to its user")]
pub(super) fn show_table(headings: &[&str], rows: &[Vec<String>]) {
    print!("{}", table(headings, rows));
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([heading.chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = headings.iter().enumerate().map(|(at, heading)| width(at, heading)).collect();
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let mut text = String::new();
    for row in [&headings].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _written = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_must_be_and_ends_no_line_with_blanks() {
        let rows = vec![vec!["acme".to_owned(), "ready".to_owned()], vec!["é".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["ID", "STATE"], &rows), "ID    STATE\nacme  ready\né     -\n");
    }

    #[test]
    fn what_a_node_says_cannot_steer_the_terminal() {
        assert_eq!(text(&json!({"a": "x\u{1b}[2Jy"}), "/a"), "x?[2Jy");
        assert_eq!(text(&json!({"a": null}), "/a"), "-");
        assert_eq!(text(&json!({"a": {"b": 3}}), "/a/b"), "3");
    }
}
