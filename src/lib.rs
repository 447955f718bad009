//! Tautline keeps a company's Slack lines taut: every customer's Socket Mode connection in one process, every event on
//! disk before Slack is told "got it", every event handed to a handler.
//!
//! The floors of this crate, from the ground up; arrows of `use` only point down (`tests/layers.rs` fails otherwise):
//! ids, secrets, clocks and words; [`protocol`], Slack's wire; [`machine`], the rules without I/O.

pub mod actors;
pub mod admin;
pub mod app;
pub mod clock;
pub mod commands;
pub mod config;
pub mod event;
pub mod files;
pub mod handlers;
pub mod ids;
pub mod machine;
pub mod moment;
pub mod protocol;
pub mod secret;
pub mod simulator;
pub mod slack;
pub mod status;
pub mod store;
pub mod telemetry;

/// The README's examples are compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
