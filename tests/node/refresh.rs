//! No gap when a link is replaced.
