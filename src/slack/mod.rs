//! The outside: Slack's Web API over awc, its sockets over tokio-tungstenite, one TLS configuration.
