//! Cameras that send what they should not, on demand of `edgereel camera`: what reaches the topic is whole and in order,
//! what does not is counted by its reason.
//!
//! - [`refusals`]: cameras that send no pictures at all; logins.
//! - [`watchdog`]: cameras that fall silent or freeze.
//! - [`pressure`]: more frames than are wanted, or than Kafka takes.
//! - [`answers`]: bad answers, connections and logins.
//! - [`accounting`]: what becomes of frames when their producer fails.
//! - [`sources`]: other sources and encodings.
//! - [`strange`]: cameras whose labels are wrong and whose pictures are sound.

mod accounting;
mod answers;
mod pressure;
mod refusals;
mod sources;
mod strange;
mod twins;
mod watchdog;

use std::{collections::BTreeMap, fs};

use edgereel_frame::jpeg;
use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, topics::Record},
    metrics::Metrics,
    resources,
    synthetic::Cameras,
    unique, video, wait,
};
use edgereel_worker::synthetic::server::wire::Quirk;
use serde_json::{Value, json};

use crate::support::values;

/// So many frames of each camera have to be acknowledged; its trouble begins after [`AFTER`].
const FRAMES: u64 = 40;
const AFTER: u64 = 15;

/// A camera's trouble, and the counters that have to tell of it: metric and reason.
struct Case {
    query: String,
    counted: Vec<(&'static str, &'static str)>,
}

fn case(query: impl Into<String>, counted: &[(&'static str, &'static str)]) -> Case {
    Case { query: query.into(), counted: counted.to_vec() }
}

const DROPPED: &str = "camera_frames_dropped_total";
const MENDED: &str = "camera_frames_mended_total";

fn cases() -> Vec<Case> {
    let format = |quirk: &(Quirk, &str, &str)| {
        let counted: &[_] = match quirk.0 {
            Quirk::NoHuffman => &[(MENDED, "huffman_tables")],
            Quirk::NoEoi => &[(MENDED, "end_of_image")],
            Quirk::Padding => &[(MENDED, "padding")],
            _ => &[],
        };
        case(format!("format={}", quirk.1), counted)
    };
    let from = |fault: &str| format!("bad={fault}&after={AFTER}");
    let mut cases: Vec<Case> = Quirk::ALL.iter().map(format).collect();
    cases.extend([
        case("format=no-content-length,lf-only,boundary-doubled,boundary-terminated,blank-line", &[]),
        case("format=no-content-length,param-missing,boundary-first-missing", &[]),
        case("format=no-content-length,no-huffman,no-eoi", &[(MENDED, "huffman_tables"), (MENDED, "end_of_image")]),
        case("format=param-dashes,param-quoted,lower-case,padding", &[(MENDED, "padding")]),
        case("bad=garbage", &[]),
        case("bad=garbage&format=no-content-length", &[]),
        case(from("truncated") + "&for=1s", &[(DROPPED, "truncated")]),
        case(from("truncated") + "&for=1s&format=no-content-length", &[(DROPPED, "truncated")]),
        case(from("truncated-claim") + "&for=1s", &[(DROPPED, "truncated")]),
        case("bad=empty-parts", &[(DROPPED, "empty")]),
        // Text beside the pictures is no lost frame.
        case("bad=not-image", &[]),
        // Behind its half a picture the huge part is noise, in which more beginnings of pictures are found.
        case(from("huge-part") + "&for=1ms", &[(DROPPED, "truncated")]),
        case(from("disconnect"), &[("camera_reconnects_total", "")]),
        case(from("flood") + "&for=500ms", &[(DROPPED, "pacing")]),
        case(from("resize") + "&for=500ms", &[]),
    ]);
    cases
}

/// What is wrong with a camera's counters, if anything.
fn complaint(metrics: &Metrics, name: &str, case: &Case) -> Option<String> {
    let acknowledged = metrics.count("camera_frames_acknowledged", name);
    if acknowledged < FRAMES {
        return Some(format!("{name} ({}): {acknowledged} frames", case.query));
    }
    let silent = case.counted.iter().find(|(metric, reason)| {
        let labels = [("name", name), ("reason", reason)];
        metrics.sum(metric, if reason.is_empty() { &labels[..1] } else { &labels }) == 0.0
    });
    silent.map(|(metric, reason)| format!("{name} ({}): {metric} {reason} is 0", case.query))
}

