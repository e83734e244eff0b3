//! What is on the disk after crashes, full disks and take-overs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use edgereel_crds::template::Template;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{frame::jpeg::JpegInfo, sink::output::TopicPartition};

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
    }
}

fn open(root: &Path, disk: Arc<dyn Disk>) -> JpegFiles {
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

/// A disk that fails at the n-th call, and a machine that dies there: later calls do nothing either.
struct Failing {
    calls_left: AtomicI64,
    kind: io::ErrorKind,
    for_good: bool,
}

impl Failing {
    fn at(calls: i64, kind: io::ErrorKind, for_good: bool) -> Arc<Self> {
        Arc::new(Failing { calls_left: AtomicI64::new(calls), kind, for_good })
    }

    fn call(&self) -> io::Result<()> {
        match self.calls_left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 0 => Ok(()),
            0 => Err(self.kind.into()),
            _ if self.for_good => Err(self.kind.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for Failing {
    fn create(&self, directory: &File, name: &str) -> io::Result<File> {
        self.call()?;
        RealDisk.create(directory, name)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.call() {
            // As a real disk does: a part of it stands already.
            RealDisk.write(file, &bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        RealDisk.write(file, bytes)
    }

    fn rename(&self, from: &File, from_name: &str, to: &File, to_name: &str) -> io::Result<()> {
        self.call()?;
        RealDisk.rename(from, from_name, to, to_name)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.call()?;
        RealDisk.sync_data(file)
    }

    fn sync_file_system(&self, directory: &File) -> io::Result<()> {
        self.call()?;
        RealDisk.sync_file_system(directory)
    }
}

#[test]
fn frames_stand_under_their_names_with_their_bytes() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Arc::new(RealDisk));
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
    let mut output = open(root.path(), Arc::new(RealDisk));
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
    // The calls of one frame are create, write, rename.
    for call in 0..3 {
        let root = tempfile::tempdir().expect("a directory");
        let mut output = open(root.path(), Failing::at(call, io::ErrorKind::StorageFull, false));
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
    let mut output = open(root.path(), Arc::new(RealDisk));
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
    let mut output = open(root.path(), Arc::new(RealDisk));
    output.write(&frame(0)).expect("written");
    fs::remove_dir_all(root.path().join("out/AgriCam3")).expect("removed");
    output.write(&frame(1)).expect("written");
    assert_eq!(files(root.path()), expected([1]));
}

#[test]
fn what_stands_in_the_way_is_named_with_a_remedy() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Failing::at(2, io::ErrorKind::CrossesDevices, true));
    let error = output.write(&frame(0)).expect_err("another file system").to_string();
    assert!(error.contains("frame_1-000000") && error.contains("use one sink for each"), "{error}");

    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Arc::new(RealDisk));
    let (name, _) = expected([0]).pop_first().expect("one");
    fs::create_dir_all(root.path().join("out").join(&name)).expect("made");
    let error = output.write(&frame(0)).expect_err("a directory is in the way").to_string();
    assert!(error.contains("move it away"), "{error}");
}

#[test]
fn few_files_are_synced_one_by_one_and_many_at_once() {
    #[derive(Default)]
    struct Counting(Mutex<(usize, usize)>);
    impl Disk for Counting {
        fn sync_data(&self, _: &File) -> io::Result<()> {
            self.0.lock().expect("unpoisoned").0 += 1;
            Ok(())
        }
        fn sync_file_system(&self, _: &File) -> io::Result<()> {
            self.0.lock().expect("unpoisoned").1 += 1;
            Ok(())
        }
    }
    for (frames, expected) in
        [(0, (0, 0)), (1, (2, 0)), (FEW as i64, (FEW + 1, 0)), (FEW as i64 + 1, (0, 1)), (500, (0, 1))]
    {
        let root = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(Counting::default());
        let mut output = open(root.path(), disk.clone());
        for offset in 0..frames {
            output.write(&frame(offset)).expect("written");
        }
        (output.seal().expect("sealed").run)().expect("durable");
        assert_eq!(
            *disk.0.lock().expect("unpoisoned"),
            expected,
            "{frames} frames: files and their directory, file systems"
        );
        (output.seal().expect("sealed").run)().expect("durable");
        assert_eq!(*disk.0.lock().expect("unpoisoned"), expected, "nothing new, nothing to sync");
    }
}

/// A machine whose power fails: what was not synced is gone, torn or there, as the seed says.
struct PowerCut {
    inner: Arc<Failing>,
    renamed: Mutex<BTreeSet<PathBuf>>,
    directory: PathBuf,
}

impl Disk for PowerCut {
    fn create(&self, directory: &File, name: &str) -> io::Result<File> {
        self.inner.create(directory, name)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(file, bytes)
    }

    fn rename(&self, from: &File, from_name: &str, to: &File, to_name: &str) -> io::Result<()> {
        self.inner.rename(from, from_name, to, to_name)?;
        self.renamed.lock().expect("unpoisoned").insert(self.directory.join(to_name));
        Ok(())
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.inner.sync_data(file)
    }

    fn sync_file_system(&self, directory: &File) -> io::Result<()> {
        self.inner.sync_file_system(directory)
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
        {
            let disk = Arc::new(PowerCut {
                inner: Failing::at(calls, io::ErrorKind::Other, true),
                renamed: Mutex::default(),
                directory: root.path().join("out/AgriCam3"),
            });
            let mut output = open(root.path(), disk.clone());
            let mut run = || -> Result<(), OutputError> {
                for offset in 0..total {
                    output.write(&frame(offset))?;
                    if (offset + 1) % group == 0 {
                        (output.seal()?.run)()?;
                        disk.renamed.lock().expect("unpoisoned").clear();
                        committed = offset + 1;
                    }
                }
                Ok(())
            };
            let _ = run();
            for (path, fate) in disk.renamed.lock().expect("unpoisoned").iter().zip(&fates) {
                match fate {
                    0 => fs::remove_file(path).expect("removed"),
                    1 => File::options().write(true).open(path).and_then(|f| f.set_len(0)).expect("torn"),
                    _ => {}
                }
            }
        }
        for offset in 0..committed {
            let (name, bytes) = expected([offset]).pop_first().expect("one");
            prop_assert_eq!(fs::read(root.path().join("out").join(name)).ok(), Some(bytes), "committed frame {}", offset);
        }
        let mut output = open(root.path(), Arc::new(RealDisk));
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
