//! What Slack and the network do to a connection.
