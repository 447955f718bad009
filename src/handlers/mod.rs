//! What plugin authors see: a handler, what it gets, what it answers, and the registry of names.

mod answer;
mod echo;
mod log;
mod registry;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::event::Event;
use crate::slack::web::WebApi;
use crate::store::Workspaces;

pub use self::answer::{Answer, NotAnObject};
pub use self::echo::Echo;
pub use self::log::Log;
pub use self::registry::{Options, Order, Plugin, Registry, RegistryError};
pub use crate::machine::retry::Retry;

/// One event for one handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event. Its `seq` is the key to be idempotent by: after a crash the last second or so comes again.
    pub event: Arc<Event>,
    /// 1 on the first try.
    pub attempt: u32,
    /// While an ack waits for this handler's answer: how long it still does. The event is on its way to the disk then and has no
    /// `seq` yet (0): be idempotent by its `slack_id`. None where no ack waits.
    pub answer_within: Option<Duration>,
}

/// What a handler made of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is done, and this is what Slack is to be told. Goes out in the ack where one waits for it, else by the event's
    /// `response_url`; where there is neither the delivery has failed for good.
    Answer(Answer),
    /// Not now; again after this time, or by the handler's schedule.
    Retry {
        /// How long to wait, where the handler knows.
        after: Option<Duration>,
    },
    /// Never: trying again would not help.
    Reject {
        /// Why, for an operator; no payload and no secret.
        reason: String,
    },
}

impl Outcome {
    /// An answer of anything that is written as a JSON object; a refusal when it is none.
    pub fn answer(value: &impl Serialize) -> Self {
        match Answer::new(value) {
            Ok(answer) => Self::Answer(answer),
            Err(error) => Self::Reject { reason: error.to_string() },
        }
    }

    /// Its name in figures and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Answer(_) => "answer",
            Self::Retry { .. } => "retry",
            Self::Reject { .. } => "reject",
        }
    }
}

/// Any actix actor that handles deliveries can be registered by its `Recipient<Delivery>`.
impl actix::Message for Delivery {
    type Result = Outcome;
}

/// A plugin. It runs on a thread of its own, away from every connection; a panic ends that one delivery.
///
/// One value serves many deliveries at once: what it changes while handling belongs in a cell of its own.
#[async_trait(?Send)]
pub trait Handler: 'static {
    /// Handles one delivery. Deliveries may come twice after a crash and in any order.
    async fn handle(&self, delivery: Delivery) -> Outcome;
}

/// What a plugin is made from, on the thread it will run on.
#[derive(Clone)]
pub struct Context {
    /// Slack's Web API.
    pub slack: Rc<WebApi>,
    /// Where workspaces' bot tokens are.
    pub workspaces: Arc<dyn Workspaces>,
}
