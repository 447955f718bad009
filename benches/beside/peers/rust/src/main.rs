//! slack-morphism, as its examples show it: so many apps in one process, against the Slack of the first argument.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_util::client::legacy::connect::HttpConnector;
use slack_morphism::prelude::*;

/// Its callbacks are plain functions.
static HANDLED: AtomicU64 = AtomicU64::new(0);

type Connector = SlackClientHyperConnector<HttpConnector>;

async fn on_push(
    _: SlackPushEventCallback,
    _: Arc<SlackClient<Connector>>,
    _: SlackClientEventsUserState,
) -> UserCallbackResult<()> {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (api, count): (String, usize) = (args.next().unwrap(), args.next().unwrap().parse().unwrap());
    let connector = Connector::with_connector(HttpConnector::new()).with_slack_api_url(api.trim_end_matches('/'));
    let client = Arc::new(SlackClient::new(connector));
    let callbacks = SlackSocketModeListenerCallbacks::new().with_push_events(on_push);
    let environment = Arc::new(SlackClientEventsListenerEnvironment::new(client));
    // One socket an app, as the others have; by default the n-th app would wait five times n seconds for its.
    let config =
        SlackClientSocketModeConfig::new().with_max_connections_count(1).with_initial_backoff_in_seconds(0);
    let listener = SlackClientSocketModeListener::new(&config, environment, callbacks);
    for app in 0..count {
        let token = SlackApiToken::new(format!("xapp-1-A{app:06}-1-bench").into());
        listener.listen_for(&token).await.unwrap();
    }
    listener.start().await;
    println!("up");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    println!("{}", HANDLED.load(Ordering::Relaxed));
    std::process::exit(0);
}
