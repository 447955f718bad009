//! The node, in a process of its own: makes its database, or runs on it and says when all its workspaces are ready and when they
//! are not.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use tautline::admin::AdminToken;
use tautline::app::{App, Options};
use tautline::clock::Clock;
use tautline::config::{Ack, KeySource};
use tautline::handlers::{self, Delivery, Handler, Outcome, Registry};
use tautline::ids::WorkspaceName;
use tautline::machine::pace::Limits;
use tautline::secret::AppToken;
use tautline::status::State;
use tautline::store::{self, Desired, Keep, Secret, WorkspaceSpec};
use tautline::telemetry::Metrics;
use tokio::sync::oneshot;

use crate::tls;

/// How often it is looked whether all are ready.
const LOOK: Duration = Duration::from_millis(50);

/// Registers so many workspaces, one app each.
pub(crate) async fn register(slack: &str, workspaces: usize, folder: &Path) {
    let app = start(slack, Limits::default(), folder).await;
    let put = async |number: usize| {
        let token = AppToken::parse(&format!("xapp-1-A{number:06}-1-bench")).unwrap();
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            delivery: store::DeliveryMode::Active,
            links: 1,
            labels: Vec::new(),
            app_token: Secret::Set(token),
            bot_token: Secret::Keep,
        };
        app.put_workspace(&WorkspaceName::parse(&format!("w{number}")).unwrap(), &spec).await.unwrap();
    };
    stream::iter(0..workspaces).for_each_concurrent(16, put).await;
    app.stop().await;
}

/// Runs until the end of standard input. Says `start`, then `ready` and `not` as it changes, each with the wall clock's milliseconds.
pub(crate) async fn run(slack: &str, workspaces: usize, opens: Limits, folder: &Path) {
    let (ended, mut end) = oneshot::channel();
    std::thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        ended.send(()).unwrap();
    });
    let clock = Clock::start();
    let say = |what: &str| println!("{what} {}", clock.now().wall_ms);
    say("start");
    let app = start(slack, opens, folder).await;
    let mut were_ready = false;
    let mut look = tokio::time::interval(LOOK);
    while end.try_recv().is_err() {
        look.tick().await;
        let states = app.directory().states();
        let are_ready = states.len() == workspaces && states.iter().all(|state| *state == State::Ready);
        if are_ready != were_ready {
            were_ready = are_ready;
            say(if are_ready { "ready" } else { "not" });
        }
    }
    let report = app.stop().await;
    assert!(report.links_closed && report.handlers_done && report.journal_ended, "{report:?}");
}

async fn start(slack: &str, opens: Limits, folder: &Path) -> App {
    let mut handlers = Registry::default();
    handlers.register("nothing", handlers::Options::default(), |_| Nothing).unwrap();
    let options = Options {
        keep: Keep::default(),
        webhooks_allow_private: false,
        database: format!("sqlite://{}", folder.join("node.db").display()),
        key: KeySource::Beside,
        max_pages: None,
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        admin_token: AdminToken::new("bench"),
        slack_api: format!("{slack}/api/").parse().unwrap(),
        extra_ca_file: Some(tls::authority(folder)).filter(|file| file.exists()),
        ack: Ack::Stored,
        handlers,
        routes: Vec::new(),
        links: 1,
        opens,
        threads: std::thread::available_parallelism().unwrap().get().min(4),
        workspace: None,
        metrics: Arc::new(Metrics::new().unwrap()),
    };
    App::start(options).await.unwrap()
}

struct Nothing;

#[async_trait(?Send)]
impl Handler for Nothing {
    async fn handle(&self, _: Delivery) -> Outcome {
        Outcome::Done
    }
}
