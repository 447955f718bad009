//! `tautline demo`: everything at once, with nothing to set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use super::Failure;
use super::settings::threads;
use crate::admin::AdminToken;
use crate::app::{App, Options};
use crate::config::{Ack, KeySource, LogFormat};
use crate::files::OpenFiles;
use crate::handlers::Registry;
use crate::ids::WorkspaceName;
use crate::machine::pace::Limits;
use crate::secret::{AppToken, BotToken};
use crate::simulator::{self, Act, Handle, Load, NewApp, Simulator, Team, Which};
use crate::store::{DeliveryMode, Desired, Keep, Secret, WorkspaceSpec};
use crate::telemetry::{Metrics, start_log};

/// The customers of the demo.
const CUSTOMERS: [&str; 5] = ["acme", "globex", "hooli", "initech", "umbrella"];

/// The demo's admin token: a token for a database that is gone when the demo ends.
const TOKEN: &str = "demo";

/// Between two changes of a link, so that one sees a refresh come and go without a gap.
const REFRESH_EVERY: Duration = Duration::from_secs(12);

/// A node, a simulated Slack and five workspaces that chatter: nothing to set up
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where the admin API is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: std::net::SocketAddr,
    /// End after so many seconds; until Ctrl-C without
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

impl Demo {
    /// Runs until Ctrl-C, or as long as was asked.
    pub(super) fn run(self) -> Result<(), Failure> {
        // Its admin token is in the documentation, and its webhooks may reach private networks.
        if !self.listen.ip().to_canonical().is_loopback() {
            let problem = "the demo's admin token is known to everybody, so it listens on this machine alone: --listen 127.0.0.1:PORT";
            return Err(Failure::Setup(problem.to_owned()));
        }
        start_log("info", LogFormat::Text).map_err(Failure::setup)?;
        let folder = Folder::make()?;
        OpenFiles::raise();
        actix_rt::System::new().block_on(self.play(&folder))
    }

    async fn play(&self, folder: &Folder) -> Result<(), Failure> {
        let slack = Simulator::start(simulator::Options::default()).map_err(Failure::setup)?;
        let app = App::start(self.options(&slack, folder)?).await.map_err(Failure::setup)?;
        say(&format!("the admin API answers at http://{}; try", app.address()));
        say(&format!("  curl -H 'Authorization: Bearer {TOKEN}' http://{}/api/v1/workspaces", app.address()));
        say(
            "five workspaces connect, chatter, and are asked by Slack for fresh sockets now and then; Ctrl-C ends it",
        );
        for (number, customer) in CUSTOMERS.iter().enumerate() {
            register(&app, &slack, number, customer).await?;
        }
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::setup)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::setup)?;
        let end = tokio::time::sleep(self.seconds.map_or(Duration::MAX / 4, Duration::from_secs));
        tokio::select! {
            () = refresh_in_turn(&slack) => {}
            () = end => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tell_result(&slack);
        app.stop().await;
        slack.stop();
        Ok(())
    }

    fn options(&self, slack: &Handle, folder: &Folder) -> Result<Options, Failure> {
        let mut handlers = Registry::default();
        handlers.register_builtin("log").map_err(Failure::setup)?;
        Ok(Options {
            database: folder.0.join("demo.db").display().to_string(),
            key: KeySource::Beside,
            max_pages: None,
            listen: self.listen,
            metrics_listen: None,
            admin_token: AdminToken::new(TOKEN),
            slack_api: Url::parse(&slack.api_url()).map_err(Failure::setup)?,
            extra_ca_file: None,
            ack: Ack::Stored,
            handlers,
            routes: Vec::new(),
            links: 1,
            opens: Limits::default(),
            threads: threads(),
            workspace: None,
            keep: Keep::default(),
            webhooks_allow_private: true,
            metrics: Arc::new(Metrics::new().map_err(Failure::setup)?),
        })
    }
}

/// One customer: an app of its own at the simulated Slack, and a workspace here.
async fn register(app: &App, slack: &Handle, number: usize, customer: &str) -> Result<(), Failure> {
    let app_id = format!("A0DEMO{number}");
    let app_token = format!("xapp-1-{app_id}-{number}-0123456789abcdef");
    let bot_token = format!("xoxb-{number}-0123456789abcdef");
    let team =
        Team { team_id: format!("T0DEMO{number}"), bot_token: Some(bot_token.clone()), enterprise_id: None };
    let known =
        NewApp { app_token: app_token.clone(), slack_app_id: Some(app_id.clone()), teams: vec![team] };
    slack.add_app(known).map_err(Failure::setup)?;
    let chatter = Load { rate: Some(0.4), ..Load::default() };
    slack.load(&app_id, chatter).map_err(Failure::setup)?;
    let name = WorkspaceName::parse(customer).map_err(Failure::setup)?;
    let spec = WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: Vec::new(),
        app_token: Secret::Set(AppToken::parse(&app_token).map_err(Failure::setup)?),
        bot_token: Secret::Set(BotToken::parse(&bot_token).map_err(Failure::setup)?),
    };
    app.put_workspace(&name, &spec).await.map_err(Failure::setup)
}

/// Slack asks one app after the other for a fresh socket.
async fn refresh_in_turn(slack: &Handle) {
    for number in (0..CUSTOMERS.len()).cycle() {
        tokio::time::sleep(REFRESH_EVERY).await;
        let refresh = Act::Disconnect { reason: "refresh_requested".into(), after_ms: None, then: None };
        match slack.act(Some(&format!("A0DEMO{number}")), Which::Newest, &refresh) {
            Ok(_) => tracing::info!(workspace = CUSTOMERS.get(number), "Slack asks for a fresh socket"),
            Err(error) => tracing::warn!(%error, "no socket to refresh"),
        }
    }
}

/// What the simulated Slack has seen: the same record that tests judge by.
fn tell_result(slack: &Handle) {
    let record = slack.record();
    let (mut sent, mut acked, mut retried, mut sockets) = (0, 0, 0, 0);
    for app in &record.apps {
        sent += app.counts.sent;
        acked += app.counts.acked;
        retried += app.counts.retried;
        sockets += app.counts.sockets;
    }
    say(&format!(
        "Slack sent {sent} events over {sockets} sockets; {acked} were acked, {retried} had to be sent again"
    ));
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn say(line: &str) {
    println!("{line}");
}

/// A folder for the demo's database, gone when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("tautline-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::Setup(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_whose_token_everybody_knows_listens_on_this_machine_alone() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let demo = Demo { listen: listen.parse().unwrap(), seconds: Some(0) };
            let Err(Failure::Setup(problem)) = demo.run() else { panic!("{listen}") };
            assert!(problem.contains("127.0.0.1"), "{problem}");
        }
    }
}
