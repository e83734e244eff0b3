//! What is on the disk after crashes, full disks and take-overs.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use edgereel_crds::template::Template;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    frame::jpeg::JpegInfo,
    sink::{
        disk::faults::{CountSyncs, FailAt},
        output::{Standing, TopicPartition},
    },
};

fn sink() -> ObjectName {
    ObjectName { namespace: "lab".into(), name: "frames".into() }
}

fn spec(file_name: &str) -> frame_sink::JpegFiles {
    frame_sink::JpegFiles { directory: "out".into(), file_name: file_name.into() }
}

const NAME: &str = "{topic}/frame_{partition}-{offset:06}_{timestamp}.jpg";

fn info() -> JpegInfo {
    crate::frame::jpeg::inspect(crate::sink::testing::JPEG).expect("a JPEG")
}

fn frame(offset: i64) -> SinkFrame {
    SinkFrame {
        source: TopicPartition { topic: "AgriCam3".into(), partition: 1 },
        offset,
        jpeg: Bytes::from(format!("picture {offset} ").repeat(50 + offset as usize)),
        info: info(),
        captured_at: Timestamp::from_millisecond(1_700_000_000_000 + offset * 33).expect("in range"),
        camera: "agricam3".into(),
        sequence: None,
        standing: Standing::at(Timestamp::UNIX_EPOCH),
    }
}

fn open(root: &Path, disk: Disk) -> JpegFiles {
    let mut output = JpegFiles::open(root, &spec(NAME), &sink(), 0, disk).expect("opens");
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

fn expected(offsets: impl IntoIterator<Item = i64>) -> BTreeMap<String, Vec<u8>> {
    let template = Template::parse(NAME).expect("a template");
    let name = |f: &SinkFrame| file_name::render(&template, &f.into()).expect("a name");
    offsets.into_iter().map(|o| (name(&frame(o)), frame(o).jpeg.to_vec())).collect()
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
fn a_record_that_comes_again_replaces_its_file_and_a_foreign_one() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    let (name, bytes) = expected([3]).pop_first().expect("one");
    fs::create_dir_all(root.path().join("out/AgriCam3")).expect("made");
    fs::write(root.path().join("out").join(&name), "something else").expect("written");
    for _ in 0..2 {
        output.write(&frame(3)).expect("written");
        assert_eq!(fs::read(root.path().join("out").join(&name)).expect("there"), bytes);
    }
    assert_eq!(files(root.path()), expected([3]));
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
        [(0, (0, 0)), (1, (2, 0)), (FEW as i64, (FEW as u64 + 1, 0)), (FEW as i64 + 1, (0, 1)), (500, (0, 1))]
    {
        let root = tempfile::tempdir().expect("a directory");
        let syncs = Arc::new(CountSyncs::default());
        let mut output = open(root.path(), Disk::failing(syncs.clone()));
        for offset in 0..frames {
            output.write(&frame(offset)).expect("written");
        }
        (output.seal().expect("sealed").run)().expect("durable");
        assert_eq!(syncs.counts(), expected, "{frames} frames: files and their directory, file systems");
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
        calls in 0i64..120, group in 1i64..20, fates in prop::collection::vec(0u8..3, 40),
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
            .map(|e| e.expect("an entry").file_name()).filter(|n| n != "lock").collect();
        prop_assert_eq!(left, Vec::<std::ffi::OsString>::new(), "no left-overs");
    }
}
