//! A way to a broker on which each request is seen before the broker sees it.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// A request to join a group's next round; its answer gives the partitions.
pub const SYNC_GROUP: i16 = 14;
/// A request for a group's coordinator.
pub const FIND_COORDINATOR: i16 = 10;

/// An address that a broker gives out as its own (`advertised.listeners=CLIENT://…`), so that all clients come by.
#[derive(Debug)]
pub struct Tap {
    listener: TcpListener,
}

impl Tap {
    /// An address; nobody is let through yet.
    ///
    /// # Panics
    /// When there is no port.
    pub fn bind() -> Self {
        Tap { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    /// The address, as `HOST:PORT`.
    ///
    /// # Panics
    /// When the system does not know it.
    pub fn address(&self) -> String {
        self.listener.local_addr().expect("bound").to_string()
    }

    /// Lets clients through to the broker until this process ends. `on_request` is told each request's API key, and the
    /// request goes on when it returns.
    pub fn serve(self, broker: &str, on_request: impl Fn(i16) + Send + Sync + 'static) {
        let (broker, on_request) = (broker.to_owned(), Arc::new(on_request));
        thread::spawn(move || {
            for client in self.listener.incoming().flatten() {
                let (broker, on_request) = (broker.clone(), on_request.clone());
                // Whatever breaks, the other side sees its connection end, as with a broker.
                thread::spawn(move || through(client, &broker, &*on_request));
            }
        });
    }
}

/// One connection, until either side ends it.
fn through(client: TcpStream, broker: &str, on_request: &impl Fn(i16)) -> io::Result<()> {
    let server = TcpStream::connect(broker)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let ended = requests(&client, &server, on_request);
    let _ = server.shutdown(Shutdown::Both);
    ended
}

/// Passes requests on, each as a whole: a length, then the API's key and the rest.
fn requests(mut client: &TcpStream, mut server: &TcpStream, on_request: &impl Fn(i16)) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut request)?;
        if let [high, low, ..] = request[..] {
            on_request(i16::from_be_bytes([high, low]));
        }
        server.write_all(&[&length[..], &request].concat())?;
    }
}
