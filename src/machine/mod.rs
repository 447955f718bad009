//! The rules of a connection's life as pure machines: no I/O, no clock, no randomness but a seeded one. Inputs go in with the time they came at; actions come out.

pub mod seq;
pub mod window;
