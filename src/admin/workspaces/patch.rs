//! `PATCH`: a JSON merge patch (RFC 7396). What is absent stays, `null` removes.

use serde_json::{Map, Value};

use super::super::body::{Fields, text};
use super::super::problem::Problem;
use super::body::{self, KNOWN, MAX_LABEL_VALUE, MAX_LABELS, label_key};
use crate::secret::{AppToken, BotToken};
use crate::store::{DeliveryMode, Desired, Secret, Workspace, WorkspaceSpec};

/// What is to be other than it is.
#[derive(Debug, Default)]
pub(super) struct Patch {
    /// The name on a screen, kept, removed or set as a secret is.
    title: Secret<String>,
    desired: Option<Desired>,
    delivery: Option<DeliveryMode>,
    links: Option<u8>,
    labels: Labels,
    app_token: Secret<AppToken>,
    bot_token: Secret<BotToken>,
}

#[derive(Debug, Default)]
struct Labels {
    /// All that are there go.
    cleared: bool,
    /// A value to set; none to remove.
    changes: Vec<(String, Option<String>)>,
}

impl Patch {
    /// Nothing but the wish.
    pub(super) fn wish(desired: Desired) -> Self {
        Self { desired: Some(desired), ..Self::default() }
    }

    /// Nothing but whether its events are given to handlers.
    pub(super) fn delivery(delivery: DeliveryMode) -> Self {
        Self { delivery: Some(delivery), ..Self::default() }
    }

    /// From the fields of a body.
    pub(super) fn parse(map: Map<String, Value>, default_links: u8) -> Result<Self, Problem> {
        let is_null = |field: &str| map.get(field).is_some_and(Value::is_null);
        let (links_go, labels_go, wish_goes) = (is_null("links"), is_null("labels"), is_null("desired"));
        let delivery_goes = is_null("delivery");
        let names = map.contains_key("name");
        let mut fields = Fields::new(map);
        if wish_goes {
            fields.wrong("desired", "cannot be removed: 'connected' or 'disconnected'".to_owned());
        }
        if delivery_goes {
            fields.wrong("delivery", "cannot be removed: 'active' or 'paused'".to_owned());
        }
        let patch = Self {
            title: match fields.take("name", body::title).flatten() {
                Some(title) => Secret::Set(title),
                None if names => Secret::Remove,
                None => Secret::Keep,
            },
            desired: fields.take("desired", body::desired),
            delivery: fields.take("delivery", body::delivery),
            links: fields.take("links", body::links).or_else(|| links_go.then_some(default_links)),
            labels: Labels { cleared: labels_go, changes: fields.take("labels", labels).unwrap_or_default() },
            app_token: fields.secret("app_token", AppToken::parse),
            bot_token: fields.secret("bot_token", BotToken::parse),
        };
        fields.done(KNOWN).map(|()| patch)
    }

    /// The workspace as it is to be. What it may not be is told by field.
    pub(super) fn onto(&self, workspace: &Workspace) -> Result<WorkspaceSpec, String> {
        let mut labels = if self.labels.cleared { Vec::new() } else { workspace.labels.clone() };
        for (key, value) in &self.labels.changes {
            labels.retain(|(known, _)| known != key);
            labels.extend(value.clone().map(|value| (key.clone(), value)));
        }
        if labels.len() > MAX_LABELS {
            return Err(format!("at most {MAX_LABELS} labels"));
        }
        Ok(WorkspaceSpec {
            title: match &self.title {
                Secret::Keep => workspace.title.clone(),
                Secret::Remove => None,
                Secret::Set(title) => Some(title.clone()),
            },
            desired: self.desired.unwrap_or(workspace.desired),
            delivery: self.delivery.unwrap_or(workspace.delivery),
            links: self.links.unwrap_or(workspace.links),
            labels,
            app_token: self.app_token.clone(),
            bot_token: self.bot_token.clone(),
        })
    }
}

/// Labels are merged one by one: `null` removes one.
fn labels(value: &Value) -> Result<Vec<(String, Option<String>)>, String> {
    let Value::Object(map) = value else {
        return Err("must be an object of strings and nulls, or null".to_owned());
    };
    let one = |(key, value): (&String, &Value)| {
        let value = if value.is_null() { None } else { Some(text(value, MAX_LABEL_VALUE)?.to_owned()) };
        Ok((label_key(key)?, value))
    };
    map.iter().map(one).collect()
}
