//! The last acks of a link whose peer has closed. What came before a close frame may be acked before that is answered (RFC 6455,
//! §5.5.1); the library answers with its next read or write and sends nothing else any more, so these frames go past it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::slack::socket::Socket;
use crate::status::Code;

/// What goes out before the close frame is answered.
#[derive(Default)]
pub(super) struct Parting {
    bytes: BytesMut,
    answers: bool,
}

impl Parting {
    /// Queues an ack.
    pub(super) fn ack(&mut self, ack: Utf8Bytes) {
        let mut frame = Frame::message(ack, OpCode::Data(Data::Text), true);
        frame.header_mut().mask = Some(rand::random());
        let mut formatted = Vec::with_capacity(frame.len());
        if frame.format(&mut formatted).is_ok() {
            self.bytes.extend_from_slice(&formatted);
        }
    }

    /// Nothing more comes: the close frame may be answered.
    pub(super) fn answer(&mut self) {
        self.answers = true;
    }

    /// Writes what the socket takes; ready when nothing is left.
    pub(super) fn write(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<(), Code>> {
        let lost = |_| Code::ConnectionLost;
        while !self.bytes.is_empty() {
            match ready!(Pin::new(socket.get_mut()).poll_write(cx, &self.bytes)).map_err(lost)? {
                0 => return Poll::Ready(Err(Code::ConnectionLost)),
                written => self.bytes.advance(written),
            }
        }
        ready!(Pin::new(socket.get_mut()).poll_flush(cx)).map_err(lost)?;
        if self.answers {
            // The answer is the library's; whether it gets there is of no concern any more.
            drop(futures_util::Sink::poll_flush(Pin::new(socket), cx));
        }
        Poll::Ready(Ok(()))
    }
}
