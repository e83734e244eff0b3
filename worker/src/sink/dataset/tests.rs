//! The output as the runner uses it: rows and pictures, rotation, edits, crashes at any byte.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use edgereel_crds::units::{ByteSize, Duration};
use edgereel_frame::{picture, wire::Label};
use proptest::prelude::*;
use spec::{Every, Formulas, Rotation};

use super::*;
use crate::sink::{
    disk::faults::{CrashAfter, FailAt, Full},
    output::{Standing as Place, TopicPartition},
};

fn sink() -> ObjectName {
    ObjectName { namespace: "lab".into(), name: "labels".into() }
}

fn spec(rotate: Option<Rotation>) -> spec::Dataset {
    spec::Dataset {
        directory: "set".into(),
        file_name: "output_images/{partition}-{offset:06}_{file}".into(),
        annotations: None,
        time_zone: None,
        rotate,
        formulas: Formulas::Escape,
        merge_window: Duration::millis(250),
    }
}

fn daily() -> Option<Rotation> {
    Some(Rotation { every: Some(Every::Day), max_bytes: None })
}

fn source() -> TopicPartition {
    TopicPartition { topic: "images".into(), partition: 0 }
}

fn assigned(committed: &Option<(i64, String)>) -> Vec<Assigned> {
    vec![Assigned { source: source(), committed: committed.clone() }]
}

/// Picture `n` of the day, of each kind in turn.
fn frame(n: i64, annotation: &str, time: Timestamp) -> SinkFrame {
    let text = format!("{n} ").repeat(40);
    let picture = match n % 3 {
        0 => edgereel_frame::samples::png(&text),
        1 => edgereel_frame::samples::webp(&text),
        _ => edgereel_frame::samples::with_comment(crate::sink::testing::JPEG, &text),
    };
    SinkFrame {
        source: source(),
        offset: n,
        info: picture::inspect(&picture).expect("a picture"),
        picture: Bytes::from(picture),
        label: Label { annotation: Some(annotation.into()), file: Some(format!("p{n}.png")) },
        captured_at: time,
        camera: "images".into(),
        sequence: None,
        standing: Place::at(time),
    }
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_717_459_200 + hour * 3600).expect("in range") // 2024-06-04
}

fn open(root: &Path, spec: &spec::Dataset) -> Dataset {
    let mut output = Dataset::with(root, spec, &sink(), &["images".into()], Disk::default()).expect("opens");
    output.resume(&assigned(&None), Lease::endless()).expect("resumes");
    output
}

fn flush(output: &mut Dataset) -> String {
    let job = output.seal().expect("sealed");
    (job.run)().expect("durable");
    output.committed().expect("told");
    job.metadata
}

/// The CSVs by their names, and the pictures by theirs.
fn stored(root: &Path) -> (BTreeMap<String, String>, BTreeMap<String, Vec<u8>>) {
    let list = |below: &Path| -> Vec<_> {
        let all = fs::read_dir(below).into_iter().flatten();
        all.map(|e| e.expect("an entry")).filter(|e| e.path().is_file()).collect()
    };
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("text");
    let top = root.join("set");
    let csvs = list(&top).iter().map(|e| (name(e), fs::read_to_string(e.path()).expect("text"))).collect();
    let pictures = list(&top.join("output_images"));
    (csvs, pictures.iter().map(|e| (format!("output_images/{}", name(e)), fs::read(e.path()).expect("read"))).collect())
}

#[test]
fn pictures_of_all_kinds_stand_under_their_names_and_in_the_csv() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), &spec(None));
    for (n, annotation) in ["2024-09-10", "a, \"b\"", "two\nlines", "=1+1"].into_iter().enumerate() {
        output.write(&frame(n as i64, annotation, at(0))).expect("written");
    }
    flush(&mut output);
    output.finish().expect("finished");
    let (csvs, pictures) = stored(root.path());
    let expected = "image_path,annotation\noutput_images/0-000000_p0.png,2024-09-10\noutput_images/0-000001_p1.webp,\"a, \
                    \"\"b\"\"\"\noutput_images/0-000002_p2.jpg,\"two\nlines\"\noutput_images/0-000003_p3.png,'=1+1\n";
    assert_eq!(csvs, BTreeMap::from([("annotation.csv".into(), expected.into())]));
    let found: Vec<_> = pictures.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
    let bytes = |n| frame(n, "", at(0)).picture.len();
    assert_eq!(found[0], ("output_images/0-000000_p0.png", bytes(0)));
    assert_eq!((found[1].0, found[2].0), ("output_images/0-000001_p1.webp", "output_images/0-000002_p2.jpg"));
}

