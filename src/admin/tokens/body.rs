//! What a `POST /api/v1/tokens` says.

use serde_json::{Map, Value};

use super::super::body::{Fields, text};
use super::super::problem::{Code, Problem};
use crate::moment;
use crate::store::{Label, Role};

const MAX_NAME: usize = 100;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) scope: Option<Label>,
    pub(super) expires_ms: Option<i64>,
}

pub(super) fn parse(map: Map<String, Value>, now_ms: i64) -> Result<Wanted, Problem> {
    let mut fields = Fields::new(map);
    let (name, role) = (fields.need("name", name), fields.need("role", role));
    let scope = fields.take("scope", scope);
    if scope.is_some() && role == Some(Role::Admin) {
        let message = "an admin sees everything; choose 'operator' or 'viewer', or leave the scope out";
        fields.wrong("scope", message.to_owned());
    }
    let expires_ms = fields.take("expires_at", |value| {
        let at = value.as_str().and_then(moment::parse).filter(|at| *at > now_ms);
        at.ok_or_else(|| "must be a time to come, like '2027-01-31T00:00:00Z'".to_owned())
    });
    fields.done("name, role, scope, expires_at")?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(Problem::new(Code::Internal, "a field was lost"));
    };
    Ok(Wanted { name, role, scope, expires_ms })
}

fn name(value: &Value) -> Result<String, String> {
    let name = text(value, MAX_NAME).ok().map(str::trim).filter(|name| !name.is_empty());
    name.map(str::to_owned)
        .ok_or_else(|| format!("a text of 1 to {MAX_NAME} characters that says whose the token is"))
}

fn role(value: &Value) -> Result<Role, String> {
    let role = value.as_str().and_then(Role::parse);
    role.ok_or_else(|| "must be 'viewer', 'operator' or 'admin'".to_owned())
}

fn scope(value: &Value) -> Result<Label, String> {
    let label = value.as_str().and_then(Label::parse);
    label.ok_or_else(|| "must be a label like 'tenant:42'".to_owned())
}
