//! `POST /workspaces/check`: would this customer come online, and what is missing? Tries it out and stores nothing.

mod findings;

use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use self::findings::{Finding, Grant};
use super::super::access::Access;
use super::super::body::{Fields, JSON, object, text};
use super::super::problem::{Code, Problem};
use super::super::query;
use super::body::{self, KNOWN};
use super::parse_name;
use crate::ids::WorkspaceName;
use crate::secret::{AppToken, BotToken};
use crate::slack::trial;
use crate::slack::web::{CallError, WebApi};
use crate::store::{Secret, StoreError, Workspaces};

/// Opening, dialling and hello have their own limits; together they may take no longer.
const WITHIN: Duration = Duration::from_secs(20);
const SCOPES: usize = 100;
const LONGEST_SCOPE: usize = 100;

/// How many are tried out at the same time.
#[derive(Debug)]
pub(in crate::admin) struct Trials(Semaphore);

impl Default for Trials {
    fn default() -> Self {
        Self(Semaphore::new(8))
    }
}

#[derive(Serialize)]
struct CheckOut {
    ok: bool,
    app_id: Option<String>,
    team_id: Option<String>,
    enterprise_id: Option<String>,
    scopes: Option<Vec<String>>,
    findings: Vec<Finding>,
}

pub(super) async fn check(
    request: HttpRequest,
    payload: Payload,
    node: Access,
    trials: Data<Trials>,
) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let map = object(&request, payload, JSON).await?;
    let asked = Asked::parse(Fields::new(map))?;
    let Ok(_turn) = trials.0.try_acquire() else {
        return Err(Problem::new(
            Code::Conflict,
            "as many checks as may run at once do; ask again in a moment",
        ));
    };
    let (hello, granted) =
        futures_util::join!(try_socket(&node, &asked.app_token), ask_whose(&node, asked.bot_token.as_ref()));
    let mut out = CheckOut {
        ok: false,
        app_id: asked.app_token.slack_app_id().map(str::to_owned),
        team_id: None,
        enterprise_id: None,
        scopes: None,
        findings: Vec::new(),
    };
    out.findings.push(findings::socket(&hello));
    if let Ok(hello) = &hello {
        out.findings.extend(findings::app_id(out.app_id.as_deref(), hello.app_id.as_deref()));
        out.app_id = hello.app_id.as_deref().map(str::to_owned).or(out.app_id);
        out.findings.extend(findings::crowd(hello));
    }
    match &granted {
        None => out.findings.extend(findings::no_bot_token(&asked.required_scopes)),
        Some(granted) => {
            out.findings.push(findings::bot_token(granted));
            if let Ok(Grant { identity, scopes }) = granted {
                out.team_id = identity.team_id.clone().filter(|_| !identity.is_enterprise_install);
                out.enterprise_id.clone_from(&identity.enterprise_id);
                out.findings.extend(findings::same_app(out.app_id.as_deref(), identity.app_id.as_deref()));
                out.findings.extend(findings::scopes(&asked.required_scopes, scopes.as_deref()));
                out.scopes.clone_from(scopes);
            }
        }
    }
    if let Some(expected) = &asked.team_id {
        let found = [out.team_id.as_deref(), out.enterprise_id.as_deref()];
        out.findings.push(findings::team(expected, &found));
    }
    let twin = twin(&*node.store(), &out, asked.id.as_ref()).await?;
    out.findings.extend(twin.map(|twin| findings::registered(&twin)));
    out.ok = out.findings.iter().all(|finding| finding.ok);
    Ok(HttpResponse::Ok().json(out))
}

async fn try_socket(
    node: &Access,
    token: &AppToken,
) -> Result<crate::protocol::hello::Hello, crate::status::Code> {
    let trial = trial::socket(node.outside(), token);
    actix_rt::time::timeout(WITHIN, trial).await.unwrap_or(Err(crate::status::Code::NoHello))
}

async fn ask_whose(node: &Access, token: Option<&BotToken>) -> Option<Result<Grant, CallError>> {
    let web = WebApi::here(node.outside());
    let asking = web.auth_test_and_scopes(token?);
    let answer = actix_rt::time::timeout(WITHIN, asking).await.unwrap_or(Err(CallError::Unreachable));
    Some(answer.map(|(identity, scopes)| Grant { identity, scopes }))
}

/// The living workspace of the same app and team, if it is not the one that is checked.
async fn twin(
    store: &dyn Workspaces,
    out: &CheckOut,
    own: Option<&WorkspaceName>,
) -> Result<Option<WorkspaceName>, StoreError> {
    let Some(app_id) = &out.app_id else { return Ok(None) };
    let Some(app) = store.slack_app(app_id).await? else { return Ok(None) };
    let installed_in = out.team_id.as_ref().or(out.enterprise_id.as_ref());
    let mut seats = app.seats.into_iter().filter(|seat| Some(&seat.name) != own);
    let twin = seats.find(|seat| {
        installed_in.is_some() && seat.team_id.as_ref().or(seat.enterprise_id.as_ref()) == installed_in
    });
    Ok(twin.map(|seat| seat.name))
}

struct Asked {
    id: Option<WorkspaceName>,
    app_token: AppToken,
    bot_token: Option<BotToken>,
    team_id: Option<String>,
    required_scopes: Vec<String>,
}

impl Asked {
    /// The body of a `PUT`, and what else is to be looked at.
    fn parse(mut fields: Fields) -> Result<Self, Problem> {
        let id = fields.take("id", |value| {
            let name = value.as_str().ok_or_else(|| "must be a string".to_owned())?;
            parse_name(name).map_err(|problem| problem.message())
        });
        // Of no use to a trial, but to be as they must be.
        let _: Option<_> = fields.take("name", body::title);
        let _: Option<_> = fields.take("desired", body::desired);
        let _: Option<_> = fields.take("delivery", body::delivery);
        let _: Option<_> = fields.take("links", body::links);
        let _: Option<_> = fields.take("labels", body::labels);
        let app_token = fields.secret("app_token", AppToken::parse);
        let bot_token = fields.secret("bot_token", BotToken::parse);
        let team_id = fields.take("team_id", |value| text(value, 64).map(str::to_owned));
        let required_scopes = fields.take("required_scopes", scopes).unwrap_or_default();
        if !matches!(app_token, Secret::Set(_)) && !fields.has_errors() {
            fields.wrong("app_token", "there is nothing to try out without the app-level token".to_owned());
        }
        fields.done(&format!("id, {KNOWN}, team_id, required_scopes"))?;
        let Secret::Set(app_token) = app_token else {
            return Err(Problem::new(Code::Internal, "a token was lost"));
        };
        let bot_token = match bot_token {
            Secret::Set(token) => Some(token),
            Secret::Keep | Secret::Remove => None,
        };
        Ok(Self { id, app_token, bot_token, team_id, required_scopes })
    }
}

fn scopes(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("must be an array of at most {SCOPES} names of scopes");
    let list = value.as_array().filter(|list| list.len() <= SCOPES).ok_or_else(wrong)?;
    let one = |scope: &Value| {
        let scope = scope.as_str().filter(|scope| is_scope(scope)).ok_or_else(wrong)?;
        Ok(scope.to_owned())
    };
    list.iter().map(one).collect()
}

/// As Slack writes them: `chat:write.public`.
pub(in crate::admin) fn is_scope(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b":._-".contains(&b);
    (1..=LONGEST_SCOPE).contains(&text.len()) && text.bytes().all(inner)
}