#[test]
fn a_new_csv_begins_with_the_day_and_late_pictures_begin_none() {
    let root = tempfile::tempdir().expect("a directory");
    let spec = spec::Dataset { time_zone: Some("Europe/Rome".into()), ..spec(daily()) };
    let mut output = open(root.path(), &spec);
    // 21:00 in UTC is 23:00 there.
    for (n, hour) in [20, 21, 22, 21, 47].into_iter().enumerate() {
        output.write(&frame(n as i64, "x", at(hour))).expect("written");
    }
    let (metadata, committed) = (flush(&mut output), 5);
    let (csvs, _) = stored(root.path());
    let rows: Vec<_> = csvs.iter().map(|(name, text)| (name.as_str(), text.lines().count() - 1)).collect();
    assert_eq!(
        rows,
        [("annotation_2024-06-04.csv", 2), ("annotation_2024-06-05.csv", 2), ("annotation_2024-06-06.csv", 1)]
    );
    // The day goes on after a restart.
    let mut output = {
        drop(output);
        Dataset::with(root.path(), &spec, &sink(), &["images".into()], Disk::default()).expect("opens")
    };
    output.resume(&assigned(&Some((committed, metadata))), Lease::endless()).expect("resumes");
    output.write(&frame(5, "x", at(48))).expect("written");
    flush(&mut output);
    assert_eq!(stored(root.path()).0["annotation_2024-06-06.csv"].lines().count(), 3);
}

#[test]
fn a_new_csv_begins_where_one_is_full_and_takes_no_other_files_name() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("set")).expect("made");
    fs::write(root.path().join("set/annotation_2024-06-04.csv"), "image_path,annotation\nmine,x\n").expect("written");
    let rotate = Rotation { every: None, max_bytes: Some(ByteSize(100)) };
    let mut output = open(root.path(), &spec(Some(rotate)));
    (0..5).for_each(|n| assert!(output.write(&frame(n, "x", at(0))).expect("written").stored));
    flush(&mut output);
    let (csvs, _) = stored(root.path());
    let rows: Vec<_> = csvs.iter().map(|(name, text)| (name.as_str(), text.lines().count() - 1)).collect();
    let name = |n| format!("annotation_2024-06-04{n}.csv");
    let names = [name(""), name("_2"), name("_3")];
    assert_eq!(rows, [(&*names[0], 1), (&*names[1], 3), (&*names[2], 2)]);
}

#[test]
fn a_full_disk_leaves_no_row_and_no_picture_and_the_next_try_succeeds() {
    // What the start removes and lists comes before.
    for call in 2..12 {
        let root = tempfile::tempdir().expect("a directory");
        let disk = Disk::failing(Arc::new(FailAt::new(call, std::io::ErrorKind::StorageFull, false)));
        let mut output = Dataset::with(root.path(), &spec(None), &sink(), &["images".into()], disk).expect("opens");
        output.resume(&assigned(&None), Lease::endless()).expect("resumes");
        let mut tries = 0;
        for n in 0..2 {
            while let Err(error) = output.write(&frame(n, "x", at(0))) {
                assert!(matches!(error, OutputError::NoSpace { .. }), "{error}");
                tries += 1;
            }
        }
        flush(&mut output);
        assert!(tries <= 1, "call {call}");
        let (csvs, pictures) = stored(root.path());
        assert_eq!((csvs["annotation.csv"].lines().count(), csvs.len(), pictures.len()), (3, 1, 2), "call {call}");
    }
    // Rows that wait are written while there is nothing to undo.
    let root = tempfile::tempdir().expect("a directory");
    let full = Arc::new(Full { on: AtomicBool::new(false), free: AtomicU64::new(0) });
    let output = Dataset::with(root.path(), &spec(None), &sink(), &["images".into()], Disk::failing(full.clone()));
    let mut output = output.expect("opens");
    output.resume(&assigned(&None), Lease::endless()).expect("resumes");
    let long = "long".repeat(20_000);
    output.write(&frame(0, &long, at(0))).expect("written");
    full.on.store(true, Ordering::Relaxed);
    assert!(matches!(output.write(&frame(1, "x", at(0))), Err(OutputError::NoSpace { .. })));
    assert_eq!(stored(root.path()).1.len(), 1);
    full.on.store(false, Ordering::Relaxed);
    output.write(&frame(1, "x", at(0))).expect("written");
    flush(&mut output);
    assert_eq!(stored(root.path()).0["annotation.csv"].lines().count(), 3);
}

