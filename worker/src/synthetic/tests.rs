//! What a frame promises, checked with a decoder that is not ours.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use turbojpeg::PixelFormat;

use super::{Pattern, Stamp, entropy::segments, font, parse_size};

fn time() -> Timestamp {
    "2024-06-04T10:30:00.123456Z".parse().expect("a time")
}

fn decode(jpeg: &[u8]) -> turbojpeg::Image<Vec<u8>> {
    turbojpeg::decompress(jpeg, PixelFormat::GRAY).expect("libjpeg takes it without a warning")
}

fn stamp(jpeg: &[u8]) -> Option<Stamp> {
    let (_, at) = segments(jpeg).find(|(marker, _)| *marker == 0xFE)?;
    let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    Stamp::parse(&jpeg[at + 4..at + 2 + length])
}

/// Reads `count` characters from the picture, dot by dot.
fn read_text(picture: &turbojpeg::Image<Vec<u8>>, dot: usize, top: usize, count: usize) -> String {
    let lit = |x: usize, y: usize| picture.pixels[y * picture.pitch + x] > 128;
    let at = |i: usize| 2 * dot + i * font::ADVANCE * dot;
    let known = b" #-.:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let read = |i: usize| {
        known.iter().find(|c| {
            (0..font::ADVANCE - 1).all(|x| {
                (0..font::HEIGHT)
                    .all(|y| lit(at(i) + x * dot + dot / 2, top + y * dot + dot / 2) == font::dot(**c, x, y))
            })
        })
    };
    (0..count).map(|i| read(i).map_or('?', |c| *c as char)).collect()
}

#[test]
fn the_picture_shows_the_clock_the_number_and_the_name() {
    let pattern = Pattern::new(1280, 720, 85_000).expect("a pattern");
    let picture = decode(&pattern.frame(4711, time(), "lab"));
    assert_eq!(read_text(&picture, 4, 16 + 2, 35), "2024-06-04 10:30:00.123 #004711 LAB");
}

#[test]
fn a_tiny_picture_shows_the_number() {
    let pattern = Pattern::new(64, 64, 2_500).expect("a pattern");
    assert_eq!(read_text(&decode(&pattern.frame(31, time(), "lab")), 1, 16 + 4, 7), "#000031");
}

#[test]
fn a_frozen_picture_stands_still_while_its_comment_goes_on() {
    let pattern = Pattern::new(640, 352, 30_000).expect("a pattern");
    let later = time() + std::time::Duration::from_secs(3);
    let (first, second) = (pattern.frame(5, time(), "lab"), pattern.frozen((5, time()), 95, later, "lab"));
    assert_eq!(decode(&first).pixels, decode(&second).pixels);
    assert_eq!(stamp(&second), Some(Stamp::new(95, later, "lab")));
}

#[test]
fn neighbouring_frames_differ_in_the_strip_and_in_the_waves() {
    let pattern = Pattern::new(640, 352, 30_000).expect("a pattern");
    let (a, b) = (decode(&pattern.frame(0, time(), "lab")), decode(&pattern.frame(1, time(), "lab")));
    let differs = |rows: std::ops::Range<usize>| {
        a.pixels[rows.start * 640..rows.end * 640] != b.pixels[rows.start * 640..rows.end * 640]
    };
    assert!(differs(16..32) && differs(100..200));
}

