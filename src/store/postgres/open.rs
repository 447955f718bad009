//! Opening the database: what a person must put right is one clear line, and told before anything is changed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection as _, Executor as _};

use super::line::Line;
use super::{PostgresStore, address, fault, session};
use crate::config::KeySource;
use crate::store::fault::Fault;
use crate::store::key::KeyBytes;
use crate::store::key_check::KeyCheck;
use crate::store::vault::Vault;
use crate::store::{OpenOptions, Opened, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

const READERS: u32 = 3;

/// How long a read waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How long another node that changes the schema at the same time is waited for.
const MIGRATE: &str = "set lock_timeout = '60s'; set statement_timeout = 0";

impl PostgresStore {
    /// Opens the database, making its schema where there is none.
    pub(in crate::store) async fn open(options: &OpenOptions) -> Result<Opened<Self>, StoreError> {
        let (first, other) = options.key.parts();
        let other = other.map(key).transpose()?;
        let vault = Vault::new(&key(first)?, other.as_ref());
        let options = address::parse(&options.address)?;
        let database = address::shown(&options);
        let told = |fault: Fault| fault::tell(fault, &database);
        let mut db = session::writer(&options, &database).await.map_err(told)?;
        if let Some(check) = inspect(&mut db, &database).await.map_err(told)? {
            check.compare(&vault, &database)?;
        }
        migrate(&mut db, &database).await?;
        // Two nodes that start on an empty database at the same time: the first one's key is the database's.
        remember_key(&mut db, &vault).await.map_err(told)?;
        if let Some(check) = key_check(&mut db).await.map_err(told)? {
            check.compare(&vault, &database)?;
        }
        let notes = session::read_back(&mut db, &database).await.map_err(told)?;
        db.close().await.map_err(Fault::from).map_err(told)?;

        let journal = session::journal(&options, &database).await.map_err(told)?;
        let changes = session::writer(&options, &database).await.map_err(told)?;
        let readers = readers(&options);
        let (journal, changes) = (Line::new(journal), Line::new(changes));
        let (posting, owed) = (Line::empty(), Line::empty());
        let (days, station) = (Mutex::new(BTreeSet::new()), Mutex::new(None));
        let (ahead_to, last_tried) = (AtomicI64::new(0), AtomicI64::new(0));
        let store = Self {
            options,
            database,
            vault,
            journal,
            changes,
            posting,
            owed,
            readers,
            days,
            station,
            ahead_to,
            last_tried,
        };
        Ok(Opened { store, notes })
    }

    /// Are our tables there? Makes nothing.
    pub(in crate::store) async fn exists(options: &OpenOptions) -> Result<bool, StoreError> {
        key(options.key.parts().0)?;
        let options = address::parse(&options.address)?;
        let database = address::shown(&options);
        let told = |fault: Fault| fault::tell(fault, &database);
        let mut db = session::writer(&options, &database).await.map_err(told)?;
        let there = has_table(&mut db, "meta").await.map_err(told)?;
        db.close().await.map_err(Fault::from).map_err(told)?;
        Ok(there)
    }
}

fn readers(options: &PgConnectOptions) -> sqlx::PgPool {
    PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE)
        .after_connect(|db, _| Box::pin(session::for_reading(db)))
        .connect_lazy_with(options.clone())
}

/// A server is shared, so a key file beside the database has no place: the key is given.
fn key(source: &KeySource) -> Result<KeyBytes, StoreError> {
    match source {
        KeySource::Text(text) => KeyBytes::parse(text.expose_secret(), "TAUTLINE_KEY"),
        KeySource::File(file) => KeyBytes::read(file),
        KeySource::Both(..) => Err(StoreError::Setup("there can be two keys, not more".into())),
        KeySource::Beside => Err(StoreError::Setup(
            "a Postgres database needs a key that is given: set TAUTLINE_KEY or TAUTLINE_KEY_FILE, the same for every node; \
             `openssl rand -base64 32` makes a good one"
                .into(),
        )),
    }
}

/// Looks into a database without changing it: what it holds of its key, if it is ours already.
async fn inspect(db: &mut PgConnection, database: &str) -> Result<Option<KeyCheck>, Fault> {
    let setup = |text: String| Fault::from(StoreError::Setup(text));
    if !has_table(db, "_sqlx_migrations").await? {
        let strangers: i64 =
            sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'tautline'")
                .fetch_one(&mut *db)
                .await?;
        if strangers > 0 {
            return Err(setup(format!(
                "the schema 'tautline' of {database} holds another program's tables; it is left as it is, name another database"
            )));
        }
        return Ok(None);
    }
    let theirs: Option<i64> =
        sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(&mut *db).await?;
    let ours = MIGRATIONS.iter().map(|migration| migration.version).max();
    if theirs > ours {
        return Err(setup(format!(
            "{database} was written by a newer Tautline (schema {}, this one knows up to {}); it is left as it is, run the \
             newer version",
            theirs.unwrap_or_default(),
            ours.unwrap_or_default()
        )));
    }
    if has_table(db, "meta").await? { key_check(db).await } else { Ok(None) }
}

async fn has_table(db: &mut PgConnection, table: &str) -> Result<bool, Fault> {
    let there = sqlx::query_scalar("select to_regclass('tautline.' || quote_ident($1)) is not null");
    Ok(there.bind(table).fetch_one(db).await?)
}

async fn key_check(db: &mut PgConnection) -> Result<Option<KeyCheck>, Fault> {
    let row: Option<(String, Vec<u8>)> = sqlx::query_as(
        "select i.value, decode(c.value, 'hex') from meta i, meta c where i.name = 'key_id' and c.name = 'key_check'",
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(key_id, sealed)| KeyCheck { key_id, sealed }))
}

async fn remember_key(db: &mut PgConnection, vault: &Vault) -> Result<(), Fault> {
    let check = KeyCheck::of(vault)?;
    sqlx::query(
        "insert into meta (name, value) values ('key_id', $1), ('key_check', encode($2, 'hex')) on conflict do nothing",
    )
    .bind(check.key_id)
    .bind(check.sealed)
    .execute(db)
    .await?;
    Ok(())
}

/// Brings the schema up to date. Another node that does the same is waited for.
async fn migrate(db: &mut PgConnection, database: &str) -> Result<(), StoreError> {
    let refused = |error: sqlx::Error| {
        let denied = error.as_database_error().filter(|error| error.code().as_deref() == Some("42501"));
        match denied {
            Some(denied) => fault::denied(denied.message(), database),
            None => fault::tell(error.into(), database),
        }
    };
    db.execute(MIGRATE).await.map_err(refused)?;
    let there: bool = sqlx::query_scalar("select to_regnamespace('tautline') is not null")
        .fetch_one(&mut *db)
        .await
        .map_err(refused)?;
    if !there {
        db.execute("create schema if not exists tautline").await.map_err(refused)?;
    }
    match MIGRATIONS.run_direct(None, db, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(refused(error)),
        Err(error) => Err(StoreError::Setup(format!(
            "the schema 'tautline' of {database} is not what this version ships: {error}"
        ))),
    }
}
