//! Opening the database: every way it can be unusable is one clear line, and told before anything is changed.

use std::path::Path;

use secrecy::ExposeSecret;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::address::{beside_database, database_exists, database_path};
use super::fault::Fault;
use super::lock::Lock;
use super::writer::{BUSY_TIMEOUT, Writer};
use super::{READ_LIMIT, SqliteStore};
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::key::{KeyBytes, KeySource};
use crate::store::vault::{Place, Vault};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Marks a file as Tautline's: 'TAUT'. The first migration writes it.
const APPLICATION_ID: i64 = 0x5441_5554;
/// The page size of a new database: two to three events a page, and little written for each row of `seen`.
const PAGE_SIZE: u32 = 4096;
/// Pages in the write-ahead log before they are moved into the database: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4096;
/// What the write-ahead log is cut to after it has grown.
const WAL_LIMIT_BYTES: u32 = 64 << 20;
/// The writer's page cache, in KiB.
const WRITER_CACHE_KIB: i32 = 16 << 10;
const READERS: u32 = 3;

/// The known text that is sealed into the database, to know its key by.
const KEY_CHECK: &str = "tautline";
const KEY_CHECK_PLACE: Place = Place::new("meta", "key_check", 0);

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// `sqlite://file.db`, `sqlite:///dir/file.db` or a path.
    pub address: String,
    /// Where the key comes from.
    pub key: KeySource,
    /// The most pages (of 4 KiB) the database may have; none for no bound but the disk.
    pub max_pages: Option<u32>,
}

/// An open store, and what the operator should know of it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: SqliteStore,
    /// One line each, to be logged: a key file that was made, a setting that did not take.
    pub notes: Vec<String>,
}

impl SqliteStore {
    /// Opens the database, making it and its key file where there is none.
    pub async fn open(options: OpenOptions) -> Result<Opened, StoreError> {
        let path = database_path(&options.address)?;
        let told = |fault: Fault| fault.tell(&path);
        let exists = database_exists(&path)?;
        let lock = Lock::take(&path)?;
        let found = if exists { Some(inspect(&path).await.map_err(told)?) } else { None };
        let mut notes = Vec::new();
        let vault = unlock(&options.key, &path, found.and_then(|found| found.key_check), &mut notes)?;

        let writing = writer_options(&path, options.max_pages);
        let mut writer = writing.connect().await.map_err(Fault::from).map_err(told)?;
        migrate(&mut writer, &path).await?;
        remember_key(&mut writer, &vault).await.map_err(told)?;
        notes.extend(read_back(&mut writer, &path).await.map_err(told)?);

        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READ_LIMIT)
            .test_before_acquire(false)
            .connect_with(reader_options(&path))
            .await
            .map_err(Fault::from)
            .map_err(told)?;
        let writer = Writer::new(writing, writer);
        let lock = std::sync::Mutex::new(Some(lock));
        Ok(Opened { store: Self { path, vault, writer, readers, clock: Clock::start(), lock }, notes })
    }
}

/// What an existing database says of itself.
struct Found {
    key_check: Option<KeyCheck>,
}

struct KeyCheck {
    key_id: String,
    sealed: Vec<u8>,
}

