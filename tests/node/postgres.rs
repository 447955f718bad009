//! The suite on Postgres.

use crate::database::postgres::{Connection, Database};

#[path = "suite.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on another database")]
pub(crate) mod suite;
