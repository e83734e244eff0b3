//! What clients receive, byte by byte.

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

    async fn to_end(&mut self) {
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

#[tokio::test]
async fn a_good_camera_sends_whole_frames_with_rising_numbers_and_its_name() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam1").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: multipart/x-mixed-replace; boundary=edgereel-frame\r\n"), "{head}");
    for sequence in 0..5 {
        let stamp = stamp(&client.picture().await);
        assert_eq!((stamp.sequence, stamp.camera.as_str()), (sequence, "gate"));
    }
}

#[tokio::test]
async fn all_clients_of_a_camera_see_the_same_frames() {
    let cameras = start(config()).await;
    let (mut one, mut other) = (cameras.get("/cam0").await, cameras.get("/").await);
    (one.head().await, other.head().await);
    let first = other.picture().await;
    let mut same = one.picture().await;
    while stamp(&same).sequence < stamp(&first).sequence {
        same = one.picture().await;
    }
    assert_eq!(same, first);
}

#[tokio::test]
async fn without_clients_no_frame_is_made() {
    let cameras = start(config()).await;
    assert_eq!(cameras.stat("generated").await, 0);
    let mut client = cameras.get("/cam0").await;
    client.head().await;
    client.picture().await;
    drop(client);
    while cameras.stat("clients").await > 0 {}
    let made = cameras.stat("generated").await;
    let (_, jpeg) = cameras.get("/cam0/snapshot.jpg").await.response().await;
    assert_eq!(stamp(&jpeg).sequence, made, "the next client gets the very next frame");
}

#[tokio::test]
async fn a_slow_client_misses_frames_and_gets_the_others_whole() {
    let cameras = start(Config { frame_bytes: 1_000_000, ..config() }).await;
    let mut slow = cameras.get("/cam0").await;
    slow.head().await;
    slow.picture().await;
    let mut quick = cameras.get("/cam0").await;
    quick.head().await;
    while cameras.stat("skipped").await == 0 {
        quick.picture().await;
    }
    let mut before = 0;
    loop {
        let sequence = stamp(&slow.picture().await).sequence;
        if sequence > before + 1 {
            break;
        }
        before = sequence;
    }
}

#[tokio::test]
async fn a_connection_serves_snapshot_after_snapshot() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0/snapshot.jpg").await;
    let (head, first) = client.response().await;
    assert!(head.contains("Content-Type: image/jpeg\r\n") && is_whole(&first), "{head}");
    client.ask("/cam0/snapshot.jpg").await;
    let (_, second) = client.response().await;
    assert!(stamp(&second).sequence > stamp(&first).sequence);
}

#[tokio::test]
async fn formats_are_written_to_the_byte() {
    let cameras = start(config()).await;
    let rest = "Content-Type: image/jpeg\r\nContent-Length: ";
    let line = "--edgereel-frame\r\n";
    for (format, parameter, begin, between) in [
        ("param-dashes", "; boundary=--edgereel-frame\r\n", format!("{line}{rest}"), format!("\r\n{line}{rest}")),
        ("param-quoted", "; boundary=\"edgereel-frame\"\r\n", format!("{line}{rest}"), format!("\r\n{line}{rest}")),
        ("param-missing", "multipart/x-mixed-replace\r\n", format!("{line}{rest}"), format!("\r\n{line}{rest}")),
        ("boundary-doubled", "=edgereel-frame\r\n", format!("{line}{line}{rest}"), format!("\r\n{line}{line}{rest}")),
        ("boundary-first-missing", "=edgereel-frame\r\n", rest.into(), format!("\r\n{line}{rest}")),
        (
            "boundary-terminated",
            "=edgereel-frame\r\n",
            format!("{line}{rest}"),
            format!("\r\n--edgereel-frame--\r\n{rest}"),
        ),
        ("blank-line", "=edgereel-frame\r\n", format!("{line}{rest}"), format!("\r\n\r\n{line}{rest}")),
        (
            "no-content-length",
            "=edgereel-frame\r\n",
            format!("{line}Content-Type: image/jpeg\r\n\r\n"),
            format!("\r\n{line}Content-Type: image/jpeg\r\n\r\n"),
        ),
        (
            "lf-only",
            "=edgereel-frame\r\n",
            "--edgereel-frame\nContent-Type: image/jpeg\nContent-Length: ".into(),
            "\n--edgereel-frame\nContent-Type: image/jpeg\nContent-Length: ".into(),
        ),
        (
            "lower-case",
            "=edgereel-frame\r\n",
            format!("{line}content-type: image/jpeg\r\ncontent-length: "),
            format!("\r\n{line}content-type: image/jpeg\r\ncontent-length: "),
        ),
    ] {
        let mut client = cameras.get(&format!("/cam0?format={format}")).await;
        let head = client.head().await;
        assert!(head.contains(parameter), "{format}: {head}");
        let between = [&[0xFF, 0xD9], between.as_bytes()].concat();
        client.until(|bytes| count(bytes, &between) == 2).await;
        assert!(client.bytes.starts_with(begin.as_bytes()), "{format}");
        let start = find(&client.bytes, &[0xFF, 0xD8]).expect("a picture");
        let end = find(&client.bytes, &between).expect("an end") + 2;
        assert!(is_whole(&client.bytes[start..end]), "{format}");
    }
}

