//! `Idempotency-Key`: a `POST` sent again is answered as it was the first time, and nothing is done twice.
//!
//! A key belongs to the token that sends it, for a day. Only answers that say what was done (2xx) are kept: after any other nothing
//! was, and the same key may try again. The work goes on when the caller does not wait for it, so that its answer is there for their
//! next try. An answer that a job is begun is given again only by the process that began it: elsewhere nobody could ask for the job.

use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes, Data};
use actix_web::{Error, HttpMessage as _, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::jobs::Jobs;
use super::problem::{Code, Problem};
use super::{Node, body};
use crate::store::{AnswerKey, Caller, Reserved};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY: usize = 255;
/// A larger body no handler takes; it is told so by the handler.
const MAX_BODY: usize = 1 << 20;
/// When to ask again for what is being answered.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What is kept of an answer beside its status and body.
const KEPT: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, ETAG];

/// An answer as it is kept, before it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Kept {
    fn location(&self) -> Option<&(String, String)> {
        self.headers.iter().find(|(name, _)| name == LOCATION.as_str())
    }
}

/// Middleware, behind the door: answers a request that was answered before, and keeps the answer to one that was not.
pub(super) async fn once(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let known = match look_up(&mut request).await {
        Ok(known) => known,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    let (node, place) = match known {
        Known::Answered(answer) => return Ok(request.into_response(answer)),
        Known::New(node, place) => (node, place),
    };
    // On a task of its own: a caller who goes away must not leave it half done.
    let work = actix_rt::spawn(async move {
        let answer = next.call(request).await;
        let kept = match answer {
            Ok(answer) if answer.status().is_success() => keep(answer).await,
            Ok(answer) => Ok((answer.map_into_boxed_body(), None)),
            Err(error) => Err(error),
        };
        let accounts = node.accounts();
        let noted = match &kept {
            Ok((_, Some(kept))) => accounts.keep_answer(place, kept).await,
            Ok((_, None)) | Err(_) => accounts.release_answer(place).await,
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "the answer to a request with an Idempotency-Key could not be kept");
        }
        kept.map(|(answer, _)| answer)
    });
    match work.await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new(Code::Internal, "the work on this request broke off").into()),
    }
}

enum Known {
    /// It was answered before, with this.
    Answered(HttpResponse),
    /// It is to be answered.
    New(Data<dyn Node>, crate::store::AnswerPlace),
}

async fn look_up(request: &mut ServiceRequest) -> Result<Known, Problem> {
    let key = parse(request.headers())?;
    let node = request.app_data::<Data<dyn Node>>().cloned();
    let caller = request.extensions().get::<Rc<Caller>>().cloned();
    let Some((node, caller)) = node.zip(caller) else {
        return Err(Problem::new(Code::Internal, "the API is put together wrongly"));
    };
    let body = read(request).await?;
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let key = AnswerKey::new(caller.token, &key, request.method().as_str(), path, &body);
    match node.accounts().reserve_answer(&key, node.now_ms()).await? {
        Reserved::Free(place) => {
            request.set_payload(Payload::from(body));
            Ok(Known::New(node, place))
        }
        Reserved::Answered(kept) => {
            let unreadable = || Problem::new(Code::Internal, "the kept answer cannot be read");
            let kept: Kept = serde_json::from_slice(&kept).map_err(|_| unreadable())?;
            if let Some((jobs, (_, place))) = request.app_data::<Data<Jobs>>().zip(kept.location()) {
                jobs.must_have_begun(place)?;
            }
            replay(&kept).map(Known::Answered).ok_or_else(unreadable)
        }
        Reserved::UnderWay => {
            let detail = "the same request is being answered; ask again for its answer";
            Err(Problem::new(Code::RequestUnderWay, detail).retry_after(ASK_AGAIN))
        }
        Reserved::Other => Err(Problem::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key came with another request within the last day; choose another key",
        )),
    }
}

fn parse(headers: &HeaderMap) -> Result<String, Problem> {
    let text = headers.get(KEY).and_then(|key| key.to_str().ok()).map(str::trim);
    text.filter(|text| (1..=MAX_KEY).contains(&text.len())).map(str::to_owned).ok_or_else(|| {
        let message = format!("1 to {MAX_KEY} printable ASCII characters; a random UUID makes a good one");
        Problem::field(Code::InvalidRequest, "Idempotency-Key", message)
    })
}

async fn read(request: &mut ServiceRequest) -> Result<Bytes, Problem> {
    let lost = |_| Problem::new(Code::Internal, "the body was lost");
    body::bytes(request.extract::<web::Payload>().await.map_err(lost)?, MAX_BODY).await
}

/// Takes an answer apart for keeping, and puts it together again.
async fn keep(
    answer: ServiceResponse<impl MessageBody + 'static>,
) -> Result<(ServiceResponse<BoxBody>, Option<Vec<u8>>), Error> {
    let (request, answer) = answer.into_parts();
    let (answer, body) = answer.into_parts();
    let body = to_bytes(body).await.map_err(|_| Problem::new(Code::Internal, "the answer cannot be read"))?;
    let headers = KEPT.iter().filter_map(|name| {
        Some((name.as_str().to_owned(), answer.headers().get(name)?.to_str().ok()?.to_owned()))
    });
    let kept =
        Kept { status: answer.status().as_u16(), headers: headers.collect(), body: STANDARD.encode(&body) };
    let answer = answer.set_body(BoxBody::new(body));
    Ok((ServiceResponse::new(request, answer), serde_json::to_vec(&kept).ok()))
}

