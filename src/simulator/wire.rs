//! A TCP connection with both its buffers in sight, so that faults can be exact to the byte. The only file that knows
//! there is no TLS in between.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    time::{Instant, sleep_until},
};

/// Bytes to be written, and the pause after them.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: BytesMut,
    pub(super) pause: Duration,
}

/// What one turn brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was read.
    Read,
    /// Something was written, and nothing read.
    Wrote,
    /// The peer will send no more.
    End,
}

/// A connection.
pub(super) struct Wire {
    tcp: TcpStream,
    /// What was read and not yet taken.
    pub(super) read: BytesMut,
    writing: BytesMut,
    pieces: VecDeque<Piece>,
    resume: Option<Instant>,
    pause: Duration,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> Self {
        // Small frames wait for nothing. That it can't be set only costs time.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "nodelay not set");
        }
        Self {
            tcp,
            read: BytesMut::new(),
            writing: BytesMut::new(),
            pieces: VecDeque::new(),
            resume: None,
            pause: Duration::ZERO,
        }
    }

    /// Queues bytes behind what is queued already.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.pieces.is_empty() && self.resume.is_none() && self.pause.is_zero() {
            self.writing.extend_from_slice(bytes);
        } else {
            self.queue(Piece { bytes: bytes.into(), pause: Duration::ZERO });
        }
    }

    /// Queues a piece behind what is queued already.
    pub(super) fn queue(&mut self, piece: Piece) {
        if piece.pause.is_zero() && self.writing.is_empty() && self.pieces.is_empty() && self.resume.is_none()
        {
            self.writing = piece.bytes;
        } else {
            self.pieces.push_back(piece);
        }
    }

    /// Forgets what is queued.
    pub(super) fn forget(&mut self) {
        self.pieces.clear();
        self.writing.clear();
    }

    /// Is all that was queued in TCP's hands?
    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_empty() && self.pieces.is_empty() && self.resume.is_none()
    }

    /// How many bytes wait, roughly.
    pub(super) fn backlog(&self) -> usize {
        self.writing.len() + self.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>()
    }

    /// Waits until something can be read or written and does it. Loses nothing when dropped half-way.
    pub(super) async fn turn(&mut self) -> io::Result<Turn> {
        loop {
            self.next_piece();
            let writing = !self.writing.is_empty();
            let interest =
                if writing { Interest::READABLE.add(Interest::WRITABLE) } else { Interest::READABLE };
            let resume = self.resume;
            let ready = tokio::select! {
                ready = self.tcp.ready(interest) => ready?,
                () = async { if let Some(at) = resume { sleep_until(at).await } else { std::future::pending().await } } => {
                    self.resume = None;
                    continue;
                }
            };
            let wrote = writing && ready.is_writable() && self.try_write()?;
            if ready.is_readable() {
                self.read.reserve(16 * 1024);
                match self.tcp.try_read_buf(&mut self.read) {
                    Ok(0) => return Ok(Turn::End),
                    Ok(_) => return Ok(Turn::Read),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            if wrote {
                return Ok(Turn::Wrote);
            }
        }
    }

    /// Waits until all that is queued is written, whatever is read meanwhile.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.is_idle() {
            if self.turn().await? == Turn::End {
                return self.flush_one_way().await;
            }
        }
        Ok(())
    }

    /// Reads and forgets until the peer is gone.
    pub(super) async fn drain(&mut self) {
        while let Ok(Turn::Read | Turn::Wrote) = self.turn().await {
            self.read.clear();
        }
    }

    /// Sends FIN behind what is in TCP's hands.
    pub(super) async fn fin(&mut self) {
        if let Err(error) = self.tcp.shutdown().await {
            tracing::debug!(%error, "already gone");
        }
    }

    /// Drops the connection with RST.
    pub(super) fn reset(self) {
        if let Err(error) = self.tcp.set_zero_linger() {
            tracing::debug!(%error, "already gone");
        }
    }

    async fn flush_one_way(&mut self) -> io::Result<()> {
        while !self.is_idle() {
            self.next_piece();
            if let Some(at) = self.resume.take() {
                sleep_until(at).await;
            }
            self.tcp.writable().await?;
            self.try_write()?;
        }
        Ok(())
    }

    fn try_write(&mut self) -> io::Result<bool> {
        match self.tcp.try_write(&self.writing) {
            Ok(written) => {
                self.writing.advance(written);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When the last piece is out and its pause over, takes the next.
    fn next_piece(&mut self) {
        if !self.writing.is_empty() {
            return;
        }
        if !self.pause.is_zero() {
            self.resume = Some(Instant::now() + self.pause);
            self.pause = Duration::ZERO;
        }
        if self.resume.is_none()
            && let Some(piece) = self.pieces.pop_front()
        {
            self.writing = piece.bytes;
            self.pause = piece.pause;
        }
    }
}
