//! `GET /workspaces/{id}/timeline`: what became of its connection, newest first.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::super::access::Access;
use super::super::moment::rfc3339;
use super::super::problem::{Code, Problem};
use super::super::query::{self, Taken};
use super::page::limit;
use super::{parse_name, unknown};
use crate::status::{Reason, State};
use crate::store::{Transition, Workspace};

const DEFAULT_LIMIT: u32 = 50;

#[derive(Serialize)]
struct ChangeOut {
    at: String,
    kind: &'static str,
    from: State,
    to: State,
    reason: Option<Reason>,
    generation: Option<u64>,
}

impl From<Transition> for ChangeOut {
    fn from(change: Transition) -> Self {
        Self {
            at: rfc3339(change.at_ms),
            kind: "state",
            from: change.from,
            to: change.to,
            reason: change.code.map(Reason::from),
            generation: change.generation.map(|generation| generation.0),
        }
    }
}

pub(super) async fn read(
    id: Path<String>,
    request: HttpRequest,
    node: Access,
) -> Result<HttpResponse, Problem> {
    let name = parse_name(&id)?;
    let (mut most, mut cursor) = (DEFAULT_LIMIT, None);
    query::read(request.query_string(), "limit, cursor", |key, value| match key {
        "limit" => Taken::of(limit(value), &mut most),
        "cursor" => Taken::of(Ok(Some(value.to_owned())), &mut cursor),
        _ => Taken::Unknown,
    })?;
    let store = node.store();
    let workspace = store.workspace(&name).await?.ok_or_else(|| unknown(&name))?;
    let before = match cursor {
        None => None,
        Some(cursor) => Some(decode(&cursor, &workspace).ok_or_else(|| {
            let message = "must be the 'next_cursor' of the page before, of this workspace on the same app";
            Problem::field(Code::InvalidRequest, "cursor", message)
        })?),
    };
    let mut found = store.history(workspace.app, before, most + 1).await?;
    let goes_on = found.len() > most as usize;
    found.truncate(most as usize);
    let last = found.last().map(|(n, _)| *n);
    // A shared app may have had a life before this workspace came to sit on it.
    let whole = found.len();
    found.retain(|(_, change)| change.at_ms >= workspace.created_ms);
    let next_cursor = last.filter(|_| goes_on && found.len() == whole).map(|n| encode(n, &workspace));
    // What became of another workspace on the app alone is not this one's.
    found.retain(|(_, change)| change.workspace.is_none_or(|of| of == workspace.id));
    let data: Vec<_> = found.into_iter().map(|(_, change)| ChangeOut::from(change)).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "data": data, "next_cursor": next_cursor })))
}

fn encode(n: i64, workspace: &Workspace) -> String {
    URL_SAFE_NO_PAD.encode(format!("timeline/{}/{}/{n}", workspace.id, workspace.app))
}

fn decode(cursor: &str, workspace: &Workspace) -> Option<i64> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let n = text.strip_prefix(&format!("timeline/{}/{}/", workspace.id, workspace.app))?;
    n.parse().ok()
}
