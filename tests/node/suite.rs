//! The tests that run on each database: what stands above this says on which.

use super::{Connection, Database};

pub(crate) mod harness;
pub(crate) mod process;

mod admin;
mod cli;
mod contract;
mod crash;
mod delivery;
mod faults;
mod onboarding;
mod overview;
mod refresh;
mod steering;
