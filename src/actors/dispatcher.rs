//! Which handlers get an event, and what of it is done. Takes what the journal hands on; what it has missed or had no room
//! for it reads back from the store, which is also how a start after a crash works: nothing depends on the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::budget::Share;
use super::handler::{Finished, HandlerActor, Parts, Work};
use super::journal::{Committed, Marks};
use crate::clock::Clock;
use crate::event::Event;
use crate::handlers::{Outcome, Plugin};
use crate::ids::Seq;
use crate::machine::seq::SeqMaker;
use crate::machine::window::Window;
use crate::slack::web::Outside;
use crate::store::Store;
use crate::telemetry::{Figures, HandlerFigures};

/// Events between journal and handlers at most; the rest waits on disk.
pub(super) const IN_FLIGHT: usize = 4096;

/// A page read back from the store.
const PAGE: (u32, usize) = (512, 4 << 20);

/// Events one handler is given at once.
const BATCH: usize = 64;

/// How often it is checked whether anything was missed, and how long a dead handler waits for its next life.
const TICK: Duration = Duration::from_secs(1);

/// Events of which nothing is kept: their bytes stay in the budget until they are handled.
pub(super) struct Unkept {
    pub(super) events: Vec<Event>,
    pub(super) share: Share,
}
