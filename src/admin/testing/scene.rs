//! A journal with events in every state, for tests that look at them and steer them.

use std::sync::Arc;

use actix_web::http::header::AUTHORIZATION;
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::{Answer, FakeNode, Service, TOKEN, code, serve};
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceId};
use crate::machine::seq::first_at;
use crate::moment;
use crate::store::{DeliveryChange, DeliveryId, DeliveryRow, DeliveryStatus, Lane};

/// When the first of its events came.
pub(in crate::admin) const AT: &str = "2026-11-22T19:00:00Z";

/// Events of the workspace acme: an hour before now, one a second, and what became of them at the handlers `echo` and `log`.
pub(in crate::admin) struct Scene {
    pub(in crate::admin) api: Box<Service>,
    pub(in crate::admin) node: Arc<FakeNode>,
    first: i64,
}

impl Scene {
    /// Of so many events log has given up the first, tries the second again, has the third waiting, and has the last in hand.
    pub(in crate::admin) async fn of(events: i64) -> Self {
        Self::with(events, "log").await
    }

    /// The same of another handler than log.
    pub(in crate::admin) async fn with(events: i64, handler: &str) -> Self {
        let node = FakeNode::real().await;
        let api = serve(&node).await;
        let store = node.real_store();
        let first = first_at(moment::parse(AT).unwrap()).0;
        let scene = Self { api, node, first };
        let token = json!({"app_token": "xapp-1-A1-1-0123456789abcdef", "labels": {"tenant": "42"}});
        scene.ask(Method::PUT, "/workspaces/acme", Some(token)).await;
        let handlers = store.declare_handlers(&["echo", handler], 1).await.unwrap();
        let writer = store.begin_writer("node-1", 1).await.unwrap().id;
        let group: Vec<_> = (0..events).map(|nth| Arc::new(event(scene.seq(nth), nth))).collect();
        store.append(writer, &group, Seq(0)).await.unwrap();
        store.settle(writer, Seq(scene.seq(events - 1).0 - 1)).await.unwrap();
        let rows = [DeliveryStatus::Dead, DeliveryStatus::Retrying, DeliveryStatus::Waiting]
            .into_iter()
            .zip(0..events - 1)
            .map(|(status, nth)| {
                let id = DeliveryId { seq: scene.seq(nth), handler: handlers[1].id, run: 1 };
                DeliveryChange::Tried(DeliveryRow {
                    id,
                    lane: Lane { app: AppId(1), workspace: Some(WorkspaceId(1)) },
                    status,
                    attempts: if status == DeliveryStatus::Waiting { 0 } else { 3 },
                    next_ms: 1_795_377_660_000,
                    order_key: None,
                    hold_until_ms: None,
                    last_error: (status != DeliveryStatus::Waiting).then(|| "no answer".to_owned()),
                    created_ms: 1,
                    updated_ms: 2,
                })
            });
        store.write_deliveries(writer, &rows.collect::<Vec<_>>(), 3).await.unwrap();
        scene
    }

    pub(in crate::admin) fn seq(&self, nth: i64) -> Seq {
        Seq(self.first + ((nth * 1000) << 22))
    }

    pub(in crate::admin) fn event(&self, nth: i64) -> String {
        format!("evt_{}", self.seq(nth))
    }

    /// To log.
    pub(in crate::admin) fn delivery(&self, nth: i64, run: u32) -> String {
        format!("dlv_{}-2-{run}", self.seq(nth))
    }

    pub(in crate::admin) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = TestRequest::default().method(method).uri(&format!("/api/v1{path}"));
        let request = request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")));
        (self.api)(match body {
            Some(body) => request.set_json(body),
            None => request,
        })
        .await
    }

    /// Posts under an `Idempotency-Key`.
    pub(in crate::admin) async fn ask_once(&self, key: &str, path: &str, body: &Value) -> Answer {
        let request = TestRequest::post().uri(&format!("/api/v1{path}"));
        let request = request.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")));
        (self.api)(request.insert_header(("idempotency-key", key)).set_json(body)).await
    }

    /// From here on another process answers, on the same store.
    pub(in crate::admin) async fn restart(&mut self) {
        self.api = serve(&self.node).await;
    }

    pub(in crate::admin) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// The first field that is refused of what is posted.
    pub(in crate::admin) async fn refused(&self, path: &str, body: Value) -> Value {
        let refused = self.post(path, body).await;
        assert_eq!(code(&refused), "invalid_fields", "{}", refused.text());
        refused.json()["errors"][0]["field"].clone()
    }

    pub(in crate::admin) async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }

    /// A field of each of a list, all pages of it.
    pub(in crate::admin) async fn listed(&self, path: &str, field: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut page = self.get(path).await;
        loop {
            let data = page["data"].as_array().unwrap();
            found.extend(data.iter().map(|one| one[field].as_str().unwrap().to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { return found };
            let more = if path.contains('?') { '&' } else { '?' };
            page = self.get(&format!("{path}{more}cursor={cursor}")).await;
        }
    }

    /// The job that an answer tells of, when it has ended.
    pub(in crate::admin) async fn ended(&self, answer: &Answer) -> Value {
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let place = answer.header("location").strip_prefix("/api/v1").unwrap();
        for _ in 0..1000 {
            let job = self.get(place).await;
            if job["finished_at"].is_string() {
                return job;
            }
            actix_rt::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the job does not end");
    }
}

fn event(seq: Seq, nth: i64) -> Event {
    Event {
        seq,
        app: AppId(1),
        workspace: Some(WorkspaceId(1)),
        kind: Kind::EventsApi,
        kind_type: if nth == 1 { "app_mention".into() } else { "message".into() },
        slack_id: format!("Ev{nth}").into(),
        dedupe: DedupeKey([u8::try_from(nth).unwrap(); 16]),
        retry: 0,
        received_ms: moment::parse(AT).unwrap() + nth * 1000,
        payload: "the secret text".into(),
    }
}
