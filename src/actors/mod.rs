//! Thin shells around the machines, and the tasks that carry bytes.
