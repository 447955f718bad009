//! A node's inside: what runs on which thread, in which order it starts, and in which it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::asked::Asks;
use super::budget::Budget;
use super::connection::{Steer, Steered};
use super::directory::Directory;
use super::dispatcher::{self, Dispatcher, Drain, Left};
use super::exit::Exit;
use super::journal::{Journal, Marks};
use super::pacer::Pacer;
use super::retention;
use super::routing::Router;
use super::shared::{Shared, keep_history};
use super::supervisor::{AppChanged, SteerApp, StopAll, Supervisor};
use super::tally;
use super::webhooks::{self, Poster, Telling};
use crate::clock::Clock;
use crate::handlers::{Plugin, Registry};
use crate::ids::{AppId, Generations};
use crate::machine::pace::Limits;
use crate::machine::routes::HandlerSet;
use crate::slack::web::Outside;
use crate::status::Command;
use crate::store::{Archive, Deliveries, Inbox, Keep, Retention, Store, Transition, Workspaces, Writer};
use crate::telemetry::{Metrics, Opens};

/// Bytes of envelopes that may wait in memory, all links together, and what is kept for those that Slack does not send twice.
const IN_FLIGHT: (usize, usize) = (64 << 20, 4 << 20);

/// How many ask Slack at the same time whose a bot token is.
const IDENTITIES: usize = 16;

/// How often it is looked whether all that must live does.
const LOOK: Duration = Duration::from_secs(1);

/// What a node is made of.
pub struct NodeParts {
    /// Where workspaces and events are kept.
    pub store: Arc<dyn Store>,
    /// The writer that has begun there; none where nothing is kept.
    pub writer: Option<Writer>,
    /// How Slack is reached.
    pub outside: Outside,
    /// The time.
    pub clock: Clock,
    /// Who handles events.
    pub handlers: Registry,
    /// Which of them get which events.
    pub router: Arc<Router>,
    /// How fast Slack may be asked for addresses.
    pub opens: Limits,
    /// Threads that carry connections, at least one.
    pub threads: usize,
    /// Where what is known of every connection is shown.
    pub directory: Arc<Directory>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How notices are posted.
    pub poster: Poster,
    /// How long events are kept; none for ever.
    pub keep: Keep,
}

/// A running node.
pub struct Node {
    store: Arc<dyn Store>,
    supervisor: Addr<Supervisor>,
    dispatcher: Addr<Dispatcher>,
    telling: Telling,
    directory: Arc<Directory>,
    pacer: Arc<Pacer>,
    budget: Arc<Budget>,
    marks: Option<Arc<Marks>>,
    /// None where nothing is kept, and once it has died.
    journal: Option<Running>,
    died: Option<&'static str>,
    arbiters: Vec<Arbiter>,
}

/// How the end went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Every link waited for its verdicts and sent its close frame.
    pub links_closed: bool,
    /// Every delivery that a handler had begun is finished.
    pub handlers_done: bool,
    /// The journal wrote what it had and noted its end.
    pub journal_ended: bool,
    /// Links that were cut before they were done.
    pub links_left: usize,
    /// Deliveries that handlers had begun and were not done with. What is kept on disk the next start handles.
    pub events_left: usize,
}

impl StopReport {
    /// Was nothing left?
    pub fn is_complete(&self) -> bool {
        self.links_closed && self.handlers_done && self.journal_ended
    }
}

/// Those that answer.
fn answering(plugins: &[Arc<Plugin>]) -> HandlerSet {
    let answering = plugins.iter().enumerate().filter(|(_, plugin)| plugin.options.answers);
    answering.fold(HandlerSet::NONE, |set, (handler, _)| set.and(HandlerSet::one(handler)))
}

