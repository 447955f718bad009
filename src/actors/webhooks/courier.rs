//! Posts what waits in the store. A task a webhook, so that each has one notice in flight and a slow one holds up no other; nothing
//! waits for any of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::post::Poster;
use crate::clock::Clock;
use crate::ids::WebhookId;
use crate::machine::dice::Dice;
use crate::machine::notice::retry;
use crate::store::{Notice, Settled, Store, StoreError, Webhook};
use crate::telemetry::Metrics;

/// Between looks at a store that does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Another node of the same database may have made a webhook, or a notice: looked for every so often.
const LOOK_FOR_NEW: Duration = Duration::from_secs(5);

/// Keeps a task for every webhook there is, as long as posting is this node's: of several on one database one posts.
pub(super) async fn run(
    store: Arc<dyn Store>,
    clock: Clock,
    poster: Poster,
    metrics: Arc<Metrics>,
    mut bell: watch::Receiver<u64>,
) {
    let mut tasks = Tasks(HashMap::new());
    loop {
        bell.borrow_and_update();
        let wait = if let Ok(Some(webhooks)) = ours(&*store).await {
            tasks.0.retain(|_, task| !task.is_finished());
            let waiting = webhooks.iter().map(|webhook| webhook.waiting).sum::<u64>();
            metrics.notices_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
            for webhook in webhooks {
                tasks.0.entry(webhook.id).or_insert_with(|| {
                    let courier = Courier {
                        id: webhook.id,
                        store: Arc::clone(&store),
                        clock,
                        poster: poster.clone(),
                        metrics: Arc::clone(&metrics),
                        dice: Dice::new(rand::random()),
                    };
                    actix_rt::spawn(courier.run(bell.clone()))
                });
            }
            LOOK_FOR_NEW
        } else {
            // Not this node's, or not known to be.
            tasks.end();
            metrics.notices_waiting.set(0);
            LOOK_AGAIN
        };
        tokio::select! {
            rung = bell.changed() => if rung.is_err() { return },
            () = sleep(wait) => {}
        }
    }
}

async fn ours(store: &dyn Store) -> Result<Option<Vec<Webhook>>, StoreError> {
    if store.may_post().await? { Ok(Some(store.webhooks().await?)) } else { Ok(None) }
}

/// They end with whoever keeps them.
struct Tasks(HashMap<WebhookId, JoinHandle<()>>);

impl Tasks {
    fn end(&mut self) {
        for (_, task) in self.0.drain() {
            task.abort();
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}

struct Courier {
    id: WebhookId,
    store: Arc<dyn Store>,
    clock: Clock,
    poster: Poster,
    metrics: Arc<Metrics>,
    dice: Dice,
}

impl Courier {
    /// Posts until the webhook is gone, or posting is another node's.
    async fn run(mut self, mut bell: watch::Receiver<u64>) {
        let client = self.poster.client();
        loop {
            bell.borrow_and_update();
            let wait = match self.next().await {
                Ok(Next::Gone) => return,
                Ok(Next::Nothing) => LOOK_FOR_NEW,
                Ok(Next::In(wait)) => wait.min(LOOK_FOR_NEW),
                Ok(Next::Now(url, notice)) => {
                    self.deliver(&client, &url, notice).await;
                    continue;
                }
                Err(problem) => {
                    tracing::debug!(webhook = %self.id, %problem, "notices wait: the store cannot be read");
                    LOOK_AGAIN
                }
            };
            tokio::select! {
                rung = bell.changed() => if rung.is_err() { return },
                () = sleep(wait) => {}
            }
        }
    }

    async fn next(&self) -> Result<Next, StoreError> {
        let Some(notice) = self.store.next_notice(self.id).await? else {
            return Ok(if self.store.webhook(self.id).await?.is_some() { Next::Nothing } else { Next::Gone });
        };
        let left = retry::left(notice.next_ms, self.clock.now().wall_ms);
        if !left.is_zero() {
            return Ok(Next::In(left));
        }
        // Looked at before each: another node may have taken over since.
        if !self.store.may_post().await? {
            return Ok(Next::Gone);
        }
        let webhook = self.store.webhook(self.id).await?;
        Ok(webhook.map_or(Next::Gone, |webhook| Next::Now(webhook.spec.url, notice)))
    }

    async fn deliver(&mut self, client: &awc::Client, url: &str, notice: Notice) {
        let asked_ms = self.clock.now().wall_ms;
        let (outcome, status) = match self.store.webhook_secrets(self.id, asked_ms).await {
            Ok(secrets) if secrets.is_empty() => return,
            Ok(secrets) => {
                let posting =
                    self.poster.post(client, url, &secrets, &notice.message_id, asked_ms, &notice.body);
                match posting.await {
                    Ok(status) => (Ok(()), Some(status)),
                    Err(error) => (Err(error.to_string()), error.status()),
                }
            }
            Err(StoreError::Unavailable(_)) => return sleep(LOOK_AGAIN).await,
            Err(error) => (Err(error.to_string()), None),
        };
        let now_ms = self.clock.now().wall_ms;
        let settled = match outcome {
            Ok(()) => {
                self.metrics.posts_taken.inc();
                Settled::Taken
            }
            Err(error) => {
                let failed = notice.attempts.saturating_add(1);
                let age =
                    Duration::from_millis(now_ms.saturating_sub(notice.created_ms).max(0).unsigned_abs());
                if let Some(wait) = retry::wait(failed, age, &mut self.dice) {
                    tracing::warn!(webhook = %self.id, error, again_in = ?wait, "a notice was not taken");
                    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                    self.metrics.posts_failed.inc();
                    Settled::Again(error, now_ms.saturating_add(wait_ms))
                } else {
                    tracing::error!(webhook = %self.id, error, failed, "a notice was not taken for a day and is given up");
                    self.metrics.posts_given_up.inc();
                    Settled::Dead(error)
                }
            }
        };
        // Until that is stored nothing else is posted: it would only be posted again.
        while let Err(error) = self.store.settle_notice(self.id, notice.id, &settled, status, now_ms).await {
            if !matches!(error, StoreError::Unavailable(_)) {
                tracing::error!(webhook = %self.id, %error, "what became of a notice cannot be stored");
                return sleep(LOOK_FOR_NEW).await;
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

enum Next {
    Gone,
    Nothing,
    In(Duration),
    Now(String, Notice),
}
