//! Answers to a `response_url`: a credential of its own that a payload brings, good for five posts in 30 minutes. It comes from
//! outside, so nothing is posted but to Slack.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::web::{CallError, WebApi, status};

/// How long a post may take, whatever the answer trickles.
const WITHIN: Duration = Duration::from_secs(10);

/// Slack answers with a word or a short object.
const MAX_ANSWER: usize = 16 << 10;

/// Where Slack lives (`slack-gov.com`: for the government of the US).
const DOMAINS: [&str; 2] = ["slack.com", "slack-gov.com"];

/// Why an answer was not taken. Nothing of the address is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// Nothing was posted.
    #[error("the event's response_url does not lead to Slack")]
    NotSlacks,
    /// Slack takes it no more: five posts have been made or 30 minutes have passed.
    #[error("the event's response_url is used up or older than 30 minutes")]
    UsedUp,
    /// The post failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl RespondError {
    /// May the same post succeed later, and after which time at the earliest?
    pub const fn again_after(&self) -> Option<Duration> {
        match self {
            Self::NotSlacks | Self::UsedUp => None,
            Self::Call(error) => error.again_after(),
        }
    }
}

impl WebApi {
    /// Posts to a `response_url`. Follows no redirect.
    pub async fn respond(
        &self,
        response_url: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<(), RespondError> {
        let address = address(response_url, &self.base).ok_or(RespondError::NotSlacks)?;
        let posting = async {
            let request = self.client.post(address.as_str());
            let mut response = request.send_json(&body).await.map_err(|_| CallError::Unreachable)?;
            match status(response.status(), response.headers()) {
                Err(CallError::Status(404)) => return Err(RespondError::UsedUp),
                other => other?,
            }
            // What is not said to be wrong is right: that answer is a plain "ok".
            let said = response.body().limit(MAX_ANSWER).await.unwrap_or_default();
            refusal(&said).map_or(Ok(()), |code| Err(RespondError::from(CallError::Refused(code))))
        };
        tokio::time::timeout(WITHIN, posting).await.unwrap_or_else(|_| Err(CallError::Unreachable.into()))
    }
}

/// Where to post, if it is Slack's: its domains over TLS, or where the Web API was said to be, as a simulator is.
fn address(response_url: &str, api: &Url) -> Option<Url> {
    let url = Url::parse(response_url).ok()?;
    let host = url.host_str()?;
    let is_within =
        |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_slacks = url.scheme() == "https" && url.port().is_none() && DOMAINS.into_iter().any(is_within);
    let is_plain = url.username().is_empty() && url.password().is_none();
    (is_plain && (is_slacks || url.origin() == api.origin())).then_some(url)
}

/// The code by which Slack refuses although it answers 200.
fn refusal(said: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Verdict {
        ok: bool,
        error: Option<String>,
    }
    let Verdict { ok, error } = serde_json::from_slice(said).ok()?;
    (!ok).then(|| error.unwrap_or_else(|| "no error code".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_posted_but_to_slack() {
        let api: Url = "http://127.0.0.1:8970/api/".parse().unwrap();
        for good in [
            "https://hooks.slack.com/commands/T1/1/x",
            "https://slack.com/x",
            "https://hooks.slack-gov.com/commands/1",
            "http://127.0.0.1:8970/response/1",
        ] {
            assert!(address(good, &api).is_some(), "{good}");
        }
        for bad in [
            "http://hooks.slack.com/commands/T1/1/x",
            "https://hooks.slack.com:8443/x",
            "https://evilslack.com/x",
            "https://slack.com.evil.example/x",
            "https://user:word@hooks.slack.com/x",
            "https://evil.example/hooks.slack.com",
            "http://127.0.0.1:8971/response/1",
            "https://127.0.0.1:8970/response/1",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "hooks.slack.com",
            "",
        ] {
            assert!(address(bad, &api).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_taken_unless_slack_says_no() {
        assert_eq!(refusal(b"ok"), None);
        assert_eq!(refusal(b""), None);
        assert_eq!(refusal(br#"{"ok":true}"#), None);
        assert_eq!(refusal(br#"{"ok":false,"error":"invalid_blocks"}"#), Some("invalid_blocks".into()));
    }
}
