//! The suite on SQLite.

use crate::database::sqlite::{Connection, Database};

#[path = "suite.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on another database")]
pub(crate) mod suite;
