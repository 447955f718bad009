//! Slack's sockets: dialling an issued address, and the stream that comes of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, error::CapacityError};
use url::{Host, Url};

use crate::secret::TicketUrl;
use crate::status::Code;

/// A socket as a link owns it.
pub type Socket = WebSocketStream<Transport>;

/// The largest message taken from Slack, in bytes. Its own limit is not documented; four MiB is far above anything seen.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The library zero-fills its read buffer before every read, so an idle socket pays for all of it: 4 KiB hold two ordinary
/// envelopes, and a larger message grows the buffer for its own time only.
const READ_BUFFER: usize = 4 << 10;

/// Acks that Slack does not read pile up to here; then they wait in the link's ledger.
const MAX_WRITE_BUFFER: usize = 1 << 20;

/// What a socket runs on: TLS at Slack, plain TCP with a simulator.
#[derive(Debug)]
pub enum Transport {
    /// `ws://`
    Plain(TcpStream),
    /// `wss://`, boxed because a TLS session is large and lives in every link.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Dials an issued address. The caller sets the deadline: dropping the future ends the attempt.
pub async fn dial(address: &TicketUrl, tls: &Arc<ClientConfig>) -> Result<Socket, Code> {
    let url = Url::parse(address.expose()).map_err(|_| Code::BadReply)?;
    let secure = match url.scheme() {
        "wss" => true,
        "ws" => false,
        _ => return Err(Code::BadReply),
    };
    let host = url.host().ok_or(Code::BadReply)?;
    let port = url.port().unwrap_or(if secure { 443 } else { 80 });
    let tcp = match &host {
        Host::Domain(name) => TcpStream::connect((*name, port)).await,
        Host::Ipv4(ip) => TcpStream::connect((*ip, port)).await,
        Host::Ipv6(ip) => TcpStream::connect((*ip, port)).await,
    }
    .map_err(|_| Code::DialFailed)?;
    tcp.set_nodelay(true).map_err(|_| Code::DialFailed)?;
    let transport = if secure {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| Code::BadReply)?,
            Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(ip).into()),
            Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(ip).into()),
        };
        let stream =
            TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(|_| Code::DialFailed)?;
        Transport::Tls(Box::new(stream))
    } else {
        Transport::Plain(tcp)
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let (socket, _response) =
        tokio_tungstenite::client_async_with_config(address.expose(), transport, Some(config))
            .await
            .map_err(|error| cause_of_dial(&error))?;
    Ok(socket)
}

/// Why a dial failed. The library's own text may hold the address, so only a code leaves here.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list of errors is long; what is not told apart is one cause"
)]
fn cause_of_dial(error: &tungstenite::Error) -> Code {
    match error {
        tungstenite::Error::Http(_) | tungstenite::Error::Protocol(_) | tungstenite::Error::HttpFormat(_) => {
            Code::UpgradeRefused
        }
        _ => Code::DialFailed,
    }
}

/// Why an open socket broke.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list of errors is long; what is not told apart is one cause"
)]
pub fn cause_of_break(error: &tungstenite::Error) -> Code {
    use tungstenite::error::ProtocolError;
    match error {
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => Code::FrameTooLarge,
        // TCP's end without a close frame is no breach of protocol but a lost connection.
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Code::ConnectionLost,
        tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_) | tungstenite::Error::Capacity(_) => {
            Code::ProtocolViolation
        }
        _ => Code::ConnectionLost,
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