fn replay(kept: &Kept) -> Option<HttpResponse> {
    let body = STANDARD.decode(&kept.body).ok()?;
    let mut answer = HttpResponse::with_body(StatusCode::from_u16(kept.status).ok()?, BoxBody::new(body));
    for (name, value) in &kept.headers {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        answer.headers_mut().insert(name, HeaderValue::from_str(value).ok()?);
    }
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::header::AUTHORIZATION;
    use actix_web::test::TestRequest;
    use serde_json::{Value, json};

    use super::super::testing::{Answer, FakeNode, Service, TOKEN, code, serve};
    use super::*;

    #[actix_web::test]
    async fn the_same_request_again_gets_the_same_answer_and_makes_nothing() {
        let (_node, api) = start().await;
        let first = post(&api, TOKEN, "k-1", &viewer("a")).await;
        assert_eq!(first.status, StatusCode::CREATED);
        assert_eq!(first.header("idempotent-replayed"), "");
        let again = post(&api, TOKEN, "k-1", &viewer("a")).await;
        assert_eq!(again.status, StatusCode::CREATED);
        assert_eq!(again.text(), first.text(), "byte for byte, the token's text with it");
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        assert_eq!(names(&api).await, ["a"]);
    }

    #[actix_web::test]
    async fn a_key_with_another_request_is_refused_and_under_another_token_it_is_another_key() {
        let (_node, api) = start().await;
        let made = post(&api, TOKEN, "k-1", &json!({"name": "boss", "role": "admin"})).await.json();
        let other = post(&api, TOKEN, "k-1", &viewer("b")).await;
        assert_eq!((other.status, code(&other).as_str()), (StatusCode::CONFLICT, "idempotency_key_reused"));
        let theirs = post(&api, made["token"].as_str().unwrap(), "k-1", &viewer("b")).await;
        assert_eq!(theirs.status, StatusCode::CREATED);
        assert_eq!(names(&api).await, ["boss", "b"]);
    }

    #[actix_web::test]
    async fn an_answer_that_says_nothing_was_done_is_not_kept() {
        let (_node, api) = start().await;
        assert_eq!(code(&post(&api, TOKEN, "k-1", &json!({"name": "a"})).await), "invalid_fields");
        let second = post(&api, TOKEN, "k-1", &viewer("a")).await;
        assert_eq!(second.status, StatusCode::CREATED);
        assert_eq!(second.header("idempotent-replayed"), "");
    }

    #[actix_web::test]
    async fn a_day_later_a_key_is_new_again() {
        let (node, api) = start().await;
        post(&api, TOKEN, "k-1", &viewer("a")).await;
        node.pass_ms(crate::store::ANSWERS_KEPT_MS - 1);
        assert_eq!(post(&api, TOKEN, "k-1", &viewer("a")).await.header("idempotent-replayed"), "true");
        node.pass_ms(1);
        assert_eq!(post(&api, TOKEN, "k-1", &viewer("b")).await.status, StatusCode::CREATED);
    }

    #[actix_web::test]
    async fn what_is_being_answered_is_asked_for_later_and_a_place_left_behind_is_taken_over() {
        let (node, api) = start().await;
        let body = viewer("a");
        let key = AnswerKey::new(None, "k-1", "POST", "/api/v1/tokens", body.to_string().as_bytes());
        let reserved = node.accounts().reserve_answer(&key, node.now_ms()).await.unwrap();
        assert!(matches!(reserved, Reserved::Free(_)));
        let busy = post(&api, TOKEN, "k-1", &body).await;
        assert_eq!((busy.status, code(&busy).as_str()), (StatusCode::CONFLICT, "request_under_way"));
        assert_eq!(busy.header("retry-after"), "1");
        node.pass_ms(crate::store::UNDER_WAY_MS);
        assert_eq!(post(&api, TOKEN, "k-1", &body).await.status, StatusCode::CREATED);
    }

    #[actix_web::test]
    async fn a_key_that_is_none_is_refused_and_of_other_methods_it_is_passed_over() {
        let (_node, api) = start().await;
        for key in ["", &"x".repeat(256)] {
            assert_eq!(code(&post(&api, TOKEN, key, &viewer("a")).await), "invalid_request");
        }
        for _ in 0..2 {
            let get = TestRequest::get().uri("/api/v1/tokens").insert_header(("idempotency-key", "k-1"));
            let answer = api(get.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))).await;
            assert_eq!((answer.status, answer.header("idempotent-replayed")), (StatusCode::OK, ""));
        }
    }

    async fn start() -> (Arc<FakeNode>, Box<Service>) {
        let node = FakeNode::real().await;
        let api = serve(&node).await;
        (node, api)
    }

    fn viewer(name: &str) -> Value {
        json!({"name": name, "role": "viewer"})
    }

    async fn post(api: &Service, bearer: &str, key: &str, body: &Value) -> Answer {
        let request = TestRequest::post()
            .uri("/api/v1/tokens")
            .insert_header((AUTHORIZATION, format!("Bearer {bearer}")))
            .insert_header(("idempotency-key", key))
            .insert_header(("content-type", "application/json"));
        api(request.set_payload(body.to_string())).await
    }

    async fn names(api: &Service) -> Vec<String> {
        let get = TestRequest::get().uri("/api/v1/tokens");
        let list = api(get.insert_header((AUTHORIZATION, format!("Bearer {TOKEN}")))).await.json();
        let all = list["data"].as_array().unwrap();
        all.iter().map(|token| token["name"].as_str().unwrap().to_owned()).collect()
    }
}
