//! How SQLite is set up, and what it made of that.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::write_side::BUSY_TIMEOUT;
use crate::store::StoreError;
use crate::store::fault::Fault;

/// The page size of a new database: some five events a page. What is written costs by the page more than by the byte.
const PAGE_SIZE: u32 = 8192;
/// Pages in the write-ahead log before they are moved into the database: 16 MiB.
const CHECKPOINT_PAGES: u32 = 2048;
/// What the write-ahead log is cut to after it has grown.
const WAL_LIMIT_BYTES: u32 = 64 << 20;
/// The writer's page cache, in KiB.
const WRITER_CACHE_KIB: i32 = 4 << 10;

/// The connection that writes.
pub(super) fn writer_options(path: &Path, max_pages: Option<u32>) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(PAGE_SIZE)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", WAL_LIMIT_BYTES.to_string())
        .pragma("cache_size", (-WRITER_CACHE_KIB).to_string())
        // Only macOS knows the difference: there a plain fsync leaves the data in the drive's cache.
        .pragma("fullfsync", "on")
        .pragma("checkpoint_fullfsync", "on")
        .disable_statement_logging();
    match max_pages {
        Some(pages) => options.pragma("max_page_count", pages.to_string()),
        None => options,
    }
}

/// A connection that reads.
pub(super) fn reader_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        // Rows wait in this buffer while one is being read; a row can be a payload of megabytes.
        .row_buffer_size(4)
        .pragma("query_only", "on")
        .disable_statement_logging()
}

/// What SQLite made of the settings: it takes a wrong or impossible one without a word. What an ack relies on is an error,
/// the rest a note.
pub(super) async fn read_back(db: &mut SqliteConnection, path: &Path) -> Result<Vec<String>, Fault> {
    let journal_mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *db).await?;
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *db).await?;
    let page_size: i64 = sqlx::query_scalar("pragma page_size").fetch_one(&mut *db).await?;
    let busy_ms: i64 = sqlx::query_scalar("pragma busy_timeout").fetch_one(&mut *db).await?;
    Ok(judge(&journal_mode, synchronous, page_size, busy_ms, path)?)
}

fn judge(
    journal_mode: &str,
    synchronous: i64,
    page_size: i64,
    busy_ms: i64,
    path: &Path,
) -> Result<Vec<String>, StoreError> {
    let shown = path.display();
    // 2 is FULL, 3 EXTRA; <https://www.sqlite.org/pragma.html#pragma_synchronous>.
    if synchronous < 2 {
        return Err(StoreError::Setup(format!(
            "{shown} does not sync what is committed (synchronous = {synchronous}, wanted 2): an ack would promise too much"
        )));
    }
    let mut notes = Vec::new();
    if journal_mode != "wal" {
        notes.push(format!(
            "{shown} has no write-ahead log (journal_mode = {journal_mode}): reads and writes wait for each other; \
             is it on a network file system? Move it to a local disk"
        ));
    }
    if page_size != i64::from(PAGE_SIZE) {
        notes.push(format!(
            "{shown} has pages of {page_size} bytes, not {PAGE_SIZE}: writing costs more than it need"
        ));
    }
    if u128::try_from(busy_ms) != Ok(BUSY_TIMEOUT.as_millis()) {
        notes.push(format!(
            "{shown} waits {busy_ms} ms for its write lock, not {} ms",
            BUSY_TIMEOUT.as_millis()
        ));
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_database_that_does_not_sync_is_refused_and_one_without_a_log_is_told() {
        let path = PathBuf::from("t.db");
        assert_eq!(judge("wal", 2, 8192, 250, &path), Ok(vec![]));
        assert!(matches!(judge("wal", 1, 8192, 250, &path), Err(StoreError::Setup(_))));
        let notes = judge("delete", 2, 512, 0, &path).unwrap();
        assert_eq!(notes.len(), 3);
        assert!(notes[0].contains("journal_mode = delete"), "{notes:?}");
    }
}
