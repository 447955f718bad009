//! One post of one notice, signed as Standard Webhooks has it (spec/standard-webhooks.md): the id, the time and the body, joined by
//! dots, by HMAC with SHA-256.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use awc::error::SendRequestError;
use awc::{Client, Connector};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use rustls::ClientConfig;
use url::{Host, Url};

use super::address::is_public;
use crate::secret::WebhookSecret;

/// How long a post may take, finding the address included. The answer's body is not read.
const WITHIN: Duration = Duration::from_secs(10);

/// Why a notice was not taken. Names no address and repeats nothing of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The answer is no success.
    #[error("it answers with HTTP status {0}")]
    Status(u16),
    /// No answer in time.
    #[error("it does not answer within 10 seconds")]
    Slow,
    /// It cannot be reached.
    #[error("it cannot be reached")]
    Unreachable,
    /// Its name leads nowhere.
    #[error("its name cannot be resolved")]
    NoSuchName,
    /// It lies in a private network.
    #[error("its address is private; the setting webhooks_allow_private would allow it")]
    Private,
    /// It is no address.
    #[error("its address cannot be used")]
    BadUrl,
}

/// How notices are posted.
#[derive(Clone, Debug)]
pub struct Poster {
    /// The one TLS configuration.
    pub tls: Arc<ClientConfig>,
    /// May a webhook lie in a private network, and be spoken to in the clear?
    pub allow_private: bool,
}

impl PostError {
    /// The answer's status, if there was an answer.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Slow | Self::Unreachable | Self::NoSuchName | Self::Private | Self::BadUrl => None,
        }
    }
}

impl Poster {
    /// A client for the current thread. Redirects are not followed: they would lead past the check of the address.
    pub(super) fn client(&self) -> Client {
        let connector = Connector::new().rustls_0_23(Arc::clone(&self.tls)).timeout(WITHIN);
        Client::builder()
            .connector(connector)
            .timeout(WITHIN)
            .disable_redirects()
            .no_default_headers()
            .finish()
    }

    /// Posts once by a client made for it; the answer's status where it was taken.
    pub async fn post_once(
        &self,
        url: &str,
        secrets: &[WebhookSecret],
        message_id: &str,
        now_ms: i64,
        body: &str,
    ) -> Result<u16, PostError> {
        self.post(&self.client(), url, secrets, message_id, now_ms, body).await
    }

    /// Posts once; the answer's status where it was taken.
    pub(super) async fn post(
        &self,
        client: &Client,
        url: &str,
        secrets: &[WebhookSecret],
        message_id: &str,
        now_ms: i64,
        body: &str,
    ) -> Result<u16, PostError> {
        let posting = async {
            let url = Url::parse(url).map_err(|_| PostError::BadUrl)?;
            let seconds = now_ms.div_euclid(1_000);
            // Sent to the address that was checked: looked up again, the name could lead elsewhere.
            let address = self.address(&url).await?;
            let request = client
                .post(url.as_str())
                .address(address)
                .insert_header(("content-type", "application/json"))
                .insert_header(("user-agent", concat!("tautline/", env!("CARGO_PKG_VERSION"))))
                .insert_header(("webhook-id", message_id))
                .insert_header(("webhook-timestamp", seconds.to_string()))
                .insert_header(("webhook-signature", signatures(secrets, message_id, seconds, body)))
                .force_close();
            let answer = request.send_body(body.to_owned()).await.map_err(|error| {
                let is_slow = matches!(error, SendRequestError::Timeout);
                if is_slow { PostError::Slow } else { PostError::Unreachable }
            })?;
            let status = answer.status();
            if status.is_success() { Ok(status.as_u16()) } else { Err(PostError::Status(status.as_u16())) }
        };
        tokio::time::timeout(WITHIN, posting).await.unwrap_or(Err(PostError::Slow))
    }

    /// Where a URL leads. Every address of its name must be one that may be posted to.
    async fn address(&self, url: &Url) -> Result<SocketAddr, PostError> {
        let port = url.port_or_known_default().ok_or(PostError::BadUrl)?;
        let found: Vec<SocketAddr> = match url.host().ok_or(PostError::BadUrl)? {
            Host::Ipv4(ip) => vec![SocketAddr::new(IpAddr::V4(ip), port)],
            Host::Ipv6(ip) => vec![SocketAddr::new(IpAddr::V6(ip), port)],
            Host::Domain(name) => {
                tokio::net::lookup_host((name, port)).await.map_err(|_| PostError::NoSuchName)?.collect()
            }
        };
        if !self.allow_private && found.iter().any(|address| !is_public(address.ip())) {
            return Err(PostError::Private);
        }
        found.first().copied().ok_or(PostError::NoSuchName)
    }
}

/// One for each secret: a receiver takes a notice of which any is right.
fn signatures(secrets: &[WebhookSecret], message_id: &str, seconds: i64, body: &str) -> String {
    secrets.iter().map(|secret| sign(secret, message_id, seconds, body)).collect::<Vec<_>>().join(" ")
}

fn sign(secret: &WebhookSecret, message_id: &str, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.key());
    let tag = hmac::sign(&key, format!("{message_id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(tag))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::slack::tls::client_config;

    #[test]
    fn a_notice_is_signed_as_the_libraries_of_standard_webhooks_expect() {
        // Of the example that these libraries test with.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[actix_rt::test]
    async fn an_address_in_a_private_network_is_refused_unless_it_is_allowed() {
        let poster = |allow_private| Poster { tls: client_config(None).unwrap(), allow_private };
        for url in
            ["http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost:9/", "https://169.254.169.254/"]
        {
            let secret = WebhookSecret::generate();
            let posted = poster(false).post_once(url, &[secret], "msg_1", 0, "{}").await;
            assert_eq!(posted, Err(PostError::Private), "{url}");
        }
        let secret = WebhookSecret::generate();
        let posted = poster(true).post_once("http://127.0.0.1:9/", &[secret], "msg_1", 0, "{}").await;
        assert_eq!(posted, Err(PostError::Unreachable));
    }
    #[test]
    fn a_notice_bears_a_signature_of_each_secret() {
        let secrets = [WebhookSecret::generate(), WebhookSecret::generate()];
        let both = signatures(&secrets, "msg_1", 7, "{}");
        let each = secrets.map(|secret| sign(&secret, "msg_1", 7, "{}"));
        assert_eq!(both, each.join(" "));
    }

    #[actix_rt::test]
    async fn an_answer_that_does_not_come_is_waited_for_ten_seconds_and_one_without_an_end_is_not_read() {
        let poster = Poster { tls: client_config(None).unwrap(), allow_private: true };
        let secrets = [WebhookSecret::generate()];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let endless = actix_rt::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
            let mut sent = 0_usize;
            while socket.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
            }
            // It takes no more than what lies in the sockets' buffers.
            sent
        });
        assert_eq!(poster.post_once(&url, &secrets, "msg_1", 0, "{}").await, Ok(200));
        assert!(endless.await.unwrap() < 32 << 20);

        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        // Time passes where everything waits.
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        assert_eq!(poster.post_once(&url, &secrets, "msg_1", 0, "{}").await, Err(PostError::Slow));
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}
