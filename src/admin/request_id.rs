//! A name for every request, by which its answer, its problem and its log lines are found again.

use std::fmt;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};

use super::problem;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LEN: usize = 128;

/// The name of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's, if it may stand in a log line as it is; one made here otherwise.
    fn of(headers: &HeaderMap) -> Self {
        headers
            .get(HEADER)
            .filter(|given| is_sane(given))
            .map_or_else(Self::make, |given| Self(given.clone()))
    }

    fn make() -> Self {
        let text = format!("req_{:016x}", rand::random::<u64>());
        Self(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("req_0")))
    }

    /// The name as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_sane(given: &HeaderValue) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    !given.is_empty() && given.len() <= MAX_LEN && given.as_bytes().iter().all(inner)
}

/// Middleware, the outermost: names the request, writes its problem if it has one, and says the name in the answer.
pub(super) async fn stamp(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut answer = problem::render(next.call(request).await?, &id);
    let headers = answer.headers_mut();
    headers.insert(HEADER, id.0);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::super::testing::{FakeNode, ask};

    #[actix_web::test]
    async fn a_sane_name_of_the_caller_comes_back_in_the_answer_and_in_its_problem() {
        for path in ["/livez", "/api/v1/workspaces", "/api/v1/workspaces/none", "/nowhere"] {
            let request = TestRequest::get().uri(path).insert_header(("x-request-id", "trace-7:a.b_c"));
            let answer = ask(&FakeNode::new(), request).await;
            assert_eq!(answer.header("x-request-id"), "trace-7:a.b_c", "{path}");
            if !answer.status.is_success() {
                assert_eq!(answer.json()["request_id"], "trace-7:a.b_c");
            }
        }
    }

    #[actix_web::test]
    async fn a_name_unfit_for_a_log_line_is_replaced_and_each_request_gets_its_own() {
        let mut made = Vec::new();
        for given in ["", "a b", "\"}{", "a\tb", "é", &"x".repeat(129)] {
            let request = TestRequest::get().uri("/livez").insert_header(("x-request-id", given.as_bytes()));
            let id = ask(&FakeNode::new(), request).await.header("x-request-id").to_owned();
            assert!(id.starts_with("req_") && id.len() == 20, "{given:?} became {id:?}");
            made.push(id);
        }
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), 6);
    }
}
