//! Opening a store: the scheme of its address says which database it is.

use std::fmt;
use std::sync::Arc;

use crate::config::KeySource;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// What a store is opened with.
#[derive(Clone)]
pub struct OpenOptions {
    /// `sqlite://file.db`, `sqlite:///dir/file.db` or a path; `postgres://user:password@host/database`.
    pub address: String,
    /// Where the key comes from.
    pub key: KeySource,
    /// SQLite: the most pages (of 8 KiB) the database may have; none for no bound but the disk.
    pub max_pages: Option<u32>,
}

/// An open store, and what the operator should know of it.
#[derive(Debug)]
pub struct Opened<S = Arc<dyn Store>> {
    /// The store.
    pub store: S,
    /// One line each, to be logged: a key file that was made, a setting that did not take.
    pub notes: Vec<String>,
}

/// Opens the store, making what is not there yet. [`StoreError::Unavailable`]: a server does not answer now, and may later;
/// every other error stays until somebody does something about it.
pub async fn open(options: OpenOptions) -> Result<Opened, StoreError> {
    if is_postgres(&options.address) {
        let Opened { store, notes } = PostgresStore::open(&options).await?;
        return Ok(Opened { store: Arc::new(store), notes });
    }
    let Opened { store, notes } = SqliteStore::open(options).await.map_err(for_good)?;
    Ok(Opened { store: Arc::new(store), notes })
}

/// Opens a store that is there for who changes a little in it while a node runs on it: no lock keeps either out.
pub async fn open_beside(options: OpenOptions) -> Result<Opened, StoreError> {
    if is_postgres(&options.address) {
        return open(options).await;
    }
    let Opened { store, notes } = SqliteStore::open_beside(options).await.map_err(for_good)?;
    Ok(Opened { store: Arc::new(store), notes })
}

/// Is there a database of ours at this address? An error where none could be. Makes nothing.
pub async fn exists(options: &OpenOptions) -> Result<bool, StoreError> {
    if is_postgres(&options.address) {
        return PostgresStore::exists(options).await;
    }
    SqliteStore::exists(&options.address)
}

/// Which database an address means: `sqlite` or `postgres`.
pub fn kind(address: &str) -> &'static str {
    if is_postgres(address) { "postgres" } else { "sqlite" }
}

/// An address as it may be shown: without its password.
pub fn shown(address: &str) -> String {
    if is_postgres(address) { postgres::shown(address) } else { address.to_owned() }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("address", &shown(&self.address))
            .field("key", &self.key)
            .field("max_pages", &self.max_pages)
            .finish()
    }
}

fn is_postgres(address: &str) -> bool {
    matches!(address.split_once("://"), Some(("postgres" | "postgresql", _)))
}

/// A file that cannot be opened waits for a person, not for a while.
fn for_good(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(problem) => StoreError::Setup(problem),
        StoreError::Data(_)
        | StoreError::Conflict(_)
        | StoreError::Absent(_)
        | StoreError::Forbidden(_)
        | StoreError::Stale(_)
        | StoreError::Sealed { .. }
        | StoreError::Setup(_) => error,
    }
}
