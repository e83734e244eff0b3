//! Old pictures go, only ours, the oldest first, and whatever went on purpose is known to have: after a crash at any call.

use std::{
    fs,
    io::ErrorKind,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use edgereel_kafka::{consumer::mark::TopicId, reader::Extent};
use jiff::Timestamp;
use proptest::prelude::*;

use super::{tests::*, *};
use crate::sink::{
    disk::faults::{CrashAfter, FailAt},
    output::TopicPartition,
    retention::{
        Unit,
        gone::{Gone, Ledger},
        ours::{Now, Ours},
    },
};

const TOPIC: &str = "AgriCam3";

fn ids() -> BTreeMap<String, String> {
    [(TOPIC.to_owned(), "an-id".to_owned())].into()
}

/// A stock of a topic of which so much is committed.
fn open_committed(root: &Path, committed: i64, disk: Disk) -> Result<JpegFiles, OutputError> {
    let topics = [TOPIC.to_owned()];
    let ours = |_: &Path, _: &Names| -> Result<Ours, OutputError> {
        let extent = Extent { low: 0, high: 200, committed: Some(committed), began: None };
        let now = Now { id: Some(TopicId::new("an-id")), extents: [(1, extent)].into() };
        Ok(Ours::new(&[], &[TOPIC.to_owned()], true, [(TOPIC.to_owned(), now)].into()))
    };
    let output = JpegFiles::with(root, &spec(NAME), &sink(), 0, &topics, disk.clone())?;
    output.keep_stock(&topics, ours, &disk)
}

fn open_keeping(root: &Path, disk: Disk) -> Result<JpegFiles, OutputError> {
    let mut output = open_committed(root, 200, disk)?;
    output.topics(&ids());
    output.resume(&[], Lease::endless())?;
    Ok(output)
}

fn kept(output: &mut JpegFiles) -> &mut dyn Kept {
    output.kept().expect("it keeps a stock")
}

fn flush(output: &mut JpegFiles) -> Result<(), OutputError> {
    (output.seal()?.run)()
}

/// The offset below which frames may be gone.
fn below(root: &Path) -> i64 {
    let gone = Gone::read(&root.join("out/.edgereel/lab.frames")).expect("readable").expect("known");
    gone.below.get(TOPIC).and_then(|ids| ids.get("an-id")?.get(&1).copied()).unwrap_or(0)
}

fn offsets(root: &Path) -> Vec<i64> {
    (0..200).filter(|n| expected([*n]).keys().all(|name| root.join("out").join(name).is_file())).collect()
}

#[test]
fn the_oldest_pictures_go_and_the_rest_is_known_with_its_bytes_also_after_a_restart() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    (0..50).for_each(|n| assert!(output.write(&frame(n)).expect("written").stored));
    assert_eq!(kept(&mut output).oldest().expect("known"), None, "what is not flushed does not go");
    flush(&mut output).expect("durable");
    let first = Unit { time: frame(0).captured_at.as_second(), bytes: frame(0).picture.len() as u64 };
    assert_eq!(kept(&mut output).oldest().expect("known"), Some(first));
    let all = kept(&mut output).totals();
    let mut left = 20;
    let deleted = kept(&mut output)
        .delete(100, &mut |_| {
            left -= 1;
            left >= 0
        })
        .expect("deleted");
    assert_eq!((deleted.files, offsets(root.path())), (20, (20..50).collect()));
    assert_eq!((kept(&mut output).totals(), below(root.path())), (all.without(deleted), 20));
    output.finish().expect("finished");
    drop(output);
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    assert_eq!(kept(&mut output).totals(), all.without(deleted));
    kept(&mut output).delete(100, &mut |_| true).expect("deleted");
    assert_eq!((offsets(root.path()), kept(&mut output).totals().files), (vec![], 0));
    assert!(!root.path().join("out/AgriCam3").exists(), "nor is its empty directory");
    // It is made again.
    output.write(&frame(60)).expect("written");
    flush(&mut output).expect("durable");
    assert_eq!(offsets(root.path()), [60]);
}

#[test]
fn what_is_not_ours_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    (0..5).for_each(|n| assert!(output.write(&frame(n)).expect("written").stored));
    flush(&mut output).expect("durable");
    let path = |n| root.path().join("out").join(expected([n]).keys().next().expect("a name"));
    fs::write(root.path().join("out/AgriCam3/notes.txt"), "mine").expect("written");
    fs::write(path(1), "somebody's own picture").expect("written");
    fs::remove_file(path(2)).expect("removed");
    std::os::unix::fs::symlink("/etc/hostname", path(2)).expect("linked");
    fs::remove_file(path(3)).expect("removed");
    kept(&mut output).delete(100, &mut |_| true).expect("deleted");
    let left: Vec<_> =
        fs::read_dir(root.path().join("out/AgriCam3")).expect("there").map(|e| e.expect("one").path()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(path(1).exists() && path(2).is_symlink() && Path::new("/etc/hostname").exists());
}