#[test]
fn a_csv_that_another_program_changed_stops_the_sink_until_it_is_told_to_begin_anew() {
    let root = tempfile::tempdir().expect("a directory");
    let mut output = open(root.path(), &spec(None));
    (0..3).for_each(|n| assert!(output.write(&frame(n, "x", at(0))).expect("written").stored));
    let committed = Some((3, flush(&mut output)));
    let path = root.path().join("set/annotation.csv");
    let whole = fs::read_to_string(&path).expect("text");
    let saved = whole.replace('\n', "\r\n").replace(",x", ",\"x\"");
    for (changed, words) in [(&whole[..30], "bytes"), (&saved, "changed by another program")] {
        fs::write(&path, changed).expect("written");
        let error = output.resume(&assigned(&committed), Lease::endless()).expect_err("changed").to_string();
        assert!(error.contains(words) && error.contains("begin-anew"), "{error}");
    }
    fs::write(output.folder().join("begin-anew"), "").expect("made");
    output.resume(&assigned(&committed), Lease::endless()).expect("asked for");
    output.write(&frame(3, "x", at(0))).expect("written");
    flush(&mut output);
    assert!(!output.folder().join("begin-anew").exists());
    let (csvs, _) = stored(root.path());
    assert_eq!((csvs["annotation.csv"].as_str(), csvs["annotation_2.csv"].lines().count()), (&*saved, 2));
}

#[test]
fn a_sink_that_wrote_a_video_before_leaves_it_as_it_is() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("set")).expect("made");
    fs::write(root.path().join("set/gate.avi"), "RIFF of a video").expect("written");
    let before = OpenAt { name: "gate.avi".into(), end: 4, frames: 1, csv: 4, began: 0, timing: None };
    let before = Checkpoint { segment: 7, open: Some(before) }.to_metadata();
    let mut output =
        Dataset::with(root.path(), &spec(None), &sink(), &["images".into()], Disk::default()).expect("opens");
    output.resume(&assigned(&Some((5, before))), Lease::endless()).expect("resumes");
    output.write(&frame(5, "x", at(0))).expect("written");
    assert!(flush(&mut output).contains("\"segment\":8"));
    assert_eq!(fs::read(root.path().join("set/gate.avi")).expect("there"), b"RIFF of a video");
}

#[derive(Clone, Debug)]
enum Step {
    /// A picture with this annotation, so many hours after the one before.
    Picture(String, i64),
    /// Flush and commit.
    Commit,
    /// A clean stop and a start.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let annotation = prop_oneof!["[a-z]{0,9}", "[a\",=\n'-]{0,9}", "x{200,300}"];
    prop_oneof![
        10 => (annotation, 0i64..9).prop_map(|(annotation, hours)| Step::Picture(annotation, hours)),
        2 => Just(Step::Commit),
        1 => Just(Step::Restart),
    ]
}

/// Kafka's side.
#[derive(Clone, Default)]
struct Group {
    committed: Option<(i64, String)>,
    next: usize,
}

