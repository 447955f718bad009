//! TLS before what plays Slack: decrypts and passes on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

/// Listens on a free port of this machine, as `localhost`, whose certificate [`authority`] vouches for.
pub(crate) async fn front(behind: SocketAddr, folder: &Path) -> SocketAddr {
    let key = folder.join("key.pem");
    // The tool is there wherever TLS is looked into; a crate for one certificate would be a dozen of them.
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench".split(' '),
        )
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(authority(folder))
        .output()
        .expect("--tls needs the tool 'openssl'");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let certificate = CertificateDer::from_pem_file(authority(folder)).unwrap();
    let key = PrivateKeyDer::from_pem_file(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        while let Ok((outer, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            spawn_local(async move {
                outer.set_nodelay(true)?;
                let mut outer = acceptor.accept(outer).await?;
                let mut inner = TcpStream::connect(behind).await?;
                inner.set_nodelay(true)?;
                copy_bidirectional(&mut outer, &mut inner).await
            });
        }
    });
    address
}

/// What a node has to trust.
pub(crate) fn authority(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}
