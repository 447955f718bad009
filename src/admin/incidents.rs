//! `/api/v1/incidents`: troubles that were told, from their beginning to their end; newest first.

use actix_web::web::{Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::access::Access;
use super::paging::{Paging, page};
use super::paths::read_resource;
use super::problem::{Code, Problem};
use super::query::{self, Taken, digits};
use crate::ids::WorkspaceName;
use crate::moment::rfc3339;
use crate::status::Reason;
use crate::store::{Incident, IncidentFilter};

const PREFIX: &str = "inc_";
const KNOWN: &str = "state, workspace, since";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(read_resource("/incidents", list)).service(read_resource("/incidents/{id}", read));
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let mut filter = IncidentFilter::default();
    let paging = Paging::read(&request, KNOWN, |key, value| match key {
        "state" => {
            let read = match value {
                "open" => Ok(Some(true)),
                "closed" => Ok(Some(false)),
                _ => Err("open or closed".to_owned()),
            };
            Taken::of(read, &mut filter.is_open)
        }
        "workspace" => Taken::of(query::workspace(value), &mut filter.workspace),
        "since" => Taken::of(query::time(value), &mut filter.since_ms),
        _ => Taken::Unknown,
    })?;
    let list = ("incidents", &filter);
    let before = paging.place(&list, digits)?;
    let mut found = access.webhooks().incidents(&filter, access.scope(), before, paging.limit + 1).await?;
    let next = paging.cut(&mut found, &list, |incident| incident.id);
    Ok(page(&found.iter().map(IncidentOut::new).collect::<Vec<_>>(), next))
}

async fn read(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    query::none(&request)?;
    let unknown = || Problem::new(Code::NotFound, "there is no such incident: an id is like 'inc_7'");
    let number: i64 = id.strip_prefix(PREFIX).and_then(digits).ok_or_else(unknown)?;
    let (any, before) = (IncidentFilter::default(), number.saturating_add(1));
    let found = access.webhooks().incidents(&any, access.scope(), Some(before), 1).await?;
    let incident = found.first().filter(|incident| incident.id == number).ok_or_else(unknown)?;
    Ok(HttpResponse::Ok().json(IncidentOut::new(incident)))
}

#[derive(Serialize)]
struct IncidentOut<'a> {
    id: String,
    kind: &'static str,
    state: &'static str,
    workspace: Option<&'a WorkspaceName>,
    since: String,
    until: Option<String>,
    reason: Option<Reason>,
    peak: u64,
    told_at: Option<String>,
}

impl<'a> IncidentOut<'a> {
    fn new(incident: &'a Incident) -> Self {
        Self {
            id: format!("{PREFIX}{}", incident.id),
            kind: if incident.workspace.is_some() { "workspace" } else { "many" },
            state: if incident.ended_ms.is_some() { "closed" } else { "open" },
            workspace: incident.workspace.as_ref(),
            since: rfc3339(incident.began_ms),
            until: incident.ended_ms.map(rfc3339),
            reason: incident.code.map(Reason::from),
            peak: incident.peak,
            told_at: incident.told_ms.map(rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::http::header::AUTHORIZATION;
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::super::testing::{FakeNode, TOKEN, code, serve};
    use crate::ids::WorkspaceId;
    use crate::machine::notice::{Told, Topic};
    use crate::status::Code;
    use crate::store::{About, NewNotice, Remember};

    fn asked(query: &str) -> TestRequest {
        let request = TestRequest::get().uri(&format!("/api/v1/incidents{query}"));
        request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))
    }

    #[actix_web::test]
    async fn an_incident_is_shown_with_its_reason_and_who_can_put_it_right_in_pages_and_alone() {
        let node = FakeNode::real().await;
        let api = serve(&node).await;
        let put = TestRequest::put().uri("/api/v1/workspaces/acme");
        let put = put.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")));
        api(put.set_json(json!({"app_token": "xapp-1-A1-1-0123456789abcdef"}))).await;
        let failed = Remember::Told(WorkspaceId(1), Told::Failed(Code::InvalidAuth));
        for (told, code) in [(failed, Some(Code::InvalidAuth)), (Remember::Incident(7_000, 9), None)] {
            let about = Some(About { told, code, began_ms: 5_000, peak: 9 });
            let (message_id, body) = ("msg_1".to_owned(), "{}".to_owned());
            let notice = NewNotice { message_id, topic: Topic::Failed, body, labels: None, about };
            super::super::Node::webhooks(&*node).publish(&[notice], &[told], 8_000).await.unwrap();
        }
        let page = api(asked("?limit=1")).await.json();
        assert_eq!((&page["data"][0]["kind"], &page["data"][0]["workspace"]), (&json!("many"), &json!(null)));
        let cursor = page["next_cursor"].as_str().unwrap();
        let rest = api(asked(&format!("?limit=1&cursor={cursor}"))).await.json();
        let shown = &rest["data"][0];
        assert_eq!((&shown["id"], &shown["workspace"]), (&json!("inc_1"), &json!("acme")));
        assert_eq!((&shown["state"], &shown["until"]), (&json!("open"), &json!(null)));
        assert_eq!(shown["since"], "1970-01-01T00:00:05.000Z");
        assert_eq!(
            (&shown["reason"]["code"], &shown["reason"]["actor"]),
            (&json!("invalid_auth"), &json!("customer"))
        );
        assert!(shown["reason"]["action"].is_string());
        assert_eq!(api(asked("/inc_1")).await.json(), *shown);
        for id in ["inc_3", "inc_x", "1", "inc_01"] {
            assert_eq!(code(&api(asked(&format!("/{id}"))).await), "not_found", "{id}");
        }
        for query in ["?state=late", "?since=yesterday", "?workspace=%20", "?colour=red"] {
            assert_eq!(api(asked(query)).await.status, StatusCode::BAD_REQUEST, "{query}");
        }
        assert_eq!(api(asked("?state=closed")).await.json()["data"], json!([]));
        assert_eq!(api(asked("?workspace=acme")).await.json()["data"][0]["id"], "inc_1");
    }
}
