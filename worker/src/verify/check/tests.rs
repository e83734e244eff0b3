//! Real files, written by the outputs themselves, against records that are made up: whatever was stored in whatever order,
//! what is found is what was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    rc::Rc,
};

use bytes::Bytes;
use edgereel_crds::{
    FrameSinkSpec, KafkaConnectionSpec,
    frame_sink::Output as Spec,
    name::ObjectName,
    plan::{Connection, Volume},
};
use edgereel_kafka::consumer::{
    earlier::{Earlier, EarlierTopic, Since},
    mark::TopicId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{dataset::Dataset, past::Past, pictures::Pictures, report::Counts, video::Video},
    *,
};
use crate::sink::{
    output::{Lease, Output, SinkFrame, Standing, TopicPartition},
    testing::JPEG,
    video,
};

const TOPIC: &str = "gate";
/// When record 0 was captured, in milliseconds.
const BEGAN: i64 = 1_700_000_000_000;

/// A picture that no other record has.
fn jpeg(n: i64) -> Vec<u8> {
    [&[0xFF, 0xD8, 0xFF, 0xFE, 0, 10][..], &n.to_be_bytes(), &JPEG[2..]].concat()
}

fn record(n: i64) -> StoredRecord {
    StoredRecord {
        topic: TOPIC.into(),
        partition: 0,
        offset: n,
        key: None,
        value: Some(Bytes::from(jpeg(n))),
        headers: vec![],
        timestamp: Some(BEGAN + n * 100),
    }
}

fn frame(n: i64, plan: &SinkPlan) -> SinkFrame {
    let decoded = decode(&record(n), plan).expect("a frame");
    SinkFrame {
        source: TopicPartition { topic: TOPIC.into(), partition: 0 },
        offset: n,
        picture: decoded.picture,
        info: decoded.info,
        label: decoded.label,
        captured_at: decoded.captured_at,
        camera: TOPIC.into(),
        sequence: None,
        standing: Standing::at(decoded.captured_at),
    }
}

/// The place of a record, with any picture.
fn frame_of(n: i64) -> SinkFrame {
    frame(n, &plan(json!({"jpegFiles": {}}), Path::new("/")))
}

fn plan(output: Value, root: &Path) -> SinkPlan {
    let spec = json!({
        "from": {"topics": [TOPIC]}, "output": output, "storage": {"hostPath": {"path": root}},
        "placement": {"nodes": ["here"]},
    });
    let spec: FrameSinkSpec = serde_json::from_value(spec).expect("a spec");
    let connection: KafkaConnectionSpec =
        serde_json::from_value(json!({"bootstrapServers": ["kafka:9092"]})).expect("a spec");
    let name = || ObjectName { namespace: "lab".into(), name: TOPIC.into() };
    SinkPlan {
        name: name(),
        connection: Connection { name: name(), spec: connection },
        topics: vec![TOPIC.into()],
        group: TOPIC.into(),
        on_invalid: OnInvalid::Fail,
        camera: None,
        volume: Volume { place: String::new(), alone: true },
        spec,
    }
}

/// Holds the files of a plan against these records of a topic that begins at `low`, all of them committed.
fn checked(plan: &SinkPlan, root: &Path, low: i64, records: &BTreeSet<i64>, high: i64) -> Report {
    let extent = Extent { low, high, committed: Some(high), began: None };
    looked_at(plan, root, Past::default(), extent, records)
}

