//! Deliveries that were given up, told in batches: never a notice for each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::notice;
use crate::actors::directory::Directory;
use crate::clock::Clock;
use crate::machine::notice::Topic;
use crate::machine::notice::dead::{Dead, Key};
use crate::status::feed::DeadCount;
use crate::store::{NewNotice, Store, StoreError};

/// Between two looks at what was given up.
const LOOK: Duration = Duration::from_secs(2);

/// Tells of them for as long as it is polled.
pub(super) async fn run(
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Clock,
    bell: Arc<watch::Sender<u64>>,
) {
    let mut rules = Dead::default();
    loop {
        sleep(LOOK).await;
        let now = clock.now();
        for (key, count) in directory.feed().take_dead() {
            rules.add(now.mono, key, count);
        }
        let due = rules.due(now.mono);
        if due.is_empty() {
            continue;
        }
        match publish(&*store, &due, now.wall_ms).await {
            Ok(()) => {
                for (key, _) in &due {
                    rules.told(now.mono, *key);
                }
                bell.send_modify(|rung| *rung = rung.wrapping_add(1));
            }
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::debug!(%error, "notices of deliveries that were given up wait for the database");
            }
            Err(error) => {
                tracing::error!(%error, "notices of deliveries that were given up are lost");
                for (key, _) in &due {
                    rules.told(now.mono, *key);
                }
            }
        }
    }
}

async fn publish(store: &dyn Store, due: &[(Key, DeadCount)], now_ms: i64) -> Result<(), StoreError> {
    let handlers = store.handlers().await?;
    let mut notices = Vec::with_capacity(due.len());
    for ((handler, workspace), count) in due {
        let Some(handler) = handlers.iter().find(|known| known.id == *handler) else { continue };
        let whose = match workspace {
            None => None,
            Some(id) => match store.seated(count.app).await?.into_iter().find(|seated| seated.id == *id) {
                // It is gone, and nobody has to know.
                None => continue,
                whose => whose,
            },
        };
        // What is nobody's is for who sees everything.
        let labels = Some(whose.as_ref().map(|whose| whose.labels.clone()).unwrap_or_default());
        notices.push(NewNotice {
            message_id: format!("msg_{:032x}", rand::random::<u128>()),
            topic: Topic::DeliveryDead,
            body: notice::of_the_dead(&handler.name, whose.as_ref(), *count, now_ms),
            labels,
            about: None,
        });
    }
    store.publish(&notices, &[], now_ms).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeySource;
    use crate::ids::{AppId, Seq, WorkspaceId, WorkspaceName};
    use crate::secret::{AppToken, WebhookSecret};
    use crate::store::{Caller, Desired, OpenOptions, Secret, WebhookSpec, When, WorkspaceSpec};

    #[tokio::test]
    async fn a_notice_says_how_many_of_whom_and_goes_to_who_is_told_of_that_workspace() {
        let dir = tempfile::TempDir::new().unwrap();
        let address = dir.path().join("db").display().to_string();
        let options = OpenOptions { address, key: KeySource::Beside, max_pages: None };
        let store = crate::store::open(options).await.unwrap().store;
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            delivery: crate::store::DeliveryMode::Active,
            links: 1,
            labels: vec![("tenant".into(), "42".into())],
            app_token: Secret::Set(AppToken::parse("xapp-1-A1-1-aaaa").unwrap()),
            bot_token: Secret::Keep,
        };
        let acme = WorkspaceName::parse("acme").unwrap();
        let acme = store.put_workspace(&acme, &spec, When::Always, 1).await.unwrap().workspace;
        let log = store.declare_handlers(&["log"], 1).await.unwrap()[0].id;
        let mut hooks = Vec::new();
        for tenant in ["42", "43"] {
            let url = "https://hooks.example.com/tautline".to_owned();
            let label = Some(("tenant".to_owned(), tenant.to_owned()));
            let spec = WebhookSpec { url, topics: vec![Topic::DeliveryDead], label, is_paused: false };
            let made = store.add_webhook(&spec, &WebhookSecret::generate(), &Caller::admin("a"), 1).await;
            hooks.push(made.unwrap().id);
        }
        let count = DeadCount { app: acme.app, count: 3, first: Seq(5), last: Seq(9) };
        let nobodys = DeadCount { app: AppId(1), ..count };
        let gone = (log, Some(WorkspaceId(99)));
        let due = [((log, Some(acme.id)), count), ((log, None), nobodys), (gone, count)];
        publish(&*store, &due, 9_000).await.unwrap();
        let notice = store.next_notice(hooks[0]).await.unwrap().unwrap();
        let told: serde_json::Value = serde_json::from_str(&notice.body).unwrap();
        let expected = serde_json::json!({
            "workspace": "acme", "labels": {"tenant": "42"}, "handler": "log", "count": 3, "first": "evt_5", "last": "evt_9",
        });
        assert_eq!((&told["type"], &told["data"]), (&"delivery.dead".into(), &expected));
        let waiting = [hooks[0], hooks[1]];
        let waiting = [store.webhook(waiting[0]).await.unwrap(), store.webhook(waiting[1]).await.unwrap()];
        assert_eq!(waiting.map(|hook| hook.unwrap().waiting), [1, 0], "what is nobody's passes no label");
        store.close().await;
    }
}
