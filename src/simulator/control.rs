//! Everything a test can ask of the simulator. The HTTP control API is a thin shell over these methods.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Outage, Shared,
    apps::{Out, State},
    delivery::Submission,
    faults::{Act, Arm, Clear, Shape, Which},
    options::Rules,
    payloads::{Body, Template, pad},
    record::{AppRecord, At, Record},
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
        Shape { fragment_bytes: self.fragment_bytes, byte_pause_ms: self.byte_pause_ms, copies: self.copies }
    }
}

/// A steady stream of events.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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
        Self {
            rate: None,
            window: None,
            count: None,
            seconds: None,
            bytes: 1_300,
            template: Template::Message,
        }
    }
}

/// A request that can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such app.
    #[error(
        "no app {0:?} is known here; register it with POST /control/apps or let its client connect first"
    )]
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
        format!("http://{}/api/", self.shared.address)
    }

    /// The base of the control API, `http://127.0.0.1:PORT/control/`.
    pub fn control_url(&self) -> String {
        format!("http://{}/control/", self.shared.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Makes an app known, or one more token and more teams of a known one, and tells Slack's id of it.
    pub fn add_app(&self, app: NewApp) -> Result<String, ControlError> {
        let mut state = self.shared.state();
        let index = state.register(app).map_err(ControlError::Bad)?;
        Ok(state.apps.get(index).map(|app| app.id.clone()).unwrap_or_default())
    }

    /// Sends something to one live socket of the app, or keeps it until there is one, and tells its id: `Ev…`, or what
    /// stands for it. A bare frame has none, and wants a live socket.
    pub fn send(&self, app: &str, what: Outgoing) -> Result<String, ControlError> {
        self.change(app, |state, index, now| {
            let shape = what.shape();
            if let Some(frame) = &what.frame {
                let sent = state.put_frame(index, frame, shape);
                return if sent {
                    Ok(String::new())
                } else {
                    Err(ControlError::Bad("no socket is live".into()))
                };
            }
            let id = state.delivery.event_id();
            let template = what.template.unwrap_or_default();
            let mut payload = match what.payload {
                Some(payload) => payload,
                None => state.fill(index, template, &id, what.team_id.as_deref(), what.text.as_deref(), now),
            };
            if let Some(error) = template.revokes_bot()
                && let Some(team) = payload.get("team_id").and_then(Value::as_str)
            {
                state.revoke_bot(index, team, error);
            }
            if let Some(bytes) = what.bytes {
                pad(&mut payload, bytes);
            }
            let id = payload.get("event_id").and_then(Value::as_str).map_or(id, str::to_owned);
            let kind = what.kind.unwrap_or_else(|| template.kind().into());
            let accepts =
                what.accepts_response_payload.unwrap_or_else(|| template.accepts_response_payload());
            let submission = Submission {
                id: id.clone(),
                kind: kind.into(),
                body: Body::new(&payload.to_string(), ""),
                accepts,
                shape,
                envelope_id: what.envelope_id,
            };
            state.submit(now, index, submission, None);
            Ok(id)
        })
    }

    /// Starts a stream of events. A stream by rate runs beside others; a window replaces the app's window.
    pub fn load(&self, app: &str, load: Load) -> Result<(), ControlError> {
        self.change(app, |state, index, now| state.start_load(now, index, &load).map_err(ControlError::Bad))
    }

    /// Ends the app's streams.
    pub fn stop_load(&self, app: &str) -> Result<(), ControlError> {
        self.change(app, |state, index, _| {
            state.stop_load(index);
            Ok(())
        })
    }

    /// Arms a fault for one app or for all, and tells the number that disarms it.
    pub fn arm(&self, app: Option<&str>, arm: impl Into<Arm>) -> Result<u64, ControlError> {
        let now = self.shared.now();
        let mut state = self.shared.state();
        let index = app.map(|app| find(&state, app)).transpose()?;
        let number = state.number();
        state.faults.arm(number, index, arm.into(), now);
        Ok(number)
    }

    /// Disarms one fault.
    pub fn disarm(&self, number: u64) {
        self.shared.state().faults.clear(Clear::Number(number));
    }

    /// Disarms an app's own faults, or every fault there is.
    pub fn clear_faults(&self, app: Option<&str>) -> Result<(), ControlError> {
        let mut state = self.shared.state();
        let which = match app {
            Some(app) => Clear::App(find(&state, app)?),
            None => Clear::All,
        };
        state.faults.clear(which);
        Ok(())
    }

    /// Does something to live sockets of an app, or of all, and tells to how many.
    pub fn act(&self, app: Option<&str>, which: Which, act: &Act) -> Result<usize, ControlError> {
        let mut state = self.shared.state();
        let index = app.map(|app| find(&state, app)).transpose()?;
        let mut numbers: Vec<u64> = Vec::new();
        for (at, app) in state.apps.iter().enumerate() {
            if index.is_none_or(|index| index == at) {
                match which {
                    Which::All => numbers.extend(&app.registered),
                    Which::Newest => numbers.extend(app.registered.last()),
                    Which::Oldest => numbers.extend(app.registered.first()),
                    Which::Id(number) => {
                        numbers.extend(app.registered.iter().filter(|known| **known == number));
                    }
                }
            }
        }
        for number in &numbers {
            if let Some(socket) = state.sockets.get_mut(number) {
                socket.out.push_back(Out::Do(act.clone()));
                socket.wake.notify_one();
            }
        }
        Ok(numbers.len())
    }

    /// Lets `apps.connections.open` fail with this error, or, with none, succeed again; sockets live on.
    pub fn refuse(&self, app: &str, error: Option<&str>) -> Result<(), ControlError> {
        self.change(app, |state, index, _| {
            if let Some(app) = state.apps.get_mut(index) {
                app.refusal = error.map(str::to_owned);
            }
            Ok(())
        })
    }

    /// Switches Socket Mode off: `link_disabled` on every socket, and opens fail with [`Rules::disabled_error`] until
    /// [`refuse`](Self::refuse) is called with no error.
    pub fn disable(&self, app: &str) -> Result<(), ControlError> {
        let error = self.rules().disabled_error;
        self.refuse(app, Some(&error))?;
        let act = Act::Disconnect { reason: "link_disabled".into(), after_ms: None, then: None };
        self.act(Some(app), Which::All, &act).map(|_| ())
    }

    /// So many dead registrations count against the app's limit and in `num_connections`.
    pub fn ghosts(&self, app: &str, ghosts: usize) -> Result<(), ControlError> {
        self.change(app, |state, index, _| {
            if let Some(app) = state.apps.get_mut(index) {
                app.ghosts = ghosts;
            }
            Ok(())
        })
    }

    /// The rules now.
    pub fn rules(&self) -> Rules {
        self.shared.state().rules.clone()
    }

    /// Changes the rules. What is under way keeps the times it was given.
    pub fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.state().rules);
    }

    /// Changes the named rules and tells them all.
    pub(super) fn patch_rules(&self, patch: serde_json::Map<String, Value>) -> Result<Rules, ControlError> {
        let bad =
            |error: serde_json::Error| ControlError::Bad(format!("the rules are not understood: {error}"));
        let mut state = self.shared.state();
        let mut rules = serde_json::to_value(&state.rules).map_err(bad)?;
        if let Some(rules) = rules.as_object_mut() {
            rules.extend(patch);
        }
        state.rules = serde_json::from_value(rules).map_err(bad)?;
        Ok(state.rules.clone())
    }

    /// Nothing listens on the port for this long; with `cut` every open connection is closed as well.
    pub fn outage(&self, length: Duration, cut: bool) {
        // Full means that outages are queued already.
        if self.shared.outages.try_send(Outage { length, cut }).is_err() {
            tracing::warn!("too many outages are asked for at once; this one is left out");
        }
    }

    /// The record so far.
    pub fn record(&self) -> Record {
        self.with_record(Record::clone)
    }

    /// Looks at the record without a copy of it. The simulator stands still meanwhile.
    pub fn with_record<R>(&self, look: impl FnOnce(&Record) -> R) -> R {
        let mut state = self.shared.state();
        state.record.now = At(self.shared.now());
        look(&state.record)
    }

    /// How much that was sent is neither acked nor given up.
    pub fn open_deliveries(&self) -> usize {
        self.shared.state().delivery.open()
    }

    /// Forgets what was recorded, but not what is in flight nor the sockets that are there.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        let state = &mut *state;
        state.record.calls.clear();
        state.record.anomalies.clear();
        for (app, record) in state.apps.iter_mut().zip(&mut state.record.apps) {
            app.forgotten = app.recorded;
            let mut sockets = std::mem::take(&mut record.sockets);
            sockets.retain(|socket| socket.tcp_closed_at.is_none());
            *record = AppRecord { slack_app_id: app.id.clone(), sockets, ..AppRecord::default() };
        }
    }

    /// Waits until the record is as wanted. It is looked at again whenever something has happened.
    pub async fn until(
        &self,
        mut wanted: impl FnMut(&Record) -> bool,
        within: Duration,
    ) -> Result<(), Timeout> {
        let mut changes = self.shared.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if self.with_record(&mut wanted) {
                    return;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(within, wait).await.map_err(|_| Timeout(within))
    }

    fn change<R>(
        &self,
        app: &str,
        change: impl FnOnce(&mut State, usize, Duration) -> Result<R, ControlError>,
    ) -> Result<R, ControlError> {
        let now = self.shared.now();
        let result = {
            let mut state = self.shared.state();
            let index = find(&state, app)?;
            change(&mut state, index, now)
        };
        self.shared.changed();
        result
    }
}

fn find(state: &State, app: &str) -> Result<usize, ControlError> {
    state.index_of(app).ok_or_else(|| ControlError::NoApp(app.into()))
}
