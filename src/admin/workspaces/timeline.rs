//! `GET /workspaces/{id}/timeline`: what became of its connection, newest first.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::super::access::Access;
use super::super::paging::{Paging, page};
use super::super::problem::Problem;
use super::super::query::{self, digits};
use super::{parse_name, unknown};
use crate::moment::rfc3339;
use crate::status::{Reason, State};
use crate::store::Transition;

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
    let mut paging = Paging::new();
    query::read(&request, Paging::KNOWN, |key, value| paging.take(key, value))?;
    let store = node.store();
    let workspace = store.workspace(&name).await?.ok_or_else(|| unknown(&name))?;
    let list = ("timeline", workspace.id, workspace.app);
    let before = paging.place(&list, digits)?;
    let mut found = store.history(workspace.app, before, paging.limit + 1).await?;
    let next_cursor = paging.cut(&mut found, &list, |(n, _)| *n);
    // A shared app may have had a life before this workspace came to sit on it.
    let whole = found.len();
    found.retain(|(_, change)| change.at_ms >= workspace.created_ms);
    let next_cursor = next_cursor.filter(|_| found.len() == whole);
    // What became of another workspace on the app alone is not this one's.
    found.retain(|(_, change)| change.workspace.is_none_or(|of| of == workspace.id));
    let data: Vec<_> = found.into_iter().map(|(_, change)| ChangeOut::from(change)).collect();
    Ok(page(&data, next_cursor))
}
