//! Where a turn's events go: into the journal, acked when or before they are stored, or straight to the dispatcher where
//! nothing is kept.

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::dispatcher::Unkept;
use super::intake::Turn;
use super::journal::{Batch, Queue};
use super::ledger::Ledger;
use super::link::Words;
use crate::clock::Now;

/// Where events go and what an ack means.
#[derive(Clone)]
pub(super) enum Exit {
    /// The ack means: it is on disk.
    Stored(Queue),
    /// The ack means: it is in memory, on its way to the disk.
    Received(Queue),
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
            Self::Stored(queue) | Self::Received(queue) => {
                let batch = Batch { events, share, number: ledger.next_batch(), link: words.clone() };
                if !queue.push(batch) {
                    // The journal is gone and the node is stopping: unacked, Slack sends them to whoever comes next.
                    return Vec::new();
                }
                for ticket in asked {
                    ticket.ring();
                    ledger.ask(ticket, now.mono);
                }
                let (later, at_once) = match self {
                    Self::Received(_) => (Vec::new(), acks),
                    Self::Stored(_) | Self::Unkept(_) => (acks, Vec::new()),
                };
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
