//! The supervisor: which connections should run, which do, and what becomes of one that crashed. Each is made anew from the
//! store; what one does, no other notices.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use super::changes::What;
use super::connection::{Configure, Connection, Duplicate, Parts, Steer, Steered, Stop, YieldTo};
use super::directory::{Directory, Entry};
use super::names::say;
use super::shared::Shared;
use super::tripwire::{Died, Tripwire};
use crate::files::OpenFiles;
use crate::ids::AppId;
use crate::machine::intensity::{Intensity, Verdict};
use crate::status::Code;
use crate::store::{App, Desired, StoreError, Transition};

/// A crashed actor's links have so long to end before its successor starts: 2.5 s for verdicts, 1 s to close, and a little.
const LINKS_END: Duration = Duration::from_secs(4);

/// So many commands for one app wait for its row; more are refused. They pile up only where the store does not answer.
const COMMANDS: usize = 16;

/// Between looks at the store while it does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often it is asked what has changed in the store: by other nodes, and by this one where it never heard whether a change was made.
const LOOK_FOR_CHANGES: Duration = Duration::from_secs(5);

/// An app's row may have changed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct AppChanged(pub(super) AppId);

/// Somebody wants something of an app's connection. Its row is read first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct SteerApp {
    pub(super) app: AppId,
    pub(super) steer: Steer,
}

/// Every connection off, in order. Answers when the last link has ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct StopAll;

/// The pause after a crash is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Rise {
    app: AppId,
    /// Which of its lives ended.
    life: u64,
}

/// The supervisor.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    /// Where connections live, and how many live there.
    homes: Vec<(ArbiterHandle, usize)>,
    children: HashMap<AppId, Child>,
    /// Apps whose row is being read, and whether it has to be read again.
    looks: HashMap<AppId, bool>,
    /// What is to be passed on to an app's connection when its row has been read.
    commands: HashMap<AppId, Vec<Steer>>,
    /// While all rows are being read: apps that have changed meanwhile.
    overtaken: Option<HashSet<AppId>>,
    /// Changes in the store up to here are known; none before all rows have been read.
    known_to: Option<i64>,
    stopping: bool,
    /// It has been said that there may be too few files.
    files_told: bool,
}

/// One app's place.
struct Child {
    entry: Arc<Entry>,
    life: Life,
    intensity: Intensity,
    /// Which of the homes is its own.
    home: usize,
    /// How many actors it has had.
    lives: u64,
}

/// Where the actor of an app is.
enum Life {
    Running(Addr<Connection>),
    /// Between a crash and the next life.
    Pausing,
    /// Not started, or crashed too often.
    Over,
}

impl Supervisor {
    /// A supervisor whose connections live on these arbiters.
    pub(super) fn new(shared: Arc<Shared>, directory: Arc<Directory>, arbiters: Vec<ArbiterHandle>) -> Self {
        Self {
            shared,
            directory,
            homes: arbiters.into_iter().map(|arbiter| (arbiter, 0)).collect(),
            children: HashMap::new(),
            looks: HashMap::new(),
            commands: HashMap::new(),
            overtaken: None,
            known_to: None,
            stopping: false,
            files_told: false,
        }
    }

    /// Starts what the store says, trying until it answers.
    fn look_at_all(&mut self, ctx: &mut Context<Self>) {
        self.overtaken = Some(HashSet::new());
        let store = Arc::clone(&self.shared.store);
        let apps = async move {
            // What changes while the rows are read is found by the next look.
            let (_, known_to) = store.changed_apps(None).await?;
            let others = store.other_nodes().await?;
            Ok::<_, StoreError>((store.apps().await?, known_to, others))
        };
        ctx.spawn(apps.into_actor(self).map(|apps, act, ctx| {
            let overtaken = act.overtaken.take().unwrap_or_default();
            match apps {
                Ok((mut apps, known_to, others)) => {
                    act.known_to = Some(known_to);
                    act.shared.other_nodes.store(others, Ordering::Relaxed);
                    apps.sort_unstable_by_key(|app| app.id);
                    for app in apps.into_iter().filter(|app| !overtaken.contains(&app.id)) {
                        act.apply(app, ctx);
                    }
                    act.see_to_files();
                }
                Err(error) => {
                    tracing::error!(%error, "the workspaces cannot be read; trying again");
                    ctx.run_later(LOOK_AGAIN, Self::look_at_all);
                }
            }
        }));
    }

