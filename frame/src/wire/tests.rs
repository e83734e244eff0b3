//! What is written is read back, and of what others write all that can be read.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;

use super::*;
use crate::samples::{self, png, webp};

fn time(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

fn record(value: impl Into<Vec<u8>>) -> RecordView<'static> {
    RecordView { value: Some(Bytes::from(value.into())), headers: &[], key: None, timestamp: Some(1_717_497_001_000) }
}

fn headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Vec<Header> {
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    headers.iter().map(|(name, value)| (copy(name.as_ref()), Some(copy(value.as_ref())))).collect()
}

fn frame() -> Frame {
    let captured_at = time("2024-06-04T10:30:00.123456789Z");
    Frame { jpeg: samples::picture(32, 32, 0).into(), captured_at, sequence: 42 }
}

fn encoder(format: FrameFormat) -> FrameEncoder {
    FrameEncoder::new(&ObjectName { namespace: "lab".into(), name: "agricam3".into() }, "s1", format)
}

#[test]
fn a_jpeg_record_is_the_cameras_bytes_with_the_headers_of_a_cloud_event() {
    let frame = frame();
    let encoded = encoder(FrameFormat::Jpeg).encode(&frame);
    assert_eq!(encoded.value.as_ptr(), frame.jpeg.as_ptr());
    let headers: Vec<_> = encoded.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let expected = [
        ("content-type", "image/jpeg"),
        ("ce_specversion", "1.0"),
        ("ce_id", "s1-42"),
        ("ce_source", "/edgereel/lab/agricam3"),
        ("ce_type", "dev.edgereel.frame.v1"),
        ("ce_time", "2024-06-04T10:30:00.123456Z"),
        ("ce_sequence", "42"),
    ];
    assert_eq!(headers, expected);
}

#[test]
fn a_json_record_is_what_the_python_consumers_read() {
    let frame = frame();
    let encoded = encoder(FrameFormat::Json).encode(&frame);
    let json: serde_json::Value = serde_json::from_slice(&encoded.value).expect("JSON");
    let size = (frame.jpeg.len() as f64 / 1024.0 * 100.0).round() / 100.0;
    assert_eq!(json["size"], size);
    assert_eq!(json["timestamp"], "2024-06-04T10:30:00.123456Z");
    let text = json["frame"].as_str().expect("text");
    assert_eq!(STANDARD.decode(text).expect("base64"), frame.jpeg);
    assert_eq!(encoded.headers[0], ("content-type", "application/json".into()));
}

#[test]
fn what_was_encoded_is_decoded_with_time_camera_and_number() {
    let frame = frame();
    for (format, sink) in [
        (FrameFormat::Jpeg, SinkFormat::Auto),
        (FrameFormat::Jpeg, SinkFormat::Jpeg),
        (FrameFormat::Json, SinkFormat::Auto),
        (FrameFormat::Json, SinkFormat::Json),
    ] {
        let encoded = encoder(format).encode(&frame);
        let headers = headers(&encoded.headers);
        let record = RecordView { headers: &headers, key: Some(b"other"), ..record(encoded.value.to_vec()) };
        let decoded = decode(&record, sink, Take::Frames).expect("a frame");
        assert_eq!(decoded.picture, frame.jpeg);
        assert_eq!(decoded.captured_at, time("2024-06-04T10:30:00.123456Z"));
        assert_eq!((decoded.camera.as_deref(), decoded.sequence), (Some("agricam3"), Some(42)));
    }
}

#[test]
fn a_bare_jpeg_is_not_copied_and_takes_the_records_time_and_key() {
    let record = RecordView { key: Some(b"cam1"), ..record(samples::picture(32, 32, 0)) };
    let decoded = decode(&record, SinkFormat::Auto, Take::Frames).expect("a frame");
    assert_eq!(Some(decoded.picture.as_ptr()), record.value.as_ref().map(|v| v.as_ptr()));
    assert_eq!((decoded.captured_at, decoded.camera.as_deref()), (time("2024-06-04T10:30:01Z"), Some("cam1")));
    assert_eq!(decoded.sequence, None);
}

