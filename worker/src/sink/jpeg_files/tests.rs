//! What is on the disk after crashes, full disks and take-overs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use edgereel_crds::template::Template;
use edgereel_frame::{picture::Info, wire::Label};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::sink::{
    disk::faults::{CountSyncs, FailAt},
    output::{Standing, TopicPartition},
    picture_files::FEW,
};

pub(super) fn sink() -> ObjectName {
    ObjectName { namespace: "lab".into(), name: "frames".into() }
}

pub(super) fn spec(file_name: &str) -> frame_sink::JpegFiles {
    frame_sink::JpegFiles { directory: "out".into(), file_name: file_name.into(), time_zone: None }
}

pub(super) const NAME: &str = "{topic}/frame_{partition}-{offset:06}_{timestamp}.jpg";

fn info() -> Info {
    edgereel_frame::picture::inspect(crate::sink::testing::JPEG).expect("a JPEG")
}

pub(super) fn frame(offset: i64) -> SinkFrame {
    SinkFrame {
        source: TopicPartition { topic: "AgriCam3".into(), partition: 1 },
        offset,
        picture: [&[0xff, 0xd8][..], format!("picture {offset} ").repeat(50 + offset as usize).as_bytes()]
            .concat()
            .into(),
        info: info(),
        label: Label::default(),
        captured_at: Timestamp::from_millisecond(1_700_000_000_000 + offset * 33).expect("in range"),
        camera: "agricam3".into(),
        sequence: None,
        standing: Standing::at(Timestamp::UNIX_EPOCH),
    }
}

pub(super) fn open(root: &Path, disk: Disk) -> JpegFiles {
    let mut output = JpegFiles::open(root, &spec(NAME), &sink(), 0, &["AgriCam3".into()], disk).expect("opens");
    output.resume(&[], Lease::endless()).expect("resumes");
    output
}

/// All files below the output with their contents, the sink's own folder left out.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, top: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path()) {
            if entry.is_dir() {
                walk(&entry, top, found);
            } else {
                let name = entry.strip_prefix(top).expect("below").to_string_lossy().into_owned();
                found.insert(name, fs::read(&entry).expect("readable"));
            }
        }
    }
    let mut found = BTreeMap::new();
    let top = root.join("out");
    walk(&top, &top, &mut found);
    found.retain(|name, _| !name.starts_with(".edgereel"));
    found
}

pub(super) fn expected(offsets: impl IntoIterator<Item = i64>) -> BTreeMap<String, Vec<u8>> {
    let template = Template::parse(NAME).expect("a template");
    let name = |f: &SinkFrame| file_name::render(&template, &f.into()).expect("a name");
    offsets.into_iter().map(|o| (name(&frame(o)), frame(o).picture.to_vec())).collect()
}

fn failing(call: i64, kind: io::ErrorKind, for_good: bool) -> Disk {
    Disk::failing(Arc::new(FailAt::new(call, kind, for_good)))
}

#[test]
fn frames_stand_under_their_names_with_their_bytes() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    for offset in 0..20 {
        assert_eq!(output.write(&frame(offset)).expect("written"), Written { stored: true, repeated: 0 });
    }
    (output.seal().expect("sealed").run)().expect("durable");
    output.finish().expect("finished");
    assert_eq!(files(root.path()), expected(0..20));
    assert!(files(root.path()).contains_key("AgriCam3/frame_1-000007_20231114_221320_231.jpg"));
}

#[test]
fn a_record_that_comes_again_is_written_again_and_replaces_what_a_power_failure_left_of_it() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    let (name, bytes) = expected([30]).pop_first().expect("one");
    let path = root.path().join("out").join(name);
    fs::create_dir_all(root.path().join("out/AgriCam3")).expect("made");
    let mut zeros = bytes.clone();
    zeros[..512].fill(0);
    for left in [&bytes[..], &bytes[..700], &zeros, &[0; 800], b""] {
        fs::write(&path, left).expect("written");
        let before = fs::metadata(&path).expect("there").ino();
        output.write(&frame(30)).expect("written");
        assert_eq!(fs::read(&path).expect("there"), bytes);
        // Bytes that were read back may be the memory's only: the disk has to get them again.
        assert_ne!(fs::metadata(&path).expect("there").ino(), before, "{} bytes", left.len());
    }
    assert_eq!(files(root.path()), expected([30]));
}

