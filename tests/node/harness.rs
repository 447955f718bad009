//! A node and a Slack in this process, for one test.
