//! Slack's Web API, as far as a node calls it. Tokens travel in the header only; answers give codes, never what was sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::ParseError;
use awc::error::{ConnectError, SendRequestError};
use awc::http::StatusCode;
use awc::http::header::{self, HeaderMap};
use awc::{Client, Connector};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::machine::connection::OpenFailure;
use crate::protocol::api::{OpenReply, retry_after};
use crate::protocol::class::Class;
use crate::secret::{AppToken, BotToken, TicketUrl};
use crate::status::Code;

/// How long a call may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to get an address, body included.
const OPEN_WITHIN: Duration = Duration::from_secs(12);

/// The largest answer read.
const MAX_ANSWER: usize = 1 << 20;

/// Where Slack is and how it is reached. Shared by all threads.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The Web API's base, ending in a slash: `https://slack.com/api/`.
    pub api: Url,
    /// The one TLS configuration.
    pub tls: Arc<ClientConfig>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Slack says no, by this code.
    #[error("Slack answers {0}")]
    Refused(String),
    /// Slack limits the rate.
    #[error("Slack limits the rate; again in {} s", .0.as_secs())]
    RateLimited(Duration),
    /// An HTTP status that is neither 200 nor 429.
    #[error("Slack answers with HTTP status {0}")]
    Status(u16),
    /// No answer that could be read.
    #[error("Slack cannot be reached or its answer cannot be read")]
    Unreachable,
}

impl CallError {
    /// May the same call succeed later, and after which time at the earliest?
    pub const fn again_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(after) => Some(*after),
            Self::Unreachable | Self::Status(500..) => Some(Duration::ZERO),
            Self::Refused(_) | Self::Status(_) => None,
        }
    }
}

/// Who a bot token belongs to, by `auth.test`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// The team it is installed in.
    pub team_id: Option<String>,
    /// The organisation it is installed in.
    pub enterprise_id: Option<String>,
    /// The app it is of, where Slack says.
    pub app_id: Option<String>,
    /// Is it installed in the whole organisation?
    #[serde(default)]
    pub is_enterprise_install: bool,
}

/// A client of the Web API. Bound to its thread, as awc is; each arbiter has its own.
#[derive(Clone)]
pub struct WebApi {
    pub(super) client: Client,
    pub(super) base: Url,
}

impl WebApi {
    /// The client of the current thread, made at the first call.
    pub fn here(outside: &Arc<Outside>) -> Rc<Self> {
        thread_local! {
            static HERE: RefCell<Option<(Arc<Outside>, Rc<WebApi>)>> = const { RefCell::new(None) };
        }
        HERE.with_borrow_mut(|here| match here {
            Some((of, client)) if Arc::ptr_eq(of, outside) => Rc::clone(client),
            _ => {
                let client = Self::new(outside);
                *here = Some((Arc::clone(outside), Rc::clone(&client)));
                client
            }
        })
    }

    /// A client for the current thread. Its connection pool is its own: one is enough for all that live on a thread.
    pub fn new(outside: &Outside) -> Rc<Self> {
        let connector = Connector::new().rustls_0_23(Arc::clone(&outside.tls)).timeout(CALL_WITHIN);
        let client = Client::builder().connector(connector).timeout(CALL_WITHIN).disable_redirects().finish();
        Rc::new(Self { client, base: outside.api.clone() })
    }

    /// `apps.connections.open`: an address for one socket, good for one dial.
    pub async fn open(&self, token: &AppToken) -> Result<TicketUrl, OpenFailure> {
        // The client's own limit does not cover a body that trickles.
        tokio::time::timeout(OPEN_WITHIN, self.ask_for_address(token))
            .await
            .unwrap_or_else(|_| Err(transient(Code::OpenTimeout)))
    }