#[test]
fn pictures_that_were_there_before_are_listed_from_the_oldest_on() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    (0..20).for_each(|n| assert!(output.write(&frame(n)).expect("written").stored));
    drop(output);
    let path = |n| root.path().join("out").join(expected([n]).keys().next().expect("a name"));
    for n in 0..20 {
        let file = fs::File::options().write(true).open(path(n)).expect("there");
        // The last was stored first.
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - n as u64)).expect("set");
    }
    fs::write(root.path().join("out/notes.txt"), "mine").expect("written");
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    assert_eq!(kept(&mut output).totals().files, 20);
    assert_eq!(kept(&mut output).oldest().expect("known").map(|unit| unit.time), Some(1_700_000_000 - 19));
    kept(&mut output).delete(5, &mut |_| true).expect("deleted");
    assert_eq!(offsets(root.path()), (0..15).collect::<Vec<_>>());
    // Without a retention nothing is listed; with one again, all that is there.
    drop(output);
    let disk = Disk::default();
    let mut output = JpegFiles::with(root.path(), &spec(NAME), &sink(), 0, &[TOPIC.into()], disk.clone())
        .and_then(JpegFiles::keep_no_stock)
        .expect("opens");
    output.resume(&[], Lease::endless()).expect("resumes");
    output.write(&frame(30)).expect("written");
    assert!(output.kept().is_none());
    drop(output);
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    assert_eq!(kept(&mut output).totals().files, 16);
}

#[test]
fn a_file_that_is_of_no_committed_record_or_no_picture_is_not_taken_for_ours() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), Disk::default());
    (0..20).for_each(|n| assert!(output.write(&frame(n)).expect("written").stored));
    drop(output);
    let put = |name: &str, bytes: &[u8]| {
        let path = root.path().join("out").join(TOPIC).join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let strangers = [
        put("frame_1-999999_20200101_000000_000.jpg", b"a text"),
        put("frame_1-000020_20200101_000000_000.jpg", &frame(20).picture),
        put("frame_0-000003_20200101_000000_000.jpg", &frame(3).picture),
        put("frame_1-000003_20200101_000000_000.jpg", b"a text"),
    ];
    let mut output = open_committed(root.path(), 20, Disk::default()).expect("opens");
    assert_eq!(kept(&mut output).totals().files, 20);
    // Deleted before the brokers have assigned anything.
    kept(&mut output).delete(100, &mut |_| true).expect("deleted");
    assert_eq!((offsets(root.path()), below(root.path())), (vec![], 20));
    assert!(strangers.iter().all(|path| path.is_file()));
    let gone = Gone::read(&root.path().join("out/.edgereel/lab.frames")).expect("readable").expect("known");
    assert_eq!(gone.below[TOPIC].keys().collect::<Vec<_>>(), ["an-id"]);
}

#[test]
fn what_an_earlier_version_noted_of_somebodys_file_is_forgotten_and_such_a_file_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    (0..20).for_each(|n| assert!(output.write(&frame(n)).expect("written").stored));
    flush(&mut output).expect("durable");
    drop(output);
    // Its list begins without an id, and with a file that somebody put there.
    let folder = root.path().join("out/.edgereel/lab.frames");
    let name = format!("{TOPIC}/frame_1-999999_20200101_000000_000.jpg");
    fs::write(root.path().join("out").join(&name), b"a text").expect("written");
    let list = folder.join("stored/0000000001");
    let text = fs::read_to_string(&list).expect("readable").replace("@AgriCam3 an-id\n", "");
    let line = format!("#0 0\n1 6 {TOPIC} 1 999999 {name}\n");
    fs::write(&list, text.replacen("#0 0\n", &line, 1)).expect("written");
    let mut ledger = Ledger::open(&folder, &Disk::default()).expect("opens");
    ledger.gone.note(TOPIC, "", 1, 999_999);
    ledger.gone.note(TOPIC, "", 0, 4);
    ledger.write().expect("written");
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    let source = |partition| TopicPartition { topic: TOPIC.into(), partition };
    let assigned =
        [(0, 5), (1, 20)].map(|(n, offset)| Assigned { source: source(n), committed: Some((offset, String::new())) });
    output.resume(&assigned, Lease::endless()).expect("resumes");
    let unnamed = || Gone::read(&folder).expect("readable").expect("known").below[TOPIC][""].clone();
    assert_eq!(unnamed(), [(0, 5)].into());
    kept(&mut output).delete(100, &mut |_| true).expect("deleted");
    assert_eq!((offsets(root.path()), unnamed()), (vec![], [(0, 5), (1, 20)].into()));
    assert!(root.path().join("out").join(&name).is_file());
}

