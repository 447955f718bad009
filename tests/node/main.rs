//! The real node against the simulated Slack: one binary, one file a theme. The suite runs on each database.

#[cfg(test)]
mod database;

#[cfg(test)]
mod sqlite;

#[cfg(test)]
mod postgres;

// What is SQLite's alone, or no database's.
#[cfg(test)]
mod commands;
#[cfg(test)]
mod files;
#[cfg(test)]
mod full;
#[cfg(test)]
mod logging;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod trace;
#[cfg(test)]
use sqlite::suite::{harness, process};

// What is Postgres' alone.
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod proxy;
