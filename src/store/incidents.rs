//! Troubles that were told, from their beginning to their end.

use crate::ids::WorkspaceName;
use crate::status::Code;
use crate::store::Remember;

/// What a notice says to the memory of the node: beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// What is remembered once it is told. A notice of what another node has told already is not told again.
    pub told: Remember,
    /// Why.
    pub code: Option<Code>,
    /// When the trouble began, milliseconds since 1970.
    pub began_ms: i64,
    /// Workspaces in it at most.
    pub peak: usize,
}

/// A trouble that was told: one workspace's, or of many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its place: later ones have higher ones.
    pub id: i64,
    /// Whose; none for many at once.
    pub workspace: Option<WorkspaceName>,
    /// Why, as it was told last; of many at once why most of them.
    pub code: Option<Code>,
    /// When it began, milliseconds since 1970.
    pub began_ms: i64,
    /// When it ended; none while it lasts.
    pub ended_ms: Option<i64>,
    /// Workspaces in it at most.
    pub peak: u64,
    /// When a webhook took a notice about it first; none: nobody was told.
    pub told_ms: Option<i64>,
}

/// Which incidents are asked for: those that meet all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Those that last, or those that have ended.
    pub is_open: Option<bool>,
    /// Of this workspace, also when it is long gone.
    pub workspace: Option<WorkspaceName>,
    /// Those that lasted at this time or began later, milliseconds since 1970.
    pub since_ms: Option<i64>,
}

/// Incidents kept.
pub(super) const MOST_INCIDENTS: i64 = 50_000;
