//! Real files, written by the outputs themselves, against records that are made up: whatever was stored in whatever order,
//! what is found is what was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use bytes::Bytes;
use edgereel_crds::{
    FrameSinkSpec, KafkaConnectionSpec,
    frame_sink::Output as Spec,
    plan::{Connection, ObjectName, Volume},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{jpeg_files::JpegFiles, report::Counts, video::Video},
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
        jpeg: decoded.jpeg,
        info: decoded.info,
        captured_at: decoded.captured_at,
        camera: TOPIC.into(),
        sequence: None,
        standing: Standing::at(decoded.captured_at),
    }
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
    let mut files: Box<dyn Files> = match &plan.spec.output {
        Spec::JpegFiles(spec) => Box::new(JpegFiles::list(root, spec, plan, &mut |_| {}).expect("listed")),
        Spec::Video(spec) => Box::new(Video::list(root, spec, plan, &mut |_| {}).expect("listed")),
    };
    let extent = Extent { low, high, committed: Some(high), began: None };
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
    for place in missing.iter() {
        report.found.add(Finding::Missing { place });
    }
    report
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