/// Holds the files of a plan against these records, with what the sink's folder says of its past.
fn looked_at(plan: &SinkPlan, root: &Path, past: Past, extent: Extent, records: &BTreeSet<i64>) -> Report {
    let mut files: Box<dyn Files> = match &plan.spec.output {
        Spec::JpegFiles(spec) => Box::new(Pictures::list(root, spec, plan, &[], &mut |_| {}).expect("listed")),
        Spec::Video(spec) => Box::new(Video::list(root, spec, plan, &mut |_| {}).expect("listed")),
        Spec::Dataset(spec) => Box::new(Dataset::list(root, spec, plan, &[], &mut |_| {}).expect("listed")),
    };
    files.learn(Rc::new(past));
    let mut check = Check::new(plan, files.as_mut());
    check.begin(TOPIC, 0, extent).expect("begun");
    for n in records {
        check.record(record(*n)).expect("looked at");
    }
    while let Some((first, last)) = check.end(extent).expect("ended") {
        for n in records.range(first..=last) {
            check.again(record(*n)).expect("looked at");
        }
    }
    let Check { files, mut report, missing, .. } = check;
    let extents = BTreeMap::from([((TOPIC.to_owned(), 0), extent)]);
    files.finish(&extents, &mut report.found).expect("finished");
    report.former = files.former();
    for place in missing.iter() {
        report.found.add(Finding::Missing { place });
    }
    report
}

/// The past of a sink whose topic was made anew when its output was in this state.
fn made_anew(output: &str) -> Past {
    let id = |text: &str| Some(TopicId::new(text));
    let since = Some(Since { at: jiff::Timestamp::now(), output: output.into() });
    let topic =
        EarlierTopic { id: id("new"), former: id("old"), since, began: [(0, 0)].into(), ..EarlierTopic::default() };
    let earlier = Earlier { topics: [(TOPIC.to_owned(), topic)].into(), unnamed: false };
    Past::new(&[earlier], &[(TOPIC.to_owned(), id("new"))])
}

fn all(high: i64) -> Extent {
    Extent { low: 0, high, committed: Some(high), began: None }
}

/// Writes runs of records as a video, each in a segment of its own.
fn filmed(plan: &SinkPlan, root: &Path, runs: &[(i64, i64)]) {
    let Spec::Video(spec) = &plan.spec.output else { panic!("no video") };
    let mut output = video::Video::open(root, spec, &plan.name, &plan.topics).expect("opened");
    for (from, to) in runs {
        output.resume(&[], Lease::endless()).expect("taken up");
        for n in *from..*to {
            output.write(&frame(n, plan)).expect("written");
        }
        (output.seal().expect("sealed").run)().expect("synced");
        output.finish().expect("finished");
    }
}

fn film(root: &Path) -> SinkPlan {
    plan(json!({"video": {"directory": "film", "frameRate": 10}}), root)
}

fn counts(report: &Report) -> (u64, u64, u64) {
    (report.found.counts.missing, report.found.counts.duplicate, report.found.counts.foreign)
}

#[test]
fn a_sink_has_no_claim_on_what_came_before_it_began() {
    let (earliest, latest) = (&StartFrom::Earliest, &StartFrom::Latest);
    for (offset, began, start_from, first, claimed) in [
        (0, None, earliest, None, true),
        (7, None, latest, None, false),
        (7, None, latest, Some(8), false),
        (9, None, latest, Some(8), true),
        // Known, it decides: a partition that was added later is read from its beginning.
        (0, Some(0), latest, Some(8), true),
        (0, Some(0), latest, None, true),
        (7, Some(8), latest, Some(3), false),
        (8, Some(8), latest, None, true),
        (7, Some(8), earliest, None, false),
    ] {
        let began = began.map(Began::At);
        assert_eq!(is_claimed(offset, began, start_from, first), claimed, "{offset} {began:?} {first:?}");
    }
}

#[test]
fn a_video_that_went_back_has_all_that_it_shows_wherever_it_stands() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = film(dir.path());
    filmed(&plan, dir.path(), &[(60, 100), (0, 80), (0, 10)]);
    let report = checked(&plan, dir.path(), 0, &(0..100).collect(), 100);
    assert_eq!((report.present, counts(&report)), (100, (0, 30, 0)), "{:#?}", report.found);
}

