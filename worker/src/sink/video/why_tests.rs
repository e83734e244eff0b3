//! Each new file has its reason.

use super::{
    tests::{assigned, frame, name, nth, partition, spec},
    *,
};

/// Writes a frame, and notes why it began a file if it did.
fn write(video: &mut Video, frame: &SinkFrame, said: &mut Vec<Why>) {
    let before = video.number;
    video.write(frame).unwrap();
    if video.number != before {
        said.push(video.begins);
    }
}

fn open(root: &Path, spec: &frame_sink::Video, committed: Option<(i64, String)>) -> Video {
    let mut video = Video::open(root, spec, &name(), &[partition().topic.to_string()]).unwrap();
    video.resume(&assigned(&committed), Lease::endless()).unwrap();
    video
}

/// Makes durable what was written, and gives what is committed then.
fn seal(video: &mut Video, next: i64) -> Option<(i64, String)> {
    let job = video.seal().unwrap();
    (job.run)().unwrap();
    video.committed().unwrap();
    Some((next, job.metadata))
}

#[test]
fn a_file_is_the_first_or_begins_when_one_is_long_or_large_enough_or_the_picture_changes_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    let mut video = open(dir.path(), &spec("{segment}.avi", Some(2)), None);
    (0..30).for_each(|n| write(&mut video, &nth(n), &mut said));
    write(&mut video, &frame(30, 1_700_000_003_000_000, vec![1], (320, 240)), &mut said);
    assert_eq!(said, [Why::Start, Why::Duration, Why::Resized]);
    let (dir, mut said) = (tempfile::tempdir().unwrap(), Vec::new());
    let max_bytes = Some(edgereel_crds::units::ByteSize(1 << 20));
    let limited = frame_sink::Video {
        segment: Some(frame_sink::Segment { max_duration: None, max_bytes }),
        ..spec("{segment}.avi", None)
    };
    let mut video = open(dir.path(), &limited, None);
    let large = |n: i64| frame(n, 1_700_000_000_000_000 + n * 100_000, vec![1; 400_000], (640, 480));
    (0..3).for_each(|n| write(&mut video, &large(n), &mut said));
    assert_eq!(said, [Why::Start, Why::Bytes]);
}

#[test]
fn a_file_begins_when_the_camera_was_away_or_became_faster() {
    let (dir, mut said) = (tempfile::tempdir().unwrap(), Vec::new());
    let spec = frame_sink::Video { frame_rate: VideoRate::Source, ..spec("{segment}.avi", Some(3600)) };
    let mut video = open(dir.path(), &spec, None);
    let (mut offset, mut time) = (0, 1_700_000_000_000_000);
    let mut send = |count: i64, apart: i64| {
        for _ in 0..count {
            (offset, time) = (offset + 1, time + apart);
            write(&mut video, &frame(offset, time, vec![1; 50], (640, 480)), &mut said);
        }
    };
    send(100, 100_000);
    send(1, 60_000_000);
    send(100, 100_000);
    send(200, 20_000);
    assert_eq!(said[..2], [Why::Start, Why::Gap]);
    assert!(said.len() > 2 && said[2..].iter().all(|why| *why == Why::Faster), "{said:?}");
}

#[test]
fn a_file_begins_when_the_resource_was_edited_offsets_were_lost_or_a_person_asked() {
    let (dir, mut said) = (tempfile::tempdir().unwrap(), Vec::new());
    let mut spec = spec("gate.avi", None);
    let mut committed = None;
    for n in 0..4 {
        match n {
            2 => spec.frame_rate = VideoRate::Fixed(12),
            3 => {
                std::fs::remove_file(dir.path().join("cam/gate_2.avi")).unwrap();
                std::fs::write(dir.path().join("cam/.edgereel/lab.gate").join(BEGIN_ANEW), "").unwrap();
            }
            _ => {}
        }
        let mut video = open(dir.path(), &spec, committed.take());
        write(&mut video, &nth(n), &mut said);
        committed = seal(&mut video, n + 1);
    }
    let mut video = open(dir.path(), &spec, Some((0, String::new())));
    write(&mut video, &nth(0), &mut said);
    assert_eq!(said, [Why::Start, Why::Edited, Why::Asked, Why::OffsetsLost], "and none of the start that went on");
}
