//! Opening the database: every way it can be unusable is one clear line, and told before anything is changed.

use std::path::Path;
use std::sync::atomic::AtomicI64;

use secrecy::ExposeSecret;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::address::{beside_database, database_exists, database_path};
use super::fault::tell;
use super::lock::Lock;
use super::pragmas::{read_back, reader_options, writer_options};
use super::retention::Walks;
use super::write_side::{BUSY_TIMEOUT, WriteSide};
use super::{READ_LIMIT, SqliteStore};
use crate::clock::Clock;
use crate::config::KeySource;
use crate::store::fault::Fault;
use crate::store::key::KeyBytes;
use crate::store::key_check::KeyCheck;
use crate::store::vault::Vault;
use crate::store::{OpenOptions, Opened, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Marks a file as Tautline's: 'TAUT'. The first migration writes it.
const APPLICATION_ID: i64 = 0x5441_5554;
const READERS: u32 = 3;

impl SqliteStore {
    /// Opens the database, making it and its key file where there is none.
    pub(in crate::store) async fn open(options: OpenOptions) -> Result<Opened<Self>, StoreError> {
        let lock = Lock::take(&database_path(&options.address)?);
        Self::open_with(options, lock.map(Some)).await
    }

    /// Opens a database that is there, for who writes beside its node and a little at a time.
    pub(in crate::store) async fn open_beside(options: OpenOptions) -> Result<Opened<Self>, StoreError> {
        let path = database_path(&options.address)?;
        if !database_exists(&path)? {
            return Err(StoreError::Setup(format!("there is no database {}", path.display())));
        }
        Self::open_with(options, Ok(None)).await
    }

    async fn open_with(
        options: OpenOptions,
        lock: Result<Option<Lock>, StoreError>,
    ) -> Result<Opened<Self>, StoreError> {
        let path = database_path(&options.address)?;
        let told = |fault: Fault| tell(fault, &path);
        let exists = database_exists(&path)?;
        let lock = lock?;
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
        let write_side = WriteSide::new(writing, writer);
        let lock = std::sync::Mutex::new(lock);
        let writer = AtomicI64::new(0);
        let ahead_to = AtomicI64::new(0);
        let (walks, clock) = (Walks::default(), Clock::start());
        let store = Self { path, vault, write_side, writer, ahead_to, readers, walks, clock, lock };
        Ok(Opened { store, notes })
    }
}

/// What an existing database says of itself.
struct Found {
    key_check: Option<KeyCheck>,
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
    let (first, other) = source.parts();
    let other = other.map(|other| other_key(other, &beside)).transpose()?;
    let key = match first {
        KeySource::Text(text) => KeyBytes::parse(text.expose_secret(), "TAUTLINE_KEY")?,
        KeySource::File(file) => KeyBytes::read(file)?,
        KeySource::Both(..) => return Err(StoreError::Setup("there can be two keys, not more".into())),
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
    let vault = Vault::new(&key, other.as_ref());
    if let Some(check) = check {
        check.compare(&vault, &path.display().to_string())?;
    }
    Ok(vault)
}

/// The key that opens besides: it is never made.
fn other_key(source: &KeySource, beside: &Path) -> Result<KeyBytes, StoreError> {
    match source {
        KeySource::Text(text) => KeyBytes::parse(text.expose_secret(), "TAUTLINE_OTHER_KEY"),
        KeySource::File(file) => KeyBytes::read(file),
        KeySource::Beside => KeyBytes::read(beside),
        KeySource::Both(..) => Err(StoreError::Setup("there can be two keys, not more".into())),
    }
}

async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let Err(error) = MIGRATIONS.run_direct(None, db, false).await else { return Ok(()) };
    Err(if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        tell(error.into(), path)
    } else {
        StoreError::Setup(format!("the schema of {} is not what this version ships: {error}", path.display()))
    })
}

async fn remember_key(db: &mut SqliteConnection, vault: &Vault) -> Result<(), Fault> {
    let check = KeyCheck::of(vault)?;
    sqlx::query(
        "insert into meta (name, value) values ('key_id', $1), ('key_check', $2) on conflict do nothing",
    )
    .bind(check.key_id)
    .bind(check.sealed)
    .execute(db)
    .await?;
    Ok(())
}
