//! What plugin authors see: a handler, what it gets, what it answers, and the registry of names.
