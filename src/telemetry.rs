//! stub
use crate::event::Kind;
use crate::status::Code;
use metrics::Counter;
use std::time::Duration;

/// x
#[derive(Clone)]
pub struct Figures {
    pub quarantined: Counter,
    pub shed: Counter,
}
impl Figures {
    /// x
    pub fn committed(&self, _n: usize, _took: Duration) {}
    /// x
    pub fn received(&self, _kind: Kind) {}
    /// x
    pub fn acknowledged(&self, _n: usize, _waited: Duration) {}
    /// x
    pub fn verdict(&self, _fresh: usize, _duplicates: usize) {}
    /// x
    pub fn opened(&self, _failure: Option<Code>) {}
    /// x
    pub fn handler(&self, _name: &str) -> HandlerFigures {
        HandlerFigures
    }
}
/// x
#[derive(Clone)]
pub struct HandlerFigures;
impl HandlerFigures {
    /// x
    pub fn handled(&self, _outcome: &'static str, _took: Duration) {}
}

/// x
pub struct Metrics;
impl Metrics {
    /// x
    pub fn figures(&self) -> Figures { Figures { quarantined: Counter::noop(), shed: Counter::noop() } }
    /// x
    pub fn render(&self, _states: &[crate::status::State]) -> String { String::new() }
}
impl Figures {
    /// x
    pub fn unheard() -> Self { Self { quarantined: Counter::noop(), shed: Counter::noop() } }
}
