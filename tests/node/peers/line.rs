//! One of Slack's SDKs in a process of its own, and its app at the simulator.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tautline::simulator::{
    Act, AppRecord, Control, Ending, EventRecord, Handle, NewApp, Options, Outcome, Outgoing, Record, Rules,
    Simulator, Team, Which,
};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// Far longer than any SDK takes for anything here; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(75);

/// Slack's SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// `@slack/socket-mode`.
    Node,
    /// `@slack/bolt`.
    Bolt,
    /// `slack_sdk`, its built-in client.
    Python,
}

pub(crate) const ALL: [Sdk; 3] = [Sdk::Node, Sdk::Bolt, Sdk::Python];

/// A simulator that ends TCP with the close handshake. Slack leaves it open, and then the Node SDK waits seconds for it, at
/// each end of a socket: one test shows that, the others need not wait.
pub(crate) fn slack(change: impl FnOnce(&mut Rules)) -> Handle {
    let mut options = Options::default();
    options.rules.keep_tcp_after_close = false;
    change(&mut options.rules);
    Simulator::start(options).unwrap()
}

/// Runs a case for each of these SDKs, side by side, each with an app and a process of its own, connected.
pub(crate) async fn each(slack: &Handle, sdks: &[Sdk], case: impl AsyncFn(&mut Line)) {
    each_with(slack, sdks, &[()], async |line, ()| case(line).await).await;
}

/// The same for each of these SDKs and each of these inputs.
pub(crate) async fn each_with<I>(
    slack: &Handle,
    sdks: &[Sdk],
    inputs: &[I],
    case: impl AsyncFn(&mut Line, &I),
) {
    let mut lines = Vec::new();
    for (tag, input) in inputs.iter().enumerate() {
        lines.extend(sdks.iter().map(|sdk| (Line::start(slack, *sdk, &tag.to_string(), &[]), input)));
    }
    join_all(lines.iter_mut().map(async |(line, input)| {
        line.connected(1).await;
        case(line, input).await;
    }))
    .await;
}

/// One SDK, its process and its app.
pub(crate) struct Line {
    pub(crate) sdk: Sdk,
    /// Slack's id of its app.
    pub(crate) app: String,
    slack: Control,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: NamedTempFile,
    said: Vec<Value>,
}

impl Line {
    /// Starts the SDK's process for an app of its own; `tag` tells two of one SDK apart.
    pub(crate) fn start(slack: &Handle, sdk: Sdk, tag: &str, env: &[(&str, &str)]) -> Self {
        let app = format!("A0{}{tag}", format!("{sdk:?}").to_uppercase());
        let (app_token, bot_token) =
            (format!("xapp-1-{app}-1-0123456789abcdef"), format!("xoxb-{app}-0123456789"));
        let team = Team {
            team_id: format!("T0{tag}{sdk:?}"),
            bot_token: Some(bot_token.clone()),
            enterprise_id: None,
        };
        let known =
            NewApp { app_token: app_token.clone(), slack_app_id: Some(app.clone()), teams: vec![team] };
        slack.add_app(known).unwrap();
        let stderr = NamedTempFile::new().unwrap();
        let mut command = program(sdk);
        // A proxy would be asked for the simulator.
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let mut child = command
            .env("SLACK_API_URL", slack.api_url())
            .env("SLACK_APP_TOKEN", app_token)
            .env("SLACK_BOT_TOKEN", bot_token)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{sdk:?} does not start: {error}; run scripts/test"));
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { sdk, app, slack: slack.control(), child, stdout, stderr, said: Vec::new() }
    }

