//! One question to a node: what, with what, and how long its answer may take.

use std::time::Duration;

use awc::http::Method;
use serde_json::Value;

/// How long an answer may take beside what the node is asked to wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// One question.
pub(in crate::commands) struct Question<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Body<'a>,
    /// Only where nothing is there yet.
    pub(super) is_new: bool,
    pub(super) within: Duration,
}

/// What is sent with it.
pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    Bytes(&'static str, Vec<u8>),
}

impl<'a> Question<'a> {
    pub(in crate::commands) const fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, query: Vec::new(), body: Body::None, is_new: false, within: PATIENCE }
    }

    /// With these parameters.
    pub(in crate::commands) fn query(mut self, query: &[(&'static str, String)]) -> Self {
        self.query.extend_from_slice(query);
        self
    }

    pub(in crate::commands) fn json(mut self, body: &'a Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    pub(in crate::commands) fn bytes(mut self, content_type: &'static str, bytes: Vec<u8>) -> Self {
        self.body = Body::Bytes(content_type, bytes);
        self
    }

    /// Refused where something is there already.
    pub(in crate::commands) const fn only_new(mut self) -> Self {
        self.is_new = true;
        self
    }

    /// The answer may come when what was asked for is so, after this at most.
    pub(in crate::commands) fn wait(mut self, wait: Option<Duration>) -> Self {
        if let Some(wait) = wait {
            self.query.push(("wait", format!("{}ms", wait.as_millis())));
            self.within = PATIENCE + wait;
        }
        self
    }

    /// The node has this much to do.
    pub(in crate::commands) const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}