#[tokio::test]
async fn pictures_without_tables_or_end_and_with_padding_are_sent_so() {
    let cameras = start(config()).await;
    let picture = async |format: &str| {
        let mut client = cameras.get(&format!("/cam0?format={format}")).await;
        client.head().await;
        client.part().await.1
    };
    let bare = picture("no-huffman").await;
    assert!(!segments(&bare).any(|(marker, _)| marker == 0xC4) && bare.ends_with(&[0xFF, 0xD9]));
    assert!(!picture("no-eoi").await.ends_with(&[0xFF, 0xD9]));
    let padded = picture("padding").await;
    assert!(padded.ends_with(&[0; 512]) && padded[..padded.len() - 512].ends_with(&[0xFF, 0xD9]));
}

#[tokio::test]
async fn a_stalled_connection_is_silent_for_its_time_and_then_goes_on() {
    let cameras = start(config()).await;
    let mut silent = cameras.get("/cam0?bad=stall&after=3").await;
    silent.head().await;
    for sequence in 0..3 {
        assert_eq!(stamp(&silent.picture().await).sequence, sequence);
    }
    while cameras.stat("generated").await < 20 {}
    assert!(silent.is_silent());
    let mut client = cameras.get("/cam0?bad=stall&for=50ms").await;
    client.head().await;
    client.picture().await;
    assert_eq!(cameras.stat("skipped").await, 0, "the clients were not slow");
}

#[tokio::test]
async fn a_stalled_camera_makes_no_frames() {
    let plan = Plan { fault: Fault::Stall, after: 3, lasts: Some(Duration::from_millis(100)) };
    let cameras = start(Config { fault: Some(plan), ..config() }).await;
    let mut client = cameras.get("/cam0").await;
    client.head().await;
    for sequence in 0..6 {
        assert_eq!(stamp(&client.picture().await).sequence, sequence);
    }
}

#[tokio::test]
async fn a_frozen_picture_stands_while_its_comment_goes_on() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0?bad=freeze&after=2").await;
    client.head().await;
    let (first, second) = (client.picture().await, client.picture().await);
    assert_ne!(seen(&first), seen(&second));
    for _ in 0..3 {
        let frozen = client.picture().await;
        assert_eq!(seen(&frozen), seen(&second));
        assert!(stamp(&frozen).sequence > stamp(&second).sequence);
    }
    let mut client = cameras.get("/cam0?bad=freeze&for=1ms").await;
    client.head().await;
    let frozen = client.picture().await;
    while seen(&client.picture().await) == seen(&frozen) {}
}

