//! Streams over a real connection: recorded ones, and ones that go wrong.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use edgereel_crds::status::Reason;
use edgereel_frame::{
    jpeg::{Defect, inspect},
    reasons::DropReason,
    samples::picture,
};
use tokio::time::timeout;

use super::{
    super::http::test_server::{Reply, TestServer, Then},
    *,
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
            let (mut parts, error) = drain(&server.url("/")).await;
            // What was recorded may end within a picture.
            parts.pop_if(|part| matches!(part, Part::Picture(jpeg) if inspect(jpeg) == Err(Defect::Truncated)));
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
async fn a_stream_that_ends_says_so_and_half_a_picture_is_never_taken_for_a_whole_one() {
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
        let whole = parts.iter().filter(|p| **p == Part::Picture(jpeg.clone().into())).count();
        assert_eq!((whole, parts.len()), (if cut { 1 } else { 2 }, 2));
        let half = parts.iter().filter_map(|p| if let Part::Picture(jpeg) = p { inspect(jpeg).err() } else { None });
        assert_eq!(half.collect::<Vec<_>>(), if cut { vec![Defect::Truncated] } else { vec![] });
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
    let [Part::Picture(_), Part::Beside, Part::Skipped(DropReason::empty), Part::TooLarge(bytes), Part::Picture(_)] =
        parts[..]
    else {
        panic!("{parts:?}");
    };
    assert_eq!(bytes, 200_000_004);
}

#[tokio::test]
async fn what_is_no_stream_says_what_it_is() {
    let server = TestServer::start(move |request| match request.split(' ').nth(1).unwrap_or_default() {
        "/single" => Reply::whole("200 OK", "Content-Type: image/jpeg\r\n", &picture(32, 32, 1)),
        "/junk" => Reply::stream("application/octet-stream", vec![vec![0x55; 100_000]], Then::Hang),
        "/header" => Reply::stream(MULTIPART, vec![b"--frame\r\nX: ".to_vec(), vec![b'y'; 100_000]], Then::Hang),
        "/bare" => Reply::raw([b"220 mail.example.org ESMTP\r\n".repeat(5_000)], Then::Hang),
        "/page" => {
            let page = b"<html><head><TITLE>\n Camera  Login\n</TITLE></head></html>";
            Reply::whole("200 OK", "Content-Type: text/html; charset=utf-8\r\n", page)
        }
        "/json" => Reply::whole("200 OK", "Content-Type: application/json\r\n", b"{\"error\": 7}"),
        "/slow-page" => Reply::stream("text/plain", vec![b"so ".repeat(5000)], Then::Hang),
        "/long-page" => Reply::stream("text/plain", vec![b"so so so ".repeat(50_000)], Then::Hang),
        "/binary" => Reply::stream("text/plain", vec![vec![0xFF; 100_000]], Then::Hang),
        "/nothing" => Reply::whole("200 OK", &format!("Content-Type: {MULTIPART}\r\n"), b""),
        path => panic!("{path}"),
    })
    .await;
    for (path, words) in [
        ("/page", "answers with text/html (\"Camera Login\") instead of pictures"),
        ("/json", "answers with application/json"),
        ("/slow-page", "text/plain (\"so so so"),
        ("/long-page", "text/plain (\"so so so"),
        ("/binary", "text/plain (4096 bytes that are no text)"),
        ("/nothing", "Content-Length: 0"),
        ("/single", "use the source `snapshot`"),
        ("/junk", "no picture and no boundary in the first 64 KiB; it begins with `UUUU"),
        ("/header", "a part's header is longer than 16 KiB"),
        ("/bare", "it begins with `220 mail.example.org ESMTP`"),
    ] {
        let (_, error) = drain(&server.url(path)).await;
        assert_eq!(error.reason, Reason::CameraProtocolError, "{path}: {error}");
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
        assert_eq!((&parts[0], error.again), (&Part::Picture(jpeg.clone().into()), again), "{path}");
        // What was begun is given as far as it came; it is the camera's to drop.
        assert_eq!(parts.len(), if path == "/half" { 2 } else { 1 }, "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_pictures_is_one_whatever_its_type_says() {
    let jpeg = picture(32, 32, 1);
    for content_type in ["text/plain", "text/html", "application/json", "image/png", "video/x-motion-jpeg", ""] {
        let pieces = vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), part(&jpeg), part(&jpeg)];
        let server = {
            let content_type = content_type.to_owned();
            TestServer::start(move |_| Reply::stream(&content_type, pieces.clone(), Then::Close)).await
        };
        let (parts, _) = drain(&server.url("/")).await;
        assert_eq!(parts, vec![Part::Picture(jpeg.clone().into()); 2], "{content_type}");
    }
}

#[tokio::test]
async fn heads_and_lengths_as_no_server_should_write_them_work_or_are_named() {
    let jpeg = picture(32, 32, 1);
    let wire = part(&jpeg).repeat(2);
    let many: String = (0..150).map(|n| format!("X-{n}: y\r\n")).collect();
    let chunked = |end: &str| {
        let chunk = [format!("{:x}{end}", wire.len()).as_bytes(), &wire, end.as_bytes()].concat();
        (format!("Transfer-Encoding: chunked\r\nX: {}\r\n", end.len()), chunk)
    };
    let plain = |headers: &str| (headers.to_owned(), wire.clone());
    for ((headers, body), words) in [
        (plain(&many), None),
        (plain("Content-Encoding: none\r\n"), None),
        (plain("Content-Encoding: utf-8\r\n"), None),
        (plain("Content-Encoding: gzip\r\n"), Some("the encoding `gzip`")),
        (plain("Content-Length: -1\r\n"), Some("Content-Length that is no number")),
        (plain("Content-Length: 7\r\nContent-Length: 9\r\n"), Some("or two that differ")),
        (chunked("\r\n"), None),
        (chunked("\n"), Some("chunks are not as HTTP/1.1 has them")),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART}\r\n{headers}\r\n");
        let wire = [head.as_bytes(), &body].concat();
        let server = TestServer::start(move |_| Reply::raw([wire.clone()], Then::Close)).await;
        let result = match open(&server.url("/")).await {
            Ok(mut stream) => stream.next().await,
            Err(error) => Err(error),
        };
        match (result, words) {
            (Ok(found), None) => assert_eq!(found, Part::Picture(jpeg.clone().into()), "{headers}"),
            (Err(error), Some(words)) => {
                assert_eq!(error.reason, Reason::CameraProtocolError, "{error}");
                assert!(error.message.contains(words), "`{error}` lacks `{words}`");
            }
            (result, _) => panic!("{headers}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_to_itself_that_sets_a_cookie_is_followed_with_it() {
    let jpeg = picture(32, 32, 1);
    let server = TestServer::start(move |request| match request.contains("cookie: session=7\r\n") {
        true => Reply::stream(MULTIPART, vec![part(&jpeg)], Then::Close),
        false => Reply::whole("302 Found", "Location: /\r\nSet-Cookie: session=7; Path=/\r\n", b""),
    })
    .await;
    assert_eq!(drain(&server.url("/")).await.0.len(), 1);
}

#[tokio::test]
async fn the_extensions_of_an_endless_answers_chunks_never_add_up() {
    let jpeg = picture(32, 32, 1);
    let chunk = {
        let part = part(&jpeg);
        [format!("{:x};note={}\r\n", part.len(), "n".repeat(400)).as_bytes(), &part, b"\r\n"].concat()
    };
    let server = TestServer::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunks = std::iter::repeat_n(chunk.clone(), 200);
        Reply::raw([head.into_bytes()].into_iter().chain(chunks).chain([b"0\r\n\r\n".to_vec()]), Then::Close)
    })
    .await;
    let (parts, error) = drain(&server.url("/")).await;
    assert_eq!(parts.len(), 200, "{error}");
    assert!(parts.iter().all(|part| *part == Part::Picture(jpeg.clone().into())));
    assert!(error.message.contains("the camera closed the stream"), "{error}");
}
