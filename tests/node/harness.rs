//! A node and a Slack in this process, for one test. What is waited for has a bound and is waited for where it happens: on the
//! node's own status, on the simulator's record, on what a handler has seen. What is judged is judged by the record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tautline::actors::StopReport;
use tautline::admin::AdminToken;
use tautline::app::{App, Options};
use tautline::clock::{Clock, Skew};
use tautline::config::Ack;
use tautline::event::Event;
use tautline::handlers::{Delivery, Handler, Options as Limits, Outcome, Registry};
use tautline::ids::AppId;
use tautline::simulator::{self, AppRecord, Handle, NewApp, Outcome as Fate, Record, Rules, Simulator, Team};
use tautline::status::{Code, State, Status};
use tautline::store::Keep;
use tautline::telemetry::Metrics;
use tokio::sync::watch;

use super::{Connection, Database};

/// What Tautline promises: after a fault the right state, and after its end `ready`, within this.
pub(crate) const PROMISED: Duration = Duration::from_secs(15);

/// Far longer than anything else here takes, on a machine that has other things to do; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Too long to be guessed: wrong tokens from the same address do not make its bearer wait.
pub(crate) const ADMIN_TOKEN: &str = "admin-token-that-nobody-guesses";

/// A simulated Slack and the place for a database. Outlives the nodes that run on it.
pub(crate) struct Stage {
    pub(crate) slack: Handle,
    pub(crate) database: Arc<Database>,
    /// Moves the clock of the nodes.
    pub(crate) time: &'static Skew,
    /// How long they keep what is handled.
    pub(crate) keep: Keep,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// A Slack with its ordinary rules.
    pub(crate) fn new() -> Self {
        Self::with_rules(|_| {})
    }

    /// A Slack that sends again what is not acked every second or so and does not give up: what a fault has held up comes again
    /// soon.
    pub(crate) fn persistent() -> Self {
        Self::with_rules(|rules| rules.retry_after_ms = vec![1_000; 60])
    }

    /// A Slack with rules of its own.
    pub(crate) fn with_rules(change: impl FnOnce(&mut Rules)) -> Self {
        Self::with_options(|options| change(&mut options.rules))
    }

    /// A Slack set up otherwise.
    pub(crate) fn with_options(change: impl FnOnce(&mut simulator::Options)) -> Self {
        let mut options = simulator::Options::default();
        change(&mut options);
        let folder = tempfile::tempdir().expect("there is room for a database");
        Self {
            slack: Simulator::start(options).expect("a port is free"),
            database: Arc::new(Database::new(folder.path())),
            time: Skew::new(),
            keep: Keep::default(),
            _folder: folder,
        }
    }

    /// A customer with an app of their own, known to Slack.
    pub(crate) fn customer(&self, name: &str) -> Customer {
        let tail: String = name.to_ascii_uppercase().chars().filter(char::is_ascii_alphanumeric).collect();
        let app_id = format!("A0{tail}");
        let customer = Customer {
            name: name.to_owned(),
            app_token: format!("xapp-1-{app_id}-1-0123456789abcdef"),
            team_id: format!("T0{tail}"),
            bot_token: format!("xoxb-{tail}-0123456789abcdef"),
            app_id,
        };
        let team = Team {
            team_id: customer.team_id.clone(),
            bot_token: Some(customer.bot_token.clone()),
            enterprise_id: None,
        };
        self.add_token(&customer, &customer.app_token, vec![team]);
        customer
    }

    /// One more token of a customer's app, as one generates it in the app's settings.
    pub(crate) fn second_token(&self, customer: &Customer) -> String {
        let token = format!("xapp-1-{}-2-fedcba9876543210", customer.app_id);
        self.add_token(customer, &token, Vec::new());
        token
    }

    fn add_token(&self, customer: &Customer, token: &str, teams: Vec<Team>) {
        let app = NewApp { app_token: token.to_owned(), slack_app_id: Some(customer.app_id.clone()), teams };
        self.slack.add_app(app).expect("the app is well formed");
    }