#[test]
fn a_video_may_show_what_retention_has_taken_and_nothing_that_the_topic_never_had() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = film(dir.path());
    filmed(&plan, dir.path(), &[(0, 30)]);
    // 15 was given up, or compacted away; the topic ends before 28.
    let records = (10..28).filter(|n| *n != 15).collect();
    let report = checked(&plan, dir.path(), 10, &records, 28);
    assert_eq!((report.present, counts(&report)), (17, (0, 0, 3)), "{:#?}", report.found);
}

#[test]
fn a_video_of_a_topic_that_was_made_anew_has_the_former_ones_frames_beside_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = film(dir.path());
    // Of the former topic records 50 to 80, of the new one all 60.
    filmed(&plan, dir.path(), &[(50, 80), (0, 60)]);
    let records = (0..60).collect();
    let report = looked_at(&plan, dir.path(), made_anew(r#"{"v":1,"segment":1}"#), all(60), &records);
    assert_eq!((report.present, report.former, counts(&report)), (60, 30, (0, 0, 0)), "{:#?}", report.found);
    // A frame that stands twice is one though its place was in the former topic, too.
    filmed(&plan, dir.path(), &[(55, 56)]);
    let report = looked_at(&plan, dir.path(), made_anew(r#"{"v":1,"segment":1}"#), all(60), &records);
    assert_eq!((report.former, counts(&report)), (30, (0, 1, 0)), "{:#?}", report.found);
}

#[test]
fn in_one_film_the_new_topics_frames_count_from_where_the_former_ones_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = film(dir.path());
    let Spec::Video(spec) = &plan.spec.output else { panic!("no video") };
    let mut output = video::Video::open(dir.path(), spec, &plan.name, &plan.topics).expect("opened");
    output.resume(&[], Lease::endless()).expect("taken up");
    let mut film = |offsets: std::ops::Range<i64>| {
        for n in offsets {
            output.write(&frame(n, &plan)).expect("written");
        }
        let job = output.seal().expect("sealed");
        (job.run)().expect("synced");
        job.metadata
    };
    let then = film(0..40);
    film(0..30);
    let report = looked_at(&plan, dir.path(), made_anew(&then), all(30), &(0..30).collect());
    assert_eq!((report.present, report.former, counts(&report)), (30, 40, (0, 0, 0)), "{:#?}", report.found);
}

#[test]
fn rows_that_came_to_the_disk_ahead_of_their_frames_are_damage_once_they_are_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = film(dir.path());
    filmed(&plan, dir.path(), &[(0, 30)]);
    let avi = any_video(&dir.path().join("film"));
    let bytes = fs::read(&avi).expect("readable");
    // As a disk leaves it that failed while frames 20 to 29 were written.
    let start = bytes.windows(JPEG.len() + 12).position(|w| w == jpeg(20)).expect("frame 20");
    fs::write(&avi, &bytes[..start - 8]).expect("writable");
    let extent = |committed| Extent { committed: Some(committed), ..all(30) };
    let look = |committed| looked_at(&plan, dir.path(), Past::default(), extent(committed), &(0..30).collect());
    let report = look(20);
    assert_eq!(
        (report.present, report.pending, report.found.counts),
        (20, 10, Counts::default()),
        "{:#?}",
        report.found
    );
    assert_eq!(look(25).found.counts, Counts { torn: 5, ..Counts::default() });
}

fn any_video(directory: &Path) -> std::path::PathBuf {
    let mut paths = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    paths.find(|path| path.extension().is_some_and(|e| e == "avi")).expect("a video")
}

/// A sink's directory of files; record `n`'s is written there with these bytes.
fn pictures(root: &Path, name: &str) -> (SinkPlan, impl Fn(&str, &[u8])) {
    let plan = plan(json!({"jpegFiles": {"directory": "frames", "fileName": name}}), root);
    let directory = root.join("frames");
    fs::create_dir_all(&directory).expect("made");
    (plan, move |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).expect("written"))
}

