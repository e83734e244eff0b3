//! Programs that we did not write read our files: FFmpeg's demuxer and decoders.

use std::{fs::File, process::Command};

use edgereel_crds::frame_sink::{Codec, VideoRate};
use edgereel_frame::reasons::InvalidReason;

use super::{tests::*, *};
use crate::sink::output::Standing;

/// A picture with some structure whose brightness tells its number.
fn jpeg(n: u8, width: u16, height: u16) -> Vec<u8> {
    let texture = |i: usize| ((i / 3 * 7919) % 61) as u8;
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(|i| 40 + 4 * n + texture(i)).collect();
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 90).encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

fn pictures(n: i64, fps: i64) -> impl Iterator<Item = SinkFrame> {
    (0..n).map(move |i| frame(i, 1_700_000_000_000_000 + i * 1_000_000 / fps, jpeg((i % 30) as u8, 64, 48), (64, 48)))
}

fn spec(codec: Codec, frame_rate: VideoRate) -> frame_sink::Video {
    frame_sink::Video {
        directory: String::new(),
        file_name: Some("a.avi".into()),
        time_zone: None,
        codec,
        frame_rate,
        segment: None,
        merge_window: edgereel_crds::units::Duration::millis(250),
    }
}

fn open(root: &Path, spec: &frame_sink::Video, committed: Option<(i64, String)>) -> Video {
    let limits = Limits { riff_bytes: 64 << 10, ..Limits::default() };
    let mut video = Video::with(root, spec, &name(), Disk::default(), limits).unwrap();
    video.resume(&assigned(&committed), Lease::endless()).unwrap();
    video
}

/// What `ffprobe` decodes and says: codec tag, width, height, frame rate, decoded frames, duration.
fn probe(path: &Path) -> String {
    let entries = "stream=codec_tag_string,width,height,avg_frame_rate,nb_read_frames";
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe of Debian's ffmpeg is needed");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// The mean brightness of each decoded picture, repetitions included.
fn brightness(path: &Path) -> Vec<u8> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-vf", "scale=1:1:flags=area,format=rgb24", "-f", "rawvideo", "-"])
        .output()
        .expect("ffmpeg is needed");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout.chunks(3).map(|rgb| rgb[1]).collect()
}

#[test]
fn ffmpeg_decodes_every_picture_of_a_finished_file_over_many_riffs() {
    let dir = tempfile::tempdir().unwrap();
    let mut video = open(dir.path(), &spec(Codec::Mjpeg, VideoRate::Fixed(12)), None);
    for frame in pictures(900, 12) {
        video.write(&frame).unwrap();
    }
    video.finish().unwrap();
    let path = dir.path().join("a.avi");
    let riffs = avi::read::header(&mut File::open(&path).unwrap()).unwrap().closed.len();
    assert!(riffs > 9, "{riffs}");
    assert_eq!(probe(&path), "MJPG,64,48,12/1,900");
}

#[test]
fn ffmpeg_opens_a_file_that_grows_and_one_whose_writer_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut video = open(dir.path(), &spec(Codec::Mjpeg, VideoRate::Fixed(10)), None);
    let path = dir.path().join("a.avi");
    for (n, frame) in pictures(300, 10).enumerate() {
        video.write(&frame).unwrap();
        if [20, 150].contains(&n) {
            video.seal().unwrap();
            assert_eq!(probe(&path), format!("MJPG,64,48,10/1,{}", n + 1));
        }
    }
    drop(video);
    assert_eq!(probe(&path), "MJPG,64,48,10/1,300");
}

fn delay(frame: &mut SinkFrame, seconds: i64) {
    frame.captured_at += jiff::SignedDuration::from_secs(seconds);
    frame.standing = Standing::at(frame.captured_at);
}

#[test]
fn a_real_time_video_plays_as_long_as_it_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut video = open(dir.path(), &spec(Codec::Mjpeg, VideoRate::Source), None);
    // Ten seconds of 10 frames a second, with a stall of three seconds in the middle.
    let mut repeated = 0;
    for mut frame in pictures(100, 10) {
        if frame.offset >= 50 {
            delay(&mut frame, 3);
        }
        repeated += video.write(&frame).unwrap().repeated;
    }
    video.finish().unwrap();
    assert_eq!(repeated, 30);
    let path = dir.path().join("a.avi");
    let header = avi::read::header(&mut File::open(&path).unwrap()).unwrap();
    assert_eq!((header.frames, header.rate), (130, Rate::per_second(10)));
    assert_eq!(brightness(&path).len(), 130);
    assert_eq!(probe(&path), "MJPG,64,48,10/1,130", "each is a frame of its own");
}

#[test]
fn the_picture_before_is_known_after_a_restart_and_shown_again() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg, VideoRate::Source);
    let mut video = open(dir.path(), &spec, None);
    let mut frames: Vec<_> = pictures(100, 10).collect();
    for frame in &mut frames[50..] {
        delay(frame, 3);
    }
    for frame in &frames[..50] {
        video.write(frame).unwrap();
    }
    let job = video.seal().unwrap();
    (job.run)().unwrap();
    drop(video);
    let mut video = open(dir.path(), &spec, Some((50, job.metadata)));
    for frame in &frames[50..] {
        video.write(frame).unwrap();
    }
    video.finish().unwrap();
    let seen = brightness(&dir.path().join("a.avi"));
    assert_eq!(seen.len(), 130);
    assert!(seen[49..80].iter().all(|n| *n == seen[49]), "{:?}", &seen[45..85]);
    assert_ne!(seen[79], seen[80]);
}

