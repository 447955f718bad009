//! The control API over HTTP: each call is one method of [`Control`]. `docs/simulator.md` shows them all.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Shared,
    control::{Control, ControlError},
    faults::{Act, Arm, Which},
    http::{Request, Response},
    record::{AppRecord, At},
};

/// Answers `/control/…`.
pub(super) fn answer(shared: &Arc<Shared>, request: &Request) -> Response {
    let control = Control { shared: Arc::clone(shared) };
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
    match route(&control, request, &parts) {
        Ok(Some(body)) => Response::json(200, &body),
        Ok(None) => {
            Response::json(404, &json!({"error": "there is no such control call; see docs/simulator.md"}))
        }
        Err(error @ ControlError::NoApp(_)) => Response::json(404, &json!({"error": error.to_string()})),
        Err(error @ ControlError::Bad(_)) => Response::json(400, &json!({"error": error.to_string()})),
    }
}

fn route(control: &Control, request: &Request, parts: &[&str]) -> Result<Option<Value>, ControlError> {
    let done = json!({"ok": true});
    Ok(Some(match (request.method.as_str(), parts) {
        ("GET", ["record"]) => control.with_record(|record| {
            let apps: Vec<Value> = record.apps.iter().map(|app| app_json(app, record.now)).collect();
            let mut all = to_json(record);
            if let Some(all) = all.as_object_mut() {
                all.insert("apps".into(), apps.into());
            }
            all
        }),
        ("DELETE", ["record"]) => {
            control.forget();
            done
        }
        ("GET", ["rules"]) => to_json(&control.rules()),
        ("PATCH", ["rules"]) => to_json(&control.patch_rules(body(request)?)?),
        ("POST", ["apps"]) => json!({"slack_app_id": control.add_app(body(request)?)?}),
        ("GET", ["apps"]) => control.with_record(|record| {
            record.apps.iter().map(|app| Value::from(app.slack_app_id.as_str())).collect::<Vec<_>>().into()
        }),
        ("GET", ["apps", app]) => control
            .with_record(|record| record.app(app).map(|app| app_json(app, record.now)))
            .ok_or_else(|| ControlError::NoApp((*app).into()))?,
        ("POST", ["apps", app, "send"]) => json!({"id": control.send(app, body(request)?)?}),
        ("POST", ["apps", app, "load"]) => control.load(app, body(request)?).map(|()| done)?,
        ("DELETE", ["apps", app, "load"]) => control.stop_load(app).map(|()| done)?,
        ("POST", ["apps", app, "faults"]) => {
            json!({"number": control.arm(Some(app), body::<Arm>(request)?)?})
        }
        ("DELETE", ["apps", app, "faults"]) => control.clear_faults(Some(app)).map(|()| done)?,
        ("POST", ["faults"]) => json!({"number": control.arm(None, body::<Arm>(request)?)?}),
        ("DELETE", ["faults"]) => control.clear_faults(None).map(|()| done)?,
        ("DELETE", ["faults", number]) => {
            control.disarm(number.parse().map_err(|_| ControlError::Bad("a fault has a number".into()))?);
            done
        }
        ("POST", ["apps", app, "act"]) => act(control, Some(app), request)?,
        ("POST", ["act"]) => act(control, None, request)?,
        ("POST", ["apps", app, "refuse"]) => {
            let Refusal { error } = body(request)?;
            control.refuse(app, Some(&error)).map(|()| done)?
        }
        ("POST", ["apps", app, "disable"]) => control.disable(app).map(|()| done)?,
        ("POST", ["apps", app, "enable"]) => control.refuse(app, None).map(|()| done)?,
        ("POST", ["apps", app, "ghosts"]) => {
            let Ghosts { count } = body(request)?;
            control.ghosts(app, count).map(|()| done)?
        }
        ("POST", ["outage"]) => {
            let Outage { for_ms, cut } = body(request)?;
            control.outage(Duration::from_millis(for_ms), cut);
            done
        }
        (_, _) => return Ok(None),
    }))
}

#[derive(Deserialize)]
struct ActOn {
    #[serde(default)]
    socket: Which,
    #[serde(flatten)]
    act: Act,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ghosts {
    count: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    for_ms: u64,
    #[serde(default)]
    cut: bool,
}

fn act(control: &Control, app: Option<&str>, request: &Request) -> Result<Value, ControlError> {
    let ActOn { socket, act } = body(request)?;
    Ok(json!({"sockets": control.act(app, socket, &act)?}))
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, ControlError> {
    let text: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    serde_json::from_slice(text)
        .map_err(|error| ControlError::Bad(format!("the body is not understood: {error}")))
}

/// An app's record with what is computed from it.
fn app_json(app: &AppRecord, now: At) -> Value {
    let mut json = to_json(app);
    if let Some(json) = json.as_object_mut() {
        json.insert("now".into(), to_json(&now));
        json.insert("live".into(), to_json(&app.live(now)));
        json.insert("gaps".into(), to_json(&app.gaps(now)));
        json.insert("live_sockets".into(), app.live_sockets().into());
    }
    json
}

/// What serialises here has string keys only, so it can't fail.
fn to_json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
