//! By what a database knows its key: a known text, sealed with it and kept in `meta` beside the key's id.

use crate::store::StoreError;
use crate::store::vault::{Place, Vault};

const TEXT: &str = "tautline";
const PLACE: Place = Place::new("meta", "key_check", 0);

/// What a database holds of its key.
pub(super) struct KeyCheck {
    pub(super) key_id: String,
    pub(super) sealed: Vec<u8>,
}

impl KeyCheck {
    /// For a database that is sealed with this vault's key from now on.
    pub(super) fn of(vault: &Vault) -> Result<Self, StoreError> {
        Ok(Self { key_id: vault.key_id(), sealed: vault.seal(PLACE, TEXT.as_bytes())? })
    }

    /// Is the vault's key the one this database was sealed with?
    pub(super) fn compare(self, vault: &Vault, database: &str) -> Result<(), StoreError> {
        if vault.open(PLACE, self.sealed).is_ok() {
            return Ok(());
        }
        Err(StoreError::Setup(format!(
            "the database {database} was sealed with the key {}, this node was given the key {}; give it the right one by \
             TAUTLINE_KEY or TAUTLINE_KEY_FILE; nothing was changed",
            self.key_id,
            vault.key_id()
        )))
    }
}
