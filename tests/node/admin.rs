//! What the admin API says is what is.