    /// Acts on what has changed in the store since the last look. One that fails is made up for by the next.
    fn look_for_changes(&mut self, ctx: &mut Context<Self>) {
        let Some(known_to) = self.known_to.filter(|_| !self.stopping) else { return };
        let store = Arc::clone(&self.shared.store);
        let changes = async move {
            let others = store.other_nodes().await?;
            let (apps, known_to) = store.changed_apps(Some(known_to)).await?;
            Ok::<_, StoreError>((apps, known_to, others))
        };
        ctx.spawn(changes.into_actor(self).map(move |changes, act, ctx| match changes {
            Ok((apps, known_to, others)) => {
                act.shared.other_nodes.store(others, Ordering::Relaxed);
                act.known_to = act.known_to.max(Some(known_to));
                for app in apps {
                    act.on_change(app, ctx);
                }
            }
            Err(error) => tracing::debug!(%error, "what has changed is not known; it is looked again"),
        }));
    }

    fn on_change(&mut self, app: AppId, ctx: &mut Context<Self>) {
        if let Some(child) = self.children.get_mut(&app) {
            child.intensity.forgive();
        }
        self.look_at(app, ctx);
    }

    /// Reads an app's row and acts on it. One look at a time: of two, the older could come last and undo the younger.
    fn look_at(&mut self, app: AppId, ctx: &mut Context<Self>) {
        if let Some(overtaken) = &mut self.overtaken {
            overtaken.insert(app);
        }
        if let Some(again) = self.looks.get_mut(&app) {
            *again = true;
            return;
        }
        self.looks.insert(app, false);
        let store = Arc::clone(&self.shared.store);
        let row = async move { store.app(app).await };
        ctx.spawn(row.into_actor(self).map(move |row, act, ctx| {
            let again = act.looks.remove(&app).unwrap_or_default();
            act.directory.changes().mark(app, What::Rows);
            match row {
                _ if again => act.look_at(app, ctx),
                Ok(Some(row)) => {
                    act.apply(row, ctx);
                    act.see_to_files();
                }
                Ok(None) => act.remove(app),
                Err(error) => {
                    say!(error, act.directory.names().app(app), %error, "the app cannot be read; trying again");
                    ctx.run_later(LOOK_AGAIN, move |act, ctx| act.look_at(app, ctx));
                }
            }
        }));
    }

    /// Brings one connection to what the store says.
    fn apply(&mut self, app: App, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let id = app.id;
        self.directory.names().put(&app);
        let now = self.shared.clock.now();
        let child = self.children.entry(id).or_insert_with(|| Child {
            entry: self.directory.enter(id, now),
            life: Life::Over,
            intensity: Intensity::new(rand::random()),
            home: move_in(&mut self.homes),
            lives: 0,
        });
        let sockets = match app.desired {
            Desired::Connected => u64::from(app.links) + 1,
            Desired::Disconnected => 0,
        };
        self.directory.want(&child.entry, sockets);
        match &child.life {
            Life::Running(actor) => {
                if actor.try_send(Configure(app)).is_err() {
                    ctx.run_later(LOOK_AGAIN, move |act, ctx| act.look_at(id, ctx));
                }
            }
            // Its row is read when the pause is over.
            Life::Pausing => {}
            Life::Over => self.start(app, ctx),
        }
        self.pass_on(id);
    }

    /// Hands on what waited for the app's row. What nobody takes is dropped, which whoever waits hears.
    fn pass_on(&mut self, app: AppId) {
        let Some(commands) = self.commands.remove(&app) else { return };
        let Some(child) = self.children.get(&app) else { return };
        for steer in commands {
            match &child.life {
                Life::Running(actor) => drop(actor.try_send(steer)),
                Life::Pausing | Life::Over => {
                    drop(steer.done.send(Steered { status: child.entry.status(), youngest: None }));
                }
            }
        }
    }

    fn start(&mut self, app: App, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(&app.id) else { return };
        let Some((arbiter, _)) = self.homes.get(child.home) else { return };
        child.lives += 1;
        let tripwire = Tripwire::new(ctx.address().recipient(), app.id, child.lives);
        let parts = Parts {
            app,
            shared: Arc::clone(&self.shared),
            entry: Arc::clone(&child.entry),
            tripwire,
            duplicates: ctx.address().recipient(),
        };
        child.life = Life::Running(Connection::start_in_arbiter(arbiter, move |_| Connection::new(parts)));
    }

    fn remove(&mut self, app: AppId) {
        self.commands.remove(&app);
        if let Some(child) = self.children.remove(&app) {
            child.end(Code::OperatorDisconnect);
            if let Some((_, living)) = self.homes.get_mut(child.home) {
                *living -= 1;
            }
        }
        self.directory.leave(app);
    }

