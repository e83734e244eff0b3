//! Frames that a disk lost, or that went where nobody looks for them, are not committed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{tests::*, *};
use crate::sink::{
    disk::{Call, faults::LosesWrites},
    picture_files::FEW,
};

/// A sink that has written so many frames.
fn written(root: &Path, sink: &str, frames: i64, disk: &Disk) -> JpegFiles {
    let name = ObjectName { namespace: "lab".into(), name: sink.into() };
    let spec = frame_sink::JpegFiles { directory: sink.into(), file_name: NAME.into(), time_zone: None };
    let mut output = JpegFiles::open(root, &spec, &name, 0, &[], disk.clone()).expect("opens");
    output.resume(&[], Lease::endless()).expect("resumes");
    (0..frames).for_each(|offset| assert!(output.write(&frame(offset)).expect("written").stored));
    output
}

fn flush(output: &mut JpegFiles) -> Result<(), OutputError> {
    (output.seal().expect("sealed").run)()
}

#[test]
fn writes_that_a_shared_disk_lost_are_committed_by_no_sink_whoever_hears_of_them_first() {
    for first in [0, 1] {
        let root = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(LosesWrites { call: Call::SyncFileSystem, lost: AtomicBool::new(false) });
        let failing = Disk::failing(disk.clone());
        let mut sinks = ["a", "b"].map(|sink| written(root.path(), sink, 20, &failing));
        sinks.iter_mut().for_each(|sink| flush(sink).expect("nothing was lost yet"));
        for sink in &mut sinks {
            (20..40).for_each(|offset| assert!(sink.write(&frame(offset)).expect("written").stored));
        }
        disk.lost.store(true, Ordering::SeqCst);
        for n in [first, 1 - first] {
            let error = flush(&mut sinks[n]).expect_err("its frames may be lost").to_string();
            assert!(error.contains("check the disk"), "{error}");
            sinks[n].write(&frame(50)).expect("written");
            let again = (51..70).map(|offset| sinks[n].write(&frame(offset))).all(|written| written.is_ok());
            assert!(again && flush(&mut sinks[n]).is_err(), "another sync does not bring back what was lost");
        }
        drop(sinks);
        // The sinks start anew and write again what was not committed.
        flush(&mut written(root.path(), "a", 40, &failing)).expect("durable now");
    }
}

#[test]
fn a_sink_alone_does_not_commit_what_was_lost() {
    for (frames, call) in [(1, Call::Sync), (FEW as i64, Call::Sync), (FEW as i64 + 1, Call::SyncFileSystem)] {
        let root = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(LosesWrites { call, lost: AtomicBool::new(true) });
        let mut sink = written(root.path(), "out", frames, &Disk::failing(disk.clone()));
        let names = || expected(0..frames).into_keys().map(|name| root.path().join("out").join(name));
        // Open, so that no new file gets their numbers.
        let before: Vec<File> = names().map(|path| File::open(path).expect("there")).collect();
        flush(&mut sink).expect_err("lost");
        drop(sink);
        let mut sink = written(root.path(), "out", frames, &Disk::failing(disk));
        flush(&mut sink).expect("written again");
        for (before, path) in before.iter().zip(names()) {
            let inode = |meta: io::Result<fs::Metadata>| meta.expect("there").ino();
            assert_ne!(inode(before.metadata()), inode(fs::metadata(path)), "what was lost was not written again");
        }
    }
}

#[test]
fn frames_that_went_to_a_directory_that_was_moved_away_are_not_committed_but_written_where_they_belong() {
    for moved in ["out", "out/AgriCam3", "out/.edgereel"] {
        for frames in [1, FEW as i64 + 5] {
            let root = tempfile::tempdir().expect("a directory");
            let mut output = open(root.path(), Disk::default());
            output.write(&frame(100)).expect("written");
            flush(&mut output).expect("nothing has moved yet");
            fs::rename(root.path().join(moved), root.path().join("elsewhere")).expect("moved");
            (0..frames).for_each(|offset| assert!(output.write(&frame(offset)).is_ok()));
            let error = flush(&mut output).expect_err("moved").to_string();
            let path: PathBuf = root.path().join(moved);
            assert!(error.contains(&*path.to_string_lossy()) && error.contains("moved away"), "{moved}: {error}");
            drop(output);
            let mut output = open(root.path(), Disk::default());
            (0..frames).for_each(|offset| assert!(output.write(&frame(offset)).is_ok()));
            flush(&mut output).expect("in its place");
            assert!(expected(0..frames).keys().all(|name| root.path().join("out").join(name).exists()));
        }
    }
}

#[test]
fn a_directory_of_an_earlier_batch_may_be_moved() {
    let root = tempfile::tempdir().expect("a directory");
    let name = "{offset:02}/{partition}-{offset}.jpg";
    let mut output = JpegFiles::open(root.path(), &spec(name), &sink(), 0, &[], Disk::default()).expect("opens");
    output.resume(&[], Lease::endless()).expect("resumes");
    for offset in 0..200 {
        output.write(&frame(offset)).expect("written");
        if offset % 20 == 19 {
            flush(&mut output).expect("in its place");
            let day = format!("{offset:02}");
            fs::rename(root.path().join("out").join(&day), root.path().join(day)).expect("archived");
        }
    }
}
