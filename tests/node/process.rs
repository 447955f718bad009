//! Real processes: the binary, started and ended.
