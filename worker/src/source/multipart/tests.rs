//! Streams as real and broken cameras send them.

use proptest::prelude::*;

use super::*;
use crate::frame::jpeg::tests::{encode, picture, with_comment};

const MAX: usize = 20_000;
const DECLARED: &str = "multipart/x-mixed-replace; boundary=frame";

impl MultipartParser {
    /// Bytes that are held, apart from what was pushed.
    fn held(&self) -> usize {
        let body = match &self.state {
            State::Sized { body, .. } | State::Doubt { body } | State::Scan { body, .. } => body.capacity(),
            _ => 0,
        };
        body + self.text.capacity() + self.input.iter().map(Bytes::len).sum::<usize>()
    }
}

/// All parts of a stream that comes in these pieces.
fn parts<'a>(content_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Part, ParseError>> {
    let mut parser = MultipartParser::new(content_type, MAX);
    let mut parts = Vec::new();
    for piece in pieces {
        parser.push(Bytes::copy_from_slice(piece));
        while let Some(part) = parser.next() {
            parts.push(part);
        }
        let held = parser.held();
        assert!(held <= 3 * MAX + (64 << 10), "{held} bytes are held");
    }
    parts
}

fn pictures(content_type: &str, stream: &[u8]) -> Vec<Bytes> {
    let parts = parts(content_type, [stream]);
    parts.into_iter().filter_map(|p| if let Ok(Part::Picture(jpeg)) = p { Some(jpeg) } else { None }).collect()
}

fn skipped(content_type: &str, stream: &[u8]) -> Vec<DropReason> {
    let parts = parts(content_type, [stream]);
    parts.into_iter().filter_map(|p| if let Ok(Part::Skipped(reason)) = p { Some(reason) } else { None }).collect()
}

/// Three pictures, unlike in length, the second with a thumbnail-like EOI and a boundary in its metadata.
fn three() -> [Vec<u8>; 3] {
    let second = with_comment(&picture(48, 32, 2), "ÿÙ --frame and \r\n--frame-like\r\n");
    let thumbnail = picture(16, 16, 9);
    let length = (thumbnail.len() as u16 + 2).to_be_bytes();
    let third = encode(40, 40, 3, |e| e.set_progressive(true));
    let third = [&third[..2], &[0xFF, 0xE1], &length, &thumbnail, &third[2..]].concat();
    [picture(32, 32, 1), second, third]
}

/// Puts each of three pictures between what `before` says, given its length, and `after`.
fn stream(before: impl Fn(usize) -> String, after: &str) -> Vec<u8> {
    three().iter().flat_map(|jpeg| [before(jpeg.len()).as_bytes(), jpeg, after.as_bytes()].concat()).collect()
}

#[test]
fn every_way_to_part_pictures_gives_each_whole() {
    let sized = |n: usize| format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n");
    let open = "--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let octets = "application/octet-stream";
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("with lengths", DECLARED, stream(sized, "\r\n")),
        ("no length", DECLARED, stream(|_| open.into(), "\r\n")),
        ("no length and no line break before the boundary", DECLARED, stream(|_| open.into(), "")),
        ("lengths and no line break before the boundary", DECLARED, stream(sized, "")),
        ("no first boundary", DECLARED, stream(sized, "\r\n").split_off(9)),
        ("no first boundary, no length", DECLARED, stream(|_| open.into(), "\r\n").split_off(9)),
        ("no first boundary, undeclared", octets, stream(sized, "\r\n").split_off(9)),
        ("declared with its dashes", "multipart/x-mixed-replace;boundary=--frame", stream(sized, "\r\n")),
        ("declared in quotes", "multipart/x-mixed-replace; boundary=\"frame\"", stream(|_| open.into(), "\r\n")),
        ("undeclared", octets, stream(sized, "\r\n")),
        ("undeclared, no length", octets, stream(|_| open.into(), "\r\n")),
        ("no content type", "", stream(|_| open.into(), "\r\n")),
        ("another one declared", "multipart/x-mixed-replace;boundary=other", stream(sized, "\r\n")),
        ("doubled boundary", DECLARED, stream(|n| format!("--frame\r\n{}", sized(n)), "\r\n")),
        ("four dashes", DECLARED, stream(|n| format!("--{}", sized(n)), "\r\n")),
        ("no dashes", DECLARED, stream(|n| sized(n)[2..].into(), "\r\n")),
        ("closed between parts", DECLARED, stream(sized, "\r\n--frame--\r\n")),
        ("closed between parts, with an empty line", DECLARED, stream(|_| open.into(), "\r\n--frame--\r\n\r\n")),
        ("only closing boundaries", DECLARED, stream(|n| sized(n).replacen("frame", "frame--", 1), "\r\n")),
        ("empty lines before the boundary", DECLARED, stream(sized, "\r\n\r\n\r\n")),
        ("line feeds alone", DECLARED, stream(|n| sized(n).replace('\r', ""), "\n")),
        ("line feeds alone, no length", DECLARED, stream(|_| open.replace('\r', ""), "\n")),
        ("headers in any case", DECLARED, stream(|n| sized(n).to_uppercase().replace("FRAME", "frame"), "\r\n")),
        ("no headers", DECLARED, stream(|_| "--frame\r\n\r\n".into(), "\r\n")),
        ("an empty line before the picture", DECLARED, stream(|n| format!("{}\r\n", sized(n)), "\r\n")),
        ("no empty line before the picture", DECLARED, stream(|n| sized(n).replace("\r\n\r\n", "\r\n"), "\r\n")),
        (
            "long headers",
            DECLARED,
            stream(|n| sized(n).replace("\r\n\r\n", &format!("\r\nX: {n:9000}\r\n\r\n")), "\r\n"),
        ),
        ("always a wrong length, too short", DECLARED, stream(|n| sized(n / 2), "\r\n")),
        ("always a wrong length, too long", DECLARED, stream(|n| sized(n + 300), "\r\n")),
        ("always length 0", DECLARED, stream(|_| sized(0), "\r\n")),
        ("always a length beyond all limits", DECLARED, stream(|_| sized(usize::MAX), "\r\n")),
        (
            "a length that is no number",
            DECLARED,
            stream(|_| open.replace("\r\n\r\n", "\r\nContent-Length: x\r\n\r\n"), ""),
        ),
        ("no multipart at all", "image/jpeg", stream(|_| String::new(), "")),
        ("no multipart at all, with line breaks", "", stream(|_| String::new(), "\r\n")),
        ("no multipart although declared", DECLARED, stream(|_| String::new(), "")),
    ];
    for (name, content_type, stream) in cases {
        let closed = [&stream[..], b"--frame\r\n\r\n"].concat();
        assert_eq!(pictures(content_type, &closed), three(), "{name}");
        assert_eq!(skipped(content_type, &closed), [], "{name}");
    }
}

