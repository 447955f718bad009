//! How an error of Slack is to be met.

/// What to do after an error. Slack publishes no such list; ours follows what the docs say of each code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A person must act, and may do so where this node doesn't see it (an address list, a switch): probe slowly.
    Fatal,
    /// No answer will ever differ (a malformed request, which is a bug of ours): don't ask again.
    FatalForever,
    /// It passes: back off and try again.
    Transient,
    /// It passes slowly: the workspace is moving into an organisation, for which Slack's docs suggest waiting
    /// 1, 3, 10, 30, 60 seconds.
    Slow,
    /// A code this version does not know: try again slowly.
    Unknown,
}
