//! The real node against the simulated Slack: one binary, one file a theme.

mod harness;

mod admin;
mod cli;
mod crash;
mod delivery;
mod faults;
mod full;
mod peers;
mod process;
mod refresh;
mod trace;
