//! A text frame from Slack, told apart.

use super::disconnect::DisconnectReason;
use super::envelope::{Draft, Envelope};
use super::hello::Hello;
use super::peek;
use super::scan::Scanner;

/// What a text frame is. There is no error: whatever came, the reader knows what to do.
#[expect(clippy::large_enum_variant, reason = "nearly all frames are of the large kind, and none is kept")]
pub enum Frame<'a> {
    /// Events will flow now.
    Hello(Hello),
    /// Slack will close the socket.
    Disconnect(DisconnectReason),
    /// To be acked.
    Envelope(Envelope<'a>),
    /// Nothing but white space, which Slack is known to send.
    Blank,
    /// JSON with nothing to ack and of no known type.
    Unknown,
    /// No JSON, like `UNAUTHENTICATED: cache_error`: the socket is not to be trusted any longer (slackapi/node-slack-sdk#1499).
    NotJson,
}

/// Reads a text frame in one pass. Whatever else is odd about it, an object with a string `envelope_id` is an envelope.
pub fn parse(text: &str) -> Frame<'_> {
    let json = text.trim_matches([' ', '\t', '\r', '\n']);
    if json.is_empty() {
        return Frame::Blank;
    }
    let mut draft = Draft::default();
    if !json.starts_with('{') {
        return if peek::is_json(json) { Frame::Unknown } else { Frame::NotJson };
    }
    let mut scanner = Scanner::new(json);
    let whole = scanner.object(|scanner, key| draft.take(key, scanner));
    if whole.is_none() || !scanner.is_at_end() {
        return Frame::NotJson;
    }
    if draft.id.is_none() {
        return match draft.envelope_type.as_deref() {
            Some("hello") => Frame::Hello(Hello::read(json)),
            Some("disconnect") => Frame::Disconnect(
                draft.reason.as_deref().map_or(DisconnectReason::Other, DisconnectReason::parse),
            ),
            _ => Frame::Unknown,
        };
    }
    draft.envelope().map_or(Frame::Unknown, Frame::Envelope)
}
