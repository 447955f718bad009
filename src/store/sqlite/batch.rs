//! Many rows in few statements, and many statements in one text. Each text is a message to SQLite's thread and back, so a group
//! is cut into pieces of a few fixed sizes, whose statements stay prepared, and what opens and ends its transaction goes along.

use std::sync::{Arc, LazyLock};

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteArguments;

/// Rows in one statement, largest first. Above 64 nothing more is won; a small group must be one piece.
const SIZES: [usize; 8] = [64, 32, 16, 8, 4, 3, 2, 1];

/// A text over a number of rows, in every size. sqlx gives the values to its statements in order.
pub(super) struct Batch([(usize, AssertSqlSafe<Arc<str>>); SIZES.len()]);

/// Begins a group's transaction: settled to, writer; then as [`SEE`].
pub(super) static BEGIN_AND_SEE: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(|rows| {
        format!(
            "begin immediate; update writers set settled_to = max(settled_to, ?) where id = ?; {}",
            see(rows)
        )
    })
});

/// What each event of a group leaves in `seen`: key, seq.
pub(super) static SEE: LazyLock<Batch> = LazyLock::new(|| Batch::new(see));

/// What each fresh event leaves in the journal: first all rows of `events`, then all of `payloads`.
pub(super) static STORE: LazyLock<Batch> = LazyLock::new(|| Batch::new(|rows| store(rows, "")));

/// As [`STORE`], and ends the transaction: a row that cannot be written is an error, and what follows an error is not run.
pub(super) static STORE_AND_COMMIT: LazyLock<Batch> =
    LazyLock::new(|| Batch::new(|rows| format!("{}; commit", store(rows, ""))));

/// As [`STORE`], where rows of an earlier try may be: they are left as they are.
pub(super) static STORE_AGAIN: LazyLock<Batch> =
    LazyLock::new(|| Batch::new(|rows| store(rows, "on conflict do nothing")));

fn see(rows: usize) -> String {
    format!("insert or rollback into seen (key, seq) values {} on conflict do nothing", rows_of(2, rows))
}

fn store(rows: usize, on_conflict: &str) -> String {
    format!(
        "insert or rollback into events (seq, writer, app_id, workspace_id, kind, type, slack_id, dedupe, retry, at, bytes) \
         values {} {on_conflict}; \
         insert or rollback into payloads (seq, payload_sealed) values {} {on_conflict}",
        rows_of(11, rows),
        rows_of(2, rows)
    )
}

impl Batch {
    fn new(sql: impl Fn(usize) -> String) -> Self {
        Self(SIZES.map(|rows| (rows, AssertSqlSafe(sql(rows).into()))))
    }

    /// Cuts `len` rows into pieces: how many rows, and the statement for as many.
    pub(super) fn pieces(&self, len: usize) -> impl Iterator<Item = (usize, AssertSqlSafe<Arc<str>>)> {
        let mut rest = len;
        std::iter::from_fn(move || {
            let (rows, sql) = self.0.iter().find(|(rows, _)| (1..=rest).contains(rows))?;
            rest -= rows;
            Some((*rows, AssertSqlSafe(Arc::clone(&sql.0))))
        })
    }
}

/// Binds one value; only a broken encoder of sqlx could fail.
pub(super) fn bind<'q, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), sqlx::Error>
where
    T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    sqlx::Arguments::add(arguments, value).map_err(sqlx::Error::Encode)
}

/// `(?,?),(?,?)`: plain marks, because SQLite and sqlx look up numbered ones by their text.
fn rows_of(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row; rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_add_up_and_are_few() {
        for len in [0, 1, 3, 64, 85, 300] {
            let pieces: Vec<usize> = SEE.pieces(len).map(|(rows, _)| rows).collect();
            assert_eq!(pieces.iter().sum::<usize>(), len);
            assert!(pieces.len() <= len / 64 + 5, "{len} rows in {} pieces", pieces.len());
        }
    }
}
