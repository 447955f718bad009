//! A node of your own: the whole command line of `tautline`, with a handler whose answers go out in acks, and by `response_url` where they
//! come later than Slack waits for an ack.
//!
//! ```sh
//! cargo run --example answering -- serve --handlers answering
//! ```

#![expect(clippy::print_stderr, reason = "what is wrong with a handler is told to whoever starts the node")]

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tautline::event::{Event, Kind};
use tautline::handlers::{Delivery, Handler, Options, Outcome, Registry};

/// Answers what can be answered.
struct Answering;

#[async_trait::async_trait(?Send)]
impl Handler for Answering {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = &delivery.event;
        tracing::info!(id = %event.slack_id, seq = %event.seq, workspace = event.workspace.map_or(0, |one| one.0).to_string(), "event");
        match (event.kind, &*event.kind_type) {
            (Kind::SlashCommands, _) => {
                find_out(event).await;
                Outcome::answer(&json!({ "text": "Three are open." }))
            }
            (Kind::Interactive, "view_submission") => {
                find_out(event).await;
                Outcome::answer(&json!({ "response_action": "clear" }))
            }
            (Kind::Interactive, "block_suggestion") => {
                find_out(event).await;
                Outcome::answer(&json!({ "options": [] }))
            }
            _ => Outcome::Done,
        }
    }
}

/// Whom you ask has the answer at once, or in a second, or only when Slack waits no more: an ack goes after 2.5 s.
async fn find_out(event: &Event) {
    let hash =
        event.slack_id.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let takes = Duration::from_secs(match hash / 8 % 3 {
        0 => 0,
        1 => 1,
        _ => 5,
    });
    tokio::time::sleep(takes).await;
}

fn main() -> ExitCode {
    let mut handlers = Registry::default();
    let options = Options { answers: true, ..Options::default() };
    if let Err(error) = handlers.register("answering", options, |_context| Answering) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    tautline::commands::run_with(handlers)
}
