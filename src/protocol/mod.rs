//! Slack's wire, as data: frames, envelopes, acks, routing keys, error classes. Nothing here does I/O and nothing here fails on the unknown.

pub mod class;
pub mod disconnect;