    /// Waits until what the process has said so far is as wanted.
    pub(crate) async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(&self.said) {
                return found;
            }
            match timeout_at(deadline, self.stdout.next_line()).await {
                Ok(Ok(Some(line))) => self.said.push(serde_json::from_str(&line).unwrap()),
                Ok(Ok(None)) => self.fail(&format!("has ended before {what}")),
                Ok(Err(error)) => self.fail(&format!("cannot be heard: {error}")),
                Err(_) => self.fail(&format!("has not come to {what}")),
            }
        }
    }

    /// Waits until the SDK has read its n-th hello.
    pub(crate) async fn connected(&mut self, times: usize) {
        let what = format!("connection {times}");
        self.until(&what, |said| (of(said, "connected").count() >= times).then_some(())).await;
    }

    /// Waits until the SDK has handed over this event, at this attempt.
    pub(crate) async fn received(&mut self, id: &str, retry: u64) -> Value {
        let record = self.record();
        let event = record.event(id).unwrap();
        let envelopes: Vec<Value> =
            event.attempts.iter().map(|attempt| attempt.envelope_id.as_str().into()).collect();
        self.until(&format!("event {id} at attempt {retry}"), |said| {
            of(said, "received")
                .filter(|line| envelopes.contains(&line["envelope_id"]))
                .find(|line| line["retry_num"].as_u64().unwrap_or_default() == retry)
                .cloned()
        })
        .await
    }

    /// Has the simulator send something and waits until it is settled.
    pub(crate) async fn sent(&mut self, what: Outgoing) -> EventRecord {
        let id = self.slack.send(&self.app, what).unwrap();
        self.settled(&id).await
    }

    /// Waits until something sent is acked, given up or timed out.
    pub(crate) async fn settled(&mut self, id: &str) -> EventRecord {
        self.seen("an event settled", |app| {
            app.event(id).is_some_and(|event| event.outcome != Outcome::Pending)
        })
        .await;
        self.record().event(id).unwrap().clone()
    }

    /// An event goes all the way: out, handed over, acked, on a socket that is live.
    pub(crate) async fn works(&mut self) {
        let event = self.sent(Outgoing::default()).await;
        assert_eq!(event.outcome, Outcome::Acked, "{:?}", self.sdk);
        let last = event.attempts.last().unwrap();
        self.received(&event.id, last.retry.into()).await;
    }

    /// Does something to the app's sockets.
    pub(crate) fn act(&self, act: &Act) {
        assert_eq!(self.slack.act(Some(&self.app), Which::All, act), Ok(1), "{:?} has one socket", self.sdk);
    }

    /// Slack announces the end of the socket, and ends it as it does.
    pub(crate) fn announce(&self, reason: &str) {
        self.act(&Act::Disconnect { reason: reason.into(), after_ms: None, then: None });
    }

    /// Slack ends the socket.
    pub(crate) fn end(&self, how: Ending) {
        self.act(&Act::End { how });
    }

    /// Waits until the app's record is as wanted.
    pub(crate) async fn seen(&mut self, what: &str, mut wanted: impl FnMut(&AppRecord) -> bool) {
        let slack = self.slack.clone();
        let app = self.app.clone();
        let look = |record: &Record| record.app(&app).is_some_and(&mut wanted);
        if slack.until(look, PATIENCE).await.is_err() {
            self.fail(&format!("never led to {what}"));
        }
    }

    /// What the simulator has written down about the app.
    pub(crate) fn record(&self) -> AppRecord {
        self.slack.with_record(|record| record.app(&self.app).unwrap().clone())
    }

    /// The longest time without a live socket that is over.
    pub(crate) fn longest_gap(&self) -> Duration {
        let gaps = self.slack.with_record(|record| record.app(&self.app).unwrap().gaps(record.now));
        gaps.iter().filter(|gap| gap.over).map(|gap| gap.length).max().unwrap_or_default().0
    }

    /// Waits for the end of the process; its last word is this reason.
    pub(crate) async fn ends_because_of(&mut self, reason: &str) -> ExitStatus {
        let last =
            self.until("its end", |said| of(said, "unable_to_socket_mode_start").next().cloned()).await;
        assert!(last["error"].as_str().unwrap().contains(reason), "{:?}: {last}", self.sdk);
        timeout(PATIENCE, self.child.wait()).await.expect("a process that says it ends does").unwrap()
    }

    fn fail(&self, what: &str) -> ! {
        let errors = fs::read_to_string(self.stderr.path()).unwrap_or_default();
        let said: Vec<String> = self.said.iter().map(Value::to_string).collect();
        panic!(
            "{:?} {what}\n--- it said\n{}\n--- on stderr\n{errors}\n--- the record\n{:#?}",
            self.sdk,
            said.join("\n"),
            self.record()
        );
    }
}

/// What was said of one kind.
fn of<'a>(said: &'a [Value], event: &str) -> impl Iterator<Item = &'a Value> {
    said.iter().filter(move |line| line["event"] == event)
}

fn program(sdk: Sdk) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let (runs, script) = match sdk {
        Sdk::Node => ("TAUTLINE_PEERS_NODE", "node/socket-mode.mjs"),
        Sdk::Bolt => ("TAUTLINE_PEERS_NODE", "node/bolt.mjs"),
        Sdk::Python => ("TAUTLINE_PEERS_PYTHON", "python/builtin.py"),
    };
    if sdk != Sdk::Python {
        wanted("TAUTLINE_PEERS_NODE_MODULES");
    }
    let mut command = Command::new(wanted(runs));
    command.arg(folder.join(script));
    command
}

fn wanted(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| {
        panic!("{name} is not set: run scripts/test, it installs Slack's SDKs and says where")
    })
}
