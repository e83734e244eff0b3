//! What goes wrong, and that it does so as asked.

use super::*;
use crate::synthetic::server::stream::HUGE;

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
    client.drain().await;
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
    assert_eq!(length_of(&String::from_utf8_lossy(&client.bytes[..content])), HUGE);
    client.until(|bytes| bytes.len() > content + 2).await;
    assert_eq!(client.bytes[content..content + 2], [0xFF, 0xD8]);
    let mut left = HUGE - (client.bytes.len() - content);
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
    short.drain().await;
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
    client.picture().await;
    client.picture().await;
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
    client.picture().await;
    client.picture().await;
    client.drain().await;
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
    cut.drain().await;
    assert_eq!(cut.bytes.len(), claimed / 2);
    assert_eq!(cameras.get("/cam0/snapshot.jpg?bad=empty-parts").await.response().await.1, b"");
    let (head, _) = cameras.get("/cam0/snapshot.jpg?bad=not-image").await.response().await;
    assert!(head.contains("Content-Type: text/plain"), "{head}");
    let frozen = async || seen(&cameras.get("/cam0/snapshot.jpg?bad=freeze").await.response().await.1);
    assert_eq!(frozen().await, frozen().await);
    let (_, drip) = cameras.get("/cam0/snapshot.jpg?bad=drip&pause=0ms").await.response().await;
    assert!(is_whole(&drip));
}