    /// Says once when the workspaces wanted need more files than this process may open.
    fn see_to_files(&mut self) {
        let complaint = OpenFiles::limit().complaint(self.directory.sockets_wanted());
        if let Some(complaint) = complaint.filter(|_| !self.files_told) {
            tracing::warn!("{complaint}");
            self.files_told = true;
        }
    }
}

/// A place in the home where the fewest live.
fn move_in(homes: &mut [(ArbiterHandle, usize)]) -> usize {
    let emptiest = homes.iter_mut().enumerate().min_by_key(|(_, (_, living))| *living);
    let Some((at, (_, living))) = emptiest else { return 0 };
    *living += 1;
    at
}

impl Child {
    /// Tells its connection that this is the end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a stop lost to a full mailbox would leave a connection nobody knows of; one a life"
    )]
    fn end(&self, code: Code) {
        if let Life::Running(actor) = &self.life {
            actor.do_send(Stop(code));
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        self.look_at_all(ctx);
        ctx.run_interval(LOOK_FOR_CHANGES, Self::look_for_changes);
    }
}

impl Handler<AppChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, AppChanged(app): AppChanged, ctx: &mut Self::Context) {
        self.on_change(app, ctx);
    }
}

impl Handler<SteerApp> for Supervisor {
    type Result = ();

    fn handle(&mut self, SteerApp { app, steer }: SteerApp, ctx: &mut Self::Context) {
        if self.stopping {
            return;
        }
        let waiting = self.commands.entry(app).or_default();
        if waiting.len() < COMMANDS {
            waiting.push(steer);
        }
        self.handle(AppChanged(app), ctx);
    }
}

impl Handler<Died> for Supervisor {
    type Result = ();

    fn handle(&mut self, Died { app, life }: Died, ctx: &mut Self::Context) {
        let Some(child) = self.children.get_mut(&app).filter(|child| child.lives == life) else { return };
        if self.stopping {
            return;
        }
        child.life = Life::Over;
        let now = self.shared.clock.now();
        let verdict = child.intensity.crashed(now);
        let next_attempt_ms = match verdict {
            Verdict::Restart(pause) => Some(now.after(pause).wall_ms),
            Verdict::GiveUp => None,
        };
        if let Some((from, to)) = child.entry.publish_crash(next_attempt_ms, now) {
            let (at_ms, code) = (now.wall_ms, Some(Code::Crashed));
            self.shared.tell_history(Transition {
                app,
                workspace: None,
                at_ms,
                from,
                to,
                code,
                generation: None,
            });
        }
        match verdict {
            Verdict::Restart(pause) => {
                say!(
                    error,
                    self.directory.names().app(app),
                    seconds = pause.as_secs(),
                    "the connection crashed; it is started again"
                );
                child.life = Life::Pausing;
                let links = child.entry.links.clone();
                links.close();
                let supervisor = ctx.address();
                // A task of its own: what an actor spawns within itself it polls all of, whenever one of it moves.
                actix_rt::spawn(async move {
                    // Late links end by themselves; the successor does not wait for them any longer.
                    drop(tokio::time::timeout(LINKS_END, links.wait()).await);
                    links.reopen();
                    tokio::time::sleep(pause).await;
                    supervisor.send(Rise { app, life }).await.unwrap_or_default();
                });
            }
            Verdict::GiveUp => {
                say!(
                    error,
                    self.directory.names().app(app),
                    "the connection crashed too often; it stays down until somebody connects it"
                );
            }
        }
    }
}

impl Handler<Duplicate> for Supervisor {
    type Result = ();

    fn handle(&mut self, Duplicate { younger: app, older }: Duplicate, _: &mut Self::Context) {
        if let Some(Child { life: Life::Running(actor), .. }) = self.children.get(&app)
            && actor.try_send(YieldTo(older)).is_err()
        {
            say!(
                warn,
                self.directory.names().app(app),
                "the app is installed twice, and its connection does not listen; it will be told again"
            );
        }
    }
}

impl Handler<Rise> for Supervisor {
    type Result = ();

    fn handle(&mut self, Rise { app, life }: Rise, ctx: &mut Self::Context) {
        if let Some(child) = self.children.get_mut(&app).filter(|child| child.lives == life) {
            child.life = Life::Over;
            self.look_at(app, ctx);
        }
    }
}

impl Handler<StopAll> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopAll, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        self.commands.clear();
        let mut ends = Vec::new();
        for (_, child) in self.children.drain() {
            child.end(Code::Shutdown);
            child.entry.links.close();
            ends.push(async move { child.entry.links.wait().await });
        }
        Box::pin(async move {
            join_all(ends).await;
        })
    }
}

#[cfg(test)]
mod tests;
