//! A server for tests that sends exactly the bytes it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What comes after an answer's bytes.
pub(crate) enum Then {
    KeepAlive,
    Close,
    /// The connection stays open and silent.
    Hang,
}

/// An answer.
pub(crate) struct Reply {
    pieces: Box<dyn Iterator<Item = Vec<u8>> + Send>,
    then: Then,
}

impl Reply {
    /// These bytes, piece by piece.
    pub(crate) fn raw(pieces: impl IntoIterator<Item = Vec<u8>, IntoIter: Send + 'static>, then: Then) -> Self {
        Reply { pieces: Box::new(pieces.into_iter()), then }
    }

    /// A whole answer with its length; `headers` end with a line break each.
    pub(crate) fn whole(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        Reply::raw([head.into_bytes(), body.to_vec()], Then::KeepAlive)
    }

    /// A stream that ends with its connection.
    pub(crate) fn stream(content_type: &str, pieces: Vec<Vec<u8>>, then: Then) -> Self {
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n").into_bytes();
        Reply::raw([head].into_iter().chain(pieces), then)
    }
}

/// A running server; it ends with the test's runtime.
pub(crate) struct TestServer {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
}

impl TestServer {
    /// Answers each request, given its head as text.
    pub(crate) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        TestServer::start_bytes(move |head| answer(&String::from_utf8_lossy(head))).await
    }

    /// Answers each request, given its head.
    pub(crate) async fn start_bytes(answer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::new(answer), connections.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                // A client that has seen enough hangs up: no fault of the server's.
                tokio::spawn(async move { serve(socket, &*answer).await.ok() });
            }
        });
        TestServer { address, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(mut socket: TcpStream, answer: &(dyn Fn(&[u8]) -> Reply + Send + Sync)) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let Reply { pieces, then } = answer(&head);
        for piece in pieces {
            socket.write_all(&piece).await?;
        }
        match then {
            Then::KeepAlive => {}
            Then::Close => return Ok(()),
            Then::Hang => std::future::pending().await,
        }
    }
}
