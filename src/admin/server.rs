//! The API on an address.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};

use super::{AdminToken, Node, metrics_service, service};

/// More workers than this bring nothing to an API that few people use at once.
const MAX_WORKERS: usize = 2;
/// A head that takes longer is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Per worker.
const MAX_CONNECTIONS: usize = 512;
/// What a stop waits for requests that are being answered.
const STOP_SECONDS: u64 = 3;

/// Takes an address; port 0 takes a free one. Who connects waits until something is [`bind`]ed to it.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// The API on an address that is taken. Requests are answered while the server is polled. It heeds no signal: who started it
/// stops it by its handle.
pub fn bind(
    listener: TcpListener,
    workers: usize,
    node: Arc<dyn Node>,
    token: AdminToken,
) -> io::Result<Server> {
    serve(listener, workers, service(node, token))
}

/// The metrics alone on an address of their own, without a token.
pub fn bind_metrics(listener: TcpListener, node: Arc<dyn Node>) -> io::Result<Server> {
    serve(listener, 1, metrics_service(node))
}

fn serve<C>(listener: TcpListener, workers: usize, configure: C) -> io::Result<Server>
where
    C: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .disable_signals()
        .workers(workers.clamp(1, MAX_WORKERS))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .max_connections(MAX_CONNECTIONS)
        .shutdown_timeout(STOP_SECONDS)
        .listen(listener)?;
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeNode;
    use super::*;

    const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

    #[actix_web::test]
    async fn the_api_answers_on_the_port_it_says_it_has_taken() {
        let listener = listen(ANY_PORT.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = bind(listener, 9, FakeNode::new(), AdminToken::new("t")).unwrap();
        let handle = server.handle();
        let running = actix_rt::spawn(server);
        let answer = awc::Client::new().get(format!("http://{address}/livez")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        handle.stop(true).await;
        running.await.unwrap().unwrap();
    }

    #[actix_web::test]
    async fn the_metrics_address_wants_no_token_and_offers_nothing_else() {
        let listener = listen(ANY_PORT.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = bind_metrics(listener, FakeNode::new()).unwrap();
        let handle = server.handle();
        let running = actix_rt::spawn(server);
        let client = awc::Client::new();
        for (path, status) in
            [("/metrics", 200), ("/metrics/x", 404), ("/api/v1/workspaces", 404), ("/livez", 404)]
        {
            let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
        }
        handle.stop(true).await;
        running.await.unwrap().unwrap();
    }

    #[test]
    fn a_taken_port_is_an_error_at_once() {
        let first = listen(ANY_PORT.into()).unwrap();
        let error = listen(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