#[test]
fn a_picture_is_never_overwritten_by_another() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    output.write(&frame(3)).expect("written");
    let before = files(root.path());
    let path = root.path().join("out").join(before.keys().next().expect("one"));
    // As from a topic that was made anew: shorter; and with one byte changed.
    let mut changed = frame(3).picture.to_vec();
    changed[100] ^= 1;
    for other in [b"another picture".to_vec(), changed] {
        let anew = SinkFrame { picture: other.into(), ..frame(3) };
        let error = output.write(&anew).expect_err("taken");
        assert!(matches!(error, OutputError::Storage { reason: Reason::StorageError, .. }), "{error:?}");
        let error = error.to_string();
        for word in [&path.to_string_lossy(), "record AgriCam3[1]@3", "topic made anew", "move it away"] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(files(root.path()), before);
    }
    output.write(&frame(4)).expect("others go on");
}

#[test]
fn what_is_no_file_is_not_overwritten_either() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    let (name, _) = expected([0]).pop_first().expect("one");
    let path = root.path().join("out").join(name);
    fs::create_dir_all(path.parent().expect("below")).expect("made");
    std::os::unix::fs::symlink("/etc/hostname", &path).expect("linked");
    assert!(output.write(&frame(0)).expect_err("a link").to_string().contains("is a symbolic link"));
    fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert!(output.write(&frame(0)).expect_err("a pipe").to_string().contains("is not a file"));
}

#[test]
fn of_two_sinks_that_write_the_same_names_at_once_each_file_is_one_sinks() {
    let root = tempfile::tempdir().expect("a directory");
    let refused: Vec<Vec<i64>> = std::thread::scope(|scope| {
        let writers: Vec<_> = ["one", "other"]
            .map(|sink| {
                let root = root.path();
                scope.spawn(move || {
                    let name = ObjectName { namespace: "lab".into(), name: sink.into() };
                    let mut output = JpegFiles::with(root, &spec(NAME), &name, 0, &[], Disk::default()).expect("opens");
                    output.resume(&[], Lease::endless()).expect("resumes");
                    let of =
                        |offset| SinkFrame { picture: format!("{sink} {offset}").repeat(99).into(), ..frame(offset) };
                    (0..200).filter(|offset| output.write(&of(*offset)).is_err()).collect()
                })
            })
            .into_iter()
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    });
    assert_eq!(refused[0].len() + refused[1].len(), 200, "one of both, each time");
    for (offset, (_, bytes)) in files(root.path()).into_iter().enumerate() {
        let winner = if refused[0].contains(&(offset as i64)) { "other" } else { "one" };
        assert_eq!(bytes, format!("{winner} {offset}").repeat(99).into_bytes());
    }
}

#[test]
fn a_name_that_no_file_can_have_is_refused_at_the_start() {
    let root = tempfile::tempdir().expect("a directory");
    let long = ["t".repeat(249)];
    let refused =
        JpegFiles::open(root.path(), &spec("{topic}-{partition}-{offset}.jpg"), &sink(), 0, &long, Disk::default());
    let error = refused.err().expect("refused");
    assert!(matches!(error, OutputError::Storage { reason: Reason::InvalidConfiguration, .. }), "{error:?}");
    assert!(error.to_string().contains("spec.output.jpegFiles.fileName: a name of topic `ttt"), "{error}");
}

#[test]
fn a_full_disk_leaves_nothing_of_the_frame_and_the_next_try_succeeds() {
    // The start removes what was left; then the calls of one frame are create, write, rename.
    for call in 1..4 {
        let root = tempfile::tempdir().expect("a directory");
        let mut output = open(root.path(), failing(call, io::ErrorKind::StorageFull, false));
        let error = output.write(&frame(0)).expect_err("full");
        assert!(matches!(error, OutputError::NoSpace { .. }), "call {call}: {error}");
        assert_eq!(files(root.path()), BTreeMap::new(), "call {call}");
        output.write(&frame(0)).expect("there is room again");
        assert_eq!(files(root.path()), expected([0]), "call {call}");
    }
}

#[test]
fn a_worker_that_lost_its_partitions_renames_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    let current = Arc::new(AtomicU64::new(1));
    let lease = Lease::new(1, current.clone(), Arc::new(AtomicU64::new(u64::MAX)));
    output.resume(&[], lease).expect("resumes");
    output.write(&frame(0)).expect("written");
    current.store(2, Ordering::SeqCst);
    assert!(matches!(output.write(&frame(1)), Err(OutputError::Superseded)));
    output.finish().expect("finished");
    assert!(matches!(output.write(&frame(2)), Err(OutputError::Superseded)), "no lease, no write");
    assert_eq!(files(root.path()), expected([0]));
}

