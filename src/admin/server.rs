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
/// A connection without a request may be held so long.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A peer that takes nothing of its answer for so long is cut off. actix-web has no limit of its own on writing; the kernel has.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Per worker.
const MAX_CONNECTIONS: usize = 512;
/// What a stop waits for requests that are being answered.
const STOP_SECONDS: u64 = 3;

/// Takes an address; port 0 takes a free one. Who connects waits until something is [`bind`]ed to it.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    give_up_after(&listener, WRITE_TIMEOUT)?;
    Ok(listener)
}

/// What is written to a connection taken from here and not received within this time ends it.
#[cfg(target_os = "linux")]
fn give_up_after(listener: &TcpListener, patience: Duration) -> io::Result<()> {
    // A connection takes it over from its listener.
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, millis)?)
}

/// Other systems have no such limit.
#[cfg(not(target_os = "linux"))]
fn give_up_after(_: &TcpListener, _: Duration) -> io::Result<()> {
    Ok(())
}

/// The API on an address that is taken. Requests are answered while the server is polled. It heeds no signal: who started it
/// stops it by its handle.
pub fn bind(
    listener: TcpListener,
    workers: usize,
    node: Arc<dyn Node>,
    token: AdminToken,
) -> io::Result<Server> {
    serve(listener, workers, MAX_CONNECTIONS, service(node, token))
}

/// The metrics and the probes on an address of their own, without a token: what is done to the API's address leaves them alone.
pub fn bind_metrics(listener: TcpListener, node: Arc<dyn Node>) -> io::Result<Server> {
    serve(listener, 1, MAX_CONNECTIONS, metrics_service(node))
}

fn serve<C>(listener: TcpListener, workers: usize, connections: usize, configure: C) -> io::Result<Server>
where
    C: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .disable_signals()
        .workers(workers.clamp(1, MAX_WORKERS))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .max_connections(connections)
        .shutdown_timeout(STOP_SECONDS)
        .listen(listener)?;
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeNode;
    use super::*;

    const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
    const PATIENCE: Duration = Duration::from_secs(30);

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
    async fn the_metrics_address_wants_no_token_and_offers_the_probes_and_nothing_else() {
        let listener = listen(ANY_PORT.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = bind_metrics(listener, FakeNode::new()).unwrap();
        let handle = server.handle();
        let running = actix_rt::spawn(server);
        let client = awc::Client::new();
        for (path, status) in [
            ("/metrics", 200),
            ("/metrics/x", 404),
            ("/api/v1/workspaces", 404),
            ("/livez", 200),
            ("/readyz", 200),
        ] {
            let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
        }
        handle.stop(true).await;
        running.await.unwrap().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[actix_web::test]
    async fn who_reads_no_answer_makes_room_for_others() {
        use tokio::io::AsyncWriteExt as _;
        let listener = listen(ANY_PORT.into()).unwrap();
        assert_eq!(
            rustix::net::sockopt::tcp_user_timeout(&listener).unwrap(),
            20_000,
            "as the node takes its address"
        );
        give_up_after(&listener, Duration::from_millis(100)).unwrap();
        let address = listener.local_addr().unwrap();
        let api = service(FakeNode::new(), AdminToken::new("t"));
        let server = serve(listener, 1, 1, api).unwrap();
        let handle = server.handle();
        let running = actix_rt::spawn(server);
        let mut deaf = tokio::net::TcpStream::connect(address).await.unwrap();
        let asks = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
        // Until it is cut off.
        let asking = async { while deaf.write_all(asks.as_bytes()).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, asking).await.expect("it is cut off");
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        let answer = client.get(format!("http://{address}/livez")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
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
