//! Streams as real and broken cameras send them.

use edgereel_frame::samples::{encode, mpo, picture, with_comment};
use proptest::prelude::*;

use super::*;

const MAX: usize = 20_000;
const DECLARED: &str = "multipart/x-mixed-replace; boundary=frame";

impl MultipartParser {
    /// Bytes that are held, apart from what was pushed.
    fn held(&self) -> usize {
        let body = match &self.state {
            State::Sized { body, .. } | State::Doubt { body } => body.capacity(),
            State::Scan(scan) => scan.body.capacity(),
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

/// What is not a picture.
fn others(content_type: &str, stream: &[u8]) -> Vec<Part> {
    let parts = parts(content_type, [stream]).into_iter().flatten();
    parts.filter(|part| !matches!(part, Part::Picture(_))).collect()
}

/// All parts of a stream that ends.
fn to_the_end(content_type: &str, stream: &[u8]) -> Vec<Part> {
    let mut parser = MultipartParser::new(content_type, MAX);
    parser.push(Bytes::copy_from_slice(stream));
    parser.finish();
    std::iter::from_fn(|| parser.next()).map(|part| part.expect("no error")).collect()
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
        assert_eq!(others(content_type, &closed), [], "{name}");
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
    let (not_jpeg, empty) = (Part::Skipped(DropReason::not_jpeg), Part::Skipped(DropReason::empty));
    let cases: [(&[u8], Part); 11] = [
        (&part("Content-Type: text/plain", b"battery low"), Part::Beside),
        (&part("Content-Type: text/html\r\nContent-Length: 13", b"<html></html>"), Part::Beside),
        (&part("Content-Type: application/json", b"{\"motion\": true}"), Part::Beside),
        (&part("Content-Type: audio/basic\r\nContent-Length: 9", b"\xFF\xFF\xFF\xD8\xFF\xD8\xFF\xFF\0"), Part::Beside),
        (&part("Content-Type: image/png", b"\x89PNG\r\n"), not_jpeg.clone()),
        (&part("X: y", b"battery low"), not_jpeg),
        (&part("Content-Type: image/jpeg\r\nContent-Length: 0", b""), empty.clone()),
        (&part("Content-Type: image/jpeg", b""), empty),
        (&part(&format!("Content-Length: {}", large.len()), &large), Part::TooLarge(large.len())),
        (&part("Content-Type: image/jpeg", &large), Part::TooLarge(large.len())),
        (&part("Content-Length: 200000000", &vec![0; MAX]), Part::TooLarge(200_000_000)),
    ];
    for (bad, part_of_it) in cases {
        let stream = [&part("X: y", &jpeg)[..], bad, &part("X: y", &jpeg)].concat();
        assert_eq!(others(DECLARED, &stream), [part_of_it]);
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
        let lost = match start {
            b"zz" => Part::Skipped(DropReason::not_jpeg),
            start => Part::TooLarge(start.len() + 200 * junk.len()),
        };
        assert_eq!(found, [lost, Part::Picture(jpeg.clone().into())]);
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

#[test]
fn a_head_that_comes_twice_or_late_is_no_part() {
    let parts_with = |length: bool| {
        stream(
            |n| if length { format!("--frame\r\nContent-Length: {n}\r\n\r\n") } else { "--frame\r\n\r\n".into() },
            "\r\n",
        )
    };
    let multipart = "Content-Type: multipart/x-mixed-replace; boundary=frame";
    for head in [
        format!("HTTP/1.1 200 OK\r\n{multipart}\r\n\r\n"),
        format!("HTTP/1.0 200 OK\r\nServer: x\r\n{multipart}\r\nConnection: close\r\n\r\n"),
        format!("{multipart}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\n{}\n\n", multipart.replace("=frame", "=--frame")),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
    ] {
        for (content_type, length) in [("text/plain", true), ("", false), (DECLARED, true)] {
            let stream = [head.as_bytes(), &parts_with(length), b"--frame\r\n"].concat();
            assert_eq!(pictures(content_type, &stream), three(), "{content_type}: {head}");
            assert_eq!(others(content_type, &stream), [], "{content_type}: {head}");
        }
    }
}

#[test]
fn what_stands_before_the_picture_in_its_part_is_passed_over_whatever_the_type() {
    let lead = [0xFF, 0xFE, 0x80].repeat(2000);
    for before in [&b"\0\0"[..], b"X-Left: over\r\n", b"\r\n", b"\xEF\xBB\xBF", b"\xFF\xD9", &lead] {
        for content_type in ["image/jpeg", "text/plain", "application/json", "", "multipart/mixed/x"] {
            for length in [Some(before.len()), Some(0), None] {
                let part = |jpeg: &Vec<u8>| {
                    let length = length.map_or(String::new(), |n| format!("Content-Length: {}\r\n", n + jpeg.len()));
                    let content_type = match content_type {
                        "multipart/mixed/x" => String::new(),
                        content_type => format!("Content-Type: {content_type}\r\n"),
                    };
                    [format!("--frame\r\n{content_type}{length}\r\n").as_bytes(), before, jpeg, b"\r\n"].concat()
                };
                let stream = [three().iter().flat_map(part).collect(), b"--frame\r\n".to_vec()].concat();
                assert_eq!(pictures(DECLARED, &stream), three(), "{before:02x?} as {content_type}, length {length:?}");
                assert_eq!(others(DECLARED, &stream), [], "{before:02x?} as {content_type}, length {length:?}");
            }
        }
    }
}

/// A picture with a comment of its own that holds everything that parts pictures.
fn with_a_delimiter_inside(seed: u8) -> Vec<u8> {
    let text = b"x\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n\xFF\xD8\xFF\xD9\r\n--frame\r\n";
    let jpeg = picture(32, 32, seed);
    [&jpeg[..2], &[0xFF, 0xFE, 0, text.len() as u8 + 2], text, &jpeg[2..]].concat()
}

#[test]
fn a_delimiter_within_a_segment_is_a_part_of_the_picture() {
    let jpegs = [1, 2, 3].map(with_a_delimiter_inside);
    for headers in ["X: y", "Content-Length: 99", "Content-Length: 1500"] {
        let part = |jpeg: &Vec<u8>| [format!("--frame\r\n{headers}\r\n\r\n").as_bytes(), jpeg, b"\r\n"].concat();
        let stream = [jpegs.iter().flat_map(part).collect(), b"--frame\r\n".to_vec()].concat();
        assert_eq!(pictures(DECLARED, &stream), jpegs, "{headers}");
        assert_eq!(others(DECLARED, &stream), [], "{headers}");
        assert_eq!(parts(DECLARED, stream.chunks(1)), parts(DECLARED, [&stream[..]]), "{headers}");
    }
}

#[test]
fn a_picture_that_is_cut_short_within_a_segment_costs_no_other() {
    let (jpeg, cut) = (picture(32, 32, 1), with_comment(&picture(32, 32, 2), &"y".repeat(3000)));
    let cut = &cut[..1000];
    let part = |jpeg: &[u8]| [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", jpeg, b"\r\n"].concat();
    let stream = [part(cut), part(&jpeg).repeat(20), b"--frame\r\n".to_vec()].concat();
    let expected: Vec<&[u8]> = [cut].into_iter().chain(std::iter::repeat_n(&jpeg[..], 20)).collect();
    assert_eq!(pictures(DECLARED, &stream), expected);
}

#[test]
fn a_part_without_length_gives_each_of_its_pictures_and_an_mpo_as_one() {
    let (one, two) = (picture(32, 32, 1), picture(40, 24, 2));
    for between in [&b""[..], b"\r\n", &[0; 3000]] {
        let both = mpo(&[[&one[..], between].concat(), two.clone()], true);
        let part = |jpeg: &[u8]| [b"--frame\r\nX: y\r\n\r\n", jpeg, b"\r\n"].concat();
        let stream = [part(&[&one, between, &two].concat()), part(&both), part(&two), b"--frame\r\n".to_vec()].concat();
        assert_eq!(pictures(DECLARED, &stream), [&one[..], &two, &both, &two], "{} bytes between", between.len());
        // With no parts at all it is as long as its index says.
        assert_eq!(pictures("", &[&both[..], &one].concat()), [&both[..], &one], "{} bytes between", between.len());
    }
}

#[test]
fn the_end_of_the_stream_ends_a_picture_whose_length_was_too_large_and_gives_half_a_one_as_it_is() {
    let jpeg = picture(32, 32, 1);
    let head = |length: usize| format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
    for (length, sent) in [(jpeg.len() + 48, jpeg.len()), (jpeg.len(), jpeg.len() / 2), (1 << 40, jpeg.len() / 2)] {
        let stream = [head(length).as_bytes(), &jpeg[..sent]].concat();
        assert_eq!(to_the_end(DECLARED, &stream), [Part::Picture(jpeg[..sent].to_vec().into())], "{length}");
    }
    for nothing in [&b"--frame\r\n"[..], b"--frame\r\nX: y\r\n\r\n", b"--frame\r\nX: y\r\n\r\ntext", b""] {
        assert_eq!(to_the_end(DECLARED, nothing), []);
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
