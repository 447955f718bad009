//! The shortest bot: says back what it was told.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Context, Delivery, Handler, Outcome};
use crate::event::{Event, Kind};
use crate::slack::web::CallError;

/// Answers a slash command in its ack, a mention by `chat.postMessage` with the workspace's bot token.
pub struct Echo {
    context: Context,
}

impl Echo {
    /// An echo for the thread of `context`.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn answer_mention(&self, event: &Event) -> Outcome {
        #[derive(Deserialize)]
        struct Callback {
            event: Mention,
        }
        #[derive(Deserialize)]
        struct Mention {
            channel: String,
            #[serde(default)]
            text: String,
            thread_ts: Option<String>,
        }
        let Ok(Callback { event: mention }) = serde_json::from_str(&event.payload) else {
            return reject("the mention names no channel");
        };
        let Some(workspace) = event.workspace else {
            return reject("the event belongs to no known workspace");
        };
        let token = match self.context.workspaces.bot_token(workspace).await {
            Ok(Some(token)) => token,
            Ok(None) => {
                return reject(
                    "the workspace has no bot token; put one in place to let echo answer mentions",
                );
            }
            Err(_) => return Outcome::Retry { after: None },
        };
        let slack = &self.context.slack;
        outcome(
            slack.post_message(&token, &mention.channel, &mention.text, mention.thread_ts.as_deref()).await,
        )
    }
}

#[async_trait(?Send)]
impl Handler for Echo {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = &delivery.event;
        match event.kind {
            Kind::SlashCommands => answer_command(event),
            Kind::EventsApi if &*event.kind_type == "app_mention" => self.answer_mention(event).await,
            Kind::EventsApi | Kind::Interactive | Kind::Unknown => Outcome::Done,
        }
    }
}

fn answer_command(event: &Event) -> Outcome {
    #[derive(Deserialize)]
    struct Command {
        #[serde(default)]
        text: String,
    }
    let Ok(Command { text }) = serde_json::from_str(&event.payload) else {
        return reject("the command cannot be read");
    };
    Outcome::answer(&json!({ "text": format!("{} {text}", event.kind_type).trim_end() }))
}

fn outcome(result: Result<(), CallError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(CallError::RateLimited(after)) => Outcome::Retry { after: Some(after) },
        Err(CallError::Unreachable | CallError::Status(500..)) => Outcome::Retry { after: None },
        Err(error @ (CallError::Refused(_) | CallError::Status(_))) => reject(&error.to_string()),
    }
}

fn reject(reason: &str) -> Outcome {
    Outcome::Reject { reason: reason.into() }
}
