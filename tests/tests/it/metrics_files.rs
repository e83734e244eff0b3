//! `edgereel run --metrics-files`: the scripts' columns, through crashes and full disks.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    time::Duration,
};

use edgereel_tests::{
    Edgereel,
    kafka::{self, Cluster},
    mounts::{Tmpfs, worker_with},
    resources, scratch, unique, wait,
};
use serde_json::json;

use crate::support::jpeg_files;

/// What a row says.
#[derive(Debug)]
struct Row {
    total: i64,
    seconds: f64,
    latency: Option<f64>,
    throughput: f64,
    resource: String,
}

/// A file's rows; its head has to be the first line, and no other.
fn rows(file: &Path, head: &str) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    assert!(text.is_empty() || lines.next() == Some(head), "{text}");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), 6, "{text}");
        Row {
            total: cells[0].parse().expect("a number"),
            seconds: cells[1].parse().expect("seconds"),
            latency: cells[2].parse().ok(),
            throughput: cells[3].parse().expect("a rate"),
            resource: cells[5].to_owned(),
        }
    };
    lines.map(row).collect()
}

const PRODUCER: &str =
    "Total Processed Images,Total Time (s),Average Latency (s),Throughput (images/s),Time (UTC),Resource";
const CONSUMER: &str =
    "Total Processed Messages,Total Time (s),Average Latency (s),Throughput (messages/s),Time (UTC),Resource";

/// A camera, and a sink of its frames.
fn lab(kafka: &Cluster, topic: &str, disk: &Path) -> std::path::PathBuf {
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::camera("cam", source, topic, json!({})),
        resources::sink("frames", topic, jpeg_files(""), disk, json!({})),
    ])
}

#[test]
fn rows_of_cameras_and_sinks_count_each_frame_once_through_a_crash_that_tears_a_line() {
    let (kafka, topic, disk, out) = (kafka::shared(), unique("rows"), scratch::dir("disk"), scratch::dir("metrics"));
    let file = lab(kafka, &topic, &disk);
    let (producer, consumer) = (out.join("producer_metrics.csv"), out.join("consumer_metrics.csv"));
    let folder = out.to_string_lossy().into_owned();
    let args = ["--metrics-files", &folder, "--metrics-files-every", "1s"];
    let worker = Edgereel::run_args([&file], &args);
    wait::until("there are rows of both", Duration::from_secs(60), || {
        let of = |file, head| rows(file, head).iter().filter(|row| row.total > 0).count();
        of(&producer, PRODUCER) > 1 && of(&consumer, CONSUMER) > 1
    });
    worker.kill();
    let before = kafka.record_count(&topic);
    for file in [&producer, &consumer] {
        let length = fs::metadata(file).expect("there").len();
        OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(length - 9)).expect("torn");
    }
    let torn = rows_of_whole_lines(&producer);
    let worker = Edgereel::run_args([&file], &args);
    worker.await_metrics("frames are durable", |m| m.count("sink_frames_durable", "frames") > 30);
    assert!(worker.stop().success());
    let after = kafka.record_count(&topic);
    let all = rows(&producer, PRODUCER);
    let new = &all[torn..];
    assert!(all.iter().all(|row| row.resource == "default/cam"), "{all:?}");
    assert_eq!(new.iter().map(|row| row.total).sum::<i64>(), after - before, "{new:?}");
    for row in all.iter().filter(|row| row.total > 0) {
        let latency = row.latency.expect("a time for each image");
        assert!((latency * row.total as f64 - row.seconds).abs() < 0.1, "{row:?}");
        assert!((row.throughput * row.seconds - row.total as f64).abs() < 1.0, "{row:?}");
    }
    let stored: i64 = rows(&consumer, CONSUMER).iter().map(|row| row.total).sum();
    assert!(stored > 30 && stored <= after + 1000, "{stored} of {after}");
}

/// How many rows stand in a file whose last line is torn.
fn rows_of_whole_lines(file: &Path) -> usize {
    fs::read_to_string(file).expect("there").matches('\n').count() - 1
}

#[test]
fn a_full_disk_holds_up_no_frame_and_what_it_did_not_take_is_told_later() {
    let (kafka, topic, disk, out) = (kafka::shared(), unique("full"), scratch::dir("disk"), scratch::dir("metrics"));
    let file = lab(kafka, &topic, &disk);
    // Room for no file.
    let mount = Tmpfs { at: out.clone(), options: "size=1m,nr_inodes=1".into() };
    let folder = out.to_string_lossy().into_owned();
    let worker =
        Edgereel::start([&file], worker_with(&[mount]), &["--metrics-files", &folder, "--metrics-files-every", "1s"]);
    let said = |words: &str| wait::until(words, Duration::from_secs(60), || worker.log().contains(words));
    said("producer_metrics.csv: No space left on device; it is tried again");
    let stored = |m: &edgereel_tests::metrics::Metrics| m.count("sink_frames_durable", "frames");
    let now = stored(&worker.metrics());
    worker.await_metrics("frames go on", |m| stored(m) > now + 60);
    worker.remount(&out, "size=1m,nr_inodes=100");
    said("producer_metrics.csv is written again");
    let path = out.join("producer_metrics.csv").to_string_lossy().into_owned();
    let text = worker.inside(["head", "-n", "2", &path]).stdout;
    // The first row tells of all the time.
    let first: Vec<&str> = text.lines().nth(1).expect("a row").split(',').collect();
    assert!(first[0].parse::<u64>().expect("a number") > 60, "{text}");
    assert!(worker.stop().success());
}
