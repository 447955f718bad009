//! Who may ask, and for what.

mod guesses;
mod keyring;
pub(super) mod rights;

use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, body::MessageBody};
use sha2::{Digest, Sha256};

use self::guesses::Guesses;
use self::keyring::Bearer;
pub(super) use self::keyring::{Keyring, PREFIX};
use self::rights::{Reach, Right};
use super::Node;
use super::problem::{Code, Problem};
use super::request_id::RequestId;
use crate::clock::Clock;
use crate::ids::WorkspaceName;
use crate::store::Caller;

/// Whoever has an admin token of at least so many characters cannot be locked out by guesses: it is not found by guessing.
const UNGUESSABLE: usize = 24;
const MAX_REASON: usize = 255;

/// The token that opens all of the API, given by whoever starts the node. Only its digest is kept.
#[derive(Clone)]
pub struct AdminToken {
    digest: [u8; 32],
    guessable: bool,
}

impl AdminToken {
    /// The token with this text.
    pub fn new(text: &str) -> Self {
        Self { digest: Sha256::digest(text.as_bytes()).into(), guessable: text.len() < UNGUESSABLE }
    }

    /// Takes as long for a near miss as for a wild one: digests are compared, every byte of them.
    fn admits(&self, text: &str) -> bool {
        let given = Self::new(text);
        let difference = self.digest.iter().zip(given.digest).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        difference == 0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// The door: who is let in, and who was wrong lately.
pub(super) struct Door {
    pub(super) keyring: Keyring,
    guesses: Guesses,
    clock: Clock,
}

impl Door {
    pub(super) fn new(token: AdminToken) -> Self {
        Self { keyring: Keyring::new(token), guesses: Guesses::default(), clock: Clock::start() }
    }

    /// Whose this text is.
    async fn admit(&self, text: &str, address: Option<IpAddr>, node: &dyn Node) -> Result<Bearer, Problem> {
        let now = self.clock.mono();
        let wait = self.guesses.wait(address, now);
        let root = self.keyring.root();
        if (wait.is_none() || !root.guessable) && root.admits(text) {
            return Ok(Bearer::Root);
        }
        let found = self.keyring.find(text, &*node.accounts()).await?;
        let refusal = match found {
            Some(token) if token.is_in_force(node.now_ms()) => return Ok(Bearer::Holder(token)),
            Some(token) => format!("the token '{}' has expired; have another made", token.name),
            None => "nobody has this bearer token: it is mistyped, or was revoked".to_owned(),
        };
        if let Some(wait) = wait {
            return Err(too_many(wait));
        }
        self.guesses.wrong(address, now);
        let challenge = r#"Bearer realm="tautline", error="invalid_token""#;
        Err(Problem::new(Code::Unauthorized, refusal).challenge(challenge))
    }
}

fn too_many(wait: Duration) -> Problem {
    let detail = "too many wrong tokens came from this address; wait, then send the right one";
    Problem::new(Code::TooManyAttempts, detail).retry_after(wait)
}

/// Middleware: lets nobody by without a token that may do what is asked, and says who it is to whoever comes behind it.
pub(super) async fn demand(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match identify(&request).await {
        Ok(caller) => {
            request.extensions_mut().insert(Rc::new(caller));
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(problem) => Ok(request.error_response(problem)),
    }
}

async fn identify(request: &ServiceRequest) -> Result<Caller, Problem> {
    let (Some(node), Some(door)) =
        (request.app_data::<Data<dyn Node>>().cloned(), request.app_data::<Data<Door>>().cloned())
    else {
        return Err(Problem::new(Code::Internal, "the API is put together wrongly"));
    };
    let Some(text) = bearer(request.headers()) else {
        let detail = "send a token as 'Authorization: Bearer <token>'";
        return Err(Problem::new(Code::Unauthorized, detail).challenge(r#"Bearer realm="tautline""#));
    };
    let address = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let bearer = door.admit(text, address, &**node).await?;
    let mut caller = match &bearer {
        Bearer::Root => Caller::admin("admin"),
        Bearer::Holder(token) => Caller {
            token: Some(token.id),
            role: token.role,
            scope: token.scope.clone(),
            ..Caller::admin(&format!("{} {}", token.id, token.name))
        },
    };
    caller.address = address;
    caller.request_id = request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned());
    caller.reason = reason(request.headers())?;
    permit(request, &caller, &**node).await?;
    if let Bearer::Holder(token) = bearer
        && door.keyring.is_noteworthy(&token, node.now_ms())
    {
        let (accounts, now_ms) = (node.accounts(), node.now_ms());
        actix_rt::spawn(async move {
            if let Err(error) = accounts.note_use(token.id, now_ms).await {
                tracing::debug!(%error, token = %token.id, "the use of a token could not be noted");
            }
        });
    }
    Ok(caller)
}

/// May the caller do this? Says what is missing if not.
async fn permit(request: &ServiceRequest, caller: &Caller, node: &dyn Node) -> Result<(), Problem> {
    let Right { role, reach } = rights::of(request.method(), request.path());
    if caller.role < role {
        let detail = format!("this takes the role {role}; '{}' has the role {}", caller.name, caller.role);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let Some(scope) = &caller.scope else { return Ok(()) };
    match reach {
        Reach::Workspaces => Ok(()),
        Reach::Node => Err(Problem::new(
            Code::Forbidden,
            format!(
                "this is about the whole node; '{}' sees workspaces with the label {scope} alone",
                caller.name
            ),
        )),
        Reach::OneWorkspace => {
            let name = request.path().split('/').nth(4).unwrap_or_default();
            let nothing = || Problem::new(Code::NotFound, "there is no such workspace");
            let name = WorkspaceName::parse(name).map_err(|_| nothing())?;
            node.store(caller).workspace(&name).await?.map(|_| ()).ok_or_else(nothing)
        }
    }
}

/// Why something is done, for the audit log: `X-Reason`.
fn reason(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(given) = headers.get("x-reason") else { return Ok(None) };
    let text = std::str::from_utf8(given.as_bytes()).ok().map(str::trim);
    match text.filter(|text| text.chars().count() <= MAX_REASON && !text.chars().any(char::is_control)) {
        Some("") => Ok(None),
        Some(text) => Ok(Some(text.to_owned())),
        None => {
            let message = format!("a line of at most {MAX_REASON} characters in UTF-8");
            Err(Problem::field(Code::InvalidRequest, "X-Reason", message))
        }
    }
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
