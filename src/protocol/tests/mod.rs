//! The whole wire together: recorded frames and arbitrary ones.

mod arbitrary;
mod control;
mod ids;
mod keys;
mod replies;

use super::envelope::Envelope;
use super::frame::{self, Frame};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../fixtures/", $name, ".json"))
    };
}
use fixture;

fn envelope(text: &str) -> Envelope<'_> {
    let Frame::Envelope(envelope) = frame::parse(text) else { panic!("no envelope: {text}") };
    envelope
}

fn name(frame: &Frame<'_>) -> &'static str {
    match frame {
        Frame::Hello(_) => "hello",
        Frame::Disconnect(_) => "disconnect",
        Frame::Envelope(_) => "envelope",
        Frame::Blank => "blank",
        Frame::Unknown => "unknown",
        Frame::NotJson => "no JSON",
    }
}