#[tokio::test]
async fn garbage_stands_between_whole_parts() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0?bad=garbage").await;
    client.head().await;
    client.until(|bytes| count(bytes, DELIMITER) == 4).await;
    let starts: Vec<usize> = (0..client.bytes.len()).filter(|at| client.bytes[*at..].starts_with(DELIMITER)).collect();
    let mut end = 0;
    for start in &starts[..3] {
        assert!(*start > end, "nothing lies before a part");
        let content = start
            + DELIMITER.len()
            + find(&client.bytes[*start + DELIMITER.len()..], b"\r\n\r\n").expect("a header")
            + 4;
        end = content + length_of(&String::from_utf8_lossy(&client.bytes[*start..content]));
        assert!(is_whole(&client.bytes[content..end]));
    }
}

#[tokio::test]
async fn truncated_pictures_are_half_with_a_true_or_false_length() {
    let cameras = start(config()).await;
    let mut honest = cameras.get("/cam0?bad=truncated").await;
    honest.head().await;
    let (_, half) = honest.part().await;
    assert!(half.starts_with(&[0xFF, 0xD8]) && !half.ends_with(&[0xFF, 0xD9]));
    honest.part().await;
    let mut liar = cameras.get("/cam0?bad=truncated-claim").await;
    liar.head().await;
    liar.until(|bytes| count(bytes, DELIMITER) == 2).await;
    let content = find(&liar.bytes, b"\r\n\r\n").expect("a header") + 4;
    let claimed = length_of(&String::from_utf8_lossy(&liar.bytes[..content]));
    let sent = find(&liar.bytes[content..], DELIMITER).expect("the next") - 2;
    assert_eq!(sent, claimed / 2);
}

#[tokio::test]
async fn a_connection_is_cut_in_the_middle_of_a_picture() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0?bad=disconnect&after=1").await;
    client.head().await;
    client.picture().await;
    client.to_end().await;
    let content = find(&client.bytes, b"\r\n\r\n").expect("a header") + 4;
    let claimed = length_of(&String::from_utf8_lossy(&client.bytes[..content]));
    assert_eq!(client.bytes.len() - content, claimed / 2);
}

#[tokio::test]
async fn parts_that_are_empty_or_text_stand_before_pictures() {
    let cameras = start(config()).await;
    let mut empty = cameras.get("/cam0?bad=empty-parts").await;
    empty.head().await;
    for _ in 0..2 {
        assert_eq!(empty.part().await.1, b"");
        empty.picture().await;
    }
    let mut text = cameras.get("/cam0?bad=not-image").await;
    text.head().await;
    for _ in 0..2 {
        assert!(text.part().await.0.contains("Content-Type: text/plain\r\n"));
        text.picture().await;
    }
}

#[tokio::test]
async fn a_huge_part_is_as_long_as_it_claims_and_the_stream_goes_on() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0?bad=huge-part&for=1ms").await;
    client.head().await;
    client.until(|bytes| find(bytes, b"\r\n\r\n").is_some()).await;
    let content = find(&client.bytes, b"\r\n\r\n").expect("a header") + 4;
    assert_eq!(length_of(&String::from_utf8_lossy(&client.bytes[..content])), super::stream::HUGE);
    client.until(|bytes| bytes.len() > content + 2).await;
    assert_eq!(client.bytes[content..content + 2], [0xFF, 0xD8]);
    let mut left = super::stream::HUGE - (client.bytes.len() - content);
    let mut scrap = vec![0; 1 << 18];
    while left > 0 {
        let wanted = left.min(scrap.len());
        left -= client.socket.read(&mut scrap[..wanted]).await.expect("bytes");
    }
    client.bytes.clear();
    client.until(|bytes| bytes.len() >= 2).await;
    client.bytes.drain(..2);
    client.picture().await;
}

#[tokio::test]
async fn an_endless_header_never_has_its_empty_line() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0?bad=endless-header").await;
    client.head().await;
    client.until(|bytes| bytes.len() > 300_000).await;
    assert_eq!((count(&client.bytes, DELIMITER), find(&client.bytes, b"\r\n\r\n")), (1, None));
    let mut short = cameras.get("/cam0?bad=endless-header&for=1ms").await;
    short.to_end().await;
}