#[test]
fn what_has_a_pictures_name_and_is_no_file_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().expect("a directory");
    let (plan, write) = pictures(dir.path(), "{partition}-{offset}.jpg");
    write("0-0.jpg", &jpeg(0));
    nix::unistd::mkfifo(&dir.path().join("frames/0-1.jpg"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("frames/0-2.jpg")).expect("made");
    let report = checked(&plan, dir.path(), 0, &(0..3).collect(), 3);
    assert_eq!((report.present, report.found.counts.torn), (1, 2), "{:#?}", report.found);
    assert!(report.found.list.iter().all(|finding| finding.to_string().contains("is not a file")));
}

#[test]
fn what_has_a_videos_name_and_is_no_file_keeps_nobody_waiting() {
    for extension in ["avi", "csv"] {
        let dir = tempfile::tempdir().expect("a directory");
        let plan = film(dir.path());
        filmed(&plan, dir.path(), &[(0, 10), (10, 20)]);
        let path = any_video(&dir.path().join("film")).with_extension(extension);
        fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let report = checked(&plan, dir.path(), 0, &(0..20).collect(), 20);
        assert_eq!((report.present, report.found.counts.missing), (10, 10), "{extension} {:#?}", report.found);
    }
}

#[test]
fn pictures_of_a_topic_that_was_made_anew_stay_beside_those_of_its_successor() {
    let dir = tempfile::tempdir().expect("a directory");
    let (plan, write) = pictures(dir.path(), "{partition}-{offset}_{timestamp:%H%M%S%3f}.jpg");
    let name = |n: i64, shift: i64| {
        let time = jiff::Timestamp::from_millisecond(BEGAN + n * 100 + shift).expect("in range");
        format!("0-{n}_{}.jpg", time.strftime("%H%M%S%3f"))
    };
    // More of the former one than of the new one.
    (0..8).for_each(|n| write(&name(n, 7), &jpeg(n + 100)));
    let past = made_anew("");
    let moment = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let later = |name: String| {
        let file = fs::File::options().write(true).open(dir.path().join("frames").join(name)).expect("there");
        file.set_modified(moment).expect("set");
    };
    (0..5).for_each(|n| write(&name(n, 0), &jpeg(n)));
    (0..5).for_each(|n| later(name(n, 0)));
    let report = looked_at(&plan, dir.path(), past, all(5), &(0..5).collect());
    assert_eq!((report.present, report.former, report.found.counts), (5, 8, Counts::default()), "{:#?}", report.found);
    // What came since is not the former topic's.
    write(&name(3, 9), &jpeg(3));
    later(name(3, 9));
    let since = made_anew("");
    let report = looked_at(&plan, dir.path(), since, all(5), &(0..5).collect());
    assert_eq!((report.former, counts(&report)), (8, (0, 1, 0)), "{:#?}", report.found);
}

#[test]
fn pictures_of_a_topic_that_was_taken_off_the_list_are_not_foreign() {
    let dir = tempfile::tempdir().expect("a directory");
    let (plan, write) = pictures(dir.path(), "{topic}_{partition}-{offset}.jpg");
    ["gate_0-0.jpg", "yard_0-0.jpg", "yard_0-1.jpg", "shed_0-0.jpg"].iter().for_each(|name| write(name, &jpeg(0)));
    let yard = EarlierTopic { began: [(0, 0)].into(), ..EarlierTopic::default() };
    let earlier = Earlier { topics: [("yard".to_owned(), yard)].into(), unnamed: false };
    let past = Past::new(&[earlier], &[(TOPIC.to_owned(), None)]);
    let report = looked_at(&plan, dir.path(), past, all(1), &[0].into());
    assert_eq!((report.present, report.former, counts(&report)), (1, 2, (0, 0, 1)), "{:#?}", report.found);
}