/// Looks into an existing database without changing it.
async fn inspect(path: &Path) -> Result<Found, Fault> {
    let setup = |text: String| Fault::from(StoreError::Setup(text));
    let shown = path.display();
    let mut db = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .connect()
        .await?;
    let application_id: i64 = sqlx::query_scalar("pragma application_id").fetch_one(&mut db).await?;
    let tables: Vec<String> =
        sqlx::query_scalar("select name from sqlite_schema where type = 'table'").fetch_all(&mut db).await?;
    let has = |table: &str| tables.iter().any(|name| name == table);
    if application_id != APPLICATION_ID && tables.iter().any(|name| name != "_sqlx_migrations") {
        return Err(setup(format!(
            "{shown} is another program's database; it is left as it is, name another file"
        )));
    }
    if has("_sqlx_migrations") {
        let theirs: Option<i64> =
            sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(&mut db).await?;
        let ours = MIGRATIONS.iter().map(|migration| migration.version).max();
        if theirs > ours {
            return Err(setup(format!(
                "{shown} was written by a newer Tautline (schema {}, this one knows up to {}); it is left as it is, \
                 run the newer version",
                theirs.unwrap_or_default(),
                ours.unwrap_or_default()
            )));
        }
    }
    let key_check = if has("meta") {
        sqlx::query_as::<_, (String, Vec<u8>)>(
            "select i.value, c.value from meta i join meta c where i.name = 'key_id' and c.name = 'key_check'",
        )
        .fetch_optional(&mut db)
        .await?
        .map(|(key_id, sealed)| KeyCheck { key_id, sealed })
    } else {
        None
    };
    db.close().await?;
    Ok(Found { key_check })
}

/// The vault, if its key is the one the database was sealed with. A key file is made only for a database that has no key yet.
fn unlock(
    source: &KeySource,
    path: &Path,
    check: Option<KeyCheck>,
    notes: &mut Vec<String>,
) -> Result<Vault, StoreError> {
    let beside = beside_database(path, ".key");
    let key = match source {
        KeySource::Text(text) => KeyBytes::parse(text.expose_secret(), "TAUTLINE_KEY")?,
        KeySource::File(file) => KeyBytes::read(file)?,
        KeySource::Beside if beside.exists() => KeyBytes::read(&beside)?,
        KeySource::Beside => {
            if let Some(check) = &check {
                return Err(StoreError::Setup(format!(
                    "the key file {} is gone, and the database was sealed with its key ({}); put it back, or give the \
                     key by TAUTLINE_KEY or TAUTLINE_KEY_FILE",
                    beside.display(),
                    check.key_id
                )));
            }
            let key = KeyBytes::create(&beside)?;
            notes.push(format!(
                "made the key file {} (mode 0600): keep a copy apart from the database, without it tokens and payloads \
                 cannot be read",
                beside.display()
            ));
            key
        }
    };
    let vault = Vault::new(&key);
    let Some(check) = check else { return Ok(vault) };
    if vault.open(KEY_CHECK_PLACE, check.sealed).is_ok() {
        return Ok(vault);
    }
    Err(StoreError::Setup(format!(
        "the database {} was sealed with the key {}, this node was given the key {}; give it the right one by \
         TAUTLINE_KEY or TAUTLINE_KEY_FILE; nothing was changed",
        path.display(),
        check.key_id,
        vault.key_id()
    )))
}

async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    MIGRATIONS.run_direct(None, db, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Fault::from(error).tell(path)
        }
        other => StoreError::Setup(format!(
            "the schema of {} is not what this version ships: {other}",
            path.display()
        )),
    })
}

async fn remember_key(db: &mut SqliteConnection, vault: &Vault) -> Result<(), Fault> {
    let check = vault.seal(KEY_CHECK_PLACE, KEY_CHECK.as_bytes())?;
    sqlx::query(
        "insert into meta (name, value) values ('key_id', $1), ('key_check', $2) on conflict do nothing",
    )
    .bind(vault.key_id())
    .bind(check)
    .execute(db)
    .await?;
    Ok(())
}

fn writer_options(path: &Path, max_pages: Option<u32>) -> SqliteConnectOptions {
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

fn reader_options(path: &Path) -> SqliteConnectOptions {
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
async fn read_back(db: &mut SqliteConnection, path: &Path) -> Result<Vec<String>, Fault> {
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
        assert_eq!(judge("wal", 2, 4096, 250, &path), Ok(vec![]));
        assert!(matches!(judge("wal", 1, 4096, 250, &path), Err(StoreError::Setup(_))));
        let notes = judge("delete", 2, 512, 0, &path).unwrap();
        assert_eq!(notes.len(), 3);
        assert!(notes[0].contains("journal_mode = delete"), "{notes:?}");
    }
}
