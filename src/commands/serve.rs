//! `tautline serve`: a node.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::settings::{Flags, options};
use crate::actors::StopReport;
use crate::app::{App, End};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::files::OpenFiles;
use crate::handlers::Registry;
use crate::telemetry::start_log;

/// A node
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    /// Serves until a signal.
    pub(super) fn run(self, handlers: Registry) -> Result<(), Failure> {
        let settings = self.flags.load()?;
        start_log(&settings.log, settings.log_format).map_err(Failure::setup)?;
        doubt(&settings, &handlers);
        OpenFiles::raise();
        let system = actix_rt::System::new();
        let ended = system.block_on(serve(settings, handlers));
        // Dropped, it would wait for whatever blocks a thread of its own, as a name server that does not answer; the process ends anyway.
        std::mem::forget(system);
        ended
    }
}

async fn serve(settings: Settings, handlers: Registry) -> Result<(), Failure> {
    let broken = |error: std::io::Error| Failure::Broken(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let admin_token = admin_token(&settings);
    let options = options(&settings, admin_token.expose_secret(), handlers)?;
    let mut app = tokio::select! {
        app = App::start(options) => app.map_err(Failure::setup)?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tracing::info!(address = %app.address(), handlers = settings.handlers.join(","), "serving");
    let (end, signal) = tokio::select! {
        _ = terminate.recv() => (None, Some("TERM")),
        _ = interrupt.recv() => (None, Some("INT")),
        end = app.ended() => (Some(end), None),
    };
    let clock = Clock::start();
    app.turn_away();
    tracing::info!(signal, "stopping; a second signal ends at once");
    let report = tokio::select! {
        report = app.stop() => report,
        _ = terminate.recv() => return Err(Failure::Broken("ended at once by a second signal".into())),
        _ = interrupt.recv() => return Err(Failure::Broken("ended at once by a second signal".into())),
    };
    tell(&report, clock.mono());
    match end {
        Some(End::Died(part)) => {
            Err(Failure::Broken(format!("the {part} died, which is a bug; start the node again")))
        }
        Some(End::Unfit(problem)) => Err(Failure::setup(problem)),
        None if report.is_complete() => Ok(()),
        None => Err(Failure::Broken(
            "stopped in time, but not all was done; the next start goes on with it".into(),
        )),
    }
}

/// What was left, for who wonders whether the end was clean.
fn tell(report: &StopReport, took: Duration) {
    let StopReport { links_closed, handlers_done, journal_ended, links_left, events_left } = *report;
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if report.is_complete() {
        tracing::info!(ms, links_closed, handlers_done, journal_ended, links_left, events_left, "stopped");
    } else {
        tracing::warn!(ms, links_closed, handlers_done, journal_ended, links_left, events_left, "stopped");
    }
}

/// Says what was given and has no effect.
fn doubt(settings: &Settings, handlers: &Registry) {
    for handler in handlers.names() {
        if !settings.handlers.contains(&handler) {
            tracing::warn!(
                handler,
                "this handler is registered and gets nothing: the setting 'handlers' does not name it"
            );
        }
    }
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for variable in config::unknown_variables(names) {
        tracing::warn!(
            variable,
            "there is no such setting, so it has no effect; config.default.toml has them all"
        );
    }
    if settings.slack_bot_token.is_some() && settings.slack_app_token.is_none() {
        tracing::warn!("SLACK_BOT_TOKEN has no effect without SLACK_APP_TOKEN");
    }
}

/// The token of the settings, else a new one, told once and never through the log.
#[expect(clippy::print_stderr, reason = "a secret is told to whoever started the node, and to no log")]
fn admin_token(settings: &Settings) -> SecretString {
    settings.admin_token.clone().unwrap_or_else(|| {
        let mut bytes = [0; 24];
        rand::rng().fill_bytes(&mut bytes);
        let token = format!("tautline_{}", URL_SAFE_NO_PAD.encode(bytes));
        eprintln!("admin token for this run (TAUTLINE_ADMIN_TOKEN sets a lasting one): {token}");
        token.into()
    })
}
