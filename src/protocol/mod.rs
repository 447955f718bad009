//! Slack's wire, as data: frames, envelopes, acks, routing keys, error classes. Nothing here does I/O and nothing here fails
//! on the unknown: what Slack adds tomorrow is carried, not refused.

pub mod ack;
pub mod api;
pub mod class;
pub mod dedupe;
pub mod disconnect;
pub mod envelope;
pub mod frame;
pub mod hello;
pub mod interaction;
pub mod lifecycle;
pub mod order;
mod peek;
pub mod routing;
mod scan;

#[cfg(test)]
mod tests;
