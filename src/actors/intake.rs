//! From envelopes to events: what a link reads in one turn, whose it is, and whether there is room for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::asked::{Asks, Ticket};
use super::budget::{Budget, OVERHEAD, Share};
use super::ledger::{Ledger, weight};
use super::link::Words;
use super::roster::{Owner, Roster};
use crate::clock::Now;
use crate::event::{Event, Kind};
use crate::ids::{AppId, Seq, WorkspaceId};
use crate::machine::answer;
use crate::protocol::envelope::Envelope;
use crate::protocol::routing::{Routing, clean};
use crate::protocol::{ack, dedupe};
use crate::telemetry::Metrics;

/// What is counted of one app since the node started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events taken in, repeats included.
    pub events: AtomicU64,
    /// Of those, what had been seen before.
    pub duplicates: AtomicU64,
    /// Acks sent.
    pub acks: AtomicU64,
    /// Envelopes let go unacked for want of room.
    pub shed: AtomicU64,
    /// Links opened after the first.
    pub reconnects: AtomicU64,
    /// When the last event came, milliseconds since 1970; zero before the first.
    pub last_event_ms: AtomicI64,
}

/// Whose installation a workspace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Learnt {
    pub(super) workspace: WorkspaceId,
    /// None for an installation in a whole organisation.
    pub(super) team_id: Option<Box<str>>,
    pub(super) enterprise_id: Option<Box<str>>,
    /// By what Slack says of its bot token, which overrides whatever was known; else by its first event.
    pub(super) by_token: bool,
}

/// What one turn of a link has read.
pub(super) struct Turn {
    pub(super) events: Vec<Event>,
    pub(super) acks: Vec<Utf8Bytes>,
    pub(super) share: Share,
    /// What they count against the link's limit.
    pub(super) weight: usize,
    /// Those whose acks wait for an answer.
    pub(super) asked: Vec<Ticket>,
}

impl Turn {
    fn new(budget: &Arc<Budget>) -> Self {
        Self { events: Vec::new(), acks: Vec::new(), share: Share::of(budget), weight: 0, asked: Vec::new() }
    }
}

/// What an envelope's ack waits for.
enum Ack {
    /// An answer.
    Waits(Ticket),
    /// The disk, or nothing.
    WhenStored,
    /// It is let go.
    Never,
}

/// Makes events of one link's envelopes.
pub(super) struct Intake {
    app: AppId,
    roster: Arc<Roster>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    metrics: Arc<Metrics>,
    /// Where answers are waited for, and the link they come to; none where no handler answers.
    asks: Option<(Arc<Asks>, Words)>,
    turn: Turn,
    learnt: Option<Learnt>,
}

impl Intake {
    /// Whose sockets it reads.
    pub(super) const fn app(&self) -> AppId {
        self.app
    }

    /// The intake of one link of an app.
    pub(super) fn new(
        app: AppId,
        roster: Arc<Roster>,
        budget: Arc<Budget>,
        counters: Arc<Counters>,
        metrics: Arc<Metrics>,
        asks: Option<(Arc<Asks>, Words)>,
    ) -> Self {
        let turn = Turn::new(&budget);
        Self { app, roster, budget, counters, metrics, asks, turn, learnt: None }
    }

    /// Takes an envelope in, or lets it go when there is no room: Slack sends it again. What Slack does not send again passes
    /// the link's own bound and may use the node's reserve.
    pub(super) fn take(&mut self, envelope: &Envelope<'_>, ledger: &Ledger, has_room: bool, now: Now) {
        self.metrics.received(envelope.kind);
        if envelope.retry_attempt > 0 {
            self.metrics.retries_received.inc();
        }
        let Ok(ack) = ack::bare(&envelope.id) else {
            // An id too long to be acked is no envelope of Slack's.
            self.shed(envelope.payload.len());
            return;
        };
        let bytes = envelope.payload.len() + OVERHEAD;
        let comes_again = envelope.kind.is_retried_by_slack();
        let weight = weight(bytes);
        let link_takes =
            if comes_again { ledger.has_room(self.turn.weight, weight) } else { ledger.is_open() };
        // An ack for a peer that reads none of them is of no use to anybody, whatever the kind.
        if !has_room || !link_takes || !self.turn.share.grow(bytes, !comes_again) {
            self.shed(envelope.payload.len());
            return;
        }
        let event = self.event(envelope, now.wall_ms);
        match self.ask(envelope, &event, now) {
            Ack::Waits(ticket) => self.turn.asked.push(ticket),
            Ack::WhenStored => self.turn.acks.push(ack.into()),
            Ack::Never => return self.shed(envelope.payload.len()),
        }
        self.turn.weight += weight;
        self.turn.events.push(event);
    }

