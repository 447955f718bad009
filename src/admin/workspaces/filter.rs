//! Which workspaces are meant: the same words in the query of a list and in the body of an action on many.

use super::super::query::Taken;
use super::body::{label_key, label_value};
use crate::status::{Code, Health, State, Status};
use crate::store::{DeliveryMode, Workspace};

/// The parameters, for messages.
pub(in crate::admin) const KNOWN: &str = "state, health, delivery, warning, label, app_id, team_id, q";
/// Conditions of one kind: far more than anybody types.
const MOST: usize = 16;
const LONGEST_WORD: usize = 255;

/// What a workspace must be like. Of several states, healths, deliveries or warnings any will do; every label must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::admin) struct Filter {
    states: Vec<State>,
    healths: Vec<Health>,
    deliveries: Vec<DeliveryMode>,
    warnings: Vec<Code>,
    labels: Vec<(String, Option<String>)>,
    app_ids: Vec<String>,
    team_ids: Vec<String>,
    words: Vec<String>,
    given: usize,
}

impl Filter {
    /// Takes one more condition.
    pub(in crate::admin) fn take(&mut self, key: &str, value: &str) -> Taken {
        if !KNOWN.split(", ").any(|known| known == key) {
            return Taken::Unknown;
        }
        self.given += 1;
        let taken = match key {
            "state" => one_of(State::ALL, State::as_str, value).map(|state| self.states.push(state)),
            "health" => one_of(Health::ALL, Health::as_str, value).map(|health| self.healths.push(health)),
            "delivery" => {
                one_of(DeliveryMode::ALL, DeliveryMode::as_str, value).map(|one| self.deliveries.push(one))
            }
            "warning" => known_code(value).map(|code| self.warnings.push(code)),
            "label" => label(value).map(|label| self.labels.push(label)),
            "app_id" => slack_id(value).map(|id| self.app_ids.push(id)),
            "team_id" => slack_id(value).map(|id| self.team_ids.push(id)),
            _ => word(value).map(|word| self.words.push(word)),
        };
        let most = [
            self.states.len(),
            self.healths.len(),
            self.deliveries.len(),
            self.warnings.len(),
            self.labels.len(),
            self.app_ids.len(),
            self.team_ids.len(),
            self.words.len(),
        ];
        match taken {
            Ok(()) if most.into_iter().any(|count| count > MOST) => {
                Taken::Wrong(format!("at most {MOST} times"))
            }
            Ok(()) => Taken::OneOfMany,
            Err(message) => Taken::Wrong(message),
        }
    }

    /// Is every workspace meant?
    pub(in crate::admin) const fn is_empty(&self) -> bool {
        self.given == 0
    }

    /// Is this one meant? `status` is what is shown of it.
    pub(in crate::admin) fn admits(&self, workspace: &Workspace, status: &Status) -> bool {
        fn any<T: PartialEq>(wanted: &[T], found: &T) -> bool {
            wanted.is_empty() || wanted.contains(found)
        }
        let app_id = workspace.slack_app_id.as_deref().or(status.slack_app_id.as_deref());
        let is_of = |ids: &[String], found: &[Option<&str>]| {
            ids.is_empty() || found.iter().flatten().any(|found| ids.iter().any(|id| id == found))
        };
        any(&self.states, &status.state)
            && any(&self.healths, &status.health)
            && any(&self.deliveries, &workspace.delivery)
            && (self.warnings.is_empty() || self.warnings.iter().any(|code| status.warnings.contains(code)))
            && self.labels.iter().all(|wanted| has_label(workspace, wanted))
            && is_of(&self.app_ids, &[app_id])
            && is_of(&self.team_ids, &[workspace.team_id.as_deref(), workspace.enterprise_id.as_deref()])
            && self.words.iter().all(|word| is_called(workspace, word))
    }
}

fn has_label(workspace: &Workspace, (key, value): &(String, Option<String>)) -> bool {
    let found = workspace.labels.iter().find(|(known, _)| known == key);
    found.is_some_and(|(_, found)| value.as_ref().is_none_or(|value| value == found))
}

fn is_called(workspace: &Workspace, word: &str) -> bool {
    let title = workspace.title.as_deref().unwrap_or_default();
    workspace.name.as_str().to_lowercase().contains(word) || title.to_lowercase().contains(word)
}

fn one_of<T: Copy>(all: &[T], name: fn(T) -> &'static str, value: &str) -> Result<T, String> {
    all.iter().copied().find(|one| name(*one) == value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        format!("one of {}", names.join(", "))
    })
}

fn known_code(value: &str) -> Result<Code, String> {
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == value);
    code.ok_or_else(|| "a code of the list of reasons (docs/reasons.md)".to_owned())
}

/// `tenant:42`, or `tenant` for whatever value.
fn label(value: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = value.split_once(':').map_or((value, None), |(key, value)| (key, Some(value)));
    let value = value.map(|value| label_value(value).map(str::to_owned)).transpose();
    match (label_key(key), value) {
        (Ok(key), Ok(value)) => Ok((key, value)),
        (Err(message), _) | (_, Err(message)) => Err(message),
    }
}

fn slack_id(value: &str) -> Result<String, String> {
    let fine = !value.is_empty() && value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric());
    if fine { Ok(value.to_owned()) } else { Err("an id of Slack's, letters and digits".to_owned()) }
}

fn word(value: &str) -> Result<String, String> {
    let fine = (1..=LONGEST_WORD).contains(&value.chars().count());
    if fine {
        Ok(value.to_lowercase())
    } else {
        Err(format!("a part of an id or a name, 1 to {LONGEST_WORD} characters"))
    }
}
