//! `/metrics`, for Prometheus.

use actix_web::http::Method;
use actix_web::web::{Data, ServiceConfig, resource, route};
use actix_web::{HttpResponse, guard};

use super::Node;
use super::problem::wrong_method;

/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes(config: &mut ServiceConfig) {
    let get = route().guard(guard::Any(guard::Get()).or(guard::Head())).to(read);
    config.service(resource("").route(get).default_service(wrong_method(&[Method::GET])));
}

async fn read(node: Data<dyn Node>) -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT_FORMAT).body(node.metrics())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::super::testing::{FakeNode, ask};
    use super::*;

    #[actix_web::test]
    async fn metrics_come_in_prometheus_text_format() {
        let answer = ask(&FakeNode::new(), TestRequest::get().uri("/metrics")).await;
        assert_eq!(answer.header("content-type"), TEXT_FORMAT);
        assert_eq!(answer.text(), "tautline_fake 1\n");
    }
}
