//! Changing the key: what a step of it is, and how it went.

/// Where sealing anew goes on: in which of the columns that hold sealed values, and behind which row of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resealing {
    pub(in crate::store) column: usize,
    pub(in crate::store) after: i64,
}

/// How one step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// Which column it was about, of how many.
    pub column: (usize, usize),
    /// Sealed values that were looked at.
    pub seen: u64,
    /// Of them, sealed anew.
    pub resealed: u64,
    /// Of them, those that neither key opens. They stay as they are.
    pub unreadable: u64,
    /// Where to go on; none where that was all, and the first key is the database's now.
    pub next: Option<Resealing>,
}