#[test]
fn the_mean_size_is_the_target_and_sizes_vary() {
    for (width, height, target) in [
        (1280, 720, 85_000),
        (1280, 720, 30_000),
        (1280, 720, 400_000),
        (640, 480, 40_000),
        (1920, 1088, 150_000),
        (688, 400, 50_000),
        (64, 64, 3_000),
        (320, 240, 10_000),
    ] {
        let pattern = Pattern::new(width, height, target).expect("a pattern");
        let sizes: Vec<usize> = (0..32).map(|i| pattern.frame(i, time(), "lab").len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!(mean.abs_diff(target) <= target / 20, "{width}x{height}: {mean} bytes instead of {target}");
        let (least, most) = (sizes.iter().min().expect("some"), sizes.iter().max().expect("some"));
        assert!(most > least && *most < target * 5 / 4, "{width}x{height}: {least} to {most}");
    }
}

#[test]
fn a_target_beyond_the_finest_picture_is_filled_up_with_comments() {
    let pattern = Pattern::new(64, 64, 300_000).expect("a pattern");
    let frame = pattern.frame(0, time(), "lab");
    assert!(frame.len().abs_diff(300_000) < 15_000, "{}", frame.len());
    assert_eq!(stamp(&frame), Some(Stamp::new(0, time(), "lab")), "the stamp is the first comment");
    decode(&frame);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_remedy() {
    for (width, height, target, remedy) in
        [(1280, 721, 85_000, "multiples of 16"), (48, 64, 85_000, "64 to 7680"), (3840, 2160, 2_000, "at least")]
    {
        let error = Pattern::new(width, height, target).expect_err("refused");
        assert!(error.contains(remedy), "{error}");
    }
    assert_eq!(parse_size("1280x720"), Ok((1280, 720)));
    for text in ["1280", "x", "1280x", "1280 x 720", "70000x10"] {
        assert!(parse_size(text).expect_err("refused").contains("1280x720"), "{text}");
    }
}

#[test]
fn cameras_of_one_size_share_a_pattern() {
    let (a, b) = (Pattern::new(320, 240, 9_000), Pattern::new(320, 240, 9_000));
    assert!(std::sync::Arc::ptr_eq(&a.expect("a pattern"), &b.expect("a pattern")));
}

#[test]
fn a_thousand_frames_are_remembered_no_more_than_is_bounded() {
    let pattern = Pattern::new(320, 240, 9_000).expect("a pattern");
    let frames = |from: u64| -> Vec<Bytes> {
        (from..from + 20).map(|i| pattern.frame(i, time() + std::time::Duration::from_millis(i * 33), "lab")).collect()
    };
    let before = frames(0);
    (0..5_000).for_each(|i| drop(pattern.frame(i, time() + std::time::Duration::from_millis(i * 37), "lab")));
    assert_eq!(frames(0), before, "what was forgotten is made again as it was");
}

/// Not a test of speed (machines differ): prints what a frame costs, for `--nocapture`.
#[test]
fn frames_are_made_at_the_cost_of_a_copy() {
    let begin = Instant::now();
    let pattern = Pattern::new(1280, 720, 84_999).expect("a pattern");
    let search = begin.elapsed();
    (0..16).for_each(|i| drop(pattern.frame(i, time(), "lab")));
    let phases = begin.elapsed() - search;
    let begin = Instant::now();
    let count = 600;
    let bytes: usize =
        (0..count).map(|i| pattern.frame(i, time() + std::time::Duration::from_millis(i * 33), "lab").len()).sum();
    let each = begin.elapsed() / count as u32;
    println!("search {search:?}, 16 phases {phases:?}, then {each:?} a frame of {} bytes", bytes / count as usize);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_number_time_label_and_size_give_a_whole_jpeg(
        sequence: u64,
        us in 0i64..4_000_000_000_000_000,
        label in ".{0,300}",
        width in 4u16..60,
        height in 4u16..60,
    ) {
        let (width, height) = (16 * width, 16 * height);
        let pattern = Pattern::new(width, height, 40_000).expect("a pattern");
        let time = Timestamp::from_microsecond(us).expect("in range");
        let frame = pattern.frame(sequence, time, &label);
        prop_assert!(frame.starts_with(&[0xFF, 0xD8]) && frame.ends_with(&[0xFF, 0xD9]));
        let picture = decode(&frame);
        prop_assert_eq!((picture.width, picture.height), (usize::from(width), usize::from(height)));
        prop_assert_eq!(stamp(&frame), Some(Stamp::new(sequence, time, &label)));
        prop_assert_eq!(pattern.frame(sequence, time, &label), frame);
    }
}
