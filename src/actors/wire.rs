//! The writing half of a link: what is to be sent, and one flush for all of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Sink as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::parting::Parting;
use crate::slack::socket::{Socket, cause_of_break};
use crate::status::Code;

/// Acks that may wait for a peer that sends but does not read; above it the link takes no more envelopes.
const MOST_ACKS: usize = 4096;

/// What one link has yet to send.
#[derive(Default)]
pub(super) struct Wire {
    outbox: VecDeque<Message>,
    acks: usize,
    unflushed: bool,
    /// The peer has closed.
    parting: Option<Parting>,
}

impl Wire {
    /// Queues an ack.
    pub(super) fn ack(&mut self, ack: Utf8Bytes) {
        self.acks += 1;
        self.outbox.push_back(Message::Text(ack));
    }

    /// Queues a ping. Any answer counts as life, so it says nothing.
    pub(super) fn ping(&mut self) {
        self.outbox.push_back(Message::Ping(Bytes::new()));
    }

    /// The peer has closed: of what is queued only acks still go out, unless the library has something half written.
    pub(super) fn peer_closed(&mut self) {
        if self.unflushed {
            self.outbox.clear();
            self.acks = 0;
        }
        self.parting = Some(Parting::default());
    }

    /// Queues the close frame, or the answer to the peer's.
    pub(super) fn close(&mut self) {
        if let Some(parting) = &mut self.parting {
            return parting.answer();
        }
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.outbox.push_back(Message::Close(Some(frame)));
    }

    /// Something was queued behind our back: the library answers pings by itself, on the next flush.
    pub(super) fn wants_flush(&mut self) {
        self.unflushed = true;
    }

    /// Does the peer take what is sent?
    pub(super) fn has_room(&self) -> bool {
        self.acks < MOST_ACKS
    }

    /// Acks that are not in the kernel's hands yet.
    pub(super) fn unsent_acks(&self) -> usize {
        self.acks
    }

    /// Writes what the socket takes and flushes once. Pending is no reason to stop reading.
    pub(super) fn write(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Result<(), Code> {
        if let Some(parting) = &mut self.parting {
            for message in self.outbox.drain(..).filter(|_| !self.unflushed) {
                if let Message::Text(ack) = message {
                    parting.ack(ack);
                }
            }
            if let Poll::Ready(written) = parting.write(socket, cx) {
                written?;
                self.acks = 0;
            }
            return Ok(());
        }
        while let Some(message) = self.outbox.pop_front() {
            match Pin::new(&mut *socket).poll_ready(cx) {
                Poll::Pending => {
                    self.outbox.push_front(message);
                    return Ok(());
                }
                Poll::Ready(Err(error)) => return Err(cause_of_break(&error)),
                Poll::Ready(Ok(())) => {}
            }
            match Pin::new(&mut *socket).start_send(message) {
                Ok(()) => self.unflushed = true,
                Err(Error::WriteBufferFull(message)) => {
                    self.outbox.push_front(*message);
                    self.unflushed = true;
                    break;
                }
                // The peer has closed: what is left has nowhere to go and Slack sends it again.
                Err(Error::Protocol(_) | Error::ConnectionClosed | Error::AlreadyClosed) => {}
                Err(error) => return Err(cause_of_break(&error)),
            }
        }
        if self.unflushed {
            match Pin::new(socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(cause_of_break(&error)),
                Poll::Pending => {}
            }
        }
        if !self.unflushed {
            self.acks = self.outbox.iter().filter(|message| message.is_text()).count();
        }
        Ok(())
    }
}
