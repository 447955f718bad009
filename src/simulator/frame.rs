//! WebSocket frames as a server writes and reads them (RFC 6455 §5), right or, where a fault wants it, wrong.

use bytes::{Buf, BufMut, BytesMut};

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;
pub(super) const FIN: u8 = 0x80;

/// A client's frame, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) last: bool,
    pub(super) opcode: u8,
    pub(super) payload: BytesMut,
}

/// What a client must not send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// A reserved bit, a reserved opcode, no mask, or a control frame too long or in parts.
    Protocol(&'static str),
    /// Longer than is read at all.
    TooLong(u64),
}

/// Writes a whole frame.
pub(super) fn put(out: &mut BytesMut, opcode: u8, payload: &[u8]) {
    put_head(out, FIN | opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Writes a frame's head: its first byte and its length.
pub(super) fn put_head(out: &mut BytesMut, first: u8, length: usize) {
    out.put_u8(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        (_, Err(_)) => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

/// Writes a message in parts of `size` bytes: a first frame and continuations.
pub(super) fn put_fragments(out: &mut BytesMut, opcode: u8, payload: &[u8], size: usize) {
    let mut parts = payload.chunks(size.max(1)).peekable();
    let mut opcode = opcode;
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { FIN } else { 0 };
        put_head(out, last | opcode, part.len());
        out.extend_from_slice(part);
        opcode = CONTINUATION;
    }
}

/// The payload of a close frame.
pub(super) fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    payload
}

/// The code in a close frame's payload.
pub(super) fn close_code(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*payload.first_chunk::<2>()?))
}

/// Takes the next whole frame out of what was read.
pub(super) fn take(read: &mut BytesMut, limit: u64) -> Result<Option<Frame>, BadFrame> {
    let Some((&[first, second], rest)) = read.split_first_chunk::<2>() else { return Ok(None) };
    let opcode = first & 0x0F;
    let last = first & FIN != 0;
    if first & 0x70 != 0 {
        return Err(BadFrame::Protocol("a reserved bit is set"));
    }
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(BadFrame::Protocol("the opcode is reserved"));
    }
    if second & 0x80 == 0 {
        return Err(BadFrame::Protocol("a client's frame must be masked"));
    }
    let (length, head) = match second & 0x7F {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if opcode >= CLOSE && (length > 125 || !last) {
        return Err(BadFrame::Protocol("a control frame has at most 125 bytes and one part"));
    }
    if length > limit {
        return Err(BadFrame::TooLong(length));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if read.len() < head + 4 + length {
        return Ok(None);
    }
    read.advance(head);
    let mask = read.get_u32().to_be_bytes();
    let mut payload = read.split_to(length);
    for four in payload.chunks_mut(4) {
        for (byte, key) in four.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    Ok(Some(Frame { last, opcode, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_is_read_when_its_last_byte_is_there_and_not_before() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut whole = BytesMut::new();
            put_masked(&mut whole, FIN | TEXT, &payload);
            let mut read = BytesMut::from(&whole[..whole.len() - 1]);
            assert_eq!(take(&mut read, 1 << 20), Ok(None), "{length}");
            read.extend_from_slice(&whole[whole.len() - 1..]);
            let frame = take(&mut read, 1 << 20).unwrap().unwrap();
            assert_eq!((frame.last, frame.opcode, frame.payload.len()), (true, TEXT, length));
            assert_eq!(frame.payload[..], payload[..]);
            assert!(read.is_empty());
        }
    }

    #[test]
    fn what_a_client_must_not_send_is_refused() {
        let refused = |bytes: &[u8]| take(&mut BytesMut::from(bytes), 10).is_err();
        assert!(refused(&[FIN | TEXT, 1]), "unmasked");
        assert!(refused(&[FIN | 0x40 | TEXT, 0x81]), "compressed");
        assert!(refused(&[FIN | 0x3, 0x80]), "reserved opcode");
        assert!(refused(&[PING, 0x80]), "ping in parts");
        assert!(refused(&[FIN | PING, 0xFE, 0, 126]), "long ping");
        assert!(refused(&[FIN | TEXT, 0x8B]), "too long");
    }

    #[test]
    fn fragments_add_up_and_only_the_last_says_so() {
        let mut out = BytesMut::new();
        put_fragments(&mut out, TEXT, b"abcde", 2);
        assert_eq!(&out[..], b"\x01\x02ab\x00\x02cd\x80\x01e");
    }

    fn put_masked(out: &mut BytesMut, first: u8, payload: &[u8]) {
        let mut head = BytesMut::new();
        put_head(&mut head, first, payload.len());
        head[1] |= 0x80;
        out.extend_from_slice(&head);
        let mask = [1, 2, 3, 4];
        out.extend_from_slice(&mask);
        out.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
    }
}