#[test]
fn a_folder_that_was_lost_hides_no_loss_behind_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (plan, write) = pictures(dir.path(), "{partition}-{offset}.jpg");
    [3, 4, 6, 9].iter().for_each(|n| write(&format!("0-{n}.jpg"), &jpeg(*n)));
    // The folder that is there now was made when the group was at 8.
    let extent = Extent { began: Some(Began::Before(8)), ..all(10) };
    let report = looked_at(&plan, dir.path(), Past::default(), extent, &(0..10).collect());
    let found = (report.present, report.before_folder, report.before_start, counts(&report));
    assert_eq!(found, (4, 3, 0, (3, 0, 0)), "{:#?}", report.found);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever parts of a topic were filmed in whatever order, each record is present, missing or there again as it was.
    #[test]
    fn every_picture_of_a_video_is_found_once(
        runs in prop::collection::vec((0i64..40, 1i64..20), 0..5), holes in prop::collection::btree_set(0i64..60, 0..10),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let plan = film(dir.path());
        let runs: Vec<_> = runs.into_iter().map(|(from, length)| (from, from + length)).collect();
        filmed(&plan, dir.path(), &runs);
        let records: BTreeSet<i64> = (0..60).filter(|n| !holes.contains(n)).collect();
        let mut shown = BTreeMap::<i64, u64>::new();
        runs.iter().flat_map(|(from, to)| *from..*to).for_each(|n| *shown.entry(n).or_default() += 1);
        let report = checked(&plan, dir.path(), 0, &records, 60);
        let (held, unheld): (Vec<_>, Vec<_>) = shown.iter().partition(|(n, _)| records.contains(n));
        let sum = |shown: &[(&i64, &u64)]| shown.iter().map(|(_, times)| **times).sum::<u64>();
        let present = held.len() as u64;
        prop_assert_eq!(report.present, present);
        let expected = (report.records - present, sum(&held) - present, sum(&unheld));
        prop_assert_eq!(counts(&report), expected, "{:#?}", report.found);
    }

    /// Whatever happened to the files of a sink: what is missing, torn, there again or somebody else's is counted.
    #[test]
    fn every_file_is_judged_by_its_name_and_its_bytes(states in prop::collection::vec(0u8..6, 1..40)) {
        let dir = tempfile::tempdir().expect("a directory");
        let name = "{camera}/{partition}-{offset:03}_{timestamp}.jpg";
        let plan = plan(json!({"jpegFiles": {"directory": "frames", "fileName": name}}), dir.path());
        let frames = dir.path().join("frames");
        fs::create_dir_all(frames.join(TOPIC)).expect("made");
        fs::create_dir_all(frames.join("other")).expect("made");
        let mut expected = Counts::default();
        let mut present = 0;
        for (n, state) in states.iter().enumerate() {
            let n = n as i64;
            let time = jiff::Timestamp::from_millisecond(BEGAN + n * 100).expect("in range");
            let name = format!("0-{n:03}_{}.jpg", time.strftime("%Y%m%d_%H%M%S_%3f"));
            let write = |below: &str, name: &str, bytes: &[u8]| fs::write(frames.join(below).join(name), bytes).expect("written");
            match state {
                0 | 1 => present += 1,
                2 => { expected.missing += 1; continue }
                3 => { expected.torn += 1; write(TOPIC, &name, &jpeg(n + 1000)); continue }
                4 => { present += 1; expected.duplicate += 1; write("other", &name, &jpeg(n)) }
                _ => { expected.missing += 1; expected.duplicate += 1; write("other", &name, &jpeg(n)); continue }
            }
            write(TOPIC, &name, &jpeg(n));
        }
        fs::write(frames.join("holiday.jpg"), "").expect("written");
        fs::write(frames.join("other/0-999_x.jpg"), "").expect("written");
        fs::write(frames.join("other/7-001_x.jpg"), "").expect("written");
        expected.foreign = 3;
        let report = checked(&plan, dir.path(), 0, &(0..states.len() as i64).collect(), states.len() as i64);
        prop_assert_eq!((report.present, report.found.counts), (present, expected), "{:#?}", report.found);
    }
}

/// A record of a data set.
fn labelled(n: i64, annotation: &str) -> StoredRecord {
    let headers = vec![(Bytes::from("annotation"), Some(Bytes::from(annotation.to_owned())))];
    let value = edgereel_frame::samples::png(&n.to_string());
    StoredRecord { value: Some(Bytes::from(value)), headers, ..record(n) }
}

