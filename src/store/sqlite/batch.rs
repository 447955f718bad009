//! Many rows in few statements, and many statements in one text. Each text is a message to SQLite's thread and back, so a group
//! is cut into pieces of a few fixed sizes, whose statements stay prepared, and what opens and ends its transaction goes along.

use std::sync::{Arc, LazyLock};

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

/// Rows in one statement, largest first. A small group must be one piece.
const SIZES: [usize; 9] = [128, 64, 32, 16, 8, 4, 3, 2, 1];

/// A text over a number of rows. sqlx gives the values to its statements in order.
pub(super) struct Batch {
    prepared: [SqlStr; SIZES.len()],
    make: Make,
}

type Make = Box<dyn Fn(usize) -> String + Send + Sync>;

/// The texts for pieces of one kind: one that leaves the transaction open, one that ends it.
pub(super) struct Piece {
    pub(super) goes_on: LazyLock<Batch>,
    pub(super) commits: LazyLock<Batch>,
}

/// The first piece of a group of events.
pub(super) static BEGIN_AND_STORE: Piece = Piece {
    goes_on: LazyLock::new(|| store_piece(BEGIN, "")),
    commits: LazyLock::new(|| store_piece(BEGIN, COMMIT)),
};

/// Any other.
pub(super) static STORE: Piece = Piece {
    goes_on: LazyLock::new(|| store_piece("", "")),
    commits: LazyLock::new(|| store_piece("", COMMIT)),
};

/// Settled to, writer.
const BEGIN: &str = "begin immediate; update writers set settled_to = max(settled_to, ?) where id = ?; ";
const COMMIT: &str = "; commit";

/// The rows of events and payloads, where rows of an earlier try may be: they are left as they are.
pub(super) static STORE_AGAIN: LazyLock<Batch> = LazyLock::new(|| {
    Batch::new(Box::new(|rows| {
        format!(
            "{EVENTS} values {} on conflict do nothing; {PAYLOADS} values {} on conflict do nothing",
            rows_of(11, rows),
            rows_of(2, rows)
        )
    }))
});

const EVENTS: &str = "insert or rollback into events \
    (seq, writer, app_id, workspace_id, kind, type, slack_id, dedupe, retry, at, bytes)";
const PAYLOADS: &str = "insert or rollback into payloads (seq, payload_sealed)";

/// Events, all of them or, where the key of one has been seen, none; their keys; their payloads, and the first one's seq. A row that
/// cannot be written is an error, and what follows an error is not run.
fn store_piece(before: &'static str, after: &'static str) -> Batch {
    Batch::new(Box::new(move |rows| {
        format!(
            "{before}{EVENTS} select * from (values {}) where not exists (select 1 from seen where key in ({})); \
             {PAYLOADS} select * from (values {}) where exists (select 1 from events where seq = ?){after}",
            rows_of(11, rows),
            vec!["?"; rows].join(","),
            rows_of(2, rows)
        )
    }))
}

impl Batch {
    fn new(make: Make) -> Self {
        Self { prepared: SIZES.map(|rows| safe(make(rows))), make }
    }

    /// The text over so many rows; always the same one for the length of a piece, so that it stays prepared.
    pub(super) fn over(&self, rows: usize) -> SqlStr {
        let at = SIZES.iter().position(|size| *size == rows);
        let prepared = at.and_then(|at| self.prepared.get(at)).cloned();
        prepared.unwrap_or_else(|| safe((self.make)(rows)))
    }
}

/// Made of our own words alone.
fn safe(text: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}

/// Cuts rows into pieces of the sizes that have a text.
pub(super) fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| (1..=rest.len()).contains(size))?;
        let (piece, behind) = rest.split_at_checked(size)?;
        rest = behind;
        Some(piece)
    })
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
            let pieces: Vec<usize> = pieces(&vec![(); len]).map(<[()]>::len).collect();
            assert_eq!(pieces.iter().sum::<usize>(), len);
            assert!(pieces.len() <= len / 64 + 5, "{len} rows in {} pieces", pieces.len());
        }
    }
}
