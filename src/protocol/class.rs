//! How to go on after Slack refused a socket.

/// What a refusal asks of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A person must act; a slow probe finds out whether somebody did.
    Fatal,
    /// Trying again cannot help.
    FatalForever,
    /// Try again with back-off.
    Transient,
    /// Try again, with more patience.
    Slow,
    /// Not in Slack's list: try again slowly.
    Unknown,
}
