//! Who may ask: bearers of the admin token.

use std::fmt;
use std::hint::black_box;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, body::MessageBody};
use sha2::{Digest, Sha256};

use super::problem::{Code, Problem};

/// The token that opens the API. Only its digest is kept.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// The token with this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Takes as long for a near miss as for a wild one: digests are compared, every byte of them.
    fn admits(&self, text: &str) -> bool {
        let given = Self::new(text);
        let difference = self.0.iter().zip(given.0).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        difference == 0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Middleware: lets nobody by without the token.
pub(super) async fn demand(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let bearer = bearer(request.headers());
    let admitted = match (request.app_data::<Data<AdminToken>>(), bearer) {
        (Some(token), Some(text)) => token.admits(text),
        (None, _) | (_, None) => false,
    };
    if admitted {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let (detail, challenge) = if bearer.is_some() {
        (
            "the bearer token is not this node's admin token",
            r#"Bearer realm="tautline", error="invalid_token""#,
        )
    } else {
        ("send the admin token as 'Authorization: Bearer <token>'", r#"Bearer realm="tautline""#)
    };
    Ok(request.error_response(Problem::new(Code::Unauthorized, detail).challenge(challenge)))
}

/// The text after `Bearer`, a word whose case does not matter (RFC 9110, §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::super::testing::{FakeNode, TOKEN, ask_as_is, code};
    use super::*;

    #[actix_web::test]
    async fn who_bears_no_token_or_a_wrong_one_gets_a_401_that_says_how_to_ask() {
        let near_miss = format!("Bearer {TOKEN}x");
        for (header, challenge) in [
            (None, r#"Bearer realm="tautline""#),
            (Some("Basic dTpw"), r#"Bearer realm="tautline""#),
            (Some("Bearer "), r#"Bearer realm="tautline", error="invalid_token""#),
            (Some(near_miss.as_str()), r#"Bearer realm="tautline", error="invalid_token""#),
        ] {
            for path in ["/api/v1/workspaces", "/api/v1/workspaces/a", "/api/v1/nothing", "/metrics"] {
                let mut request = TestRequest::get().uri(path);
                if let Some(header) = header {
                    request = request.insert_header((AUTHORIZATION, header));
                }
                let answer = ask_as_is(&FakeNode::new(), request).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} with {header:?}");
                assert_eq!(answer.header("www-authenticate"), challenge);
                assert_eq!(code(&answer), "unauthorized");
            }
        }
    }

    #[actix_web::test]
    async fn the_bearer_of_the_token_is_let_by_however_the_scheme_is_spelt() {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let header = (AUTHORIZATION, format!("{scheme} {TOKEN}"));
            let request = TestRequest::get().uri("/api/v1/workspaces").insert_header(header);
            assert_eq!(ask_as_is(&FakeNode::new(), request).await.status, StatusCode::OK);
        }
    }

    #[test]
    fn a_token_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", AdminToken::new("secret")), "AdminToken(…)");
    }
}
