//! A way to the server of the tests that can be cut, or fall silent, and come back.
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What becomes of bytes on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They arrive.
    Open,
    /// Connections end as they come, and those there were are ended.
    Cut,
    /// Nothing arrives and nothing ends: a network that swallows.
    Silent,
}

/// The way. Its threads end with the test's process.
pub(crate) struct Proxy {
    port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    way: Mutex<Way>,
    changed: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A way to the server of this address.
    pub(crate) fn to(server: &url::Url, way: Way) -> Self {
        let target = (server.host_str().expect("a host").to_owned(), server.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("an address").port();
        let (way, changed) = (Mutex::new(way), Condvar::new());
        let inner = Arc::new(Inner { way, changed, streams: Mutex::default() });
        let accepting = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if *accepting.way.lock().unwrap() != Way::Cut
                    && let Ok(server) = TcpStream::connect((target.0.as_str(), target.1))
                {
                    accepting.join(client, server);
                }
            }
        });
        Self { port, inner }
    }

    /// The same address, by this way, with a password to look for.
    pub(crate) fn instead_of(&self, server: &url::Url) -> String {
        let mut address = server.clone();
        address.set_host(Some("127.0.0.1")).expect("a host");
        address.set_port(Some(self.port)).expect("a port");
        address.set_password(Some("hunter2")).expect("a password");
        address.into()
    }

    pub(crate) fn set(&self, way: Way) {
        *self.inner.way.lock().unwrap() = way;
        self.inner.changed.notify_all();
        if way == Way::Cut {
            for stream in self.inner.streams.lock().unwrap().drain(..) {
                // One that has ended already is as wanted.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }
}

impl Inner {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
            let inner = Arc::clone(self);
            thread::spawn(move || inner.carry(from, to));
        }
        self.streams.lock().unwrap().extend([client, server]);
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read) = from.read(&mut bytes)
            && read > 0
        {
            drop(self.changed.wait_while(self.way.lock().unwrap(), |way| *way == Way::Silent).unwrap());
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    }
}
