//! The outside: Slack's Web API over awc, its sockets over tokio-tungstenite, one TLS configuration.

pub mod respond;
pub mod socket;
pub mod tls;
pub mod trial;
pub mod web;