#[test]
fn a_picture_is_passed_on_with_its_last_byte() {
    for header in ["Content-Length: ", "X: "] {
        let jpeg = picture(32, 32, 1);
        let stream = [format!("--frame\r\n{header}{}\r\n\r\n", jpeg.len()).as_bytes(), &jpeg].concat();
        assert_eq!(pictures(DECLARED, &stream), [&jpeg[..]]);
        assert!(parts(DECLARED, [&stream[..stream.len() - 1]]).is_empty());
    }
}

#[test]
fn a_picture_of_known_length_has_an_allocation_of_its_own_size() {
    let jpeg = picture(32, 32, 1);
    let stream = [format!("--frame\r\nContent-Length: {}\r\n\r\n", jpeg.len()).as_bytes(), &jpeg].concat();
    let picture = pictures(DECLARED, &stream).remove(0);
    assert_eq!(Vec::from(picture).capacity(), jpeg.len());
}

#[test]
fn the_wrong_length_of_vlcs_first_part_costs_nothing() {
    let [one, two, three] = three();
    for wrong in [one.len() - 174, one.len() + 174, one.len() + two.len(), one.len() + two.len() + 900] {
        let mut stream = b"\r\n".to_vec();
        for (jpeg, length) in [(&one, wrong), (&two, two.len()), (&three, three.len())] {
            stream.extend(format!("--7b3cc\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n").bytes());
            stream.extend([jpeg, &b"\r\n"[..]].concat());
        }
        assert_eq!(pictures("application/octet-stream", &stream), [&one[..], &two, &three], "length {wrong}");
    }
}

#[test]
fn pictures_without_end_are_cut_at_the_delimiter() {
    let jpeg = picture(32, 32, 1);
    let cut = &jpeg[..jpeg.len() - 2];
    for header in [format!("Content-Length: {}", cut.len()), "X: y".into()] {
        let part = [format!("--frame\r\n{header}\r\n\r\n").as_bytes(), cut, b"\r\n"].concat();
        assert_eq!(pictures(DECLARED, &[&part[..], &part, b"--frame\r\n"].concat()), [cut, cut], "{header}");
    }
    // Without any delimiter, the next picture's beginning shows it.
    assert_eq!(pictures("", &[cut, &jpeg, cut].concat()), [cut, &jpeg[..]]);
}

#[test]
fn what_is_no_picture_is_skipped_with_its_reason() {
    let jpeg = picture(32, 32, 1);
    let part =
        |headers: &str, body: &[u8]| [format!("--frame\r\n{headers}\r\n\r\n").as_bytes(), body, b"\r\n"].concat();
    let large = [&jpeg[..300], &vec![0x55; MAX]].concat();
    let cases: [(&[u8], DropReason); 8] = [
        (&part("Content-Type: text/plain", b"battery low"), DropReason::not_jpeg),
        (&part("Content-Type: text/html\r\nContent-Length: 13", b"<html></html>"), DropReason::not_jpeg),
        (&part("Content-Type: application/json", b"{\"motion\": true}"), DropReason::not_jpeg),
        (&part("Content-Type: image/jpeg\r\nContent-Length: 0", b""), DropReason::empty),
        (&part("Content-Type: image/jpeg", b""), DropReason::empty),
        (&part(&format!("Content-Length: {}", large.len()), &large), DropReason::too_large),
        (&part("Content-Type: image/jpeg", &large), DropReason::too_large),
        (&part("Content-Length: 200000000", &vec![0; MAX]), DropReason::too_large),
    ];
    for (bad, reason) in cases {
        let stream = [&part("X: y", &jpeg)[..], bad, &part("X: y", &jpeg)].concat();
        assert_eq!(skipped(DECLARED, &stream), [reason]);
        assert_eq!(pictures(DECLARED, &stream), [&jpeg[..], &jpeg]);
    }
}

