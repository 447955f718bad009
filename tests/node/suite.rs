//! The tests that run on each database: what stands above this says on which.

use super::{Connection, Database};

pub(crate) mod harness;
pub(crate) mod process;

mod access;
mod admin;
mod answers;
mod archive;
mod cli;
mod client;
mod clocks;
mod contract;
mod crash;
mod delivery;
mod down;
mod faults;
mod flood;
mod killed;
mod metrics;
mod onboarding;
mod overview;
mod owed;
mod refresh;
mod routes;
mod shared;
mod steering;
mod truth;
mod uninstall;
pub(crate) mod webhooks;
