//! A Slack to develop and test against: Web API methods, sockets, retries, faults, and the record tests judge by.
//!
//! One listener serves the Web API (`/api/{method}`), the sockets (`/link/`), `response_url`s (`/response/{id}`) and
//! the control API (`/control/…`, see `docs/simulator.md`). It speaks TCP itself, since a fault is often below HTTP.

use std::{
    io,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

mod apps;
mod control;
mod control_api;
mod delivery;
mod faults;
mod frame;
mod http;
mod load;
mod options;
mod payloads;
mod record;
mod socket;
#[cfg(test)]
mod tests;
mod webapi;
mod wire;

use self::{apps::State, record::push_bounded, wire::Wire};
use crate::clock::Clock;

pub use control::{Control, ControlError, Load, NewApp, Outgoing, Team, Timeout};
pub use faults::{Act, Arm, Ending, Fault, Shape, Which};
pub use options::{Options, Recording, Rules, Spread};
pub use payloads::Template;
pub use record::{
    Announced, Anomaly, AppRecord, At, Attempt, Call, Counts, EventRecord, Gap, How, Open, Outcome, Record,
    ResponsePost, Side, SocketEnd, SocketRecord,
};

/// What the tasks and the handle share.
struct Shared {
    state: Mutex<State>,
    clock: Clock,
    address: SocketAddr,
    /// Counts up whenever something has happened.
    changes: watch::Sender<u64>,
    /// Wakes the task that keeps deadlines.
    alarm: Arc<Notify>,
    outages: mpsc::Sender<Outage>,
    stop: CancellationToken,
}

/// A time in which nothing listens.
struct Outage {
    length: Duration,
    /// Are open connections closed as well?
    cut: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.clock.now().mono
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// The simulator.
pub struct Simulator;

impl Simulator {
    /// Starts one on a thread of its own, usable from any runtime and from none.
    pub fn start(options: Options) -> io::Result<Handle> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let clock = Clock::start();
        let alarm = Arc::new(Notify::new());
        let (outages, asked) = mpsc::channel(8);
        let address = listener.local_addr()?;
        let state = State::new(options, Arc::clone(&alarm), address, clock.now().wall_ms);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            clock,
            address,
            changes: watch::Sender::new(0),
            alarm,
            outages,
            stop: CancellationToken::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ours = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("simulator".into())
            .spawn(move || runtime.block_on(serve(ours, listener, asked)))?;
        Ok(Handle { control: Control { shared }, thread: Some(thread) })
    }
}

/// A running simulator; it stops when this is dropped. Everything that can be asked of it is on [`Control`].
pub struct Handle {
    control: Control,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Stops it: the listener and every connection are closed when this returns.
    pub fn stop(self) {}

    /// What commands it, to be given away.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

impl Deref for Handle {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.control.shared.stop.cancel();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the simulator's thread has panicked");
        }
    }
}

/// Accepts connections until the end.
async fn serve(shared: Arc<Shared>, listener: std::net::TcpListener, mut outages: mpsc::Receiver<Outage>) {
    let mut listener = TcpListener::from_std(listener).ok();
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_time(Arc::clone(&shared)));
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            tcp = accept(listener.as_ref()) => {
                tasks.spawn(http::serve(Arc::clone(&shared), Wire::new(tcp)));
            }
            Some(ended) = tasks.join_next() => if ended.is_err_and(|error| error.is_panic()) {
                let at = At(shared.now());
                let detail = "a task of the simulator has panicked".into();
                let anomaly = Anomaly { at, what: "simulator_panic", socket: None, detail };
                push_bounded(&mut shared.state().record.anomalies, anomaly);
                shared.changed();
            },
            Some(outage) = outages.recv() => {
                drop(listener.take());
                // The answer to who asked goes out first.
                tokio::time::sleep(Duration::from_millis(20)).await;
                if outage.cut {
                    tasks.shutdown().await;
                    tasks.spawn(keep_time(Arc::clone(&shared)));
                }
                tokio::select! {
                    () = shared.stop.cancelled() => return,
                    () = tokio::time::sleep(outage.length) => {}
                }
                listener = Some(listen_again(shared.address).await);
            }
        }
    }
}

async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                tracing::warn!(%error, "the simulator can't listen on its port yet");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => return tcp,
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                // Out of file descriptors, most likely: some are given back soon.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Does what is due: deadlines, retries, streams.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let due = {
            let mut state = shared.state();
            let now = shared.now();
            state.deliver_due(now);
            let load = state.load_due(now);
            let due = state.delivery.due().into_iter().chain(load).min();
            state.delivery.plan(due);
            due
        };
        shared.changed();
        match due {
            Some(due) => tokio::select! {
                () = tokio::time::sleep_until(shared.clock.instant(due)) => {}
                () = shared.alarm.notified() => {}
            },
            None => shared.alarm.notified().await,
        }
    }
}
