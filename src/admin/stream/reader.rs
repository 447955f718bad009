//! One reader of the feed: where it is, and what it is sent next.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::access::Access;
use super::super::auth::Door;
use super::super::deliveries::delivery_id;
use super::super::events::event_id;
use super::{Filter, Seat};
use crate::moment::rfc3339;
use crate::status::feed::{DeliveryNews, Feed, Head, News, Read, StateChange, Told};
use crate::status::{Health, Reason, State};
use crate::store::{DeliveryId, KnownHandler, StoreError, Workspace};

/// Changes that are sent together at most.
const AT_ONCE: usize = 64;
/// How often it is looked whether the bearer is still let in; within this a revoked token's stream ends.
const LOOK: Duration = Duration::from_secs(2);
/// A silent stream says so each so many looks: 14 s, under the half minute after which proxies give up.
const LOOKS_A_BEAT: u32 = 7;
/// When a client that was cut comes back, milliseconds.
const RETRY_MS: u32 = 2000;

/// Who reads.
pub(super) struct Reader {
    access: Access,
    door: Arc<Door>,
    seat: Seat,
    filter: Filter,
    feed: Arc<Feed>,
    head: watch::Receiver<Head>,
    /// What is read next.
    place: u64,
    /// What is said first.
    opening: Option<String>,
    silent_looks: u32,
    is_over: bool,
    /// Handlers as they were last read: their names.
    handlers: Vec<KnownHandler>,
}

#[derive(Serialize)]
struct StateOut<'a> {
    workspace: &'a str,
    app_id: Option<&'a str>,
    state: State,
    previous: State,
    health: Health,
    reason: Option<Reason>,
    at: String,
}

impl Reader {
    pub(super) fn new(
        access: Access,
        door: Arc<Door>,
        seat: Seat,
        filter: Filter,
        last_event_id: Option<String>,
    ) -> Self {
        let feed = access.feed();
        let head = feed.head();
        let place = head.borrow().next;
        let mut reader = Self {
            access,
            door,
            seat,
            filter,
            place,
            feed,
            head,
            opening: None,
            silent_looks: 0,
            is_over: false,
            handlers: Vec::new(),
        };
        let skipped = last_event_id.and_then(|id| reader.go_back(&id));
        let mut opening = format!("retry: {RETRY_MS}\n");
        opening.push_str(&reader.event("stream.open", &json!({})));
        opening.extend(skipped.map(|skipped| reader.event("stream.skipped", &skipped)));
        reader.opening = Some(opening);
        reader
    }

    /// Goes to where the client was; what it has to be told if that cannot be.
    fn go_back(&mut self, id: &str) -> Option<Value> {
        let last = self.seat.streams.place(id).filter(|last| *last < self.place);
        let place = last.map_or(1, |last| last + 1);
        let (missed, oldest) = match self.feed.read(place, 1) {
            Read::News(_) => (0, place),
            Read::Gone { missed, oldest } => (missed, oldest),
        };
        self.place = oldest;
        match last {
            Some(_) if missed == 0 => None,
            Some(_) => Some(json!({ "reason": "too_old", "missed": missed })),
            None => Some(json!({ "reason": "unknown_id", "missed": null })),
        }
    }