#[test]
fn a_directory_that_was_tidied_away_is_made_again() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    output.write(&frame(0)).expect("written");
    fs::remove_dir_all(root.path().join("out/AgriCam3")).expect("removed");
    output.write(&frame(1)).expect("written");
    assert_eq!(files(root.path()), expected([1]));
}

#[test]
fn what_stands_in_the_way_is_named_with_a_remedy() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), failing(3, io::ErrorKind::CrossesDevices, true));
    let error = output.write(&frame(0)).expect_err("another file system").to_string();
    assert!(error.contains("frame_1-000000") && error.contains("use one sink for each"), "{error}");

    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    let (name, _) = expected([0]).pop_first().expect("one");
    fs::create_dir_all(root.path().join("out").join(&name)).expect("made");
    let error = output.write(&frame(0)).expect_err("a directory is in the way").to_string();
    assert!(error.contains("move it away"), "{error}");
}

#[test]
fn few_files_are_synced_one_by_one_and_many_at_once() {
    for (frames, expected) in
        [(0, (0, 0)), (1, (3, 0)), (FEW as i64, (FEW as u64 + 2, 0)), (FEW as i64 + 1, (0, 1)), (500, (0, 1))]
    {
        let root = tempfile::tempdir().expect("a directory");
        let syncs = Arc::new(CountSyncs::default());
        let mut output = open(root.path(), Disk::failing(syncs.clone()));
        for offset in 0..frames {
            output.write(&frame(offset)).expect("written");
        }
        (output.seal().expect("sealed").run)().expect("durable");
        assert_eq!(syncs.counts(), expected, "{frames} frames: files, their directory and the one above, file systems");
        (output.seal().expect("sealed").run)().expect("durable");
        assert_eq!(syncs.counts(), expected, "nothing new, nothing to sync");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The machine dies at any call and loses what was not synced. A new worker goes on at the committed offset and the
    /// disk ends with exactly the topic's frames.
    #[test]
    fn after_any_crash_the_directory_holds_exactly_the_frames(
        calls in 0i64..120, group in 1i64..20, fates in prop::collection::vec(0u8..6, 40),
    ) {
        let root = tempfile::tempdir().expect("a directory");
        let total = 30;
        let mut committed = 0;
        let mut durable = BTreeMap::new();
        {
            // The start removes what an earlier worker left: one call more than the frames need.
            let mut output = open(root.path(), failing(calls + 1, io::ErrorKind::Other, true));
            let mut run = || -> Result<(), OutputError> {
                for offset in 0..total {
                    output.write(&frame(offset))?;
                    if (offset + 1) % group == 0 {
                        (output.seal()?.run)()?;
                        durable = files(root.path());
                        committed = offset + 1;
                    }
                }
                Ok(())
            };
            let _ = run();
            // The power fails with it: what was not synced is gone, torn or there.
            let unsynced = files(root.path()).into_keys().filter(|name| !durable.contains_key(name));
            for (path, fate) in unsynced.map(|name| root.path().join("out").join(name)).zip(&fates) {
                match fate {
                    0 => fs::remove_file(&path).expect("removed"),
                    1 => File::options().write(true).open(&path).and_then(|f| f.set_len(0)).expect("torn"),
                    2 => File::options().write(true).open(&path).and_then(|f| f.set_len(100)).expect("torn"),
                    3 => fs::write(&path, [0; 300]).expect("zeroed"),
                    _ => {}
                }
            }
        }
        for offset in 0..committed {
            let (name, bytes) = expected([offset]).pop_first().expect("one");
            prop_assert_eq!(fs::read(root.path().join("out").join(name)).ok(), Some(bytes), "committed frame {}", offset);
        }
        let mut output = open(root.path(), Disk::default());
        for offset in committed..total {
            output.write(&frame(offset)).expect("written");
        }
        (output.seal().expect("sealed").run)().expect("durable");
        prop_assert_eq!(files(root.path()), expected(0..total));
        let left: Vec<_> = fs::read_dir(root.path().join("out/.edgereel/lab.frames")).expect("there")
            .map(|e| e.expect("an entry").file_name()).filter(|n| n != "lock" && n != "names.json").collect();
        prop_assert_eq!(left, Vec::<std::ffi::OsString>::new(), "no left-overs");
    }
}