#[test]
fn each_damage_to_a_data_set_is_found_by_its_kind() {
    const RECORDS: i64 = 6;
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    let plan = plan(json!({"dataset": {"directory": "set", "fileName": "{partition}-{offset}"}}), root);
    let Spec::Dataset(spec) = &plan.spec.output else { panic!("no data set") };
    let annotation = |n: i64| ["a, \"b\"", "two\nlines", "=1", "-1"][n as usize % 4];
    let mut output = crate::sink::dataset::Dataset::open(root, spec, &plan.name, &plan.topics).expect("opened");
    output.resume(&[], Lease::endless()).expect("taken up");
    for n in 0..RECORDS {
        let decoded = decode(&labelled(n, annotation(n)), &plan).expect("a picture");
        let frame = SinkFrame { picture: decoded.picture, info: decoded.info, label: decoded.label, ..frame_of(n) };
        output.write(&frame).expect("written");
    }
    (output.seal().expect("sealed").run)().expect("synced");
    output.finish().expect("finished");
    let found = || {
        let mut files = Dataset::list(root, spec, &plan, &[], &mut |_| {}).expect("listed");
        files.learn(Rc::new(Past::default()));
        let mut check = Check::new(&plan, &mut files);
        check.begin(TOPIC, 0, all(RECORDS)).expect("begun");
        for n in 0..RECORDS {
            check.record(labelled(n, annotation(n))).expect("looked at");
        }
        while check.end(all(RECORDS)).expect("ended").is_some() {
            for n in 0..RECORDS {
                check.again(labelled(n, annotation(n))).expect("looked at");
            }
        }
        let Check { files, mut report, missing, .. } = check;
        files.finish(&BTreeMap::from([((TOPIC.to_owned(), 0), all(RECORDS))]), &mut report.found).expect("finished");
        for place in missing.iter() {
            report.found.add(Finding::Missing { place });
        }
        let Counts { missing, duplicate, torn, foreign } = report.found.counts;
        ([missing, duplicate, torn, foreign], format!("{:?}", report.found.list))
    };
    let (csv, picture) = (root.join("set/annotation.csv"), root.join("set/0-2.png"));
    let (rows, bytes) = (fs::read_to_string(&csv).expect("text"), fs::read(&picture).expect("read"));
    let restore = || {
        fs::write(&csv, &rows).expect("written");
        fs::write(&picture, &bytes).expect("written");
        assert_eq!(found().0, [0; 4], "{}", found().1);
    };
    restore();
    let row = |n: i64| rows.split_inclusive('\n').find(|line| line.starts_with(&format!("0-{n}."))).expect("a row");
    for (changed, expected, words) in [
        (rows.replace(row(2), ""), [1, 0, 0, 0], "Missing"),
        (format!("{rows}{}", row(2)), [0, 1, 0, 0], "Duplicate"),
        (rows.replace("'=1", "other"), [0, 0, 1, 0], "another annotation of 0-2.png"),
        (rows.replace("0-2.png", "0-2.jpg"), [0, 0, 1, 0], "names 0-2.jpg, the record 0-2.png"),
        (format!("{rows}0-9.png,x\n"), [0, 0, 0, 1], "which the topic does not hold"),
        (rows.replace(row(2), &format!("{}what is this\n", row(2))), [0, 0, 1, 0], "line"),
    ] {
        fs::write(&csv, changed).expect("written");
        let (counts, list) = found();
        assert!(counts == expected && list.contains(words), "{words}: {counts:?} {list}");
        restore();
    }
    fs::write(&picture, b"other").expect("written");
    assert_eq!(found().0, [0, 0, 1, 0]);
    fs::remove_file(&picture).expect("removed");
    assert_eq!(found().0, [1, 0, 0, 0]);
    restore();
    fs::write(root.join("set/notes.csv"), "x").expect("written");
    assert_eq!(found().0, [0, 0, 0, 1]);
}
