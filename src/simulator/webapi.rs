//! The Web API and the `response_url`s. Three methods are played, any other is recorded and answered `{"ok":true}`.

use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Shared,
    apps::{RESPONSE_USES, State, Ticket},
    control::Team,
    faults::Fault,
    http::{Answer, Request, Response},
    payloads::timestamp,
    record::{At, Call, Open, ResponsePost, push_bounded},
};

const OPEN: &str = "apps.connections.open";

/// Whose call it is.
enum Caller {
    App(usize),
    Team(usize, Team),
    Unknown,
    Nobody,
}

impl Caller {
    fn app(&self) -> Option<usize> {
        match self {
            Self::App(app) | Self::Team(app, _) => Some(*app),
            Self::Unknown | Self::Nobody => None,
        }
    }
}

/// Answers `/api/{method}`.
pub(super) async fn call(shared: &Shared, request: &Request) -> Answer {
    let at = At(shared.now());
    let method = request.path.strip_prefix("/api/").unwrap_or_default();
    let mut args = arguments(request);
    let in_args = args.remove("token").and_then(|token| token.as_str().map(str::to_owned));
    let caller = {
        let mut state = shared.state();
        // Only this method insists on the header.
        let token = request.bearer().or_else(|| in_args.as_deref().filter(|_| method != OPEN));
        caller(&mut state, token)
    };
    let delay = shared.state().faults.take(caller.app(), at.0, |fault| {
        if let Fault::ApiDelay { method: of, ms } = fault
            && is_of(of.as_deref(), method)
        {
            return Some(Duration::from_millis(*ms));
        }
        None
    });
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    let mut state = shared.state();
    let now = shared.now();
    let fault = state.faults.take(caller.app(), now, |fault| faulty(fault, method));
    let (answer, result) = fault.unwrap_or_else(|| {
        let refusal = match &caller {
            Caller::Team(_, team) => state.refusal_of_bot(team),
            Caller::App(_) | Caller::Unknown | Caller::Nobody => None,
        };
        let reply = match method {
            _ if let Some(error) = refusal => Err(error.into()),
            OPEN => open(&mut state, now, request, &caller),
            "auth.test" => auth_test(&state, &caller).map_err(Cow::from),
            "chat.postMessage" => post_message(&state, now, &caller, &args).map_err(Cow::from),
            _ if matches!(caller, Caller::Unknown) => Err("invalid_auth".into()),
            _ => Ok(json!({"ok": true}).to_string()),
        };
        match reply {
            Ok(body) => {
                let mut response = Response::new(200, JSON, body);
                if matches!(caller, Caller::Team(..)) {
                    response.headers.push(("x-oauth-scopes", state.rules.bot_scopes.join(",")));
                }
                (response.into(), "ok".into())
            }
            Err(code) => (error(&code), code.into_owned()),
        }
    });
    let status = match &answer {
        Answer::Now(response) => Some(response.status),
        Answer::Never | Answer::Reset => None,
    };
    let app = caller.app();
    let record = app.and_then(|app| state.record.apps.get_mut(app));
    match record {
        Some(record) if method == OPEN => {
            record.counts.opens += 1;
            push_bounded(&mut record.opens, Open { at, status, result });
        }
        record => {
            let team_id = if let Caller::Team(_, team) = caller { Some(team.team_id) } else { None };
            let call = Call { at, method: method.into(), team_id, args: Value::Object(args), status, result };
            match record {
                Some(record) => push_bounded(&mut record.calls, call),
                None => push_bounded(&mut state.record.calls, call),
            }
        }
    }
    answer
}

const JSON: &str = "application/json; charset=utf-8";

fn error(code: &str) -> Answer {
    Response::json(200, &json!({"ok": false, "error": code})).into()
}

fn is_of(of: Option<&str>, method: &str) -> bool {
    of.unwrap_or(OPEN) == method
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other faults are other places' business")]
/// What an armed fault makes of a call of `method`, and the word for it.
fn faulty(fault: &Fault, method: &str) -> Option<(Answer, String)> {
    match fault {
        Fault::ApiStatus { method: of, status, retry_after, body } if is_of(of.as_deref(), method) => {
            let mut response = match body {
                Some(body) => Response::new(*status, JSON, body.as_str()),
                // Of all that is not 200 only this comes from the API itself, and `slack_sdk` goes by its body.
                None if *status == 429 => Response::json(429, &json!({"ok": false, "error": "ratelimited"})),
                None => Response::html(*status),
            };
            if let Some(seconds) = retry_after {
                response.headers.push(("Retry-After", seconds.to_string()));
            }
            Some((response.into(), format!("status {status}")))
        }
        Fault::ApiError { method: of, error: code } if is_of(of.as_deref(), method) => {
            Some((error(code), code.clone()))
        }
        Fault::ApiGarbage { method: of } if is_of(of.as_deref(), method) => {
            Some((Response::new(200, JSON, "{\"ok\":tru\u{0}").into(), "garbage".into()))
        }
        Fault::ApiHang { method: of } if is_of(of.as_deref(), method) => Some((Answer::Never, "hang".into())),
        Fault::ApiReset { method: of } if is_of(of.as_deref(), method) => {
            Some((Answer::Reset, "reset".into()))
        }
        _ => None,
    }
}

fn caller(state: &mut State, token: Option<&str>) -> Caller {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Caller::Nobody };
    if let Some((app, team)) = state.team_of(token) {
        return Caller::Team(app, team);
    }
    state.app_of(token).map_or(Caller::Unknown, Caller::App)
}

