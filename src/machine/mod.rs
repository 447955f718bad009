//! The rules of a connection's life as pure machines: no I/O, no clock, no randomness but a seeded one. Inputs go in with
//! the time they came at; actions come out.
//!
//! A shell drives a machine so: `handle(now, input)`, then `poll_action()` until it is `None`, then one timer re-armed
//! from `poll_timeout()` whose firing is the input `Timeout`. A timer that fires early or twice does no harm.

pub mod aloud;
pub mod answer;
pub mod backoff;
pub mod connection;
pub mod dice;
pub mod holds;
pub mod inquiries;
pub mod intensity;
pub mod lanes;
pub mod link;
pub mod memory;
pub mod notice;
pub mod pace;
pub mod quiet;
pub mod retry;
pub mod routes;

#[cfg(test)]
mod fleet;
pub mod seq;
#[cfg(test)]
mod together;
pub mod turns;
pub mod wall;
pub mod window;
