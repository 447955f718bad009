//! `POST /workspaces/import`: many workspaces at once, as JSON lines or CSV. Each line is a `PUT` of its own and has a result of its own.

mod lines;

use std::collections::HashSet;

use actix_web::web::Payload;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;

use self::lines::{Line, csv, json_lines};
use super::super::access::Access;
use super::super::body::bytes;
use super::super::problem::{Code, FieldError, Problem};
use super::super::query::{self, Taken, flag};
use super::changes::{Changed, in_doubt};
use super::{body, has_app_token};
use crate::store::{Caller, Change, When};

const MAX_BODY: usize = 1024 * 1024;
const MAX_LINES: usize = 1_000;

#[derive(Default, Serialize)]
struct ImportOut {
    dry_run: bool,
    created: u32,
    updated: u32,
    unchanged: u32,
    refused: u32,
    lines: Vec<LineOut>,
}

#[derive(Serialize)]
struct LineOut {
    line: u64,
    id: Option<String>,
    outcome: &'static str,
    code: Option<&'static str>,
    message: Option<String>,
    errors: Vec<FieldError>,
}

/// What became of a line.
enum Outcome {
    Created,
    Updated,
    Unchanged,
}

pub(super) async fn import(
    request: HttpRequest,
    payload: Payload,
    node: Access,
) -> Result<HttpResponse, Problem> {
    let mut out = ImportOut::default();
    query::read(&request, "dry_run", |key, value| match key {
        "dry_run" => Taken::of(flag(value), &mut out.dry_run),
        _ => Taken::Unknown,
    })?;
    let read = match request.content_type().to_ascii_lowercase().as_str() {
        "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => json_lines,
        "text/csv" => csv,
        _ => {
            let detail = "send 'Content-Type: application/jsonl' or 'text/csv'";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
    };
    let lines = read(&bytes(payload, MAX_BODY).await?)?;
    if lines.len() > MAX_LINES {
        let detail = format!("at most {MAX_LINES} workspaces at once; these are {}", lines.len());
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let mut seen = HashSet::new();
    // Once the database is away the rest need not wait for it.
    let mut away: Option<Problem> = None;
    for line in lines {
        let (number, id) = (line.number, line.id());
        let outcome = match &away {
            Some(problem) => Err(problem.clone()),
            None => put(&node, line, &mut seen, out.dry_run).await,
        };
        if let Err(problem) = &outcome
            && problem.code() == Code::StoreUnavailable
        {
            away = Some(problem.clone());
        }
        out.tell(number, id, outcome);
    }
    Ok(HttpResponse::Ok().json(out))
}

async fn put(
    node: &Access,
    line: Line,
    seen: &mut HashSet<String>,
    dry_run: bool,
) -> Result<Outcome, Problem> {
    let (name, map) = line.split()?;
    let spec = body::spec(map, node.default_links())?;
    if !seen.insert(name.to_string()) {
        return Err(Problem::field(Code::InvalidFields, "id", "an earlier line has it already"));
    }
    let store = node.store();
    let before = store.workspace(&name).await?;
    if before.is_none() {
        has_app_token(&spec)?;
    }
    if dry_run {
        // What is another's is not there for the caller, and in their way all the same.
        let there = node.node().store(&Caller::admin("dry run")).workspace(&name).await?;
        node.caller().stays_in_scope(&name, there.as_ref(), &spec.labels)?;
        return Ok(if before.is_some() { Outcome::Updated } else { Outcome::Created });
    }
    let put = store.put_workspace(&name, &spec, When::Always, node.now_ms()).await;
    let put = in_doubt(node, before.as_ref(), put)?;
    let outcome = match put.change {
        Change::Created => Outcome::Created,
        Change::Updated => Outcome::Updated,
        Change::Unchanged => Outcome::Unchanged,
    };
    drop(Changed { put }.tell(node, false));
    Ok(outcome)
}

impl ImportOut {
    fn tell(&mut self, line: u64, id: Option<String>, outcome: Result<Outcome, Problem>) {
        let (count, outcome, problem) = match outcome {
            Ok(Outcome::Created) => (&mut self.created, "created", None),
            Ok(Outcome::Updated) => (&mut self.updated, "updated", None),
            Ok(Outcome::Unchanged) => (&mut self.unchanged, "unchanged", None),
            Err(problem) => (&mut self.refused, "refused", Some(problem)),
        };
        *count += 1;
        self.lines.push(LineOut {
            line,
            id,
            outcome,
            code: problem.as_ref().map(|problem| problem.code().as_str()),
            message: problem.as_ref().map(ToString::to_string),
            errors: problem.map(|problem| problem.errors().to_vec()).unwrap_or_default(),
        });
    }
}