#[test]
fn a_list_or_a_ledger_that_was_damaged_is_made_anew_and_every_picture_can_still_go() {
    for (file, at) in [("stored/0000000001", 700), ("gone", 3), ("stored/0000000001", usize::MAX)] {
        let root = tempfile::tempdir().expect("a directory");
        let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
        (0..50).for_each(|n| assert!(output.write(&frame(n)).expect("written").stored));
        flush(&mut output).expect("durable");
        kept(&mut output).delete(10, &mut |_| true).expect("deleted");
        output.finish().expect("finished");
        drop(output);
        let path = root.path().join("out/.edgereel/lab.frames").join(file);
        let mut bytes = fs::read(&path).expect("readable");
        match (file, bytes.get_mut(at)) {
            ("gone", _) => bytes.fill(0),
            (_, Some(byte)) => *byte = 0xff,
            // It ends before what was deleted of it.
            (_, None) => bytes.truncate(bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1),
        }
        fs::write(&path, bytes).expect("written");
        let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
        assert_eq!(kept(&mut output).totals().files, 40, "{file} {at}");
        kept(&mut output).delete(100, &mut |_| true).expect("deleted");
        assert_eq!(offsets(root.path()), Vec::<i64>::new(), "{file} {at}");
        assert_eq!((kept(&mut output).totals().files, below(root.path())), (0, 50));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write,
    Commit,
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![6 => Just(Step::Write), 2 => Just(Step::Commit), 2 => (1usize..9).prop_map(Step::Delete)]
}

/// Runs steps from the committed frame on; how many frames there were, if it came to the end.
fn run(root: &Path, steps: &[Step], committed: &mut i64, disk: Disk) -> Result<i64, OutputError> {
    let mut output = open_keeping(root, disk)?;
    let (mut at, mut seen) = (*committed, 0);
    for step in steps {
        match step {
            Step::Write => {
                seen += 1;
                if seen > at {
                    output.write(&frame(at))?;
                    at += 1;
                }
            }
            Step::Commit => {
                flush(&mut output)?;
                *committed = at;
            }
            Step::Delete(most) => drop(kept(&mut output).delete(*most, &mut |_| true)?.files),
        }
    }
    flush(&mut output)?;
    *committed = at;
    output.finish()?;
    Ok(at)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..Default::default() })]

    /// The process dies at any call or byte, twice. What is missing then was noted before, what was committed and not noted is
    /// there, and what is there can be deleted to the last.
    #[test]
    fn after_any_crash_what_is_missing_was_deleted_on_purpose(
        steps in prop::collection::vec(step(), 1..60), calls in 0i64..150, bytes in 0u64..20_000,
    ) {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("out/AgriCam3")).expect("made");
        let foreign = root.path().join("out/AgriCam3/frame_x.jpg");
        fs::write(&foreign, "mine").expect("written");
        let mut committed = 0;
        let crashes: [Arc<dyn crate::sink::disk::Faults>; 2] = [
            Arc::new(FailAt::new(calls, ErrorKind::Other, true)),
            Arc::new(CrashAfter(AtomicU64::new(bytes))),
        ];
        for crash in crashes {
            let _ = run(root.path(), &steps, &mut committed, Disk::failing(crash));
            let there = offsets(root.path());
            for n in 0..committed {
                prop_assert!(there.contains(&n) || n < below(root.path()), "frame {} of {}", n, committed);
            }
        }
        let total = run(root.path(), &steps, &mut committed, Disk::default()).expect("no crash");
        let (there, gone) = (offsets(root.path()), below(root.path()));
        prop_assert!((gone..total).all(|n| there.contains(&n)), "below {}: {:?} of {}", gone, there, total);
        let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
        prop_assert!(kept(&mut output).totals().files >= there.len() as u64);
        while kept(&mut output).delete(7, &mut |_| true).expect("deleted").files > 0 {}
        prop_assert_eq!(offsets(root.path()), Vec::<i64>::new());
        prop_assert_eq!(kept(&mut output).totals(), Default::default());
        prop_assert_eq!(fs::read(&foreign).expect("there"), b"mine");
    }
}

/// CPU time of this thread: user, and system.
fn cpu() -> [Duration; 2] {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).expect("usage");
    let of = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    [of(usage.user_time()), of(usage.system_time())]
}

/// Says what was taken since.
fn took(what: &str, began: [Duration; 2]) {
    let [user, system] = [0, 1].map(|n| cpu()[n] - began[n]);
    println!("{what}: {user:?} of CPU, {system:?} in the kernel");
}

/// A measurement: `cargo test … -- --ignored --nocapture deleting_the_oldest`. The figures stand in docs/benchmarks.md.
#[test]
#[ignore = "it makes a million files"]
fn deleting_the_oldest_thousand_of_a_million_costs_little() {
    const FILES: i64 = 1_000_000;
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    let now = Timestamp::now();
    for n in 0..FILES {
        let frame = SinkFrame { picture: bytes::Bytes::from_static(b"small"), captured_at: now, ..frame(0) };
        output.write(&SinkFrame { offset: n, ..frame }).expect("written");
        if n % 10_000 == 9_999 {
            flush(&mut output).expect("durable");
        }
    }
    drop(output);
    let began = cpu();
    let mut output = open_keeping(root.path(), Disk::default()).expect("opens");
    took("opening the list of a million", began);
    let began = cpu();
    let mut deleted = 0;
    while deleted < 1000 {
        deleted += kept(&mut output).delete(250, &mut |_| true).expect("deleted").files;
    }
    took("deleting the oldest thousand of a million", began);
    assert_eq!(deleted, 1000);
}