/// Runs steps from the committed picture on until the end or the crash. True when it came to the end.
fn run(root: &Path, spec: &spec::Dataset, frames: &[SinkFrame], steps: &[Step], group: &mut Group, disk: Disk) -> bool {
    let attempt = || -> Result<(), OutputError> {
        let mut output = Dataset::with(root, spec, &sink(), &["images".into()], disk)?;
        let start = |output: &mut Dataset, group: &mut Group| -> Result<(), OutputError> {
            let metadata = output.resume(&assigned(&group.committed), Lease::endless())?;
            group.committed.get_or_insert((0, metadata));
            Ok(())
        };
        let commit = |output: &mut Dataset, group: &mut Group, at: usize| -> Result<(), OutputError> {
            let job = output.seal()?;
            (job.run)()?;
            *group = Group { committed: Some((at as i64, job.metadata)), next: at };
            output.committed()
        };
        start(&mut output, group)?;
        let (mut at, mut seen) = (group.next, 0);
        for step in steps {
            match step {
                Step::Picture(..) => {
                    seen += 1;
                    if seen > at {
                        output.write(&frames[at])?;
                        at += 1;
                    }
                }
                Step::Commit if seen >= at => commit(&mut output, group, at)?,
                Step::Restart if seen >= at => {
                    commit(&mut output, group, at)?;
                    output.finish()?;
                    start(&mut output, group)?;
                }
                _ => {}
            }
        }
        commit(&mut output, group, at)?;
        output.finish()
    };
    attempt().is_ok()
}

/// The power fails: what was not synced of the open CSV may be there, or not, or be rubbish.
fn lose_power(root: &Path, group: &Group, rubbish: &[u8]) {
    let Some((_, metadata)) = &group.committed else { return };
    let Some(open) = Checkpoint::from_metadata(metadata).expect("ours").open else { return };
    let path = root.join("set").join(&open.name);
    let mut bytes = fs::read(&path).expect("there");
    bytes.truncate(open.csv as usize + (bytes.len() - open.csv as usize) / 2);
    bytes.extend(rubbish);
    fs::write(&path, bytes).expect("written");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..Default::default() })]
    #[test]
    fn after_a_crash_at_any_byte_each_picture_has_one_row_and_no_row_is_missing(
        rotate in prop_oneof![
            Just(None), Just(daily()), Just(Some(Rotation { every: Some(Every::Day), max_bytes: Some(ByteSize(300)) })),
        ],
        steps in prop::collection::vec(step(), 1..60),
        crashes in prop::collection::vec(any::<prop::sample::Index>(), 10),
        rubbish in prop::collection::vec(any::<u8>(), 0..40),
        power in any::<bool>(),
    ) {
        let spec = spec(rotate);
        let mut hour = 0;
        let pictures = steps.iter().filter_map(|step| match step {
            Step::Picture(annotation, hours) => { hour += hours; Some((annotation, hour)) }
            _ => None,
        });
        let frames: Vec<_> = pictures.enumerate().map(|(n, (text, hour))| frame(n as i64, text, at(hour))).collect();
        let clean = tempfile::tempdir().expect("a directory");
        let budget = Arc::new(CrashAfter(AtomicU64::new(u64::MAX)));
        let done = run(clean.path(), &spec, &frames, &steps, &mut Group::default(), Disk::failing(budget.clone()));
        prop_assert!(done);
        let total = u64::MAX - budget.0.load(Ordering::Relaxed);
        let expected = stored(clean.path());
        prop_assert_eq!(expected.1.len(), frames.len());
        let rows = expected.0.values().flat_map(|text| rows::reader(text.as_bytes()).into_records().skip(1));
        prop_assert_eq!(rows.count(), frames.len());
        for crash in &crashes {
            let after = crash.index(total as usize) as u64;
            let dir = tempfile::tempdir().expect("a directory");
            let mut group = Group::default();
            let disk = Disk::failing(Arc::new(CrashAfter(AtomicU64::new(after))));
            run(dir.path(), &spec, &frames, &steps, &mut group, disk);
            if power {
                lose_power(dir.path(), &group, &rubbish);
            }
            // It crashes once more while it recovers or soon after.
            let disk = Disk::failing(Arc::new(CrashAfter(AtomicU64::new(after % 3001))));
            run(dir.path(), &spec, &frames, &steps, &mut group, disk);
            let done = run(dir.path(), &spec, &frames, &steps, &mut group, Disk::default());
            prop_assert!(done, "crash after {after}");
            prop_assert_eq!(&stored(dir.path()), &expected, "crash after {}", after);
        }
    }
}
