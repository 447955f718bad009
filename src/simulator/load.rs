//! Streams of events: so many a second, or so many in flight on each socket.

use std::{sync::Arc, time::Duration};

use super::{
    apps::State,
    control::Load,
    delivery::Submission,
    faults::Shape,
    payloads::{Body, pad},
};

/// A stream by rate.
pub(super) struct Running {
    app: usize,
    /// The time from one event to the next.
    pace: Duration,
    next: Duration,
    sent: u64,
    limit: Limit,
    made: Made,
}

/// A stream by window; each socket's task keeps its own window full.
pub(super) struct Window {
    size: u32,
    sent: u64,
    limit: Limit,
    made: Made,
}

/// When a stream ends.
struct Limit {
    count: Option<u64>,
    until: Option<Duration>,
}

impl Limit {
    fn is_reached(&self, sent: u64, now: Duration) -> bool {
        self.count.is_some_and(|count| sent >= count) || self.until.is_some_and(|until| now >= until)
    }
}

/// What a stream's events are made after.
#[derive(Clone)]
struct Made {
    kind: Arc<str>,
    body: Body,
    accepts: bool,
}

impl Made {
    fn submission(&self, id: String) -> Submission {
        Submission {
            kind: Arc::clone(&self.kind),
            body: self.body.of(&id),
            accepts: self.accepts,
            shape: Shape::default(),
            envelope_id: None,
            id,
        }
    }
}

/// A socket's window is filled up to so many bytes at a time; the rest follows when they are written.
const WINDOW_BYTES: usize = 256 * 1024;

impl State {
    /// Starts a stream.
    pub(super) fn start_load(&mut self, now: Duration, app: usize, load: &Load) -> Result<(), String> {
        let id = self.delivery.event_id();
        let mut payload = self.fill(app, load.template, &id, None, None, now);
        pad(&mut payload, load.bytes);
        let made = Made {
            kind: load.template.kind().into(),
            body: Body::new(&payload.to_string(), &id),
            accepts: load.template.accepts_response_payload(),
        };
        let until = load.seconds.map(|seconds| now + Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        let limit = Limit { count: load.count, until };
        match (load.rate, load.window) {
            (Some(rate), None) if rate > 0.0 => {
                let pace = Duration::from_secs_f64((1.0 / rate).clamp(1e-9, 1e9));
                self.loads.push(Running { app, pace, next: now, sent: 0, limit, made });
                self.delivery.wake_before(now);
            }
            (None, Some(size)) if size > 0 => {
                let Some(owner) = self.apps.get_mut(app) else { return Ok(()) };
                owner.window = Some(Window { size, sent: 0, limit, made });
                for number in &owner.registered {
                    if let Some(socket) = self.sockets.get(number) {
                        socket.wake.notify_one();
                    }
                }
            }
            (_, _) => return Err("give either \"rate\" or \"window\", above zero".into()),
        }
        Ok(())
    }

    /// Ends the app's streams.
    pub(super) fn stop_load(&mut self, app: usize) {
        self.loads.retain(|load| load.app != app);
        if let Some(app) = self.apps.get_mut(app) {
            app.window = None;
        }
    }

    /// Sends what the streams by rate owe, and tells when they owe more.
    pub(super) fn load_due(&mut self, now: Duration) -> Option<Duration> {
        let mut loads = std::mem::take(&mut self.loads);
        for load in &mut loads {
            while load.next <= now && !load.limit.is_reached(load.sent, now) {
                load.sent += 1;
                load.next += load.pace;
                let id = self.delivery.event_id();
                let what = load.made.submission(id);
                self.submit(now, load.app, what, None);
            }
        }
        loads.retain(|load| !load.limit.is_reached(load.sent, now));
        let due = loads.iter().map(|load| load.next).min();
        self.loads = loads;
        due
    }

    /// Fills a socket's window.
    pub(super) fn top_up(&mut self, now: Duration, number: u64) {
        loop {
            let Some(socket) = self.sockets.get(&number) else { return };
            let app = socket.app;
            let Some(window) = self.apps.get_mut(app).and_then(|app| app.window.as_mut()) else { return };
            if !socket.hello
                || socket.announced
                || socket.in_flight >= window.size
                || socket.out_bytes >= WINDOW_BYTES
                || window.limit.is_reached(window.sent, now)
            {
                return;
            }
            window.sent += 1;
            let id = self.delivery.event_id();
            let what = window.made.submission(id);
            self.submit(now, app, what, Some(number));
        }
    }
}
