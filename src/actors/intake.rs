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
use crate::machine::routes::Routes;
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
    /// Of those events that wait for no answer, in their order.
    pub(super) acks: Vec<Utf8Bytes>,
    pub(super) share: Share,
    /// What they count against the link's limit.
    pub(super) weight: usize,
    /// The places of those events whose acks wait for an answer, in order.
    pub(super) asked: Vec<(usize, Ticket)>,
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
    /// What the routes say: the disk, or nothing.
    AsRouted,
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
    /// The routes as they are in this turn, once an envelope has made it ask.
    routes: Option<Arc<Routes>>,
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
        Self { app, roster, budget, counters, metrics, asks, routes: None, turn, learnt: None }
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
            Ack::Waits(ticket) => self.turn.asked.push((self.turn.events.len(), ticket)),
            Ack::AsRouted => self.turn.acks.push(ack.into()),
            Ack::Never => {
                self.turn.share.shrink(bytes);
                return self.shed(envelope.payload.len());
            }
        }
        self.turn.weight += weight;
        self.turn.events.push(event);
    }

    /// What its ack waits for. Where too much waits for answers already, what can be answered later is acked as the routes say.
    fn ask(&mut self, envelope: &Envelope<'_>, event: &Event, now: Now) -> Ack {
        let Some((asks, words)) = self.asks.as_ref().filter(|_| envelope.accepts_response_payload) else {
            return Ack::AsRouted;
        };
        let has_url = envelope.routing.response_url.is_some();
        let Some(way) = answer::way(event.kind, &event.kind_type, has_url) else { return Ack::AsRouted };
        let routes = self.routes.get_or_insert_with(|| asks.routes());
        if asks.wanted(event, routes).is_empty() {
            return Ack::AsRouted;
        }
        match (asks.begin(event, way, &envelope.id, words, now.mono), way) {
            (Some(ticket), _) => Ack::Waits(ticket),
            (None, answer::Way::AckOrUrl) => Ack::AsRouted,
            (None, answer::Way::AckOnly) => Ack::Never,
        }
    }

    /// What was taken in since the last call; none when there is nothing.
    pub(super) fn finish_turn(&mut self, wall_ms: i64) -> Option<Turn> {
        self.routes = None;
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

#[cfg(test)]
mod tests {
    use futures_channel::mpsc::unbounded;

    use super::*;
    use crate::actors::routing::InForce;
    use crate::clock::Clock;
    use crate::ids::RouteName;
    use crate::machine::routes::{AckMode, HandlerSet, Match, Route};
    use crate::protocol::frame::{self, Frame};

    #[actix::test]
    async fn what_is_let_go_for_want_of_room_among_what_waits_takes_up_no_room_itself() {
        let budget = Budget::new(64 << 20, 0);
        let mut intake = intake(&budget, &[]);
        let large = "x".repeat(10 << 20);
        take(&mut intake, "V1", &large);
        take(&mut intake, "V2", &large);
        assert_eq!(intake.counters.shed.load(Ordering::Relaxed), 1);
        let turn = intake.finish_turn(0).unwrap();
        assert_eq!((turn.events.len(), turn.asked.len()), (1, 1));
        assert_eq!(turn.share.bytes(), turn.events[0].payload.len() + OVERHEAD);
        drop(turn);
        assert_eq!(budget.taken(), 0);
    }

    #[actix::test]
    async fn an_ack_waits_for_an_answer_only_of_those_that_answer_and_only_if_their_routes_do_not_say_otherwise()
     {
        for (handler, ack, waits) in [
            ("bot", None, true),
            ("bot", Some(AckMode::Answered), true),
            ("bot", Some(AckMode::Stored), false),
            ("bot", Some(AckMode::Received), false),
            ("log", None, false),
            ("log", Some(AckMode::Answered), false),
            ("log", Some(AckMode::Received), false),
        ] {
            let name = RouteName::parse("r").unwrap();
            let route = Route { name, handler: handler.into(), matches: Match::default(), ack, is_on: true };
            let mut intake = intake(&Budget::new(64 << 20, 0), &[route]);
            take(&mut intake, "V1", "");
            let turn = intake.finish_turn(0).unwrap();
            assert_eq!((!turn.asked.is_empty(), turn.acks.is_empty()), (waits, waits), "{handler} {ack:?}");
        }
    }

    /// Of a node with two handlers, of which the second answers.
    fn intake(budget: &Arc<Budget>, routes: &[Route]) -> Intake {
        let metrics = Arc::new(Metrics::new().unwrap());
        let routes = Routes::new(routes, &["log".into(), "bot".into()], &[], AckMode::Stored);
        let (asks, _) =
            Asks::new(Clock::start(), Arc::clone(&metrics), InForce::new(routes), HandlerSet::one(1));
        let roster = Arc::new(Roster::new(Vec::new()));
        let asks = Some((asks, unbounded().0));
        Intake::new(AppId(1), roster, Arc::clone(budget), Arc::default(), metrics, asks)
    }

    /// A submitted view.
    fn take(intake: &mut Intake, id: &str, text: &str) {
        let payload = serde_json::json!({ "type": "view_submission", "view": { "state": text } });
        let frame = serde_json::json!({
            "envelope_id": id, "type": "interactive", "accepts_response_payload": true, "payload": payload,
        });
        let frame = frame.to_string();
        let Frame::Envelope(envelope) = frame::parse(&frame) else { panic!("no envelope") };
        intake.take(&envelope, &Ledger::default(), true, Clock::start().now());
    }
}
