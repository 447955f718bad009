//! Which workspaces are meant.

use clap::Args;

/// Of several states, healths, deliveries, warnings, apps or teams any will do; every label and every word must be there.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// In this state: ready, failed, …; may be given more than once, as all of these
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// ok, degraded, down or off
    #[arg(long, value_name = "HEALTH")]
    health: Vec<String>,
    /// active, or paused
    #[arg(long, value_name = "DELIVERY")]
    delivery: Vec<String>,
    /// With this warning
    #[arg(long, value_name = "CODE")]
    warning: Vec<String>,
    /// With this label: tenant:42, or tenant for whatever value
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Of this Slack app
    #[arg(long, value_name = "APP_ID")]
    app: Vec<String>,
    /// Of this Slack team or organisation
    #[arg(long, value_name = "TEAM_ID")]
    team: Vec<String>,
    /// With this in their id or name
    #[arg(long, value_name = "TEXT")]
    q: Vec<String>,
}

impl super::super::filter::Filter for Filter {
    fn given(&self) -> Vec<(&'static str, &[String])> {
        vec![
            ("state", &self.state),
            ("health", &self.health),
            ("delivery", &self.delivery),
            ("warning", &self.warning),
            ("label", &self.label),
            ("app_id", &self.app),
            ("team_id", &self.team),
            ("q", &self.q),
        ]
    }
}