#[test]
fn an_xvid_video_in_real_time_has_a_frame_for_each_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let mut video = open(dir.path(), &spec(Codec::Xvid, VideoRate::Source), None);
    for mut frame in pictures(60, 10) {
        if frame.offset >= 40 {
            delay(&mut frame, 2);
        }
        video.write(&frame).unwrap();
    }
    video.finish().unwrap();
    let path = dir.path().join("a.avi");
    assert_eq!(probe(&path), "XVID,64,48,10/1,80");
    let seen = brightness(&path);
    assert!(seen[39..60].iter().all(|n| n.abs_diff(seen[39]) < 3), "{:?}", &seen[35..65]);
}

#[test]
fn xvid_is_decodable_frame_by_frame_also_after_a_crash_and_a_damaged_jpeg() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Xvid, VideoRate::Fixed(10));
    let mut video = open(dir.path(), &spec, None);
    let frames: Vec<_> = pictures(60, 10).collect();
    let mut committed = None;
    for frame in &frames[..40] {
        video.write(frame).unwrap();
        if frame.offset == 24 {
            let job = video.seal().unwrap();
            (job.run)().unwrap();
            committed = Some((25, job.metadata));
        }
    }
    drop(video);
    let mut video = open(dir.path(), &spec, committed);
    let mut damaged = frames[25].clone();
    damaged.picture = bytes::Bytes::from_static(&[0xFF, 0xD8, 1, 2, 3, 0xFF, 0xD9]);
    let error = video.write(&damaged).unwrap_err();
    assert!(matches!(error, OutputError::Frame { reason: InvalidReason::undecodable, .. }), "{error:?}");
    assert!(!error.to_string().contains("permitted"), "{error}");
    for frame in &frames[25..] {
        assert!(video.write(frame).unwrap().stored);
    }
    video.finish().unwrap();
    let path = dir.path().join("a.avi");
    assert_eq!(probe(&path), "XVID,64,48,10/1,60");
    for (n, seen) in brightness(&path).into_iter().enumerate() {
        let drawn = 40 + (n % 30) as u8 * 4 + 30;
        assert!(seen.abs_diff(drawn) < 4, "picture {n}: {seen}, drawn {drawn}");
    }
    let header = avi::read::header(&mut File::open(&path).unwrap()).unwrap();
    let keys = avi::read::indexed(&mut File::open(&path).unwrap(), &header).unwrap();
    let keys: Vec<_> = keys.iter().enumerate().filter(|(_, f)| f.key).map(|(n, _)| n).collect();
    assert!(keys.contains(&0) && keys.contains(&25) && keys.len() < 10, "{keys:?}");
}

#[test]
fn a_picture_that_xvid_cannot_encode_is_an_invalid_record_and_the_video_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut video = open(dir.path(), &spec(Codec::Xvid, VideoRate::Fixed(10)), None);
    let frames: Vec<_> = pictures(20, 10).collect();
    for (n, frame) in frames.iter().enumerate() {
        // A wide one, one as large as a header can say, one whose header says less than there is.
        for (width, height, stated) in [(8200, 16, (8200, 16)), (64, 48, (65535, 65535)), (8200, 16, (64, 48))] {
            let large = super::tests::frame(frame.offset, 1_700_000_000_000_000, jpeg(1, width, height), stated);
            let error = video.write(&large).unwrap_err();
            assert!(matches!(error, OutputError::Frame { reason: InvalidReason::unencodable, .. }), "{n}: {error:?}");
            assert!(error.to_string().contains("cannot be encoded as XVID"), "{error}");
        }
        assert!(video.write(frame).unwrap().stored);
    }
    video.finish().unwrap();
    assert_eq!(probe(&dir.path().join("a.avi")), "XVID,64,48,10/1,20", "in one file, and no empty ones beside it");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "the video, its CSV, the sink's folder");
}

/// The kernel's words for what a decoder says are of no use to anyone.
#[test]
fn a_header_of_gigabytes_is_refused_before_memory_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut video = open(dir.path(), &spec(Codec::Xvid, VideoRate::Fixed(10)), None);
    let mut bytes = jpeg(1, 64, 48);
    let sof = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    bytes[sof + 5..sof + 9].copy_from_slice(&[0x3F, 0xFF, 0x3F, 0xFF]);
    // What the record's header says, and what only the decoder meets.
    for (stated, reason) in [((16383, 16383), InvalidReason::unencodable), ((64, 48), InvalidReason::undecodable)] {
        let error = video.write(&super::tests::frame(0, 0, bytes.clone(), stated)).unwrap_err();
        let OutputError::Frame { reason: found, message } = &error else { panic!("{error:?}") };
        assert_eq!(*found, reason, "{message}");
        assert!(!message.contains("permitted"), "{message}");
    }
}
