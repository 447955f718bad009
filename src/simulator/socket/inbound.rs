//! What a client says on its socket: acks, pings, goodbyes, and all it must not say.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::BytesMut;
use serde::Deserialize;
use serde_json::Value;

use super::{CLOSE_PATIENCE, Finish, GOODBYE, Phase, Session, Timers};
use crate::simulator::{
    apps::State,
    faults::Fault,
    frame::{self, BadFrame, Frame},
    options::Recording,
    record::{At, How, Side, SocketEnd},
};

/// Longer frames are not read at all.
const MAX_READ: u64 = 16 << 20;

impl Session {
    /// Takes what was read, frame by frame.
    pub(super) fn read(&mut self, now: Duration) -> Option<Finish> {
        if self.phase == Phase::Deaf {
            self.wire.read.clear();
            return None;
        }
        let shared = Arc::clone(&self.seat.shared);
        let mut state = shared.state();
        loop {
            let finish = match frame::take(&mut self.wire.read, MAX_READ) {
                Ok(None) => return None,
                Ok(Some(frame)) => self.frame(&mut state, now, &frame),
                Err(BadFrame::Protocol(what)) => self.reject(&mut state, now, "protocol_error", what, 1002),
                Err(BadFrame::TooLong(bytes)) => {
                    self.reject(&mut state, now, "oversized_frame", &format!("{bytes} bytes"), 1009)
                }
            };
            if finish.is_some() || self.phase == Phase::Deaf {
                return finish;
            }
        }
    }

    fn frame(&mut self, state: &mut State, now: Duration, frame: &Frame) -> Option<Finish> {
        match frame.opcode {
            frame::CLOSE => return self.client_close(state, now, &frame.payload),
            _ if self.phase == Phase::Closed => {}
            frame::PING => {
                self.with_record(state, |record| record.client_pings += 1);
                let app = Some(self.seat.app);
                let none = state.faults.take(app, now, |fault| matches!(fault, Fault::NoPongs).then_some(()));
                let late = state.faults.take(app, now, |fault| {
                    if let Fault::LatePongs { ms } = fault { Some(Duration::from_millis(*ms)) } else { None }
                });
                match (none, late) {
                    (Some(()), _) => {}
                    (None, Some(late)) => self.timers.pongs.push_back((now + late, frame.payload.clone())),
                    (None, None) => self.put(frame::PONG, &frame.payload),
                }
            }
            frame::PONG => self.with_record(state, |record| record.pongs += 1),
            frame::TEXT if frame.last => return self.text(state, now, &frame.payload),
            frame::BINARY => state.odd(self.seat.app, At(now), "binary_frame", self.seat.number, ""),
            // Slack does not put parts together; neither does this.
            _ => {
                if !self.in_parts {
                    state.odd(
                        self.seat.app,
                        At(now),
                        "fragmented_frame",
                        self.seat.number,
                        "sent in parts, ignored",
                    );
                }
                self.in_parts = !frame.last;
            }
        }
        None
    }

    fn text(&mut self, state: &mut State, now: Duration, payload: &BytesMut) -> Option<Finish> {
        if payload.len() >= state.rules.max_frame_bytes {
            let detail = format!("{} bytes", payload.len());
            return self.reject(state, now, "oversized_frame", &detail, 1009);
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            return self.reject(state, now, "invalid_utf8", "", 1007);
        };
        match parse_ack(text) {
            Some(ack) => {
                let payload = if state.recording == Recording::Full { ack.payload } else { None };
                state.acked(now, self.seat.number, &ack.envelope_id, payload);
            }
            None => state.odd(self.seat.app, At(now), "malformed_ack", self.seat.number, text),
        }
        None
    }

    /// The client did what ends a socket at once: it is told why by a close frame, and heard no more.
    fn reject(
        &mut self,
        state: &mut State,
        now: Duration,
        what: &'static str,
        detail: &str,
        code: u16,
    ) -> Option<Finish> {
        state.odd(self.seat.app, At(now), what, self.seat.number, detail);
        let reason = if code == 1009 { "Max frame length of 20480 has been exceeded." } else { "" };
        self.put(frame::CLOSE, &frame::close_payload(Some(code), reason));
        state.retire(self.seat.number, At(now));
        self.with_record(state, |record| {
            record.end.get_or_insert(SocketEnd {
                by: Side::Slack,
                how: How::CloseFrame,
                code: Some(code),
                answered: false,
            });
        });
        self.timers = Timers { drop: Some(now + CLOSE_PATIENCE), ..Timers::default() };
        self.phase = Phase::Deaf;
        None
    }

    fn client_close(&mut self, state: &mut State, now: Duration, payload: &[u8]) -> Option<Finish> {
        if let Phase::Closing { hold } = self.phase {
            self.with_record(state, |record| {
                if let Some(end) = &mut record.end {
                    end.answered = true;
                }
            });
            self.phase = Phase::Closed;
            self.timers.drop = Some(now + hold);
            return if hold.is_zero() { Some(Finish::Fin) } else { None };
        }
        if self.phase == Phase::Closed {
            return None;
        }
        let app = Some(self.seat.app);
        let ignored =
            state.faults.take(app, now, |fault| matches!(fault, Fault::CloseUnanswered).then_some(()));
        let answered = ignored.is_none();
        let code = frame::close_code(payload);
        if answered {
            self.put(frame::CLOSE, &frame::close_payload(code, ""));
        }
        state.retire(self.seat.number, At(now));
        self.with_record(state, |record| {
            record.end.get_or_insert(SocketEnd { by: Side::Client, how: How::CloseFrame, code, answered });
        });
        self.timers = Timers { drop: Some(now + GOODBYE), ..Timers::default() };
        self.phase = Phase::Closed;
        if answered && !state.rules.keep_tcp_after_close { Some(Finish::Fin) } else { None }
    }
}

#[derive(Deserialize)]
struct Ack<'a> {
    #[serde(borrow)]
    envelope_id: Cow<'a, str>,
    #[serde(default)]
    payload: Option<Value>,
}

/// Reads an ack; the bare one, by far the most frequent, without a JSON parser.
fn parse_ack(text: &str) -> Option<Ack<'_>> {
    let bare = text.strip_prefix("{\"envelope_id\":\"").and_then(|rest| rest.strip_suffix("\"}"));
    if let Some(id) = bare
        && !id.contains(['"', '\\'])
    {
        return Some(Ack { envelope_id: id.into(), payload: None });
    }
    serde_json::from_str(text).ok()
}