    /// A node whose only handler writes down what it gets.
    pub(crate) async fn node(&self) -> Node {
        self.node_with(Ack::Stored, |_| {}).await
    }

    /// A node with one more handler or another ack.
    pub(crate) async fn node_with(&self, ack: Ack, register: impl FnOnce(&mut Registry)) -> Node {
        let seen = Seen::default();
        let mut handlers = Registry::default();
        seen.register(&mut handlers, "recorder", Limits::default());
        register(&mut handlers);
        Node { seen, ..self.bare_node(ack, handlers).await }
    }

    /// A node with just these handlers.
    pub(crate) async fn bare_node(&self, ack: Ack, handlers: Registry) -> Node {
        let options = Options {
            database: self.database.address(),
            key: self.database.key(),
            max_pages: None,
            listen: ([127, 0, 0, 1], 0).into(),
            metrics_listen: None,
            admin_token: AdminToken::new(ADMIN_TOKEN),
            slack_api: self.slack.api_url().parse().expect("an address"),
            extra_ca_file: None,
            ack,
            handlers,
            routes: Vec::new(),
            links: 1,
            opens: tautline::machine::pace::Limits::default(),
            threads: 2,
            workspace: None,
            keep: self.keep,
            webhooks_allow_private: true,
            metrics: Arc::new(Metrics::new().expect("metrics")),
        };
        let threads = threads();
        let app = App::start_by(Clock::steered(self.time), options).await.expect("the node starts");
        let database = Arc::clone(&self.database);
        Node { app, seen: Seen::default(), http: awc::Client::default(), database, threads }
    }

    /// What Slack saw of a customer's app.
    pub(crate) fn look<R>(&self, customer: &Customer, look: impl FnOnce(&AppRecord) -> R) -> R {
        self.slack.with_record(|record| look(of(record, customer)))
    }

    /// Waits until Slack has seen this of a customer's app.
    pub(crate) async fn until(&self, customer: &Customer, what: &str, wanted: impl Fn(&AppRecord) -> bool) {
        let seen = self.slack.until(|record| wanted(of(record, customer)), PATIENCE).await;
        assert!(
            seen.is_ok(),
            "{what} within {PATIENCE:?}: {:?}",
            self.look(customer, |app| app.counts.clone())
        );
    }

    /// Waits until everything that was sent to a customer is acked or given up.
    pub(crate) async fn until_settled(&self, customer: &Customer) {
        self.until(customer, "everything is acked", |app| {
            app.counts.acked + app.counts.given_up + app.counts.timed_out == app.counts.sent
        })
        .await;
    }

    /// Waits until so many events are acked.
    pub(crate) async fn until_acked(&self, customer: &Customer, count: u64) {
        self.until(customer, "enough is acked", |app| app.counts.acked >= count).await;
    }

    /// Not one moment without a live socket, nothing sent twice, everything acked, nothing odd.
    pub(crate) fn assert_flawless(&self, customer: &Customer) {
        self.slack.with_record(|record| {
            let app = of(record, customer);
            assert_eq!(app.gaps(record.now), [], "{}: moments without a live socket", customer.name);
            assert_eq!(app.counts.retried, 0, "{}: events sent twice", customer.name);
            assert_eq!(app.counts.acked, app.counts.sent, "{}: events acked", customer.name);
            assert!(app.anomalies.is_empty(), "{}: {:?}", customer.name, app.anomalies);
        });
    }
}

/// The simulator's word for a customer's app.
fn of<'a>(record: &'a Record, customer: &Customer) -> &'a AppRecord {
    record.app(&customer.app_id).expect("Slack knows the app")
}

/// A customer, their app and their team.
#[derive(Clone)]
pub(crate) struct Customer {
    pub(crate) name: String,
    pub(crate) app_id: String,
    pub(crate) app_token: String,
    pub(crate) team_id: String,
    pub(crate) bot_token: String,
}

