//! The output as the runner uses it: files, names, commits, full disks, edited resources.

use std::{
    fs::{self, File},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use edgereel_crds::{frame_sink::Segment as SegmentSpec, units::Duration};
use edgereel_frame::{
    picture::{Info, Kind},
    wire::Label,
};
use jiff::Timestamp;

use super::*;
use crate::sink::{
    disk::faults::{FailAt, Full},
    output::{Standing, TopicPartition},
};

pub(super) fn name() -> ObjectName {
    ObjectName { namespace: "lab".into(), name: "gate".into() }
}

pub(super) fn partition() -> TopicPartition {
    TopicPartition { topic: "FrontGATE1".into(), partition: 0 }
}

fn topics() -> Vec<String> {
    vec![partition().topic.to_string()]
}

pub(super) fn assigned(committed: &Option<(i64, String)>) -> Vec<Assigned> {
    vec![Assigned { source: partition(), committed: committed.clone() }]
}

pub(super) fn frame(offset: i64, time: i64, jpeg: Vec<u8>, (width, height): (u16, u16)) -> SinkFrame {
    SinkFrame {
        source: partition(),
        offset,
        picture: Bytes::from(jpeg),
        info: Info { kind: Kind::Jpeg, width: width.into(), height: height.into() },
        label: Label::default(),
        captured_at: Timestamp::from_microsecond(time).unwrap(),
        camera: "gate".into(),
        sequence: None,
        standing: Standing::at(Timestamp::from_microsecond(time).unwrap()),
    }
}

/// Frame `n` of a camera of 10 frames a second.
pub(super) fn nth(n: i64) -> SinkFrame {
    frame(n, 1_700_000_000_000_000 + n * 100_000, vec![n as u8; 100], (640, 480))
}

pub(super) fn spec(file_name: &str, segment: Option<u64>) -> frame_sink::Video {
    frame_sink::Video {
        directory: "cam".into(),
        file_name: Some(file_name.into()),
        time_zone: None,
        codec: Codec::Mjpeg,
        frame_rate: VideoRate::Fixed(10),
        segment: segment.map(|s| SegmentSpec { max_duration: Some(Duration::secs(s)), max_bytes: None }),
        merge_window: Duration::millis(250),
    }
}

fn open(root: &Path, spec: &frame_sink::Video, committed: Option<(i64, String)>) -> (Video, String) {
    let mut video = Video::open(root, spec, &name(), &topics()).unwrap();
    let metadata = video.resume(&assigned(&committed), Lease::endless()).unwrap();
    (video, metadata)
}

fn seal(video: &mut Video) -> String {
    let job = video.seal().unwrap();
    (job.run)().unwrap();
    video.committed().unwrap();
    job.metadata
}

fn frames_in(path: &Path) -> usize {
    avi::read::walk(File::open(path).unwrap(), 0).unwrap().count()
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("cam")).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".avi"));
    names.sort();
    names
}

#[test]
fn files_that_were_put_back_without_the_sinks_folder_stand_in_its_list_again() {
    for stopped in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec("{timestamp:%Y}/{segment}.avi", Some(2));
        let (mut video, _) = open(dir.path(), &spec, None);
        for n in 0..70 {
            video.write(&nth(n)).unwrap();
        }
        if stopped {
            video.close().unwrap();
        }
        let metadata = seal(&mut video);
        drop(video);
        let cam = dir.path().join("cam");
        let list = || fs::read_to_string(cam.join(".edgereel/lab.gate/segments")).unwrap();
        let before = list();
        assert_eq!(before.lines().count(), 4);
        fs::remove_dir_all(cam.join(".edgereel")).unwrap();
        // Neither a copy nor what somebody else made is taken for one of them.
        fs::copy(cam.join("2023/2.avi"), cam.join("2023/2_copy.avi")).unwrap();
        fs::write(cam.join("2023/0.avi"), "of the scripts").unwrap();
        let (video, _) = open(dir.path(), &spec, Some((70, metadata.clone())));
        drop(video);
        assert_eq!(list(), before, "stopped: {stopped}");
    }
}

#[test]
fn one_file_grows_on_across_restarts_and_leaves_a_stranger_s_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("cam")).unwrap();
    fs::write(dir.path().join("cam/FrontGATE1.avi"), "of the scripts").unwrap();
    let spec = spec("FrontGATE1.avi", None);
    let mut committed = None;
    for day in 0..5 {
        let (mut video, _) = open(dir.path(), &spec, committed.take());
        for n in 0..20 {
            video.write(&nth(day * 20 + n)).unwrap();
        }
        committed = Some((day * 20 + 20, seal(&mut video)));
        video.finish().unwrap();
    }
    assert_eq!(names(dir.path()), ["FrontGATE1.avi", "FrontGATE1_2.avi"]);
    assert_eq!(frames_in(&dir.path().join("cam/FrontGATE1_2.avi")), 100);
    assert_eq!(fs::read(dir.path().join("cam/FrontGATE1.avi")).unwrap(), b"of the scripts");
    let csv = fs::read_to_string(dir.path().join("cam/FrontGATE1_2.csv")).unwrap();
    let rows: Vec<_> = csv.lines().collect();
    assert_eq!(rows[0], "frame,topic,partition,offset,capture_time");
    assert_eq!(rows[100], "99,FrontGATE1,0,99,2023-11-14T22:13:29.900000Z");
}

