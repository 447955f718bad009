//! A node of your own: the whole command line of `tautline`, with a handler that gets the events of each conversation one after the
//! other, and now and then cannot handle one at first.
//!
//! ```sh
//! cargo run --example ordered -- serve --handlers ordered
//! ```

#![expect(clippy::print_stderr, reason = "what is wrong with a handler is told to whoever starts the node")]

use std::process::ExitCode;
use std::time::Duration;

use tautline::handlers::{Delivery, Handler, Options, Order, Outcome, Registry, Retry};

/// Says which event it has handled.
struct Ordered;

#[async_trait::async_trait(?Send)]
impl Handler for Ordered {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = &delivery.event;
        // Whatever stands behind you is away at times. Those behind this one in its conversation wait for it.
        if delivery.attempt == 1 && event.seq.0 % 200 == 0 {
            return Outcome::Retry { after: Some(Duration::from_millis(100)) };
        }
        // A mistake of yours ends this one try. The log says where it was, and nothing of the event.
        assert!(delivery.attempt > 1 || event.seq.0 % 200 != 104, "cannot read {}", event.slack_id);
        tracing::info!(id = %event.slack_id, seq = %event.seq, workspace = event.workspace.map_or(0, |one| one.0).to_string(), "event");
        Outcome::Done
    }
}

fn main() -> ExitCode {
    let mut handlers = Registry::default();
    let options = Options {
        order: Order::Conversation,
        // However long one fails, nothing of its conversation passes it until it is given up.
        hold: None,
        retry: Retry { first: Duration::from_millis(100), ..Retry::default() },
        ..Options::default()
    };
    if let Err(error) = handlers.register("ordered", options, |_context| Ordered) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    tautline::commands::run_with(handlers)
}
