//! Which workspaces are meant, in the words of the API: a list's query, and the body of an action on many.

use clap::Args;
use serde_json::{Map, Value};

/// Of several states, healths, deliveries, warnings, apps or teams any will do; every label and every word must be there.
#[derive(Clone, Debug, Default, Args)]
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

impl Filter {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let given = self.given().into_iter();
        given.flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone()))).collect()
    }

    pub(super) fn body(&self) -> Value {
        let given = self.given().into_iter().filter(|(_, values)| !values.is_empty());
        let fields = given.map(|(name, values)| (name.to_owned(), Value::from(values.to_vec())));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// Does it mean every workspace?
    pub(super) fn is_empty(&self) -> bool {
        self.given().into_iter().all(|(_, values)| values.is_empty())
    }

    fn given(&self) -> [(&'static str, &[String]); 8] {
        [
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
