//! What every database takes word for word: the statements, the rules around them and the rows they give. Compiled once for each
//! database, as a part of its module, which says what it is here: [`Backend`] (the store, with `vault`, `reader`, `begin`, `told`
//! and the journal's statements), [`Connection`], and [`json_rows`], [`json_elements`], [`json_numbers`], [`one_of`], [`keyed_by`], [`ours`], [`first_of_ours`] and
//! [`next_line`], which each spells in its own way.

mod accounts;
mod answers;
mod apps;
mod archive;
mod archives;
mod audit;
mod behalf;
mod contents;
pub(super) mod deliveries;
pub(super) mod handlers;
mod history;
mod incidents;
mod notices;
pub(super) mod owed;
mod reading;
mod remedies;
mod removals;
mod replays;
mod reseal;
mod routes;
mod rows;
mod seating;
mod tokens;
mod trouble;
mod webhooks;
mod workspaces;

use super::{
    Backend, Connection, first_of_ours, json_elements, json_numbers, json_rows, keyed_by, next_line, one_of,
    ours,
};
pub(super) use reading::EventRow;
pub(super) use removals::note_late;
