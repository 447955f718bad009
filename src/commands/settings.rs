//! From settings to a node: what `serve` and `check` share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::admin::AdminToken;
use crate::app::Options;
use crate::config::{self, Settings, Sources};
use crate::handlers::Registry;
use crate::machine::pace::Limits;
use crate::telemetry::Metrics;

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// A settings file; without it tautline.toml, if it is here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where workspaces and events are kept
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Where the admin API is served
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Slack's Web API
    #[arg(long, value_name = "URL")]
    slack_api_url: Option<String>,
    /// The handlers, with commas between them
    #[arg(long, value_name = "NAMES")]
    handlers: Option<String>,
}

impl Flags {
    /// The settings of this process.
    pub(super) fn load(&self) -> Result<Settings, Failure> {
        let file = self.config.clone().or_else(config::default_file);
        let given = [
            ("database_url", &self.database_url),
            ("listen", &self.listen),
            ("slack_api_url", &self.slack_api_url),
            ("handlers", &self.handlers),
        ];
        let flags = given.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect();
        Settings::load(&Sources { file: file.as_deref(), env: &config::environment, flags })
            .map_err(Failure::setup)
    }
}

/// Threads that carry connections: one a core, and four at most, since a core carries tens of thousands of events a second.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(4)
}

/// What a node is started with under these settings, which name those of the handlers it runs.
pub(super) fn options(
    settings: &Settings,
    admin_token: &str,
    mut handlers: Registry,
) -> Result<Options, Failure> {
    handlers.select(&settings.handlers).map_err(Failure::setup)?;
    Ok(Options {
        database: settings.database_url.clone(),
        key: settings.key.clone(),
        max_pages: None,
        listen: settings.listen,
        metrics_listen: settings.metrics_listen,
        admin_token: AdminToken::new(admin_token),
        slack_api: settings.slack_api_url.clone(),
        extra_ca_file: settings.extra_ca_file.clone(),
        ack: settings.ack,
        handlers,
        links: settings.links,
        opens: Limits { per_second: settings.opens_per_second, at_once: settings.opens_at_once },
        threads: threads(),
        workspace: settings.slack_app_token.clone().map(|app| (app, settings.slack_bot_token.clone())),
        metrics: Arc::new(Metrics::new().map_err(Failure::setup)?),
        keep: settings.retention_days.map(|days| Duration::from_hours(24 * u64::from(days))),
        webhooks_allow_private: settings.webhooks_allow_private,
    })
}
