//! The lock file: one node a database. The lock is the kernel's, so it goes with the process, however that ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::address::beside_database;
use crate::store::StoreError;

/// Holds `<database>.lock` until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or tells who has it. The file stays when the lock goes: removing it would race with the next taker.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = beside_database(database, ".lock");
        let cannot = |error: std::io::Error| {
            StoreError::Setup(format!("cannot write the lock file {}: {error}", path.display()))
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Its number is a courtesy: the lock alone counts.
                let told = file.take(32).read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder =
                    if told { format!("process {}", holder.trim()) } else { "another process".into() };
                return Err(StoreError::Setup(format!(
                    "the database {} is in use by another node ({holder}); stop it first, or name another database",
                    database.display()
                )));
            }
        }
        file.set_len(0).map_err(cannot)?;
        file.rewind().map_err(cannot)?;
        writeln!(file, "{}", std::process::id()).map_err(cannot)?;
        Ok(Self { _file: file })
    }
}
