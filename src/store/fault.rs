//! What went wrong inside a store, before it is told in the words of its database.

use crate::store::StoreError;

/// An error inside a store: already in the store's words, or the database's own.
#[derive(Debug)]
pub(super) enum Fault {
    Told(StoreError),
    Sql(sqlx::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// A broken rule of uniqueness is a conflict, told as `what`.
    pub(super) fn or_conflict(self, what: impl FnOnce() -> String) -> Self {
        if self.is_unique_violation() { StoreError::Conflict(what()).into() } else { self }
    }

    /// A broken rule of uniqueness while events are written: a row with the seq of one of them is another event's.
    pub(super) fn or_seq_taken(self) -> Self {
        if self.is_unique_violation() {
            StoreError::Data("the seq of an event is taken by another event".into()).into()
        } else {
            self
        }
    }

    fn is_unique_violation(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.is_unique_violation(),
            Self::Sql(_) | Self::Told(_) => false,
        }
    }
}

/// A writer that this store has not begun.
pub(super) fn no_writer(writer: crate::ids::WriterId) -> Fault {
    StoreError::Conflict(format!("there is no writer {writer}; it has to begin first")).into()
}
