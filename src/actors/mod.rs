//! Thin shells around the machines, and the tasks that carry bytes.
//!
//! What an operator can name is an actor: the supervisor, a workspace's connection, the dispatcher, a handler. The way from a socket to
//! the disk goes through no mailbox: a link task hands batches to the journal's task and gets verdicts back.

mod asked;
mod budget;
mod changes;
mod connection;
mod directory;
mod dispatcher;
mod exit;
mod gulps;
mod handler;
mod intake;
mod journal;
mod ledger;
mod lifecycle;
mod link;
mod names;
mod node;
mod pacer;
mod parting;
mod retention;
mod roster;
mod routing;
mod shared;
mod supervisor;
mod tally;
mod tripwire;
mod webhooks;
mod wire;

pub use self::connection::Steered;
pub use self::directory::{Directory, Entry};
pub use self::intake::Counters;
pub use self::node::{Node, NodeParts, StopReport};
pub use self::routing::Router;
pub use self::webhooks::{PostError, Poster, is_public};
