//! `tautline simulate`: the simulator alone, for tests in any language.

use std::net::SocketAddr;

use clap::Args;

use super::Failure;
use crate::files::OpenFiles;
use crate::simulator::{Load, NewApp, Options, Recording, Rules, Simulator, Team};

/// A Slack of your own: Web API, Socket Mode sockets, retries and faults, steered over HTTP.
#[derive(Args, Debug)]
pub(super) struct Simulate {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8970")]
    listen: SocketAddr,
    /// Refuse tokens that were not registered; by default any xapp- token is a new app's.
    #[arg(long)]
    no_auto_register: bool,
    /// An app to know from the start: its app-level token, and after commas the teams it is installed in, with their
    /// bot tokens: `xapp-1-A1-1-a,T1=xoxb-1,T2=xoxb-2`.
    #[arg(long, value_name = "TOKEN[,TEAM=TOKEN]…", value_parser = parse_app)]
    app: Vec<AppArg>,
    /// Each app known from the start is sent so many messages a second.
    #[arg(long, value_name = "RATE")]
    chatter: Option<f64>,
    /// The minutes between retries are multiplied with this; 0.01 makes a minute 600 ms.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// How long an envelope waits for its ack, milliseconds.
    #[arg(long, default_value_t = 3_000)]
    ack_deadline_ms: u64,
    /// How long a socket lives, seconds.
    #[arg(long, default_value_t = 18_060)]
    approximate_connection_time: u64,
    /// Keep only counts of events, for benchmarks.
    #[arg(long)]
    counts_only: bool,
    /// Make the same ids each time.
    #[arg(long)]
    seed: Option<u64>,
}

/// Holds tokens, so its `Debug` shows none.
#[derive(Clone)]
struct AppArg(NewApp);

impl std::fmt::Debug for AppArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppArg(…)")
    }
}

impl Simulate {
    /// Runs until the process is told to end.
    pub(super) fn run(self) -> Result<(), Failure> {
        OpenFiles::raise();
        actix_rt::System::new().block_on(self.simulate())
    }

    #[expect(clippy::print_stdout, reason = "a command speaks to its user")]
    async fn simulate(self) -> Result<(), Failure> {
        let rules = Rules {
            time_scale: self.time_scale,
            ack_deadline_ms: self.ack_deadline_ms,
            approximate_connection_time: self.approximate_connection_time,
            ..Rules::default()
        };
        let record = if self.counts_only { Recording::Counts } else { Recording::Full };
        let auto_register = !self.no_auto_register;
        let options = Options { listen: self.listen, auto_register, seed: self.seed, record, rules };
        let slack = Simulator::start(options)
            .map_err(|error| Failure::Setup(format!("can't listen on {}: {error}", self.listen)))?;
        for AppArg(app) in self.app {
            let id = slack.add_app(app).map_err(Failure::setup)?;
            if let Some(rate) = self.chatter {
                slack.load(&id, Load { rate: Some(rate), ..Load::default() }).map_err(Failure::setup)?;
            }
        }
        println!("A simulated Slack is at {}", slack.api_url());
        println!("  Tautline   TAUTLINE_SLACK_API_URL={}", slack.api_url());
        println!(
            "  Node SDK   new SocketModeClient({{ appToken, clientOptions: {{ slackApiUrl: '{}' }} }})",
            slack.api_url()
        );
        println!("  Python SDK WebClient(base_url='{}')", slack.api_url());
        println!("  Control    {}   (docs/simulator.md)", slack.control_url());
        tokio::signal::ctrl_c().await.map_err(Failure::setup)
    }
}

fn parse_app(text: &str) -> Result<AppArg, String> {
    let mut parts = text.split(',');
    let app_token = parts.next().unwrap_or_default().to_owned();
    let teams = parts
        .map(|part| match part.split_once('=') {
            Some((team, bot)) => {
                Ok(Team { team_id: team.into(), bot_token: Some(bot.into()), enterprise_id: None })
            }
            None => Err("after the app-level token come teams, each as TEAM=BOT_TOKEN".to_owned()),
        })
        .collect::<Result<_, _>>()?;
    Ok(AppArg(NewApp { app_token, slack_app_id: None, teams }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_given_as_its_token_and_its_teams() {
        let AppArg(app) = parse_app("xapp-1-A1-1-a,T1=xoxb-1,T2=xoxb-2").unwrap();
        assert_eq!(app.app_token, "xapp-1-A1-1-a");
        let teams: Vec<_> =
            app.teams.iter().map(|team| (team.team_id.as_str(), team.bot_token.as_deref())).collect();
        assert_eq!(teams, [("T1", Some("xoxb-1")), ("T2", Some("xoxb-2"))]);
    }

    #[test]
    fn a_mistake_in_it_does_not_show_the_token() {
        let error = parse_app("xapp-1-A1-1-secret,xoxb-secret").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