#[test]
fn segments_end_by_capture_time_and_when_the_picture_changes_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let (mut video, _) = open(dir.path(), &spec("{segment:03}.avi", Some(2)), None);
    for n in 0..45 {
        video.write(&nth(n)).unwrap();
    }
    video.write(&frame(45, 1_700_000_004_500_000, vec![1], (320, 240))).unwrap();
    video.finish().unwrap();
    assert_eq!(names(dir.path()), ["001.avi", "002.avi", "003.avi", "004.avi"]);
    let counts: Vec<_> = names(dir.path()).iter().map(|n| frames_in(&dir.path().join("cam").join(n))).collect();
    assert_eq!(counts, [20, 20, 5, 1]);
}

#[test]
fn lost_offsets_begin_a_new_file_and_delete_none() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("gate.avi", None);
    let (mut video, _) = open(dir.path(), &spec, None);
    video.write(&nth(0)).unwrap();
    video.finish().unwrap();
    drop(video);
    let (mut video, metadata) = open(dir.path(), &spec, Some((0, String::new())));
    assert_eq!(Checkpoint::from_metadata(&metadata).unwrap().segment, 1);
    video.write(&nth(0)).unwrap();
    assert_eq!(names(dir.path()), ["gate.avi", "gate_2.avi"]);
}

#[test]
fn a_missing_or_shorter_file_stops_the_sink_until_a_person_says_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("gate.avi", None);
    let (mut video, _) = open(dir.path(), &spec, None);
    video.write(&nth(0)).unwrap();
    let committed = Some((1, seal(&mut video)));
    drop(video);
    let path = dir.path().join("cam/gate.avi");
    let bytes = fs::read(&path).unwrap();
    for spoil in ["short", "gone", "other"] {
        match spoil {
            "short" => fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
            "gone" => fs::remove_file(&path).unwrap(),
            _ => fs::write(&path, vec![b'x'; bytes.len() * 2]).unwrap(),
        }
        let mut video = Video::open(dir.path(), &spec, &name(), &topics()).unwrap();
        let error = video.resume(&assigned(&committed), Lease::endless()).unwrap_err().to_string();
        assert!(error.contains("cam/gate.avi") && error.contains("begin-anew"), "{spoil}: {error}");
        assert!(video.write(&nth(1)).is_err());
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes.len() as u64 * 2, "another's file is not cut");
    let mark = dir.path().join("cam/.edgereel/lab.gate/begin-anew");
    fs::write(&mark, "").unwrap();
    let (mut video, _) = open(dir.path(), &spec, committed);
    video.write(&nth(1)).unwrap();
    seal(&mut video);
    assert_eq!(names(dir.path()), ["gate.avi", "gate_2.avi"]);
    assert!(!mark.exists());
}

#[test]
fn archived_closed_segments_are_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("{segment}.avi", Some(1));
    let (mut video, _) = open(dir.path(), &spec, None);
    for n in 0..15 {
        video.write(&nth(n)).unwrap();
    }
    let committed = Some((15, seal(&mut video)));
    drop(video);
    fs::remove_file(dir.path().join("cam/1.avi")).unwrap();
    let (mut video, _) = open(dir.path(), &spec, committed);
    video.write(&nth(15)).unwrap();
    assert_eq!(frames_in(&dir.path().join("cam/2.avi")), 6);
}

#[test]
fn an_edited_codec_rate_or_mode_ends_the_file_and_begins_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec("gate.avi", None);
    let mut committed = None;
    for rate in [VideoRate::Fixed(10), VideoRate::Fixed(12), VideoRate::Source] {
        spec.frame_rate = rate;
        let (mut video, _) = open(dir.path(), &spec, committed);
        video.write(&nth(0)).unwrap();
        committed = Some((1, seal(&mut video)));
    }
    assert_eq!(names(dir.path()), ["gate.avi", "gate_2.avi", "gate_3.avi"]);
}

