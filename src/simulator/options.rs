//! How the simulator behaves: what is set at its start, and the rules that can be changed while it runs.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// What a simulator starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Is a well-formed token nobody has heard of a new app's (`xapp-`) or workspace's (`xoxb-`)? If not it is
    /// `invalid_auth`.
    pub auto_register: bool,
    /// Fixes every made-up id, and which socket gets what when that is random. Drawn by lot when not given, so that two
    /// runs never send the same event id.
    pub seed: Option<u64>,
    /// How much is kept of each event.
    pub record: Recording,
    /// The rules it starts with.
    pub rules: Rules,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            auto_register: false,
            seed: None,
            record: Recording::Full,
            rules: Rules::default(),
        }
    }
}

/// How much is kept of each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// Every event with its attempts; of the oldest of very many only the counts.
    #[default]
    Full,
    /// Counts only, for benchmarks.
    Counts,
}

/// The rules of this Slack. The defaults are the real one's, as far as anyone outside knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// How long an envelope may wait for its ack, milliseconds (docs: Events API, 3 s).
    pub ack_deadline_ms: u64,
    /// How long after an unacked attempt the next one follows, milliseconds (docs: nearly immediately, 1 min, 5 min).
    pub retry_after_ms: Vec<u64>,
    /// `retry_after_ms` is multiplied with this: 0.01 makes a minute 600 ms.
    pub time_scale: f64,
    /// Does a repeat bear an envelope id of its own? Slack does not say.
    pub new_envelope_id: bool,
    /// `retry_reason` of a repeat.
    pub retry_reason: String,
    /// When the first ping follows hello, milliseconds (seen: 3 to 4 s).
    pub first_ping_ms: u64,
    /// How often a ping is sent, milliseconds (seen: 10 s).
    pub ping_every_ms: u64,
    /// How long a socket outlives its `warning`, milliseconds (docs: about 10 s).
    pub warning_to_close_ms: u64,
    /// How long a socket outlives its `refresh_requested`, milliseconds (about 2 s).
    pub refresh_to_close_ms: u64,
    /// What hello says and how long a socket lives, seconds (seen: 18 060). Its `warning` comes before that.
    pub approximate_connection_time: u64,
    /// How long a ticket may be used, milliseconds (RTM's: 30 s; Socket Mode's is not documented).
    pub ticket_ms: u64,
    /// How many sockets an app may have (docs: 10).
    pub max_sockets: usize,
    /// A text frame of this size and more is answered with close 1009 (seen: 20 480).
    pub max_frame_bytes: usize,
    /// After a client's close frame is answered, does TCP stay open until the client closes it (seen)?
    pub keep_tcp_after_close: bool,
    /// Do new payloads go to announced sockets as well as to the others? If not, only when there are no others.
    pub deliver_to_draining: bool,
    /// How payloads are spread over an app's sockets.
    pub spread: Spread,
    /// The error of `apps.connections.open` while an app is switched off. Slack's own is not known.
    pub disabled_error: String,
    /// The scopes of every bot token, as `auth.test` tells them in `x-oauth-scopes`.
    pub bot_scopes: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ack_deadline_ms: 3_000,
            retry_after_ms: vec![0, 60_000, 300_000],
            time_scale: 1.0,
            new_envelope_id: true,
            retry_reason: "timeout".into(),
            first_ping_ms: 3_000,
            ping_every_ms: 10_000,
            warning_to_close_ms: 10_000,
            refresh_to_close_ms: 2_000,
            approximate_connection_time: 18_060,
            ticket_ms: 30_000,
            max_sockets: 10,
            max_frame_bytes: 20_480,
            keep_tcp_after_close: true,
            deliver_to_draining: false,
            spread: Spread::RoundRobin,
            disabled_error: "socket_mode_not_enabled".into(),
            bot_scopes: ["app_mentions:read", "channels:history", "chat:write", "commands"]
                .map(Into::into)
                .into(),
        }
    }
}

impl Rules {
    /// How long an envelope may wait for its ack.
    pub fn ack_deadline(&self) -> Duration {
        Duration::from_millis(self.ack_deadline_ms)
    }

    /// The pause after the unacked attempt number `attempt`; none when it was the last.
    pub fn pause_after(&self, attempt: u8) -> Option<Duration> {
        let ms = self.retry_after_ms.get(usize::from(attempt))?;
        Some(Duration::from_millis(*ms).mul_f64(self.time_scale.max(0.0)))
    }
}

/// How payloads are spread over an app's sockets. Slack's docs leave it open; its people have said both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// By lot, from the seed.
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_scaled_by_a_hundredth_is_600_ms_and_after_three_repeats_there_is_no_more() {
        let rules = Rules { time_scale: 0.01, ..Rules::default() };
        let pauses: Vec<_> = (0..4).map(|attempt| rules.pause_after(attempt)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(0), ms(600), ms(3_000), None]);
    }
}