#[test]
fn a_part_of_200_megabytes_is_not_kept() {
    let jpeg = picture(32, 32, 1);
    for (headers, start) in [("Content-Length: 200000000", &jpeg[..300]), ("X: y", &jpeg[..300]), ("X: y", &b"zz"[..])]
    {
        let head = [format!("--frame\r\n{headers}\r\n\r\n").as_bytes(), start].concat();
        let junk = vec![0x55; 1 << 20];
        let tail = [b"\r\n--frame\r\n\r\n", &jpeg[..]].concat();
        let pieces = [&head[..]].into_iter().chain((0..200).map(|_| &junk[..])).chain([&tail[..]]);
        let mut parser = MultipartParser::new(DECLARED, MAX);
        let mut found = Vec::new();
        for piece in pieces {
            parser.push(Bytes::copy_from_slice(piece));
            found.extend(std::iter::from_fn(|| parser.next()).map(|p| p.expect("no error")));
            assert!(parser.held() <= 3 * MAX + (64 << 10));
        }
        let reason = if start == b"zz" { DropReason::not_jpeg } else { DropReason::too_large };
        assert_eq!(found, [Part::Skipped(reason), Part::Picture(jpeg.clone().into())]);
    }
}

#[test]
fn an_endless_header_ends_the_stream() {
    let line = [b"X-Y: ".as_slice(), &[b'z'; 500], b"\r\n"].concat();
    for stream in [line.repeat(100), vec![b'z'; 100_000]] {
        let stream = [b"--frame\r\n", &stream[..]].concat();
        assert_eq!(parts(DECLARED, stream.chunks(700)), [Err(ParseError::EndlessHeader)]);
    }
}

#[test]
fn a_stream_without_anything_like_a_part_says_what_it_begins_with() {
    for line in ["<html><title>Login</title>\r\n", "\u{1}\u{0}", "-"] {
        let stream = line.repeat(200_000);
        let [Err(ParseError::NoParts { begins })] = &parts(DECLARED, [stream.as_bytes()])[..] else {
            panic!("{line} was taken for something");
        };
        assert!(line != "<html>" || begins.contains("Login"), "{begins}");
    }
}

/// Bytes without what looks like a JPEG or a delimiter.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(&b"-\r\n fram:C\xFF\xD8\xD9"[..]), 0..60),
    ]
}

fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|i| i.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_changes_nothing(
        sized in prop::collection::vec(prop::option::of(-40isize..200), 3), before in garbage(), between in garbage(),
        declared in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30)
    ) {
        let mut stream = before;
        for (jpeg, sized) in three().iter().zip(sized) {
            stream.extend(b"--frame\r\nContent-Type: image/jpeg\r\n");
            if let Some(wrong) = sized {
                let length = jpeg.len() as isize + wrong.clamp(-40, 40);
                stream.extend(format!("Content-Length: {length}\r\n").bytes());
            }
            stream.extend([b"\r\n", &jpeg[..], &between, b"\r\n"].concat());
        }
        let content_type = if declared { DECLARED } else { "" };
        let whole = parts(content_type, [&stream[..]]);
        prop_assert_eq!(parts(content_type, cut(&stream, &cuts)), &whole[..]);
        prop_assert_eq!(parts(content_type, stream.chunks(1)), whole);
    }

    #[test]
    fn garbage_between_parts_costs_no_picture(
        junk in prop::collection::vec(garbage(), 4), sized in any::<bool>()
    ) {
        let mut stream = b"--frame\r\n\r\n".to_vec();
        for (jpeg, junk) in three().iter().zip(&junk) {
            stream.extend(junk);
            stream.extend(b"\r\n--frame\r\nContent-Type: image/jpeg\r\n");
            if sized {
                stream.extend(format!("Content-Length: {}\r\n", jpeg.len()).bytes());
            }
            stream.extend([b"\r\n", &jpeg[..]].concat());
        }
        stream.extend(&junk[3]);
        let found = pictures(DECLARED, &stream);
        for jpeg in three() {
            prop_assert!(found.contains(&Bytes::from(jpeg)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_kept(
        pieces in prop::collection::vec(prop_oneof![
            garbage(),
            Just(b"--frame\r\n".to_vec()),
            Just(b"Content-Length: 50\r\n\r\n".to_vec()),
            Just(b"Content-Length: 19999\r\n\r\n".to_vec()),
            Just(b"\r\n\r\n\xFF\xD8\xFF".to_vec()),
            Just(vec![0; 30_000]),
        ], 0..40),
        declared in any::<bool>()
    ) {
        // The bound on memory is asserted where the parts are collected.
        parts(if declared { DECLARED } else { "" }, pieces.iter().map(Vec::as_slice));
    }
}
