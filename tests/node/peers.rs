//! Slack's own SDKs against the simulator.
