//! Paths and their methods. One that a path does not know is a 405 that names those it knows.

use actix_web::http::Method;
use actix_web::web::{post, resource, route};
use actix_web::{FromRequest, Handler, Resource, Responder, Route, guard};

use super::problem::wrong_method;

/// `GET`, and with it `HEAD`.
pub(super) fn get() -> Route {
    route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path that is only read.
pub(super) fn read_resource<F, Args>(path: &str, read: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    resource(path).route(get().to(read)).default_service(wrong_method(&[Method::GET]))
}

/// A path that is only posted to.
pub(super) fn post_resource<F, Args>(path: &str, act: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    resource(path).route(post().to(act)).default_service(wrong_method(&[Method::POST]))
}
