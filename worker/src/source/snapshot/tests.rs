//! Cameras that are asked for each picture.

use edgereel_crds::{status::Reason, units::Duration};
use edgereel_frame::samples::picture;

use super::{
    super::http::test_server::{Reply, TestServer, Then},
    *,
};

async fn open(url: &str) -> Result<Box<dyn FrameStream>, SourceError> {
    let spec =
        SnapshotSource { url: url.into(), interval: Duration::millis(10), credentials_secret_ref: None, tls: None };
    Snapshot::new(&spec, ByteSize(50_000), "lab", &Secrets::default())?.connect().await
}

#[tokio::test]
async fn pictures_come_over_one_connection_and_the_same_one_comes_again() {
    let jpeg = picture(64, 64, 1);
    let body = jpeg.clone();
    let server = TestServer::start(move |_| Reply::whole("200 OK", "Content-Type: image/jpeg\r\n", &body)).await;
    let mut stream = open(&server.url("/")).await.expect("a first picture");
    for _ in 0..5 {
        assert_eq!(stream.next().await.expect("a picture"), Part::Picture(jpeg.clone().into()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_picture_is_counted_with_why_and_the_next_request_goes_out() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let server = TestServer::start(move |request| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match request.split(' ').nth(1).unwrap_or_default() {
            "/empty" => Reply::whole("200 OK", "", b""),
            "/none" => Reply::whole("204 No Content", "", b""),
            "/png" => Reply::whole("200 OK", "Content-Type: image/png\r\n", b"\x89PNG\r\n\x1A\0"),
            "/xml" => Reply::whole("200 OK", "Content-Type: image/jpeg\r\n", b"<?xml?>\n<status>busy</status>"),
            "/page" => Reply::whole("200 OK", "Content-Type: text/html\r\n", b"[{\"error\": 1}]"),
            "/busy" => Reply::whole("503 Service Unavailable", "", b"busy"),
            "/missing" => Reply::whole("404 Not Found", "", b""),
            "/forbidden" => Reply::whole("403 Forbidden", "", b""),
            "/zeros" => Reply::whole("200 OK", "Content-Type: image/jpeg\r\n", &[0; 60_000]),
            "/cut" => Reply::raw([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec()], Then::Close),
            "/login" => Reply::whole("200 OK", "Content-Type: text/html\r\n", b"<title>Log in</title>"),
            "/stream" => Reply::stream("multipart/x-mixed-replace; boundary=frame", vec![], Then::Close),
            "/silent" => Reply::raw([], Then::Close),
            path => panic!("{path}"),
        }
    })
    .await;
    let asks = || asked.load(std::sync::atomic::Ordering::Relaxed);
    use Reason::{CameraProtocolError as Protocol, CameraUnauthorized as Forbidden, CameraUnreachable as Unreachable};
    for (path, why, reason, words) in [
        ("/empty", DropReason::empty, Protocol, "answers with nothing"),
        ("/none", DropReason::empty, Protocol, "answers with nothing"),
        ("/png", DropReason::not_jpeg, Protocol, "8 bytes that are no text"),
        ("/xml", DropReason::not_jpeg, Protocol, "<?xml?> <status>busy</status>"),
        ("/page", DropReason::not_jpeg, Protocol, "error"),
        ("/busy", DropReason::not_jpeg, Protocol, "answered 503"),
        ("/missing", DropReason::not_jpeg, Protocol, "answered 404 Not Found: check the path"),
        ("/forbidden", DropReason::not_jpeg, Forbidden, "answered 403"),
        ("/stream", DropReason::not_jpeg, Protocol, "use the source `mjpeg`"),
        ("/zeros", DropReason::not_jpeg, Protocol, "bytes that are no text"),
        ("/login", DropReason::not_jpeg, Protocol, "answers with text/html (\"Log in\") instead of pictures"),
        ("/cut", DropReason::no_answer, Unreachable, "the connection broke off"),
        ("/silent", DropReason::no_answer, Unreachable, "broke off before an answer"),
    ] {
        let before = asks();
        let mut stream = open(&server.url(path)).await.expect("a stream");
        for _ in 0..2 {
            let part = stream.next().await.expect("the stream goes on");
            let Part::Bad(found, fault) = part else { panic!("{path}: {part:?}") };
            assert_eq!((found, fault.reason), (why, reason), "{path}: {fault}");
            assert!(fault.message.contains(words), "`{fault}` lacks `{words}`");
        }
        assert_eq!(asks() - before, 2, "{path}: one request for each picture");
    }
}

#[tokio::test]
async fn a_stream_that_calls_itself_otherwise_is_told_by_its_pictures() {
    let part = |bytes: usize| {
        let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {bytes}\r\n\r\n");
        let mut jpeg = picture(64, 64, 1);
        let end = jpeg.split_off(jpeg.len() - 2);
        jpeg.resize(bytes - 2, 0x55);
        [head.as_bytes(), &jpeg, &end, b"\r\n"].concat()
    };
    // Small pictures, and so large ones that the limit comes first.
    for (bytes, count) in [(2_000, 12), (20_000, 4)] {
        for content_type in ["text/html", "image/jpeg", "application/octet-stream"] {
            let pieces = vec![part(bytes); count];
            let server = TestServer::start(move |_| Reply::stream(content_type, pieces.clone(), Then::Hang)).await;
            let answer = open(&server.url("/")).await.expect("a stream").next().await.expect("a part");
            let Part::Bad(DropReason::not_jpeg, fault) = answer else { panic!("{content_type}: {answer:?}") };
            assert!(fault.message.contains("use the source `mjpeg`"), "{content_type}: {fault}");
        }
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_not_tried_with_the_next_picture() {
    let challenge = "WWW-Authenticate: Basic realm=\"cam\"\r\n";
    let server = TestServer::start(move |_| Reply::whole("401 Unauthorized", challenge, b"")).await;
    let error = open(&format!("http://ann:wrong@{}/", server.address)).await.err().expect("an error");
    assert_eq!((error.reason, error.again), (Reason::CameraUnauthorized, Again::MuchLater));
}

#[tokio::test]
async fn a_camera_that_is_dialled_anew_is_not_given_a_login_before_it_asks() {
    let jpeg = picture(64, 64, 1);
    let (told, heard) = std::sync::mpsc::channel();
    let server = TestServer::start(move |request| {
        let login = request.contains("authorization: ");
        told.send(login).expect("the test hears it");
        match login {
            true => Reply::whole("200 OK", "Content-Type: image/jpeg\r\n", &jpeg),
            false => Reply::whole("401 Unauthorized", "WWW-Authenticate: Basic realm=\"cam\"\r\n", b"log in"),
        }
    })
    .await;
    let url = format!("http://ann:s3cret@{}/", server.address);
    let spec = SnapshotSource { url, interval: Duration::millis(10), credentials_secret_ref: None, tls: None };
    let mut camera = Snapshot::new(&spec, ByteSize(50_000), "lab", &Secrets::default()).expect("sound");
    for _ in 0..2 {
        camera.connect().await.expect("a first picture").next().await.expect("a picture");
    }
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [false, true, false, true]);
}

/// A picture, and its beginning followed by so many other bytes.
fn large(bytes: usize) -> Vec<u8> {
    let mut jpeg = picture(64, 64, 1)[..300].to_vec();
    jpeg.resize(bytes, 0x55);
    jpeg
}

#[tokio::test]
async fn a_picture_that_is_too_large_says_its_size_and_keeps_its_connection() {
    let server = TestServer::start(move |request| match request.split(' ').nth(1).unwrap_or_default() {
        "/large" => Reply::whole("200 OK", "", &large(60_000)),
        "/larger" => Reply::whole("200 OK", "", &large(1_200_000)),
        "/endless" => Reply::stream("image/jpeg", vec![large(60_000)], Then::Hang),
        path => panic!("{path}"),
    })
    .await;
    for (path, bytes) in [("/large", 60_000), ("/larger", 1_200_000), ("/endless", 60_000)] {
        let before = server.connections();
        let mut stream = open(&server.url(path)).await.expect("a stream");
        for _ in 0..2 {
            let part = stream.next().await.expect("a part");
            let Part::TooLarge(told) = part else { panic!("{path}: {part:?}") };
            // Of one that never ends, no more is known than what was read.
            assert!(told == bytes || path == "/endless" && (50_000..=bytes).contains(&told), "{path}: {told} bytes");
        }
        let connections = if path == "/endless" { 2 } else { 1 };
        assert_eq!(server.connections() - before, connections, "{path}");
    }
}

#[tokio::test]
async fn the_picture_decides_and_not_its_type_or_length_or_what_stands_before_it() {
    let jpeg = picture(64, 64, 1);
    let answer = |headers: &str, length: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let n = jpeg.len();
    let half = jpeg[..n / 2].to_vec();
    for (wire, given) in [
        (answer("Content-Type: text/html\r\n", n, &jpeg), &jpeg),
        (answer("Content-Type: text/plain\r\n", n, &jpeg), &jpeg),
        (answer("Content-Type: application/json\r\n", n, &jpeg), &jpeg),
        (answer("Content-Type: image/jpeg\r\n", n + 48, &jpeg), &jpeg),
        (answer("Content-Type: text/plain\r\n", n + 48, &jpeg), &jpeg),
        (answer("", n + 2, &[b"\0\0", &jpeg[..]].concat()), &jpeg),
        (answer("", n + 2, &[b"\r\n", &jpeg[..]].concat()), &jpeg),
        (answer("", n, &half), &half),
    ] {
        let server = TestServer::start(move |_| Reply::raw([wire.clone()], Then::Close)).await;
        let mut stream = open(&server.url("/")).await.expect("a stream");
        for _ in 0..3 {
            assert_eq!(stream.next().await.expect("a part"), Part::Picture(given.clone().into()));
        }
    }
}
