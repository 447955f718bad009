//! One Socket Mode message with an `envelope_id`: what Slack waits three seconds for an ack of.

use std::borrow::Cow;

use super::peek;
use super::routing::{self, Members, Routing};
use super::scan::Scanner;
use crate::event::Kind;

/// An envelope as read from a frame, borrowing from it. It has no `Debug`: its payload belongs in no log.
#[derive(Clone)]
pub struct Envelope<'a> {
    /// By what it is acked. A retry may bear another one: nothing is recognised by it.
    pub id: Cow<'a, str>,
    /// What its type is to us.
    pub kind: Kind,
    /// Its `type` as Slack wrote it; empty when absent.
    pub envelope_type: Cow<'a, str>,
    /// The payload's JSON as Slack wrote it; `null` when absent. Usually an object.
    pub payload: &'a str,
    /// Whose the payload is and what it is about.
    pub routing: Routing<'a>,
    /// May the ack carry an answer?
    pub accepts_response_payload: bool,
    /// Slack's count of earlier attempts; 0 on the first.
    pub retry_attempt: u16,
    /// Why Slack sends it again; empty on the first attempt. Opaque.
    pub retry_reason: Cow<'a, str>,
}

/// The fields of a frame that make an envelope, in any order, each only if it is of its type.
#[derive(Default)]
pub(super) struct Draft<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) envelope_type: Option<Cow<'a, str>>,
    payload: Option<&'a str>,
    members: Members<'a>,
    accepts_response_payload: bool,
    retry_attempt: u16,
    retry_reason: Option<Cow<'a, str>>,
    /// Of a `disconnect`, which has no id.
    pub(super) reason: Option<Cow<'a, str>>,
}

impl<'a> Draft<'a> {
    /// Takes one field, if it is one of these. One of a wrong type counts as absent: it must not cost the envelope. None when what
    /// stands there is no JSON.
    pub(super) fn take(&mut self, key: &[u8], scanner: &mut Scanner<'a>) -> Option<()> {
        if key == b"payload" {
            scanner.peek()?;
            let from = scanner.at();
            self.members = Members::gather(scanner)?;
            self.payload = scanner.since(from);
            return Some(());
        }
        let value = scanner.value()?;
        match key {
            b"envelope_id" => self.id = peek::text(value).or_else(|| self.id.take()),
            b"type" => self.envelope_type = peek::text(value).or_else(|| self.envelope_type.take()),
            b"accepts_response_payload" => self.accepts_response_payload = peek::is_true(value),
            b"retry_attempt" => {
                let attempt = peek::number(value).unwrap_or(0);
                self.retry_attempt = u16::try_from(attempt).unwrap_or(u16::MAX);
            }
            b"retry_reason" => self.retry_reason = peek::text(value),
            b"reason" => self.reason = peek::text(value),
            _ => {}
        }
        Some(())
    }

    /// The envelope, if there was an id to ack.
    pub(super) fn envelope(self) -> Option<Envelope<'a>> {
        let envelope_type = self.envelope_type.unwrap_or_default();
        let kind = Kind::of(&envelope_type);
        Some(Envelope {
            id: self.id?,
            kind,
            routing: routing::of(kind, &self.members),
            envelope_type,
            payload: self.payload.unwrap_or("null"),
            accepts_response_payload: self.accepts_response_payload,
            retry_attempt: self.retry_attempt,
            retry_reason: self.retry_reason.unwrap_or_default(),
        })
    }
}
