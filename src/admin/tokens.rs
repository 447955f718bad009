//! `/api/v1/tokens`: who may use this API. A token's text is told once, to whoever has it made.

mod body;
#[cfg(test)]
mod tests;

use actix_web::http::{Method, header};
use actix_web::web::{Data, Path, Payload, ServiceConfig, delete, post, resource};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::access::Access;
use super::auth::{Door, PREFIX};
use super::body::{JSON, object};
use super::paging::{Paging, page};
use super::paths::get;
use super::problem::{Code, Problem, wrong_method};
use super::query::{self, digits};
use crate::moment::rfc3339;
use crate::store::{ApiToken, NewToken, Role, TokenDigest, TokenId};

const LIST: &str = "tokens";

pub(super) fn routes(config: &mut ServiceConfig) {
    let all = resource("/tokens")
        .route(get().to(list))
        .route(post().to(create))
        .default_service(wrong_method(&[Method::GET, Method::POST]));
    let one = resource("/tokens/{id}")
        .route(get().to(read))
        .route(delete().to(revoke))
        .default_service(wrong_method(&[Method::GET, Method::DELETE]));
    config.service(all).service(one);
}

async fn create(
    request: HttpRequest,
    payload: Payload,
    access: Access,
    door: Data<Door>,
) -> Result<HttpResponse, Problem> {
    let now_ms = access.now_ms();
    query::none(&request)?;
    let wanted = body::parse(object(&request, payload, JSON).await?, now_ms)?;
    let text = make();
    let new = NewToken {
        name: wanted.name,
        digest: TokenDigest::of(text.expose_secret()),
        hint: text.expose_secret().chars().skip(text.expose_secret().len() - 4).collect(),
        role: wanted.role,
        scope: wanted.scope,
        expires_ms: wanted.expires_ms,
    };
    let token = access.accounts().create_token(&new, access.caller(), now_ms).await?;
    door.keyring.changed();
    let place = format!("/api/v1/tokens/{}", token.id);
    let shown = TokenOut { token: Some(text.expose_secret()), ..TokenOut::new(&token, now_ms) };
    Ok(HttpResponse::Created().insert_header((header::LOCATION, place)).json(shown))
}

async fn list(request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let mut paging = Paging::new();
    query::read(&request, Paging::KNOWN, |key, value| paging.take(key, value))?;
    let after = paging.place(&LIST, digits)?.map(TokenId);
    let mut found = access.accounts().tokens(after, paging.limit + 1).await?;
    let next_cursor = paging.cut(&mut found, &LIST, |token| token.id.0);
    let now_ms = access.now_ms();
    let data: Vec<_> = found.iter().map(|token| TokenOut::new(token, now_ms)).collect();
    Ok(page(&data, next_cursor))
}

async fn read(id: Path<String>, request: HttpRequest, access: Access) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    query::none(&request)?;
    let token = access.accounts().token(id).await?.ok_or_else(|| unknown(id))?;
    Ok(HttpResponse::Ok().json(TokenOut::new(&token, access.now_ms())))
}

async fn revoke(
    id: Path<String>,
    request: HttpRequest,
    access: Access,
    door: Data<Door>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    query::none(&request)?;
    let revoked = access.accounts().revoke_token(id, access.caller(), access.now_ms()).await;
    // Also where the outcome is not known.
    door.keyring.changed();
    revoked?.ok_or_else(|| unknown(id))?;
    Ok(HttpResponse::NoContent().finish())
}

/// 256 random bits.
fn make() -> SecretString {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into()
}

fn parse_id(text: &str) -> Result<TokenId, Problem> {
    TokenId::parse(text).ok_or_else(|| Problem::field(Code::InvalidRequest, "id", "an id is like 'tok_7'"))
}

fn unknown(id: TokenId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no token '{id}'"))
}

#[derive(Serialize)]
struct TokenOut<'a> {
    id: String,
    name: &'a str,
    role: &'static str,
    scope: Option<String>,
    state: &'static str,
    hint: &'a str,
    created_by: &'a str,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    /// The text, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> TokenOut<'a> {
    fn new(token: &'a ApiToken, now_ms: i64) -> Self {
        let state = match token.revoked_ms {
            Some(_) => "revoked",
            None if token.is_in_force(now_ms) => "active",
            None => "expired",
        };
        Self {
            id: token.id.to_string(),
            name: &token.name,
            role: Role::as_str(token.role),
            scope: token.scope.as_ref().map(ToString::to_string),
            state,
            hint: &token.hint,
            created_by: &token.created_by,
            created_at: rfc3339(token.created_ms),
            expires_at: token.expires_ms.map(rfc3339),
            last_used_at: token.used_ms.map(rfc3339),
            revoked_at: token.revoked_ms.map(rfc3339),
            token: None,
        }
    }
}
