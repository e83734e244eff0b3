//! What clients receive, byte by byte: [`good`] and [`bad`] cameras, read by a client of our own.

mod bad;
mod good;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    auth::{Login, Scheme},
    fault::{Fault, Plan},
    serve,
    wire::Format,
};
use crate::synthetic::{Stamp, entropy::segments};

const DELIMITER: &[u8] = b"--edgereel-frame\r\n";

/// A server for one test. Small pictures at a high rate, so that tests are quick.
struct Cameras {
    address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

fn config() -> Config {
    Config {
        size: (64, 64),
        frame_bytes: 3_000,
        fps: 200.0,
        names: vec!["lab".into(), "gate".into()],
        ..Config::default()
    }
}

async fn start(config: Config) -> Cameras {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(config, listener, shutdown.clone()));
    Cameras { address, shutdown, served }
}

impl Cameras {
    async fn get(&self, target: &str) -> Client {
        let mut client =
            Client { socket: TcpStream::connect(self.address).await.expect("a connection"), bytes: vec![] };
        client.ask(target).await;
        client
    }

    async fn stats(&self) -> serde_json::Value {
        let (_, body) = self.get("/stats").await.response().await;
        serde_json::from_slice(&body).expect("JSON")
    }

    async fn stat(&self, key: &str) -> u64 {
        self.stats().await["cameras"][0][key].as_u64().expect("a number")
    }
}

struct Client {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    async fn ask(&mut self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: camera\r\n\r\n");
        self.socket.write_all(request.as_bytes()).await.expect("a request");
    }

    /// Reads on until the condition holds; panics at the end of the stream.
    async fn until(&mut self, condition: impl Fn(&[u8]) -> bool) {
        while !condition(&self.bytes) {
            let n = self.socket.read_buf(&mut self.bytes).await.expect("bytes");
            assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(300)]));
        }
    }

    /// Whether nothing more has come.
    fn is_silent(&self) -> bool {
        matches!(self.socket.try_read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    }

    async fn drain(&mut self) {
        while self.socket.read_buf(&mut self.bytes).await.expect("bytes") > 0 {}
    }

    /// The answer's head; the bytes then begin with the body.
    async fn head(&mut self) -> String {
        self.until(|bytes| find(bytes, b"\r\n\r\n").is_some()).await;
        let end = find(&self.bytes, b"\r\n\r\n").expect("a head") + 4;
        String::from_utf8(self.bytes.drain(..end).collect()).expect("text")
    }

    /// A whole answer with Content-Length.
    async fn response(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let length = length_of(&head);
        self.until(|bytes| bytes.len() >= length).await;
        (head, self.bytes.drain(..length).collect())
    }

    /// The next part of a plain stream, strictly read: its header and content.
    async fn part(&mut self) -> (String, Vec<u8>) {
        self.until(|bytes| bytes.len() >= DELIMITER.len()).await;
        assert!(self.bytes.starts_with(DELIMITER), "{:?}", String::from_utf8_lossy(&self.bytes[..30]));
        self.bytes.drain(..DELIMITER.len());
        let (header, content) = self.response().await;
        self.until(|bytes| bytes.len() >= 2).await;
        assert_eq!(self.bytes.drain(..2).collect::<Vec<u8>>(), b"\r\n");
        (header, content)
    }

    /// The next part, which is a whole picture.
    async fn picture(&mut self) -> Vec<u8> {
        let (header, jpeg) = self.part().await;
        assert!(header.contains("Content-Type: image/jpeg\r\n"), "{header}");
        assert!(is_whole(&jpeg));
        jpeg
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).filter(|window| *window == what).count()
}

fn length_of(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    line.expect("a length").trim().parse().expect("a number")
}

fn is_whole(jpeg: &[u8]) -> bool {
    turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::GRAY).is_ok()
}

fn stamp(jpeg: &[u8]) -> Stamp {
    let (_, at) = segments(jpeg).find(|(marker, _)| *marker == 0xFE).expect("a comment");
    let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    Stamp::parse(&jpeg[at + 4..at + 2 + length]).expect("a stamp")
}

/// All but the comment.
fn seen(jpeg: &[u8]) -> Vec<u8> {
    turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::GRAY).expect("a picture").pixels
}