fn open(
    state: &mut State,
    now: Duration,
    request: &Request,
    caller: &Caller,
) -> Result<String, Cow<'static, str>> {
    if request.method != "POST" {
        return Err("insecure_request".into());
    }
    let index = match caller {
        Caller::App(app) => *app,
        Caller::Team(_, _) => return Err("not_allowed_token_type".into()),
        Caller::Unknown if request.bearer().is_some_and(|token| token.starts_with("xox")) => {
            return Err("not_allowed_token_type".into());
        }
        Caller::Unknown => return Err("invalid_auth".into()),
        Caller::Nobody => return Err("not_authed".into()),
    };
    let Some(app) = state.apps.get(index) else { return Err("invalid_auth".into()) };
    if let Some(refusal) = &app.refusal {
        return Err(refusal.clone().into());
    }
    let hash = app.hash.clone();
    let ticket = state.uuid();
    let until = now + Duration::from_millis(state.rules.ticket_ms);
    state.tickets.retain(|_, ticket| now < ticket.until);
    state.tickets.insert(ticket.clone(), Ticket { app: index, until });
    // Slack escapes its slashes, so clients must be able to read that.
    let url = format!("ws://{}/link/?ticket={ticket}&app_id={hash}", request.host()).replace('/', "\\/");
    Ok(format!(r#"{{"ok":true,"url":"{url}"}}"#))
}

fn auth_test(state: &State, caller: &Caller) -> Result<String, &'static str> {
    match caller {
        Caller::Team(index, team) => {
            let app = state.apps.get(*index).map(|app| app.id.as_str());
            // Installed in a whole organisation: Slack gives its id for the team's as well.
            let is_org = team.team_id.starts_with('E');
            let mut identity = json!({
                "ok": true, "url": format!("https://{}.slack.com/", team.team_id.to_ascii_lowercase()),
                "team": format!("Team {}", team.team_id), "user": "simulated_bot", "team_id": team.team_id,
                "user_id": bot_user_id(team), "bot_id": bot_user_id(team).replacen('U', "B", 1),
                "app_id": app, "is_enterprise_install": is_org,
            });
            let org = team.enterprise_id.as_ref().or_else(|| is_org.then_some(&team.team_id));
            if let (Some(org), Some(identity)) = (org, identity.as_object_mut()) {
                identity.insert("enterprise_id".into(), org.as_str().into());
            }
            Ok(identity.to_string())
        }
        Caller::App(index) => {
            let app = state.apps.get(*index).map(|app| app.id.as_str());
            Ok(json!({"ok": true, "app_id": app, "app_name": "simulated"}).to_string())
        }
        Caller::Unknown => Err("invalid_auth"),
        Caller::Nobody => Err("not_authed"),
    }
}

fn post_message(
    state: &State,
    now: Duration,
    caller: &Caller,
    args: &Map<String, Value>,
) -> Result<String, &'static str> {
    let team = match caller {
        Caller::Team(_, team) => team,
        Caller::App(_) => return Err("not_allowed_token_type"),
        Caller::Unknown => return Err("invalid_auth"),
        Caller::Nobody => return Err("not_authed"),
    };
    let Some(channel) = args.get("channel").and_then(Value::as_str).filter(|channel| !channel.is_empty())
    else {
        return Err("channel_not_found");
    };
    if !["text", "blocks", "attachments", "markdown_text"].iter().any(|what| args.contains_key(*what)) {
        return Err("no_text");
    }
    let ts = timestamp(state.wall(now));
    let mut message = json!({
        "type": "message", "subtype": "bot_message", "user": bot_user_id(team), "team": team.team_id,
        "text": args.get("text").cloned().unwrap_or_default(), "ts": ts,
    });
    if let (Some(thread), Some(message)) = (args.get("thread_ts"), message.as_object_mut()) {
        message.insert("thread_ts".into(), thread.clone());
    }
    Ok(json!({"ok": true, "channel": channel, "ts": ts, "message": message}).to_string())
}

/// The user the app's bot is in a team.
pub(super) fn bot_user_id(team: &Team) -> String {
    format!("U{}BOT", team.team_id.trim_start_matches('T'))
}

/// Takes a POST to a `response_url`.
pub(super) fn response_url(shared: &Shared, request: &Request) -> Response {
    let now = shared.now();
    let id = request.path.strip_prefix("/response/").unwrap_or_default();
    let mut state = shared.state();
    let Some(url) = state.responses.get_mut(id) else {
        return Response::json(404, &json!({"ok": false, "error": "expired_url"}));
    };
    url.uses = url.uses.saturating_add(1);
    let code =
        if now >= url.until { Some("expired_url") } else { (url.uses > RESPONSE_USES).then_some("used_url") };
    let (app, event_id, uses) = (url.app, url.event_id.clone(), url.uses);
    let status = if code.is_some() { 404 } else { 200 };
    let body = serde_json::from_slice(&request.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&request.body).into_owned()));
    if let Some(record) = state.record.apps.get_mut(app) {
        push_bounded(&mut record.responses, ResponsePost { at: At(now), event_id, uses, status, body });
    }
    match code {
        Some(code) => Response::json(status, &json!({"ok": false, "error": code})),
        None => Response::new(200, "text/plain; charset=utf-8", "ok"),
    }
}

/// A call's arguments, wherever they stand.
fn arguments(request: &Request) -> Map<String, Value> {
    let mut args: Map<String, Value> =
        request.query.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    let content_type = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("application/json") {
        if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
            args.extend(body);
        }
    } else if content_type.starts_with("multipart/") {
        args.insert("multipart_bytes".into(), request.body.len().into());
    } else {
        let form = url::form_urlencoded::parse(&request.body);
        args.extend(form.map(|(key, value)| (key.into_owned(), Value::String(value.into_owned()))));
    }
    args
}
