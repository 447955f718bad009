//! A socket that is opened to see whether it opens, and closed again once Slack has said hello.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::socket::{cause_of_break, dial};
use super::web::{Outside, WebApi};
use crate::protocol::frame::{Frame, parse};
use crate::protocol::hello::Hello;
use crate::secret::AppToken;
use crate::status::Code;

const DIAL_WITHIN: Duration = Duration::from_secs(8);
const HELLO_WITHIN: Duration = Duration::from_secs(8);
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Opens a socket with this token, hears hello, and closes it. An error is why it came to no hello. To be called on a thread with
/// an actix runtime.
pub async fn socket(outside: &Arc<Outside>, token: &AppToken) -> Result<Hello, Code> {
    let address = WebApi::here(outside).open(token).await.map_err(|failure| failure.code)?;
    let mut socket =
        timeout(DIAL_WITHIN, dial(&address, &outside.tls)).await.unwrap_or(Err(Code::DialTimeout))?;
    let hello = async {
        while let Some(message) = socket.next().await {
            match message.map_err(|error| cause_of_break(&error))? {
                Message::Text(text) => match parse(text.as_str()) {
                    Frame::Hello(hello) => return Ok(hello),
                    Frame::Disconnect(reason) => return Err(reason.code()),
                    Frame::NotJson => return Err(Code::NotJson),
                    // What is not acked Slack sends again, to a socket that stays.
                    Frame::Envelope(_) | Frame::Blank | Frame::Unknown => {}
                },
                Message::Close(_) => return Err(Code::ClosedBySlack),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Err(Code::ConnectionLost)
    };
    let heard = timeout(HELLO_WITHIN, hello).await.unwrap_or(Err(Code::NoHello));
    // Heard or not, it goes; TCP goes with it.
    drop(timeout(CLOSE_WITHIN, socket.close(None)).await);
    heard
}
