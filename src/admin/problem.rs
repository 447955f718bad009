//! Errors as RFC 9457 problems, with a closed list of codes.
//!
//! A handler returns a [`Problem`]; [`render`] writes it into the answer, since only there the request's id is known.

use std::fmt;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError, Route, web};
use serde::Serialize;

use super::request_id::RequestId;
use crate::store::StoreError;

macro_rules! codes {
    ($($name:ident $text:literal $status:ident $title:literal;)+) => {
        /// What kind of problem: a closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// Every code.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in the API.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The HTTP status it is sent with.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid_request" BAD_REQUEST "The request is not understood";
    MalformedJson "malformed_json" BAD_REQUEST "The body is no JSON";
    Unauthorized "unauthorized" UNAUTHORIZED "The token is missing or wrong";
    Forbidden "forbidden" FORBIDDEN "The token may not do this";
    NotFound "not_found" NOT_FOUND "There is nothing here";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "This cannot be done here";
    RequestTimeout "request_timeout" REQUEST_TIMEOUT "The body took too long";
    Conflict "conflict" CONFLICT "Something else holds the place";
    RequestUnderWay "request_under_way" CONFLICT "The same request is being answered";
    IdempotencyKeyReused "idempotency_key_reused" CONFLICT "The key came with another request";
    JobNotHere "job_not_here" CONFLICT "The job that the request began is not here";
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED "What the request was made to depend on is not so";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The body is too large";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body's type is not understood";
    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS "Too many wrong tokens";
    TooManyStreams "too_many_streams" TOO_MANY_REQUESTS "Too many streams are open";
    InvalidFields "invalid_fields" UNPROCESSABLE_ENTITY "Some fields are not as they must be";
    TokenUnreadable "token_unreadable" INTERNAL_SERVER_ERROR "A stored token cannot be opened";
    Internal "internal" INTERNAL_SERVER_ERROR "This node failed";
    StoreUnavailable "store_unavailable" SERVICE_UNAVAILABLE "The database is unavailable";
}

/// One field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// Which, as the caller spelt it.
    pub(super) field: String,
    /// What is wrong, as a sentence that does not repeat the value.
    pub(super) message: String,
}

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log alone.
    cause: Option<String>,
}

impl Problem {
    /// A problem; `detail` says what happened this time and what to do, and repeats no secret.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), headers: Vec::new(), cause: None }
    }

    /// The one field's message, without the field's name; else all of it.
    pub(super) fn message(&self) -> String {
        match self.errors.as_slice() {
            [only] => only.message.clone(),
            _ => self.detail.clone(),
        }
    }

    /// The fields it names.
    pub(super) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Which of the list.
    pub(super) const fn code(&self) -> Code {
        self.code
    }

    /// A problem with the fields named.
    pub(super) fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let named: Vec<_> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Self { errors, ..Self::new(code, named.join("; ")) }
    }

    /// A problem with the one field named.
    pub(super) fn field(code: Code, field: &str, message: impl Into<String>) -> Self {
        Self::fields(code, vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// With `WWW-Authenticate`, which a 401 must have.
    pub(super) fn challenge(mut self, challenge: &'static str) -> Self {
        self.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        self
    }

    /// With `Retry-After`, in whole seconds.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.headers
            .extend(HeaderValue::from_str(&seconds.to_string()).ok().map(|s| (header::RETRY_AFTER, s)));
        self
    }

    /// From an error that is not ours: a path, query or payload that actix-web refuses.
    fn from_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
            StatusCode::PRECONDITION_FAILED => Code::PreconditionFailed,
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            status if status.is_client_error() => Code::InvalidRequest,
            _ => Code::Internal,
        };
        Self::new(code, code.title())
    }

    fn body(&self, id: &RequestId) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'static str,
            status: u16,
            detail: &'a str,
            code: &'static str,
            request_id: &'a str,
            errors: &'a [FieldError],
        }
        let body = Body {
            r#type: format!("urn:problem-type:tautline:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id: id.as_str(),
            errors: &self.errors,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::new(self.code.status());
        for (name, value) in &self.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        answer
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let cause = Some(error.to_string());
        match error {
            StoreError::Conflict(what) => Self::new(Code::Conflict, what),
            StoreError::Absent(what) => Self::new(Code::NotFound, what),
            StoreError::Forbidden(what) => Self::new(Code::Forbidden, what),
            StoreError::Stale(what) => {
                Self::new(Code::PreconditionFailed, format!("{what}; read it again, and decide anew"))
            }
            StoreError::Data(_) => Self {
                cause,
                ..Self::new(Code::InvalidFields, "the database refuses the data; nothing was changed")
            },
            StoreError::Unavailable(_) | StoreError::Setup(_) => Self {
                cause,
                headers: vec![(header::RETRY_AFTER, HeaderValue::from_static("5"))],
                ..Self::new(
                    Code::StoreUnavailable,
                    "the database does not do it now; send the same request again",
                )
            },
            StoreError::Sealed { .. } => {
                let action = crate::status::Code::TokenUnreadable.action();
                Self { cause, ..Self::new(Code::TokenUnreadable, format!("{error}. {action}")) }
            }
        }
    }
}

/// Writes the problem of an answer into it, and into the log if it is this node's.
pub(super) fn render<B: MessageBody + 'static>(
    answer: ServiceResponse<B>,
    id: &RequestId,
) -> ServiceResponse<BoxBody> {
    let Some(error) = answer.response().error() else { return answer.map_into_boxed_body() };
    let problem =
        error.as_error::<Problem>().cloned().unwrap_or_else(|| Problem::from_status(answer.status()));
    if let Some(cause) = &problem.cause {
        tracing::error!(request_id = %id, code = problem.code.as_str(), cause, "an admin request failed");
    }
    let body = problem.body(id);
    answer.map_body(|head, _| {
        let json = HeaderValue::from_static("application/problem+json");
        head.headers_mut().insert(header::CONTENT_TYPE, json);
        BoxBody::new(body)
    })
}

/// The answer where nothing is.
pub(super) async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Code::NotFound, "no such path; the API is below /api/v1"))
}

/// The answer to a method that a path does not know.
pub(super) fn wrong_method(allowed: &[Method]) -> Route {
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let names = names.join(", ");
    web::to(move || {
        let names = names.clone();
        async move {
            let mut problem = Problem::new(Code::MethodNotAllowed, format!("this path knows {names}"));
            problem.headers.extend(HeaderValue::from_str(&names).ok().map(|names| (header::ALLOW, names)));
            Err::<HttpResponse, _>(problem)
        }
    })
}
