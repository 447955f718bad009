//! The admin HTTP API: one file a resource.
