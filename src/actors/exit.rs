//! Where a turn's events go: into the journal, acked when or before they are stored, as the routes say, or straight to the dispatcher
//! where nothing is kept.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::asked::Ticket;
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
                let (later, at_once) = part(&events, &asked, acks, &router.routes());
                let batch = Batch { events, share, number: ledger.next_batch(), link: words.clone() };
                if !queue.push(batch) {
                    // The journal is gone and the node is stopping: unacked, Slack sends them to whoever comes next.
                    return Vec::new();
                }
                for ticket in asked {
                    ticket.ring();
                    ledger.ask(ticket, now.mono);
                }
                ledger.enter(later, now.mono, weight);
                at_once
            }
            Self::Unkept(dispatcher) => {
                if dispatcher.try_send(Unkept { events, share }).is_err() {
                    return Vec::new();
                }
                for ticket in asked {
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

/// The acks that wait for the disk, and those that do not, of these events but for those that wait for an answer.
fn part(
    events: &[Event],
    asked: &[Ticket],
    acks: Vec<Utf8Bytes>,
    routes: &Routes,
) -> (Vec<Utf8Bytes>, Vec<Utf8Bytes>) {
    match routes.only_ack() {
        Some(AckMode::Received) => (Vec::new(), acks),
        Some(AckMode::Stored | AckMode::Answered) => (acks, Vec::new()),
        None => {
            let (mut later, mut at_once) = (Vec::with_capacity(acks.len()), Vec::new());
            let is_asked = |event: &&Event| asked.iter().any(|ticket| ticket.key() == event.dedupe);
            for (event, ack) in events.iter().filter(|event| !is_asked(event)).zip(acks) {
                match routes.ask(event).ack {
                    AckMode::Received => at_once.push(ack),
                    AckMode::Stored | AckMode::Answered => later.push(ack),
                }
            }
            (later, at_once)
        }
    }
}