#[tokio::test]
async fn a_drip_comes_byte_by_byte_until_its_time_is_over() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0?bad=drip&pause=1h").await;
    client.head().await;
    client.until(|bytes| !bytes.is_empty()).await;
    while cameras.stat("generated").await < 20 {}
    assert!(client.is_silent());
    assert_eq!(client.bytes, b"-");
    let mut client = cameras.get("/cam0?bad=drip&pause=1ms&for=20ms").await;
    client.head().await;
    (client.picture().await, client.picture().await);
}

#[tokio::test]
async fn a_flood_has_new_frames_faster_than_the_camera() {
    let cameras = start(Config { fps: 0.01, ..config() }).await;
    let mut client = cameras.get("/cam0?bad=flood").await;
    client.head().await;
    for sequence in 0..100 {
        assert_eq!(stamp(&client.picture().await).sequence, sequence);
    }
}

#[tokio::test]
async fn a_picture_changes_its_size_and_changes_back() {
    let cameras = start(Config { size: (320, 240), frame_bytes: 9_000, ..config() }).await;
    let mut client = cameras.get("/cam0?bad=resize&after=2&for=50ms").await;
    client.head().await;
    let width = |jpeg: &[u8]| turbojpeg::read_header(jpeg).expect("a picture").width;
    assert_eq!((width(&client.picture().await), width(&client.picture().await)), (320, 320));
    assert_eq!(width(&client.picture().await), 160);
    while width(&client.picture().await) == 160 {}
}

