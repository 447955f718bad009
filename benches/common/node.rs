//! What is measured, each in a process of its own: the loop, and nodes.

use std::cell::Cell;
use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use memchr::memmem::Finder;
use sqlx::{Connection as _, PgConnection};
use tautline::admin::AdminToken;
use tautline::app::{App, Options};
use tautline::config::Ack;
use tautline::config::KeySource;
use tautline::handlers::{self, Delivery, Handler, Outcome, Registry};
use tautline::ids::WorkspaceName;
use tautline::machine::pace::Limits;
use tautline::secret::AppToken;
use tautline::store::{self, Desired, Keep, Secret, WorkspaceSpec, generate_key_text};
use tautline::telemetry::Metrics;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The bare loop: one ack an envelope, one write an ack.
    Loop,
    /// The same with one write for all acks of what was readable: the limit of this stack.
    Batched,
    /// A node that keeps nothing.
    Unkept,
    /// A node that acks at once and stores behind it.
    Received,
    /// A node that stores before it acks.
    Stored,
    /// The same on Postgres; its server's CPU time is not the node's.
    Postgres,
}

impl Variant {
    pub(crate) const ALL: [Self; 6] =
        [Self::Loop, Self::Batched, Self::Unkept, Self::Received, Self::Stored, Self::Postgres];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Batched => "batched",
            Self::Unkept => "unkept",
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Postgres => "postgres",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// Postgres takes part where a server is named.
    pub(crate) fn is_there(self) -> bool {
        self != Self::Postgres || server().is_some()
    }
}

/// The address of a Postgres server to make a database on, as `scripts/with-postgres` says it.
fn server() -> Option<String> {
    std::env::var("TAUTLINE_TEST_POSTGRES").ok()
}

/// A database of its own, empty, and the key of a node on it.
async fn fresh_database() -> (String, KeySource) {
    let server = server().expect("the benchmark asks for Postgres only where there is a server");
    let mut db = PgConnection::connect(&server).await.unwrap();
    for sql in ["drop database if exists tautline_bench with (force)", "create database tautline_bench"] {
        sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
    }
    let (address, _) = server.rsplit_once('/').expect("an address ends in a database");
    (format!("{address}/tautline_bench"), KeySource::Text(generate_key_text()))
}

/// Says `up`, runs until the end of standard input, and says how many events were handled.
pub(crate) fn run(variant: Variant, slack: &str, sockets: usize, folder: &Path) {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        ended.send(()).unwrap();
    });
    let ack = match variant {
        Variant::Loop | Variant::Batched => {
            return run_loop(variant == Variant::Batched, slack, sockets, end);
        }
        Variant::Unkept => Ack::Unkept,
        Variant::Received => Ack::Received,
        Variant::Stored | Variant::Postgres => Ack::Stored,
    };
    actix_rt::System::new().block_on(async {
        let (database, key) = if variant == Variant::Postgres {
            fresh_database().await
        } else {
            (format!("sqlite://{}", folder.join("node.db").display()), KeySource::Beside)
        };
        run_node(ack, database, key, slack, sockets, end).await;
    });
}

async fn run_node(
    ack: Ack,
    database: String,
    key: KeySource,
    slack: &str,
    sockets: usize,
    end: oneshot::Receiver<()>,
) {
    let handled = Arc::new(AtomicU64::new(0));
    let mut handlers = Registry::default();
    let counted = Arc::clone(&handled);
    handlers
        .register("nothing", handlers::Options::default(), move |_| Nothing(Arc::clone(&counted)))
        .unwrap();
    let app = App::start(Options {
        database,
        key,
        max_pages: None,
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        admin_token: AdminToken::new("bench"),
        slack_api: format!("http://{slack}/api/").parse().unwrap(),
        extra_ca_file: None,
        ack,
        handlers,
        routes: Vec::new(),
        links: 1,
        opens: Limits { per_second: 10_000, at_once: 64 },
        threads: std::thread::available_parallelism().unwrap().get().min(4),
        workspace: None,
        keep: Keep::default(),
        webhooks_allow_private: true,
        metrics: Arc::new(Metrics::new().unwrap()),
    })
    .await
    .unwrap();
    for number in 0..sockets {
        let spec = WorkspaceSpec {
            title: None,
            desired: Desired::Connected,
            delivery: store::DeliveryMode::Active,
            links: 1,
            labels: Vec::new(),
            app_token: Secret::Set(AppToken::parse(&format!("xapp-1-A{number:06}-1-bench")).unwrap()),
            bot_token: Secret::Keep,
        };
        app.put_workspace(&WorkspaceName::parse(&format!("w{number}")).unwrap(), &spec).await.unwrap();
    }
    println!("up");
    end.await.unwrap();
    let report = app.stop().await;
    assert!(report.links_closed && report.handlers_done && report.journal_ended, "{report:?}");
    println!("{}", handled.load(Ordering::Relaxed));
}

struct Nothing(Arc<AtomicU64>);

#[async_trait(?Send)]
impl Handler for Nothing {
    async fn handle(&self, _: Delivery) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::Done
    }
}

fn run_loop(batched: bool, slack: &str, sockets: usize, end: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handled = Rc::new(Cell::new(0_u64));
    LocalSet::new().block_on(&runtime, async {
        for number in 0..sockets {
            let tcp = TcpStream::connect(slack).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let url = format!("ws://{slack}/link/?app={number:06}");
            let (socket, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
            let handled = Rc::clone(&handled);
            if batched {
                spawn_local(ack_together(socket, handled));
            } else {
                spawn_local(ack_each(socket, handled));
            }
        }
        println!("up");
        end.await.unwrap();
    });
    println!("{}", handled.get());
}

async fn ack_each(mut socket: WebSocketStream<TcpStream>, handled: Rc<Cell<u64>>) {
    let finder = Finder::new(ENVELOPE_ID);
    while let Some(Ok(message)) = socket.next().await {
        if let Some(ack) = ack_of(&finder, &message) {
            handled.set(handled.get() + 1);
            socket.send(ack).await.unwrap();
        }
    }
}

async fn ack_together(mut socket: WebSocketStream<TcpStream>, handled: Rc<Cell<u64>>) {
    let finder = Finder::new(ENVELOPE_ID);
    while let Some(first) = socket.next().await {
        let mut next = Some(first);
        while let Some(Ok(message)) = next {
            if let Some(ack) = ack_of(&finder, &message) {
                handled.set(handled.get() + 1);
                socket.feed(ack).await.unwrap();
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await.unwrap();
    }
}

const ENVELOPE_ID: &[u8] = br#""envelope_id":""#;

fn ack_of(finder: &Finder<'_>, message: &Message) -> Option<Message> {
    let Message::Text(text) = message else { return None };
    let from = finder.find(text.as_bytes())? + ENVELOPE_ID.len();
    let id = &text.as_str()[from..];
    let id = &id[..id.find('"')?];
    Some(Message::text(format!(r#"{{"envelope_id":"{id}"}}"#)))
}
