//! Where a turn's events go: into the journal, acked when or before they are stored, as the routes say, or straight to the dispatcher
//! where nothing is kept.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::dispatcher::Unkept;
use super::intake::Turn;
use super::journal::{Batch, Queue};
use super::ledger::Ledger;
use super::link::Words;
use super::routing::Router;
use crate::clock::Now;
use crate::event::Event;
use crate::machine::routes::{AckMode, Routes};

/// Where events go and what an ack means.
#[derive(Clone)]
pub(super) enum Exit {
    /// Into the journal. The ack means what the routes say: it is on disk, or in memory on its way there.
    Kept(Queue, Arc<Router>),
    /// The ack means: it is in memory. Nothing is kept.
    Unkept(mpsc::Sender<Unkept>),
}

impl Exit {
    /// Hands a turn over and returns the acks that are due at once.
    pub(super) fn hand_over(
        &self,
        turn: Turn,
        ledger: &mut Ledger,
        words: &Words,
        now: Now,
    ) -> Vec<Utf8Bytes> {
        let Turn { events, acks, share, weight, asked } = turn;
        match self {
            Self::Kept(queue, router) => {
                let places = asked.iter().map(|(place, _)| *place);
                let (later, at_once) = part(&events, places, acks, &router.routes());
                let count = events.len();
                let (read_at, number) = (now.mono, ledger.next_batch());
                let batch = Batch { events, read_at, share, number, link: words.clone() };
                if !queue.push(batch) {
                    // The journal is gone and the node is stopping: unacked, Slack sends them to whoever comes next.
                    return Vec::new();
                }
                for (_, ticket) in asked {
                    ticket.ring();
                    ledger.ask(ticket, now.mono);
                }
                ledger.enter(later, now.mono, weight, count);
                at_once
            }
            Self::Unkept(dispatcher) => {
                if dispatcher.try_send(Unkept { events, share }).is_err() {
                    return Vec::new();
                }
                for (_, ticket) in asked {
                    // There is no disk to wait for.
                    ticket.stored();
                    ticket.ring();
                    ledger.ask(ticket, now.mono);
                }
                acks
            }
        }
    }
}

/// The acks that wait for the disk, and those that do not, of these events but for those that wait for an answer: their places, in order.
fn part(
    events: &[Event],
    asked: impl Iterator<Item = usize>,
    acks: Vec<Utf8Bytes>,
    routes: &Routes,
) -> (Vec<Utf8Bytes>, Vec<Utf8Bytes>) {
    match routes.only_ack() {
        Some(AckMode::Received) => (Vec::new(), acks),
        Some(AckMode::Stored | AckMode::Answered) => (acks, Vec::new()),
        None => {
            let (mut later, mut at_once) = (Vec::with_capacity(acks.len()), Vec::new());
            let mut asked = asked.peekable();
            let others = events.iter().enumerate().filter(|(place, _)| asked.next_if_eq(place).is_none());
            for ((_, event), ack) in others.zip(acks) {
                match routes.ask(event).ack {
                    AckMode::Received => at_once.push(ack),
                    AckMode::Stored | AckMode::Answered => later.push(ack),
                }
            }
            (later, at_once)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DedupeKey, Kind};
    use crate::ids::{AppId, RouteName, Seq};
    use crate::machine::routes::{Match, Route};

    #[test]
    fn each_ack_stays_with_its_event_also_beside_one_of_the_same_key_that_waits_for_an_answer() {
        let route = |kinds, ack| Route {
            name: RouteName::parse("r").unwrap(),
            handler: "log".into(),
            matches: Match { kinds, ..Match::default() },
            ack: Some(ack),
            is_on: true,
        };
        let routes = [
            route(vec![Kind::EventsApi], AckMode::Received),
            route(vec![Kind::SlashCommands], AckMode::Stored),
        ];
        let routes = Routes::new(&routes, &["log".into()], &[], AckMode::Stored);
        let (asked, other, message) =
            (event(Kind::SlashCommands), event(Kind::SlashCommands), event(Kind::EventsApi));
        let acks = ["other", "message"].map(Utf8Bytes::from).to_vec();
        let (later, at_once) = part(&[asked, other, message], [0].into_iter(), acks, &routes);
        assert_eq!((later, at_once), (vec!["other".into()], vec!["message".into()]));
    }

    fn event(kind: Kind) -> Event {
        Event {
            seq: Seq(0),
            app: AppId(1),
            workspace: None,
            kind,
            kind_type: "x".into(),
            slack_id: "E1".into(),
            dedupe: DedupeKey([0; 16]),
            retry: 0,
            received_ms: 0,
            payload: "{}".into(),
        }
    }
}