#[test]
fn json_of_any_producer_is_read() {
    let jpeg = samples::picture(32, 32, 0);
    let text = STANDARD.encode(&jpeg);
    let lines = text.as_bytes().chunks(76).map(|l| String::from_utf8_lossy(l)).collect::<Vec<_>>().join("\\r\\n");
    let cases = [
        format!(r#"{{"frame": "{text}", "timestamp": "2024-06-04T10:30:00.123Z", "size": 75.32}}"#),
        format!(r#" {{ "size" : "?", "x": [1, {{"y": null}}], "frame":"{text}" , "frame_id": 7 }} "#),
        format!(r#"{{"frame": "{}"}}"#, text.replace('/', "\\/")),
        format!(r#"{{"frame": "{}"}}"#, text.replace('=', "\\u003d")),
        format!(r#"{{"frame": "{}"}}"#, STANDARD_NO_PAD.encode(&jpeg)),
        format!(r#"{{"frame": "{}"}}"#, URL_SAFE.encode(&jpeg)),
        format!(r#"{{"frame": "{lines}"}}"#),
        format!(r#"{{"frame": "data:image/jpeg;base64,{text}"}}"#),
        format!("\u{feff}{{\"frame\": \"{text}\"}}"),
    ];
    for case in cases {
        let decoded = decode(&record(case.clone()), SinkFormat::Auto, Take::Frames);
        assert_eq!(decoded.map(|d| d.picture), Ok(Bytes::from(jpeg.clone())), "{case:.200}");
    }
}

#[test]
fn the_capture_time_is_the_best_that_the_record_names() {
    let text = STANDARD.encode(samples::picture(32, 32, 0));
    let json = |time: &str| record(format!(r#"{{"frame": "{text}", "timestamp": {time}}}"#));
    let cases = [
        (r#""2024-06-04T10:30:00.123Z""#, "2024-06-04T10:30:00.123Z"),
        (r#""2024-06-04T12:30:00+02:00""#, "2024-06-04T10:30:00Z"),
        // Local time of a machine that we do not know.
        (r#""2024-06-04T12:30:00.123456""#, "2024-06-04T10:30:01Z"),
        (r#""yesterday""#, "2024-06-04T10:30:01Z"),
        ("1717497000.5", "2024-06-04T10:30:00.5Z"),
        ("1717497000500", "2024-06-04T10:30:00.5Z"),
        ("1717497000500250", "2024-06-04T10:30:00.50025Z"),
        ("1717497000500250125", "2024-06-04T10:30:00.500250125Z"),
        ("7", "2024-06-04T10:30:01Z"),
        ("null", "2024-06-04T10:30:01Z"),
        (r#"{"a": []}"#, "2024-06-04T10:30:01Z"),
    ];
    for (given, expected) in cases {
        assert_eq!(
            decode(&json(given), SinkFormat::Auto, Take::Frames).map(|d| d.captured_at),
            Ok(time(expected)),
            "{given}"
        );
    }
    for (given, expected) in [
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("1577836800000", "2020-01-01T00:00:00Z"),
        ("yesterday", "2024-06-04T10:30:00.123Z"),
    ] {
        let headers = headers(&[(CE_TIME, given)]);
        let record = RecordView { headers: &headers, ..json(cases[0].0) };
        assert_eq!(
            decode(&record, SinkFormat::Auto, Take::Frames).map(|d| d.captured_at),
            Ok(time(expected)),
            "{given}"
        );
    }
}

#[test]
fn of_headers_that_stand_twice_the_last_counts() {
    let twice = headers(&[(CE_TIME, "2026-01-01T00:00:01Z"), ("x", "1"), (CE_TIME, "2026-01-01T00:00:02Z")]);
    let record = RecordView { headers: &twice, ..record(samples::picture(32, 32, 0)) };
    assert_eq!(
        decode(&record, SinkFormat::Auto, Take::Frames).map(|d| d.captured_at),
        Ok(time("2026-01-01T00:00:02Z"))
    );
    let emptied = [twice, vec![(Bytes::from(CE_TIME), None)]].concat();
    assert_eq!((header(&emptied, "x"), header(&emptied, CE_TIME)), (Some(&b"1"[..]), None));
}

#[test]
fn headers_that_are_not_text_do_no_harm() {
    let headers = headers(&[
        (&b"caf\xe9"[..], &b"1"[..]),
        (b"", b""),
        (CE_TIME.as_bytes(), b"\xff"),
        (CE_SOURCE.as_bytes(), b"\xfe"),
        (CE_SEQUENCE.as_bytes(), b"\xfd"),
    ]);
    let record = RecordView { headers: &headers, key: Some(b"\xe9"), ..record(samples::picture(32, 32, 0)) };
    let decoded = decode(&record, SinkFormat::Auto, Take::Frames).expect("a frame");
    assert_eq!(decoded.captured_at, time("2024-06-04T10:30:01Z"));
    assert_eq!((decoded.camera, decoded.sequence), (None, None));
}

#[test]
fn a_record_that_is_no_frame_says_why() {
    use InvalidReason::*;
    let jpeg = samples::picture(32, 32, 0);
    let cut = STANDARD.encode(&jpeg[..jpeg.len() - 9]);
    let cases: [(&[u8], SinkFormat, InvalidReason, &str); 14] = [
        (b"", SinkFormat::Auto, empty, "no value"),
        (b"hello", SinkFormat::Auto, not_jpeg, "`hello`"),
        (b"{}", SinkFormat::Jpeg, not_jpeg, "`{}`"),
        (&jpeg[..50], SinkFormat::Auto, truncated, "ends too early (50 bytes)"),
        (&jpeg, SinkFormat::Json, bad_json, "not a JSON object"),
        (b"{\"frame\": ", SinkFormat::Auto, bad_json, "column"),
        (b"[\"/9j/\"]", SinkFormat::Json, bad_json, "not a JSON object"),
        (b"{\"frame\": \"a\"} x", SinkFormat::Auto, bad_json, "column"),
        (b"{\"image\": \"/9j/\"}", SinkFormat::Auto, no_frame_field, "no text `frame`"),
        (b"{\"frame\": 7}", SinkFormat::Auto, no_frame_field, "no text `frame`"),
        (b"{\"frame\": \"!!!\"}", SinkFormat::Auto, bad_base64, "base64"),
        (b"{\"frame\": \"+-_/\"}", SinkFormat::Auto, bad_base64, "base64"),
        (b"{\"frame\": \"\"}", SinkFormat::Auto, empty, "empty"),
        (&[b"{\"frame\": \"", cut.as_bytes(), b"\"}"].concat(), SinkFormat::Auto, truncated, "ends too early"),
    ];
    for (value, format, reason, message) in cases {
        let invalid = decode(&record(value), format, Take::Frames).expect_err("no frame");
        assert_eq!(invalid.reason, reason, "{invalid}");
        assert!(invalid.message.contains(message), "{invalid} lacks {message}");
    }
    let tombstone = RecordView { value: None, ..record("") };
    assert_eq!(decode(&tombstone, SinkFormat::Auto, Take::Frames).map_err(|i| i.reason), Err(empty));
}

fn labelled(record: &RecordView<'_>) -> Decoded {
    decode(record, SinkFormat::Auto, Take::Labelled).expect("a picture")
}

#[test]
fn a_labelled_picture_is_read_by_the_names_that_producers_give() {
    let png = png("a");
    let text = STANDARD.encode(&png);
    let cases = [
        (format!(r#"{{"annotation": "2024-09-10", "image_file": "{text}"}}"#), Some("2024-09-10"), None),
        (
            format!(r#"{{"image_name": "a.png", "image": "{text}", "annotation": "a, \"b\"\n"}}"#),
            Some("a, \"b\"\n"),
            Some("a.png"),
        ),
        (
            format!(
                r#"{{"frame": "{text}", "timestamp": "2024-06-04T10:30:00Z", "size": 1.5, "annotation": {{"box": [1, 2.5]}}, "file": "x/b.png"}}"#
            ),
            Some(r#"{"box":[1,2.5]}"#),
            Some("x/b.png"),
        ),
        (
            format!(r#"{{"frame": "data:image/png;base64,{text}", "annotation": 7, "filename": "c"}}"#),
            Some("7"),
            Some("c"),
        ),
        (format!(r#"{{"frame": "{text}", "annotation": null}}"#), None, None),
    ];
    for (value, annotation, file) in cases {
        let decoded = labelled(&record(value.clone()));
        assert_eq!((decoded.picture, decoded.info.kind), (Bytes::from(png.clone()), picture::Kind::Png), "{value}");
        assert_eq!((decoded.label.annotation.as_deref(), decoded.label.file.as_deref()), (annotation, file), "{value}");
    }
}

#[test]
fn the_label_of_a_bare_picture_stands_in_headers_which_count_before_the_json() {
    let headers = headers(&[(&b"annotation"[..], &b"caf\xe9"[..]), (b"file", b"a.webp")]);
    let bare = labelled(&RecordView { headers: &headers, ..record(webp("a")) });
    let label = Label { annotation: Some("caf\u{fffd}".into()), file: Some("a.webp".into()) };
    assert_eq!((bare.info.kind, bare.label), (picture::Kind::WebP, label.clone()));
    let json = format!(r#"{{"image": "{}", "annotation": "x", "file": "y"}}"#, STANDARD.encode(webp("a")));
    assert_eq!(labelled(&RecordView { headers: &headers, ..record(json) }).label, label);
    assert_eq!(labelled(&record(samples::picture(32, 32, 0))).label, Label::default());
}

#[test]
fn what_is_no_labelled_picture_says_why() {
    use InvalidReason::*;
    let cut = png("a");
    let cases: [(&[u8], InvalidReason, &str); 4] = [
        (b"GIF89a", not_picture, "neither a JPEG nor a PNG nor a WebP: it begins with `GIF89a`"),
        (&cut[..cut.len() - 1], truncated, "ends too early (87 bytes)"),
        (b"{\"annotation\": \"a\"}", no_frame_field, "no text `frame`, `image_file` or `image`"),
        (b"{\"image\": \"R0lG\"}", not_picture, "begins with `GIF`"),
    ];
    for (value, reason, message) in cases {
        let invalid = decode(&record(value), SinkFormat::Auto, Take::Labelled).expect_err("no picture");
        assert_eq!(invalid.reason, reason, "{invalid}");
        assert!(invalid.message.contains(message), "{invalid} lacks {message}");
    }
}

proptest! {
    #[test]
    fn arbitrary_values_never_panic(value in prop::collection::vec(any::<u8>(), 0..300), json in any::<bool>()) {
        let value = if json { [br#"{"frame":""#, &value[..], br#""}"#].concat() } else { value };
        for format in [SinkFormat::Auto, SinkFormat::Jpeg, SinkFormat::Json] {
            for take in [Take::Frames, Take::Labelled] {
                prop_assert!(decode(&record(value.clone()), format, take).is_err());
            }
        }
    }

    #[test]
    fn every_frame_survives_the_way_through_json(sequence in any::<u64>(), seed in any::<u8>(), width in 8u16..80) {
        let frame = Frame { jpeg: samples::picture(width, 16, seed).into(), sequence, ..frame() };
        let encoded = encoder(FrameFormat::Json).encode(&frame);
        prop_assert_eq!(decode(&record(encoded.value), SinkFormat::Auto, Take::Frames).map(|d| d.picture), Ok(frame.jpeg));
    }
}
