//! Slack's first word on a socket.

use std::time::Duration;

use super::peek;

/// A `hello` frame. Every field may be missing; real hosts differ from the documentation in what they send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Slack's id of the app the socket serves: the only place where a session names it.
    pub app_id: Option<Box<str>>,
    /// Slack's host.
    pub host: Option<Box<str>>,
    /// How many sockets Slack counts for the app, this one included. May be too high: dead ones linger.
    pub num_connections: Option<u32>,
    /// About how long Slack will keep the socket (`approximate_connection_time`; 18 060 s is usual).
    pub lifetime: Option<Duration>,
}

impl Hello {
    /// What there is of a hello in this frame.
    pub(super) fn read(frame: &str) -> Self {
        let mut hello = Self::default();
        peek::object(frame, |key, value| match key {
            b"num_connections" => {
                hello.num_connections = peek::number(value).and_then(|n| u32::try_from(n).ok());
            }
            b"connection_info" => hello.app_id = peek::member(value, "app_id").and_then(owned),
            b"debug_info" => {
                hello.host = peek::member(value, "host").and_then(owned);
                let seconds = peek::member(value, "approximate_connection_time").and_then(peek::number);
                hello.lifetime = seconds.map(Duration::from_secs);
            }
            _ => {}
        });
        hello
    }
}

fn owned(value: &str) -> Option<Box<str>> {
    peek::word(value).map(|text| super::routing::clean(&text).into())
}