impl Node {
    /// Starts a node on threads of its own. To be called inside an actix system.
    pub fn start(parts: NodeParts) -> Self {
        let NodeParts { store, writer, outside, clock, router, directory, metrics, .. } = parts;
        let outside = Arc::new(outside);
        let budget = Budget::new(IN_FLIGHT.0, IN_FLIGHT.1);
        let places = budget.most_envelopes() + 1;
        let (unkept_sender, unkept) = mpsc::channel(places);
        let marks = writer.as_ref().map(|writer| Marks::new(writer, clock));

        let plugins: Vec<_> = parts.handlers.into_plugins().into_iter().map(Arc::new).collect();
        let answering = answering(&plugins);
        let (asks, asked) = Asks::new(clock, Arc::clone(&metrics), router.in_force(), answering);

        let inner = Arbiter::new();
        let inbox = Arc::clone(&store) as Arc<dyn Inbox>;
        let dispatcher_parts = dispatcher::Parts {
            journal: Arc::clone(&inbox),
            store: Arc::clone(&store) as Arc<dyn Deliveries>,
            workspaces: Arc::clone(&store) as Arc<dyn Workspaces>,
            writer: writer.as_ref().map(|writer| writer.id),
            marks: marks.clone(),
            unkept,
            plugins,
            routes: router.in_force(),
            asks: Arc::clone(&asks),
            asked,
            outside: Arc::clone(&outside),
            budget: Arc::clone(&budget),
            clock,
            metrics: Arc::clone(&metrics),
            feed: directory.feed(),
            changes: Arc::clone(directory.changes()),
            names: Arc::clone(directory.names()),
            limits: dispatcher::Limits::NODE,
            thread: None,
        };
        let dispatcher =
            Dispatcher::start_in_arbiter(&inner.handle(), move |_| Dispatcher::new(dispatcher_parts));

        let (journal, exit) = match (writer, &marks) {
            (Some(writer), Some(marks)) => {
                let (journal, queue) = Journal::new(
                    Arc::clone(&inbox),
                    clock,
                    writer,
                    Arc::clone(marks),
                    places,
                    Arc::clone(&metrics),
                    Arc::clone(directory.names()),
                );
                (Some(write_down(journal, dispatcher.clone())), Exit::Kept(queue, Arc::clone(&router)))
            }
            _ => (None, Exit::Unkept(unkept_sender)),
        };

        let history = tend(&inner, &store, router);
        if marks.is_some() {
            inner.spawn(tally::keep(Arc::clone(&store) as Arc<dyn Archive>, clock, Arc::clone(&metrics)));
        }
        let old = Arc::clone(&store) as Arc<dyn Retention>;
        inner.spawn(retention::let_go(old, parts.keep, clock, Arc::clone(&metrics)));
        let pacer = Pacer::new(clock, parts.opens);
        inner.spawn(Arc::clone(&pacer).keep_time());
        let telling = Telling::start(webhooks::Parts {
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            clock,
            poster: parts.poster,
            metrics: Arc::clone(&metrics),
            history: history.clone(),
        });
        let shared = Arc::new(Shared {
            clock,
            store: Arc::clone(&store) as Arc<dyn Workspaces>,
            outside,
            generations: Generations::default(),
            budget: Arc::clone(&budget),
            exit,
            asks: (!answering.is_empty()).then_some(asks),
            pacer: Arc::clone(&pacer),
            identities: Arc::new(Semaphore::new(IDENTITIES)),
            history,
            metrics,
            other_nodes: AtomicU32::new(0),
            names: Arc::clone(directory.names()),
        });
        let mut arbiters: Vec<_> = (0..parts.threads.max(1)).map(|_| Arbiter::new()).collect();
        let handles = arbiters.iter().map(Arbiter::handle).collect();
        let known = Arc::clone(&directory);
        let supervisor =
            Supervisor::start_in_arbiter(&inner.handle(), move |_| Supervisor::new(shared, known, handles));
        arbiters.push(inner);
        Self {
            store,
            supervisor,
            dispatcher,
            telling,
            directory,
            pacer,
            budget,
            marks,
            journal,
            died: None,
            arbiters,
        }
    }

    /// Does the journal take writes? True where nothing is kept.
    pub fn journal_writes(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let marks = self.marks.clone();
        move || marks.as_ref().is_none_or(|marks| !marks.is_stuck())
    }

