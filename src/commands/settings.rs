//! From settings to a node: what `serve` and `check` share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Failure;
use crate::admin::AdminToken;
use crate::app::Options;
use crate::config::{self, ConfigError, Settings, Sources};
use crate::handlers::Registry;
use crate::ids::RouteName;
use crate::machine::pace::Limits;
use crate::machine::routes::Route;
use crate::store::Keep;
use crate::store::read_route;
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
        routes: routes(settings)?,
        links: settings.links,
        opens: Limits { per_second: settings.opens_per_second, at_once: settings.opens_at_once },
        threads: threads(),
        workspace: settings.slack_app_token.clone().map(|app| (app, settings.slack_bot_token.clone())),
        metrics: Arc::new(Metrics::new().map_err(Failure::setup)?),
        keep: Keep {
            events: settings.retention_days.map(days),
            payloads: settings.payload_retention_days.map(days),
            payload_bytes: settings.retention_max_bytes,
        },
        webhooks_allow_private: settings.webhooks_allow_private,
    })
}

fn days(days: u32) -> Duration {
    Duration::from_hours(24 * u64::from(days))
}

/// The routes of the settings file, checked.
pub(super) fn routes(settings: &Settings) -> Result<Vec<Route>, Failure> {
    let mut routes: Vec<Route> = Vec::new();
    for table in &settings.routes {
        let wrong = |must: String| {
            Failure::setup(ConfigError::Wrong { place: table.place.clone(), key: "routes", must })
        };
        let mut fields = table.fields.clone();
        let name = fields.remove("name");
        let name = name.as_ref().and_then(Value::as_str).and_then(|name| RouteName::parse(name).ok());
        let name = name.ok_or_else(|| {
            wrong("must each have a name of 1 to 128 letters, digits, '_', '.' and '-', like name = \"billing\"".into())
        })?;
        if routes.iter().any(|route| route.name == name) {
            return Err(wrong(format!("must each have a name of its own, and '{name}' comes twice")));
        }
        let read = read_route(name.clone(), &fields);
        let route = read.map_err(|errors| {
            let errors: Vec<_> =
                errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
            wrong(format!("has '{name}', of which this is wrong: {}", errors.join("; ")))
        })?;
        if !settings.handlers.contains(&route.handler) {
            return Err(wrong(format!(
                "has '{name}', whose handler is none of this node's; they are: {}",
                settings.handlers.join(", ")
            )));
        }
        routes.push(route);
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_route_of_the_file_is_told_by_its_line_and_name() {
        for (file, told) in [
            ("[[routes]]\nhandler = \"log\"", "line 1: routes must each have a name"),
            (
                "[[routes]]\nname = \"r\"",
                "line 1: routes has 'r', of which this is wrong: handler: a route needs",
            ),
            (
                "\n[[routes]]\nname = \"r\"\nhandler = \"log\"\nmatch.labels = [\"gold\"]",
                "line 2: routes has 'r', of which this is wrong: match.labels: number 1 must be key:value",
            ),
            (
                "[[routes]]\nname = \"r\"\nhandler = \"lgo\"",
                "routes has 'r', whose handler is none of this node's; they are: log",
            ),
            (
                "[[routes]]\nname = \"r\"\nhandler = \"log\"\n[[routes]]\nname = \"r\"\nhandler = \"log\"",
                "line 4: routes must each have a name of its own, and 'r' comes twice",
            ),
        ] {
            let Err(Failure::Setup(error)) = routes(&settings(file)) else { panic!("{file}") };
            assert!(error.contains(told), "{file}: {error}");
        }
        let fine = "[[routes]]\nname = \"r\"\nhandler = \"log\"\nmatch.types = [\"message\"]";
        let read = routes(&settings(fine)).unwrap();
        assert_eq!((read.len(), read[0].handler.as_str()), (1, "log"));
    }

    fn settings(file: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, file).unwrap();
        Settings::load(&Sources { file: Some(&path), env: &|_| None, flags: Vec::new() }).unwrap()
    }
}