impl Customer {
    /// What registers them.
    pub(crate) fn body(&self) -> Value {
        json!({ "app_token": self.app_token, "bot_token": self.bot_token })
    }

    /// The ids of all that was sent to them and is the Events API's, and what became of it.
    pub(crate) fn sent(&self, stage: &Stage) -> Vec<(String, Fate)> {
        stage.look(self, |app| app.events.iter().map(|event| (event.id.clone(), event.outcome)).collect())
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) app: App,
    /// What its recording handler got.
    pub(crate) seen: Seen,
    http: awc::Client,
    database: Arc<Database>,
    threads: usize,
}

/// An answer of the admin API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    async fn of<S>(mut response: awc::ClientResponse<S>) -> Self
    where
        S: futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>>,
    {
        let text = response.body().await.expect("a body");
        let header = |(name, value): (&awc::http::header::HeaderName, &awc::http::header::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Self {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(header).collect(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Node {
    /// Registers customers and waits until they are ready.
    pub(crate) async fn welcome(&self, customers: &[&Customer]) {
        for customer in customers {
            assert_eq!(self.put(&customer.name, &customer.body()).await.status, 201);
        }
        for customer in customers {
            self.ready(&customer.name).await;
        }
    }

    /// `PUT /api/v1/workspaces/{name}`
    pub(crate) async fn put(&self, name: &str, body: &Value) -> Answer {
        self.ask("PUT", &format!("/api/v1/workspaces/{name}"), Some(ADMIN_TOKEN), Some(body)).await
    }

    /// `GET` with the admin token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Some(ADMIN_TOKEN), None).await
    }

    /// `DELETE /api/v1/workspaces/{name}`
    pub(crate) async fn delete(&self, name: &str) -> Answer {
        self.ask("DELETE", &format!("/api/v1/workspaces/{name}"), Some(ADMIN_TOKEN), None).await
    }

    /// `PATCH /api/v1/workspaces/{name}`, with a query.
    pub(crate) async fn patch(&self, name: &str, body: &Value) -> Answer {
        self.ask("PATCH", &format!("/api/v1/workspaces/{name}"), Some(ADMIN_TOKEN), Some(body)).await
    }

    /// `POST` with the admin token.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Answer {
        self.ask("POST", path, Some(ADMIN_TOKEN), body).await
    }

    /// The workspace as the API shows it.
    pub(crate) async fn workspace(&self, name: &str) -> Value {
        let answer = self.get(&format!("/api/v1/workspaces/{name}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Any request.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let address = format!("http://{}{path}", self.app.address());
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, address).timeout(PATIENCE);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        Answer::of(response.expect("the admin API answers")).await
    }

    /// `POST` by a client that outlives the node; the status of its answer.
    pub(crate) fn post_apart(&self, path: &str) -> impl Future<Output = u16> + 'static {
        let address = format!("http://{}{path}", self.app.address());
        async move {
            let request = awc::Client::default().post(address).bearer_auth(ADMIN_TOKEN).timeout(PATIENCE);
            request.send().await.expect("the admin API answers").status().as_u16()
        }
    }

    /// `POST` of a text.
    pub(crate) async fn post_text(&self, path: &str, token: &str, kind: &str, text: String) -> Answer {
        let address = format!("http://{}{path}", self.app.address());
        let request = self.http.post(address).timeout(PATIENCE).bearer_auth(token);
        let request = request.insert_header(("content-type", kind));
        Answer::of(request.send_body(text).await.expect("the admin API answers")).await
    }

    /// A request with one header more.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        header: (&str, &str),
        body: &Value,
    ) -> Answer {
        let address = format!("http://{}{path}", self.app.address());
        let request = self.http.request(method.parse().expect("a method"), address).timeout(PATIENCE);
        let request = request.bearer_auth(ADMIN_TOKEN).insert_header(header);
        Answer::of(request.send_json(body).await.expect("the admin API answers")).await
    }

    /// The status of a workspace's connection, and those to come.
    pub(crate) async fn status(&self, name: &str) -> watch::Receiver<Status> {
        let id = self.app_of(name).await;
        eventually("the connection is known", async || self.app.directory().get(id)).await.status()
    }

    /// Waits until the connection is as wanted and tells how it is.
    pub(crate) async fn until(
        &self,
        name: &str,
        wanted: impl FnMut(&Status) -> bool,
        within: Duration,
    ) -> Status {
        let mut status = self.status(name).await;
        let found = tokio::time::timeout(within, status.wait_for(wanted)).await;
        let found = found.map(|status| status.expect("the connection is there").clone());
        found
            .unwrap_or_else(|_| panic!("{name} is not as wanted within {within:?} but {:?}", status.borrow()))
    }

    /// Waits until the workspace is ready.
    pub(crate) async fn ready(&self, name: &str) -> Status {
        self.until(name, |status| status.state == State::Ready, PROMISED).await
    }

    /// Waits until the workspace has failed for this reason.
    pub(crate) async fn failed(&self, name: &str, code: Code) -> Status {
        let is = |status: &Status| status.state == State::Failed && code_of(status) == Some(code);
        self.until(name, is, PROMISED).await
    }

    /// Every change of the connection's state so far: to what, and why. From the database, where none is missed.
    pub(crate) async fn history(&self, name: &str) -> Vec<(String, Option<String>)> {
        let app = self.app_of(name).await;
        let mut db = self.reader().await;
        let changes = sqlx::query_as(
            "select to_state, code from transitions where app_id = $1 and workspace_id is null order by n",
        )
        .bind(app.0)
        .fetch_all(&mut db)
        .await
        .expect("the history can be read");
        db.close().await.expect("the reader closes");
        changes
    }

    /// Waits until the connection has been in another state than `ready` for this reason, after its first `since` changes.
    pub(crate) async fn was_down(&self, name: &str, since: usize, code: Code, within: Duration) {
        let found = tokio::time::timeout(within, async {
            loop {
                let is = |(to, why): &(String, Option<String>)| {
                    to != "ready" && why.as_deref() == Some(code.as_str())
                };
                if self.history(name).await.iter().skip(since).any(is) {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        let found = found.await.is_ok();
        assert!(
            found,
            "{name} was never down for {code:?} within {within:?}: {:?}",
            self.history(name).await
        );
    }

    /// Has the connection stayed `ready` since it first was?
    pub(crate) async fn assert_always_ready(&self, name: &str) {
        let since_ready = async || {
            let mut history = self.history(name).await.into_iter().skip_while(|(to, _)| to != "ready");
            history.next().map(|_| history.collect::<Vec<_>>())
        };
        let left = eventually("the history says ready", since_ready).await;
        assert_eq!(left, [], "{name} left ready");
    }

    async fn app_of(&self, name: &str) -> AppId {
        let mut db = self.reader().await;
        let id = sqlx::query_scalar("select app_id from workspaces where name = $1 and deleted_at is null")
            .bind(name)
            .fetch_one(&mut db)
            .await
            .expect("the workspace is stored");
        db.close().await.expect("the reader closes");
        AppId(id)
    }

    /// Reads the node's database from beside it.
    pub(crate) async fn reader(&self) -> Connection {
        self.database.connect().await
    }

    /// Is the event in the journal?
    pub(crate) async fn has_on_disk(&self, slack_id: &str) -> bool {
        let mut db = self.reader().await;
        let count: i64 = sqlx::query_scalar("select count(*) from events where slack_id = $1")
            .bind(slack_id)
            .fetch_one(&mut db)
            .await
            .expect("the journal can be read");
        db.close().await.expect("the reader closes");
        count > 0
    }

    /// Stops it in order; nothing of it is left.
    pub(crate) async fn stop(self) {
        let threads = self.threads;
        let report = self.stop_somehow().await;
        assert!(report.is_complete() && report.links_left == 0, "the node stops in order: {report:?}");
        eventually("the node's threads end", async || (self::threads() <= threads).then_some(())).await;
    }

    /// Stops it, whatever is left.
    pub(crate) async fn stop_somehow(self) -> StopReport {
        drop(self.http);
        self.app.stop().await
    }
}

/// The reason's code.
pub(crate) fn code_of(status: &Status) -> Option<Code> {
    status.reason.map(|reason| reason.code)
}

/// Between two looks at what tells nobody that it has changed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks at what tells nobody that it has changed until there is something.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"))
}

/// The threads of this process that a node may have started.
fn threads() -> usize {
    let ours = |name: &str| ["actix", "sqlx"].iter().any(|start| name.starts_with(start));
    let tasks = std::fs::read_dir("/proc/self/task").expect("the process has threads");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| ours(name)).count()
}

/// What a handler has seen, to be looked at from outside.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Inner>);

#[derive(Default)]
struct Inner {
    events: Mutex<Vec<Arc<Event>>>,
    count: watch::Sender<usize>,
}

impl Seen {
    /// Registers a handler that writes down what it gets and is done at once.
    pub(crate) fn register(&self, handlers: &mut Registry, name: &str, limits: Limits) {
        let seen = self.clone();
        handlers.register(name, limits, move |_| Recorder(seen.clone())).expect("the name is free");
    }

    /// Writes an event down.
    pub(crate) fn note(&self, event: &Arc<Event>) {
        self.0.events.lock().expect("no test panicked here").push(Arc::clone(event));
        self.0.count.send_modify(|count| *count += 1);
    }

    /// All of it.
    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        self.0.events.lock().expect("no test panicked here").clone()
    }

    /// How often each event was seen, by Slack's id.
    pub(crate) fn times(&self) -> BTreeMap<String, usize> {
        self.events().iter().fold(BTreeMap::new(), |mut times, event| {
            *times.entry(event.slack_id.to_string()).or_default() += 1;
            times
        })
    }

    /// Waits for an event, by Slack's id.
    pub(crate) async fn until(&self, slack_id: &str) -> Arc<Event> {
        self.until_any(slack_id, |event| &*event.slack_id == slack_id).await
    }

    /// Waits for an event that is so.
    pub(crate) async fn until_any(&self, what: &str, is: impl Fn(&Event) -> bool) -> Arc<Event> {
        let mut count = self.0.count.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                count.borrow_and_update();
                if let Some(event) = self.events().into_iter().find(|event| is(event)) {
                    return event;
                }
                count.changed().await.expect("the list is there");
            }
        });
        found.await.unwrap_or_else(|_| panic!("{what} is handled within {PATIENCE:?}"))
    }

    /// Waits for so many deliveries.
    pub(crate) async fn until_count(&self, wanted: usize) {
        let mut count = self.0.count.subscribe();
        let enough = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= wanted)).await;
        assert!(enough.is_ok(), "{wanted} deliveries within {PATIENCE:?}, but {}", *self.0.count.borrow());
    }

    /// Each of what Slack has on record as acked was handled, and once.
    pub(crate) async fn assert_each_once(&self, stage: &Stage, customers: &[&Customer]) {
        for (id, times) in self.assert_all_handled(stage, customers).await {
            assert_eq!(times, 1, "{id} was handled {times} times");
        }
    }

    /// Nothing that was sent is lost: all of it acked, all of it handled. Tells how often each was.
    pub(crate) async fn assert_all_handled(
        &self,
        stage: &Stage,
        customers: &[&Customer],
    ) -> BTreeMap<String, usize> {
        for customer in customers {
            for (id, fate) in customer.sent(stage) {
                assert_eq!(fate, Fate::Acked, "{}: {id}", customer.name);
                self.until(&id).await;
            }
        }
        self.times()
    }
}

/// Writes down what it gets.
struct Recorder(Seen);

#[async_trait(?Send)]
impl Handler for Recorder {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        self.0.note(&delivery.event);
        Outcome::Done
    }
}