    /// The queue before `apps.connections.open`, and what envelopes in memory weigh, bytes.
    pub fn load(&self) -> impl Fn() -> (Opens, usize) + Send + Sync + 'static {
        let (pacer, budget) = (Arc::clone(&self.pacer), Arc::clone(&self.budget));
        move || (pacer.opens(), budget.taken())
    }

    /// Can what is on disk be handled? Not where it is sealed with a key that this node does not have.
    pub fn journal_opens(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let marks = self.marks.clone();
        move || marks.as_ref().is_none_or(|marks| !marks.lacks_key.load(Ordering::Relaxed))
    }

    /// Tells the supervisor to compare an app with its row.
    pub fn app_changed(&self) -> impl Fn(AppId) + Send + Sync + 'static {
        let supervisor = self.supervisor.clone();
        move |app| {
            if supervisor.try_send(AppChanged(app)).is_err() {
                tracing::error!(%app, "the supervisor does not listen; the change takes effect at the next start");
            }
        }
    }

    /// Passes a command to an app's connection, after comparing it with its row; the answer comes when it is obeyed, and is dropped
    /// where there is nobody to obey.
    pub fn steer(&self) -> impl Fn(AppId, Command) -> oneshot::Receiver<Steered> + Send + Sync + 'static {
        let supervisor = self.supervisor.clone();
        move |app, command| {
            let (done, obeyed) = oneshot::channel();
            if supervisor.try_send(SteerApp { app, steer: Steer { command, done } }).is_err() {
                tracing::error!(%app, "the supervisor does not listen; the command is not obeyed");
            }
            obeyed
        }
    }

    /// Says that the webhooks have changed.
    pub fn webhooks_changed(&self) -> impl Fn() + Send + Sync + 'static {
        let bell = self.telling.bell();
        move || bell.send_modify(|rung| *rung = rung.wrapping_add(1))
    }

    /// Resolves with what has died of what must not: without the journal nothing may be acked, without the dispatcher nobody
    /// handles what is, without the supervisor nobody brings a connection back. The node must stop then.
    pub async fn died(&mut self) -> &'static str {
        let mut look = tokio::time::interval(LOOK);
        loop {
            let journal = async {
                match &mut self.journal {
                    Some((_, task)) => drop(task.await),
                    None => std::future::pending().await,
                }
            };
            let died = tokio::select! {
                () = journal => {
                    self.journal = None;
                    Some("journal")
                }
                _ = look.tick() => match (self.dispatcher.connected(), self.supervisor.connected()) {
                    (false, _) => Some("dispatcher"),
                    (_, false) => Some("supervisor"),
                    (true, true) => None,
                },
            };
            if let Some(died) = died {
                self.died = Some(died);
                return died;
            }
        }
    }

    /// Stops in order: links wait for their verdicts and close; handlers finish what they have begun; the journal notes what is done.
    pub async fn stop(mut self, within: Duration) -> StopReport {
        let mut report = StopReport::default();
        let part = within / 4;
        self.telling.stop();
        report.links_closed = timeout(part, self.supervisor.send(StopAll)).await.is_ok();
        report.links_left = self.directory.links();
        report.handlers_done = timeout(part, self.dispatcher.send(Drain)).await.is_ok();
        let left = timeout(Duration::from_secs(1), self.dispatcher.send(Left)).await;
        report.events_left = left.ok().and_then(Result::ok).unwrap_or_default();
        report.journal_ended = match self.journal.take() {
            Some((stop, task)) => {
                drop(stop);
                timeout(part, task).await.is_ok()
            }
            None => self.died.is_none(),
        };
        // Before the threads that read from it; a disk that hangs does not hold the end up.
        if timeout(part, self.store.close()).await.is_err() {
            tracing::warn!("the database does not close");
        }
        self.telling.end();
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        report
    }
}

/// Keeps the routes up to date, and writes the history down: where its lines go.
fn tend(inner: &Arbiter, store: &Arc<dyn Store>, router: Arc<Router>) -> mpsc::Sender<Transition> {
    let (history, lines) = mpsc::channel(4096);
    inner.spawn(keep_history(Arc::clone(store) as Arc<dyn Workspaces>, lines));
    inner.spawn(router.keep());
    history
}

/// How a journal that runs is stopped, and its end.
type Running = (oneshot::Sender<()>, JoinHandle<()>);

/// Runs a journal, whose groups go on to the dispatcher.
fn write_down(journal: Journal, dispatcher: Addr<Dispatcher>) -> Running {
    let (stop, stopped) = oneshot::channel();
    // What the dispatcher has no room for it reads back from the store.
    let deliver = move |committed| drop(dispatcher.try_send(committed));
    (stop, actix_rt::spawn(journal.run(deliver, stopped)))
}
