//! What the system is asked for, in which order.