    /// What is sent next; none when the stream has ended. Waits as long as there is nothing to say.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening.into());
        }
        while !self.is_over {
            let head = *self.head.borrow_and_update();
            if head.is_over {
                return Some(self.end("stream.end", &json!({ "reason": "stopping" })));
            }
            match self.feed.read(self.place, AT_ONCE) {
                Read::Gone { missed, .. } => {
                    return Some(self.end("stream.cut", &json!({ "reason": "too_slow", "missed": missed })));
                }
                // A feed that is never silent keeps nobody on who is not let in any more.
                Read::News(news) if !news.is_empty() && !self.is_let_in().await => {
                    return Some(self.end("stream.cut", &json!({ "reason": "token" })));
                }
                Read::News(news) if !news.is_empty() => match self.tell(news).await {
                    Ok(text) if text.is_empty() => {}
                    Ok(text) => {
                        self.silent_looks = 0;
                        return Some(text.into());
                    }
                    Err(_) => {
                        return Some(self.end("stream.cut", &json!({ "reason": "store_unavailable" })));
                    }
                },
                Read::News(_) => {
                    if let Some(text) = self.wait().await {
                        return Some(text);
                    }
                }
            }
        }
        None
    }

    /// Waits for news, for a while; what is to be said meanwhile.
    async fn wait(&mut self) -> Option<Bytes> {
        if tokio::time::timeout(LOOK, self.head.changed()).await.is_ok() {
            return None;
        }
        if !self.is_let_in().await {
            return Some(self.end("stream.cut", &json!({ "reason": "token" })));
        }
        self.silent_looks += 1;
        if self.silent_looks < LOOKS_A_BEAT {
            return None;
        }
        self.silent_looks = 0;
        // An id without data is kept by clients and shown to nobody: who saw none of the last changes need not read them again.
        Some(format!(": beat\nid: {}\n\n", self.seat.streams.id(self.place - 1)).into())
    }

    /// May its bearer still read? Asked of what is held in memory, which a revocation on this node empties.
    async fn is_let_in(&self) -> bool {
        let Some(token) = self.access.caller().token else { return true };
        let (accounts, now_ms) = (self.access.accounts(), self.access.now_ms());
        self.door.keyring.still_holds(token, &*accounts, now_ms).await
    }

    /// Changes as events for the workspaces that the caller sees and wants.
    async fn tell(&mut self, news: Vec<Told>) -> Result<String, StoreError> {
        let store = self.access.store();
        let mut text = String::new();
        for Told { place, at_ms, news } in news {
            let app = match news {
                News::State(StateChange { app, .. }) | News::Workspace(_, StateChange { app, .. }) => app,
                News::Delivery(delivery) => {
                    let told = self.delivery(place, at_ms, delivery).await?;
                    text.push_str(&told.unwrap_or_default());
                    self.place = place + 1;
                    continue;
                }
            };
            let mut seated = store.seated(app).await?;
            // What was told before a workspace came is of others on its app, or of another's time on it.
            seated.retain(|one| one.created_ms <= at_ms && self.filter.wants(&one.name, &one.labels));
            let connection = self.access.status(app);
            let now_ms = self.access.now_ms();
            let for_one = |workspace: &Workspace| match news {
                News::State(change) => {
                    change.for_workspace(&workspace.standing(), connection.as_ref(), now_ms)
                }
                News::Workspace(id, change) => (id == workspace.id).then_some(change),
                News::Delivery(_) => None,
            };
            let changes = seated.iter().filter_map(|workspace| Some((workspace, for_one(workspace)?)));
            let mut changes = changes.peekable();
            while let Some((workspace, change)) = changes.next() {
                if changes.peek().is_none() {
                    let _written = writeln!(text, "id: {}", self.seat.streams.id(place));
                }
                let app_id = workspace.slack_app_id.as_deref();
                text.push_str(&event("workspace.state", &state(workspace.name.as_str(), app_id, &change)));
            }
            self.place = place + 1;
        }
        Ok(text)
    }

    /// What became of a delivery, for who sees its workspace and wants it. What is no workspace's is for who sees and wants all.
    async fn delivery(
        &mut self,
        place: u64,
        at_ms: i64,
        news: DeliveryNews,
    ) -> Result<Option<String>, StoreError> {
        let workspace = match news.workspace {
            Some(id) => {
                let seated = self.access.store().seated(news.app).await?;
                let wanted =
                    seated.into_iter().find(|one| one.id == id && self.filter.wants(&one.name, &one.labels));
                match wanted {
                    Some(workspace) => Some(workspace.name),
                    None => return Ok(None),
                }
            }
            None if self.filter.is_empty() && self.access.caller().scope.is_none() => None,
            None => return Ok(None),
        };
        if !self.handlers.iter().any(|handler| handler.id == news.handler) {
            self.handlers = self.access.archive().known_handlers().await?;
        }
        let handler = self.handlers.iter().find(|handler| handler.id == news.handler);
        let id = DeliveryId { seq: news.seq, handler: news.handler, run: news.run };
        let told = json!({
            "id": delivery_id(id), "event": event_id(news.seq), "handler": handler.map(|handler| &handler.name),
            "workspace": workspace, "attempts": news.attempts, "untold": news.untold, "at": rfc3339(at_ms),
        });
        let mut text = format!("id: {}\n", self.seat.streams.id(place));
        text.push_str(&event(news.outcome.as_str(), &told));
        Ok(Some(text))
    }

    /// A last event.
    fn end(&mut self, kind: &str, data: &Value) -> Bytes {
        self.is_over = true;
        event(kind, data).into()
    }

    /// An event that says where the stream is.
    fn event(&self, kind: &str, data: &Value) -> String {
        format!("id: {}\n{}", self.seat.streams.id(self.place - 1), event(kind, data))
    }
}

fn state<'a>(workspace: &'a str, app_id: Option<&'a str>, change: &StateChange) -> StateOut<'a> {
    StateOut {
        workspace,
        app_id,
        state: change.to,
        previous: change.from,
        health: change.health,
        reason: change.reason,
        at: rfc3339(change.at_ms),
    }
}

fn event(kind: &str, data: &impl Serialize) -> String {
    // JSON has no line breaks of its own.
    format!("event: {kind}\ndata: {}\n\n", serde_json::to_string(data).unwrap_or_default())
}