#[tokio::test]
async fn whole_answers_go_wrong_as_asked() {
    let cameras = start(config()).await;
    for (fault, status, header, words) in [
        ("html", "200 OK", "Content-Type: text/html", "<title>Camera login</title>"),
        ("401", "401 Unauthorized", "WWW-Authenticate: Basic", "log in"),
        ("404", "404 Not Found", "Content-Type: text/plain", "no such camera"),
        ("500", "500 Internal Server Error", "Content-Type: text/plain", "sensor"),
        ("redirect-loop", "302 Found", "Location: /cam0?bad=redirect-loop\r\n", "here"),
    ] {
        let (head, body) = cameras.get(&format!("/cam0?bad={fault}")).await.response().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")) && head.contains(header), "{fault}: {head}");
        assert!(String::from_utf8_lossy(&body).contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_bad_camera_closes_its_streams_and_a_request_can_ask_for_a_good_one() {
    let plan = Plan { fault: Fault::NotFound, after: 2, lasts: None };
    let cameras = start(Config { fault: Some(plan), ..config() }).await;
    let mut client = cameras.get("/cam0").await;
    client.head().await;
    (client.picture().await, client.picture().await);
    client.to_end().await;
    assert!(client.bytes.is_empty());
    assert!(cameras.get("/cam0").await.head().await.starts_with("HTTP/1.1 404"));
    let mut good = cameras.get("/cam0?bad=none").await;
    good.head().await;
    good.picture().await;
}

#[tokio::test]
async fn snapshots_go_wrong_too() {
    let cameras = start(config()).await;
    let (_, half) = cameras.get("/cam0/snapshot.jpg?bad=truncated").await.response().await;
    assert!(!is_whole(&half));
    let mut cut = cameras.get("/cam0/snapshot.jpg?bad=disconnect").await;
    let claimed = length_of(&cut.head().await);
    cut.to_end().await;
    assert_eq!(cut.bytes.len(), claimed / 2);
    assert_eq!(cameras.get("/cam0/snapshot.jpg?bad=empty-parts").await.response().await.1, b"");
    let (head, _) = cameras.get("/cam0/snapshot.jpg?bad=not-image").await.response().await;
    assert!(head.contains("Content-Type: text/plain"), "{head}");
    let frozen = async || seen(&cameras.get("/cam0/snapshot.jpg?bad=freeze").await.response().await.1);
    assert_eq!(frozen().await, frozen().await);
    let (_, drip) = cameras.get("/cam0/snapshot.jpg?bad=drip&pause=0ms").await.response().await;
    assert!(is_whole(&drip));
}

#[tokio::test]
async fn a_login_is_asked_for_and_taken() {
    for scheme in [Scheme::Basic, Scheme::Digest, Scheme::DigestSha256] {
        let login = Some(Login::new("ann", "secret", scheme));
        let cameras = start(Config { login, ..config() }).await;
        let (head, _) = cameras.get("/cam0/snapshot.jpg").await.response().await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        let challenge = head.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: ")).expect("a challenge");
        let answer = match scheme {
            Scheme::Basic => "Basic YW5uOnNlY3JldA==".to_owned(),
            _ => {
                let mut prompt = digest_auth::parse(challenge).expect("a digest challenge");
                let context = digest_auth::AuthContext::new("ann", "secret", "/cam0/snapshot.jpg");
                prompt.respond(&context).expect("an answer").to_header_string()
            }
        };
        let mut client =
            Client { socket: TcpStream::connect(cameras.address).await.expect("a connection"), bytes: vec![] };
        let request = format!("GET /cam0/snapshot.jpg HTTP/1.1\r\nAuthorization: {answer}\r\n\r\n");
        client.socket.write_all(request.as_bytes()).await.expect("a request");
        let (head, jpeg) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && is_whole(&jpeg), "{head}");
    }
}

#[tokio::test]
async fn after_the_last_frame_streams_are_held_or_ended() {
    let held = start(Config { frames: Some(3), ..config() }).await;
    let mut client = held.get("/cam0").await;
    client.head().await;
    let numbers =
        [client.picture().await, client.picture().await, client.picture().await].map(|jpeg| stamp(&jpeg).sequence);
    assert_eq!((numbers, held.stat("generated").await, held.stat("clients").await), ([0, 1, 2], 3, 1));
    let (_, last) = held.get("/cam0/snapshot.jpg").await.response().await;
    assert_eq!(stamp(&last).sequence, 2);

    let ended = start(Config { frames: Some(3), end: true, names: vec!["lab".into()], ..config() }).await;
    let mut client = ended.get("/cam0").await;
    client.head().await;
    (client.picture().await, client.picture().await, client.picture().await);
    client.to_end().await;
    assert_eq!(client.bytes, b"--edgereel-frame--\r\n");
    ended.served.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_shutdown_closes_every_connection() {
    let cameras = start(config()).await;
    let (mut stream, mut stalled) = (cameras.get("/cam0").await, cameras.get("/cam0?bad=stall").await);
    (stream.head().await, stalled.head().await);
    stream.picture().await;
    cameras.shutdown.cancel();
    cameras.served.await.expect("no panic").expect("no error");
    (stream.to_end().await, stalled.to_end().await);
}

#[tokio::test]
async fn what_is_not_understood_is_answered_with_what_is() {
    let cameras = start(config()).await;
    let (head, body) = cameras.get("/cam2").await.response().await;
    assert!(head.starts_with("HTTP/1.1 404 ") && String::from_utf8_lossy(&body).contains("/cam0 to /cam1"), "{head}");
    let (head, body) = cameras.get("/cam0?bad=stal").await.response().await;
    assert!(head.starts_with("HTTP/1.1 400 ") && String::from_utf8_lossy(&body).contains("stall"), "{head}");
    assert_eq!(cameras.get("/healthz").await.response().await.1, b"ok\n");
    let mut post = Client { socket: TcpStream::connect(cameras.address).await.expect("a connection"), bytes: vec![] };
    post.socket.write_all(b"POST /cam0 HTTP/1.1\r\n\r\n").await.expect("a request");
    assert!(post.head().await.starts_with("HTTP/1.1 405 "));
    let mut noise = Client { socket: TcpStream::connect(cameras.address).await.expect("a connection"), bytes: vec![] };
    noise.socket.write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await.expect("noise");
    assert!(noise.head().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_it_starts() {
    for bad in [
        Config { fps: 0.0, ..config() },
        Config { names: vec![], ..config() },
        Config { frames: Some(0), ..config() },
        Config { size: (65, 64), ..config() },
    ] {
        let error = start(bad).await.served.await.expect("no panic").expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    let format: Format = "plain".parse().expect("a format");
    assert_eq!(format, Format::default());
}
