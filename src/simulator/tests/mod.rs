//! Each promise and each fault, seen by a plain WebSocket client.

mod api;
mod client;
mod closing;
mod control_http;
mod delivery;
mod faults;
mod sessions;
