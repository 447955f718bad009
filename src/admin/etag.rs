//! `ETag` and `If-Match`: a change that is made only if nobody else has changed the thing since it was read.
//!
//! The tag names what callers change: a workspace's stays when a connection's state does, and when it learns something.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::problem::{Code, Problem};
use crate::store::When;

/// The tag of a row at this version, quotes included.
pub(super) fn of(id: i64, version: i64) -> String {
    format!("\"{id}-{version}\"")
}

/// What a request makes its change depend on.
pub(super) fn when(request: &HttpRequest) -> Result<When, Problem> {
    let headers = request.headers();
    match (value(headers, &header::IF_MATCH)?, value(headers, &header::IF_NONE_MATCH)?) {
        (None, None) => Ok(When::Always),
        (Some("*"), None) => Ok(When::Present),
        (None, Some("*")) => Ok(When::Absent),
        (Some(tag), None) => still(tag),
        (None, Some(_)) => {
            Err(Problem::field(Code::InvalidRequest, "If-None-Match", "only '*' is known here"))
        }
        (Some(_), Some(_)) => {
            Err(Problem::field(Code::InvalidRequest, "If-Match", "not together with If-None-Match"))
        }
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name);
    let first = all.next().map(|value| value.to_str().unwrap_or_default().trim());
    if all.next().is_some() {
        return Err(Problem::field(Code::InvalidRequest, name.as_str(), "given more than once"));
    }
    Ok(first)
}

fn still(tag: &str) -> Result<When, Problem> {
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).filter(|tag| !tag.contains('"'));
    let Some(inner) = inner else {
        let message = "must be '*' or the one ETag of the answer that was read, quotes included";
        return Err(Problem::field(Code::InvalidRequest, "If-Match", message));
    };
    let parts =
        inner.split_once('-').and_then(|(id, version)| Some((id.parse().ok()?, version.parse().ok()?)));
    // A tag that is not ours is no row's: ids begin at one.
    let (id, version) = parts.unwrap_or((0, 0));
    Ok(When::Still(id, version))
}
