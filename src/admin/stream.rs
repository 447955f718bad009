//! `/api/v1/stream`: what happens, as it happens, as server-sent events.
//!
//! A reader pulls from the node's feed at the pace of its socket. Who is slower than the feed is long is cut, and told so; who
//! comes back says by `Last-Event-ID` where they were. Of an app whose sockets carry several workspaces each gets an event; the last
//! of them bears the id, so that one who breaks off between them gets them all again.

mod reader;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::web::{Bytes, Data, ServiceConfig, get, resource};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;

use self::reader::Reader;
use super::access::Access;
use super::auth::Door;
use super::problem::{Code, Problem, wrong_method};
use super::query::{self, Taken};
use crate::ids::WorkspaceName;
use crate::store::{Caller, Label, Role, TokenId};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Streams that one node serves at a time.
const MAX_STREAMS: usize = 64;
/// Of these, those that are left to admins.
const FOR_ADMINS: usize = 8;
/// Streams of one token of the store's at a time.
const MAX_OF_ONE: usize = 16;
/// When to try again where all are taken.
const TRY_AGAIN: Duration = Duration::from_secs(10);
const MAX_FILTERS: usize = 100;

/// The streams of a node.
#[derive(Debug)]
pub(super) struct Streams {
    /// How many each token has open; none is the node's own admin token.
    open: Mutex<HashMap<Option<TokenId>, usize>>,
    /// Tells this process from others: an id of another's says nothing about this one's feed.
    boot: u32,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), boot: rand::random() })
    }

    /// The id of a place in the feed.
    fn id(&self, place: u64) -> String {
        format!("{:08x}-{place}", self.boot)
    }

    /// The place of an id; none for one of another process.
    fn place(&self, id: &str) -> Option<u64> {
        let (boot, place) = id.split_once('-')?;
        (u32::from_str_radix(boot, 16).ok()? == self.boot).then(|| place.parse().ok()).flatten()
    }
}

/// One open stream; its place is free when this goes.
struct Seat {
    streams: Arc<Streams>,
    of: Option<TokenId>,
}

impl Seat {
    fn take(streams: &Arc<Streams>, by: &Caller) -> Result<Self, Problem> {
        let mut open = streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.entry(by.token).or_default();
        let room = if by.role == Role::Admin { MAX_STREAMS } else { MAX_STREAMS - FOR_ADMINS };
        let full = if all >= room {
            format!("{all} streams are open, which is all that this node serves; close one")
        } else if by.token.is_some() && *own >= MAX_OF_ONE {
            format!("this token has {MAX_OF_ONE} streams open, which is its share; close one")
        } else {
            *own += 1;
            return Ok(Self { streams: Arc::clone(streams), of: by.token });
        };
        Err(Problem::new(Code::TooManyStreams, full).retry_after(TRY_AGAIN))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.of) {
            *own = own.saturating_sub(1);
        }
        open.retain(|_, own| *own > 0);
    }
}

/// What is asked for: nothing said of workspaces or labels is all of them; of several one is enough.
#[derive(Debug, Default)]
struct Filter {
    workspaces: Vec<WorkspaceName>,
    labels: Vec<Label>,
}

impl Filter {
    fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let (mut workspaces, mut labels) = (Vec::new(), Vec::new());
        query::read(request, "workspace, label", |key, value| match key {
            "workspace" => {
                Taken::more(WorkspaceName::parse(value).map_err(|bad| bad.to_string()), &mut workspaces)
            }
            "label" => {
                let label = Label::parse(value).ok_or_else(|| "a label like 'tenant:42'".to_owned());
                Taken::more(label, &mut labels)
            }
            _ => Taken::Unknown,
        })?;
        if workspaces.len() + labels.len() > MAX_FILTERS {
            let message = format!("at most {MAX_FILTERS} workspaces and labels");
            return Err(Problem::field(Code::InvalidRequest, "workspace", message));
        }
        Ok(Self { workspaces, labels })
    }

    /// Is all asked for?
    const fn is_empty(&self) -> bool {
        self.workspaces.is_empty() && self.labels.is_empty()
    }

    fn wants(&self, name: &WorkspaceName, labels: &[(String, String)]) -> bool {
        (self.workspaces.is_empty() || self.workspaces.contains(name))
            && (self.labels.is_empty() || self.labels.iter().any(|label| label.is_in(labels)))
    }
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(resource("/stream").route(get().to(open)).default_service(wrong_method(&[Method::GET])));
}

async fn open(
    request: HttpRequest,
    access: Access,
    door: Data<Door>,
    streams: Data<Streams>,
) -> Result<HttpResponse, Problem> {
    let filter = Filter::parse(&request)?;
    let seat = Seat::take(&streams, access.caller())?;
    let reader = Reader::new(access, door.into_inner(), seat, filter, last_event_id(request.headers()));
    let events = unfold(reader, async |mut reader| Some((reader.next().await?, reader)));
    let events = events.map(Ok::<Bytes, Problem>);
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(Box::pin(events)))
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim();
    (!id.is_empty()).then(|| id.chars().take(64).collect())
}
