//! SQLite's errors, in the store's words.

use std::path::Path;

use sqlx::error::DatabaseError;

use crate::store::StoreError;
use crate::store::fault::Fault;

/// In the store's words: what happened to which file, and what to do. SQLite's messages name columns, never values.
pub(super) fn tell(fault: Fault, path: &Path) -> StoreError {
    match fault {
        Fault::Told(error) => error,
        Fault::Sql(error) => tell_sql(&error, path),
    }
}

/// Does another program hold the write lock?
pub(super) fn is_busy(fault: &Fault) -> bool {
    match fault {
        Fault::Sql(sqlx::Error::Database(error)) => matches!(primary_code(error.as_ref()), Some(5 | 6)),
        Fault::Sql(_) | Fault::Told(_) => false,
    }
}

/// The codes are those of <https://www.sqlite.org/rescode.html>.
fn tell_sql(error: &sqlx::Error, path: &Path) -> StoreError {
    let file = path.display();
    let unavailable = StoreError::Unavailable;
    let sqlx::Error::Database(database) = error else {
        return unavailable(if matches!(error, sqlx::Error::PoolTimedOut) {
            format!("every reader of {file} is busy; try again")
        } else if matches!(error, sqlx::Error::PoolClosed) {
            format!("{file} is closed: the node is stopping")
        } else {
            format!("{file}: {error}")
        });
    };
    let message = database.message();
    match primary_code(database.as_ref()) {
        Some(18..=20) => StoreError::Data(message.into()),
        Some(5 | 6) => unavailable(format!(
            "another program holds the write lock of {file}; end it (a backup, a database shell), it is tried again"
        )),
        Some(8) => unavailable(format!(
            "{file} is read-only; give the node write permission to it and its directory"
        )),
        Some(9) => unavailable(format!("a read of {file} took too long and was cut; ask for less")),
        Some(10) => unavailable(format!("reading or writing {file} failed ({message}); look at the disk")),
        Some(11 | 26) => unavailable(format!(
            "{file} is damaged ({message}); stop the node, keep a copy and restore a backup"
        )),
        Some(13) => {
            unavailable(format!("there is no room left for {file}; free some, the node goes on by itself"))
        }
        Some(14) => {
            unavailable(format!("{file} cannot be opened ({message}); is it there, are files left to open?"))
        }
        Some(_) | None => unavailable(format!("{file}: {message}")),
    }
}

fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    Some(error.code()?.parse::<i32>().ok()? & 0xff)
}
