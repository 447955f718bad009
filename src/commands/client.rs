//! A running node, as the commands that speak to one reach it: over its HTTP API.

mod question;

use std::path::PathBuf;

use awc::error::SendRequestError;
use awc::http::{Method, StatusCode};
use awc::{Client, Connector};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

pub(super) use self::question::Question;
use self::question::{Body, PATIENCE};
use super::Failure;
use super::table::{Fields, plain, show_fields, show_json, show_list};
use crate::slack::tls::client_config;

const TOKEN: &str = "TAUTLINE_ADMIN_TOKEN";
const MAX_ANSWER: usize = 8 << 20;
/// The largest page of a list that a node gives.
const PAGE: usize = 200;

/// Which node is asked, and how its answer is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeArgs {
    #[arg(
        long,
        value_name = "URL",
        env = "TAUTLINE_NODE",
        default_value = "http://127.0.0.1:8080",
        help = "The node's address; a token of it is taken from TAUTLINE_ADMIN_TOKEN"
    )]
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

/// What a node says when it does as asked.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Null where there is no body.
    pub(super) body: Value,
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

    /// Shows a list that has one page alone.
    pub(super) fn show_all(self, path: &str, columns: Fields<'_>) -> Result<(), Failure> {
        self.run(async |node| {
            node.show_list(columns, node.short_list(path).await?);
            Ok(())
        })
    }
}

impl Asked {
    /// Are answers shown as they are?
    pub(super) const fn json(&self) -> bool {
        self.args.json
    }

    /// Shows a list, a value a row.
    pub(super) fn show_list(&self, columns: Fields<'_>, values: Vec<Value>) {
        if self.json() {
            show_json(&Value::Array(values));
        } else {
            show_list(columns, &values);
        }
    }

    /// Shows one value, a field a row.
    pub(super) fn show_one(&self, fields: Fields<'_>, value: &Value) {
        if self.json() {
            show_json(value);
        } else {
            show_fields(fields, value);
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.ask(Question::new(Method::GET, path)).await?.body)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        Ok(self.ask(Question::new(Method::POST, path).json(body)).await?.body)
    }

    /// A `POST` that says all by its path.
    pub(super) async fn act(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.ask(Question::new(Method::POST, path)).await?.body)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.ask(Question::new(Method::DELETE, path)).await.map(drop)
    }

    /// A list that has one page alone.
    pub(super) async fn short_list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        data(&mut self.get(path).await?)
    }

    /// A list from its first page on: all of it, or as many as are wanted.
    pub(super) async fn list(
        &self,
        path: &str,
        query: &[(&'static str, String)],
        most: Option<usize>,
    ) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let wanted = most.map_or(PAGE, |most| most.saturating_sub(all.len()).min(PAGE));
            if wanted == 0 {
                return Ok(all);
            }
            let page = [("limit", wanted.to_string())];
            let question = Question::new(Method::GET, path).query(query).query(&page);
            let question = question.query(cursor.take().map(|cursor| ("cursor", cursor)).as_slice());
            let mut answer = self.ask(question).await?.body;
            all.extend(data(&mut answer)?);
            match answer.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(all),
            }
        }
    }

    /// Asks. A `POST` whose answer was lost is sent once more, and done once.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, Failure> {
        let mut url = self.args.node.join(question.path).map_err(Failure::setup)?;
        if !question.query.is_empty() {
            url.set_query(Some(&Serializer::new(String::new()).extend_pairs(&question.query).finish()));
        }
        let key = format!("{:032x}", rand::random::<u128>());
        let mut answer = self.send(&question, &url, &key).await;
        if question.method == Method::POST && matches!(answer, Err(SendRequestError::Response(_))) {
            answer = self.send(&question, &url, &key).await;
        }
        let mut answer = answer.map_err(|error| {
            Failure::Broken(format!("the node at {} cannot be asked: {error}", self.args.node))
        })?;
        let status = answer.status();
        let bytes = answer.body().limit(MAX_ANSWER).await;
        let bytes =
            bytes.map_err(|error| Failure::Broken(format!("the node's answer broke off: {error}")))?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Answer { status, body: Value::Null });
        }
        let body: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::Broken(format!(
                "what answers at {} is no Tautline node (status {status})",
                self.args.node
            ))
        })?;
        if status.is_success() { Ok(Answer { status, body }) } else { Err(refusal(status, &body)) }
    }

    async fn send(
        &self,
        question: &Question<'_>,
        url: &Url,
        key: &str,
    ) -> Result<
        awc::ClientResponse<impl futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>>>,
        SendRequestError,
    > {
        let mut request = self
            .client
            .request(question.method.clone(), url.as_str())
            .timeout(question.within)
            .bearer_auth(self.token.expose_secret())
            .insert_header(("idempotency-key", key));
        if question.is_new {
            request = request.insert_header(("if-none-match", "*"));
        }
        if let Some(reason) = &self.args.reason {
            request = request.insert_header(("x-reason", reason.as_str()));
        }
        match &question.body {
            Body::None => request.send().await,
            Body::Json(body) => request.send_json(body).await,
            Body::Bytes(kind, bytes) => {
                request.insert_header(("content-type", *kind)).send_body(bytes.clone()).await
            }
        }
    }
}

fn data(answer: &mut Value) -> Result<Vec<Value>, Failure> {
    match answer.get_mut("data").map(Value::take) {
        Some(Value::Array(data)) => Ok(data),
        _ => Err(Failure::Broken("the node's answer is no list".into())),
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

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> Result<&str, Failure> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let plain = plain && !text.is_empty() && text != "." && text != "..";
    plain.then_some(text).ok_or_else(|| Failure::Setup(format!("{text:?} is no id")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        assert!(segment("acme.inc-1").is_ok());
        for text in ["", ".", "..", "a/b", "a?b", "a%2fb"] {
            assert!(segment(text).is_err(), "{text}");
        }
    }
}
