//! Everything a test can ask of the simulator. The HTTP control API is a thin shell over these methods.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Shared,
    faults::{Act, Arm, Shape, Which},
    options::Rules,
    payloads::Template,
    record::Record,
};

/// An app to be known.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewApp {
    /// Its app-level token, `xapp-…`.
    pub app_token: String,
    /// Slack's id of it; from the token's text when not given. An app known already gets one more token.
    #[serde(default)]
    pub slack_app_id: Option<String>,
    /// Where it is installed; one made-up team when not given.
    #[serde(default)]
    pub teams: Vec<Team>,
}

/// One installation of an app.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// `T…`.
    pub team_id: String,
    /// `xoxb-…`.
    #[serde(default)]
    pub bot_token: Option<String>,
    /// `E…`, for a team of an org.
    #[serde(default)]
    pub enterprise_id: Option<String>,
}

/// Something to be sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outgoing {
    /// Which real frame it is made after; a message when neither this nor `payload` nor `frame` is given.
    pub template: Option<Template>,
    /// The payload itself.
    pub payload: Option<Value>,
    /// The envelope's `type`; the template's, else `events_api`.
    pub kind: Option<String>,
    /// `accepts_response_payload`; the template's, else false.
    pub accepts_response_payload: Option<bool>,
    /// The envelope's id; a made-up one when not given.
    pub envelope_id: Option<String>,
    /// The team it is about; the app's first when not given.
    pub team_id: Option<String>,
    /// The text of a message, mention or command.
    pub text: Option<String>,
    /// Pads the payload to about this size.
    pub bytes: Option<usize>,
    /// A text frame as it is, to one live socket; no ack is waited for.
    pub frame: Option<String>,
    /// Cut into continuation frames of this many bytes.
    pub fragment_bytes: Option<usize>,
    /// Written byte by byte with this pause after each, milliseconds.
    pub byte_pause_ms: Option<u64>,
    /// How often it is sent; see [`Shape::copies`].
    pub copies: Option<u8>,
}

impl Outgoing {
    /// Something made after a real frame.
    pub fn template(template: Template) -> Self {
        Self { template: Some(template), ..Self::default() }
    }

    /// A text frame as it is.
    pub fn frame(text: impl Into<String>) -> Self {
        Self { frame: Some(text.into()), ..Self::default() }
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            fragment_bytes: self.fragment_bytes,
            byte_pause_ms: self.byte_pause_ms,
            copies: self.copies,
        }
    }
}

/// A steady stream of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Events a second. Give this or `window`.
    pub rate: Option<f64>,
    /// So many envelopes in flight on each socket, as fast as they are acked.
    pub window: Option<u32>,
    /// How many events; without an end when neither this nor `seconds` is given.
    pub count: Option<u64>,
    /// For how long.
    pub seconds: Option<f64>,
    /// The size of each payload, about.
    pub bytes: usize,
    /// What they are made after.
    pub template: Template,
}

impl Default for Load {
    fn default() -> Self {
        Self { rate: None, window: None, count: None, seconds: None, bytes: 1_300, template: Template::Message }
    }
}

/// A request that can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such app.
    #[error("no app {0:?} is known here; register it with POST /control/apps or let its client connect first")]
    NoApp(String),
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
}

/// What was waited for did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was waited for did not happen within {0:?}")]
pub struct Timeout(pub Duration);

/// Commands a simulator from any thread.
#[derive(Clone)]
pub struct Control {
    pub(super) shared: Arc<Shared>,
}

impl Control {
    /// The base of the Web API, `http://127.0.0.1:PORT/api/`.
    pub fn api_url(&self) -> String {
        todo!()
    }
    /// Makes an app known and tells Slack's id of it.
    pub fn add_app(&self, _app: NewApp) -> Result<String, ControlError> {
        todo!()
    }
    /// Sends something to one live socket of the app and tells its id (`Ev…`).
    pub fn send(&self, _app: &str, _what: Outgoing) -> Result<String, ControlError> {
        todo!()
    }
    /// Starts a stream of events beside those that run.
    pub fn load(&self, _app: &str, _load: Load) -> Result<(), ControlError> {
        todo!()
    }
    /// Ends the app's streams.
    pub fn stop_load(&self, _app: &str) -> Result<(), ControlError> {
        todo!()
    }
    /// Arms a fault for one app or for all; the number disarms it.
    pub fn arm(&self, _app: Option<&str>, _arm: Arm) -> Result<u64, ControlError> {
        todo!()
    }
    /// Disarms one fault.
    pub fn disarm(&self, _number: u64) {
        todo!()
    }
    /// Disarms an app's faults, or every fault there is.
    pub fn clear_faults(&self, _app: Option<&str>) -> Result<(), ControlError> {
        todo!()
    }
    /// Does something to live sockets of an app, or of all, and tells to how many.
    pub fn act(&self, _app: Option<&str>, _which: Which, _act: Act) -> Result<usize, ControlError> {
        todo!()
    }
    /// Lets `apps.connections.open` fail with this error until told otherwise; sockets live on.
    pub fn refuse(&self, _app: &str, _error: Option<&str>) -> Result<(), ControlError> {
        todo!()
    }
    /// Switches Socket Mode off: `link_disabled` on every socket, and opens fail.
    pub fn disable(&self, _app: &str) -> Result<(), ControlError> {
        todo!()
    }
    /// So many dead registrations count against the app's limit and in `num_connections`.
    pub fn ghosts(&self, _app: &str, _ghosts: usize) -> Result<(), ControlError> {
        todo!()
    }
    /// Changes the rules.
    pub fn set_rules(&self, _change: impl FnOnce(&mut Rules)) {
        todo!()
    }
    /// Nothing listens on the port for this long; with `cut` every open connection is reset as well.
    pub fn outage(&self, _length: Duration, _cut: bool) {
        todo!()
    }
    /// The record so far.
    pub fn record(&self) -> Record {
        todo!()
    }
    /// Looks at the record without a copy of it.
    pub fn with_record<R>(&self, _look: impl FnOnce(&Record) -> R) -> R {
        todo!()
    }
    /// Forgets what was recorded, but not what is in flight.
    pub fn forget(&self) {
        todo!()
    }
    /// Waits until the record is as wanted.
    #[expect(clippy::unused_async, reason = "not yet")]
    pub async fn until(&self, _wanted: impl FnMut(&Record) -> bool, _within: Duration) -> Result<(), Timeout> {
        todo!()
    }
}