    /// What its ack waits for. Where too much waits for answers already, what can be answered later is acked when it is stored.
    fn ask(&self, envelope: &Envelope<'_>, event: &Event, now: Now) -> Ack {
        let Some((asks, words)) = self.asks.as_ref().filter(|_| envelope.accepts_response_payload) else {
            return Ack::WhenStored;
        };
        let has_url = envelope.routing.response_url.is_some();
        let Some(way) = answer::way(event.kind, &event.kind_type, has_url) else { return Ack::WhenStored };
        match (asks.begin(event, way, &envelope.id, words, now.mono), way) {
            (Some(ticket), _) => Ack::Waits(ticket),
            (None, answer::Way::AckOrUrl) => Ack::WhenStored,
            (None, answer::Way::AckOnly) => Ack::Never,
        }
    }

    /// What was taken in since the last call; none when there is nothing.
    pub(super) fn finish_turn(&mut self, wall_ms: i64) -> Option<Turn> {
        if self.turn.events.is_empty() {
            return None;
        }
        let count = self.turn.events.len() as u64;
        self.counters.events.fetch_add(count, Ordering::Relaxed);
        self.counters.last_event_ms.store(wall_ms, Ordering::Relaxed);
        Some(std::mem::replace(&mut self.turn, Turn::new(&self.budget)))
    }

    /// A team learnt since the last call.
    pub(super) fn learnt(&mut self) -> Option<Learnt> {
        self.learnt.take()
    }

    fn event(&mut self, envelope: &Envelope<'_>, wall_ms: i64) -> Event {
        let routing = &envelope.routing;
        let workspace = self.workspace(routing);
        let kind_type = match envelope.kind {
            Kind::Unknown => clean(&envelope.envelope_type).into(),
            Kind::EventsApi | Kind::Interactive | Kind::SlashCommands => {
                clean(routing.kind_type.as_deref().unwrap_or("unknown")).into()
            }
        };
        let slack_id = routing.slack_id.as_deref().unwrap_or(&envelope.id);
        Event {
            seq: Seq(0),
            app: self.app,
            workspace,
            kind: envelope.kind,
            dedupe: dedupe::key(self.app, envelope.kind, slack_id),
            kind_type,
            slack_id: clean(slack_id).into(),
            retry: envelope.retry_attempt,
            received_ms: wall_ms,
            payload: envelope.payload.into(),
        }
    }

    fn shed(&self, bytes: usize) {
        self.counters.shed.fetch_add(1, Ordering::Relaxed);
        self.metrics.shed.inc();
        self.metrics.shed_bytes.inc_by(bytes as u64);
    }

    fn workspace(&mut self, routing: &Routing<'_>) -> Option<WorkspaceId> {
        let owner = self.roster.owner(routing);
        match owner {
            Owner::Of(workspace) => Some(workspace),
            Owner::Learnt(workspace) => {
                // For an install in a whole organisation the team is where the event happened.
                let team_id = routing.team_id.as_deref().filter(|_| !routing.is_enterprise_install);
                self.learnt = Some(Learnt {
                    workspace,
                    team_id: team_id.map(Into::into),
                    enterprise_id: routing.enterprise_id.as_deref().map(Into::into),
                    by_token: false,
                });
                Some(workspace)
            }
            Owner::Nobody => None,
        }
    }
}
