//! `tautline check`: would a node start here, and would it reach Slack? One line each.

use clap::Args;

use super::Failure;
use super::settings::{Flags, routes};
use crate::config::Settings;
use crate::files::OpenFiles;
use crate::secret::BotToken;
use crate::slack::tls::client_config;
use crate::slack::web::{CallError, Outside, WebApi};
use crate::store::{self, OpenOptions};

/// Settings, database, key, file limit, Slack: one line each
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    flags: Flags,
}

impl Check {
    /// Checks everything and says all of it, also after something has failed.
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = self.flags.load()?;
        routes(&settings)?;
        actix_rt::System::new().block_on(async {
            let checks = [
                ("settings", Ok("readable".to_owned())),
                ("database and key", database(&settings).await),
                ("file limit", file_limit()),
                ("slack", slack(&settings).await),
            ];
            let mut failed = 0_u32;
            for (what, outcome) in checks {
                failed += u32::from(outcome.is_err());
                say(what, &outcome);
            }
            if failed == 0 { Ok(()) } else { Err(Failure::Setup(format!("{failed} of 4 checks failed"))) }
        })
    }
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn say(what: &str, outcome: &Result<String, String>) {
    match outcome {
        Ok(fine) => println!("ok    {what}: {fine}"),
        Err(problem) => println!("FAIL  {what}: {problem}"),
    }
}

/// Opens the database where there is one; a check makes none.
async fn database(settings: &Settings) -> Result<String, String> {
    let options =
        OpenOptions { address: settings.database_url.clone(), key: settings.key.clone(), max_pages: None };
    let shown = store::shown(&options.address);
    if !store::exists(&options).await.map_err(|error| error.to_string())? {
        return Ok(format!("{shown} holds nothing of ours yet; the first start makes it"));
    }
    let opened = store::open(options).await.map_err(|error| error.to_string())?;
    let ping = opened.store.ping().await;
    opened.store.close().await;
    ping.map_err(|error| error.to_string())?;
    let what = format!("{shown} can be read and written");
    Ok([vec![what], opened.notes].concat().join("; "))
}

/// The limit on open files, raised as `serve` raises it.
fn file_limit() -> Result<String, String> {
    let files = OpenFiles::raise();
    match (files.0, files.sockets()) {
        (Some(limit), Some(0)) => {
            Err(format!("{limit} open files; raise the hard limit (ulimit -Hn, LimitNOFILE)"))
        }
        // Two sockets each: one, and one more while it is replaced.
        (Some(limit), Some(sockets)) => {
            Ok(format!("{limit} open files, enough for {} workspaces of one socket each", sockets / 2))
        }
        (None, _) | (_, None) => Ok("unlimited".into()),
    }
}

/// Any answer that is Slack's will do: the token is none.
async fn slack(settings: &Settings) -> Result<String, String> {
    let tls = client_config(settings.extra_ca_file.as_deref()).map_err(|error| error.to_string())?;
    let api = WebApi::new(&Outside { api: settings.slack_api_url.clone(), tls });
    let nobody = BotToken::parse("xoxb-tautline-check").map_err(|error| error.to_string())?;
    let host = settings.slack_api_url.host_str().unwrap_or("Slack");
    match api.auth_test(&nobody).await {
        Ok(_) | Err(CallError::Refused(_) | CallError::RateLimited(_)) => Ok(format!("{host} answers")),
        Err(error) => Err(format!("{host}: {error}")),
    }
}