    async fn ask_for_address(&self, token: &AppToken) -> Result<TicketUrl, OpenFailure> {
        let request = self
            .client
            .post(self.address("apps.connections.open"))
            .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
            .bearer_auth(token.expose());
        let mut response = request.send().await.map_err(|error| transient(cause(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = Some(retry_after(retry_after_header(response.headers())));
                return Err(OpenFailure {
                    code: Code::Ratelimited,
                    class: Class::Transient,
                    retry_after: wait,
                });
            }
            _ => return Err(transient(Code::HttpError)),
        }
        let body = response.body().limit(MAX_ANSWER).await.map_err(|_| transient(Code::BadReply))?;
        match OpenReply::parse(&body) {
            OpenReply::Issued(url) => Ok(url),
            OpenReply::Refused { text, code, class } => {
                if code == Code::UnknownSlackError {
                    tracing::warn!(error = %text, "apps.connections.open answers with an error code this version does not know");
                }
                Err(OpenFailure { code, class, retry_after: None })
            }
            OpenReply::NotSlack => Err(transient(Code::BadReply)),
        }
    }

    /// `auth.test`: whose token it is.
    pub async fn auth_test(&self, token: &BotToken) -> Result<Identity, CallError> {
        self.call("auth.test", token, &json!({})).await
    }

    /// `auth.test`, and the scopes of the token; none where Slack does not say.
    pub async fn auth_test_and_scopes(
        &self,
        token: &BotToken,
    ) -> Result<(Identity, Option<Vec<String>>), CallError> {
        let (identity, headers) = self.call_for_headers("auth.test", token, &json!({})).await?;
        let scopes = headers.get("x-oauth-scopes").and_then(|value| value.to_str().ok()).map(|scopes| {
            scopes.split(',').map(str::trim).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
        });
        Ok((identity, scopes))
    }

    /// `chat.postMessage` as the workspace's bot.
    pub async fn post_message(
        &self,
        token: &BotToken,
        channel: &str,
        text: &str,
        thread_ts: Option<&str>,
    ) -> Result<(), CallError> {
        let mut body = json!({ "channel": channel, "text": text });
        if let (Some(thread_ts), Some(object)) = (thread_ts, body.as_object_mut()) {
            object.insert("thread_ts".into(), thread_ts.into());
        }
        self.call::<serde::de::IgnoredAny>("chat.postMessage", token, &body).await.map(|_| ())
    }

    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        token: &BotToken,
        body: &serde_json::Value,
    ) -> Result<T, CallError> {
        self.call_for_headers(method, token, body).await.map(|(answer, _)| answer)
    }

    async fn call_for_headers<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        token: &BotToken,
        body: &serde_json::Value,
    ) -> Result<(T, HeaderMap), CallError> {
        #[derive(Deserialize)]
        struct Verdict {
            ok: bool,
            error: Option<String>,
        }
        let request = self.client.post(self.address(method)).bearer_auth(token.expose());
        let mut response = request.send_json(body).await.map_err(|_| CallError::Unreachable)?;
        status(response.status(), response.headers())?;
        let answer = response.body().limit(MAX_ANSWER).await.map_err(|_| CallError::Unreachable)?;
        let verdict: Verdict = serde_json::from_slice(&answer).map_err(|_| CallError::Unreachable)?;
        if !verdict.ok {
            return Err(CallError::Refused(verdict.error.unwrap_or_else(|| "no error code".into())));
        }
        let answer = serde_json::from_slice(&answer).map_err(|_| CallError::Unreachable)?;
        Ok((answer, response.headers().clone()))
    }

    fn address(&self, method: &str) -> String {
        format!("{}{method}", self.base)
    }
}

const fn transient(code: Code) -> OpenFailure {
    OpenFailure { code, class: Class::Transient, retry_after: None }
}

pub(super) fn status(status: StatusCode, headers: &HeaderMap) -> Result<(), CallError> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Err(CallError::RateLimited(retry_after(retry_after_header(headers))))
        }
        status if status.is_success() => Ok(()),
        status => Err(CallError::Status(status.as_u16())),
    }
}

fn retry_after_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list of errors is long; what is not told apart is one cause"
)]
fn cause(error: &SendRequestError) -> Code {
    match error {
        SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout) => Code::OpenTimeout,
        // Who hangs up before the answer is whole has not answered.
        SendRequestError::Response(ParseError::Io(_) | ParseError::Incomplete) => Code::Unreachable,
        SendRequestError::Response(ParseError::Timeout) => Code::OpenTimeout,
        SendRequestError::Response(_) | SendRequestError::Http(_) => Code::BadReply,
        _ => Code::Unreachable,
    }
}
