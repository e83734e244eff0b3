//! Streams over a real connection: recorded ones, and ones that go wrong.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use edgereel_crds::status::Reason;
use tokio::time::timeout;

use super::{
    super::http::test_server::{Reply, TestServer, Then},
    *,
};
use crate::{
    frame::jpeg::{inspect, tests::picture},
    metrics::DropReason,
};

const MULTIPART: &str = "multipart/x-mixed-replace; boundary=frame";

async fn open(url: &str) -> Result<Box<dyn FrameStream>, SourceError> {
    let spec = MjpegSource { url: url.into(), credentials_secret_ref: None, tls: None };
    Mjpeg::new(&spec, ByteSize::mebi(1), "lab", &Secrets::default())?.connect().await
}

/// All parts up to the error that ends the stream.
async fn drain(url: &str) -> (Vec<Part>, SourceError) {
    let mut stream = open(url).await.expect("a stream");
    let mut parts = Vec::new();
    loop {
        match stream.next().await {
            Ok(part) => parts.push(part),
            Err(error) => return (parts, error),
        }
    }
}

fn part(jpeg: &[u8]) -> Vec<u8> {
    let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
    [head.as_bytes(), jpeg, b"\r\n"].concat()
}

#[tokio::test]
async fn every_server_that_was_recorded_gives_all_its_pictures_whole() {
    for (name, pictures, width) in [
        ("ffmpeg-mpjpeg-listen", 1, 1280),
        ("ffmpeg-mpjpeg-content_type", 5, 640),
        ("gst-multipart-tcp", 3, 640),
        ("vlc-copy", 4, 640),
        ("ustreamer-blank", 5, 640),
        ("ustreamer-extra", 5, 640),
        ("py-mjpeg-streamer", 5, 640),
        ("node-mjpeg-server", 5, 640),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wire/{name}.http"));
        let wire = std::fs::read(&path).expect("a fixture");
        // Whole, and in pieces of a size that divides nothing.
        for piece in [wire.len(), 997] {
            let wire = wire.clone();
            let server = TestServer::start(move |_| {
                let pieces: Vec<Vec<u8>> = wire.chunks(piece).map(<[u8]>::to_vec).collect();
                Reply::raw(pieces, Then::Close)
            })
            .await;
            let (parts, error) = drain(&server.url("/")).await;
            assert_eq!(parts.len(), pictures, "{name}: {error}");
            for part in parts {
                let Part::Picture(jpeg) = part else { panic!("{name}: {part:?}") };
                let info = inspect(&jpeg).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!((info.width, info.length as usize), (width, jpeg.len()), "{name}");
                turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::GRAY).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            assert_eq!(error.reason, Reason::CameraUnreachable, "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_says_so_and_half_a_picture_is_never_passed_on() {
    let jpeg = picture(64, 64, 1);
    for cut in [false, true] {
        let last = part(&jpeg);
        let last = if cut { last[..last.len() - 300].to_vec() } else { last };
        let pieces = vec![part(&jpeg), last];
        let server = {
            let pieces = Mutex::new(Some(pieces));
            TestServer::start(move |_| {
                let pieces = pieces.lock().expect("no panic").take().expect("one request");
                Reply::stream(MULTIPART, pieces, Then::Close)
            })
            .await
        };
        let (parts, error) = drain(&server.url("/")).await;
        assert_eq!(parts.len(), if cut { 1 } else { 2 });
        assert!(parts.iter().all(|p| *p == Part::Picture(jpeg.clone().into())));
        assert_eq!(error.reason, Reason::CameraUnreachable);
        assert!(error.message.contains("the camera closed the stream"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_cut_within_a_chunk_broke_off() {
    let jpeg = picture(64, 64, 1);
    let server = TestServer::start(move |_| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART}\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n");
        Reply::raw([head.into_bytes(), part(&jpeg)], Then::Close)
    })
    .await;
    let (parts, error) = drain(&server.url("/")).await;
    assert_eq!(parts.len(), 1);
    assert_eq!(error.reason, Reason::CameraUnreachable);
    assert!(error.message.contains("the connection broke off"), "{error}");
}

#[tokio::test]
async fn a_slow_drip_gives_nothing_until_a_picture_is_whole() {
    let jpeg = picture(32, 32, 1);
    let wire = part(&jpeg);
    let end = wire.len() - 2;
    let sent = Arc::new(tokio::sync::Semaphore::new(0));
    let dripped = sent.clone();
    let server = TestServer::start(move |_| {
        let (wire, sent) = (wire.clone(), sent.clone());
        let drip = (0..end - 1).map(move |i| {
            if i == end - 2 {
                sent.add_permits(1);
            }
            vec![wire[i]]
        });
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {MULTIPART}\r\n\r\n").into_bytes();
        Reply::raw([head].into_iter().chain(drip), Then::Hang)
    })
    .await;
    let mut stream = open(&server.url("/")).await.expect("a stream");
    let mut next = stream.next();
    // All but the last byte is on its way, and still there is no picture.
    tokio::select! {
        part = &mut next => panic!("{part:?} is not whole"),
        _ = dripped.acquire() => {}
    }
    assert!(timeout(Duration::from_millis(50), next).await.is_err());
}

#[tokio::test]
async fn what_is_between_the_pictures_is_counted_and_passed_over() {
    let jpeg = picture(64, 64, 1);
    let pieces = move || {
        let text = b"--frame\r\nContent-Type: text/plain\r\n\r\nbattery low\r\n".to_vec();
        let empty = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 0\r\n\r\n\r\n".to_vec();
        let large =
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 200000000\r\n\r\n\xFF\xD8\xFF\xE0".to_vec();
        let [first, last] = [part(&jpeg), part(&jpeg)];
        let pieces = [first, vec![0x55; 999], text, empty, large].into_iter();
        pieces.chain((0..200).map(|_| vec![0x55; 1_000_000])).chain([b"\r\n".to_vec(), last])
    };
    let server = TestServer::start(move |_| {
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {MULTIPART}\r\n\r\n").into_bytes();
        Reply::raw([head].into_iter().chain(pieces()), Then::Close)
    })
    .await;
    let (parts, _) = drain(&server.url("/")).await;
    let skipped: Vec<_> =
        parts.iter().map(|p| if let Part::Skipped(reason) = p { Some(*reason) } else { None }).collect();
    let expected = [None, Some(DropReason::not_jpeg), Some(DropReason::empty), Some(DropReason::too_large), None];
    assert_eq!(skipped, expected);
}

#[tokio::test]
async fn what_is_no_stream_says_what_it_is() {
    let server = TestServer::start(move |request| match request.split(' ').nth(1).unwrap_or_default() {
        "/single" => Reply::whole("200 OK", "Content-Type: image/jpeg\r\n", &picture(32, 32, 1)),
        "/junk" => Reply::stream("application/octet-stream", vec![vec![0x55; 100_000]], Then::Hang),
        "/header" => Reply::stream(MULTIPART, vec![b"--frame\r\nX: ".to_vec(), vec![b'y'; 100_000]], Then::Hang),
        "/bare" => Reply::raw([b"220 mail.example.org ESMTP\r\n".repeat(5_000)], Then::Hang),
        path => panic!("{path}"),
    })
    .await;
    for (path, words) in [
        ("/single", "use the source `snapshot`"),
        ("/junk", "no picture and no boundary in the first 64 KiB; it begins with `UUUU"),
        ("/header", "a part's header is longer than 16 KiB"),
        ("/bare", "it begins with `220 mail.example.org ESMTP`"),
    ] {
        let (_, error) = drain(&server.url(path)).await;
        assert_eq!(error.reason, Reason::CameraProtocolError, "{error}");
        assert!(error.message.contains(words), "`{error}` lacks `{words}`");
    }
}

#[tokio::test]
async fn a_stream_that_ends_between_two_pictures_ends_in_order_and_no_other_does() {
    let jpeg = picture(64, 64, 1);
    let whole = part(&jpeg);
    let server = TestServer::start(move |request| {
        let pieces = match request.split(' ').nth(1).unwrap_or_default() {
            "/one" => vec![whole.clone()],
            "/last" => vec![whole.clone(), b"--frame--\r\n".to_vec()],
            "/next" => vec![whole.clone(), b"--frame\r\n".to_vec()],
            "/head" => vec![whole.clone(), b"--frame\r\nContent-Type: image/jpeg\r\n".to_vec()],
            "/half" => vec![whole.clone(), whole[..whole.len() / 2].to_vec()],
            path => panic!("{path}"),
        };
        Reply::stream(MULTIPART, pieces, Then::Close)
    })
    .await;
    for (path, again) in [
        ("/one", Again::AtOnce),
        ("/last", Again::AtOnce),
        ("/next", Again::AtOnce),
        ("/head", Again::Later),
        ("/half", Again::Later),
    ] {
        let (parts, error) = drain(&server.url(path)).await;
        assert_eq!((parts.len(), error.again), (1, again), "{path}");
    }
}