#[test]
fn a_full_disk_refuses_a_frame_whole_and_takes_it_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(Full { on: AtomicBool::new(true), free: AtomicU64::new(0) });
    let limits = Limits { riff_bytes: 2000, riff_frames: 12, riffs: 9 };
    let spec = spec("gate.avi", None);
    full.on.store(false, Ordering::Relaxed);
    let mut video = Video::with(dir.path(), &spec, &name(), Disk::failing(full.clone()), limits).unwrap();
    video.resume(&assigned(&None), Lease::endless()).unwrap();
    for n in 0..60 {
        // Each frame meets a disk with a little more room, until it fits.
        full.on.store(true, Ordering::Relaxed);
        let mut free = 0;
        loop {
            full.free.store(free, Ordering::Relaxed);
            match video.write(&nth(n)) {
                Ok(written) => break assert!(written.stored),
                Err(OutputError::NoSpace { .. }) => free += 37,
                Err(other) => panic!("{other}"),
            }
        }
        full.free.store(0, Ordering::Relaxed);
        assert!(matches!(video.seal(), Err(OutputError::NoSpace { .. })), "the CSV has no room");
        full.on.store(false, Ordering::Relaxed);
        seal(&mut video);
    }
    video.finish().unwrap();
    assert_eq!(names(dir.path()), ["gate.avi"]);
    let path = dir.path().join("cam/gate.avi");
    let frames: Vec<_> = avi::read::walk(File::open(&path).unwrap(), 0).unwrap().map(Result::unwrap).collect();
    let bytes = fs::read(&path).unwrap();
    let firsts: Vec<_> = frames.iter().map(|f| i64::from(bytes[f.offset as usize])).collect();
    assert_eq!(firsts, (0..60).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(path.with_extension("csv")).unwrap().lines().count(), 61);
}

#[test]
fn a_worker_that_lost_its_partitions_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let current = Arc::new(AtomicU64::new(1));
    let lease = Lease::new(1, current.clone(), Arc::new(AtomicU64::new(u64::MAX)));
    let mut video = Video::open(dir.path(), &spec("gate.avi", None), &name(), &topics()).unwrap();
    video.resume(&assigned(&None), lease).unwrap();
    video.write(&nth(0)).unwrap();
    let length = fs::metadata(dir.path().join("cam/gate.avi")).unwrap().len();
    current.store(2, Ordering::Relaxed);
    assert!(matches!(video.write(&nth(1)), Err(OutputError::Superseded)));
    assert!(matches!(video.seal(), Err(OutputError::Superseded)));
    assert!(matches!(video.finish(), Err(OutputError::Superseded)));
    assert_eq!(fs::metadata(dir.path().join("cam/gate.avi")).unwrap().len(), length);
}

#[test]
fn a_flush_of_which_any_sync_failed_is_not_done() {
    let mut failures = 0;
    for call in 0..200 {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::failing(Arc::new(FailAt::new(call, std::io::ErrorKind::Other, false)));
        let Ok(mut video) = Video::with(dir.path(), &spec("{segment}.avi", Some(1)), &name(), disk, Limits::default())
        else {
            continue;
        };
        if video.resume(&assigned(&None), Lease::endless()).is_err() {
            continue;
        }
        if (0..15).any(|n| video.write(&nth(n)).is_err()) {
            continue;
        }
        let Ok(job) = video.seal() else { continue };
        // Two segments, each with a CSV, and their directory: its one failure is the flush's.
        failures += u32::from((job.run)().is_err());
    }
    assert_eq!(failures, 6, "two videos, two CSVs, their directory twice");
}

#[test]
fn a_video_that_is_moved_while_it_is_written_to_is_noticed_before_anything_is_committed() {
    for moved in ["cam", "cam/gate.avi", "cam/gate.csv", "cam/.edgereel"] {
        for removed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (mut video, _) = open(dir.path(), &spec("gate.avi", None), None);
            video.write(&nth(0)).unwrap();
            seal(&mut video);
            let path = dir.path().join(moved);
            match removed {
                false => fs::rename(&path, dir.path().join("elsewhere")).unwrap(),
                true if path.is_dir() => fs::remove_dir_all(&path).unwrap(),
                true => fs::remove_file(&path).unwrap(),
            }
            video.write(&nth(1)).unwrap();
            let error = (video.seal().unwrap().run)().unwrap_err().to_string();
            assert!(error.contains(moved) && error.contains("moved away or removed"), "{moved}: {error}");
            assert!(video.finish().is_err() || moved == "cam/.edgereel", "{moved}");
        }
    }
}

#[test]
fn a_name_that_no_file_can_have_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let long = vec!["t".repeat(249)];
    let spec = frame_sink::Video { file_name: None, ..spec("", Some(2)) };
    let error = Video::open(dir.path(), &spec, &name(), &long).err().unwrap();
    assert!(matches!(error, OutputError::Storage { reason: Reason::InvalidConfiguration, .. }), "{error:?}");
    assert!(error.to_string().contains("spec.output.video.fileName: a name of topic `ttt"), "{error}");
}