#[test]
fn whatever_a_camera_sends_the_topic_holds_only_whole_pictures_in_their_order_and_the_rest_is_counted() {
    let (kafka, topic) = (kafka::shared(), unique("trouble"));
    kafka.create_topic(&topic, 3, &[]);
    let cameras = Cameras::start(&["--fps", "20"]);
    let cases: Vec<(String, Case)> = cases().into_iter().enumerate().map(|(i, c)| (format!("cam-{i:02}"), c)).collect();
    let mut documents = vec![resources::connection(kafka.bootstrap())];
    documents.extend(cases.iter().map(|(name, case)| {
        let source = json!({"mjpeg": {"url": cameras.url(&case.query)}});
        let target = if case.query.contains("flood") { json!({"target": 20}) } else { json!({}) };
        let topic = json!({"name": topic, "partitions": 3, "ensure": "exists"});
        let more = json!({"topic": topic, "frameRate": target, "buffer": {"memory": "2Mi"}});
        resources::camera(name, source, "", more)
    }));
    let worker = Edgereel::run([resources::write(&documents)]);
    wait::until_ok("each camera's frames and trouble are counted", edgereel::PATIENCE, || {
        let metrics = worker.metrics();
        let wrong: Vec<_> = cases.iter().filter_map(|(name, case)| complaint(&metrics, name, case)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    });
    let peak = peak_memory(&worker);
    assert!(peak < 200_000_000, "200 MB in one part cost {peak} bytes of memory");
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    let by_camera = whole_and_in_order(&records);
    assert_eq!(by_camera.len(), cases.len());
    let sizes_of = |query: &str| {
        let (name, _) = cases.iter().find(|(_, case)| case.query.contains(query)).expect("a case");
        by_camera[name].iter().map(|info| (info.width, info.height)).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(sizes_of("bad=resize").len(), 2, "the smaller pictures are there too");
    assert_eq!(sizes_of("bad=truncated").into_iter().collect::<Vec<_>>(), [(320, 240)]);
    // What stands in the topic decodes, whatever was missing when it came.
    let sizes = video::sizes_of(&values(&records));
    assert_eq!(sizes.len(), records.len());
}

/// Each camera's pictures. Every record has to be one whole JPEG, and a camera's numbers have to rise in its partition.
#[track_caller]
fn whole_and_in_order(records: &[Record]) -> BTreeMap<String, Vec<jpeg::JpegInfo>> {
    let mut cameras: BTreeMap<String, (Option<u64>, Vec<jpeg::JpegInfo>)> = BTreeMap::new();
    for record in records {
        let place = (record.partition, record.offset);
        let value = record.value.as_deref().unwrap_or_default();
        let info = jpeg::inspect(value).unwrap_or_else(|e| panic!("{place:?}: {e}"));
        assert_eq!(info.length as usize, value.len(), "{place:?} has more than its picture");
        let name = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let number = record.header("ce_sequence").and_then(|n| n.parse().ok()).expect("each record has its number");
        let (last, infos) = cameras.entry(name).or_default();
        assert!(last.is_none_or(|last| last < number), "{place:?}: {number} comes after {last:?}");
        *last = Some(number);
        infos.push(info);
    }
    cameras.into_iter().map(|(name, (_, infos))| (name, infos)).collect()
}

/// The most memory that the worker has ever held, in bytes, as the kernel counts it.
fn peak_memory(worker: &Edgereel) -> u64 {
    let path = format!("/proc/{}/status", worker.child().pid());
    let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// A worker that runs these cameras against the shared broker, all in one topic.
fn run_cameras(cameras: &[(&str, Value, Value)], topic: &str) -> Edgereel {
    let mut documents = vec![resources::connection(kafka::shared().bootstrap())];
    documents.extend(
        cameras.iter().map(|(name, source, more)| resources::camera(name, source.clone(), topic, more.clone())),
    );
    Edgereel::run([resources::write(&documents)])
}

fn mjpeg(url: impl Into<String>) -> Value {
    json!({"mjpeg": {"url": url.into()}})
}
